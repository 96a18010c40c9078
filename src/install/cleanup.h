// What agents that are gone have left on their nodes, taken away by a pod on each that runs `weftd --cleanup`.
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <string_view>

#include "install/cluster.h"
#include "install/rollout.h"

namespace weft::install {

struct CleanOptions {
  std::chrono::seconds limit{120};
  bool purge = false;  // what the agent keeps of the node, too
  bool anew = false;   // agents have run since: what an earlier cleanup did counts no more
  std::string only;    // this node alone
};

// The pod for a node, with the image, the rights and the mounts that the agents had.
nlohmann::json cleanup_pod(const nlohmann::json& daemon_set, const std::string& node, bool purge);

// Why nodes are not clean, by their names.
using Unclean = std::map<std::string, std::string>;

// All nodes at once. Names those that it could not be done on, or was not done in time; those that are named already
// are passed over.
Result<Unclean> clean_nodes(Cluster& cluster, const nlohmann::json& daemon_set, const CleanOptions& options,
                            Unclean unclean, const Progress& progress);

// What does it as root on a machine itself, by containerd alone: no kubelet, no API server, no file is needed. `weftd`:
// the agents' configuration.
std::string cleanup_by_hand(const nlohmann::json& daemon_set, std::string_view weftd, bool purge);

// Pods of cleanups, of one node where it is named: none is to begin where an agent comes.
Outcome<void> erase_cleanups(Cluster& cluster, bool failed_only, const std::string& node);

}  // namespace weft::install
