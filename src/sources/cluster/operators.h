// The operators of the cluster: programs beside the agents that do its duties (docs/adr/0009-operator.md). Each run of
// one has a key of its own, `operators/<name>/<run>`, under a lease, that says how it is doing. Which of them acts is
// who has the role (role.h).
//
// Owner thread only; a handler must not destroy what calls it.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>

#include "sources/cluster/context.h"
#include "sources/cluster/membership.h"
#include "sources/cluster/operator_record.h"
#include "sources/cluster/values.h"
#include "sources/etcd/session.h"

namespace weft::cluster {

// Its own place among them.
class OperatorSeat {
 public:
  struct Handlers {
    std::function<void()> changed;  // membership() is another
    Trouble trouble;
  };
  OperatorSeat(Context context, OperatorKey self, const OperatorRecord& record, etcd::SessionOptions session,
               Handlers handlers);
  ~OperatorSeat() = default;
  OperatorSeat(const OperatorSeat&) = delete;
  OperatorSeat& operator=(const OperatorSeat&) = delete;

  [[nodiscard]] const std::optional<Membership>& membership() const { return membership_; }
  [[nodiscard]] Candidate candidate();
  void update(const OperatorRecord& record);
  // Others see that it is gone at once.
  void close(etcd::Done<void> done);

 private:
  OperatorKey self_;
  std::string key_;
  Handlers handlers_;
  std::optional<Membership> membership_;
  std::uint64_t epoch_ = 0;
  etcd::Session session_;
};

// All of them. A key that cannot be read is there all the same: with an empty record.
class OperatorTable {
 public:
  struct Handlers {
    std::function<void()> changed;  // all() or synced() is another
    Trouble trouble;
  };
  OperatorTable(Context context, Handlers handlers);
  ~OperatorTable() = default;
  OperatorTable(const OperatorTable&) = delete;
  OperatorTable& operator=(const OperatorTable&) = delete;

  [[nodiscard]] const std::map<OperatorKey, OperatorRecord>& all() const { return all_; }
  [[nodiscard]] bool synced() const { return mirror_.synced(); }

 private:
  void mirror_changed(const etcd::Change& change);

  Context context_;
  Handlers handlers_;
  std::map<OperatorKey, OperatorRecord> all_;
  etcd::Mirror mirror_;
};

}  // namespace weft::cluster
