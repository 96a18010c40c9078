// What the node itself is: addresses, uplinks, namespace. Read from the kernel, compared to notice change.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "config/agent/config.h"
#include "sys/netlink.h"

namespace weft::agent {

struct Uplink {
  std::string name;
  std::uint32_t mtu = 1500;
  std::optional<IpAddress> v4;  // source for translation: the device's first global address
  std::optional<IpAddress> v6;
  MacAddress mac;
  std::string kind;  // "veth", "bond", ...; empty for hardware
  bool up = true;
  std::set<Cidr> subnets;  // the networks it is on
  auto operator<=>(const Uplink&) const = default;
};

struct Node {
  std::set<IpAddress> addresses;            // every address of the node, loopback excepted
  std::map<std::uint32_t, Uplink> uplinks;  // by ifindex
  std::set<IpAddress> known_by;             // those of uplinks that the Node object names
  std::uint64_t netns_cookie = 0;
  std::uint32_t uplink_mtu = 1500;  // the smallest
  std::uint32_t pod_mtu = 1500;     // what is left of it inside the tunnel to other nodes
  std::set<Cidr> subnets;           // the networks of all uplinks
  std::set<IpAddress> broadcasts;   // of the IPv4 networks the node is on
  std::set<IpAddress> networks;     // their first addresses, which name them; of IPv6 the routers' anycast ones
  std::set<IpAddress> next_hops;    // the routers it sends by
  std::set<IpAddress> neighbours;   // hosts with a permanent entry on an uplink
  // The one others know it by, at most one of each family: an uplink's, else any. Pods in the node's
  // own namespace (hostNetwork) have these.
  [[nodiscard]] std::vector<IpAddress> main_addresses() const;
  // Where other nodes reach it: an uplink's, at most one of each family.
  [[nodiscard]] std::vector<IpAddress> underlay() const;
  auto operator<=>(const Node&) const = default;
};

Result<Node> read_node(sys::Netlink& netlink, const Config& config, std::uint64_t netns_cookie);

// The dummy device that carries the gateway addresses, and the sysctls for forwarding.
inline constexpr const char* host_device = "weft0";
Result<void> prepare_node(sys::Netlink& netlink, const std::vector<IpAddress>& gateways);

}  // namespace weft::agent
