// Two nodes, each a network namespace with the programs and maps of its own, and a pod on each: what single packets
// cannot show of the ways between nodes. Segments, checksums, the kernel's VXLAN device, what a socket makes of an
// answer.
// WireGuard's devices are TUN devices here, and a thread that carries packets between them stands for what encrypts.
#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <tuple>

#include "base/fd.h"
#include "fixture.h"
#include "traffic.h"

namespace weft::test {
namespace {

constexpr std::uint16_t kPort = 8080;
constexpr std::uint16_t kNodePort = 30080;
constexpr std::uint32_t kMtu = 1400;
constexpr const char* kGatewayMac = "02:00:00:00:00:99";
constexpr std::uint32_t kClass = 5;
constexpr std::uint32_t kPodIdentity = 1000;  // of node 0's pod, the next is node 1's
constexpr std::size_t kMuch = 8 << 20;

IpAddress ip(const std::string& text) { return IpAddress::parse(text).value(); }
IpAddress pod_of(int node, bool v4) { return ip(fmt::format(fmt::runtime(v4 ? "10.0.{}.2" : "fd00:{}::2"), node)); }
IpAddress gateway_of(int node, bool v4) { return ip(fmt::format(fmt::runtime(v4 ? "10.0.{}.1" : "fd00:{}::1"), node)); }
IpAddress underlay_of(int node, bool v4) {
  return ip(fmt::format(fmt::runtime(v4 ? "192.0.2.{}" : "2001:db8::{}"), node + 1));
}
std::string block_of(int node, bool v4) {
  return fmt::format(fmt::runtime(v4 ? "10.0.{}.0/24" : "fd00:{}::/64"), node);
}

std::string mac_of(int node) { return fmt::format("02:00:00:00:10:0{}", node); }

class Node {
 public:
  Node(int number, weft_way way, bool over_v4)
      : number_(number),
        other_(1 - number),
        way_(way),
        over_v4_(over_v4),
        name_(fmt::format("node{}", number)),
        datapath_(of(number)) {}

  [[nodiscard]] const Namespace& node() const { return node_; }
  [[nodiscard]] const Namespace& pod() const { return pod_; }
  [[nodiscard]] Datapath& datapath() { return datapath_; }
  [[nodiscard]] int wireguard() const { return wireguard_.get(); }

  // Once the uplinks are there.
  void make_devices() {
    if (way_ == WEFT_WAY_WIREGUARD) {
      wireguard_ = Fd(node_
                          .run([] {
                            const int tun = ::open("/dev/net/tun", O_RDWR | O_CLOEXEC);
                            ifreq request{};
                            std::copy_n("wg", 3, std::begin(request.ifr_name));
                            request.ifr_flags = IFF_TUN | IFF_NO_PI;
                            EXPECT_EQ(0, ::ioctl(tun, TUNSETIFF, &request));
                            return tun;
                          })
                          .get());
      node_.ip("link set wg addrgenmode none up\n");  // nobody speaks there but pods
    }
    node_.ip(
        fmt::format("link set lo up\n"
                    "link add pod address {} type veth peer name eth0 address {} netns {}\n"
                    "link set pod up\nlink set under up\n"
                    "link add weft0 type bridge\nlink set weft0 arp off up\n"
                    "link add vx type vxlan external dstport 4789 nolearning udp6zerocsumtx udp6zerocsumrx\n"
                    "link set vx up\n",
                    kGatewayMac, mac_of(5), pod_.name()));
    pod_.ip("link set lo up\nlink set eth0 up\n");
    for (const bool v4 : {true, false}) add_addresses(v4);
    shell(
        fmt::format("ip netns exec {} sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward; "
                    "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding; "
                    "for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > $f; done'",
                    node_.name()));
  }

