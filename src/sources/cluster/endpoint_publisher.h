// This node's pods, told to the others: `endpoints/<node>`, one key that holds them all, or, where the store says how
// many of a list it wants in one value, slices of so many, `endpoints/<node>/<slice>`.
//
// They are written while this node is a member, after every change of what is to be there, and after every loss of what
// was: changes that come within a tenth of a second are one write, for each is news to every node of the cluster. A
// node that comes back only looks whether the keys are still as it wrote them: a thousand of them may come back
// together. Each write compares what was there before, so one that comes late changes nothing.
//
// A pod goes to the first slice that has room and stays there for its life. Which one that is stands nowhere but in the
// slices: a run begins by reading what the one before it left. The place of a pod that is gone is free once its slice
// is known to be written without it, so two writes never tell of one pod in two slices; where a request of an earlier
// run comes late and does, the highest slice counts for whoever reads (pod_table.h), and this node writes again what is
// not as it wants it. A slice that has no pods is erased.
//
// The one key counts for less than any slice. It is written besides as long as an agent is alive that knows of no
// slices, and erased once all slices are there.
//
// Owner thread only.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
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
  [[nodiscard]] bool published() const;

  // The registry's node joined or left.
  void membership_changed() { turns_.wake(); }
  // The registry told a difference: another agent may know of no slices.
  void nodes_changed();
  // A mirror saw a key of this node: its mod revision, 0 when it is gone, in the view of `at`.
  void seen(unsigned slice, etcd::Revision mod_revision, etcd::Revision at);

 private:
  struct Slice {
    etcd::Revision revision = 0;  // as it was last known; 0: there is none
    etcd::Revision since = 0;     // of that knowledge: what is older is no news
    std::set<PodName> pods;       // that it has, or is to have; not of the one key
    bool differs = false;         // from what it is to be, as far as is known
    bool too_large = false;       // until what it is to be changes
    etcd::Scheduler::Time next_write{};
  };
  struct Seen {
    etcd::Revision mod_revision = 0;
    etcd::Revision at = 0;
  };

  bool step();
  void look_at_readers();
  bool look(bool keys_only);
  void looked(const etcd::TxnResult& result, bool keys_only);
  void adopt(const std::map<unsigned, etcd::KeyValue>& found);
  void place();
  void mark(const PodName& name);
  bool write_next();
  bool write(unsigned number, Slice& slice);
  void written(unsigned number, SharedEndpoints pods, const etcd::Outcome<etcd::TxnResult>& outcome);
  void refused(unsigned number, const std::vector<etcd::KeyValue>& kvs);
  void forget_gone(Slice& slice, const SharedEndpoints& told);
  [[nodiscard]] bool is_there(unsigned number) const;
  [[nodiscard]] SharedEndpoints wanted_of(unsigned number, const Slice& slice) const;
  [[nodiscard]] bool is_as_wanted(unsigned number, const etcd::KeyValue* kv) const;
  [[nodiscard]] std::string key(unsigned number) const;

  Context context_;
  const NodeRegistry* registry_;
  Trouble trouble_;
  std::size_t most_;  // pods of a slice; 0: there are no slices
  std::optional<SharedEndpoints> wanted_;
  std::map<unsigned, Slice> slices_;  // 0: the one key
  std::map<PodName, unsigned> slice_of_;
  bool known_ = false;         // what is there was read
  bool all_placed_ = false;    // of `wanted_`
  std::optional<bool> whole_;  // whether the one key is to be there; absent: unknown, it stays as it is
  bool readers_changed_ = true;
  std::optional<unsigned> writing_;
  std::optional<Seen> seen_meanwhile_;  // of the slice that is being written
  std::uint64_t news_ = 0;              // grows with what was not expected
  std::uint64_t confirmed_epoch_ = 0;   // of the membership it was last known to be right in; 0: unknown
  etcd::Timer pace_;
  Turns turns_;
};

}  // namespace weft::cluster
