// What everything in this room needs: the cluster's etcd, the thread's time and chance, and where the keys are.
// `client` and `scheduler` outlive whoever has a Context.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "sources/cluster/keys.h"
#include "sources/etcd/backoff.h"
#include "sources/etcd/client.h"
#include "sources/etcd/mirror.h"
#include "sources/etcd/scheduler.h"

namespace weft::cluster {

struct Context {
  etcd::Client& client;
  etcd::Scheduler& scheduler;
  etcd::Random random;
  Keyspace keys;
  etcd::BackoffOptions backoff{};
  // A node that was away for this long may be taken for gone: its blocks and numbers may be given to others. Much more
  // than a lease lasts, the same on every node.
  std::chrono::seconds delay{600};
  // What is written under a node's lease is gone so long after the node.
  std::chrono::seconds lease{30};

  [[nodiscard]] etcd::MirrorOptions mirror(std::string prefix) const {
    return {.prefix = std::move(prefix), .held = {}, .backoff = backoff, .watch = {.backoff = backoff}};
  }
  // Of what nodes tell for as long as they are there: an etcd that has lost it makes none of them gone, and each tells
  // it again. What is this node's own is told by nobody else.
  [[nodiscard]] etcd::MirrorOptions mirror_of_nodes(std::string prefix,
                                                    std::function<bool(const etcd::KeyValue& kv)> held) const {
    auto options = mirror(std::move(prefix));
    options.held = std::move(held);
    options.hold = delay;
    return options;
  }
  // The same of what they write under their leases.
  [[nodiscard]] etcd::MirrorOptions mirror_of_leased(std::string prefix,
                                                     std::function<bool(const etcd::KeyValue& kv)> held) const {
    auto options = mirror_of_nodes(std::move(prefix), std::move(held));
    options.hold = lease;
    return options;
  }
};

// What the range at that place of the transaction's branch found.
inline const std::vector<etcd::KeyValue>& range_of(const etcd::TxnResult& result, std::size_t index) {
  return std::get<etcd::RangeResult>(result.results.at(index)).kvs;
}

// The revision that the operation at that place of the branch gave its key: where a store writes several keys one after
// the other, each has its own.
inline etcd::Revision revision_of(const etcd::TxnResult& result, std::size_t index) {
  return std::visit([](const auto& one) { return one.revision; }, result.results.at(index));
}

// Something is not as it should be, and will be tried again; for the log.
using Trouble = std::function<void(const Error& error)>;

}  // namespace weft::cluster