  void fill_maps() {
    datapath_.clear();
    const auto index = node_
                           .run([] {
                             return std::array{if_nametoindex("pod"), if_nametoindex("under"), if_nametoindex("vx"),
                                               if_nametoindex("wg")};
                           })
                           .get();
    datapath_.config().flags |= WEFT_CONFIG_NODES | (way_ == WEFT_WAY_DIRECT ? 0 : WEFT_CONFIG_TUNNEL) |
                                (way_ == WEFT_WAY_VXLAN ? WEFT_CONFIG_VXLAN : 0) |
                                (way_ == WEFT_WAY_GENEVE ? WEFT_CONFIG_GENEVE : 0);
    datapath_.config().gateway_v4 = to_abi(gateway_of(number_, true)).word[3];
    datapath_.config().gateway_v6 = to_abi(gateway_of(number_, false));
    datapath_.config().overlay_ifindex = index[2];
    datapath_.config().overlay_port = htons(4789);
    datapath_.write_config();
    weft_node way{};
    way.addr = to_abi(underlay_of(other_, over_v4_));
    way.source = to_abi(underlay_of(number_, over_v4_));
    if (way_ == WEFT_WAY_WIREGUARD) {
      way.addr = to_abi(gateway_of(other_, over_v4_));
      way.source = to_abi(gateway_of(number_, over_v4_));
      way.ifindex = index[3];
    }
    way.mtu = kMtu;
    way.way = static_cast<std::uint8_t>(way_);
    datapath_.put("weft_node_v1", std::uint32_t{1}, way);
    weft_device device{};
    device.nat_v4 = to_abi(underlay_of(number_, true));
    device.nat_v6 = to_abi(underlay_of(number_, false));
    device.mtu = 1500;
    datapath_.put("weft_dev_v1", index[1], device);
    // the pod takes what comes from the other pod and the other node
    for (const std::uint32_t peer :
         {kPodIdentity + static_cast<std::uint32_t>(other_), std::uint32_t{WEFT_IDENTITY_REMOTE_NODE}})
      for (const std::uint8_t protocol : {kTcp, kUdp})
        policy(kClass, WEFT_INGRESS, peer, protocol, kPort, 16, 33)(datapath_);
    for (const bool v4 : {true, false}) fill_family(v4, index[0]);
  }

  void attach() {
    const auto program = [this](const char* name) { return datapath_.program(name); };
    node_
        .run([&] {
          hooks_.push_back(
              std::make_unique<Hooks>(if_nametoindex("pod"), program("weft_from_pod"), program("weft_to_pod")));
          hooks_.push_back(
              std::make_unique<Hooks>(if_nametoindex("under"), program("weft_from_device"), program("weft_to_device")));
          hooks_.push_back(std::make_unique<Hooks>(if_nametoindex("vx"), program("weft_from_overlay"), -1));
          hooks_.push_back(std::make_unique<Hooks>(if_nametoindex("weft0"), -1, program("weft_from_host")));
          if (way_ == WEFT_WAY_WIREGUARD)
            hooks_.push_back(std::make_unique<Hooks>(if_nametoindex("wg"), program("weft_from_wireguard"), -1));
        })
        .get();
  }
  void detach() {
    node_.run([&] { hooks_.clear(); }).get();
  }

  // Somebody outside, on a second uplink of the node's. The node's address there.
  IpAddress connect_outside(const Namespace& client, bool v4) {
    const auto own = ip(v4 ? "198.51.100.1" : "2001:db8:5::1");
    const auto theirs = outside(v4).to_string();
    const auto* nodad = v4 ? "" : " nodad";
    const auto length = v4 ? 24 : 64;
    node_.ip(
        fmt::format("link add outer address {} type veth peer name eth0 address {} netns {}\nlink set outer up\n"
                    "address add {}/{} dev outer{}\nneigh add {} lladdr {} dev outer\n",
                    mac_of(8), mac_of(9), client.name(), own.to_string(), length, nodad, theirs, mac_of(9)));
    client.ip(
        fmt::format("link set lo up\nlink set eth0 up\naddress add {}/{} dev eth0{}\n"
                    "neigh add {} lladdr {} dev eth0\n",
                    theirs, length, nodad, own.to_string(), mac_of(8)));
    const auto index = node_.run([] { return if_nametoindex("outer"); }).get();
    weft_device device{};
    device.nat_v4 = device.nat_v6 = to_abi(own);
    device.mtu = 1500;
    datapath_.put("weft_dev_v1", index, device);
    host_at(own)(datapath_);
    node_
        .run([&] {
          hooks_.push_back(std::make_unique<Hooks>(index, datapath_.program("weft_from_device"),
                                                   datapath_.program("weft_to_device")));
        })
        .get();
    return own;
  }
  static IpAddress outside(bool v4) { return ip(v4 ? "198.51.100.2" : "2001:db8:5::2"); }

