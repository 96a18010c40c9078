#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "model/decode_service.h"
#include "model/names.h"

namespace weft::model {
namespace {

std::string_view name_of(Family family) { return family == Family::v4 ? "IPv4" : "IPv6"; }

// Addresses of a family the Service does not have are never served. Without families or addresses in
// the text the node's own decide, which are not known here.
void check_family(const Value& value, Family family, const Service& service) {
  std::vector<Family> families = service.families;
  for (const auto& address : service.cluster_ips) families.push_back(address.family());
  const bool open = families.empty() || service.family_policy == Service::FamilyPolicy::prefer_dual_stack ||
                    service.family_policy == Service::FamilyPolicy::require_dual_stack;
  if (!open && std::ranges::find(families, family) == families.end())
    value.warning(fmt::format("has no effect: the Service is of {} only", name_of(families.front())));
}

bool is_load_balancer(const Service& service) { return service.type == Service::Type::load_balancer; }

// A field Kubernetes refuses on Services of other types.
bool needs_load_balancer(const Value& value, std::string_view field, const Service& service) {
  if (is_load_balancer(service)) return true;
  value.problem(fmt::format("{} needs type LoadBalancer", field));
  return false;
}

void decode_external_ips(Fields& fields, Service& service) {
  const auto list = fields.take("externalIPs");
  if (!list) return;
  std::set<IpAddress> seen;
  for (const auto& item : list->list()) {
    const auto address = decode_service_address(item);
    if (!address) continue;
    if (is_link_local(*address)) {
      item.problem(fmt::format("expected an address that is not link-local, found {}", address->to_string()));
    } else if (!seen.insert(*address).second) {
      item.warning(fmt::format("{} is given twice", address->to_string()));
    } else {
      check_family(item, address->family(), service);
      service.external_ips.push_back(*address);
    }
  }
  if (!service.external_ips.empty() && (service.headless || service.type == Service::Type::external_name))
    list->warning("has no effect on a Service without a ClusterIP");
}

// The requested address, its source ranges and its class.
void decode_load_balancer(Fields& fields, Service& service) {
  if (const auto requested = fields.take("loadBalancerIP"); requested && !requested->node().text.empty()) {
    if (const auto address = decode_service_address(*requested)) {
      check_family(*requested, address->family(), service);
      if (is_load_balancer(service))
        service.load_balancer_ips.push_back(*address);
      else
        requested->warning("has no effect: the Service is not of type LoadBalancer");
    }
  }
  if (const auto name = fields.take("loadBalancerClass"))
    if (needs_load_balancer(*name, "loadBalancerClass", service))
      if (auto text = name->string()) {
        if (const auto wrong = check_label_key(*text); !wrong.empty())
          name->problem(fmt::format("{}, found {}", wrong, in_quotes(*text)));
        service.load_balancer_class = std::move(*text);
      }
  // Spaces around a range are allowed: once they came from a text joined by commas.
  const auto ranges = fields.take("loadBalancerSourceRanges");
  std::set<Cidr> seen;
  if (ranges && !ranges->node().items.empty() && needs_load_balancer(*ranges, "loadBalancerSourceRanges", service))
    for (const auto& item : ranges->list())
      if (const auto cidr = decode_cidr(item, true)) {
        check_family(item, cidr->family(), service);
        if (seen.insert(*cidr).second) service.source_ranges.push_back(*cidr);
      }
  if (ranges && ranges->node().items.empty()) (void)ranges->list();
  if (const auto allocate = fields.take("allocateLoadBalancerNodePorts"))
    if (needs_load_balancer(*allocate, "allocateLoadBalancerNodePorts", service))
      service.allocate_node_ports = allocate->boolean().value_or(true);
}

void decode_traffic_policies(Fields& fields, Service& service) {
  const bool accessible = service.type == Service::Type::node_port || is_load_balancer(service) ||
                          (service.type == Service::Type::cluster_ip && !service.external_ips.empty());
  if (const auto policy = fields.take("externalTrafficPolicy"))
    if (const auto word = decode_word(*policy, {"Cluster", "Local"})) {
      service.external_local = *word == "Local";
      if (!accessible) policy->problem("externalTrafficPolicy needs type NodePort or LoadBalancer, or externalIPs");
    }
  if (const auto policy = fields.take("internalTrafficPolicy"))
    if (const auto word = decode_word(*policy, {"Cluster", "Local"})) service.internal_local = *word == "Local";
  if (const auto distribution = fields.take("trafficDistribution"))
    if (const auto word = decode_word(*distribution, {"PreferClose", "PreferSameZone", "PreferSameNode"}))
      service.distribution =
          *word == "PreferSameNode" ? TrafficDistribution::prefer_same_node : TrafficDistribution::prefer_same_zone;
}

void decode_health_port(Fields& fields, Service& service) {
  const auto port = fields.take("healthCheckNodePort");
  if (!port) return;
  const auto number = static_cast<std::uint16_t>(port->integer(0, 65535).value_or(0));
  if (number == 0) return;
  service.health_check_node_port = number;
  if (!is_load_balancer(service) || !service.external_local)
    port->problem("healthCheckNodePort needs type LoadBalancer and externalTrafficPolicy: Local");
  for (const auto& other : service.ports)
    if (other.node_port == number && other.protocol == Protocol::tcp)
      port->problem(fmt::format("the port {}/TCP is also a nodePort of this Service", number));
}

std::optional<LoadBalancerIngress> decode_ingress(const Value& value) {
  LoadBalancerIngress ingress;
  Fields fields(value);
  const auto address = fields.take("ip");
  const bool given = address && !address->node().text.empty();
  std::optional<IpAddress> decoded;
  if (given) decoded = decode_service_address(*address);
  if (decoded && is_link_local(*decoded)) {
    address->problem(fmt::format("expected an address that is not link-local, found {}", decoded->to_string()));
    decoded.reset();
  }
  if (decoded) ingress.address = *decoded;
  if (const auto mode = fields.take("ipMode"))
    if (const auto word = decode_word(*mode, {"VIP", "Proxy"})) {
      ingress.proxy = *word == "Proxy";
      if (!given) mode->problem("ipMode needs ip");
    }
  fields.accept({"hostname", "ports"});
  fields.finish(Unknown::warning);
  return decoded ? std::optional(ingress) : std::nullopt;
}

}  // namespace

void decode_external_side(Fields& spec, Service& service) {
  decode_external_ips(spec, service);
  decode_load_balancer(spec, service);
  decode_traffic_policies(spec, service);
  decode_health_port(spec, service);
}

// What else stands in a status was written by a cluster and is passed over.
void decode_load_balancer_status(const Value& status, Service& service) {
  const auto balancer = status.member("loadBalancer");
  const auto list = balancer ? balancer->member("ingress") : std::nullopt;
  if (!list) return;
  std::set<IpAddress> seen;
  for (const auto& item : list->list()) {
    const auto ingress = decode_ingress(item);
    if (ingress && seen.insert(ingress->address).second) service.ingress.push_back(*ingress);
  }
  if (service.ingress.empty() || is_load_balancer(service)) return;
  list->warning("has no effect: the Service is not of type LoadBalancer");
  service.ingress.clear();
}

}  // namespace weft::model
