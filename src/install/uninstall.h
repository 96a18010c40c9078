// `weft uninstall`: what weft install has made, and what the agents have made of the nodes, taken away.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "install/cluster.h"
#include "install/rollout.h"

namespace weft::install {

struct UninstallOptions {
  bool clean = true;                  // nodes, too: programs, maps, devices, the CNI plugin and its configuration
  bool purge = false;                 // and the CustomResourceDefinitions with all objects of theirs, what nodes keep
  std::chrono::seconds timeout{120};  // for each thing that is waited for
};

// What a purge would lose: "3 LoadBalancerPools"; empty: nothing of users.
Outcome<std::vector<std::string>> what_gets_lost(Cluster& cluster);

// Operators first, then the agents, then what is left on each node; then rights, configuration, namespace. A node that
// is away or cannot be cleaned is told and passed over; the failure at the end names it with what cleans it, and what
// that needs stays: the namespace, its ConfigMap and the agents' ServiceAccount.
Result<void> uninstall(Cluster& cluster, const UninstallOptions& options, const Progress& progress);

// One node alone: its agent ends and does not come back, for the node gets a label, and what it has left is taken away.
Result<void> uninstall_node(Cluster& cluster, const std::string& node, const UninstallOptions& options,
                            const Progress& progress);

}  // namespace weft::install