  // The same, and a port of the node that leads to the other node's pod.
  IpAddress serve(const Namespace& client, bool v4) {
    const auto own = connect_outside(client, v4);
    serving_outside()(datapath_);
    backend(3, pod_of(other_, v4), kPort, kTcp)(datapath_);
    node_port(v4 ? net_v4() : net_v6(), kNodePort, kTcp, {.backends = {3}})(datapath_);
    return own;
  }

  // A frame to the other node, as anybody on the nodes' network can write one.
  void forge(const Packet& packet) const {
    const auto node = static_cast<std::uint8_t>(other_);
    const auto frame = packet.with_macs({2, 0, 0, 0, 0x10, node}, {2, 0, 0, 0, 0x10, 9}).bytes();
    node_
        .run([&] {
          const Fd socket(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
          sockaddr_ll to{};
          to.sll_family = AF_PACKET;
          to.sll_ifindex = static_cast<int>(if_nametoindex("under"));
          to.sll_halen = 6;
          EXPECT_EQ(static_cast<ssize_t>(frame.size()), ::sendto(socket.get(), frame.data(), frame.size(), 0,
                                                                 reinterpret_cast<const sockaddr*>(&to), sizeof to));
        })
        .get();
  }

  // By whom node 0's pod leaves the cluster; `as`: by this node, and as whom.
  void leave_by(bool v4, std::uint16_t node, const std::optional<IpAddress>& as = {}) {
    egress(v4 ? net_v4() : net_v6(), {.identity = kPodIdentity, .nodes = {node}, .address = as})(datapath_);
    datapath_.put("weft_nexthop_v1", std::uint32_t{1},
                  weft_next_hop{to_abi(underlay_of(other_, true)), to_abi(underlay_of(other_, false))});
  }

 private:
  // Loaded once.
  static Datapath& of(int number) {
    static std::array<Datapath, 2> both{Datapath({.flows = 1024}), Datapath({.flows = 1024})};
    return both[static_cast<std::size_t>(number)];
  }

  void add_addresses(bool v4) const {
    const auto* nodad = v4 ? "" : " nodad";
    const auto length = v4 ? 32 : 128;
    const auto pod = pod_of(number_, v4).to_string();
    const auto gateway = gateway_of(number_, v4).to_string();
    const auto other = underlay_of(other_, v4).to_string();
    const auto way =
        way_ == WEFT_WAY_DIRECT ? fmt::format("via {}", other) : fmt::format("dev weft0 src {} mtu {}", gateway, kMtu);
    node_.ip(
        fmt::format("neigh add {} lladdr {} dev under\nneigh add {} lladdr {} dev pod\n"
                    "address add {}/{} dev under{}\naddress add {}/{} dev weft0{}\n"
                    "route add {}/{} dev pod\nroute add {} {}\n",
                    other, mac_of(other_), pod, mac_of(5), underlay_of(number_, v4).to_string(), v4 ? 24 : 64, nodad,
                    gateway, length, nodad, pod, length, block_of(other_, v4), way));
    pod_.ip(
        fmt::format("address add {0}/{1} dev eth0{2}\nroute add {3}/{1} dev eth0\nroute add default via {3}\n"
                    "neigh add {3} lladdr {4} dev eth0 nud permanent\n",
                    pod, length, nodad, gateway, kGatewayMac));
  }

  void fill_family(bool v4, std::uint32_t pod_index) {
    weft_endpoint endpoint{};
    endpoint.ifindex = pod_index;
    endpoint.endpoint_id = 11;
    endpoint.identity = kPodIdentity + static_cast<std::uint32_t>(number_);
    endpoint.policy_class = kClass;
    endpoint.flags = WEFT_ENDPOINT_INGRESS_ENFORCED;
    endpoint.prefix_mask[WEFT_INGRESS] = 1u << 16;
    endpoint.mtu = 1500;
    datapath_.put("weft_ep_v1", to_abi(pod_of(number_, v4)), endpoint);
    for (const auto& address : {gateway_of(number_, v4), underlay_of(number_, v4)}) host_at(address)(datapath_);
    remote(gateway_of(other_, v4), WEFT_IDENTITY_REMOTE_NODE, 1, WEFT_REMOTE_NODE)(datapath_);
    remote(underlay_of(other_, v4), WEFT_IDENTITY_REMOTE_NODE, 0, WEFT_REMOTE_NODE)(datapath_);
    const auto block = Cidr::parse(block_of(other_, v4)).value();
    datapath_.put("weft_ipid_v2", weft_lpm_key{block.mapped_length(), to_abi(block.address())},
                  weft_ip_identity{WEFT_IDENTITY_INIT, WEFT_IP_RESERVED, 1, 0});
    // a tunnel that says who sends needs no row for it
    if (way_ == WEFT_WAY_DIRECT || way_ == WEFT_WAY_IPIP || way_ == WEFT_WAY_WIREGUARD)
      remote(pod_of(other_, v4), kPodIdentity + static_cast<std::uint32_t>(other_), 1)(datapath_);
  }

  int number_;
  int other_;
  weft_way way_;
  bool over_v4_;
  std::string name_;
  Namespace node_{name_};
  Namespace pod_{"pod" + std::to_string(number_)};
  Datapath& datapath_;
  std::vector<std::unique_ptr<Hooks>> hooks_;
  Fd wireguard_;
};

// Carries packets between two TUN devices for as long as it lives.
class Carrier {
 public:
  Carrier(int a, int b) : thread_([this, a, b] { carry(a, b); }) {}
  ~Carrier() {
    over_ = true;
    thread_.join();
  }
  Carrier(const Carrier&) = delete;
  Carrier& operator=(const Carrier&) = delete;

