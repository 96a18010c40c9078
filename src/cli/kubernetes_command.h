// The commands that work on a Kubernetes cluster by a kubeconfig: install, uninstall, connectivity, status
// --kubernetes.
#pragma once

#include <string>

#include "cli/completion.h"
#include "cli/session.h"

namespace CLI {
class App;
}

namespace weft::cli {

// `session` and what the options write into live as long as `app`.
void add_kubernetes_commands(CLI::App& app, Session& session, Completions& completions);

struct ClusterChoice {
  std::string kubeconfig;
  std::string context;
};
void add_cluster_choice(CLI::App* command, ClusterChoice& choice);

// `weft status --kubernetes`
int run_cluster_status(const Session& session, const ClusterChoice& choice, const std::string& output);

}  // namespace weft::cli
