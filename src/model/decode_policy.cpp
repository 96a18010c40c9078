#include <fmt/format.h>

#include "model/annotations.h"
#include "model/decode.h"

namespace weft::model {
namespace {

IpBlock decode_ip_block(const Value& value) {
  IpBlock block;
  Fields fields(value);
  std::optional<Cidr> cidr;
  if (const auto given = fields.require("cidr", "a CIDR such as 10.0.0.0/8")) cidr = decode_cidr(*given);
  if (cidr) block.cidr = *cidr;
  if (const auto except = fields.take("except"))
    for (const auto& item : except->list()) {
      const auto inner = decode_cidr(item);
      if (!inner) continue;
      if (cidr && (inner->family() != cidr->family() || !cidr->contains(*inner) || inner->length() <= cidr->length()))
        item.problem(
            fmt::format("expected a CIDR strictly inside {}, found {}", cidr->to_string(), inner->to_string()));
      block.except.push_back(*inner);
    }
  fields.finish();
  return block;
}

PolicyPeer decode_peer(const Value& value) {
  PolicyPeer peer;
  Fields fields(value);
  if (const auto selector = fields.take("podSelector")) peer.pod_selector = decode_selector(*selector);
  if (const auto selector = fields.take("namespaceSelector")) peer.namespace_selector = decode_selector(*selector);
  const auto block = fields.take("ipBlock");
  if (block) peer.ip_block = decode_ip_block(*block);
  fields.finish();
  if (!fields.valid()) return peer;
  const bool selects = peer.pod_selector || peer.namespace_selector;
  if (block && selects)
    block->problem(
        "ipBlock cannot be combined with podSelector or namespaceSelector in one entry; make it an entry of its own");
  // Unknown fields are reported already, and likely were meant to be one of these.
  const auto& given = value.node().fields;
  bool known = true;
  for (const Field& field : given)
    known = known && (field.name == "podSelector" || field.name == "namespaceSelector" || field.name == "ipBlock");
  if (!block && !selects && known)
    value.problem(given.empty() ? "expected podSelector, namespaceSelector or ipBlock, found none; leave the whole "
                                  "list out to mean every peer"
                                : fmt::format("{} is empty; write {}: {{}} to select all", given.front().name,
                                              given.front().name));
  return peer;
}

PolicyPort decode_policy_port(const Value& value) {
  PolicyPort result;
  Fields fields(value);
  if (const auto protocol = fields.take("protocol"))
    result.protocol = decode_protocol(*protocol).value_or(Protocol::tcp);
  const auto port = fields.take("port");
  if (port) result.port = decode_port_reference(*port);
  if (const auto end = fields.take("endPort")) {
    result.end_port = decode_port_number(*end).value_or(0);
    if (!port) {
      end->problem("endPort needs port, the first port of the range; it is missing");
    } else if (result.port && std::holds_alternative<std::string>(*result.port)) {
      end->problem(fmt::format("endPort needs a port given by number, found the name {}",
                               in_quotes(std::get<std::string>(*result.port))));
    } else if (result.port && result.end_port != 0 && result.end_port < std::get<std::uint16_t>(*result.port)) {
      end->problem(fmt::format("expected a port not below port {}, found {}", std::get<std::uint16_t>(*result.port),
                               result.end_port));
    }
  }
  fields.finish();
  return result;
}

PolicyRule decode_rule(const Value& value, std::string_view peers) {
  PolicyRule rule;
  rule.line = value.node().line;
  if (value.is_null()) {
    value.problem("expected a rule, found nothing; write {} for a rule that allows everything");
    return rule;
  }
  Fields fields(value);
  if (const auto list = fields.take(peers))
    for (const auto& item : list->list()) rule.peers.push_back(decode_peer(item));
  if (const auto list = fields.take("ports"))
    for (const auto& item : list->list()) rule.ports.push_back(decode_policy_port(item));
  fields.finish();
  return rule;
}

// Without policyTypes: Ingress always, Egress when there is at least one egress rule.
void decode_types(Fields& fields, const std::optional<Value>& ingress, const std::optional<Value>& egress,
                  NetworkPolicy& policy) {
  const auto types = fields.take("policyTypes");
  if (types && !types->node().items.empty()) {
    policy.applies_ingress = false;
    for (const auto& item : types->list())
      if (const auto word = decode_word(item, {"Ingress", "Egress"}))
        (*word == "Ingress" ? policy.applies_ingress : policy.applies_egress) = true;
    if (!policy.applies_ingress && ingress && !policy.ingress.empty())
      ingress->warning("these rules have no effect: policyTypes does not name Ingress");
    if (!policy.applies_egress && egress && !policy.egress.empty())
      egress->warning("these rules have no effect: policyTypes does not name Egress");
    return;
  }
  if (types) (void)types->list();
  policy.applies_egress = !policy.egress.empty();
  if (egress && policy.egress.empty())
    egress->warning(
        "an empty egress without policyTypes does not restrict egress; add policyTypes: [Egress] to deny it all");
}

}  // namespace

NetworkPolicy decode_network_policy(const Value& root) {
  NetworkPolicy policy;
  Fields object(root);
  policy.meta = decode_metadata(object, Kind::network_policy);
  refuse_annotations(root, "a NetworkPolicy");
  object.accept({"status"});
  const auto spec = object.require("spec", "podSelector and rules");
  object.finish();
  if (!spec) return policy;
  Fields fields(*spec);
  if (const auto selector = fields.take("podSelector")) policy.pod_selector = decode_selector(*selector);
  const auto ingress = fields.take("ingress");
  if (ingress)
    for (const auto& item : ingress->list()) policy.ingress.push_back(decode_rule(item, "from"));
  const auto egress = fields.take("egress");
  if (egress)
    for (const auto& item : egress->list()) policy.egress.push_back(decode_rule(item, "to"));
  decode_types(fields, ingress, egress, policy);
  fields.finish();
  return policy;
}

}  // namespace weft::model
