#include "lab/world.h"

#include <array>
#include <memory>
#include <string>

#include "base/fd.h"
#include "base/ip.h"
#include "lab/switch.h"
#include "sys/netlink.h"
#include "sys/netns.h"
#include "sys/system.h"

namespace weft::lab {
namespace {

constexpr std::uint32_t uplink_mtu = 1500;

struct Side {
  Fd netns;
  std::unique_ptr<sys::Netlink> netlink;
};

Result<IpAddress> address_of(std::string_view text) { return IpAddress::parse(text); }

Result<Side> open_side(const std::string& name) {
  WEFT_TRY(auto netns, sys::open_netns(sys::named_netns_path(name)));
  WEFT_TRY(auto netlink, sys::open_netlink_in(netns.get()));
  return Side{std::move(netns), std::move(netlink)};
}

Result<void> add_address(sys::Netlink& netlink, int device, std::string_view text, unsigned length) {
  WEFT_TRY(const IpAddress address, address_of(text));
  return netlink.add_address({device, address, length});
}

Result<void> add_route(sys::Netlink& netlink, int device, std::string_view destination, std::string_view gateway) {
  sys::Route route;
  WEFT_TRY(route.destination, Cidr::parse(destination));
  WEFT_TRY(route.gateway, address_of(gateway));
  route.device = device;
  return netlink.replace_route(route);
}

// The sysctls a container host has set before any agent runs on it.
Result<void> enable_forwarding(int netns) {
  WEFT_TRY(const auto scope, sys::NetnsScope::enter(netns));
  WEFT_CHECK(sys::write_sysctl("net/ipv4/ip_forward", "1"));
  return sys::write_sysctl("net/ipv6/conf/all/forwarding", "1");
}

// Joins a host to the switch by a veth pair, whose end there is named after the host. A pair half
// there (a crash between the two names cannot happen, a manual delete can) is made anew.
Result<void> join(Side& host, Side& world, const std::string& port, std::uint8_t number) {
  const std::string name(addresses::uplink);
  if (auto device = host.netlink->device(name); device && !world.netlink->device(port))
    WEFT_CHECK(host.netlink->delete_device(device->index));
  if (!host.netlink->device(name)) {
    sys::VethRequest request;
    request.host_name = name;
    request.host_mac = {{0x02, 0, 0, 0, 0, number}};
    request.peer_name = port;
    request.peer_mac = {{0x02, 0, 0, 0, 1, number}};
    request.mtu = uplink_mtu;
    request.peer_netns = world.netns.get();
    if (auto made = host.netlink->create_veth(request); !made) return fail(made.error().in("make the uplink"));
  }
  WEFT_CHECK(add_port(world.netns.get(), name, port));
  WEFT_CHECK(act_like_a_wire(world.netns.get(), port));
  WEFT_TRY(const auto device, world.netlink->device(port));
  return world.netlink->set_up(device.index, true);
}

// A host on the network with the world as its way out.
Result<void> set_up_host(Side& host, std::string_view v4, std::string_view v6) {
  WEFT_TRY(const auto uplink, host.netlink->device(std::string(addresses::uplink)));
  WEFT_CHECK(host.netlink->set_up(uplink.index, true));
  WEFT_CHECK(add_address(*host.netlink, uplink.index, v4, addresses::uplink_length_v4));
  WEFT_CHECK(add_address(*host.netlink, uplink.index, v6, addresses::uplink_length_v6));
  WEFT_CHECK(add_route(*host.netlink, uplink.index, "0.0.0.0/0", addresses::world_v4));
  return add_route(*host.netlink, uplink.index, "::/0", addresses::world_v6);
}

// The way back to pods, for `--from world`; pods that go out wear the node's address.
Result<void> add_routes_to_pods(Side& host) {
  WEFT_TRY(const auto uplink, host.netlink->device(std::string(addresses::uplink)));
  for (const auto cidr : addresses::pod_cidrs)
    WEFT_CHECK(
        add_route(*host.netlink, uplink.index, cidr, cidr.contains(':') ? addresses::node_v6 : addresses::node_v4));
  return {};
}

Result<void> set_up_world(Side& world) {
  WEFT_TRY(const auto uplink, world.netlink->device(std::string(addresses::uplink)));
  WEFT_TRY(const auto loopback, world.netlink->device("lo"));
  WEFT_CHECK(world.netlink->set_up(uplink.index, true));
  WEFT_CHECK(add_address(*world.netlink, uplink.index, addresses::world_v4, addresses::uplink_length_v4));
  WEFT_CHECK(add_address(*world.netlink, uplink.index, addresses::world_v6, addresses::uplink_length_v6));
  for (const auto place : addresses::world_places)
    WEFT_CHECK(add_address(*world.netlink, loopback.index, place, place.contains(':') ? 128 : 32));
  return {};
}

}  // namespace

Result<bool> ensure_netns(const std::string& name) {
  bool created = true;
  if (auto made = sys::create_named_netns(name); !made) {
    if (made.error().code != ErrorCode::exists) return fail(made.error().in("make namespace " + name));
    // A file a crash left before the namespace was mounted on it, or after a reboot.
    created = !sys::open_netns(sys::named_netns_path(name)).has_value();
    if (created) {
      WEFT_CHECK(sys::delete_named_netns(name));
      WEFT_CHECK(sys::create_named_netns(name));
    }
  }
  WEFT_TRY(const auto side, open_side(name));
  WEFT_TRY(const auto loopback, side.netlink->device("lo"));
  WEFT_CHECK(side.netlink->set_up(loopback.index, true));
  return created;
}

Result<void> build_world(const Layout& layout) {
  for (const auto& name : {layout.world_netns(), layout.node().netns, layout.neighbour_netns()})
    WEFT_CHECK(ensure_netns(name));
  WEFT_TRY(auto node, open_side(layout.node().netns));
  WEFT_TRY(auto world, open_side(layout.world_netns()));
  WEFT_TRY(auto neighbour, open_side(layout.neighbour_netns()));
  WEFT_CHECK(enable_forwarding(node.netns.get()));
  WEFT_CHECK(ensure_bridge(world.netns.get(), std::string(addresses::uplink), {{0x02, 0, 0, 0, 0, 0x01}}));
  WEFT_CHECK(join(node, world, layout.node().name, 0x02));
  WEFT_CHECK(join(neighbour, world, std::string(neighbour_name), 0x03));
  // All sides up before routes: a route by way of a device without carrier is refused for IPv6.
  WEFT_CHECK(set_up_world(world));
  WEFT_CHECK(set_up_host(node, addresses::node_v4, addresses::node_v6));
  WEFT_CHECK(set_up_host(neighbour, addresses::neighbour_v4, addresses::neighbour_v6));
  WEFT_CHECK(add_routes_to_pods(world));
  return add_routes_to_pods(neighbour);
}

}  // namespace weft::lab