 private:
  void carry(int a, int b) const {
    std::vector<char> packet(65536);
    while (!over_) {
      std::array<pollfd, 2> sides{pollfd{a, POLLIN, 0}, pollfd{b, POLLIN, 0}};
      ::poll(sides.data(), sides.size(), 20);
      for (const int side : {0, 1})
        if ((sides.at(static_cast<std::size_t>(side)).revents & POLLIN) != 0)
          if (const auto size = ::read(side == 0 ? a : b, packet.data(), packet.size());
              size > 0 && !is_chatter(packet))
            (void)!::write(side == 0 ? b : a, packet.data(), static_cast<std::size_t>(size));
    }
  }
  // What the kernel says of its groups at any device: no peer has those addresses, so WireGuard carries it to none.
  static bool is_chatter(const std::vector<char>& packet) {
    return static_cast<unsigned char>(packet[0]) >> 4 == 6 && static_cast<unsigned char>(packet[24]) == 0xff;
  }
  std::atomic<bool> over_ = false;
  std::thread thread_;
};

// way, pods' family, underlay's family
class Overlay : public testing::TestWithParam<std::tuple<weft_way, bool, bool>> {
 protected:
  void SetUp() override {
    shell(fmt::format("ip link add under netns {} address {} type veth peer name under address {} netns {}",
                      nodes_[0].node().name(), mac_of(0), mac_of(1), nodes_[1].node().name()));
    for (auto& node : nodes_) node.make_devices();
    for (auto& node : nodes_) {
      node.fill_maps();
      node.attach();
    }
    if (nodes_[0].wireguard() >= 0) carrier_.emplace(nodes_[0].wireguard(), nodes_[1].wireguard());
  }
  void TearDown() override {
    carrier_.reset();
    for (auto& node : nodes_) node.detach();
  }

