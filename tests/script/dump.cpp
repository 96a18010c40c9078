#include "dump.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <functional>

namespace weft::script {
namespace {

using datapath::from_abi;
using datapath::to_abi;
using Lines = std::vector<std::string>;

std::string rule_text(const Machine& machine, std::uint32_t id) {
  const auto* rule = machine.compiler().rules().find(id);
  return rule == nullptr ? fmt::format("rule {}", id) : rule->to_string();
}

std::string port_text(const weft_policy_key& key) {
  const unsigned length = key.direction_prefix & 0x7f;
  const auto protocol = to_string(static_cast<Protocol>(key.protocol));
  if (length == 0) return fmt::format("all/{}", protocol);
  if (length == 16) return fmt::format("{}/{}", key.port, protocol);
  return fmt::format("{}-{}/{}", key.port, key.port + (1U << (16 - length)) - 1, protocol);
}

Lines policy(Machine& machine) {
  const auto rows = machine.maps().policy();
  const control::PolicyRows sorted(rows.begin(), rows.end());
  Lines lines;
  for (const auto& [key, entry] : sorted)
    lines.push_back(fmt::format("class {} {} {} {} {} rule {} ({})", key.policy_class,
                                key.direction_prefix >> 7 == WEFT_EGRESS ? "egress" : "ingress", key.identity,
                                port_text(key), entry.verdict == WEFT_POLICY_ALLOW ? "allow" : "deny", entry.rule,
                                rule_text(machine, entry.rule)));
  return lines;
}

Lines endpoints(Machine& machine) {
  Lines lines;
  for (const auto& [address, row] : machine.maps().endpoints()) {
    auto line = fmt::format("{} endpoint {} identity {}", from_abi(address).to_string(), row.endpoint_id, row.identity);
    if (row.cidr_identity != 0) line += fmt::format(" cidr {}", row.cidr_identity);
    if ((row.flags & WEFT_ENDPOINT_HOST) != 0) line += " host";
    if (row.policy_class != 0) line += fmt::format(" class {}", row.policy_class);
    if ((row.flags & WEFT_ENDPOINT_INGRESS_ENFORCED) != 0)
      line += fmt::format(" ingress ({})", rule_text(machine, row.default_rule[WEFT_INGRESS]));
    if ((row.flags & WEFT_ENDPOINT_EGRESS_ENFORCED) != 0)
      line += fmt::format(" egress ({})", rule_text(machine, row.default_rule[WEFT_EGRESS]));
    lines.push_back(line);
  }
  return lines;
}

Lines identities(Machine& machine) {
  Lines lines;
  for (const auto& [id, identity] : machine.compiler().identities().all()) {
    auto line = fmt::format("{}", id);
    for (const auto& [key, value] : identity.labels) line += fmt::format(" {}={}", key, value);
    lines.push_back(line);
  }
  for (const auto& [cidr, id] : machine.compiler().cidrs().all())
    lines.push_back(fmt::format("{} {}", id, cidr.to_string()));
  return lines;
}

Lines prefixes(Machine& machine) {
  Lines lines;
  for (const auto& [key, row] : machine.maps().all().identities) {
    const auto address = from_abi(key.addr);
    const auto length = address.is_v4() && key.prefix_length >= 96 ? key.prefix_length - 96 : key.prefix_length;
    lines.push_back(fmt::format("{}/{} identity {}{}{}{}", address.to_string(), length, row.identity,
                                (row.flags & WEFT_IP_NATIVE) != 0 ? " native" : "",
                                (row.flags & WEFT_IP_RESERVED) != 0 ? " reserved" : "",
                                (row.flags & WEFT_IP_BALANCER) != 0 ? " balancer" : ""));
  }
  std::ranges::sort(lines);
  return lines;
}

Lines egress(Machine& machine) {
  Lines lines;
  for (const auto& [key, row] : machine.maps().all().egress) {
    const auto address = from_abi(key.addr);
    const auto bits = key.prefix_length - 32;
    auto line = fmt::format("identity {} {}/{}", key.identity, address.to_string(),
                            address.is_v4() && bits >= 96 ? bits - 96 : bits);
    if ((row.flags & WEFT_EGRESS_EXCLUDED) != 0) line += " excluded";
    for (unsigned i = 0; i < row.count; ++i)
      line += row.node[i] == WEFT_EGRESS_HERE ? " here" : fmt::format(" node {}", row.node[i]);
    if (row.count == 0 && (row.flags & WEFT_EGRESS_EXCLUDED) == 0) line += " dropped";
    if ((row.flags & WEFT_EGRESS_GATEWAY) != 0) line += " as " + from_abi(row.address).to_string();
    lines.push_back(line);
  }
  std::ranges::sort(lines);
  return lines;
}

std::string backend_text(Machine& machine, std::uint32_t id) {
  const auto& row = machine.maps().backends()[id];
  return fmt::format("{}={}:{}{}", id, from_abi(row.addr).to_string(), ntohs(row.port),
                     row.state == WEFT_BACKEND_ACTIVE     ? ""
                     : row.state == WEFT_BACKEND_DRAINING ? " draining"
                                                          : " gone");
}

std::string run_text(Machine& machine, std::uint32_t first, std::uint32_t count) {
  std::string text;
  for (std::uint32_t i = 0; i < count; ++i) text += " " + backend_text(machine, machine.maps().slots()[first + i]);
  return text.empty() ? " none" : text;
}

// Frontends with the backends their slots lead to.
Lines services(Machine& machine) {
  static constexpr const char* algorithms[] = {"random", "round-robin", "least-connections", "maglev", "source-hash"};
  static constexpr const char* forwardings[] = {"snat", "dsr-ipip", "dsr-geneve", "dsr-option"};
  Lines lines;
  for (const auto& [key, row] : machine.maps().frontends()) {
    auto line =
        fmt::format("{} {}/{} service {} slots {}+{}", from_abi(key.addr).to_string(), ntohs(key.port),
                    to_string(static_cast<Protocol>(key.protocol)), row.service_id, row.first_slot, row.slot_count);
    if (row.affinity_seconds != 0) line += fmt::format(" affinity {} s", row.affinity_seconds);
    if (row.algorithm != WEFT_ALGORITHM_RANDOM) line += fmt::format(" {}", algorithms[row.algorithm]);
    if (row.forwarding != WEFT_FORWARD_SNAT) line += fmt::format(" {}", forwardings[row.forwarding]);
    if ((row.flags & WEFT_SERVICE_SOURCE_RANGES) != 0) line += " ranges";
    if ((row.flags & WEFT_SERVICE_LOCAL_REDIRECT) != 0) line += " redirect";
    if (row.slot_count > 64)
      line += " table";
    else
      line += run_text(machine, row.first_slot, row.slot_count);
    const bool same = row.external_first_slot == row.first_slot && row.external_slot_count == row.slot_count;
    if ((row.flags & WEFT_SERVICE_EXTERNAL) != 0)
      line += (row.flags & WEFT_SERVICE_EXTERNAL_LOCAL) != 0 ? " external local" : " external";
    if (!same && row.external_slot_count <= 64)
      line += ":" + run_text(machine, row.external_first_slot, row.external_slot_count);
    lines.push_back(line);
  }
  return lines;
}

Lines slots(Machine& machine) {
  Lines lines;
  const auto rows = machine.maps().slots();
  for (const auto& [key, row] : machine.maps().frontends())
    for (auto slot = row.first_slot; slot < row.first_slot + row.slot_count; ++slot)
      lines.push_back(fmt::format("{} backend {}", slot, rows[slot]));
  std::ranges::sort(lines);
  lines.erase(std::unique(lines.begin(), lines.end()), lines.end());
  return lines;
}

Lines backends(Machine& machine) {
  Lines lines;
  const auto rows = machine.maps().backends();
  for (std::uint32_t id = 1; id < rows.size(); ++id) {
    const auto& row = rows[id];
    if (row.state == WEFT_BACKEND_GONE) continue;
    lines.push_back(fmt::format("{} {} {}/{} service {}{}{}", id, from_abi(row.addr).to_string(), ntohs(row.port),
                                to_string(static_cast<Protocol>(row.protocol)), row.service_id,
                                row.state == WEFT_BACKEND_DRAINING ? " draining" : "",
                                (row.flags & WEFT_BACKEND_LOCAL) != 0 ? " local" : ""));
  }
  return lines;
}

Lines ranges(Machine& machine) {
  Lines lines;
  for (const auto& [key, one] : machine.maps().source_ranges())
    lines.push_back(fmt::format("service {} {}/{}", key.service_id, from_abi(key.addr).to_string(),
                                key.prefix_length - 32 - (from_abi(key.addr).is_v4() ? 96 : 0)));
  return lines;
}

Lines ports(Machine& machine) {
  static constexpr const char* sets[] = {"node", "device"};
  static constexpr const char* protocols[] = {"TCP", "UDP", "SCTP"};
  Lines lines;
  const auto words = machine.maps().port_words();
  for (std::uint32_t set = 0; set < WEFT_PORT_SET_COUNT; ++set)
    for (std::uint32_t protocol = 0; protocol < 3; ++protocol)
      for (std::uint32_t port = 0; port < 65536; ++port)
        if ((words[weft_port_word(set, protocol, static_cast<std::uint16_t>(port))] >> (port & 63) & 1) != 0)
          lines.push_back(fmt::format("{} {}/{}", sets[set], port, protocols[protocol]));
  return lines;
}

Lines announced(Machine& machine) {
  Lines lines;
  for (const auto& [key, row] : machine.maps().all().announced)
    lines.push_back(fmt::format("{} device {}", from_abi(key.addr).to_string(), key.ifindex));
  return lines;
}

Lines netns(Machine& machine) {
  Lines lines;
  for (const auto& [cookie, row] : machine.maps().all().netns)
    lines.push_back(fmt::format("{} endpoint {}{}", cookie, row.endpoint_id, row.flags != 0 ? " host" : ""));
  return lines;
}

Lines devices(Machine& machine) {
  Lines lines;
  for (const auto& [ifindex, row] : machine.maps().all().devices)
    lines.push_back(fmt::format("{} mtu {} source {}", ifindex, row.mtu, from_abi(row.nat_v4).to_string()));
  return lines;
}

Lines config(Machine& machine) {
  const auto row = machine.maps().all().config;
  return {fmt::format("epoch {}{}{}", row.epoch, (row.flags & WEFT_CONFIG_SERVICES) != 0 ? " services" : "",
                      (row.flags & WEFT_CONFIG_DECAPSULATE) != 0 ? " decapsulate" : "")};
}

Lines addresses(Machine& machine) {
  Lines lines;
  for (const auto& allocation : machine.ipam().allocations())
    lines.push_back(fmt::format("{} {}", allocation.address.to_string(), allocation.owner));
  return lines;
}

// --- verdicts -----------------------------------------------------------------------------------

struct Side {
  control::IdentityId identity = WEFT_IDENTITY_WORLD;
  control::IdentityId cidr = 0;
  bool pod = false;
  bool host = false;
  std::uint32_t endpoint_id = 0;
  control::EndpointPolicy policy;
};

Side side_of(const datapath::DesiredRows& rows, const IpAddress& address) {
  Side side;
  if (const auto found = rows.endpoints.find(to_abi(address)); found != rows.endpoints.end()) {
    const auto& row = found->second;
    side.identity = row.identity;
    side.cidr = row.cidr_identity;
    side.host = (row.flags & WEFT_ENDPOINT_HOST) != 0;
    side.pod = !side.host;
    side.endpoint_id = row.endpoint_id;
    side.policy.policy_class = row.policy_class;
    side.policy.enforced[WEFT_INGRESS] = (row.flags & WEFT_ENDPOINT_INGRESS_ENFORCED) != 0;
    side.policy.enforced[WEFT_EGRESS] = (row.flags & WEFT_ENDPOINT_EGRESS_ENFORCED) != 0;
    for (const auto direction : {WEFT_INGRESS, WEFT_EGRESS}) {
      side.policy.prefix_mask[direction] = row.prefix_mask[direction];
      side.policy.default_rule[direction] = row.default_rule[direction];
    }
    return side;
  }
  std::uint32_t longest = 0;
  for (const auto& [key, row] : rows.identities) {
    const auto prefix = from_abi(key.addr);
    if (prefix.is_v4() != address.is_v4() && key.prefix_length != 0) continue;
    const auto length = prefix.is_v4() ? key.prefix_length - 96 : key.prefix_length;
    if (!Cidr(prefix, length).contains(address) || key.prefix_length < longest) continue;
    longest = key.prefix_length;
    side.identity = row.identity;
  }
  return side;
}

std::string decide(Machine& machine, const datapath::DesiredRows& rows, const IpAddress& from, const IpAddress& to,
                   const PortProtocol& port) {
  const control::PolicyRows policy(rows.policy.begin(), rows.policy.end());
  const auto source = side_of(rows, from);
  const auto target = side_of(rows, to);
  if (source.pod && source.endpoint_id == target.endpoint_id) return "allow (itself)";
  std::uint32_t rule = 0;
  if (source.pod) {
    const auto egress =
        control::evaluate(policy, source.policy, WEFT_EGRESS, target.identity, target.cidr, port.protocol, port.port);
    if (!egress.allowed) return fmt::format("deny egress ({})", rule_text(machine, egress.rule));
    rule = egress.rule;
  }
  if (target.pod && source.host) return "allow (host)";
  if (target.pod) {
    const auto ingress =
        control::evaluate(policy, target.policy, WEFT_INGRESS, source.identity, source.cidr, port.protocol, port.port);
    if (!ingress.allowed) return fmt::format("deny ingress ({})", rule_text(machine, ingress.rule));
    if (ingress.rule != 0) rule = ingress.rule;
  }
  return fmt::format("allow ({})", rule_text(machine, rule));
}

}  // namespace

Result<std::vector<std::string>> dump(Machine& machine, const std::string& what) {
  static const std::map<std::string, std::function<Lines(Machine&)>> dumps{
      {"policy", policy}, {"endpoints", endpoints}, {"identities", identities}, {"prefixes", prefixes},
      {"egress", egress}, {"services", services},   {"slots", slots},           {"backends", backends},
      {"netns", netns},   {"devices", devices},     {"config", config},         {"addresses", addresses},
      {"ranges", ranges}, {"ports", ports},         {"announced", announced}};
  const auto found = dumps.find(what);
  if (found == dumps.end()) return fail(ErrorCode::not_found, "nothing is called " + what);
  return found->second(machine);
}

Result<std::vector<std::string>> verdicts(Machine& machine, const IpAddress& from, const IpAddress& to,
                                          const PortProtocol& port) {
  const auto rows = machine.maps().all();
  weft_service_key key{};
  key.addr = to_abi(to);
  key.port = htons(port.port);
  key.protocol = static_cast<std::uint8_t>(port.protocol);
  const auto frontends = machine.maps().frontends();
  const auto service = frontends.find(key);
  if (service == frontends.end()) return Lines{decide(machine, rows, from, to, port)};
  Lines lines;
  for (std::uint32_t i = 0; i < service->second.slot_count; ++i) {
    const auto& backend = machine.maps().backends()[machine.maps().slots()[service->second.first_slot + i]];
    const PortProtocol reached{ntohs(backend.port), port.protocol};
    lines.push_back(fmt::format("{}:{} {}", from_abi(backend.addr).to_string(), reached.port,
                                decide(machine, rows, from, from_abi(backend.addr), reached)));
  }
  if (lines.empty()) lines.emplace_back("no backend");
  return lines;
}

}  // namespace weft::script
