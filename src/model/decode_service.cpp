#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "model/decode_service.h"
#include "model/names.h"

namespace weft::model {
namespace {

std::optional<std::string> decode_port_label(const Value& value) {
  auto text = value.string();
  if (!text || text->empty()) return text;
  if (const auto wrong = check_dns_label(*text); !wrong.empty())
    value.problem(fmt::format("{}, found {}", wrong, in_quotes(*text)));
  return text;
}

ServicePort decode_service_port(const Value& value, Service::Type type) {
  ServicePort port;
  Fields fields(value);
  if (const auto number = fields.require("port", "a number from 1 to 65535"))
    port.port = decode_port_number(*number).value_or(0);
  if (const auto name = fields.take("name")) port.name = decode_port_label(*name).value_or("");
  if (const auto protocol = fields.take("protocol")) port.protocol = decode_protocol(*protocol).value_or(Protocol::tcp);
  port.target_port = port.port;
  if (const auto target = fields.take("targetPort"))
    if (auto reference = decode_port_reference(*target)) port.target_port = std::move(*reference);
  if (const auto node = fields.take("nodePort"); node) {
    port.node_port = static_cast<std::uint16_t>(node->integer(0, 65535).value_or(0));
    if (port.node_port != 0 && (type == Service::Type::cluster_ip || type == Service::Type::external_name))
      node->problem("nodePort needs type NodePort or LoadBalancer");
  }
  if (const auto protocol = fields.take("appProtocol"))
    if (auto text = protocol->string()) {
      if (const auto wrong = check_label_key(*text); !wrong.empty())
        protocol->problem(fmt::format("{}, found {}", wrong, in_quotes(*text)));
      port.app_protocol = std::move(*text);
    }
  fields.finish();
  return port;
}

std::vector<ServicePort> decode_service_ports(const Value& value, Service::Type type) {
  std::vector<ServicePort> ports;
  std::set<std::string> names;
  std::set<std::pair<std::uint16_t, Protocol>> numbers;
  std::set<std::pair<std::uint16_t, Protocol>> node_ports;
  const auto items = value.list();
  for (const auto& item : items) {
    ServicePort port = decode_service_port(item, type);
    if (items.size() > 1 && port.name.empty() && item.node().type == NodeType::map)
      item.problem("name is missing; a Service with several ports names each");
    if (!port.name.empty() && !names.insert(port.name).second)
      item.problem(fmt::format("the port name {} is given twice", in_quotes(port.name)));
    if (port.port != 0 && !numbers.emplace(port.port, port.protocol).second)
      item.problem(fmt::format("the port {}/{} is given twice", port.port, to_string(port.protocol)));
    if (port.node_port != 0 && !node_ports.emplace(port.node_port, port.protocol).second)
      item.problem(fmt::format("the nodePort {}/{} is given twice", port.node_port, to_string(port.protocol)));
    ports.push_back(std::move(port));
  }
  return ports;
}

// clusterIP and clusterIPs: "None" alone, or up to one address of each family, the first of the list
// being clusterIP.
void decode_cluster_ips(Fields& fields, Service& service) {
  const auto single = fields.take("clusterIP");
  const auto several = fields.take("clusterIPs");
  const auto is_none = [](const Value& value) {
    return value.node().type == NodeType::string && value.node().text == "None";
  };
  const auto is_blank = [](const Value& value) {
    return value.node().type == NodeType::string && value.node().text.empty();
  };
  if (single && is_none(*single))
    service.headless = true;
  else if (single && !is_blank(*single))
    if (const auto address = decode_service_address(*single)) service.cluster_ips.push_back(*address);
  if (!several) return;
  const auto items = several->list();
  if (items.empty()) return;
  if (items.size() > 2) several->problem(fmt::format("expected at most 2 addresses, found {}", items.size()));
  if (single && !is_blank(*single) && items.front().node().text != single->node().text)
    items.front().problem(fmt::format("expected the first of clusterIPs to equal clusterIP {}, found {}",
                                      describe(single->node()), describe(items.front().node())));
  std::vector<IpAddress> addresses;
  for (const auto& item : items) {
    if (is_none(item)) {
      if (items.size() > 1) item.problem("\"None\" must stand alone in clusterIPs");
      service.headless = true;
    } else if (const auto address = decode_service_address(item)) {
      if (!addresses.empty() && addresses.front().family() == address->family())
        item.problem("expected two addresses of different families, found two of the same");
      addresses.push_back(*address);
    }
  }
  service.cluster_ips = std::move(addresses);
}

void decode_families(Fields& fields, Service& service) {
  using Policy = Service::FamilyPolicy;
  const auto families = fields.take("ipFamilies");
  if (families) {
    const auto items = families->list();
    if (items.size() > 2) families->problem(fmt::format("expected at most 2 families, found {}", items.size()));
    for (std::size_t i = 0; i < items.size(); ++i) {
      const auto word = decode_word(items[i], {"IPv4", "IPv6"});
      if (!word) continue;
      const Family family = *word == "IPv4" ? Family::v4 : Family::v6;
      if (std::ranges::find(service.families, family) != service.families.end())
        items[i].problem(fmt::format("the family {} is given twice", *word));
      else if (i < service.cluster_ips.size() && service.cluster_ips[i].family() != family)
        items[i].problem(
            fmt::format("expected the family of the address {}, found {}", service.cluster_ips[i].to_string(), *word));
      service.families.push_back(family);
    }
  }
  const bool dual = service.families.size() > 1 || service.cluster_ips.size() > 1;
  if (const auto policy = fields.take("ipFamilyPolicy")) {
    const auto word = decode_word(*policy, {"SingleStack", "PreferDualStack", "RequireDualStack"});
    if (word && *word == "SingleStack" && dual)
      policy->problem("SingleStack takes one family, found two in ipFamilies or clusterIPs");
    if (word && *word == "PreferDualStack") service.family_policy = Policy::prefer_dual_stack;
    if (word && *word == "RequireDualStack") service.family_policy = Policy::require_dual_stack;
  } else if (dual) {
    service.family_policy = Policy::require_dual_stack;
  }
}

void decode_affinity(Fields& fields, Service& service) {
  constexpr std::uint32_t default_timeout = 10800;
  bool client = false;
  if (const auto affinity = fields.take("sessionAffinity")) {
    const auto word = decode_word(*affinity, {"None", "ClientIP"});
    client = word && *word == "ClientIP";
  }
  if (client) service.affinity_seconds = default_timeout;
  const auto config = fields.take("sessionAffinityConfig");
  if (!config) return;
  if (!client) config->problem("sessionAffinityConfig needs sessionAffinity: ClientIP");
  Fields outer(*config);
  if (const auto client_config = outer.take("clientIP")) {
    Fields inner(*client_config);
    if (const auto timeout = inner.take("timeoutSeconds"))
      if (const auto seconds = timeout->integer(1, 86400); seconds && client)
        service.affinity_seconds = static_cast<std::uint32_t>(*seconds);
    inner.finish();
  }
  outer.finish();
}

Service::Type decode_type(Fields& fields) {
  const auto type = fields.take("type");
  const auto word = type ? decode_word(*type, {"ClusterIP", "NodePort", "LoadBalancer", "ExternalName"}) : std::nullopt;
  if (!word || *word == "ClusterIP") return Service::Type::cluster_ip;
  if (*word == "ExternalName") {
    type->warning("Weft does not act on type ExternalName yet: the name is not answered");
    return Service::Type::external_name;
  }
  return *word == "NodePort" ? Service::Type::node_port : Service::Type::load_balancer;
}

void decode_external_name(Fields& fields, Service& service) {
  const bool external = service.type == Service::Type::external_name;
  const auto name = external ? fields.require("externalName", "a DNS name") : fields.take("externalName");
  if (!name) return;
  if (auto text = name->string()) {
    if (text->ends_with('.')) text->pop_back();
    if (const auto wrong = check_dns_subdomain(*text); external && !wrong.empty())
      name->problem(fmt::format("{}, found {}", wrong, in_quotes(*text)));
    service.external_name = std::move(*text);
  }
}

void check_service(const Value& spec, const std::optional<Value>& ports, const Service& service) {
  const bool external = service.type == Service::Type::external_name;
  const auto& at = ports ? *ports : spec;
  if (service.ports.empty() && !service.headless && !external && (!ports || at.node().type == NodeType::list))
    at.problem("ports is missing; expected at least one port (only a headless Service may have none)");
  if (external && (service.headless || !service.cluster_ips.empty()))
    spec.problem("a Service of type ExternalName has no clusterIP");
  if (external && (spec.member("ipFamilies") || spec.member("ipFamilyPolicy")))
    spec.problem("a Service of type ExternalName has neither ipFamilies nor ipFamilyPolicy");
  if (service.headless && (service.type == Service::Type::node_port || service.type == Service::Type::load_balancer))
    spec.problem("a headless Service (clusterIP: None) must be of type ClusterIP");
}

}  // namespace

Service decode_service(const Value& root) {
  Service service;
  Fields object(root);
  service.meta = decode_metadata(object, Kind::service);
  const auto status = object.take("status");
  const auto spec = object.require("spec", "ports and a selector");
  object.finish();
  if (const auto name = service.meta.labels.find("service.kubernetes.io/service-proxy-name");
      name != service.meta.labels.end())
    service.proxy_name = name->second;
  if (!spec) return service;
  Fields fields(*spec);
  service.type = decode_type(fields);
  decode_cluster_ips(fields, service);
  decode_families(fields, service);
  if (const auto selector = fields.take("selector")) service.selector = decode_labels(*selector);
  const auto ports = fields.take("ports");
  if (ports) service.ports = decode_service_ports(*ports, service.type);
  decode_affinity(fields, service);
  decode_external_name(fields, service);
  if (const auto publish = fields.take("publishNotReadyAddresses"))
    service.publish_not_ready = publish->boolean().value_or(false);
  decode_external_side(fields, service);
  fields.finish();
  if (fields.valid()) check_service(*spec, ports, service);
  if (status) decode_load_balancer_status(*status, service);
  decode_service_annotations(root, service);
  return service;
}

}  // namespace weft::model
