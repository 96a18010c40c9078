#include "control/bgp/bgp.h"

#include <fmt/format.h>

#include <algorithm>

namespace weft::control {
namespace {

Cidr host_route(const IpAddress& address) { return {address, address.is_v4() ? 32U : 128U}; }

// Advertisements that cover one prefix add up.
void add(BgpRoutes& routes, const Cidr& cidr, const model::BgpAdvertisement& advertisement) {
  auto& attributes = routes[cidr];
  attributes.communities.insert(advertisement.communities.begin(), advertisement.communities.end());
  attributes.large_communities.insert(advertisement.large_communities.begin(), advertisement.large_communities.end());
  if (advertisement.local_preference)
    attributes.local_preference = std::max(attributes.local_preference.value_or(0), *advertisement.local_preference);
}

BgpRoutes routes_of(const model::BgpPeering& peering, const BgpInput& input) {
  BgpRoutes routes;
  for (const auto& advertisement : peering.advertise) {
    if (advertisement.pod_cidrs)
      for (const auto& block : input.blocks) add(routes, block, advertisement);
    for (const auto& service : input.services) {
      if (advertisement.service_selector && !advertisement.service_selector->matches(service.labels)) continue;
      if (advertisement.load_balancer_ips)
        for (const auto& address : service.load_balancer_ips) add(routes, host_route(address), advertisement);
      if (advertisement.external_ips)
        for (const auto& address : service.external_ips) add(routes, host_route(address), advertisement);
    }
  }
  return routes;
}

std::optional<IpAddress> router_id_of(const model::BgpPeering& peering, const BgpInput& input) {
  if (peering.router_id) return peering.router_id;
  const auto v4 = std::ranges::find_if(input.addresses, &IpAddress::is_v4);
  return v4 == input.addresses.end() ? std::nullopt : std::optional(*v4);
}

class Planner {
 public:
  explicit Planner(const BgpInput& input) : input_(input) { outcome_.plan.next_hops = input.addresses; }

  void add(const model::BgpPeering& peering) {
    const auto& name = peering.meta.name;
    if (peering.node_selector && !peering.node_selector->matches(input_.node_labels)) return;
    auto& plan = outcome_.plan;
    const auto id = router_id_of(peering, input_);
    if (!id) return refuse(name, "this node has no IPv4 address to be its router ID: give it a routerID");
    if (!plan.empty() && peering.local_as != plan.local_as)
      return refuse(name, fmt::format("localAS {} is not that of BGPPeering {}, {}, and a node has one",
                                      peering.local_as, plan.groups.begin()->first, plan.local_as));
    if (!plan.empty() && peering.router_id && *id != plan.router_id)
      return refuse(name, fmt::format("routerID {} is not that of BGPPeering {}, {}, and a node has one",
                                      id->to_string(), plan.groups.begin()->first, plan.router_id.to_string()));
    BgpGroup group;
    for (const auto& peer : peering.peers)
      if (const auto known = owners_.try_emplace(peer.address, name); known.second)
        group.peers.push_back(peer);
      else
        refuse(name, fmt::format("the router {} is one of BGPPeering {} already, which is followed",
                                 peer.address.to_string(), known.first->second));
    if (group.peers.empty()) return;
    group.advertised = routes_of(peering, input_);
    group.imports = peering.imports;
    plan.local_as = peering.local_as;
    if (plan.empty()) plan.router_id = *id;
    plan.groups.emplace(name, std::move(group));
  }
  BgpOutcome take() { return std::move(outcome_); }

 private:
  void refuse(const std::string& name, const std::string& why) {
    auto& text = outcome_.problems[name];
    text += (text.empty() ? "" : "; ") + why;
  }

  const BgpInput& input_;
  BgpOutcome outcome_;
  std::map<IpAddress, std::string> owners_;
};

}  // namespace

bool BgpPlan::imports() const {
  return std::ranges::any_of(groups, [](const auto& group) { return !group.second.imports.empty(); });
}

std::set<Cidr> BgpPlan::advertised() const {
  std::set<Cidr> all;
  for (const auto& [name, group] : groups)
    for (const auto& [cidr, attributes] : group.advertised) all.insert(cidr);
  return all;
}

std::optional<IpAddress> BgpPlan::next_hop(Family family) const {
  const auto found = std::ranges::find(next_hops, family, &IpAddress::family);
  return found == next_hops.end() ? std::nullopt : std::optional(*found);
}

const model::BgpPeer* BgpPlan::peer(const IpAddress& address) const {
  for (const auto& [name, group] : groups)
    for (const auto& peer : group.peers)
      if (peer.address == address) return &peer;
  return nullptr;
}

BgpOutcome plan_bgp(const BgpInput& input) {
  Planner planner(input);
  for (const auto* peering : input.peerings) planner.add(*peering);
  return planner.take();
}

}  // namespace weft::control
