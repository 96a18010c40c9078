// This node's pods, told to the others: `endpoints/<node>`, one key that holds them all.
//
// It is written while this node is a member, after every change of what is to be there, and after every loss of what
// was: changes that come within a tenth of a second are one write, for each is news to every node of the cluster. A
// node that comes back only looks whether the key is still as it wrote it: a thousand of them may come back together.
// Each write compares what was there before, so one that comes late changes nothing.
//
// Owner thread only.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sources/cluster/context.h"
#include "sources/cluster/node_registry.h"
#include "sources/cluster/shared_endpoints.h"
#include "sources/cluster/turns.h"

namespace weft::cluster {

class EndpointPublisher {
 public:
  EndpointPublisher(Context context, const NodeRegistry& registry, Trouble trouble);
  ~EndpointPublisher() = default;
  EndpointPublisher(const EndpointPublisher&) = delete;
  EndpointPublisher& operator=(const EndpointPublisher&) = delete;

  // All pods of this node, as often as they change. Until the first call nothing is written: what a run before this
  // one wrote stays until the agent knows its pods.
  void publish(SharedEndpoints pods);
  // Others can read what was published last.
  [[nodiscard]] bool published() const { return wanted_ && written_ == version_; }

  // The registry's node joined or left.
  void membership_changed();
  // A mirror saw the key: its mod revision, 0 when it is gone, in the view of `at`.
  void seen(etcd::Revision mod_revision, etcd::Revision at);

 private:
  bool step();
  bool wait();
  bool write();
  bool confirm();
  void submit(std::vector<etcd::Op> then, std::uint64_t version);
  void refused(const std::vector<etcd::KeyValue>& kvs);

  Context context_;
  const NodeRegistry* registry_;
  Trouble trouble_;
  std::string key_;
  std::optional<SharedEndpoints> wanted_;
  std::uint64_t version_ = 0;          // of `wanted_`, counted
  std::uint64_t written_ = 0;          // the version that etcd has
  std::uint64_t too_large_ = 0;        // the version that cannot be written
  etcd::Revision revision_ = 0;        // of the key as it was last known; 0: there is none
  std::uint64_t confirmed_epoch_ = 0;  // of the membership it was last known to be right in; 0: unknown
  etcd::Scheduler::Time next_write_{};
  etcd::Timer pace_;
  Turns turns_;
};

}  // namespace weft::cluster
