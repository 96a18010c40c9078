// The other nodes of the cluster as the datapath and the kernel's routes must know them. Pure but for the numbers it
// keeps stable. One owner thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "abi/endpoint.h"
#include "base/ip.h"

namespace weft::control {

// Another node, as the shared state tells.
struct RemoteNode {
  std::vector<IpAddress> underlay;  // where it is reached, at most one of each family
  std::vector<IpAddress> gateways;  // of its pods: it sends from there what goes through a tunnel
  std::vector<Cidr> blocks;         // addresses of its pods
  // It encrypts: the WireGuard device that speaks with it; 0: none does so yet.
  std::optional<std::uint32_t> wireguard;
  auto operator<=>(const RemoteNode&) const = default;
};
using RemoteNodes = std::map<std::string, RemoteNode>;  // by name

// This node.
struct NodeSelf {
  std::vector<IpAddress> underlay;  // at most one of each family
  std::vector<IpAddress> gateways;  // likewise
  std::set<Cidr> networks;          // it is on, by its uplinks
  std::uint32_t mtu = 1500;         // of the uplinks
  weft_way tunnel = WEFT_WAY_NONE;  // none: packets go as they are
  bool cross_subnet = false;        // the tunnel is for nodes on other networks only
  std::uint32_t overhead_v4 = 0;    // of the tunnel, in IPv4 and in IPv6
  std::uint32_t overhead_v6 = 0;
  // It encrypts what goes to nodes that do, by none of the above; strict: and lets nothing go to others.
  bool encrypts = false;
  bool strict = false;
  std::uint32_t wireguard_overhead_v4 = 0;
  std::uint32_t wireguard_overhead_v6 = 0;
  std::vector<Cidr> pod_ranges;  // of the whole cluster
  bool operator==(const NodeSelf&) const = default;
};

// How a pods' range of another node is reached by the kernel.
struct NodeRoute {
  Cidr destination;
  std::optional<IpAddress>
      gateway;                      // absent: by the host device, whose program knows the tunnel, or that there is none
  std::optional<IpAddress> source;  // of the node's own packets
  auto operator<=>(const NodeRoute&) const = default;
};

struct NodeReach {
  std::uint32_t number = 0;  // of weft_node_v1
  weft_way way = WEFT_WAY_NONE;
  bool same_network = false;
  std::string problem;  // why some or all of its pods cannot be reached; empty: nothing is known of that
  bool operator==(const NodeReach&) const = default;
};

// An address that a node itself has.
struct NodeAddress {
  std::string node;
  std::uint32_t number = 0;  // 0: reached like any address outside
  bool operator==(const NodeAddress&) const = default;
};

struct NodePlan {
  std::map<std::uint32_t, weft_node> nodes;
  std::map<IpAddress, NodeAddress> addresses;
  std::map<Cidr, std::uint32_t> blocks;  // to the node's number
  std::set<NodeRoute> routes;
  std::map<std::string, NodeReach> reach;  // by name
};
bool operator==(const NodePlan& a, const NodePlan& b);

// Numbers that flows name nodes by: a node keeps its own for as long as it is known, and a number that falls free is
// given again as late as can be.
class NodeNumbers {
 public:
  static constexpr std::uint32_t last = 8191;  // of weft_node_v1, whose index 0 is no node

  // Numbers out of range, or given twice, are ignored.
  explicit NodeNumbers(const std::map<std::string, std::uint32_t>& restored = {});
  // Exactly these are known from now on; names that found no number are left out.
  void assign(const RemoteNodes& nodes);
  [[nodiscard]] const std::map<std::string, std::uint32_t>& all() const { return numbers_; }

 private:
  [[nodiscard]] std::optional<std::uint32_t> free_number();

  std::map<std::string, std::uint32_t> numbers_;
  std::set<std::uint32_t> taken_;
  std::uint32_t next_ = 1;
};

// `numbers` is brought to `nodes` first. Where two nodes claim one address or block, the first by name has it, and the
// other's problem names it.
NodePlan plan_nodes(const NodeSelf& self, const RemoteNodes& nodes, NodeNumbers& numbers);

std::string_view to_string(weft_way way);

}  // namespace weft::control
