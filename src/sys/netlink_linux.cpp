// Netlink over rtnetlink. Requests name the one thing they are about; only devices(), addresses(),
// routes(), next_hops() and neighbours() dump.
#include <arpa/inet.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "sys/netlink.h"
#include "sys/netns.h"
#include "sys/rtnetlink_socket.h"
#include "sys/tun.h"

namespace weft::sys {
namespace {

constexpr int dump_attempts = 8;  // a dump is repeated when the table changed under it

std::uint8_t address_family(bool v4) { return v4 ? AF_INET : AF_INET6; }

std::optional<IpAddress> address_of(const nlattr* attribute) {
  if (attribute == nullptr) return std::nullopt;
  const auto* bytes = static_cast<const std::uint8_t*>(mnl_attr_get_payload(attribute));
  IpAddress::Bytes mapped{};
  switch (mnl_attr_get_payload_len(attribute)) {
    case 4:
      mapped[10] = mapped[11] = 0xff;
      std::copy_n(bytes, 4, mapped.begin() + 12);
      return IpAddress(mapped);
    case 16:
      std::copy_n(bytes, 16, mapped.begin());
      return IpAddress(mapped);
    default:
      return std::nullopt;
  }
}

Device parse_device(const nlmsghdr* message) {
  const auto* header = static_cast<const ifinfomsg*>(mnl_nlmsg_get_payload(message));
  const Attributes<IFLA_LINKINFO + 1> attributes(message, sizeof *header);
  const Attributes<IFLA_INFO_KIND + 1> info(attributes[IFLA_LINKINFO]);
  Device device;
  device.index = header->ifi_index;
  device.name = attributes.text(IFLA_IFNAME);
  device.kind = info.text(IFLA_INFO_KIND);
  device.mtu = attributes.u32(IFLA_MTU);
  device.up = (header->ifi_flags & IFF_UP) != 0;
  device.running = (header->ifi_flags & IFF_RUNNING) != 0;
  device.peer_index = static_cast<int>(attributes.u32(IFLA_LINK));
  if (const nlattr* mac = attributes[IFLA_ADDRESS]; mac != nullptr && mnl_attr_get_payload_len(mac) == 6)
    std::memcpy(device.mac.bytes.data(), mnl_attr_get_payload(mac), 6);
  return device;
}

std::optional<DeviceAddress> parse_address(const nlmsghdr* message) {
  const auto* header = static_cast<const ifaddrmsg*>(mnl_nlmsg_get_payload(message));
  const Attributes<IFA_PROTO + 1> attributes(message, sizeof *header);
  // IFA_LOCAL is ours where IFA_ADDRESS is the other end of a point-to-point device.
  auto address = address_of(attributes[IFA_LOCAL] != nullptr ? attributes[IFA_LOCAL] : attributes[IFA_ADDRESS]);
  if (!address) return std::nullopt;
  return DeviceAddress{static_cast<int>(header->ifa_index), *address, header->ifa_prefixlen, attributes.u8(IFA_PROTO)};
}

// RTA_VIA: a gateway of another family than the destination.
std::optional<IpAddress> via_of(const nlattr* attribute) {
  if (attribute == nullptr || mnl_attr_get_payload_len(attribute) != sizeof(rtvia) + 16) return std::nullopt;
  IpAddress::Bytes bytes{};
  std::memcpy(bytes.data(), static_cast<const char*>(mnl_attr_get_payload(attribute)) + sizeof(rtvia), 16);
  return IpAddress(bytes);
}

// Nothing for routes that Route cannot say: other tables, blackholes, several next hops.
std::optional<Route> parse_route(const nlmsghdr* message) {
  const auto* header = static_cast<const rtmsg*>(mnl_nlmsg_get_payload(message));
  const Attributes<RTA_VIA + 1> attributes(message, sizeof *header);
  if (header->rtm_type != RTN_UNICAST || attributes.u32(RTA_TABLE, header->rtm_table) != RT_TABLE_MAIN) return {};
  if ((header->rtm_flags & RTM_F_CLONED) != 0 || attributes[RTA_OIF] == nullptr) return {};
  const bool v4 = header->rtm_family == AF_INET;
  Route route;
  const auto any = v4 ? IpAddress::v4(0) : IpAddress();
  route.destination = Cidr(address_of(attributes[RTA_DST]).value_or(any), header->rtm_dst_len);
  route.gateway = address_of(attributes[RTA_GATEWAY]);
  if (!route.gateway) route.gateway = via_of(attributes[RTA_VIA]);
  route.device = static_cast<int>(attributes.u32(RTA_OIF));
  route.onlink = (header->rtm_flags & RTNH_F_ONLINK) != 0;
  route.scope_link = !route.gateway;
  route.mtu = Attributes<RTAX_MTU + 1>(attributes[RTA_METRICS]).u32(RTAX_MTU);
  route.source = address_of(attributes[RTA_PREFSRC]);
  route.protocol = header->rtm_protocol;
  return route;
}

// Of one route, or of one of its several next hops.
void add_gateway(const Attributes<RTA_VIA + 1>& attributes, std::vector<IpAddress>& all) {
  auto gateway = address_of(attributes[RTA_GATEWAY]);
  if (!gateway) gateway = via_of(attributes[RTA_VIA]);
  if (gateway) all.push_back(*gateway);
}

std::optional<std::vector<IpAddress>> parse_next_hops(const nlmsghdr* message) {
  const auto* header = static_cast<const rtmsg*>(mnl_nlmsg_get_payload(message));
  if (header->rtm_type != RTN_UNICAST || (header->rtm_flags & RTM_F_CLONED) != 0) return {};
  const Attributes<RTA_VIA + 1> attributes(message, sizeof *header);
  std::vector<IpAddress> all;
  add_gateway(attributes, all);
  const nlattr* several = attributes[RTA_MULTIPATH];
  if (several == nullptr) return all;
  const auto* at = static_cast<const std::uint8_t*>(mnl_attr_get_payload(several));
  auto left = static_cast<std::size_t>(mnl_attr_get_payload_len(several));
  while (left >= sizeof(rtnexthop)) {
    rtnexthop hop{};
    std::memcpy(&hop, at, sizeof hop);
    if (hop.rtnh_len < sizeof hop || hop.rtnh_len > left) break;
    add_gateway(Attributes<RTA_VIA + 1>(at + sizeof hop, hop.rtnh_len - sizeof hop), all);
    const auto step = std::min<std::size_t>(RTNH_ALIGN(hop.rtnh_len), left);
    at += step;
    left -= step;
  }
  return all;
}

std::optional<IpAddress> parse_router(const nlmsghdr* message) {
  const auto* header = static_cast<const ndmsg*>(mnl_nlmsg_get_payload(message));
  if ((header->ndm_flags & NTF_ROUTER) == 0 || (header->ndm_state & NUD_FAILED) != 0) return {};
  return address_of(Attributes<NDA_DST + 1>(message, sizeof *header)[NDA_DST]);
}

std::optional<Neighbour> parse_neighbour(const nlmsghdr* message) {
  const auto* header = static_cast<const ndmsg*>(mnl_nlmsg_get_payload(message));
  const Attributes<NDA_LLADDR + 1> attributes(message, sizeof *header);
  const auto address = address_of(attributes[NDA_DST]);
  const nlattr* mac = attributes[NDA_LLADDR];
  if (!address || (header->ndm_state & NUD_PERMANENT) == 0 || mac == nullptr || mnl_attr_get_payload_len(mac) != 6)
    return {};
  Neighbour neighbour{header->ndm_ifindex, *address, {}};
  std::memcpy(neighbour.mac.bytes.data(), mnl_attr_get_payload(mac), 6);
  return neighbour;
}

Result<void> check_name(const std::string& name) {
  if (!name.empty() && name.size() < IFNAMSIZ) return {};
  return fail(ErrorCode::invalid, fmt::format("device name \"{}\" has {} characters", name, name.size()),
              fmt::format("a device name has 1 to {}", IFNAMSIZ - 1));
}

void put_link(Request& request, const std::string& name, const MacAddress& mac, std::uint32_t mtu) {
  request.put_text(IFLA_IFNAME, name);
  if (mac != MacAddress{}) request.put_mac(IFLA_ADDRESS, mac);
  if (mtu != 0) request.put_u32(IFLA_MTU, mtu);
}

void put_route(Request& request, const Route& route, bool deleting) {
  auto& header = request.header<rtmsg>();
  const bool v4 = route.destination.is_v4();
  header.rtm_family = address_family(v4);
  header.rtm_dst_len = static_cast<std::uint8_t>(route.destination.length());
  header.rtm_table = RT_TABLE_MAIN;
  header.rtm_type = RTN_UNICAST;
  // 0 matches any protocol in a deletion
  if (!deleting) header.rtm_protocol = route.protocol != 0 ? route.protocol : std::uint8_t{RTPROT_STATIC};
  header.rtm_scope = route.scope_link || !route.gateway ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
  if (deleting) header.rtm_scope = RT_SCOPE_NOWHERE;  // matches any scope
  if (route.onlink) header.rtm_flags |= RTNH_F_ONLINK;
  if (route.destination.length() != 0) request.put_ip(RTA_DST, route.destination.address());
  if (route.gateway && route.gateway->is_v4() == v4) {
    request.put_ip(RTA_GATEWAY, *route.gateway);
  } else if (route.gateway) {
    std::array<std::uint8_t, sizeof(rtvia) + 16> via{};
    const std::uint16_t family = AF_INET6;
    std::memcpy(via.data(), &family, sizeof family);
    std::copy_n(route.gateway->bytes().begin(), 16, via.begin() + sizeof(rtvia));
    request.put(RTA_VIA, via.data(), via.size());
  }
  if (route.device != 0) request.put_u32(RTA_OIF, static_cast<std::uint32_t>(route.device));
  if (deleting) return;
  if (route.source) request.put_ip(RTA_PREFSRC, *route.source);
  if (route.mtu != 0) {
    nlattr* metrics = request.nest(RTA_METRICS);
    request.put_u32(RTAX_MTU, route.mtu);
    request.end_nest(metrics);
  }
}

std::string describe(const Route& route) {
  std::string text = route.destination.to_string();
  if (route.gateway) text += " via " + route.gateway->to_string();
  return text + fmt::format(" on device {}", route.device);
}

class LinuxNetlink final : public Netlink {
 public:
  explicit LinuxNetlink(RtnetlinkSocket socket) : socket_(std::move(socket)) {}

