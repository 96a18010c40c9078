#include "agent/map_dump.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>

#include "abi/flow.h"
#include "agent/service_text.h"
#include "control/nodes/nodes.h"

namespace weft::agent {
namespace {

using datapath::from_abi;
using nlohmann::json;

struct Context {
  const datapath::Datapath& datapath;
  const control::RuleTable& rules;
  const control::ServiceCompiler& services;
  std::size_t limit;
  json items = json::array();
  [[nodiscard]] bool full() const { return limit != 0 && items.size() >= limit; }
};

std::string rule_text(const Context& context, std::uint32_t id) {
  const auto* rule = context.rules.find(id);
  return rule == nullptr ? fmt::format("rule {}", id) : rule->to_string();
}

std::string owner_text(const Context& context, std::uint32_t service_id) {
  const auto* port = context.services.by_id(service_id);
  if (port == nullptr) return "";
  return port->port_name.empty() ? port->service.to_string()
                                 : fmt::format("{}:{}", port->service.to_string(), port->port_name);
}

// Visits a typed map until the limit is reached.
template <class K, class V>
Result<void> visit(Context& context, const char* name, const std::function<json(const K&, const V&)>& render) {
  auto* raw = context.datapath.map(name);
  if (raw == nullptr) return fail(ErrorCode::not_found, fmt::format("map {} is not loaded", name));
  return bpfrt::Map<K, V>(*raw).for_each([&](const K& key, const V& value) {
    if (context.full()) return false;
    auto item = render(key, value);
    if (!item.is_null()) context.items.push_back(std::move(item));
    return true;
  });
}

std::uint64_t monotonic_nanoseconds() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(time.tv_nsec);
}

std::string endpoint_text(const weft_addr& addr, std::uint16_t port) {
  const auto address = from_abi(addr);
  return address.is_v4() ? fmt::format("{}:{}", address.to_string(), ntohs(port))
                         : fmt::format("[{}]:{}", address.to_string(), ntohs(port));
}

json flow_json(const Context& context, const weft_addr& saddr, std::uint16_t sport, const weft_addr& daddr,
               std::uint16_t dport, std::uint8_t protocol, const weft_flow& flow) {
  static constexpr const char* exits[] = {"stack", "peer", "neighbour", "tunnel"};
  json item{{"source", endpoint_text(saddr, sport)},
            {"destination", endpoint_text(daddr, dport)},
            {"protocol", weft::to_string(static_cast<Protocol>(protocol))},
            {"direction", (flow.flags & WEFT_FLOW_REPLY) != 0 ? "reply" : "original"},
            {"packets", flow.packets},
            {"bytes", flow.bytes},
            {"epoch", flow.epoch},
            {"in_ifindex", flow.in_ifindex == WEFT_IN_TUNNEL ? json("tunnel") : json(flow.in_ifindex)},
            {"out_ifindex", flow.out_ifindex},
            {"exit", flow.exit < std::size(exits) ? exits[flow.exit] : "unknown"},
            {"opening", (flow.flags & WEFT_FLOW_OPENING) != 0},
            {"closed", (flow.flags & WEFT_FLOW_CLOSED) != 0},
            {"reset", (flow.flags & WEFT_FLOW_RESET) != 0},
            {"external", (flow.flags & WEFT_FLOW_EXTERNAL) != 0},
            {"source_identity", flow.src_identity},
            {"destination_identity", flow.dst_identity},
            {"egress_rule", rule_text(context, flow.egress_rule)},
            {"ingress_rule", rule_text(context, flow.ingress_rule)},
            {"service", flow.service_id},
            {"backend", flow.backend_id}};
  if (flow.exit == WEFT_EXIT_TUNNEL) item["node"] = flow.node;
  if ((flow.flags & WEFT_FLOW_DNAT) != 0) item["rewrite_destination"] = endpoint_text(flow.dst_addr, flow.dst_port);
  if ((flow.flags & WEFT_FLOW_SNAT) != 0) item["rewrite_source"] = endpoint_text(flow.src_addr, flow.src_port);
  return item;
}

weft_addr mapped(std::uint32_t network_order) { return datapath::to_abi(IpAddress::v4(ntohl(network_order))); }

Result<void> dump_flows(Context& context) {
  WEFT_CHECK((visit<weft_flow_key_v4, weft_flow>(context, "weft_flow4_v2", [&](const auto& key, const auto& flow) {
    return flow_json(context, mapped(key.saddr), key.sport, mapped(key.daddr), key.dport, key.protocol, flow);
  })));
  return visit<weft_flow_key_v6, weft_flow>(context, "weft_flow6_v2", [&](const auto& key, const auto& flow) {
    return flow_json(context, key.saddr, key.sport, key.daddr, key.dport, key.protocol, flow);
  });
}

Result<void> dump_policy(Context& context) {
  return visit<weft_policy_key, weft_policy_entry>(
      context, "weft_policy_v1", [&](const auto& key, const auto& entry) -> json {
        const auto length = key.direction_prefix & 0x7f;
        const std::uint32_t last = key.port | (0xffffU >> length);
        return {{"class", key.policy_class},
                {"direction", (key.direction_prefix & 0x80) != 0 ? "egress" : "ingress"},
                {"identity", key.identity},
                {"protocol", weft::to_string(static_cast<Protocol>(key.protocol))},
                {"ports", length == 0    ? "any"
                          : length == 16 ? std::to_string(key.port)
                                         : fmt::format("{}-{}", key.port, last)},
                {"verdict", entry.verdict == WEFT_POLICY_ALLOW ? "allow" : "deny"},
                {"rule", entry.rule},
                {"rule_text", rule_text(context, entry.rule)}};
      });
}

Result<void> dump_endpoints(Context& context) {
  return visit<weft_addr, weft_endpoint>(context, "weft_ep_v1", [&](const auto& key, const auto& value) -> json {
    return {{"address", from_abi(key).to_string()},
            {"endpoint", value.endpoint_id},
            {"ifindex", value.ifindex},
            {"identity", value.identity},
            {"cidr_identity", value.cidr_identity},
            {"class", value.policy_class},
            {"host", (value.flags & WEFT_ENDPOINT_HOST) != 0},
            {"ingress_enforced", (value.flags & WEFT_ENDPOINT_INGRESS_ENFORCED) != 0},
            {"egress_enforced", (value.flags & WEFT_ENDPOINT_EGRESS_ENFORCED) != 0},
            {"default_ingress_rule", value.default_rule[WEFT_INGRESS]},
            {"default_egress_rule", value.default_rule[WEFT_EGRESS]}};
  });
}

Result<void> dump_identities(Context& context) {
  return visit<weft_lpm_key, weft_ip_identity>(
      context, "weft_ipid_v2", [&](const auto& key, const auto& value) -> json {
        const auto address = from_abi(key.addr);
        const auto length = address.is_v4() && key.prefix_length >= 96 ? key.prefix_length - 96 : key.prefix_length;
        return {{"cidr", fmt::format("{}/{}", address.to_string(), length)},
                {"identity", value.identity},
                {"node", value.node},
                {"native", (value.flags & WEFT_IP_NATIVE) != 0},
                {"reserved", (value.flags & WEFT_IP_RESERVED) != 0},
                {"balancer", (value.flags & WEFT_IP_BALANCER) != 0}};
      });
}

Result<void> dump_remotes(Context& context) {
  return visit<weft_addr, weft_remote>(context, "weft_remote_v1", [&](const auto& key, const auto& value) -> json {
    return {{"address", from_abi(key).to_string()},
            {"identity", value.identity},
            {"cidr_identity", value.cidr_identity},
            {"node", value.node},
            {"node_address", (value.flags & WEFT_REMOTE_NODE) != 0}};
  });
}

Result<void> dump_nodes(Context& context) {
  return visit<std::uint32_t, weft_node>(context, "weft_node_v1", [&](const auto& index, const auto& value) -> json {
    if (value.way == WEFT_WAY_NONE) return nullptr;
    return {{"node", index},
            {"way", control::to_string(static_cast<weft_way>(value.way))},
            {"address", from_abi(value.addr).to_string()},
            {"source", from_abi(value.source).to_string()},
            {"device", value.ifindex},
            {"mtu", value.mtu}};
  });
}

Result<void> dump_path_mtus(Context& context) {
  const auto now = monotonic_nanoseconds();
  return visit<weft_addr, weft_path_mtu>(context, "weft_pmtu_v1", [&](const auto& key, const auto& value) -> json {
    if (value.until <= now) return nullptr;
    return {{"address", from_abi(key).to_string()},
            {"mtu", value.mtu},
            {"seconds_left", (value.until - now) / 1'000'000'000}};
  });
}

Result<void> dump_egress(Context& context) {
  return visit<weft_egress_key, weft_egress>(
      context, "weft_egress_v1", [&](const auto& key, const auto& value) -> json {
        const auto address = from_abi(key.addr);
        const auto bits = key.prefix_length - std::min(key.prefix_length, 32U);
        auto nodes = json::array();
        for (unsigned i = 0; i < std::min<unsigned>(value.count, WEFT_EGRESS_GATEWAYS); ++i)
          nodes.push_back(value.node[i] == WEFT_EGRESS_HERE ? json("here") : json(value.node[i]));
        const bool gateway = (value.flags & WEFT_EGRESS_GATEWAY) != 0;
        return {{"identity", key.identity},
                {"cidr", fmt::format("{}/{}", address.to_string(), address.is_v4() && bits >= 96 ? bits - 96 : bits)},
                {"excluded", (value.flags & WEFT_EGRESS_EXCLUDED) != 0},
                {"nodes", std::move(nodes)},
                {"spread", value.spread},
                {"address", gateway ? json(from_abi(value.address).to_string()) : json(nullptr)},
                {"ifindex", value.ifindex}};
      });
}

Result<void> dump_next_hops(Context& context) {
  return visit<std::uint32_t, weft_next_hop>(
      context, "weft_nexthop_v1", [&](const auto& index, const auto& value) -> json {
        return {{"node", index}, {"v4", from_abi(value.v4).to_string()}, {"v6", from_abi(value.v6).to_string()}};
      });
}

Result<void> dump_services(Context& context) {
  auto* slots_raw = context.datapath.map("weft_slot_v2");
  return visit<weft_service_key, weft_service>(context, "weft_svc_v2", [&](const auto& key, const auto& value) -> json {
    auto backends = json::array();
    for (std::uint32_t slot = 0; slots_raw != nullptr && slot < value.slot_count && slot < 4096; ++slot)
      if (const auto id = bpfrt::Map<std::uint32_t, std::uint32_t>(*slots_raw).lookup(value.first_slot + slot);
          id && *id)
        backends.push_back(**id);
    return {{"frontend", endpoint_text(key.addr, key.port)},
            {"protocol", weft::to_string(static_cast<Protocol>(key.protocol))},
            {"service", value.service_id},
            {"first_slot", value.first_slot},
            {"affinity_seconds", value.affinity_seconds},
            {"backends", backends}};
  });
}

Result<void> dump_backends(Context& context) {
  return visit<std::uint32_t, weft_backend>(
      context, "weft_backend_v2", [&](const auto& key, const auto& value) -> json {
        if (value.service_id == 0 && value.state == WEFT_BACKEND_GONE) return nullptr;
        return {{"backend", key},
                {"address", endpoint_text(value.addr, value.port)},
                {"protocol", weft::to_string(static_cast<Protocol>(value.protocol))}};
      });
}

Result<void> dump_netns(Context& context) {
  return visit<std::uint64_t, weft_netns>(context, "weft_netns_v1", [&](const auto& key, const auto& value) -> json {
    return {{"cookie", key}, {"endpoint", value.endpoint_id}, {"host", (value.flags & WEFT_ENDPOINT_HOST) != 0}};
  });
}

// A pod or the node is known to affinity by its endpoint: ::id.
std::string client_text(const weft_addr& client) {
  if (client.word[0] == 0 && client.word[1] == 0 && client.word[2] == 0 && client.word[3] != 0)
    return fmt::format("endpoint {}", ntohl(client.word[3]));
  return from_abi(client).to_string();
}

Result<void> dump_affinity(Context& context) {
  const auto now = monotonic_nanoseconds();
  return visit<weft_affinity_key, weft_affinity>(
      context, "weft_affin_v2", [&](const auto& key, const auto& value) -> json {
        return {{"client", client_text(key.client)},
                {"service", key.service_id},
                {"owner", owner_text(context, key.service_id)},
                {"backend", value.backend_id},
                {"age_ms", now > value.last_used ? (now - value.last_used) / 1'000'000 : 0}};
      });
}

std::string run_text(std::uint32_t first, std::uint32_t count) {
  return count == 0 ? "none" : fmt::format("{}+{}", first, count);
}

Result<void> dump_lb_frontends(Context& context) {
  return visit<weft_service_key, weft_service>(context, "weft_svc_v2", [&](const auto& key, const auto& value) -> json {
    auto flags = json::array();
    for (const auto& [flag, name] :
         {std::pair{WEFT_SERVICE_EXTERNAL, "external"}, std::pair{WEFT_SERVICE_SOURCE_RANGES, "source-ranges"},
          std::pair{WEFT_SERVICE_EXTERNAL_LOCAL, "external-local"},
          std::pair{WEFT_SERVICE_LOCAL_REDIRECT, "local-redirect"}})
      if ((value.flags & flag) != 0) flags.push_back(name);
    return {{"frontend", endpoint_text(key.addr, key.port)},
            {"protocol", weft::to_string(static_cast<Protocol>(key.protocol))},
            {"service", value.service_id},
            {"owner", owner_text(context, value.service_id)},
            {"algorithm", algorithm_text(value.algorithm)},
            {"forwarding", forwarding_text(value.forwarding)},
            {"affinity_seconds", value.affinity_seconds},
            {"internal_run", run_text(value.first_slot, value.slot_count)},
            {"external_run", run_text(value.external_first_slot, value.external_slot_count)},
            {"flags", flags}};
  });
}

Result<void> dump_lb_slots(Context& context) {
  auto* backends = context.datapath.map("weft_backend_v2");
  return visit<std::uint32_t, std::uint32_t>(context, "weft_slot_v2", [&](const auto& slot, const auto& id) -> json {
    if (id == 0) return nullptr;
    json item{{"slot", slot}, {"backend", id}, {"address", ""}, {"service", 0}, {"owner", ""}};
    if (backends == nullptr) return item;
    const auto row = bpfrt::Map<std::uint32_t, weft_backend>(*backends).lookup(id);
    if (!row || !*row) return item;
    item["address"] = endpoint_text((*row)->addr, (*row)->port);
    item["service"] = (*row)->service_id;
    item["owner"] = owner_text(context, (*row)->service_id);
    return item;
  });
}

Result<void> dump_lb_backends(Context& context) {
  auto* counters = context.datapath.map("weft_bstat_v1");
  return visit<std::uint32_t, weft_backend>(context, "weft_backend_v2", [&](const auto& id, const auto& row) -> json {
    if (id == 0 || (row.state == WEFT_BACKEND_GONE && row.service_id == 0)) return nullptr;
    json item{{"backend", id},
              {"address", endpoint_text(row.addr, row.port)},
              {"protocol", weft::to_string(static_cast<Protocol>(row.protocol))},
              {"state", backend_state_text(row.state)},
              {"local", (row.flags & WEFT_BACKEND_LOCAL) != 0},
              {"service", row.service_id},
              {"owner", owner_text(context, row.service_id)}};
    if (counters == nullptr) return item;
    const auto stats = bpfrt::Map<std::uint32_t, weft_backend_stats>(*counters).lookup(id);
    if (!stats || !*stats) return item;
    item["active"] = (*stats)->active;
    item["connections"] = (*stats)->connections;
    item["packets"] = (*stats)->packets;
    item["bytes"] = (*stats)->bytes;
    return item;
  });
}

Result<void> dump_lb_ranges(Context& context) {
  return visit<weft_source_range_key, std::uint32_t>(
      context, "weft_srange_v1", [&](const auto& key, const auto&) -> json {
        const auto address = from_abi(key.addr);
        const auto length = key.prefix_length < 32 ? 0 : key.prefix_length - 32;
        return {{"service", key.service_id},
                {"owner", owner_text(context, key.service_id)},
                {"source",
                 fmt::format("{}/{}", address.to_string(), address.is_v4() && length >= 96 ? length - 96 : length)}};
      });
}

// Ports that stand beside each other are one entry.
Result<void> dump_lb_ports(Context& context) {
  static constexpr const char* sets[] = {"node", "device"};
  static constexpr const char* protocols[] = {"TCP", "UDP", "SCTP"};
  auto* raw = context.datapath.map("weft_ports_v1");
  if (raw == nullptr) return fail(ErrorCode::not_found, "map weft_ports_v1 is not loaded");
  std::vector<std::uint64_t> words(WEFT_PORTS_WORDS);
  WEFT_CHECK((bpfrt::Map<std::uint32_t, std::uint64_t>(*raw).for_each([&](const auto& index, const auto& word) {
    if (index < words.size()) words[index] = word;
    return true;
  })));
  const auto has = [&](std::uint32_t base, std::uint32_t port) {
    return (words[base + (port >> 6)] >> (port & 63) & 1) != 0;
  };
  for (std::uint32_t group = 0; group < WEFT_PORT_SET_COUNT * 3; ++group)
    for (std::uint32_t port = 0; port < 65536 && !context.full(); ++port) {
      if (!has(group * 1024, port)) continue;
      const auto first = port;
      while (port < 65535 && has(group * 1024, port + 1)) ++port;
      context.items.push_back({{"set", sets[group / 3]},
                               {"protocol", protocols[group % 3]},
                               {"ports", first == port ? std::to_string(first) : fmt::format("{}-{}", first, port)}});
    }
  return {};
}

Result<void> dump_lb_l2(Context& context) {
  return visit<weft_l2_key, weft_l2>(context, "weft_l2_v1", [&](const auto& key, const auto& value) -> json {
    MacAddress mac;
    std::copy(std::begin(value.mac), std::end(value.mac), mac.bytes.begin());
    return {{"address", from_abi(key.addr).to_string()}, {"ifindex", key.ifindex}, {"mac", mac.to_string()}};
  });
}

Result<void> dump_devices(Context& context) {
  return visit<std::uint32_t, weft_device>(context, "weft_dev_v1", [&](const auto& key, const auto& value) -> json {
    return {{"ifindex", key},
            {"nat_v4", from_abi(value.nat_v4).to_string()},
            {"nat_v6", from_abi(value.nat_v6).to_string()},
            {"mtu", value.mtu}};
  });
}

Result<void> dump_config(Context& context) {
  return visit<std::uint32_t, weft_config>(context, "weft_config_v3", [&](const auto&, const auto& value) -> json {
    return {{"epoch", value.epoch},
            {"events", (value.flags & WEFT_CONFIG_EVENTS) != 0},
            {"masquerade_v4", (value.flags & WEFT_CONFIG_MASQUERADE_V4) != 0},
            {"masquerade_v6", (value.flags & WEFT_CONFIG_MASQUERADE_V6) != 0},
            {"gateway_v4", from_abi(mapped(value.gateway_v4)).to_string()},
            {"gateway_v6", from_abi(value.gateway_v6).to_string()},
            {"nat_port_min", value.nat_port_min},
            {"nat_port_max", value.nat_port_max}};
  });
}

const std::map<std::string, Result<void> (*)(Context&)>& dumpers() {
  static const std::map<std::string, Result<void> (*)(Context&)> table{
      {"policy", dump_policy},        {"endpoints", dump_endpoints},
      {"flows", dump_flows},          {"services", dump_services},
      {"backends", dump_backends},    {"identities", dump_identities},
      {"remotes", dump_remotes},      {"nodes", dump_nodes},
      {"path-mtus", dump_path_mtus},  {"egress", dump_egress},
      {"next-hops", dump_next_hops},  {"netns", dump_netns},
      {"affinity", dump_affinity},    {"devices", dump_devices},
      {"config", dump_config},        {"lb-frontends", dump_lb_frontends},
      {"lb-slots", dump_lb_slots},    {"lb-backends", dump_lb_backends},
      {"lb-affinity", dump_affinity}, {"lb-ranges", dump_lb_ranges},
      {"lb-ports", dump_lb_ports},    {"lb-l2", dump_lb_l2},
  };
  return table;
}

}  // namespace

std::vector<std::string> dumpable_maps() {
  std::vector<std::string> names;
  for (const auto& [name, dump] : dumpers()) names.push_back(name);
  return names;
}

Result<json> dump_map(const datapath::Datapath& datapath, const std::string& name, std::size_t limit,
                      const control::RuleTable& rules, const control::ServiceCompiler& services) {
  const auto found = dumpers().find(name);
  if (found == dumpers().end()) {
    std::string known;
    for (const auto& word : dumpable_maps()) known += (known.empty() ? "" : ", ") + word;
    return fail(ErrorCode::not_found, fmt::format("no map \"{}\"", name), "the maps are " + known);
  }
  Context context{datapath, rules, services, limit};
  WEFT_CHECK(found->second(context));
  return std::move(context.items);
}

}  // namespace weft::agent
