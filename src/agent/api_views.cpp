// API: status and lists.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <ranges>

#include "agent/agent.h"
#include "agent/bgp.h"
#include "agent/counters.h"
#include "agent/encryption.h"
#include "agent/out_of_range.h"
#include "agent/withheld.h"
#include "base/utc_text.h"
#include "control/policy/policy.h"
#include "flow/time.h"
#include "sys/system.h"

namespace weft::agent {
namespace {

using nlohmann::json;

std::string time_text(std::chrono::system_clock::time_point time) {
  return flow::format_time(std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count());
}

// Whether the sockets of this endpoint's processes pass the socket hook: they must live below the
// cgroup it hangs on. Without a process there is nothing to verify yet.
json socket_coverage(const LiveEndpoint& endpoint, const datapath::Features& features) {
  if (!features.socket_hook) return {{"covered", false}, {"detail", "no socket hook: services are translated in tc"}};
  const auto mount = sys::cgroup2_mount();
  const bool whole = mount && *mount == features.cgroup;
  const auto pids = sys::processes_in_netns(endpoint.record.netns_inode);
  const std::string below =
      mount && !whole && features.cgroup.starts_with(*mount) ? features.cgroup.substr(mount->size()) : "/";
  for (const auto pid : pids) {
    const auto cgroup = sys::cgroup2_of(pid);
    if (!cgroup) continue;
    const bool covered = whole || *cgroup == below || cgroup->starts_with(below + "/");
    if (!covered)
      return {{"covered", false},
              {"detail", fmt::format("process {} is in cgroup {}, outside {}: its services are translated in tc", pid,
                                     *cgroup, below)}};
  }
  if (whole) {
    std::string where = pids.empty() ? "" : sys::cgroup2_of(pids.front()).value_or("");
    return {{"covered", true},
            {"detail", where.empty() ? "hook at the cgroup root" : "hook at the cgroup root, process in " + where}};
  }
  if (pids.empty()) return {{"covered", nullptr}, {"detail", "no process yet"}};
  return {{"covered", true}, {"detail", "below " + below}};
}

json map_json(const bpfrt::RawMap& map, const control::ServiceCompiler::Usage& usage) {
  const auto info = map.info();
  if (!info) return json::object();
  std::uint64_t entries = 0;
  // Of the arrays that are given out in pieces what is given out.
  if (info->name == "weft_slot_v2")
    entries = usage.slots;
  else if (info->name == "weft_backend_v2" || info->name == "weft_bstat_v1")
    entries = usage.backends;
  else if (info->name.starts_with("weft_svcstate_v"))
    entries = usage.services;
  else if (info->type == "ringbuf" || info->type == "array" || info->type == "percpu_array")
    entries = info->max_entries;
  else
    (void)map.for_each([&](bpfrt::Bytes, bpfrt::Bytes) {
      ++entries;
      return true;
    });
  return {{"name", info->name},
          {"type", info->type},
          {"key_bytes", info->key_size},
          {"value_bytes", info->value_size},
          {"entries", entries},
          {"max_entries", info->max_entries},
          {"memory_bytes", info->memory_bytes}};
}

}  // namespace

const LiveEndpoint* Agent::live(const model::ObjectKey& pod) const {
  for (const auto& endpoint : compiled().endpoints)
    if (endpoint.pod() == pod) return &endpoint;
  return nullptr;
}

const LiveEndpoint* Agent::live(const IpAddress& address) const {
  for (const auto& endpoint : compiled().endpoints)
    for (const auto& own : endpoint.record.addresses)
      if (own == address) return &endpoint;
  return nullptr;
}

json Agent::list_endpoints() {
  auto items = json::array();
  for (const auto& [key, record] : attachment_->records()) {
    json item{{"id", record.endpoint_id},
              {"namespace", record.namespace_},
              {"pod", record.pod},
              {"workload", ""},
              {"container_id", key.container_id},
              {"ifname", key.ifname},
              {"netns", record.netns_path},
              {"state",
               record.ifindex == 0 && record.state == store::EndpointState::ready ? "lost" : to_string(record.state)},
              {"device", record.device},
              {"ifindex", record.ifindex},
              {"mac", record.mac.to_string()},
              {"addresses", json::array()},
              {"host_ports", json::array()},
              {"identity", 0},
              {"labels", json::array()},
              {"policy", {{"ingress", false}, {"egress", false}, {"class", 0}}},
              {"socket_lb", {{"covered", nullptr}, {"detail", ""}}}};
    for (const auto& address : record.addresses) item["addresses"].push_back(address.to_string());
    for (const auto& mapping : record.port_mappings)
      item["host_ports"].push_back({{"host_ip", mapping.host_ip ? mapping.host_ip->to_string() : ""},
                                    {"host_port", mapping.host_port},
                                    {"container_port", mapping.container_port},
                                    {"protocol", weft::to_string(mapping.protocol)}});
    const auto* endpoint = live(model::ObjectKey{record.namespace_, record.pod});
    if (endpoint != nullptr) {
      item["workload"] = endpoint->workload;
      item["identity"] = endpoint->identity;
      if (const auto* identity = compiler().identities().find(endpoint->identity))
        item["labels"] = to_texts(identity->labels);
      const auto policy = compiled().policy.endpoints.find(endpoint->pod());
      if (policy != compiled().policy.endpoints.end())
        item["policy"] = {{"ingress", policy->second.enforced[WEFT_INGRESS]},
                          {"egress", policy->second.enforced[WEFT_EGRESS]},
                          {"class", policy->second.policy_class}};
      item["socket_lb"] = socket_coverage(*endpoint, datapath_->features());
    }
    items.push_back(std::move(item));
  }
  return {{"items", items}};
}

json Agent::list_identities() const {
  std::map<control::IdentityId, int> users;
  for (const auto& endpoint : compiled().endpoints) ++users[endpoint.identity];
  auto items = json::array();
  const auto add = [&](const control::Identity& identity) {
    items.push_back({{"id", identity.id},
                     {"labels", to_texts(identity.labels)},
                     {"endpoints", users[identity.id]},
                     {"cidr", nullptr}});
  };
  for (const auto& identity : control::reserved_identities()) add(identity);
  for (const auto& [id, identity] : compiler().identities().all()) add(identity);
  for (const auto& [cidr, id] : compiled().cidr_identities)
    items.push_back({{"id", id},
                     {"labels", {"cidr:" + cidr.to_string(), "reserved:world"}},
                     {"endpoints", 0},
                     {"cidr", cidr.to_string()}});
  return {{"items", items}};
}

json Agent::list_policies() const {
  auto items = json::array();
  for (const auto& [key, policy] : *compiled().policy_input.policies) {
    json item{{"namespace", key.namespace_},
              {"name", key.name},
              {"location", {{"file", policy.meta.location.file}, {"line", policy.meta.location.line}}},
              {"ingress_rules", policy.ingress.size()},
              {"egress_rules", policy.egress.size()},
              {"types", json::array()},
              {"selector", policy.pod_selector.to_string()},
              {"selects", json::array()}};
    if (policy.applies_ingress) item["types"].push_back("Ingress");
    if (policy.applies_egress) item["types"].push_back("Egress");
    for (const auto& endpoint : compiled().endpoints)
      if (endpoint.record.namespace_ == key.namespace_ && policy.pod_selector.matches(endpoint.pod_labels))
        item["selects"].push_back(endpoint.pod().to_string());
    items.push_back(std::move(item));
  }
  return {{"items", items}};
}

json Agent::list_ipam() const {
  json result{
      {"cidrs", pools_json()}, {"pools", json::array()}, {"allocations", json::array()}, {"quarantine", json::array()}};
  const auto allocations = ipam_->allocations();
  const auto quarantined = ipam_->quarantined();
  for (const auto& use : ipam_->uses()) {
    const auto gateway = ipam_->gateway(use.cidr.family());
    result["pools"].push_back({{"name", use.pool},
                               {"cidr", use.cidr.to_string()},
                               {"family", use.cidr.is_v4() ? 4 : 6},
                               {"gateway", gateway ? gateway->to_string() : ""},
                               {"capacity", use.capacity},
                               {"allocated", use.allocated},
                               {"quarantined", use.quarantined}});
  }
  for (const auto& allocation : allocations) {
    json item{{"address", allocation.address.to_string()}, {"owner", allocation.owner}, {"namespace", ""}, {"pod", ""}};
    for (const auto& [key, record] : attachment_->records())
      if (key.owner() == allocation.owner) {
        item["namespace"] = record.namespace_;
        item["pod"] = record.pod;
      }
    result["allocations"].push_back(std::move(item));
  }
  for (const auto& entry : quarantined)
    result["quarantine"].push_back({{"address", entry.address.to_string()}, {"until", time_text(entry.until)}});
  return result;
}

// Addresses of Services this node answers for by ARP and neighbour discovery.
json Agent::announced_json() const {
  auto items = json::array();
  for (const auto& [key, row] : publisher_->announced()) {
    const auto uplink = node_.uplinks.find(key.ifindex);
    MacAddress mac;
    std::ranges::copy(row.mac, mac.bytes.begin());
    items.push_back({{"address", datapath::from_abi(key.addr).to_string()},
                     {"device", uplink == node_.uplinks.end() ? "" : uplink->second.name},
                     {"mac", mac.to_string()}});
  }
  return items;
}

std::string Agent::announcer_of(const IpAddress& address) const {
  if (cluster_) {
    const auto& holders = cluster_->member().announcers().holders();
    const auto found = holders.find(address);
    return found == holders.end() ? std::string() : found->second;
  }
  const auto at = publisher_->announced().lower_bound({datapath::to_abi(address), 0});
  const bool here = at != publisher_->announced().end() && datapath::from_abi(at->first.addr) == address;
  return here ? config_.node : std::string();
}

// Those of the whole cluster, by whichever node.
json Agent::announcers_json() const {
  auto items = json::array();
  if (cluster_)
    for (const auto& [address, node] : cluster_->member().announcers().holders())
      items.push_back({{"address", address.to_string()}, {"node", node}});
  return items;
}

// Services that are not served as they are wished to be, one line for each kind of it.
std::vector<std::string> Agent::unserved() const {
  constexpr std::size_t shown = 3;
  std::vector<std::string> problems;
  const auto pending = services().pending();
  if (!pending.empty() && !objects_->pools().empty()) {
    std::vector<std::string> names;
    for (const auto& [service, reason] : pending)
      if (names.size() < shown) names.push_back(fmt::format("{} ({})", service.to_string(), reason));
    problems.push_back(fmt::format("{} Service{} for a load balancer address: {}{}", pending.size(),
                                   pending.size() == 1 ? " waits" : "s wait", fmt::join(names, ", "),
                                   pending.size() > shown ? ", ..." : ""));
  }
  const auto shadowed = services().shadowed();
  if (!shadowed.empty()) {
    std::vector<std::string> names;
    for (const auto& one : shadowed)
      if (names.size() < shown)
        names.push_back(fmt::format("{} port {}/{} of {} leads to {}", one.frontend.address.to_string(),
                                    one.frontend.port, weft::to_string(one.protocol), one.service.to_string(),
                                    one.owner.to_string()));
    problems.push_back(fmt::format("{} frontend{} another Service, which had it first: {}{}", shadowed.size(),
                                   shadowed.size() == 1 ? " leads to" : "s lead to", fmt::join(names, ", "),
                                   shadowed.size() > shown ? ", ..." : ""));
  }
  const auto tell = [&](const char* one, const char* several, const std::vector<std::string>& withheld) {
    if (withheld.empty()) return;
    const auto named = withheld | std::views::take(shown);
    problems.push_back(fmt::format("{} {} not served: {}{}", withheld.size(), withheld.size() == 1 ? one : several,
                                   fmt::join(named.begin(), named.end(), ", "),
                                   withheld.size() > shown ? ", ..." : ""));
  };
  tell("host port is", "host ports are", publisher_->withheld_host_ports());
  std::vector<std::string> asked;
  std::vector<std::string> given;
  for (const auto& [service, withheld] : withheld_addresses(*publisher_))
    for (const auto& one : withheld) (one.of_status ? given : asked).push_back(withheld_text(service, one));
  tell("external IP is", "external IPs are", asked);
  tell("load balancer address is", "load balancer addresses are", given);
  return problems;
}

// What is served as it was, though the configuration's ranges have changed.
std::vector<std::string> Agent::outside_ranges() const {
  constexpr std::size_t shown = 3;
  std::vector<std::string> texts;
  std::size_t count = 0;
  for (const auto& service : publisher_->held_out_of_range())
    for (const auto& text : out_of_range(services().held(service), config_))
      if (++count <= shown) texts.push_back(fmt::format("Service {}: {}", service.to_string(), text));
  if (count > shown)
    texts.push_back(fmt::format("{} more addresses and ports of Services are outside the ranges", count - shown));
  return texts;
}

json Agent::kubernetes_json() const {
  if (!kubernetes_) return nullptr;
  auto kubernetes = kubernetes_->status_json();
  life_->add_status(kubernetes);
  return kubernetes;
}

json Agent::cluster_json() const {
  if (!cluster_) return nullptr;
  auto cluster = cluster_->status_json();
  if (cluster_objects_) cluster["store"] = cluster_objects_->status_json();
  if (encryption_) cluster["encryption"] = encryption_->status_json();
  return cluster;
}

// Takes a reading of them, too.
json Agent::drops_json() {
  auto list = drop_counters(datapath_->map("weft_drops_v1"));
  RecentDrops::Packets packets;
  for (const auto& drop : list) packets[drop["reason"].get<std::string>()] = drop["packets"].get<std::uint64_t>();
  recent_drops_.take(packets, std::chrono::steady_clock::now(), std::chrono::system_clock::now());
  for (auto& drop : list) {
    const auto recent = recent_drops_.of(drop["reason"].get<std::string>());
    drop["recent"] = recent.packets;
    drop["last"] = recent.last ? json(utc_text(*recent.last)) : json(nullptr);
  }
  return list;
}

json Agent::status() {
  const auto& features = datapath_->features();
  const auto reconcile = datapath_->tables().status();
  auto maps = json::array();
  std::uint64_t memory = 0;
  const auto usage = services().usage();
  for (const auto& name : datapath_->map_names()) {
    maps.push_back(map_json(*datapath_->map(name), usage));
    memory += maps.back().value("memory_bytes", std::uint64_t{0});
  }
  std::size_t attached = 0;
  for (const auto& [key, record] : attachment_->records())
    if (record.state == store::EndpointState::ready && record.ifindex != 0) ++attached;
  const auto counts = flows_->counts();
  auto drops = drops_json();
  const auto found = findings();
  auto problems = json::array();
  auto remedies = json::object();
  for (const auto& [text, remedy] : found.all) {
    problems.push_back(text);
    if (!remedy.empty()) remedies[text] = remedy;
  }
  auto uplinks = json::array();
  for (const auto& [index, uplink] : node_.uplinks) {
    const auto on = datapath_->uplink_attached(index);
    json entry{{"name", uplink.name}, {"ifindex", index}, {"mtu", uplink.mtu}, {"addresses", json::array()}};
    entry["attached"] = on && *on;
    if (const auto xdp = features.xdp.find(index); xdp != features.xdp.end())
      entry["xdp"] = {{"mode", bpfrt::to_string(xdp->second.mode)}, {"detail", xdp->second.why_off}};
    for (const auto& address : {uplink.v4, uplink.v6})
      if (address) entry["addresses"].push_back(address->to_string());
    uplinks.push_back(std::move(entry));
  }
  return {{"version", WEFT_VERSION},
          {"instance", config_.instance},
          {"node", config_.node},
          {"pid", ::getpid()},
          {"started", time_text(started_)},
          {"uptime_seconds",
           std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now() - started_).count()},
          {"rss_bytes", sys::resident_bytes(::getpid()).value_or(0)},
          {"health", found.degraded ? "degraded" : "ok"},
          {"problems", std::move(problems)},
          {"kubernetes", kubernetes_json()},
          {"remedies", std::move(remedies)},
          {"kernel",
           {{"release", sys::kernel_release()},
            {"attach", features.attach == bpfrt::AttachMode::tcx ? "tcx" : "clsact"},
            {"device", "veth"},
            {"redirect_peer", true},
            {"socket_hook", features.socket_hook},
            {"socket_hook_error", features.socket_hook_error},
            {"cgroup_root", features.cgroup}}},
          {"datapath",
           {{"epoch", datapath_->tables().epoch()},
            {"events", config_.events},
            {"maps", maps},
            {"map_memory_bytes", memory},
            {"drops", std::move(drops)},
            {"drops_recent_seconds", recent_drops_.covered().count()},
            {"stats", stat_counters(datapath_->map("weft_stats_v1"))}}},
          {"uplinks", uplinks},
          {"pods", {{"total", objects_->pods().size()}, {"attached", attached}}},
          {"unattached", unattached_.to_json()},
          {"cluster", cluster_json()},
          {"identities", compiler().identities().all().size()},
          {"policies", compiled().policy_input.policies->size()},
          {"services", services().usage().frontends},
          {"announced", announced_json()},
          {"bgp", bgp_->status_json()},
          {"announcers", announcers_json()},
          {"flows", {{"seen", counts.seen}, {"lost", counts.lost}, {"kept", counts.kept}}},
          {"ipam", list_ipam()["pools"]},
          {"reconcile",
           {{"pending", reconcile.pending}, {"failed", reconcile.failed}, {"last_error", reconcile.last_error}}}};
}

void Agent::register_views() {
  server_->handle("status", [this](const json&) -> api::Answer { return status(); });
  server_->handle("endpoint.list", [this](const json&) -> api::Answer { return list_endpoints(); });
  server_->handle("identity.list", [this](const json&) -> api::Answer { return list_identities(); });
  server_->handle("policy.list", [this](const json&) -> api::Answer { return list_policies(); });
  server_->handle("ipam.list", [this](const json&) -> api::Answer { return dated(list_ipam()); });
  server_->handle("bpf.maps", [this](const json&) -> api::Answer {
    json result{{"items", json::array()}};
    const auto usage = services().usage();
    for (const auto& name : datapath_->map_names()) result["items"].push_back(map_json(*datapath_->map(name), usage));
    return result;
  });
}

}  // namespace weft::agent
