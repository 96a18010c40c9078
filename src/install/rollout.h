// Whether the agents and the operators are there, and where they are not, why.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "install/cluster.h"

namespace weft::install {

using Progress = std::function<void(const std::string& line)>;

struct Rollout {
  std::string name;       // "agents", "operators"
  bool ready = false;     // all that can be
  bool observed = false;  // the controllers have seen what is wanted now
  std::int64_t wanted = 0;
  std::int64_t there = 0;                     // ready, of the newest revision
  std::vector<std::string> away;              // nodes that say nothing, where one that is missing may be of one
  std::vector<std::string> reasons;           // "weft-x7x on node n2: ImagePullBackOff: ...", of those that are not
  [[nodiscard]] std::string summary() const;  // "agents: 3 of 4 ready"
};

// Of the DaemonSet weft and the Deployment weft-operator. `reasons` only where they are asked for: that takes more
// requests.
Outcome<std::vector<Rollout>> look_at_rollouts(Cluster& cluster, bool reasons);

// Until both are ready, telling of each change; what is still missing after `limit` is told with its reasons, as a
// failure.
Result<void> wait_for_rollouts(Cluster& cluster, std::chrono::seconds limit, const Progress& progress);

// Until the server serves each of Weft's kinds.
Result<void> wait_for_definitions(Cluster& cluster, std::chrono::seconds limit);

// Why a pod is not ready; empty: it is, or nothing says.
std::string why_not_ready(const nlohmann::json& pod);

}  // namespace weft::install
