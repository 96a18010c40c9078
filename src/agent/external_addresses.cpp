#include "agent/external_addresses.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

namespace weft::agent {
namespace {

bool any_contains(const std::vector<Cidr>& ranges, const IpAddress& address) {
  return std::ranges::any_of(ranges, [&](const Cidr& range) { return range.contains(address); });
}

bool holds(const model::AddressRange& range, const IpAddress& address) {
  return range.first.family() == address.family() && range.first <= address && address <= range.last;
}

bool holds(const model::LoadBalancerPool& pool, const IpAddress& address) {
  return std::ranges::any_of(pool.ranges, [&](const model::AddressRange& range) { return holds(range, address); });
}

// `field`: spec.externalIPs, or status.loadBalancer.ingress, by which another controller says what it has given.
Result<void> check_external_ip(const char* field, const IpAddress& address, const model::Service& service,
                               const Config& config, const Node& node,
                               const std::vector<const model::LoadBalancerPool*>& pools,
                               const std::vector<Cidr>& pod_pools) {
  const auto refuse = [&](std::string_view why, std::string hint) {
    return fail(ErrorCode::invalid, fmt::format("{}: {} {}", field, address.to_string(), why), std::move(hint));
  };
  if (const auto why = taken_by(address, config, node, pod_pools); !why.empty())
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

std::string in_range(const IpAddress& address, const Config& config, const std::vector<Cidr>& pools) {
  if (any_contains(config.pod_cidrs, address)) return "is in pod_cidrs: it is a pod's";
  if (any_contains(pools, address)) return "is in a PodAddressPool: it is a pod's";
  if (any_contains(config.service_cidrs, address)) return "is in service_cidrs: it is a cluster IP's";
  return {};
}

std::string taken_by(const IpAddress& address, const Config& config, const Node& node, const std::vector<Cidr>& pools) {
  static const auto mapped = Cidr::parse("::ffff:0.0.0.0/96");
  if (auto why = in_range(address, config, pools); !why.empty()) return why;
  if (node.broadcasts.contains(address) || address == IpAddress::v4(0xffffffffU)) return "is a broadcast address";
  if (node.networks.contains(address) && !node.addresses.contains(address))
    return "is the first of a network of this node: it names the network";
  if (node.next_hops.contains(address)) return "is a router's: routes of this node lead there";
  if (node.neighbours.contains(address)) return "is a neighbour's: this node has a permanent neighbour entry for it";
  if (!address.is_v4() && mapped && mapped->contains(address)) return "is IPv4 written as IPv6: write it as IPv4";
  return {};
}

std::vector<IpAddress> taken_addresses(const Node& node) {
  std::vector<IpAddress> all;
  for (const auto* some : {&node.broadcasts, &node.networks, &node.next_hops, &node.neighbours})
    std::ranges::copy_if(*some, std::back_inserter(all),
                         [&](const IpAddress& address) { return !node.addresses.contains(address); });
  return all;
}

Result<void> check_pool(const model::LoadBalancerPool& pool, const Config& config, const Node& node,
                        const std::vector<Cidr>& pod_pools) {
  const auto taken = taken_addresses(node);
  for (std::size_t i = 0; i < pool.ranges.size(); ++i) {
    const auto& range = pool.ranges[i];
    const auto refuse = [&](const std::string& why) {
      return fail(ErrorCode::invalid,
                  fmt::format("spec.addresses[{}]: {}-{} {}", i, range.first.to_string(), range.last.to_string(), why),
                  "leave such addresses out of the pool");
    };
    const auto overlaps = [&](const Cidr& cidr) {
      return cidr.family() == range.first.family() &&
             (cidr.contains(range.first) || (range.first <= cidr.address() && cidr.address() <= range.last));
    };
    if (std::ranges::any_of(config.pod_cidrs, overlaps)) return refuse("has addresses of pod_cidrs: they are pods'");
    if (const auto clash = std::ranges::find_if(pod_pools, overlaps); clash != pod_pools.end())
      return refuse(fmt::format("has addresses of {}, a PodAddressPool's: they are pods'", clash->to_string()));
    if (std::ranges::any_of(config.service_cidrs, overlaps))
      return refuse("has addresses of service_cidrs: they are cluster IPs");
    for (const auto& address : taken)
      if (holds(range, address))
        return refuse(fmt::format("has {}, which {}", address.to_string(), taken_by(address, config, node)));
  }
  return {};
}

Result<void> check_external_addresses(const model::Service& service, const Config& config, const Node& node,
                                      const std::vector<const model::LoadBalancerPool*>& pools,
                                      const std::vector<Cidr>& pod_pools) {
  if (!service.external_ips.empty() && !config.external_ips)
    return fail(ErrorCode::invalid, "spec.externalIPs: this node serves none (`external_ips: false`)",
                "use type LoadBalancer with a LoadBalancerPool");
  for (const auto& address : service.external_ips)
    WEFT_CHECK(check_external_ip("spec.externalIPs", address, service, config, node, pools, pod_pools));
  for (const auto& address : service.load_balancer_ips)
    if (const auto why = taken_by(address, config, node, pod_pools); !why.empty())
      return fail(ErrorCode::invalid, fmt::format("spec.loadBalancerIP: {} {}", address.to_string(), why),
                  "ask for another address");
  for (const auto& ingress : service.ingress)
    WEFT_CHECK(
        check_external_ip("status.loadBalancer.ingress", ingress.address, service, config, node, pools, pod_pools));
  return {};
}

std::string not_to_be_told(const model::ObjectKey& service, const control::ServiceFrontend& frontend,
                           const control::ServiceCompiler& services, const Config& config, const Node& node,
                           const std::vector<Cidr>& pod_pools) {
  if (auto why = taken_by(frontend.address, config, node, pod_pools); !why.empty()) return why;
  if (config.external_ips) return {};
  // In a status of an API server: who may write that is no user of Services.
  if (frontend.kind == control::FrontendKind::load_balancer && config.objects == Config::ObjectSource::kubernetes)
    return {};
  const auto given = services.held(service).load_balancer_ips;
  if (frontend.kind == control::FrontendKind::load_balancer &&
      std::ranges::find(given, frontend.address) != given.end())
    return {};
  return "is in no LoadBalancerPool, and this node serves no other addresses (`external_ips: false`)";
}

}  // namespace weft::agent
