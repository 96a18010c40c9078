// EgressGateways: what this node knows of itself and of others, as the plan takes it, and the plan as rows.
#include "agent/address_pools.h"
#include "agent/compile.h"
#include "agent/external_addresses.h"

namespace weft::agent {
namespace {

using datapath::to_abi;

control::EgressNode self_node(const LabelMap& labels, const Node& node) {
  control::EgressNode self;
  self.labels = labels;
  self.underlay = node.underlay();
  self.self = true;
  self.alive = true;
  return self;
}

// Whether the plan has addresses of both nodes' gateways, between which goes what WireGuard does not take as it is.
bool has_ends(const control::NodePlan& plan, std::uint32_t number) {
  const auto row = plan.nodes.find(number);
  return row != plan.nodes.end() && datapath::from_abi(row->second.addr) != IpAddress();
}

control::EgressNode other_node(const ClusterNode& known, const control::NodeReach* reach,
                               const control::NodePlan& plan) {
  control::EgressNode other;
  other.labels = known.labels;
  other.underlay = known.underlay;
  other.uplinks = known.uplinks;
  other.alive = known.alive;
  other.healthy = known.answers;
  if (reach == nullptr || reach->way == WEFT_WAY_NONE) {
    other.unreachable = reach == nullptr || reach->problem.empty() ? "no way to it is known" : reach->problem;
    return other;
  }
  if (reach->way == WEFT_WAY_WIREGUARD && !has_ends(plan, reach->number)) {
    other.unreachable = "packets to it are encrypted, and its pods have no addresses of a family that pods here have";
    return other;
  }
  other.number = reach->number;
  other.direct = reach->way == WEFT_WAY_DIRECT;
  if (other.direct && !reach->same_network)
    other.unreachable = "it is on another network, and no tunnel leads there (tunnel_scope: cross-subnet)";
  return other;
}

std::vector<control::EgressUplink> uplinks_of(const Node& node) {
  std::vector<control::EgressUplink> uplinks;
  for (const auto& [index, uplink] : node.uplinks)
    uplinks.push_back({uplink.name, index, uplink.v4, uplink.v6, uplink.subnets});
  return uplinks;
}

std::set<IpAddress> asked_for(const Objects& objects) {
  std::set<IpAddress> all;
  for (const auto& [key, gateway] : objects.egress_gateways())
    for (const auto& entry : gateway.gateways) all.insert(entry.addresses.begin(), entry.addresses.end());
  return all;
}

weft_next_hop next_hop_of(const ClusterNode& node) {
  weft_next_hop hop{};
  for (const auto& address : node.underlay) (address.is_v4() ? hop.v4 : hop.v6) = to_abi(address);
  return hop;
}

}  // namespace

void Compiler::fill_egress(Compiled& compiled, const Objects& objects, const Node& node,
                           const ClusterView& cluster) const {
  if (objects.egress_gateways().empty() || (cluster.clustered && !cluster.known)) return;
  control::EgressInput input{.gateways = objects.egress_gateways(),
                             .identities = identities_.all(),
                             .namespaces = objects.namespaces(),
                             .nodes = {},
                             .holders = cluster.egress_holders,
                             .refused = {},
                             .addresses = node.addresses,
                             .uplinks = uplinks_of(node)};
  const auto pod_pools = further_cidrs(config_, objects);
  for (const auto& address : asked_for(objects)) {
    if (!cluster.clustered) input.holders.emplace(address, config_.node);  // a node by itself has what it is to have
    if (auto why = taken_by(address, config_, node, pod_pools); !why.empty())
      input.refused.emplace(address, std::move(why));
  }
  for (const auto& [name, known] : cluster.nodes) {
    if (known.self) continue;
    const auto reach = cluster.plan.reach.find(name);
    input.nodes.emplace(name,
                        other_node(known, reach == cluster.plan.reach.end() ? nullptr : &reach->second, cluster.plan));
  }
  input.nodes.insert_or_assign(config_.node, self_node(config_.labels(), node));
  compiled.egress = control::plan_egress(input);
  for (const auto& [prefix, row] : compiled.egress.rows)
    compiled.rows.egress.emplace(
        weft_egress_key{32 + prefix.destination.mapped_length(), prefix.identity, to_abi(prefix.destination.address())},
        row.row);
  for (const auto& name : compiled.egress.nodes)
    if (const auto& other = input.nodes.at(name); other.direct)
      compiled.rows.next_hops.emplace(other.number, next_hop_of(cluster.nodes.at(name)));
}

}  // namespace weft::agent