  Result<std::vector<Device>> devices() override {
    return dump<Device>(
        "list devices",
        [] {
          Request request(RTM_GETLINK, NLM_F_DUMP);
          request.header<ifinfomsg>();
          request.put_u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
          return request;
        },
        RTM_NEWLINK, [](const nlmsghdr* message) { return std::optional(parse_device(message)); });
  }

  Result<Device> device(const std::string& name) override {
    if (!check_name(name)) return fail(ErrorCode::not_found, fmt::format("find device {}: no such name", name));
    Request request(RTM_GETLINK, NLM_F_ACK);
    request.header<ifinfomsg>();
    request.put_text(IFLA_IFNAME, name).put_u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    return get_device(request, "find device " + name);
  }

  Result<Device> device(int index) override {
    Request request(RTM_GETLINK, NLM_F_ACK);
    request.header<ifinfomsg>().ifi_index = index;
    request.put_u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    return get_device(request, fmt::format("find device {}", index));
  }

  Result<Device> create_veth(const VethRequest& veth) override {
    WEFT_CHECK(check_name(veth.host_name));
    WEFT_CHECK(check_name(veth.peer_name));
    Request request(RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
    request.header<ifinfomsg>();
    put_link(request, veth.host_name, veth.host_mac, veth.mtu);
    nlattr* info = request.nest(IFLA_LINKINFO);
    request.put_text(IFLA_INFO_KIND, "veth");
    nlattr* data = request.nest(IFLA_INFO_DATA);
    nlattr* peer = request.nest(VETH_INFO_PEER);
    request.header<ifinfomsg>();
    put_link(request, veth.peer_name, veth.peer_mac, veth.mtu);
    if (veth.peer_netns >= 0) request.put_u32(IFLA_NET_NS_FD, static_cast<std::uint32_t>(veth.peer_netns));
    request.end_nest(peer);
    request.end_nest(data);
    request.end_nest(info);
    WEFT_CHECK(
        mutate(request, [&] { return fmt::format("create veth pair {} and {}", veth.host_name, veth.peer_name); }));
    return device(veth.host_name);
  }

  Result<Device> create_dummy(const std::string& name, const MacAddress& mac) override {
    WEFT_CHECK(check_name(name));
    auto made = create_plain(name, mac, "dummy");
    // Small kernels leave the dummy driver out; a bridge without ports carries addresses as well.
    if (!made && made.error().code == ErrorCode::unsupported) made = create_plain(name, mac, "bridge");
    WEFT_CHECK(std::move(made));
    return device(name);
  }

  Result<Device> create_vxlan(const std::string& name, std::uint16_t port, const MacAddress& mac) override {
    WEFT_CHECK(check_name(name));
    Request request(RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
    request.header<ifinfomsg>();
    put_link(request, name, mac, 0);
    nlattr* info = request.nest(IFLA_LINKINFO);
    request.put_text(IFLA_INFO_KIND, "vxlan");
    nlattr* data = request.nest(IFLA_INFO_DATA);
    const std::uint16_t wire_port = htons(port);
    request.put(IFLA_VXLAN_PORT, &wire_port, sizeof wire_port);
    request.put_u8(IFLA_VXLAN_COLLECT_METADATA, 1)
        .put_u8(IFLA_VXLAN_LEARNING, 0)
        .put_u8(IFLA_VXLAN_UDP_ZERO_CSUM6_TX, 1)
        .put_u8(IFLA_VXLAN_UDP_ZERO_CSUM6_RX, 1);
    request.end_nest(data);
    request.end_nest(info);
    WEFT_CHECK(mutate(request, [&] { return fmt::format("create VXLAN device {} of port {}", name, port); }));
    return device(name);
  }

  Result<Device> create_wireguard(const std::string& name) override {
    WEFT_CHECK(check_name(name));
    Request request(RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
    request.header<ifinfomsg>();
    request.put_text(IFLA_IFNAME, name);
    nlattr* info = request.nest(IFLA_LINKINFO);
    request.put_text(IFLA_INFO_KIND, "wireguard");
    request.end_nest(info);
    WEFT_CHECK(mutate(request, [&] { return fmt::format("create WireGuard device {}", name); }));
    return device(name);
  }

  // By an ioctl, which works on the namespace of the thread: this object's, unless somebody opened it for another.
  Result<Device> create_tun(const std::string& name) override {
    WEFT_CHECK(check_name(name));
    WEFT_CHECK(make_persistent_tun(name));
    return device(name);
  }

  Result<void> delete_device(int index) override {
    Request request(RTM_DELLINK, NLM_F_ACK);
    request.header<ifinfomsg>().ifi_index = index;
    return mutate(request, [&] { return fmt::format("delete device {}", index); }, {ENODEV});
  }

  Result<void> set_up(int index, bool up) override {
    Request request(RTM_NEWLINK, NLM_F_ACK);
    auto& header = request.header<ifinfomsg>();
    header.ifi_index = index;
    header.ifi_change = IFF_UP;
    header.ifi_flags = up ? IFF_UP : 0;
    return mutate(request, [&] { return fmt::format("set device {} {}", index, up ? "up" : "down"); });
  }

  Result<void> set_mtu(int index, std::uint32_t mtu) override {
    Request request(RTM_NEWLINK, NLM_F_ACK);
    request.header<ifinfomsg>().ifi_index = index;
    request.put_u32(IFLA_MTU, mtu);
    return mutate(request, [&] { return fmt::format("set the MTU of device {} to {}", index, mtu); });
  }

  Result<void> set_group(int index, std::uint32_t group) override {
    Request request(RTM_NEWLINK, NLM_F_ACK);
    request.header<ifinfomsg>().ifi_index = index;
    request.put_u32(IFLA_GROUP, group);
    return mutate(request, [&] { return fmt::format("put device {} into group {}", index, group); });
  }

  Result<void> delete_group(std::uint32_t group) override {
    if (group == 0) return fail(ErrorCode::invalid, "delete device group 0: every device is in it until put elsewhere");
    Request request(RTM_DELLINK, NLM_F_ACK);
    request.header<ifinfomsg>();
    request.put_u32(IFLA_GROUP, group);
    return mutate(request, [&] { return fmt::format("delete device group {}", group); }, {ENODEV});
  }

  Result<std::vector<DeviceAddress>> addresses() override {
    return dump<DeviceAddress>(
        "list addresses",
        [] {
          Request request(RTM_GETADDR, NLM_F_DUMP);
          request.header<ifaddrmsg>();
          return request;
        },
        RTM_NEWADDR, parse_address);
  }

  Result<void> add_address(const DeviceAddress& address) override {
    Request request(RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
    put_address(request, address);
    // Weft hands out each address once; waiting for duplicate detection would cost a second.
    if (address.address.is_v6()) request.put_u32(IFA_FLAGS, IFA_F_NODAD);
    if (address.protocol != 0) request.put_u8(IFA_PROTO, address.protocol);
    if (address.protocol == address_protocol_weft && address.address.is_v6()) {
      const ifa_cacheinfo deprecated{.ifa_prefered = 0, .ifa_valid = 0xffffffff, .cstamp = 0, .tstamp = 0};
      request.put(IFA_CACHEINFO, &deprecated, sizeof deprecated);
    }
    return mutate(request, [&] { return "add " + describe(address); }, {EEXIST});
  }

  Result<void> delete_address(const DeviceAddress& address) override {
    Request request(RTM_DELADDR, NLM_F_ACK);
    put_address(request, address);
    return mutate(request, [&] { return "delete " + describe(address); }, {EADDRNOTAVAIL, ENODEV});
  }

  Result<std::vector<Neighbour>> neighbours() override {
    std::vector<Neighbour> all;
    for (const std::uint8_t family : {AF_INET, AF_INET6}) {
      WEFT_TRY(auto neighbours, dump<Neighbour>(
                                    "list neighbours",
                                    [family] {
                                      Request request(RTM_GETNEIGH, NLM_F_DUMP);
                                      request.header<ndmsg>().ndm_family = family;
                                      return request;
                                    },
                                    RTM_NEWNEIGH, parse_neighbour));
      all.insert(all.end(), neighbours.begin(), neighbours.end());
    }
    return all;
  }

  Result<std::vector<Route>> routes() override {
    std::vector<Route> all;
    for (const std::uint8_t family : {AF_INET, AF_INET6}) {
      WEFT_TRY(auto routes, dump<Route>(
                                "list routes",
                                [family] {
                                  Request request(RTM_GETROUTE, NLM_F_DUMP);
                                  auto& header = request.header<rtmsg>();
                                  header.rtm_family = family;
                                  header.rtm_table = RT_TABLE_MAIN;
                                  return request;
                                },
                                RTM_NEWROUTE, parse_route));
      all.insert(all.end(), routes.begin(), routes.end());
    }
    return all;
  }

  Result<std::vector<IpAddress>> next_hops() override {
    std::vector<IpAddress> all;
    for (const std::uint8_t family : {AF_INET, AF_INET6}) {
      const auto routes = [family] {
        Request request(RTM_GETROUTE, NLM_F_DUMP);
        request.header<rtmsg>().rtm_family = family;
        return request;
      };
      const auto neighbours = [family] {
        Request request(RTM_GETNEIGH, NLM_F_DUMP);
        request.header<ndmsg>().ndm_family = family;
        return request;
      };
      WEFT_TRY(const auto gateways,
               dump<std::vector<IpAddress>>("list next hops", routes, RTM_NEWROUTE, parse_next_hops));
      for (const auto& some : gateways) all.insert(all.end(), some.begin(), some.end());
      WEFT_TRY(const auto routers, dump<IpAddress>("list routers", neighbours, RTM_NEWNEIGH, parse_router));
      all.insert(all.end(), routers.begin(), routers.end());
    }
    return all;
  }

  Result<WayTo> way_to(const IpAddress& address) override {
    Request request(RTM_GETROUTE, NLM_F_ACK);
    auto& header = request.header<rtmsg>();
    header.rtm_family = address_family(address.is_v4());
    header.rtm_dst_len = address.is_v4() ? 32 : 128;
    request.put_ip(RTA_DST, address);
    WayTo way;
    const Outcome outcome = socket_.transact(request, [&](const nlmsghdr* message) {
      if (message->nlmsg_type != RTM_NEWROUTE) return;
      const auto* route = static_cast<const rtmsg*>(mnl_nlmsg_get_payload(message));
      const Attributes<RTA_OIF + 1> attributes(message, sizeof *route);
      way.device = static_cast<int>(attributes.u32(RTA_OIF));
      const auto type = route->rtm_type;
      way.kind = type == RTN_LOCAL ? WayTo::Kind::here : type == RTN_UNICAST ? WayTo::Kind::out : WayTo::Kind::none;
    });
    switch (outcome.error) {
      case 0:
        if (way.kind == WayTo::Kind::none && way.why.empty()) way.why = std::strerror(ENETUNREACH);
        return way;
      case ENETUNREACH:
      case EHOSTUNREACH:
      case EACCES:
      case EINVAL:
        // The last two are those of routes of the types prohibit and blackhole.
        return WayTo{.kind = WayTo::Kind::none, .device = 0, .why = std::strerror(outcome.error)};
      default:
        return fail(outcome.describe("look up the route to " + address.to_string()));
    }
  }

  Result<void> replace_route(const Route& route) override {
    Request request(RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE);
    put_route(request, route, false);
    return mutate(request, [&] { return "set route " + describe(route); });
  }

  Result<void> delete_route(const Route& route) override {
    Request request(RTM_DELROUTE, NLM_F_ACK);
    put_route(request, route, true);
    return mutate(request, [&] { return "delete route " + describe(route); }, {ESRCH, ENODEV});
  }

  Result<void> replace_neighbour(int device, const IpAddress& address, const MacAddress& mac) override {
    Request request(RTM_NEWNEIGH, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE);
    auto& header = request.header<ndmsg>();
    header.ndm_family = address_family(address.is_v4());
    header.ndm_ifindex = device;
    header.ndm_state = NUD_PERMANENT;
    request.put_ip(NDA_DST, address).put_mac(NDA_LLADDR, mac);
    return mutate(request, [&] {
      return fmt::format("set neighbour {} at {} on device {}", address.to_string(), mac.to_string(), device);
    });
  }

 private:
  static void put_address(Request& request, const DeviceAddress& address) {
    auto& header = request.header<ifaddrmsg>();
    header.ifa_family = address_family(address.address.is_v4());
    header.ifa_prefixlen = static_cast<std::uint8_t>(address.length);
    header.ifa_index = static_cast<std::uint32_t>(address.index);
    request.put_ip(IFA_LOCAL, address.address).put_ip(IFA_ADDRESS, address.address);
  }

  static std::string describe(const DeviceAddress& address) {
    return fmt::format("address {}/{} of device {}", address.address.to_string(), address.length, address.index);
  }
  static std::string describe(const Route& route) { return sys::describe(route); }

  Result<void> create_plain(const std::string& name, const MacAddress& mac, const char* kind) {
    Request request(RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
    auto& header = request.header<ifinfomsg>();
    header.ifi_flags = header.ifi_change = IFF_NOARP;
    put_link(request, name, mac, 0);
    nlattr* info = request.nest(IFLA_LINKINFO);
    request.put_text(IFLA_INFO_KIND, kind);
    request.end_nest(info);
    return mutate(request, [&] { return fmt::format("create {} device {}", kind, name); });
  }

  template <class What>
  Result<void> mutate(Request& request, const What& what, std::initializer_list<int> tolerated = {}) {
    const Outcome outcome = socket_.transact(request);
    if (outcome.error == 0 || std::find(tolerated.begin(), tolerated.end(), outcome.error) != tolerated.end())
      return {};
    return fail(outcome.describe(what()));
  }

  Result<Device> get_device(Request& request, const std::string& what) {
    std::optional<Device> found;
    const Outcome outcome = socket_.transact(request, [&](const nlmsghdr* message) {
      if (message->nlmsg_type == RTM_NEWLINK) found = parse_device(message);
    });
    if (outcome.error != 0) return fail(outcome.describe(what));
    if (!found) return fail(ErrorCode::internal, what + ": the kernel acknowledged without an answer");
    return *std::move(found);
  }

  template <class Row, class Make, class Parse>
  Result<std::vector<Row>> dump(const std::string& what, const Make& make, std::uint16_t type, const Parse& parse) {
    Outcome outcome;
    for (int attempt = 0; attempt < dump_attempts; ++attempt) {
      std::vector<Row> rows;
      Request request = make();
      outcome = socket_.transact(request, [&](const nlmsghdr* message) {
        if (message->nlmsg_type != type) return;
        if (auto row = parse(message)) rows.push_back(*std::move(row));
      });
      if (outcome.error == 0) return rows;
      if (outcome.error != EINTR) break;
    }
    return fail(outcome.describe(what));
  }

  RtnetlinkSocket socket_;
};

}  // namespace

Result<std::unique_ptr<Netlink>> open_netlink() {
  WEFT_TRY(auto socket, RtnetlinkSocket::open());
  return std::make_unique<LinuxNetlink>(std::move(socket));
}

Result<std::unique_ptr<Netlink>> open_netlink_in(int netns) {
  WEFT_TRY(auto scope, NetnsScope::enter(netns));
  return open_netlink();
}

}  // namespace weft::sys
