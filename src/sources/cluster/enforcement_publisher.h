// Which policies this node enforces, told to whoever asks: `enforcement/<node>`, one key that holds them all.
//
// It is written while this node is a member, where it is another than before, and once a second at most: what comes in
// between is one write. That a node has taken in changes of policies which select none of its pods is not urgent, and
// news of every node at once: the more nodes there are the longer it may wait, so that a cluster makes some twenty such
// writes in a second. The key stays when the node goes away, for its datapath goes on with what it has, until it is
// collected; who reads it asks `alive` whether it is still told. Each write compares what was there before.
//
// Owner thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "sources/cluster/context.h"
#include "sources/cluster/enforcement.h"
#include "sources/cluster/node_registry.h"
#include "sources/cluster/turns.h"

namespace weft::cluster {

class EnforcementPublisher {
 public:
  EnforcementPublisher(Context context, const NodeRegistry& registry, Trouble trouble);
  ~EnforcementPublisher() = default;
  EnforcementPublisher(const EnforcementPublisher&) = delete;
  EnforcementPublisher& operator=(const EnforcementPublisher&) = delete;

  // As often as it changes; its boot id is the registry's. Until the first call nothing is written: what a run before
  // this one wrote holds for as long as the datapath goes on with it.
  void publish(Enforcement enforcement);
  // Others can read what was published last.
  [[nodiscard]] bool published() const { return wanted_ && written_ == version_; }

  // The registry's node joined or left.
  void membership_changed() { turns_.wake(); }

 private:
  bool step();
  bool wait();
  bool write();
  void submit(std::vector<etcd::Op> then, std::uint64_t version);
  void refused(const std::vector<etcd::KeyValue>& kvs);
  void confirm_later();
  [[nodiscard]] std::string text() const;

  Context context_;
  const NodeRegistry* registry_;
  Trouble trouble_;
  std::string key_;
  std::optional<Enforcement> wanted_;
  std::uint64_t version_ = 0;          // of `wanted_`, counted
  std::uint64_t written_ = 0;          // the version that the store has
  etcd::Revision revision_ = 0;        // of the key as it was last known; 0: there is none
  std::uint64_t confirmed_epoch_ = 0;  // of the membership it was last known to be right in; 0: unknown
  etcd::Scheduler::Time next_write_{};
  etcd::Scheduler::Time due_{};  // when what is to be told must be
  etcd::Timer pace_;
  etcd::Timer confirm_;
  Turns turns_;
};

}  // namespace weft::cluster
