#include "agent/node.h"

#include <algorithm>

#include "sys/system.h"

namespace weft::agent {
namespace {

bool is_link_local(const IpAddress& address) {
  const auto& bytes = address.bytes();
  return address.is_v4() ? bytes[12] == 169 && bytes[13] == 254 : bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80;
}

std::set<int> uplink_indexes(const std::vector<sys::Device>& devices, const std::vector<sys::Route>& routes,
                             const Config& config) {
  std::set<int> result;
  if (!config.devices.empty()) {
    for (const auto& device : devices)
      if (std::ranges::find(config.devices, device.name) != config.devices.end()) result.insert(device.index);
    return result;
  }
  for (const auto& route : routes)
    if (route.destination.length() == 0 && route.device != 0) result.insert(route.device);
  return result;
}

}  // namespace

std::vector<IpAddress> Node::underlay() const {
  std::vector<IpAddress> result;
  for (const auto family : {Family::v4, Family::v6}) {
    std::optional<IpAddress> chosen;
    for (const auto& [index, uplink] : uplinks)
      if (const auto& address = family == Family::v4 ? uplink.v4 : uplink.v6)
        if (!chosen || (known_by.contains(*address) && !known_by.contains(*chosen))) chosen = address;
    if (chosen) result.push_back(*chosen);
  }
  return result;
}

std::vector<IpAddress> Node::main_addresses() const {
  auto result = underlay();
  for (const auto family : {Family::v4, Family::v6}) {
    const auto any = std::ranges::find(addresses, family, &IpAddress::family);
    if (any != addresses.end() && std::ranges::find(result, family, &IpAddress::family) == result.end())
      result.push_back(*any);
  }
  std::ranges::stable_sort(result, {}, &IpAddress::family);
  return result;
}

Result<Node> read_node(sys::Netlink& netlink, const Config& config, std::uint64_t netns_cookie) {
  WEFT_TRY(const auto devices, netlink.devices());
  WEFT_TRY(const auto addresses, netlink.addresses());
  WEFT_TRY(const auto routes, netlink.routes());
  WEFT_TRY(const auto next_hops, netlink.next_hops());
  WEFT_TRY(const auto neighbours, netlink.neighbours());
  Node node;
  node.netns_cookie = netns_cookie;
  node.next_hops.insert(next_hops.begin(), next_hops.end());
  const auto indexes = uplink_indexes(devices, routes, config);
  for (const auto& device : devices)
    if (indexes.contains(device.index))
      node.uplinks[static_cast<std::uint32_t>(device.index)] = {device.name, device.mtu,  {},        {},
                                                                device.mac,  device.kind, device.up, {}};
  for (const auto& entry : addresses) {
    if (entry.address.is_loopback() || is_link_local(entry.address)) continue;
    node.addresses.insert(entry.address);
    if (entry.protocol == sys::address_protocol_weft) continue;  // here for a while: not what others know it by
    if (entry.address.is_v4() && entry.length < 31) {
      const auto address = entry.address.to_v4();
      node.broadcasts.insert(IpAddress::v4(address | (0xffffffffU >> entry.length)));
    }
    if (entry.length < (entry.address.is_v4() ? 31U : 127U))
      node.networks.insert(Cidr(entry.address, entry.length).address());
    const auto uplink = node.uplinks.find(static_cast<std::uint32_t>(entry.index));
    if (uplink == node.uplinks.end()) continue;
    auto& slot = entry.address.is_v4() ? uplink->second.v4 : uplink->second.v6;
    // The one that others know from the Node object goes before the first.
    const bool known = std::ranges::find(config.node_addresses, entry.address) != config.node_addresses.end();
    if (!slot || known) slot = entry.address;
    if (known) node.known_by.insert(entry.address);
    uplink->second.subnets.insert(Cidr(entry.address, entry.length));
    node.subnets.insert(Cidr(entry.address, entry.length));
  }
  for (const auto& neighbour : neighbours)
    if (node.uplinks.contains(static_cast<std::uint32_t>(neighbour.device))) node.neighbours.insert(neighbour.address);
  std::uint32_t smallest = 0;
  for (const auto& [index, uplink] : node.uplinks)
    if (smallest == 0 || uplink.mtu < smallest) smallest = uplink.mtu;
  if (smallest != 0) node.uplink_mtu = smallest;
  const bool outer_v4 =
      std::ranges::any_of(node.uplinks, [](const auto& entry) { return entry.second.v4.has_value(); });
  const auto overhead = config.overhead(outer_v4);
  const auto inside = node.uplink_mtu > overhead ? node.uplink_mtu - overhead : node.uplink_mtu;
  node.pod_mtu = config.mtu != 0 ? config.mtu : inside;
  return node;
}

namespace {

// A forwarding node ignores router advertisements unless told otherwise, and would lose the
// default route it may have got from one.
void keep_router_advertisements(sys::Netlink& netlink) {
  const auto devices = netlink.devices();
  if (!devices) return;
  for (const auto& device : *devices) {
    const auto key = "net/ipv6/conf/" + device.name + "/accept_ra";
    if (const auto value = sys::read_sysctl(key); value && value->starts_with("1")) (void)sys::write_sysctl(key, "2");
  }
}

// What was this node's gateway once may be another node's now: it would answer itself in that one's place.
Result<void> delete_former_gateways(sys::Netlink& netlink, int device, const std::vector<IpAddress>& gateways) {
  static const auto link_local = Cidr::parse("fe80::/10").value();
  WEFT_TRY(const auto addresses, netlink.addresses());
  for (const auto& entry : addresses) {
    const bool whole = entry.length == (entry.address.is_v4() ? 32U : 128U);
    if (entry.index != device || !whole || link_local.contains(entry.address) ||
        std::ranges::find(gateways, entry.address) != gateways.end())
      continue;
    WEFT_CHECK(netlink.delete_address(entry));
  }
  return {};
}

}  // namespace

Result<void> prepare_node(sys::Netlink& netlink, const std::vector<IpAddress>& gateways) {
  auto device = netlink.device(host_device);
  if (!device && device.error().code == ErrorCode::not_found)
    device = netlink.create_dummy(host_device, MacAddress{{0x02, 0x57, 0x45, 0x46, 0x54, 0x00}});
  if (!device) return fail(device.error().in("host device weft0"));
  WEFT_CHECK(netlink.set_up(device->index, true));
  for (const auto& gateway : gateways)
    WEFT_CHECK(netlink.add_address({device->index, gateway, gateway.is_v4() ? 32U : 128U}));
  if (!gateways.empty()) WEFT_CHECK(delete_former_gateways(netlink, device->index, gateways));
  WEFT_CHECK(sys::write_sysctl("net/ipv4/ip_forward", "1"));
  if (std::ranges::none_of(gateways, &IpAddress::is_v6)) return {};
  keep_router_advertisements(netlink);
  if (auto forwarding = sys::write_sysctl("net/ipv6/conf/all/forwarding", "1");
      !forwarding && forwarding.error().code != ErrorCode::not_found)
    return fail(forwarding.error());
  return {};
}

}  // namespace weft::agent
