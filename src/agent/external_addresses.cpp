#include "agent/external_addresses.h"

#include <fmt/format.h>

#include <algorithm>

namespace weft::agent {
namespace {

bool any_contains(const std::vector<Cidr>& ranges, const IpAddress& address) {
  return std::ranges::any_of(ranges, [&](const Cidr& range) { return range.contains(address); });
}

// Why nobody may take it; empty: somebody may.
std::string taken_by(const IpAddress& address, const Config& config, const Node& node) {
  static const auto mapped = Cidr::parse("::ffff:0.0.0.0/96");
  if (any_contains(config.pod_cidrs, address)) return "is in pod_cidrs: it is a pod's";
  if (any_contains(config.service_cidrs, address)) return "is in service_cidrs: it is a cluster IP's";
  if (node.broadcasts.contains(address) || address == IpAddress::v4(0xffffffffU)) return "is a broadcast address";
  if (!address.is_v4() && mapped && mapped->contains(address)) return "is IPv4 written as IPv6: write it as IPv4";
  return {};
}

bool holds(const model::LoadBalancerPool& pool, const IpAddress& address) {
  return std::ranges::any_of(pool.ranges, [&](const model::AddressRange& range) {
    return range.first.family() == address.family() && range.first <= address && address <= range.last;
  });
}

Result<void> check_external_ip(const IpAddress& address, const model::Service& service, const Config& config,
                               const Node& node, const std::vector<const model::LoadBalancerPool*>& pools) {
  const auto refuse = [&](std::string_view why, std::string hint) {
    return fail(ErrorCode::invalid, fmt::format("spec.externalIPs: {} {}", address.to_string(), why), std::move(hint));
  };
  if (const auto why = taken_by(address, config, node); !why.empty())
    return refuse(why, "name an address that is routed to this node and that nothing else has");
  for (const auto* pool : pools)
    if (holds(*pool, address))
      return refuse(fmt::format("is in LoadBalancerPool {}", pool->meta.name),
                    "ask for it with type LoadBalancer and weft.io/load-balancer-ips");
  if (!node.addresses.contains(address)) return {};
  for (const auto& port : service.ports)
    if (port.port >= config.node_port_min && port.port <= config.node_port_max)
      return refuse(fmt::format("is the node's own, where {} is for node ports", port.port),
                    "choose a port outside node_port_min to node_port_max, or type NodePort");
  return {};
}

}  // namespace

Result<void> check_external_addresses(const model::Service& service, const Config& config, const Node& node,
                                      const std::vector<const model::LoadBalancerPool*>& pools) {
  if (!service.external_ips.empty() && !config.external_ips)
    return fail(ErrorCode::invalid, "spec.externalIPs: this node serves none (`external_ips: false`)",
                "use type LoadBalancer with a LoadBalancerPool");
  for (const auto& address : service.external_ips) WEFT_CHECK(check_external_ip(address, service, config, node, pools));
  for (const auto& ingress : service.ingress)
    if (const auto why = taken_by(ingress.address, config, node); !why.empty())
      return fail(ErrorCode::invalid,
                  fmt::format("status.loadBalancer.ingress: {} {}", ingress.address.to_string(), why));
  return {};
}

}  // namespace weft::agent
