// Nodes whose record was removed from etcd, as far as this agent has heard: they were silent for too long, or somebody
// deleted them. What they send is dropped here, should they still run. Pure.
#pragma once

#include <chrono>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/ip.h"
#include "sources/cluster/node_registry.h"

namespace weft::agent {

class RemovedNodes {
 public:
  using Time = std::chrono::system_clock::time_point;
  static constexpr std::size_t most = 16;  // that are remembered, the latest

  struct Removed {
    std::vector<IpAddress> addresses;
    std::optional<Time> silent_since;  // at least
    Time at;
  };

  // Says of each that is removed now what there is to say.
  std::vector<std::string> heard(const cluster::NodeDifference& difference, Time now);
  [[nodiscard]] const std::map<std::string, Removed>& all() const { return removed_; }
  [[nodiscard]] nlohmann::json to_json() const;

 private:
  struct Silent {
    std::vector<IpAddress> addresses;
    Time since;
  };
  std::map<std::string, Silent> silent_;
  std::map<std::string, Removed> removed_;
};

}  // namespace weft::agent
