#include "control/nodes/nodes.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace weft::control {
namespace {

weft_addr to_abi(const IpAddress& address) {
  weft_addr result{};
  std::memcpy(&result, address.bytes().data(), sizeof result);
  return result;
}

std::optional<IpAddress> of_family(const std::vector<IpAddress>& addresses, Family family) {
  const auto found = std::ranges::find(addresses, family, &IpAddress::family);
  return found == addresses.end() ? std::nullopt : std::optional(*found);
}

const char* name_of(Family family) { return family == Family::v4 ? "IPv4" : "IPv6"; }

// One node's part of the plan.
class Planner {
 public:
  Planner(const NodeSelf& self, const std::string& name, const RemoteNode& node, NodePlan& plan, NodeReach& reach)
      : self_(self), name_(name), node_(node), plan_(plan), reach_(reach) {}

  void run() {
    choose_way();
    for (const auto& address : node_.underlay) claim(address, 0);
    const bool tunnelled = reach_.way != WEFT_WAY_DIRECT && reach_.way != WEFT_WAY_NONE;
    for (const auto& address : node_.gateways) claim(address, tunnelled ? reach_.number : 0);
    for (const auto& block : node_.blocks) add_block(block);
  }

 private:
  // The first family that both have, IPv4 before IPv6: tunnels go there, whatever is inside.
  void choose_way() {
    for (const auto family : {Family::v4, Family::v6}) {
      const auto theirs = of_family(node_.underlay, family);
      const auto ours = of_family(self_.underlay, family);
      if (!theirs || !ours) continue;
      if (!outer_) outer_ = {*theirs, *ours};
      reach_.same_network = reach_.same_network || on_network(*theirs);
    }
    if (!outer_) {
      reach_.problem = node_.underlay.empty() ? "it has not told its address"
                                              : "it has no address of a family that this node has one of";
      return;
    }
    weft_node row{};
    row.addr = to_abi(outer_->first);
    row.source = to_abi(outer_->second);
    const bool v4 = outer_->first.is_v4();
    std::uint32_t overhead = 0;
    if (self_.encrypts && (node_.wireguard || self_.strict)) {
      encrypt(row);
      overhead = v4 ? self_.wireguard_overhead_v4 : self_.wireguard_overhead_v6;
    } else if (self_.tunnel == WEFT_WAY_NONE || (self_.cross_subnet && reach_.same_network)) {
      reach_.way = WEFT_WAY_DIRECT;
    } else {
      reach_.way = self_.tunnel;
      overhead = v4 ? self_.overhead_v4 : self_.overhead_v6;
    }
    row.way = static_cast<std::uint8_t>(reach_.way);
    row.mtu = self_.mtu > overhead ? self_.mtu - overhead : 0;
    plan_.nodes.emplace(reach_.number, row);
  }

  // A node that has a key is never sent to in clear, whatever is missing here.
  void encrypt(weft_node& row) {
    const auto device = node_.wireguard.value_or(0);
    reach_.way = device != 0 ? WEFT_WAY_WIREGUARD : WEFT_WAY_REFUSED;
    if (device != 0) {
      row.ifindex = device;
      between_gateways(row);
    } else if (node_.wireguard) {
      problem("nothing here encrypts to its key yet (weft encryption status)");
    } else {
      problem("it has no key, and encryption_strict lets nothing go there in clear");
    }
  }

  // Where what WireGuard does not take as it is goes in IP-in-IP: by addresses that are bound to both nodes' keys.
  void between_gateways(weft_node& row) const {
    row.addr = row.source = {};
    for (const auto family : {Family::v4, Family::v6}) {
      const auto theirs = of_family(node_.gateways, family);
      const auto ours = of_family(self_.gateways, family);
      if (!theirs || !ours) continue;
      row.addr = to_abi(*theirs);
      row.source = to_abi(*ours);
      return;
    }
  }

  void claim(const IpAddress& address, std::uint32_t number) {
    const auto [entry, added] = plan_.addresses.try_emplace(address, NodeAddress{name_, number});
    if (!added && entry->second.node != name_)
      problem(fmt::format("{} is also node {}'s", address.to_string(), entry->second.node));
  }

