// How this node reaches the Kubernetes API server: the credentials of the configuration, and the addresses that an
// earlier run has heard of beside those that it names.
#pragma once

#include <string>
#include <vector>

#include "config/agent/config.h"
#include "sources/kubernetes/kubeconfig.h"
#include "sources/store/store.h"

namespace weft::agent {

// Reads the credentials; asks no server.
Result<kubernetes::Access> kubernetes_access(const Config& config, store::Store& store);
// As remember_servers() has it.
std::vector<std::string> remembered_servers(store::Store& store);
// For the next run. None are no news: the last ones that were known are better than none.
void remember_servers(store::Store& store, const std::vector<std::string>& addresses);

}  // namespace weft::agent