  // `text` from a client to a server that answers with as much as is said; whom the server saw.
  static std::string talk(const Namespace& from, const Namespace& to, const IpAddress& address) {
    return talk(from, to, address, address, kPort);
  }
  // The same, called at another address and port than the server has.
  static std::string talk(const Namespace& from, const Namespace& to, const IpAddress& address, const IpAddress& called,
                          std::uint16_t port) {
    std::promise<void> listening;
    auto server = to.run([&] {
      Endpoint socket(address, SOCK_STREAM);
      socket.serve(address, kPort, true);
      listening.set_value();
      std::string peer;
      auto connection = socket.take(peer);
      std::size_t heard = 0;
      EXPECT_EQ(0, connection.hear(heard, kMuch));
      EXPECT_EQ(kMuch, heard);
      EXPECT_EQ(0, connection.say(std::string(kMuch, 'x')));
      return peer;
    });
    listening.get_future().wait();
    from.run([&] {
          Endpoint socket(called, SOCK_STREAM);
          EXPECT_EQ(0, socket.connect_to(called, port));
          EXPECT_EQ(0, socket.say(std::string(kMuch, 'x')));
          std::size_t heard = 0;
          EXPECT_EQ(0, socket.hear(heard, kMuch));
          EXPECT_EQ(kMuch, heard);
        })
        .get();
    return server.get();
  }
  // The other node's pod hears one of that many bytes, whole or, where that may be, in fragments.
  void expect_datagram(std::size_t size, bool may_fragment) {
    std::promise<void> listening;
    auto server = nodes_[1].pod().run([&] {
      Endpoint socket(pod_of(1, v4_), SOCK_DGRAM);
      socket.serve(pod_of(1, v4_), kPort, false);
      listening.set_value();
      std::size_t heard = 0;
      EXPECT_EQ(0, socket.hear(heard, size));
      return heard;
    });
    listening.get_future().wait();
    nodes_[0]
        .pod()
        .run([&] {
          Endpoint socket(pod_of(1, v4_), SOCK_DGRAM);
          if (!may_fragment) socket.never_fragment(v4_);
          EXPECT_EQ(0, socket.connect_to(pod_of(1, v4_), kPort));
          EXPECT_EQ(0, socket.say(std::string(size, 'x')));
        })
        .get();
    EXPECT_EQ(size, server.get());
  }
  // By both nodes; the kernel's own chatter of each pod (listeners, routers) is refused for other reasons.
  void expect_nothing_refused() {
    for (auto& node : nodes_) {
      const auto drops = node.datapath().drops();
      for (const auto reason :
           {WEFT_DROP_POLICY_DENIED, WEFT_DROP_SPOOFED_SOURCE, WEFT_DROP_UNKNOWN_ENDPOINT, WEFT_DROP_NO_ROUTE,
            WEFT_DROP_FRAGMENT_UNKNOWN, WEFT_DROP_REWRITE, WEFT_DROP_ENCAPSULATION, WEFT_DROP_NODE_UNKNOWN,
            WEFT_DROP_TUNNEL_SENDER, WEFT_DROP_TUNNEL_SOURCE, WEFT_DROP_OUTSIDE_TUNNEL, WEFT_DROP_PATH_MTU})
        EXPECT_EQ(0u, drops[reason]) << "reason " << reason;
    }
  }

