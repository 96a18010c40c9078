// Holds an attachment back until what only the cluster can give is there: a number for the container's labels, a block
// with free addresses. On the agent's thread.
#pragma once

#include <asio/io_context.hpp>
#include <chrono>
#include <functional>
#include <optional>
#include <set>

#include "agent/cluster_link.h"
#include "base/ip.h"
#include "base/labels.h"
#include "base/result.h"

namespace weft::agent {

class AttachGate {
 public:
  // Longer than a lease's renewal or a leader's election takes, shorter than a runtime waits for a plugin.
  static constexpr auto patience = std::chrono::seconds(8);

  AttachGate(asio::io_context& loop, ClusterLink& cluster) : loop_(loop), cluster_(cluster) {}

  // `done` is told once: at once when nothing is missing, `unavailable` after the patience. Numbers that were acquired
  // for it are held until it has returned.
  void pass(const std::optional<LabelMap>& labels, const std::set<Family>& families,
            std::function<void(const Result<void>&)> done);

 private:
  asio::io_context& loop_;
  ClusterLink& cluster_;
};

}  // namespace weft::agent
