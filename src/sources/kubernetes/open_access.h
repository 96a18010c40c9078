// From a configuration to the API server.
#pragma once

#include <string>

#include "base/result.h"
#include "config/kubernetes_access.h"
#include "sources/kubernetes/kubeconfig.h"

namespace weft::kubernetes {

// Reads the credentials; asks no server.
Result<Access> open_access(const config::KubernetesAccess& config);
// The servers are addresses. Reads no file.
Result<void> check_servers(const config::KubernetesAccess& config);
// Where Weft's own Leases are: the configuration's word, else the namespace of the pod or context, else weft-system.
std::string namespace_of(const config::KubernetesAccess& config, const Access& access);

}  // namespace weft::kubernetes
