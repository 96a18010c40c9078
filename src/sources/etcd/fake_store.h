// etcd's data model in memory, with etcd's rules: one revision for each request that changes
// something, versions, leases, history up to compaction. No I/O and no clock: a
// lease that expires is revoked by who keeps the time. For tests; fake.h makes a cluster of it.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "sources/etcd/types.h"

namespace weft::etcd {

class FakeStore {
 public:
  Outcome<RangeResult> range(const RangeRequest& request) const;
  Outcome<PutResult> put(const PutRequest& request);
  Outcome<EraseResult> erase(const EraseRequest& request);
  Outcome<TxnResult> txn(const Txn& request);
  Outcome<void> compact(Revision revision);

  Outcome<LeaseGrant> grant(std::chrono::seconds ttl, LeaseId id);
  Outcome<void> revoke(LeaseId id);
  [[nodiscard]] bool has_lease(LeaseId id) const { return leases_.contains(id); }
  [[nodiscard]] std::chrono::seconds ttl(LeaseId id) const { return leases_.at(id); }
  [[nodiscard]] const std::map<LeaseId, std::chrono::seconds>& leases() const { return leases_; }

  [[nodiscard]] Revision revision() const { return revision_; }
  [[nodiscard]] Revision compacted() const { return compacted_; }
  // What happened from `from` on, in order. `compacted` when that is no longer known.
  Outcome<std::vector<Event>> events_since(const Keys& keys, Revision from) const;

 private:
  using Map = std::map<std::string, KeyValue>;

  Outcome<void> check(const Op& op) const;
  Outcome<void> check(const std::vector<Op>& ops) const;
  [[nodiscard]] bool holds(const Compare& compare) const;
  static bool holds(const Compare& compare, const KeyValue* found);
  // Under the revision `at`.
  RangeResult apply(const RangeRequest& request, Revision at) const;
  void apply(const PutRequest& request, Revision at);
  std::int64_t apply(const EraseRequest& request, Revision at);
  [[nodiscard]] Map state_at(Revision revision) const;

  Revision revision_ = 1;
  Revision compacted_ = 0;
  Map now_;
  Map base_;                // the state at compacted_
  std::vector<Event> log_;  // of compacted_ and later
  std::map<LeaseId, std::chrono::seconds> leases_;
  LeaseId next_lease_ = 0x1000;
};

}  // namespace weft::etcd
