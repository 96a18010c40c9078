#include "agent/spoken_for.h"

#include <fmt/format.h>

#include <algorithm>

#include "abi/service.h"

namespace weft::agent {
namespace {

constexpr std::uint16_t bgp_port = 179;  // RFC 4271, 4.2

// "https://[2001:db8::1]:2379" is at 2001:db8::1; a name is no address.
bool is_endpoint(const std::string& endpoint, const IpAddress& address) {
  const auto text = address.to_string();
  const auto host = address.is_v4() ? fmt::format("//{}", text) : fmt::format("//[{}]", text);
  const auto at = endpoint.find(host);
  if (at == std::string::npos) return false;
  const auto after = endpoint.substr(at + host.size());
  return after.empty() || after.front() == ':' || after.front() == '/';
}

std::string address_spoken_for(const IpAddress& address, const Config& config, const ClusterView& cluster) {
  if (std::ranges::any_of(config.etcd_endpoints, [&](const auto& endpoint) { return is_endpoint(endpoint, address); }))
    return "is etcd's";
  if (const auto owner = cluster.plan.addresses.find(address); owner != cluster.plan.addresses.end())
    return fmt::format("is node {}'s", owner->second.node);
  for (const auto& [name, node] : cluster.nodes)
    if (!node.self && std::ranges::find(node.underlay, address) != node.underlay.end())
      return fmt::format("is node {}'s", name);
  return {};
}

Result<void> check_host_ports(const model::PodSpec& spec, const char* path, const Config& config) {
  for (std::size_t i = 0; i < spec.containers.size(); ++i)
    for (std::size_t j = 0; j < spec.containers[i].ports.size(); ++j) {
      const auto& port = spec.containers[i].ports[j];
      if (port.host_port == 0) continue;
      if (const auto why = port_spoken_for(config, port.host_port, port.protocol); !why.empty())
        return fail(ErrorCode::invalid,
                    fmt::format("{}.containers[{}].ports[{}].hostPort: {}/{} {}", path, i, j, port.host_port,
                                to_string(port.protocol), why),
                    "choose another host port");
    }
  return {};
}

Result<void> check_external(const IpAddress& address, const char* field, const model::Service& service,
                            const Config& config, const Node& node, const ClusterView& cluster) {
  if (const auto why = address_spoken_for(address, config, cluster); !why.empty())
    return fail(ErrorCode::invalid, fmt::format("{}: {} {}", field, address.to_string(), why),
                "name an address that is routed to the nodes and that nothing else has");
  if (!node.addresses.contains(address)) return {};
  for (const auto& port : service.ports)
    if (const auto why = port_spoken_for(config, port.port, port.protocol); !why.empty())
      return fail(ErrorCode::invalid,
                  fmt::format("{}: {} is the node's own, where {}/{} {}", field, address.to_string(), port.port,
                              to_string(port.protocol), why),
                  "choose another port, or another address");
  return {};
}

}  // namespace

std::string port_spoken_for(const Config& config, std::uint16_t port, Protocol protocol) {
  if (protocol == Protocol::tcp)
    return port == bgp_port && config.bgp_speaker != Config::BgpSpeaker::none ? "is where nodes speak BGP" : "";
  if (protocol != Protocol::udp) return {};
  if (port == config.tunnel_port && config.tunnel == Config::Tunnel::vxlan) return "is where nodes' VXLAN arrives";
  if (port == WEFT_GENEVE_PORT && (config.tunnel == Config::Tunnel::geneve || !config.load_balancer_peers.empty()))
    return "is where nodes' Geneve arrives";
  if (config.encrypts() && (port == config.wireguard_port || port == config.wireguard_port + 1))
    return "is where nodes' WireGuard arrives";
  return {};
}

Result<void> check_spoken_for(const model::Object& object, const Config& config, const Node& node,
                              const ClusterView& cluster) {
  if (const auto* pod = std::get_if<model::Pod>(&object)) return check_host_ports(pod->spec, "spec", config);
  if (const auto* deployment = std::get_if<model::Deployment>(&object))
    return check_host_ports(deployment->template_spec, "spec.template.spec", config);
  const auto* service = std::get_if<model::Service>(&object);
  if (service == nullptr) return {};
  for (const auto& address : service->external_ips)
    WEFT_CHECK(check_external(address, "spec.externalIPs", *service, config, node, cluster));
  for (const auto& ingress : service->ingress)
    WEFT_CHECK(check_external(ingress.address, "status.loadBalancer.ingress", *service, config, node, cluster));
  return {};
}

}  // namespace weft::agent
