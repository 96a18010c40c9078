#include "datapath/tables.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "datapath/bridge.h"

namespace weft::datapath {
namespace {

template <class K, class V>
Result<void> open_table(std::unique_ptr<MapTable<K, V>>& table, const Tables::Find& find, const char* name,
                        Storage storage = Storage::hash) {
  auto* raw = find(name);
  if (raw == nullptr) return fail(ErrorCode::internal, fmt::format("no map {}", name));
  WEFT_TRY(table, MapTable<K, V>::open(*raw, storage));
  return {};
}

// The array has rows by number, whatever their count.
Result<void> admit_nodes(const Rows<std::uint32_t, weft_node>& nodes, std::uint32_t capacity) {
  for (const auto& [index, node] : nodes)
    if (index == 0 || index >= capacity)
      return fail(ErrorCode::exhausted,
                  fmt::format("weft_node_v1 has no place {} for a node, only 1 to {}", index, capacity - 1));
  return {};
}

}  // namespace

Result<std::unique_ptr<Tables>> Tables::open(const Find& find) {
  std::unique_ptr<Tables> tables(new Tables);
  WEFT_CHECK(open_table(tables->policy_, find, "weft_policy_v1"));
  WEFT_CHECK(open_table(tables->endpoints_, find, "weft_ep_v1"));
  WEFT_CHECK(open_table(tables->identities_, find, "weft_ipid_v2"));
  auto* remotes = find("weft_remote_v1");
  if (remotes == nullptr) return fail(ErrorCode::internal, "no map weft_remote_v1");
  WEFT_TRY(tables->remotes_, RemoteTable::open(*remotes));
  WEFT_CHECK(open_table(tables->nodes_, find, "weft_node_v1", Storage::array));
  WEFT_CHECK(open_table(tables->egress_, find, "weft_egress_v1"));
  WEFT_CHECK(open_table(tables->next_hops_, find, "weft_nexthop_v1"));
  WEFT_CHECK(open_table(tables->netns_, find, "weft_netns_v1"));
  WEFT_CHECK(open_table(tables->devices_, find, "weft_dev_v1"));
  WEFT_CHECK(open_table(tables->announced_, find, "weft_l2_v1"));
  WEFT_TRY(tables->services_, ServiceTables::open(find));
  tables->config_map_ = find("weft_config_v3");
  if (tables->config_map_ == nullptr) return fail(ErrorCode::internal, "no map weft_config_v3");
  WEFT_TRY(const auto config, (bpfrt::Map<std::uint32_t, weft_config>(*tables->config_map_).lookup(0)));
  if (config) tables->config_ = tables->wanted_config_ = *config;
  // The last run may have ended between a row and its epoch.
  tables->switch_owed_ = tables->forced_ = tables->policy_->has_rows() || tables->endpoints_->has_rows();
  return tables;
}

Tables::Wanted Tables::wanted(const DesiredRows& rows) const {
  Wanted wanted{rows.policy, {}, {}};
  DesiredRows before;
  before.identities = identities_->actual_rows();
  wanted.change = identity_change(before.identities, rows.identities);
  if (wanted.change.empty()) return wanted;
  before.policy = policy_->actual_rows();
  before.endpoints = endpoints_->actual_rows();
  wanted.bridge = bridge(wanted.change, before, rows);
  wanted.policy.insert(wanted.bridge.policy.begin(), wanted.bridge.policy.end());
  return wanted;
}

Result<void> Tables::admit(const DesiredRows& rows) const { return admit(rows, wanted(rows)); }

Result<void> Tables::admit(const DesiredRows& rows, const Wanted& wanted) const {
  WEFT_CHECK(policy_->admit(wanted.policy));
  WEFT_CHECK(endpoints_->admit(rows.endpoints));
  WEFT_CHECK(identities_->admit(rows.identities));
  WEFT_CHECK(nodes_->admit(rows.nodes));
  WEFT_CHECK(admit_nodes(rows.nodes, nodes_->capacity()));
  WEFT_CHECK(egress_->admit(rows.egress));
  WEFT_CHECK(next_hops_->admit(rows.next_hops));
  WEFT_CHECK(netns_->admit(rows.netns));
  WEFT_CHECK(devices_->admit(rows.devices));
  return announced_->admit(rows.announced);
}

Result<void> Tables::want(const DesiredRows& rows) {
  auto wanted = this->wanted(rows);
  WEFT_CHECK(admit(rows, wanted));
  WEFT_CHECK(policy_->want(wanted.policy));
  WEFT_CHECK(identities_->want(rows.identities));
  want(rows.remotes, wanted.change);
  WEFT_CHECK(nodes_->want(rows.nodes));
  WEFT_CHECK(egress_->want(rows.egress));
  WEFT_CHECK(next_hops_->want(rows.next_hops));
  WEFT_CHECK(netns_->want(rows.netns));
  WEFT_CHECK(devices_->want(rows.devices));
  WEFT_CHECK(announced_->want(rows.announced));
  bridging_.clear();
  for (const auto& [key, entry] : wanted.bridge.policy)
    if (!rows.policy.contains(key)) bridging_.push_back(key);
  endpoint_steps_ = std::move(wanted.bridge.endpoints);
  std::ranges::reverse(endpoint_steps_);
  if (endpoint_steps_.empty()) return endpoints_->want(rows.endpoints);
  WEFT_CHECK(endpoints_->want(endpoint_steps_.back()));
  endpoint_steps_.pop_back();
  return {};
}

// Addresses elsewhere keep the identity of their CIDR, where that goes, until the endpoints are what is wanted.
void Tables::want(const RemoteRows& rows, const IdentityChange& change) {
  if (rows.whole) {
    remotes_->want_no_others(rows.set);
    late_remotes_.clear();
  }
  for (const auto& [address, row] : rows.set) {
    late_remotes_.erase(address);
    const auto* present = remotes_->actual(address);
    if (present == nullptr || !change.gone.contains(present->cidr_identity)) {
      remotes_->want(address, row);
      continue;
    }
    late_remotes_.emplace(address, row);
    auto kept = row;
    kept.cidr_identity = present->cidr_identity;
    remotes_->want(address, kept);
  }
  for (const auto& address : rows.gone) {
    late_remotes_.erase(address);
    remotes_->want_no_more(address);
  }
}

Result<void> Tables::apply(const DesiredRows& rows, const control::ServiceDelta& services) {
  WEFT_CHECK(want(rows));
  services_->want(services);
  wanted_config_ = rows.config;
  if (config_changes_decisions()) switch_owed_ = forced_ = true;
  if (switch_changes_decisions()) switch_owed_ = true;
  if (services.changes_decisions()) switch_owed_ = forced_ = true;
  if (policy_->removes()) {
    // Rows of a class that nobody has any more decide nothing.
    std::set<std::uint32_t> live;
    for (const auto& [address, endpoint] : rows.endpoints) live.insert(endpoint.policy_class);
    if (policy_->removes_any([&](const auto& key) { return live.contains(key.policy_class); })) removal_owed_ = true;
  }
  return outcome();
}

Result<void> Tables::apply(const control::ServiceDelta& services, const Rows<weft_l2_key, weft_l2>& announced,
                           const weft_config& config, const RemoteRows& remotes) {
  WEFT_CHECK(announced_->admit(announced));
  WEFT_CHECK(announced_->want(announced));
  want(remotes, {});
  services_->want(services);
  wanted_config_ = config;
  if (remotes_->replaces() || remotes_->removes()) switch_owed_ = true;
  if (config_changes_decisions() || services.changes_decisions()) switch_owed_ = forced_ = true;
  return outcome();
}

Result<void> Tables::outcome() {
  if (proceed()) return {};
  const auto now = status();
  return fail(ErrorCode::io, fmt::format("{} map writes failed, they are repeated: {}", now.failed, now.last_error));
}

bool Tables::retry() { return proceed(); }

Result<void> Tables::restore_announced() {
  WEFT_CHECK(announced_->reread());
  return outcome();
}

// Whether a decision made under the old rows may differ under the new ones. Rows that only add an
// endpoint, an allowance or a service do not touch flows that exist.
bool Tables::switch_changes_decisions() const {
  if (policy_->replaces()) return true;
  if (endpoints_->replaces() || endpoints_->removes()) return true;
  if (identities_->adds() || identities_->removes()) return true;
  if (remotes_->replaces() || remotes_->removes() || nodes_->replaces() || nodes_->removes()) return true;
  if (egress_->adds() || egress_->removes()) return true;
  return devices_->adds() || devices_->removes();
}

bool Tables::config_changes_decisions() const {
  auto current = config_;
  auto wanted = wanted_config_;
  current.epoch = wanted.epoch = 0;
  // Turning services, their hooks or events on or off changes no decision.
  constexpr auto harmless = static_cast<std::uint32_t>(
      WEFT_CONFIG_EVENTS | WEFT_CONFIG_SERVICES | WEFT_CONFIG_EXTERNAL | WEFT_CONFIG_HOST_BACKENDS | WEFT_CONFIG_L2 |
      WEFT_CONFIG_DECAPSULATE | WEFT_CONFIG_LB_PORTS_RESERVED);
  current.flags &= ~harmless;
  wanted.flags &= ~harmless;
  return std::memcmp(&current, &wanted, sizeof current) != 0;
}

bool Tables::proceed() {
  // What fails may have happened nevertheless, and goes on later: the epoch follows it then too.
  if (!add_rows()) {
    switch_owed_ = true;
    return false;
  }
  const bool switched = switch_over();
  if (!switched) switch_owed_ = true;
  if (!write_config(switch_owed_) || !switched) return false;
  switch_owed_ = false;
  const bool removed = remove_rows();
  if (!write_config(removal_owed_) || !removed) return false;
  removal_owed_ = false;
  return true;
}

bool Tables::add_rows() {
  // Policy rows before the addresses and endpoints that lead to them.
  bool complete = policy_->add();
  complete = devices_->add() && complete;
  // A way before the addresses that lead to it; one that is there already changes with the epoch.
  if (!nodes_->replaces()) complete = nodes_->add() && complete;
  complete = next_hops_->add() && complete;
  return complete;
}

bool Tables::switch_over() {
  bool complete = nodes_->add();
  complete = switch_endpoints() && complete;
  // Narrower prefixes first come into being; what they replace goes when all are there.
  complete = complete && egress_->add() && egress_->remove();
  complete = announced_->add() && complete;
  complete = announced_->remove() && complete;
  complete = netns_->add() && complete;
  complete = netns_->remove() && complete;
  return complete;
}

// New identities of addresses before the classes that tell them apart, old ones for as long as a class
// may (bridge.h). A new endpoint is there before a service leads to it, an old one until none does.
bool Tables::switch_endpoints() {
  if (!identities_->add() || !remotes_->add()) return false;
  bool complete = endpoints_->add();
  while (complete && !endpoint_steps_.empty()) {
    complete = static_cast<bool>(endpoints_->want(endpoint_steps_.back()));
    endpoint_steps_.pop_back();
    complete = endpoints_->add() && complete;
  }
  if (complete && !late_remotes_.empty()) {
    for (const auto& [address, row] : std::exchange(late_remotes_, {})) remotes_->want(address, row);
    complete = remotes_->add();
  }
  const bool served = services_->add() && services_->remove();
  complete = endpoints_->remove() && complete;
  return complete && served && remotes_->remove() && identities_->remove();
}

bool Tables::remove_rows() {
  for (const auto& key : bridging_) policy_->want_no_more(key);
  bridging_.clear();
  bool complete = policy_->remove();
  complete = devices_->remove() && complete;
  // Flows decided before the switch named the node; the addresses that lead to it are gone.
  complete = nodes_->remove() && complete;
  complete = next_hops_->remove() && complete;
  return complete;
}

std::uint64_t Tables::writes() const {
  return policy_->writes() + endpoints_->writes() + identities_->writes() + remotes_->writes() + nodes_->writes() +
         egress_->writes() + devices_->writes() + services_->writes();
}

// Writes the config if it differs, with the next epoch if that is owed and something happened since the last.
bool Tables::write_config(bool owed) {
  const bool advance = owed && (forced_ || writes() != writes_at_epoch_);
  auto next = wanted_config_;
  next.epoch = advance ? config_.epoch + 1 : config_.epoch;
  config_error_.clear();
  if (std::memcmp(&next, &config_, sizeof next) == 0) return true;
  if (auto written = bpfrt::Map<std::uint32_t, weft_config>(*config_map_).update(0, next); !written) {
    config_error_ = written.error().message;
    return false;
  }
  config_ = next;
  if (advance) {
    forced_ = false;
    writes_at_epoch_ = writes();
  }
  return true;
}

Tables::OfNodes Tables::of_nodes() const {
  OfNodes rows{nodes_->actual_rows(), identities_->actual_rows(), egress_->actual_rows(), next_hops_->actual_rows()};
  std::erase_if(rows.blocks, [](const auto& row) { return row.second.node == 0; });
  return rows;
}

ReconcileStatus Tables::status() const {
  ReconcileStatus total;
  const auto include = [&](const reconcile::Status& status) {
    total.pending += status.pending_upserts + status.pending_deletes;
    total.failed += status.failed;
    if (status.last_error) total.last_error = status.last_error->message;
  };
  include(policy_->status());
  include(endpoints_->status());
  include(identities_->status());
  include(remotes_->status());
  include(nodes_->status());
  include(egress_->status());
  include(next_hops_->status());
  include(netns_->status());
  include(devices_->status());
  include(announced_->status());
  services_->include(include);
  if (!config_error_.empty()) {
    ++total.pending;
    ++total.failed;
    total.last_error = config_error_;
  }
  return total;
}

}  // namespace weft::datapath
