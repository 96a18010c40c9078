#include "agent/bgp_input.h"

#include <algorithm>

#include "agent/address_pools.h"
#include "agent/external_addresses.h"

namespace weft::agent {
namespace {

bool takes_clients(const control::ServicePort& port) {
  return std::ranges::any_of(port.backends, [&](const control::ServiceBackend& backend) {
    if (!port.external_local) return backend.external;
    return backend.local && backend.ready && !backend.terminating && backend.healthy;
  });
}

}  // namespace

control::BgpInput bgp_input(const Objects& objects, const ServiceFacts& facts, const control::ServiceCompiler& services,
                            const Node& node, const Config& config, std::vector<Cidr> blocks) {
  control::BgpInput input;
  for (const auto& [key, peering] : objects.bgp_peerings()) input.peerings.push_back(&peering);
  if (input.peerings.empty()) return input;
  input.node_labels = config.labels();
  input.addresses = node.underlay();
  input.blocks = std::move(blocks);
  const auto pod_pools = further_cidrs(config, objects);
  for (const auto& [key, labels] : facts.announceable()) {
    control::BgpService service{labels, {}, {}};
    for (const auto* port : services.ports_of(key)) {
      if (!takes_clients(*port)) continue;
      for (const auto& frontend : port->frontends) {
        const bool balancer = frontend.kind == control::FrontendKind::load_balancer;
        if (!balancer && frontend.kind != control::FrontendKind::external_ip) continue;
        // The node's own address has routes already.
        if (node.addresses.contains(frontend.address)) continue;
        if (!not_to_be_told(key, frontend, services, config, node, pod_pools).empty()) continue;
        (balancer ? service.load_balancer_ips : service.external_ips).insert(frontend.address);
      }
    }
    if (!service.load_balancer_ips.empty() || !service.external_ips.empty())
      input.services.push_back(std::move(service));
  }
  return input;
}

bool speaks_bgp(const Objects& objects, const Config& config) {
  const auto& peerings = objects.bgp_peerings();
  if (peerings.empty() || config.bgp_speaker == Config::BgpSpeaker::none) return false;
  return std::ranges::any_of(peerings, [labels = config.labels()](const auto& named) {
    const model::BgpPeering& peering = named.second;
    return !peering.peers.empty() && (!peering.node_selector || peering.node_selector->matches(labels));
  });
}

}  // namespace weft::agent
