#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "model/annotations.h"
#include "model/decode.h"
#include "model/names.h"

namespace weft::model {
namespace {

std::optional<IpAddress> decode_endpoint_address(const Value& value, Family family) {
  const auto address = decode_address(value);
  if (!address) return std::nullopt;
  const std::string_view type = family == Family::v4 ? "IPv4" : "IPv6";
  if (address->family() != family)
    value.problem(fmt::format("expected an {} address as addressType says, found {}", type, address->to_string()));
  else if (!is_service_address(*address) || is_link_local(*address))
    value.problem(fmt::format("expected an address an endpoint can have, found {}", address->to_string()));
  return address;
}

void decode_conditions(const Value& value, SliceEndpoint& endpoint) {
  Fields fields(value);
  if (const auto ready = fields.take("ready")) endpoint.ready = ready->boolean().value_or(true);
  endpoint.serving = endpoint.ready;
  if (const auto serving = fields.take("serving")) endpoint.serving = serving->boolean().value_or(true);
  if (const auto terminating = fields.take("terminating"))
    endpoint.terminating = terminating->boolean().value_or(false);
  fields.finish();
}

void decode_target(const Value& value, SliceEndpoint& endpoint) {
  Fields fields(value);
  std::string kind;
  std::string name;
  if (const auto given = fields.take("kind")) kind = given->string().value_or("");
  if (const auto given = fields.take("name")) name = given->string().value_or("");
  fields.accept({"apiVersion", "fieldPath", "namespace", "resourceVersion", "uid"});
  fields.finish();
  if (kind == "Pod") endpoint.target_pod = std::move(name);
}

// [{name}] of hints; Kubernetes takes at most 8.
std::vector<std::string> decode_hint_list(const Value& value, std::string_view what) {
  constexpr std::size_t most = 8;
  std::vector<std::string> names;
  const auto items = value.list();
  if (items.size() > most) {
    value.problem(fmt::format("expected at most {} entries, found {}", most, items.size()));
    return names;
  }
  for (const auto& item : items) {
    Fields fields(item);
    if (const auto name = fields.require("name", what))
      if (auto text = name->string()) {
        if (const auto wrong = check_label_value(*text); !wrong.empty())
          name->problem(fmt::format("{}, found {}", wrong, in_quotes(*text)));
        else if (std::ranges::find(names, *text) != names.end())
          name->problem(fmt::format("{} is given twice", in_quotes(*text)));
        names.push_back(std::move(*text));
      }
    fields.finish();
  }
  return names;
}

void decode_place(Fields& fields, SliceEndpoint& endpoint) {
  if (const auto node = fields.take("nodeName"))
    if (auto text = node->string()) {
      if (const auto wrong = check_dns_subdomain(*text); !wrong.empty())
        node->problem(fmt::format("{}, found {}", wrong, in_quotes(*text)));
      endpoint.node = std::move(*text);
    }
  if (const auto zone = fields.take("zone")) endpoint.zone = zone->string().value_or("");
  const auto hints = fields.take("hints");
  if (!hints) return;
  Fields inner(*hints);
  if (const auto zones = inner.take("forZones")) endpoint.hint_zones = decode_hint_list(*zones, "a zone's name");
  if (const auto nodes = inner.take("forNodes")) endpoint.hint_nodes = decode_hint_list(*nodes, "a node's name");
  inner.finish();
}

SliceEndpoint decode_endpoint(const Value& value, std::optional<Family> family) {
  SliceEndpoint endpoint;
  Fields fields(value);
  if (const auto addresses = fields.require("addresses", "a list of at least one address")) {
    const auto items = addresses->list();
    if (addresses->node().type == NodeType::list && (items.empty() || items.size() > 100))
      addresses->problem(fmt::format("expected 1 to 100 addresses, found {}", items.size()));
    for (const auto& item : items)
      if (family)
        if (const auto address = decode_endpoint_address(item, *family)) endpoint.addresses.push_back(*address);
  }
  if (const auto conditions = fields.take("conditions")) decode_conditions(*conditions, endpoint);
  if (const auto target = fields.take("targetRef")) decode_target(*target, endpoint);
  if (const auto hostname = fields.take("hostname"))
    if (auto text = hostname->string()) {
      if (const auto wrong = check_dns_label(*text); !wrong.empty())
        hostname->problem(fmt::format("{}, found {}", wrong, in_quotes(*text)));
      endpoint.hostname = std::move(*text);
    }
  decode_place(fields, endpoint);
  fields.accept({"deprecatedTopology"});
  fields.finish();
  return endpoint;
}

std::optional<SlicePort> decode_slice_port(const Value& value) {
  SlicePort port;
  Fields fields(value);
  const auto number = fields.take("port");
  if (number) port.port = decode_port_number(*number).value_or(0);
  if (const auto name = fields.take("name"))
    if (auto text = name->string()) {
      if (const auto wrong = check_dns_label(*text); !text->empty() && !wrong.empty())
        name->problem(fmt::format("{}, found {}", wrong, in_quotes(*text)));
      port.name = std::move(*text);
    }
  if (const auto protocol = fields.take("protocol")) port.protocol = decode_protocol(*protocol).value_or(Protocol::tcp);
  if (const auto protocol = fields.take("appProtocol")) (void)protocol->string();
  fields.finish();
  if (!fields.valid() || number) return port;
  value.warning("a port without a number leads nowhere; it is left out");
  return std::nullopt;
}

std::vector<SlicePort> decode_slice_ports(const Value& value) {
  std::vector<SlicePort> ports;
  std::set<std::string> names;
  for (const auto& item : value.list()) {
    auto port = decode_slice_port(item);
    if (!port) continue;
    if (!names.insert(port->name).second)
      item.problem(fmt::format("the port name {} is given twice in one slice", in_quotes(port->name)));
    ports.push_back(std::move(*port));
  }
  return ports;
}

}  // namespace

EndpointSlice decode_endpoint_slice(const Value& root) {
  EndpointSlice slice;
  Fields fields(root);
  slice.meta = decode_metadata(fields, Kind::endpoint_slice);
  std::optional<Family> family;
  if (const auto type = fields.require("addressType", "IPv4 or IPv6")) {
    const auto word = decode_word(*type, {"IPv4", "IPv6", "FQDN"});
    if (word && *word == "FQDN")
      type->problem("expected IPv4 or IPv6, found FQDN, which Weft does not act on");
    else if (word)
      family = *word == "IPv4" ? Family::v4 : Family::v6;
  }
  slice.family = family.value_or(Family::v4);
  if (const auto endpoints = fields.take("endpoints"))
    for (const auto& item : endpoints->list()) slice.endpoints.push_back(decode_endpoint(item, family));
  if (const auto ports = fields.take("ports")) slice.ports = decode_slice_ports(*ports);
  fields.finish();
  const auto weight = decode_weight(root, "an EndpointSlice");
  for (auto& endpoint : slice.endpoints) endpoint.weight = weight;
  if (!slice.meta.labels.contains("kubernetes.io/service-name"))
    root.warning("without the label kubernetes.io/service-name the slice belongs to no Service");
  return slice;
}

}  // namespace weft::model
