// What agents that are gone have left on their nodes, taken away by a pod on each that runs `weftd --cleanup`.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "install/cluster.h"
#include "install/rollout.h"

namespace weft::install {

// The pod for a node, with the image, the rights and the mounts that the agents had.
nlohmann::json cleanup_pod(const nlohmann::json& daemon_set, const std::string& node);

// All nodes at once. Names those that it could not be done on, or was not done in time.
Result<std::vector<std::string>> clean_nodes(Cluster& cluster, const nlohmann::json& daemon_set,
                                             std::chrono::seconds limit, const Progress& progress);

}  // namespace weft::install
