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

// Nothing for an empty text: the lab has no addresses of that family.
Result<void> add_address(sys::Netlink& netlink, int device, std::string_view text, unsigned length) {
  if (text.empty()) return {};
  WEFT_TRY(const IpAddress address, address_of(text));
  return netlink.add_address({device, address, length});
}

Result<void> add_route(sys::Netlink& netlink, int device, std::string_view destination, std::string_view gateway) {
  if (gateway.empty()) return {};
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

struct Host {
  std::string port;  // the name of its end at the switch
  std::string bridge;
  std::string_view v4, v6;
  std::string_view gateway_v4, gateway_v6;
  std::uint8_t number = 0;  // of its MAC address
};

Host host_of(const NodeLayout& node, const Layout& layout) {
  const auto number = static_cast<std::uint8_t>(node.number == 1 ? 2 : 100 + node.number);
  return {node.name,       layout.networks()[node.network].bridge,
          node.address_v4, node.address_v6,
          node.gateway_v4, node.gateway_v6,
          number};
}

Host neighbour_of(const Layout& layout) {
  Host host{.port = std::string(neighbour_name), .bridge = std::string(addresses::uplink), .number = 3};
  if (layout.settings().has_v4()) host.v4 = addresses::neighbour_v4, host.gateway_v4 = addresses::world_v4;
  if (layout.settings().has_v6()) host.v6 = addresses::neighbour_v6, host.gateway_v6 = addresses::world_v6;
  return host;
}

// Joins a host to its switch by a veth pair, whose end there is named after the host. A pair half there is made anew:
// by a manual delete, or as the kernel takes its time to end a namespace that went with its node.
Result<void> join(Side& side, Side& world, const Host& host) {
  const std::string name(addresses::uplink);
  if (auto device = side.netlink->device(name); device && !world.netlink->device(host.port))
    WEFT_CHECK(side.netlink->delete_device(device->index));
  if (!side.netlink->device(name)) {
    if (const auto left = world.netlink->device(host.port)) WEFT_CHECK(world.netlink->delete_device(left->index));
    sys::VethRequest request;
    request.host_name = name;
    request.host_mac = {{0x02, 0, 0, 0, 0, host.number}};
    request.peer_name = host.port;
    request.peer_mac = {{0x02, 0, 0, 0, 1, host.number}};
    request.mtu = uplink_mtu;
    request.peer_netns = world.netns.get();
    if (auto made = side.netlink->create_veth(request); !made) return fail(made.error().in("make the uplink"));
  }
  WEFT_CHECK(add_port(world.netns.get(), host.bridge, host.port));
  WEFT_CHECK(act_like_a_wire(world.netns.get(), host.port));
  WEFT_TRY(const auto device, world.netlink->device(host.port));
  return world.netlink->set_up(device.index, true);
}

// A host on the network with the world as its way out.
Result<void> set_up_host(Side& side, const Host& host) {
  WEFT_TRY(const auto uplink, side.netlink->device(std::string(addresses::uplink)));
  WEFT_CHECK(side.netlink->set_up(uplink.index, true));
  WEFT_CHECK(add_address(*side.netlink, uplink.index, host.v4, addresses::uplink_length_v4));
  WEFT_CHECK(add_address(*side.netlink, uplink.index, host.v6, addresses::uplink_length_v6));
  WEFT_CHECK(add_route(*side.netlink, uplink.index, "0.0.0.0/0", host.gateway_v4));
  return add_route(*side.netlink, uplink.index, "::/0", host.gateway_v6);
}

Result<void> set_up_world(Side& world, const Layout& layout) {
  const bool v4 = layout.settings().has_v4();
  const bool v6 = layout.settings().has_v6();
  for (const auto& network : layout.networks()) {
    WEFT_TRY(const auto bridge, world.netlink->device(network.bridge));
    WEFT_CHECK(world.netlink->set_up(bridge.index, true));
    WEFT_CHECK(add_address(*world.netlink, bridge.index, v4 ? network.world_v4 : "", addresses::uplink_length_v4));
    WEFT_CHECK(add_address(*world.netlink, bridge.index, v6 ? network.world_v6 : "", addresses::uplink_length_v6));
  }
  WEFT_TRY(const auto loopback, world.netlink->device("lo"));
  for (const auto place : addresses::world_places)
    WEFT_CHECK(add_address(*world.netlink, loopback.index, place, place.contains(':') ? 128 : 32));
  for (const auto& member : layout.etcd())
    if (member.address != addresses::world_v4 && member.address != addresses::world_v6) {
      WEFT_TRY(const auto bridge, world.netlink->device(layout.networks().front().bridge));
      WEFT_CHECK(add_address(*world.netlink, bridge.index, member.address, member.address.contains(':') ? 128 : 32));
    }
  // The router between the nodes' networks.
  return layout.networks().size() > 1 ? enable_forwarding(world.netns.get()) : Result<void>();
}

// The way back to pods, for `--from world`; pods that go out wear the node's address. Of nodes that share their
// addresses only the agents know who has which: the supervisor adds those pod by pod.
Result<void> add_routes_to_pods(Side& side, const Layout& layout) {
  if (layout.settings().shared()) return {};
  for (const auto& node : layout.nodes())
    for (const auto& cidr : node.pod_cidrs) WEFT_CHECK(add_pod_route(*side.netlink, layout, node, cidr));
  return {};
}

Result<void> build_node_in(const Layout& layout, const NodeLayout& node, Side& world) {
  WEFT_CHECK(ensure_netns(node.netns));
  WEFT_TRY(auto side, open_side(node.netns));
  WEFT_CHECK(enable_forwarding(side.netns.get()));
  const Host host = host_of(node, layout);
  // Both sides up before routes: a route by way of a device without carrier is refused for IPv6.
  WEFT_CHECK(join(side, world, host));
  return set_up_host(side, host);
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

Result<void> add_pod_route(sys::Netlink& netlink, const Layout& layout, const NodeLayout& node,
                           const std::string& cidr) {
  const bool v6 = cidr.contains(':');
  const std::string& address = v6 ? node.address_v6 : node.address_v4;
  if (address.empty()) return {};
  if (const auto bridge = netlink.device(layout.networks()[node.network].bridge))
    return add_route(netlink, bridge->index, cidr, address);
  // Seen from another network than the node's, the world is the way.
  WEFT_TRY(const auto uplink, netlink.device(std::string(addresses::uplink)));
  return add_route(netlink, uplink.index, cidr, v6 ? addresses::world_v6 : addresses::world_v4);
}

Result<void> build_node(const Layout& layout, const NodeLayout& node) {
  WEFT_TRY(auto world, open_side(layout.world_netns()));
  return build_node_in(layout, node, world);
}

Result<void> build_world(const Layout& layout) {
  WEFT_CHECK(ensure_netns(layout.world_netns()));
  WEFT_CHECK(ensure_netns(layout.neighbour_netns()));
  WEFT_TRY(auto world, open_side(layout.world_netns()));
  WEFT_TRY(auto neighbour, open_side(layout.neighbour_netns()));
  for (const auto& network : layout.networks())
    WEFT_CHECK(ensure_bridge(world.netns.get(), network.bridge, {{0x02, 0, 0, 0, 0, network.mac}}));
  WEFT_CHECK(set_up_world(world, layout));
  WEFT_CHECK(join(neighbour, world, neighbour_of(layout)));
  WEFT_CHECK(set_up_host(neighbour, neighbour_of(layout)));
  for (const auto& node : layout.nodes()) WEFT_CHECK(build_node_in(layout, node, world));
  WEFT_CHECK(add_routes_to_pods(world, layout));
  return add_routes_to_pods(neighbour, layout);
}

}  // namespace weft::lab
