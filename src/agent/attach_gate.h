// Holds an attachment back until what only the cluster can give is there: a number for the container's labels, blocks
// with free addresses. On the agent's thread.
#pragma once

#include <asio/io_context.hpp>
#include <chrono>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "agent/cluster_link.h"
#include "base/ip.h"
#include "base/labels.h"
#include "base/result.h"

namespace weft::agent {

class AttachGate {
 public:
  struct Needs {
    std::optional<LabelMap> labels;
    std::set<std::pair<std::string, Family>> pools;  // one more block of each
    std::set<cluster::Block> blocks;                 // these and no others
    [[nodiscard]] bool empty() const { return !labels && pools.empty() && blocks.empty(); }
  };

  // By default longer than an election of etcd takes, shorter than a runtime waits for a plugin.
  AttachGate(asio::io_context& loop, ClusterLink& cluster, std::chrono::milliseconds patience = std::chrono::seconds(8))
      : loop_(loop), cluster_(cluster), patience_(patience) {}

  // `done` is told once: at once when nothing is missing, `unavailable` after the patience, or at `until` if that is
  // sooner, with what it waited for. Numbers that were acquired for it, and blocks that were claimed, are held until it
  // has returned.
  void pass(const Needs& needs, std::function<void(const Result<void>&)> done,
            std::chrono::steady_clock::time_point until = std::chrono::steady_clock::time_point::max());

 private:
  asio::io_context& loop_;
  ClusterLink& cluster_;
  std::chrono::milliseconds patience_;
};

}  // namespace weft::agent
