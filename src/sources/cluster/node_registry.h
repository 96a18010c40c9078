// The nodes of the cluster, this one among them.
//
// This node: while its lease stands, `alive/<name>` holds its boot id under it, written only if no other run of a node
// of this name is alive, together with its record. Whoever acts because this node is alive puts `Membership::holds`
// into its transaction. Others: a table by name, and its differences.
//
// The run before, of the same boot, is replaced at once. Containers of one machine and copies of one have the same boot
// id as well: what tells none of the addresses of this node is another one, and so is who takes the place of a node
// that is there. Both are left alone until their lease is over.
//
// Owner thread only; a handler must not destroy the registry.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "sources/cluster/context.h"
#include "sources/cluster/membership.h"
#include "sources/cluster/turns.h"
#include "sources/cluster/values.h"
#include "sources/etcd/session.h"

namespace weft::cluster {

struct Self {
  std::string name;
  std::string boot_id;
  // What this machine itself remembers to have been before it booted, if it does: what that run had is this one's.
  std::string predecessor;
  // The run before this one, of the same machine, was told to be kept (NodeRecord::keep).
  bool kept_before = false;
  // Underlay addresses that runs before this one had.
  std::set<IpAddress> underlay_before;
  NodeRecord record;  // its boot_id is set from the above
  // What time it is by this machine, in seconds since 1970; absent: others are not told.
  std::function<std::uint64_t()> clock;
  [[nodiscard]] Incarnation incarnation() const { return {name, boot_id}; }
};

struct Node {
  std::optional<NodeRecord> record;  // the last one that could be read; absent: there was none
  std::optional<std::string> alive;  // the boot id of the run that is alive
  std::string wrong;                 // why what stands in etcd is not `record`; empty: it is
  auto operator<=>(const Node&) const = default;
};

struct NodeDifference {
  std::map<std::string, Node> set;
  std::vector<std::string> gone;
};

struct RegistryHandlers {
  std::function<void(const NodeDifference& difference)> changed;  // never empty; nodes() has it already
  std::function<void()> joined;
  // Until `joined`, others may see this node as away.
  std::function<void(const etcd::Failure& why)> left;
  // Another run of a node of this name is alive. Tried again; told again when it is another one.
  std::function<void(const Error& error)> refused;
  Trouble trouble;
};

class NodeRegistry {
 public:
  NodeRegistry(Context context, Self self, etcd::SessionOptions session, RegistryHandlers handlers);
  ~NodeRegistry() = default;
  NodeRegistry(const NodeRegistry&) = delete;
  NodeRegistry& operator=(const NodeRegistry&) = delete;

  [[nodiscard]] const Self& self() const { return self_; }
  // Absent while it is away, or refused.
  [[nodiscard]] const std::optional<Membership>& membership() const { return membership_; }
  // What this node had confirmed while it was a member may be used until then, should it not come back: no clock in the
  // cluster can have found it away for the whole delay before. Set by each `left`.
  [[nodiscard]] etcd::Scheduler::Time trusted_until() const { return trusted_until_; }

  [[nodiscard]] const std::map<std::string, Node>& nodes() const { return nodes_; }
  [[nodiscard]] bool synced() const { return records_.synced() && alive_.synced(); }
  // Of those that are alive; who has told nothing of itself yet reads nothing yet.
  [[nodiscard]] bool all_read_slices() const;
  // Its watches stand. The lease may do so for a while without.
  [[nodiscard]] bool hears() const { return records_.live() && alive_.live(); }
  // Why not, if it is known.
  [[nodiscard]] const std::optional<etcd::Failure>& why_deaf() const {
    return alive_.live() ? records_.problem() : alive_.problem();
  }

  [[nodiscard]] Candidate candidate() {
    return {[this] { return membership_; }, encode(self_.incarnation())};
  }

  // Writes another record of this node.
  void update(NodeRecord record);
  // Ends the lease, so that others see this node as away at once.
  void close(etcd::Done<void> done);

 private:
  bool step();
  bool join();
  void join_answered(const etcd::Outcome<etcd::TxnResult>& outcome, etcd::LeaseId lease);
  void met_other(const etcd::KeyValue& kv, const std::optional<NodeRecord>& record);
  [[nodiscard]] bool is_run_before(const etcd::KeyValue& kv, const std::optional<NodeRecord>& record) const;
  void refuse(const Incarnation& other, const std::optional<NodeRecord>& record);
  bool write_record();
  [[nodiscard]] std::string told_record() const;
  void leave(const etcd::Failure& why);
  void alive_changed(const etcd::Change& change);
  void records_changed(const etcd::Change& change);
  void refresh(const etcd::Change& change);
  [[nodiscard]] Node read(const std::string& name);
  void trouble(const Error& error);

  Context context_;
  Self self_;
  RegistryHandlers handlers_;
  std::string alive_key_;
  std::string record_key_;
  std::optional<Membership> membership_;
  std::uint64_t epoch_ = 0;
  etcd::LeaseId lease_ = 0;
  etcd::Revision joined_at_ = 0;
  etcd::Revision replaced_ = 0;         // of our own earlier `alive` key, which the next try to join replaces
  std::set<etcd::LeaseId> own_leases_;  // that `alive` was written under, or may have been
  std::string refused_for_;             // the boot id and addresses that `refused` has been told of
  bool record_written_ = false;
  etcd::Revision told_at_ = 0;  // when our record was written last
  bool closed_ = false;
  etcd::Scheduler::Time trusted_until_{};
  std::map<std::string, Node> nodes_;
  Turns turns_;
  etcd::Mirror records_;
  etcd::Mirror alive_;
  etcd::Session session_;
};

}  // namespace weft::cluster
