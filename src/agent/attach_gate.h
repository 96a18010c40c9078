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
  // By default longer than an election of etcd takes, shorter than a runtime waits for a plugin.
  AttachGate(asio::io_context& loop, ClusterLink& cluster, std::chrono::milliseconds patience = std::chrono::seconds(8))
      : loop_(loop), cluster_(cluster), patience_(patience) {}

  // `done` is told once: at once when nothing is missing, `unavailable` after the patience. Numbers that were acquired
  // for it are held until it has returned.
  void pass(const std::optional<LabelMap>& labels, const std::set<Family>& families,
            std::function<void(const Result<void>&)> done);

 private:
  asio::io_context& loop_;
  ClusterLink& cluster_;
  std::chrono::milliseconds patience_;
};

}  // namespace weft::agent
