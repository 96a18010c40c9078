// What this node says to routers by BGP (RFC 4271), and takes from them. Values; pure.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/labels.h"
#include "model/bgp.h"

namespace weft::control {

struct BgpAttributes {
  std::set<model::BgpCommunity> communities;
  std::set<model::BgpLargeCommunity> large_communities;
  std::optional<std::uint32_t> local_preference;
  auto operator<=>(const BgpAttributes&) const = default;
};
using BgpRoutes = std::map<Cidr, BgpAttributes>;

// Peers that are told the same: those of one BGPPeering.
struct BgpGroup {
  std::vector<model::BgpPeer> peers;  // in no two groups
  BgpRoutes advertised;
  std::vector<Cidr> imports;
  bool operator==(const BgpGroup&) const = default;
};

struct BgpPlan {
  std::uint32_t local_as = 0;
  IpAddress router_id;
  std::vector<IpAddress> next_hops;        // this node, for routes of another family than the session's
  std::map<std::string, BgpGroup> groups;  // by the BGPPeering's name

  [[nodiscard]] bool empty() const { return groups.empty(); }  // nobody is spoken to
  [[nodiscard]] bool imports() const;
  [[nodiscard]] std::set<Cidr> advertised() const;
  [[nodiscard]] std::optional<IpAddress> next_hop(Family family) const;
  // Null: none.
  [[nodiscard]] const model::BgpPeer* peer(const IpAddress& address) const;
  bool operator==(const BgpPlan&) const = default;
};

// The addresses of a Service that this node is to draw traffic to.
struct BgpService {
  LabelMap labels;
  std::set<IpAddress> load_balancer_ips;
  std::set<IpAddress> external_ips;
};

struct BgpInput {
  std::vector<const model::BgpPeering*> peerings;  // in order of their names
  LabelMap node_labels;
  std::vector<IpAddress> addresses;  // of the node, at most one of each family
  std::vector<Cidr> blocks;          // of its pods
  std::vector<BgpService> services;
};

struct BgpOutcome {
  BgpPlan plan;
  std::map<std::string, std::string> problems;  // of BGPPeerings, by name: why they are not followed, or not wholly
};

// One speaker has one AS and one router id: of peerings that contradict each other the first by name is followed.
BgpOutcome plan_bgp(const BgpInput& input);

}  // namespace weft::control
