// What the commands that work on a cluster share among themselves.
#pragma once

#include <memory>

#include "base/result.h"
#include "cli/kubernetes_command.h"
#include "install/cluster.h"

namespace weft::cli {

// Where the server is silent, standard error says so.
Result<std::unique_ptr<install::Cluster>> connect_cluster(const Session& session, const ClusterChoice& choice);
// Prints it; the exit code for it.
int report_cluster(const Session& session, const Error& error);

void add_connectivity(CLI::App& app, Session& session, Completions& completions);

}  // namespace weft::cli
