#include "flow/render.h"

#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>
#include <string_view>

#include "abi/endpoint.h"
#include "flow/event.h"

namespace weft::flow {
namespace {

using nlohmann::json;

std::uint16_t port_of(const weft_event& event, __be16 port) {
  const Protocol protocol{event.protocol};
  // ICMP keeps its identifier there, which is no port.
  if (protocol == Protocol::icmp || protocol == Protocol::icmpv6) return 0;
  return __builtin_bswap16(port);
}

json side_to_json(const Side& side, const weft_addr& address, std::uint16_t port) {
  json object{{"address", is_zero(address) ? "" : address_of(address).to_string()},
              {"port", port},
              {"identity", side.identity},
              {"labels", side.labels ? json(side.labels->labels) : json::array()},
              {"namespace", side.party ? side.party->namespace_ : ""},
              {"pod", side.party ? side.party->pod : ""},
              {"workload", side.party ? side.party->workload : ""},
              {"kind", to_string(side.kind)}};
  return object;
}

std::string name_of(const Side& side) {
  return side.party && !side.party->pod.empty() ? side.party->namespace_ + "/" + side.party->pod : std::string("it");
}

// The rule of one direction. Only pods are policed; for a denied packet only the denying direction was decided.
json rule_to_json(const Flow& flow, std::uint8_t direction) {
  const auto& event = flow.event;
  const bool egress = direction == WEFT_EGRESS;
  const auto id = egress ? event.egress_rule : event.ingress_rule;
  const auto& rule = egress ? flow.egress_rule : flow.ingress_rule;
  if (rule) return to_json(id, *rule);
  const char* name = egress ? "egress" : "ingress";
  RuleInfo info;
  info.direction = name;
  if (id != 0) {
    info.text = fmt::format("{} rule number {}, not known any more", name, id);
    return to_json(id, info);
  }
  const auto& side = egress ? flow.source : flow.destination;
  if (event.type == WEFT_EVENT_TRANSLATED || event.type == WEFT_EVENT_DENIED || side.kind != PeerKind::pod)
    return nullptr;
  info.kind = "no_policy";
  info.text = fmt::format("no policy selects {} for {}", name_of(side), name);
  return to_json(id, info);
}

bool denied_by_policy(const weft_event& event) {
  return event.type == WEFT_EVENT_DENIED &&
         (event.drop_reason == WEFT_DROP_POLICY_DENIED || event.drop_reason == WEFT_DROP_POLICY_REVOKED);
}

json service_to_json(const Flow& flow) {
  if (!flow.service) return nullptr;
  const auto& service = *flow.service;
  return {{"namespace", service.namespace_},
          {"name", service.name},
          {"port_name", service.port_name},
          {"address", service.address.to_string()},
          {"port", service.port}};
}

json backend_to_json(const Flow& flow) {
  if (is_zero(flow.event.backend_addr)) return nullptr;
  return {{"address", address_of(flow.event.backend_addr).to_string()},
          {"port", port_of(flow.event, flow.event.backend_port)},
          {"namespace", flow.backend ? flow.backend->namespace_ : ""},
          {"pod", flow.backend ? flow.backend->pod : ""}};
}

}  // namespace

std::string tcp_flags_text(std::uint8_t flags) {
  constexpr std::array<std::string_view, 8> names{"FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"};
  std::string text;
  for (std::size_t bit = 0; bit < names.size(); ++bit)
    if ((flags >> bit & 1U) != 0) text += (text.empty() ? "" : ",") + std::string(names[bit]);
  return text;
}

json to_json(std::uint32_t id, const RuleInfo& rule) {
  return {{"id", id},
          {"kind", rule.kind},
          {"direction", rule.direction},
          {"policy", rule.policy.empty() ? json(nullptr) : json(rule.policy)},
          {"index", rule.index < 0 ? json(nullptr) : json(rule.index)},
          {"isolating", rule.isolating},
          {"location", rule.file.empty() ? json(nullptr) : json{{"file", rule.file}, {"line", rule.line}}},
          {"text", rule.text}};
}

json to_json(const Flow& flow, const std::string& node) {
  const auto& event = flow.event;
  const bool denied = event.type == WEFT_EVENT_DENIED;
  json object;
  object["time"] = format_time(flow.time);
  object["type"] = type_name(event);
  object["verdict"] = verdict_name(event);
  object["drop_reason"] = denied ? json(drop_reason_name(event.drop_reason)) : json(nullptr);
  object["drop_meaning"] = denied ? json(drop_reason_meaning(event.drop_reason)) : json(nullptr);
  object["direction"] = event.direction == WEFT_EGRESS ? "egress" : "ingress";
  object["protocol"] = to_string(Protocol{event.protocol});
  object["family"] = address_of(event.daddr).is_v4() ? 4 : 6;
  object["source"] = side_to_json(flow.source, event.saddr, port_of(event, event.sport));
  object["destination"] = side_to_json(flow.destination, event.daddr, port_of(event, event.dport));
  object["service"] = service_to_json(flow);
  object["backend"] = backend_to_json(flow);
  object["egress_gateway"] = event.egress_node == 0 ? json(nullptr)
                             : flow.egress_node     ? json(*flow.egress_node)
                                                    : json(fmt::format("node number {}", event.egress_node));
  object["rule"] = {{"egress", rule_to_json(flow, WEFT_EGRESS)}, {"ingress", rule_to_json(flow, WEFT_INGRESS)}};
  object["deciding"] = denied_by_policy(event) ? object["direction"] : json(nullptr);
  object["tcp_flags"] =
      Protocol{event.protocol} == Protocol::tcp ? json(tcp_flags_text(event.tcp_flags)) : json(nullptr);
  object["counters"] = event.type == WEFT_EVENT_CLOSED ? json{{"packets", event.packets},
                                                              {"bytes", event.bytes},
                                                              {"reply_packets", event.reply_packets},
                                                              {"reply_bytes", event.reply_bytes}}
                                                       : json(nullptr);
  object["hook"] = hook_name(event);
  object["node"] = node;
  return object;
}

}  // namespace weft::flow
