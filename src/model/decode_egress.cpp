// EgressGateway, a kind of Weft's own.
#include <fmt/format.h>

#include <algorithm>

#include "model/annotations.h"
#include "model/decode.h"
#include "model/names.h"

namespace weft::model {
namespace {

// Those whose list is there and empty would select nothing, which nobody means.
std::vector<Value> some_of(Fields& fields, std::string_view name, std::string_view what) {
  const auto list = fields.require(name, what);
  if (!list) return {};
  auto items = list->list();
  if (list->node().type == NodeType::list && items.empty()) list->problem("expected at least one entry, found none");
  return items;
}

EgressSelector decode_pods(const Value& value) {
  EgressSelector result;
  Fields fields(value);
  if (const auto selector = fields.take("podSelector")) result.pod_selector = decode_selector(*selector);
  if (const auto selector = fields.take("namespaceSelector")) result.namespace_selector = decode_selector(*selector);
  fields.finish();
  if (fields.valid() && value.node().fields.empty())
    value.problem("expected podSelector or namespaceSelector, found none; write podSelector: {} to select all pods");
  return result;
}

void decode_addresses(const Value& value, EgressNodes& nodes) {
  for (const auto& item : value.list()) {
    const auto address = decode_service_address(item);
    if (!address) continue;
    if (std::ranges::find(nodes.addresses, address->family(), &IpAddress::family) != nodes.addresses.end())
      item.problem(
          fmt::format("expected one address of each family, found {} as another of its own", address->to_string()));
    nodes.addresses.push_back(*address);
  }
}

EgressNodes decode_nodes(const Value& value) {
  EgressNodes result;
  Fields fields(value);
  const auto node = fields.take("node");
  const auto selector = fields.take("nodeSelector");
  if (node) {
    result.node = node->string().value_or("");
    if (const auto wrong = check_dns_subdomain(result.node); !wrong.empty() && node->node().type == NodeType::string)
      node->problem(fmt::format("{}, found {}", wrong, in_quotes(result.node)));
  }
  if (selector) result.node_selector = decode_selector(*selector);
  if (const auto addresses = fields.take("egressIPs")) decode_addresses(*addresses, result);
  if (const auto interface = fields.take("interface"))
    if (auto text = interface->string()) {
      check_interface(*interface, *text, false);
      result.interface = std::move(*text);
    }
  fields.finish();
  if (fields.valid() && node.has_value() == selector.has_value())
    value.problem(node ? "expected either node or nodeSelector, found both"
                       : "expected node or nodeSelector, found neither; write nodeSelector: {} for every node");
  return result;
}

// Each takes a row of the datapath's for each set of labels that the EgressGateway selects.
constexpr std::size_t most_cidrs = 1024;

std::vector<Cidr> decode_cidrs(const std::vector<Value>& items) {
  std::vector<Cidr> result;
  if (items.size() > most_cidrs) {
    items[most_cidrs].problem(
        fmt::format("expected {} CIDRs at most, found {}; name wider ones, or leave them to several "
                    "EgressGateways",
                    most_cidrs, items.size()));
    return result;
  }
  for (const auto& item : items)
    if (const auto cidr = decode_cidr(item)) result.push_back(*cidr);
  return result;
}

}  // namespace

EgressGateway decode_egress_gateway(const Value& root) {
  EgressGateway gateway;
  Fields object(root);
  gateway.meta = decode_metadata(object, Kind::egress_gateway);
  refuse_annotations(root, "an EgressGateway");
  object.accept({"status"});
  const auto spec = object.require("spec", "selectors, destinationCIDRs and gateways");
  object.finish();
  if (!spec) return gateway;
  Fields fields(*spec);
  for (const auto& item : some_of(fields, "selectors", "a list of at least one podSelector or namespaceSelector"))
    gateway.selectors.push_back(decode_pods(item));
  gateway.destinations =
      decode_cidrs(some_of(fields, "destinationCIDRs", "a list of at least one CIDR, such as 0.0.0.0/0"));
  if (const auto excluded = fields.take("excludedCIDRs")) gateway.excluded = decode_cidrs(excluded->list());
  for (const auto& item : some_of(fields, "gateways", "a list of at least one node or nodeSelector"))
    gateway.gateways.push_back(decode_nodes(item));
  if (const auto most = fields.take("maxGateways"))
    gateway.max_gateways = static_cast<unsigned>(most->integer(1, most_gateways).value_or(1));
  if (const auto failover = fields.take("failover"))
    if (const auto word = decode_word(*failover, {"Next", "Drop"}))
      gateway.failover = *word == "Drop" ? EgressGateway::Failover::drop : EgressGateway::Failover::next;
  fields.finish();
  return gateway;
}

}  // namespace weft::model
