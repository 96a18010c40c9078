#include "agent/spoken_for.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>

#include "abi/service.h"
#include "base/endpoint_host.h"

namespace weft::agent {
namespace {

constexpr std::uint16_t bgp_port = 179;  // RFC 4271, 4.2
// Its API, its read-only API and its health check: KubeletConfiguration's port, readOnlyPort and healthzPort.
constexpr std::array<std::uint16_t, 3> kubelet_ports = {10250, 10255, 10248};

bool is_any(const IpAddress& address) { return address.is_unspecified() || (address.is_v4() && address.to_v4() == 0); }

// An etcd that runs on this node is reached there by this port.
bool leads_to_etcd(const Config& config, const Node& node, std::uint16_t port) {
  return config.clustered() && std::ranges::any_of(config.etcd_endpoints, [&](const std::string& endpoint) {
           const auto host = endpoint_host(endpoint);
           return host && (host->is_loopback() || node.addresses.contains(*host)) &&
                  endpoint.ends_with(fmt::format(":{}", port));
         });
}

bool leads_to_api_server(const Config& config, const Node& node, std::uint16_t port) {
  const auto is_here = [&](const std::string& server) {
    const auto host = endpoint_host(server);
    return host && node.addresses.contains(*host) && server.ends_with(fmt::format(":{}", port));
  };
  return std::ranges::any_of(config.kubernetes_servers, is_here) || std::ranges::any_of(config.api_servers, is_here);
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
  const auto spoken_for = addresses_spoken_for(config, node, cluster);
  if (const auto found = spoken_for.find(address); found != spoken_for.end())
    return fail(ErrorCode::invalid, fmt::format("{}: {} {}", field, address.to_string(), found->second),
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
  if (protocol == Protocol::tcp) {
    if (config.objects == Config::ObjectSource::kubernetes &&
        std::ranges::find(kubelet_ports, port) != kubelet_ports.end())
      return "is the kubelet's";
    return port == bgp_port && config.bgp_speaker != Config::BgpSpeaker::none ? "is where nodes speak BGP" : "";
  }
  if (protocol != Protocol::udp) return {};
  if (port == config.tunnel_port && config.tunnel == Config::Tunnel::vxlan) return "is where nodes' VXLAN arrives";
  if (port == WEFT_GENEVE_PORT && (config.tunnel == Config::Tunnel::geneve || !config.load_balancer_peers.empty()))
    return "is where nodes' Geneve arrives";
  if (config.encrypts() && (port == config.wireguard_port || port == config.wireguard_port + 1))
    return "is where nodes' WireGuard arrives";
  return {};
}

std::string host_port_withheld(const Config& config, const Node& node, const std::optional<IpAddress>& host_ip,
                               std::uint16_t port, Protocol protocol) {
  if (auto why = port_spoken_for(config, port, protocol); !why.empty()) return why;
  if (host_ip && !is_any(*host_ip) && !host_ip->is_loopback() && !node.addresses.contains(*host_ip))
    return fmt::format("is asked for at {}, which is no address of this node", host_ip->to_string());
  if (protocol == Protocol::tcp && leads_to_etcd(config, node, port)) return "is where etcd is reached on this node";
  if (protocol == Protocol::tcp && leads_to_api_server(config, node, port)) return "is where this node's API server is";
  return {};
}

std::map<IpAddress, std::string> addresses_spoken_for(const Config& config, const Node& node,
                                                      const ClusterView& cluster) {
  std::map<IpAddress, std::string> all;
  for (const auto* servers : {&config.kubernetes_servers, &config.api_servers})
    for (const auto& server : *servers)
      if (const auto address = endpoint_host(server)) all.emplace(*address, "is the Kubernetes API server's");
  if (!config.clustered()) return all;
  for (const auto& endpoint : config.etcd_endpoints)
    if (const auto address = endpoint_host(endpoint)) all.emplace(*address, "is etcd's");
  for (const auto& address : node.addresses) all.emplace(address, fmt::format("is node {}'s", config.node));
  for (const auto& [address, owner] : cluster.plan.addresses)
    all.emplace(address, fmt::format("is node {}'s", owner.node));
  for (const auto& [address, node_name] : cluster.egress_holders)
    all.emplace(address, fmt::format("is an EgressGateway's, at node {}", node_name));
  for (const auto& [name, other] : cluster.nodes)
    for (const auto& address : other.underlay) all.emplace(address, fmt::format("is node {}'s", name));
  return all;
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
