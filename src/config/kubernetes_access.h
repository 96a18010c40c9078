// The part of a configuration that weftd and weft-operator have in common: where the Kubernetes API server is.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "config/keys.h"

namespace weft::config {

struct KubernetesAccess {
  std::string kubeconfig;                       // a file; empty: what a pod finds in itself
  std::string kubernetes_context;               // of it; empty: its current one
  std::vector<std::string> kubernetes_servers;  // go before the one it names, which may be a Service
  std::string kubernetes_namespace;             // of Weft's own Leases and claims; empty: the pod's own, or weft-system
};

// A key for each field, named as it is.
const Keys<KubernetesAccess>& kubernetes_access_keys();
// They fit each other.
Result<void> check_kubernetes(const KubernetesAccess& access);
// Without a Kubernetes API server none of them means anything. `where`: the key that says there is none, "objects is
// applied", and what to set instead.
Result<void> check_no_kubernetes(const KubernetesAccess& access, const std::string& where, const std::string& hint);

}  // namespace weft::config
