// The kernel's devices, addresses, routes and neighbours behind one interface with a Linux
// implementation (libmnl), a stateful fake and a faulty decorator. One object speaks to one network
// namespace: the one its socket was opened in. Not thread safe; one owner each.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/ip.h"
#include "base/result.h"

namespace weft::sys {

struct Device {
  int index = 0;
  std::string name;
  std::string kind;  // "veth", "dummy", ... empty for hardware
  MacAddress mac;
  std::uint32_t mtu = 0;
  bool up = false;
  bool running = true;  // it has a carrier, where it is up
  int peer_index = 0;   // IFLA_LINK for veth: index in the peer's namespace
};

// ifa_proto of addresses that the node has for a while: they are ours to take away, and no source that the kernel
// chooses for the node's own packets over IPv6.
inline constexpr std::uint8_t address_protocol_weft = 87;

struct DeviceAddress {
  int index = 0;
  IpAddress address;
  unsigned length = 0;        // prefix bits of the family
  std::uint8_t protocol = 0;  // who made it; 0: nobody says
};

// rtm_protocol of routes to other nodes' pods, out of those that are nobody's (linux/rtnetlink.h: above RTPROT_STATIC
// they are for user space, /etc/iproute2/rt_protos names the known ones).
inline constexpr std::uint8_t route_protocol_weft = 87;

struct Route {
  Cidr destination;
  std::optional<IpAddress> gateway;
  int device = 0;
  bool onlink = false;
  bool scope_link = false;
  std::uint32_t mtu = 0;
  std::optional<IpAddress> source;  // preferred source
  std::uint8_t protocol = 0;        // who made it; 0 when it is set: RTPROT_STATIC
};

// Where the kernel would send a packet, by all of its routing rules and tables.
struct WayTo {
  enum class Kind : std::uint8_t { out, here, none };
  Kind kind = Kind::none;
  int device = 0;   // out of which, where there is one
  std::string why;  // none: in the kernel's words
};

struct Neighbour {
  int device = 0;
  IpAddress address;
  MacAddress mac;
  bool operator==(const Neighbour&) const = default;
};

struct VethRequest {
  std::string host_name;
  MacAddress host_mac;
  std::string peer_name;
  MacAddress peer_mac;
  std::uint32_t mtu = 1500;
  int peer_netns = -1;  // descriptor of the namespace the peer is born in
};

class Netlink {
 public:
  virtual ~Netlink() = default;

  virtual Result<std::vector<Device>> devices() = 0;
  virtual Result<Device> device(const std::string& name) = 0;  // not_found when absent
  virtual Result<Device> device(int index) = 0;
  // Both ends in one request; the peer is created inside its namespace under its final name, so
  // nothing half-made is ever visible there. `exists` when either name is taken. Returns the host side.
  virtual Result<Device> create_veth(const VethRequest& request) = 0;
  // A device that only carries addresses, and knows no neighbours: what a route sends to it needs none. Its kind is
  // "bridge" (without ports) where the kernel has no dummy driver.
  virtual Result<Device> create_dummy(const std::string& name, const MacAddress& mac) = 0;
  // A VXLAN device that learns nothing: where a packet goes, and as whose, is the packet's own metadata ("external").
  // One such device has a port for itself in its namespace: a second one fails when it is set up. UDP over IPv6
  // without checksums, which the packets inside have.
  virtual Result<Device> create_vxlan(const std::string& name, std::uint16_t port, const MacAddress& mac) = 0;
  // Of the kernel's WireGuard, to be configured by generic netlink. `unsupported` where the kernel has none.
  virtual Result<Device> create_wireguard(const std::string& name) = 0;
  // A TUN device that stays when the program that reads it ends, for the next one that asks for it by name.
  virtual Result<Device> create_tun(const std::string& name) = 0;
  virtual Result<void> delete_device(int index) = 0;  // not_found is success
  virtual Result<void> set_up(int index, bool up) = 0;
  virtual Result<void> set_mtu(int index, std::uint32_t mtu) = 0;
  // Puts the device into a device group (IFLA_GROUP), and deletes a whole group at once.
  virtual Result<void> set_group(int index, std::uint32_t group) = 0;
  virtual Result<void> delete_group(std::uint32_t group) = 0;  // an empty group is success

  virtual Result<std::vector<DeviceAddress>> addresses() = 0;
  virtual Result<void> add_address(const DeviceAddress& address) = 0;  // IFA_F_NODAD for IPv6; present is success
  virtual Result<void> delete_address(const DeviceAddress& address) = 0;

  virtual Result<std::vector<Route>> routes() = 0;  // main table
  // Gateways of all routes, in every table and of several next hops; neighbours that said they are routers.
  virtual Result<std::vector<IpAddress>> next_hops() = 0;
  virtual Result<WayTo> way_to(const IpAddress& address) = 0;  // sends nothing
  virtual Result<void> replace_route(const Route& route) = 0;
  virtual Result<void> delete_route(const Route& route) = 0;  // absent is success

  virtual Result<std::vector<Neighbour>> neighbours() = 0;  // the permanent ones
  // NUD_PERMANENT.
  virtual Result<void> replace_neighbour(int device, const IpAddress& address, const MacAddress& mac) = 0;
};

// In the calling thread's current network namespace, or in the one behind `netns`.
Result<std::unique_ptr<Netlink>> open_netlink();
Result<std::unique_ptr<Netlink>> open_netlink_in(int netns);

// Notices changes of devices, addresses and routes (RTNLGRP_LINK, *_IFADDR, *_ROUTE). `fd()` becomes
// readable; `drain()` says whether anything relevant happened since.
class NetlinkMonitor {
 public:
  static Result<NetlinkMonitor> open();
  [[nodiscard]] int fd() const { return fd_.get(); }
  Result<bool> drain();

 private:
  Fd fd_;
};

}  // namespace weft::sys
