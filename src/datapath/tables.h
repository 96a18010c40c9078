// All reconciled maps together, and the order in which they change.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "bpfrt/map.h"
#include "datapath/bridge.h"
#include "datapath/map_table.h"
#include "datapath/remote_table.h"
#include "datapath/rows.h"
#include "datapath/service_tables.h"

namespace weft::datapath {

struct ReconcileStatus {
  std::uint64_t pending = 0;  // writes still owed
  std::uint64_t failed = 0;   // rows whose last write failed
  std::string last_error;
};

class Tables {
 public:
  // `find` gives the map of a name, which must outlive the tables, or null.
  using Find = std::function<bpfrt::RawMap*(const std::string&)>;
  static Result<std::unique_ptr<Tables>> open(const Find& find);

  // Brings the maps to `rows`: additions, then the switch (addresses, endpoints, epoch), then
  // removals, so no packet sees half a policy. Refused whole, with the kernel untouched, when a map
  // would overflow (`exhausted`, naming it). An `io` error after that means writes are owed: `rows`
  // are what is wanted now, retry() goes on, and until the additions are complete the switch waits,
  // so the last good policy stays.
  Result<void> apply(const DesiredRows& rows, const control::ServiceDelta& services);
  // A change of services and other nodes' endpoints alone: costs what the difference is. `config` as in the rows.
  Result<void> apply(const control::ServiceDelta& services, const Rows<weft_l2_key, weft_l2>& announced,
                     const weft_config& config, const RemoteRows& remotes = {});
  // Whether apply() would take them; services are admitted by their compiler, remotes never refused.
  [[nodiscard]] Result<void> admit(const DesiredRows& rows) const;
  // Goes on with what is owed and due. True when nothing is.
  bool retry();
  [[nodiscard]] ReconcileStatus status() const;
  // The addresses the datapath answers the neighbours for.
  // The datapath may have given some of them up (Datapath::watch_until): those that are wanted are written again.
  Result<void> restore_announced();
  [[nodiscard]] Rows<weft_l2_key, weft_l2> announced() const { return announced_->actual_rows(); }
  // Addresses of other nodes that weft_remote_v1 has no room for, and how many it has room for.
  [[nodiscard]] std::size_t remotes_left_out() const { return remotes_->left_out(); }
  [[nodiscard]] std::uint32_t remotes_capacity() const { return remotes_->capacity(); }
  // Every address of other nodes that is there.
  template <class Visit>
  void each_remote(const Visit& visit) const {
    remotes_->each_address(visit);
  }
  // What is there of it; null: nothing.
  [[nodiscard]] const weft_remote* remote(const weft_addr& address) const { return remotes_->actual(address); }
  // What is there of other nodes beside the remotes, which stay as they are: nodes, the prefixes that are a node's
  // blocks, and gateways among them.
  struct OfNodes {
    Rows<std::uint32_t, weft_node> nodes;
    Rows<weft_lpm_key, weft_ip_identity> blocks;
    Rows<weft_egress_key, weft_egress> egress;
    Rows<std::uint32_t, weft_next_hop> next_hops;
  };
  [[nodiscard]] OfNodes of_nodes() const;
  [[nodiscard]] const ServiceTables& services() const { return *services_; }
  [[nodiscard]] std::uint32_t epoch() const { return config_.epoch; }
  [[nodiscard]] const weft_config& config() const { return config_; }  // as it is in the map

 private:
  Tables() = default;
  bool proceed();
  Result<void> outcome();
  bool add_rows();
  // The rows with what bridges them and those that are there (bridge.h).
  struct Wanted {
    Rows<weft_policy_key, weft_policy_entry> policy;
    IdentityChange change;
    Bridge bridge;
  };
  [[nodiscard]] Wanted wanted(const DesiredRows& rows) const;
  [[nodiscard]] Result<void> admit(const DesiredRows& rows, const Wanted& wanted) const;
  Result<void> want(const DesiredRows& rows);
  void want(const RemoteRows& rows, const IdentityChange& change);
  bool switch_over();
  bool switch_endpoints();
  bool remove_rows();
  [[nodiscard]] bool switch_changes_decisions() const;
  [[nodiscard]] bool config_changes_decisions() const;
  [[nodiscard]] std::uint64_t writes() const;
  bool write_config(bool owed);

  std::unique_ptr<MapTable<weft_policy_key, weft_policy_entry>> policy_;
  std::unique_ptr<MapTable<weft_addr, weft_endpoint>> endpoints_;
  std::unique_ptr<MapTable<weft_lpm_key, weft_ip_identity>> identities_;
  std::unique_ptr<RemoteTable> remotes_;
  std::unique_ptr<MapTable<std::uint32_t, weft_node>> nodes_;
  std::unique_ptr<MapTable<weft_egress_key, weft_egress>> egress_;
  std::unique_ptr<MapTable<std::uint32_t, weft_next_hop>> next_hops_;
  std::unique_ptr<MapTable<std::uint64_t, weft_netns>> netns_;
  std::unique_ptr<MapTable<std::uint32_t, weft_device>> devices_;
  std::unique_ptr<MapTable<weft_l2_key, weft_l2>> announced_;
  std::unique_ptr<ServiceTables> services_;
  bpfrt::RawMap* config_map_ = nullptr;
  weft_config config_{};                                        // as written last
  weft_config wanted_config_{};                                 // epoch ignored
  std::vector<weft_policy_key> bridging_;                       // rows that leave after the switch
  std::vector<Rows<weft_addr, weft_endpoint>> endpoint_steps_;  // still to come, the next one last
  Rows<weft_addr, weft_remote> late_remotes_;                   // after those
  // Decisions made before the switch, or before the removals, may be stale: a new epoch follows each.
  bool switch_owed_ = false;
  bool removal_owed_ = false;
  bool forced_ = false;  // a new epoch is owed though no row is written
  std::uint64_t writes_at_epoch_ = 0;
  std::string config_error_;
};

}  // namespace weft::datapath
