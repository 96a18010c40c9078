// The cluster's numbers for label sets, and the ones this node needs.
//
// A number and its labels are two keys, written in one transaction only if both are absent, erased in one. In the same
// transaction the node lists the number as one it needs, and takes away the mark that a collector (collector.h) may
// have put on it: a collector that saw the number without users then cannot erase it. A node's list is one key, and
// each write of it compares what was there before, so a request that comes late changes nothing.
//
// Owner thread only; a handler must not destroy the allocator.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "abi/endpoint.h"
#include "sources/cluster/context.h"
#include "sources/cluster/node_registry.h"
#include "sources/cluster/turns.h"

namespace weft::cluster {

struct IdentityDifference {
  std::map<IdentityNumber, LabelMap> set;
  std::vector<IdentityNumber> gone;
};

struct IdentityHandlers {
  std::function<void(const IdentityDifference& difference)> changed;  // of the whole cluster's numbers; never empty
  // Labels this node needs have another number: it was away for so long that theirs was collected, or two nodes gave
  // them one at once, and the lower one counts.
  std::function<void(const LabelMap& labels, IdentityNumber before, IdentityNumber now)> renumbered;
  Trouble trouble;
};

struct IdentityRange {
  IdentityNumber first = WEFT_IDENTITY_FIRST;
  IdentityNumber last = WEFT_IDENTITY_LAST;
};

class IdentityAllocator {
 public:
  using Acquired = std::function<void(Result<IdentityNumber>)>;

  IdentityAllocator(Context context, NodeRegistry& registry, IdentityRange range, IdentityHandlers handlers);
  ~IdentityAllocator() = default;
  IdentityAllocator(const IdentityAllocator&) = delete;
  IdentityAllocator& operator=(const IdentityAllocator&) = delete;

  // The labels' number, that stays theirs until released as often, and longer if others need it. Without etcd it
  // waits; number_of may know it meanwhile, but nobody keeps it then. Errors: exhausted, or labels that cannot be.
  void acquire(const LabelMap& labels, Acquired done);
  // After acquire has answered.
  void release(const LabelMap& labels);

  // By the mirror: what the cluster has, last heard.
  [[nodiscard]] std::optional<IdentityNumber> number_of(const LabelMap& labels) const;
  [[nodiscard]] const LabelMap* labels_of(IdentityNumber number) const;
  [[nodiscard]] const std::map<IdentityNumber, LabelMap>& all() const { return by_number_; }
  [[nodiscard]] bool synced() const { return mirror_.synced(); }
  // What this node needs and is listed for.
  [[nodiscard]] std::map<LabelMap, IdentityNumber> held() const;
  // The registry's node joined or left.
  void membership_changed();

 private:
  struct Use {
    int references = 0;
    IdentityNumber number = 0;  // the last one it had
    etcd::Revision listed_at = 0;
    bool listed = false;
    bool refused = false;  // until the cluster's numbers change
    std::vector<Acquired> waiting;
  };
  // Where an identity is said to be: by the mirror, or by an answer newer than that.
  struct Place {
    IdentityNumber number = 0;  // 0: it has none, whatever the mirror says
    etcd::Revision revision = 0;
  };

  bool step();
  [[nodiscard]] std::set<IdentityNumber> listed() const;
  void write_list();
  void list_answered(const etcd::TxnResult& result, std::set<IdentityNumber> written, std::uint64_t epoch);
  void list_read(const std::vector<etcd::KeyValue>& kvs);
  void enlist(const LabelMap& labels);
  void use(const LabelMap& labels, const Place& place);
  void create(const LabelMap& labels, IdentityNumber number);
  void submit(const LabelMap& labels, IdentityNumber number, etcd::Txn txn);
  void enlisted(const LabelMap& labels, IdentityNumber number, const etcd::TxnResult& result);
  void not_enlisted(const LabelMap& labels, IdentityNumber number, const etcd::TxnResult& result);
  void look_up(const LabelMap& labels, IdentityNumber number);
  [[nodiscard]] std::optional<IdentityNumber> free_number(const LabelMap& labels) const;
  void refuse(const LabelMap& labels, const Error& error);
  void mirror_changed(const etcd::Change& change);
  [[nodiscard]] Place place_of(const LabelMap& labels) const;
  void forget(IdentityNumber number);
  void failed(const etcd::Failure& why);
  void trouble(const Error& error);

  Context context_;
  NodeRegistry* registry_;
  IdentityRange range_;
  IdentityHandlers handlers_;
  std::string users_key_;
  std::map<LabelMap, Use> uses_;
  etcd::Revision list_revision_ = 0;  // 0: there is none
  std::uint64_t list_epoch_ = 0;      // of the membership it was last known to be right in; 0: unknown
  std::set<IdentityNumber> list_;
  std::optional<std::pair<LabelMap, Place>> place_;     // of the one that is worked on
  std::map<IdentityNumber, etcd::Revision> conflicts_;  // taken since that revision, and not yet in the mirror

  std::map<IdentityNumber, LabelMap> by_number_;
  // Labels have one number, save for a while where a store knows no transactions over two keys: the lowest counts.
  std::map<LabelMap, std::map<IdentityNumber, etcd::Revision>> by_labels_;
  Turns turns_;
  etcd::Mirror mirror_;
};

}  // namespace weft::cluster