  void add_block(const Cidr& block) {
    if (reach_.way == WEFT_WAY_NONE) return;
    if (!plan_.blocks.emplace(block, reach_.number).second)
      return problem(fmt::format("block {} is another node's too", block.to_string()));
    const auto family = block.family();
    if (reach_.way != WEFT_WAY_DIRECT) {
      plan_.routes.insert({block, {}, of_family(self_.gateways, family)});
      return;
    }
    // An IPv4 block may have an IPv6 next hop (RFC 5549), an IPv6 one no IPv4 one.
    auto next_hop = of_family(node_.underlay, family);
    if (!next_hop && family == Family::v4) next_hop = of_family(node_.underlay, Family::v6);
    if (!next_hop)
      return problem(fmt::format("{} pods at {} cannot be reached without a tunnel: it has no {} address",
                                 name_of(family), block.to_string(), name_of(family)));
    // Elsewhere the routers between have to know the blocks.
    if (on_network(*next_hop)) plan_.routes.insert({block, next_hop, {}});
  }

  [[nodiscard]] bool on_network(const IpAddress& address) const {
    return std::ranges::any_of(self_.networks, [&](const Cidr& network) { return network.contains(address); });
  }

  void problem(const std::string& text) { reach_.problem += (reach_.problem.empty() ? "" : "; ") + text; }

  const NodeSelf& self_;
  const std::string& name_;
  const RemoteNode& node_;
  NodePlan& plan_;
  NodeReach& reach_;
  std::optional<std::pair<IpAddress, IpAddress>> outer_;  // theirs and ours
};

}  // namespace

NodeNumbers::NodeNumbers(const std::map<std::string, std::uint32_t>& restored) {
  for (const auto& [name, number] : restored) {
    if (number == 0 || number > last || !taken_.insert(number).second) continue;
    numbers_.emplace(name, number);
    next_ = std::max(next_, number + 1);
  }
}

std::optional<std::uint32_t> NodeNumbers::free_number() {
  for (std::uint32_t tried = 0; tried < last; ++tried) {
    if (next_ > last) next_ = 1;
    if (const auto number = next_++; !taken_.contains(number)) return number;
  }
  return {};
}

void NodeNumbers::assign(const RemoteNodes& nodes) {
  std::erase_if(numbers_, [&](const auto& entry) {
    const bool gone = !nodes.contains(entry.first);
    if (gone) taken_.erase(entry.second);
    return gone;
  });
  for (const auto& [name, node] : nodes) {
    if (numbers_.contains(name)) continue;
    const auto number = free_number();
    if (!number) return;
    taken_.insert(*number);
    numbers_.emplace(name, *number);
  }
}

NodePlan plan_nodes(const NodeSelf& self, const RemoteNodes& nodes, NodeNumbers& numbers) {
  NodePlan plan;
  numbers.assign(nodes);
  for (const auto& [name, node] : nodes) {
    auto& reach = plan.reach[name];
    const auto number = numbers.all().find(name);
    if (number == numbers.all().end()) {
      reach.problem = fmt::format("there are more than {} nodes", NodeNumbers::last);
      continue;
    }
    reach.number = number->second;
    Planner(self, name, node, plan, reach).run();
  }
  // What the node itself sends to an address that no pod has does not leave by the default route.
  if (self.strict)
    for (const auto& range : self.pod_ranges)
      if (const auto gateway = of_family(self.gateways, range.family())) plan.routes.insert({range, {}, gateway});
  return plan;
}

bool operator==(const NodePlan& a, const NodePlan& b) {
  const auto same_row = [](const auto& left, const auto& right) {
    return left.first == right.first && std::memcmp(&left.second, &right.second, sizeof left.second) == 0;
  };
  return a.addresses == b.addresses && a.blocks == b.blocks && a.routes == b.routes && a.reach == b.reach &&
         std::ranges::equal(a.nodes, b.nodes, same_row);
}

std::string_view to_string(weft_way way) {
  switch (way) {
    case WEFT_WAY_DIRECT:
      return "direct";
    case WEFT_WAY_VXLAN:
      return "vxlan";
    case WEFT_WAY_GENEVE:
      return "geneve";
    case WEFT_WAY_IPIP:
      return "ipip";
    case WEFT_WAY_WIREGUARD:
      return "wireguard";
    case WEFT_WAY_REFUSED:
      return "refused";
    case WEFT_WAY_NONE:
      break;
  }
  return "none";
}

}  // namespace weft::control