  weft_way way_ = std::get<0>(GetParam());
  bool v4_ = std::get<1>(GetParam());
  std::array<Node, 2> nodes_{Node(0, way_, std::get<2>(GetParam())), Node(1, way_, std::get<2>(GetParam()))};
  std::optional<Carrier> carrier_;
};

class Encrypted : public Overlay {};

TEST_P(Overlay, PodsAndNodesTalkBothWays) {
  EXPECT_EQ(pod_of(0, v4_).to_string(), talk(nodes_[0].pod(), nodes_[1].pod(), pod_of(1, v4_)));
  EXPECT_EQ(pod_of(1, v4_).to_string(), talk(nodes_[1].pod(), nodes_[0].pod(), pod_of(0, v4_)));
  if (way_ != WEFT_WAY_DIRECT) {
    EXPECT_EQ(gateway_of(0, v4_).to_string(), talk(nodes_[0].node(), nodes_[1].pod(), pod_of(1, v4_)));
    EXPECT_EQ(pod_of(0, v4_).to_string(), talk(nodes_[0].pod(), nodes_[1].node(), gateway_of(1, v4_)));
  }
  expect_nothing_refused();
}

// Large segments come out of a tunnel and are sent on.
TEST_P(Overlay, AClientOutsideReachesABackendThere) {
  const Namespace client("client");
  policy(kClass, WEFT_INGRESS, WEFT_IDENTITY_WORLD, kTcp, kPort, 16, 33)(nodes_[1].datapath());
  const auto called = nodes_[0].serve(client, v4_);
  const auto seen = way_ == WEFT_WAY_DIRECT ? underlay_of(0, v4_) : gateway_of(0, v4_);
  EXPECT_EQ(seen.to_string(), talk(client, nodes_[1].pod(), pod_of(1, v4_), called, kNodePort));
  expect_nothing_refused();
}

// With segments in both directions; the server sees the gateway's address, and sends on from outside.
TEST_P(Overlay, APodLeavesByTheOtherNode) {
  const Namespace world("world");
  const auto as = nodes_[1].connect_outside(world, v4_);
  nodes_[1].leave_by(v4_, WEFT_EGRESS_HERE, as);
  nodes_[0].leave_by(v4_, 1);
  EXPECT_EQ(as.to_string(), talk(nodes_[0].pod(), world, Node::outside(v4_)));
  expect_nothing_refused();
}

// A node is believed of its own pods, and of answers from outside; the rest of what it wraps for WireGuard is dropped.
TEST_P(Encrypted, WhatANodeWrapsOfOthersIsNotTaken) {
  nodes_[1].leave_by(v4_, WEFT_EGRESS_HERE, underlay_of(1, v4_));
  const auto wrap = [&](const Packet& inner, const IpAddress& from) {
    const auto packet = ipip_tunnel(from, gateway_of(1, v4_), inner).l3_bytes();
    EXPECT_EQ(static_cast<ssize_t>(packet.size()), ::write(nodes_[1].wireguard(), packet.data(), packet.size()));
  };
  const auto outside = Node::outside(v4_);
  const auto from = [&](const IpAddress& source) { return tcp(source, 40000, outside, 80, kSyn); };
  const auto refused = [&] {
    const auto drops = nodes_[1].datapath().drops();
    return drops[WEFT_DROP_TUNNEL_SENDER] + drops[WEFT_DROP_TUNNEL_SOURCE];
  };
  wrap(from(pod_of(1, v4_)), gateway_of(0, v4_));  // this node's own pod
  wrap(from(ip(v4_ ? "10.77.0.9" : "fd77::9")), gateway_of(0, v4_));
  wrap(from(pod_of(0, v4_)), pod_of(0, v4_));  // between a pod and a node nothing is wrapped
  wrap(tcp(outside, 80, gateway_of(1, v4_), 40000), gateway_of(0, v4_));
  EXPECT_EQ(4u, refused());
  wrap(from(pod_of(0, v4_)), gateway_of(0, v4_));
  wrap(tcp(outside, 80, pod_of(1, v4_), 40000), gateway_of(0, v4_));
  EXPECT_EQ(4u, refused()) << "its own pod is taken, and what might be an answer is the flow table's to refuse";
  EXPECT_EQ(1u, nodes_[1].datapath().drops()[WEFT_DROP_SPOOFED_SOURCE]);
}

TEST_P(Overlay, ADatagramThatIsTooLargeIsToldTheSender) {
  const auto receiver = nodes_[1]
                            .pod()
                            .run([&] {
                              Endpoint socket(pod_of(1, v4_), SOCK_DGRAM);
                              socket.serve(pod_of(1, v4_), kPort, false);
                              return socket;
                            })
                            .get();
  nodes_[0]
      .pod()
      .run([&] {
        Endpoint socket(pod_of(1, v4_), SOCK_DGRAM);
        socket.never_fragment(v4_);
        EXPECT_EQ(0, socket.connect_to(pod_of(1, v4_), kPort));
        const std::string fits(kMtu - (v4_ ? 28 : 48), 'x');
        EXPECT_EQ(0, socket.say(fits));
        if (way_ == WEFT_WAY_DIRECT) return;
        EXPECT_EQ(0, socket.say(fits + "x"));
        EXPECT_EQ(EMSGSIZE, socket.told());
        EXPECT_EQ(EMSGSIZE, socket.say(fits + "x")) << "it knows the size now";
        EXPECT_EQ(0, socket.say(fits));
      })
      .get();
  const auto told = nodes_[0].datapath().drops()[WEFT_DROP_TOO_BIG];
  EXPECT_EQ(way_ == WEFT_WAY_DIRECT, told == 0) << told;
}

// What the kernel would believe of the way to the other node, its VXLAN device would go by, and tell nobody.
TEST_P(Overlay, AForgedErrorEndsNothing) {
  const bool over_v4 = std::get<2>(GetParam());
  const auto here = underlay_of(0, over_v4);
  const auto there = underlay_of(1, over_v4);
  // over IPv4 a packet shorter than what is said not to fit, over IPv6 one that somebody else is said to have sent
  auto quoted = udp(here, 50000, there, 4789).with_payload(8);
  if (!over_v4) quoted = echo_request(ip("2001:db8::77"), there, 9);
  auto error = unreachable(ip(over_v4 ? "192.0.2.99" : "2001:db8::99"), here, quoted);
  error.icmp_type = over_v4 ? 3 : 2;
  error.icmp_code = over_v4 ? 4 : 0;
  error.icmp_mtu = over_v4 ? 600 : 1280;
  error.quoted_bytes = 16;
  nodes_[1].forge(error);

  constexpr std::size_t kLeastOfIpv6 = 1280;
  const auto size = kLeastOfIpv6 - (v4_ ? 28 : 48);
  expect_datagram(size, false);
  EXPECT_EQ(way_ == WEFT_WAY_VXLAN ? 1u : 0u, nodes_[0].datapath().drops()[WEFT_DROP_PATH_MTU]);
}

// In fragments, each of which is carried by itself.
TEST_P(Overlay, ALargeDatagramArrivesWhole) {
  constexpr std::size_t kLarge = 9000;
  shell(fmt::format("ip -n {} link set eth0 mtu {}", nodes_[0].pod().name(), kMtu));
  expect_datagram(kLarge, true);
  expect_nothing_refused();
}

std::string name_of(const testing::TestParamInfo<Overlay::ParamType>& info) {
  static constexpr std::array names{"none", "direct", "vxlan", "geneve", "ipip", "wireguard"};
  const auto& [way, inner, outer] = info.param;
  return fmt::format("{}_{}_over_{}", names[way], inner ? "v4" : "v6", outer ? "v4" : "v6");
}

INSTANTIATE_TEST_SUITE_P(Tunnels, Overlay,
                         testing::Combine(testing::Values(WEFT_WAY_VXLAN, WEFT_WAY_GENEVE, WEFT_WAY_IPIP),
                                          testing::Bool(), testing::Bool()),
                         name_of);
INSTANTIATE_TEST_SUITE_P(WireGuard, Overlay,
                         testing::Combine(testing::Values(WEFT_WAY_WIREGUARD), testing::Bool(), testing::Bool()),
                         name_of);
INSTANTIATE_TEST_SUITE_P(WireGuard, Encrypted,
                         testing::Combine(testing::Values(WEFT_WAY_WIREGUARD), testing::Bool(), testing::Bool()),
                         name_of);
// as they are: of one family
INSTANTIATE_TEST_SUITE_P(Direct, Overlay,
                         testing::Combine(testing::Values(WEFT_WAY_DIRECT), testing::Bool(), testing::Values(true)),
                         name_of);

}  // namespace
}  // namespace weft::test
