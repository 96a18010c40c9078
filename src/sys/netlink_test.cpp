// Every expectation that is not about the real kernel alone runs against both the kernel, in
// namespaces of its own, and the fake: that is what keeps the fake honest.
#include "sys/netlink.h"

#include <gtest/gtest.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <thread>

#include "sys/fake_netlink.h"
#include "sys/netns.h"

namespace weft::sys {
namespace {

IpAddress ip(const char* text) { return IpAddress::parse(text).value(); }
Cidr cidr(const char* text) { return Cidr::parse(text).value(); }
MacAddress mac(const char* text) { return MacAddress::parse(text).value(); }

class TestNetns {
 public:
  explicit TestNetns(const std::string& suffix) : name_("weft-sys-" + std::to_string(::getpid()) + "-" + suffix) {
    (void)delete_named_netns(name_);
    if (!create_named_netns(name_)) return;
    if (auto fd = open_netns(named_netns_path(name_))) fd_ = std::move(*fd);
  }
  ~TestNetns() { (void)delete_named_netns(name_); }
  TestNetns(const TestNetns&) = delete;
  TestNetns& operator=(const TestNetns&) = delete;
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  std::string name_;
  Fd fd_;
};

struct Pair {
  std::unique_ptr<Netlink> node;
  std::unique_ptr<Netlink> pod;
  int pod_netns = -1;
};

class NetlinkTest : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    if (GetParam()) {
      if (::geteuid() != 0) GTEST_SKIP() << "needs root";
      node_.emplace("node");
      pod_.emplace("pod");
      ASSERT_GE(pod_->fd(), 0);
      pair_ = {open_netlink_in(node_->fd()).value(), open_netlink_in(pod_->fd()).value(), pod_->fd()};
    } else {
      pair_ = {fake_.open(), fake_.open(7), 7};
    }
  }
  Netlink& node() { return *pair_.node; }
  Netlink& pod() { return *pair_.pod; }
  VethRequest request() {
    return {"weft0", mac("02:00:00:00:00:01"), "eth0", mac("02:00:00:00:00:02"), 1450, pair_.pod_netns};
  }
  static bool has(Netlink& netlink, const DeviceAddress& wanted) {
    const auto all = netlink.addresses().value();
    return std::any_of(all.begin(), all.end(), [&](const auto& row) {
      return row.index == wanted.index && row.address == wanted.address && row.length == wanted.length;
    });
  }
  static std::optional<Route> route_to(Netlink& netlink, const Cidr& destination) {
    const auto all = netlink.routes().value();
    for (const auto& route : all)
      if (route.destination == destination) return route;
    return std::nullopt;
  }

  FakeKernel fake_;
  std::optional<TestNetns> node_;
  std::optional<TestNetns> pod_;
  Pair pair_;
};

INSTANTIATE_TEST_SUITE_P(Kernels, NetlinkTest, testing::Bool(),
                         [](const auto& instance) { return instance.param ? "linux" : "fake"; });

TEST_P(NetlinkTest, CreatesBothEndsOfAPairAtOnce) {
  const Device host = node().create_veth(request()).value();
  EXPECT_EQ(host.name, "weft0");
  EXPECT_EQ(host.kind, "veth");
  EXPECT_EQ(host.mac, mac("02:00:00:00:00:01"));
  EXPECT_EQ(host.mtu, 1450U);
  EXPECT_FALSE(host.up);
  const Device peer = pod().device("eth0").value();
  EXPECT_EQ(peer.mac, mac("02:00:00:00:00:02"));
  EXPECT_EQ(peer.mtu, 1450U);
  EXPECT_EQ(peer.index, host.peer_index);
  EXPECT_EQ(host.index, peer.peer_index);
  EXPECT_EQ(node().device("eth0").error().code, ErrorCode::not_found);
}

TEST_P(NetlinkTest, RefusesTakenAndBadNames) {
  ASSERT_TRUE(node().create_veth(request()));
  EXPECT_EQ(node().create_veth(request()).error().code, ErrorCode::exists);
  auto only_peer_taken = request();
  only_peer_taken.host_name = "weft1";
  EXPECT_EQ(node().create_veth(only_peer_taken).error().code, ErrorCode::exists);
  EXPECT_EQ(node().device("weft1").error().code, ErrorCode::not_found) << "half a pair is left";
  auto too_long = request();
  too_long.host_name = "a-name-of-16-let";
  EXPECT_EQ(node().create_veth(too_long).error().code, ErrorCode::invalid);
  EXPECT_EQ(node().device("a-name-of-16-let").error().code, ErrorCode::not_found);
}

TEST_P(NetlinkTest, APairLivesAndDiesTogether) {
  const Device host = node().create_veth(request()).value();
  EXPECT_TRUE(node().delete_device(host.index));
  EXPECT_EQ(pod().device("eth0").error().code, ErrorCode::not_found);
  EXPECT_TRUE(node().delete_device(host.index)) << "absent is success";
}

TEST_P(NetlinkTest, DeletesAGroupAtOnce) {
  const Device first = node().create_veth(request()).value();
  const Device second = node().create_dummy("weft-d0", mac("02:00:00:00:00:07")).value();
  EXPECT_TRUE(second.kind == "dummy" || second.kind == "bridge") << second.kind;
  EXPECT_EQ(second.mac, mac("02:00:00:00:00:07"));
  ASSERT_TRUE(node().create_dummy("weft-d1", {}));
  ASSERT_TRUE(node().set_group(first.index, 4711));
  ASSERT_TRUE(node().set_group(second.index, 4711));
  EXPECT_TRUE(node().delete_group(4711));
  EXPECT_FALSE(node().device(first.index));
  EXPECT_FALSE(node().device(second.index));
  EXPECT_TRUE(node().device("weft-d1"));
  EXPECT_TRUE(node().delete_group(4711)) << "an empty group is success";
  EXPECT_EQ(node().delete_group(0).error().code, ErrorCode::invalid);
}

TEST_P(NetlinkTest, MakesAVxlanDevice) {
  const Device made = node().create_vxlan("weft-v0", 8472, mac("02:00:00:00:00:08")).value();
  EXPECT_EQ(made.kind, "vxlan");
  EXPECT_EQ(made.mac, mac("02:00:00:00:00:08"));
  EXPECT_EQ(node().create_vxlan("weft-v0", 8473, {}).error().code, ErrorCode::exists);
  EXPECT_TRUE(node().set_up(made.index, true));
  EXPECT_TRUE(node().delete_device(made.index));
}

TEST_P(NetlinkTest, ChangesDevices) {
  const Device host = node().create_veth(request()).value();
  ASSERT_TRUE(node().set_up(host.index, true));
  ASSERT_TRUE(node().set_mtu(host.index, 1300));
  const Device changed = node().device(host.index).value();
  EXPECT_TRUE(changed.up);
  EXPECT_EQ(changed.mtu, 1300U);
  const auto all = node().devices().value();
  EXPECT_EQ(std::count_if(all.begin(), all.end(), [](const Device& row) { return row.name == "weft0"; }), 1);
  EXPECT_EQ(std::count_if(all.begin(), all.end(), [](const Device& row) { return row.name == "lo"; }), 1);
  EXPECT_EQ(node().set_up(9999, true).error().code, ErrorCode::not_found);
}

TEST_P(NetlinkTest, AddsAndDeletesAddresses) {
  ASSERT_TRUE(node().create_veth(request()));
  const int eth0 = pod().device("eth0").value().index;
  ASSERT_TRUE(pod().set_up(eth0, true));
  for (const auto& address : {DeviceAddress{eth0, ip("10.7.0.2"), 32}, DeviceAddress{eth0, ip("fd07::2"), 128}}) {
    EXPECT_TRUE(pod().add_address(address));
    EXPECT_TRUE(pod().add_address(address)) << "present is success";
    EXPECT_TRUE(has(pod(), address)) << address.address.to_string();
    EXPECT_TRUE(pod().delete_address(address));
    EXPECT_TRUE(pod().delete_address(address)) << "absent is success";
    EXPECT_FALSE(has(pod(), address));
  }
  EXPECT_EQ(pod().add_address({9999, ip("10.7.0.2"), 32}).error().code, ErrorCode::not_found);
}

TEST_P(NetlinkTest, AddressesSayWhoMadeThem) {
  ASSERT_TRUE(node().create_veth(request()));
  const int eth0 = pod().device("eth0").value().index;
  ASSERT_TRUE(pod().set_up(eth0, true));
  ASSERT_TRUE(pod().add_address({eth0, ip("10.7.0.2"), 24}));
  ASSERT_TRUE(pod().add_address({eth0, ip("10.7.0.9"), 32, address_protocol_weft}));
  ASSERT_TRUE(pod().add_address({eth0, ip("fd07::9"), 128, address_protocol_weft}));
  std::vector<std::string> ours;
  const auto addresses = pod().addresses();
  ASSERT_TRUE(addresses);
  for (const auto& each : *addresses)
    if (each.protocol == address_protocol_weft) ours.push_back(each.address.to_string());
  EXPECT_EQ(ours, (std::vector<std::string>{"10.7.0.9", "fd07::9"}));
}

TEST_P(NetlinkTest, ReplacesAndDeletesRoutes) {
  ASSERT_TRUE(node().create_veth(request()));
  const int eth0 = pod().device("eth0").value().index;
  Route down{.destination = cidr("10.8.0.0/16"), .device = eth0};
  EXPECT_EQ(pod().replace_route(down).error().code, ErrorCode::io) << "the device is down";
  ASSERT_TRUE(pod().set_up(eth0, true));
  ASSERT_TRUE(pod().add_address({eth0, ip("10.7.0.2"), 32}));
  ASSERT_TRUE(pod().add_address({eth0, ip("fd07::2"), 128}));
  const Route v4{.destination = cidr("0.0.0.0/0"),
                 .gateway = ip("169.254.1.1"),
                 .device = eth0,
                 .onlink = true,
                 .mtu = 1400,
                 .source = ip("10.7.0.2")};
  const Route v6{.destination = cidr("::/0"), .gateway = ip("fe80::1"), .device = eth0, .mtu = 1400};
  const Route direct{.destination = cidr("10.9.0.0/16"), .device = eth0, .scope_link = true};
  for (const Route& wanted : {v4, v6, direct}) {
    ASSERT_TRUE(pod().replace_route(wanted)) << pod().replace_route(wanted).error().message;
    EXPECT_TRUE(pod().replace_route(wanted)) << "again";
    const auto found = route_to(pod(), wanted.destination);
    ASSERT_TRUE(found) << wanted.destination.to_string();
    EXPECT_EQ(found->gateway, wanted.gateway);
    EXPECT_EQ(found->device, eth0);
    EXPECT_EQ(found->mtu, wanted.mtu);
    EXPECT_EQ(found->source, wanted.source);
    EXPECT_EQ(found->scope_link, !wanted.gateway);
    EXPECT_EQ(found->onlink, wanted.onlink);
    EXPECT_TRUE(pod().delete_route(wanted));
    EXPECT_TRUE(pod().delete_route(wanted)) << "absent is success";
    EXPECT_FALSE(route_to(pod(), wanted.destination));
  }
}

TEST_P(NetlinkTest, NextHopsAreTheGatewaysOfAllRoutes) {
  const int device = node().create_veth(request()).value().index;
  ASSERT_TRUE(node().set_up(device, true));
  ASSERT_TRUE(node().add_address({device, ip("192.0.2.2"), 24}));
  EXPECT_TRUE(node().next_hops().value().empty());
  ASSERT_TRUE(node().replace_route({cidr("0.0.0.0/0"), ip("192.0.2.1"), device, false, false, 0, std::nullopt}));
  ASSERT_TRUE(node().replace_route({cidr("198.51.100.0/24"), std::nullopt, device, false, true, 0, std::nullopt}));
  ASSERT_TRUE(node().replace_route({cidr("2001:db8::/32"), ip("fe80::1"), device, false, false, 0, std::nullopt}));
  EXPECT_EQ(node().next_hops().value(), (std::vector{ip("192.0.2.1"), ip("fe80::1")}));
}

TEST_P(NetlinkTest, WhereAPacketWouldGo) {
  const int device = node().create_veth(request()).value().index;
  ASSERT_TRUE(node().set_up(device, true));
  ASSERT_TRUE(node().add_address({device, ip("192.0.2.2"), 24}));
  ASSERT_TRUE(node().add_address({device, ip("2001:db8::2"), 64}));
  ASSERT_TRUE(node().replace_route({cidr("198.51.100.0/24"), std::nullopt, device, false, true, 0, std::nullopt}));
  for (const auto* own : {"192.0.2.2", "2001:db8::2"}) {
    // The kernel gives an IPv6 address its local route a moment later, from a work queue.
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(5);
    while (node().way_to(ip(own)).value().kind != WayTo::Kind::here && std::chrono::steady_clock::now() < until)
      std::this_thread::yield();
    EXPECT_EQ(node().way_to(ip(own)).value().kind, WayTo::Kind::here) << own;
  }
  const auto out = node().way_to(ip("198.51.100.7")).value();
  EXPECT_EQ(out.kind, WayTo::Kind::out);
  EXPECT_EQ(out.device, device);
  for (const auto* nowhere : {"203.0.113.1", "2001:db8:1::1"}) {
    const auto way = node().way_to(ip(nowhere));
    ASSERT_TRUE(way) << way.error().text();
    EXPECT_EQ(way->kind, WayTo::Kind::none) << nowhere;
    EXPECT_EQ(way->why, "Network is unreachable") << nowhere;
  }
  // The other end is down.
  if (GetParam()) {
    EXPECT_FALSE(node().device(device).value().running);
  }
}

TEST_P(NetlinkTest, SetsPermanentNeighbours) {
  const Device host = node().create_veth(request()).value();
  ASSERT_TRUE(node().set_up(host.index, true));
  EXPECT_TRUE(node().replace_neighbour(host.index, ip("10.7.0.2"), mac("02:00:00:00:00:02")));
  EXPECT_TRUE(node().replace_neighbour(host.index, ip("fd07::2"), mac("02:00:00:00:00:02")));
  EXPECT_EQ(node().replace_neighbour(9999, ip("10.7.0.2"), {}).error().code, ErrorCode::not_found);
}

TEST(FaultyNetlink, FailsEveryNthChangeUntilHealed) {
  FakeKernel kernel;
  FaultyNetlink faulty(kernel.open(), 2);
  EXPECT_TRUE(faulty.create_dummy("one", {}));
  EXPECT_EQ(faulty.create_dummy("two", {}).error().code, ErrorCode::io);
  EXPECT_TRUE(faulty.devices());
  EXPECT_TRUE(faulty.create_dummy("two", {}));
  faulty.heal();
  EXPECT_TRUE(faulty.create_dummy("three", {}));
  EXPECT_EQ(kernel.at().devices.size(), 4U);
}

TEST(FakeKernel, ADeletedNamespaceTakesItsPeersAlong) {
  FakeKernel kernel;
  auto node = kernel.open();
  ASSERT_TRUE(node->create_veth({"host", {}, "eth0", {}, 1500, 3}));
  kernel.delete_namespace(3);
  EXPECT_FALSE(node->device("host"));
}

TEST(LinuxNetlink, ErrorsCarryTheKernelsWords) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  const TestNetns netns("words");
  auto netlink = open_netlink_in(netns.fd()).value();
  const auto route = Route{.destination = cidr("10.0.0.0/8"), .gateway = ip("10.9.9.9"), .device = 1};
  ASSERT_TRUE(netlink->set_up(1, true));
  const auto refused = netlink->replace_route(route);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("invalid gateway"), std::string::npos) << refused.error().message;
  EXPECT_NE(refused.error().message.find("10.0.0.0/8 via 10.9.9.9"), std::string::npos) << refused.error().message;
}

TEST(LinuxNetlink, AVxlanDeviceTakesItsMetadataFromThePacket) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  const TestNetns netns("vxlan");
  const auto scope = NetnsScope::enter(netns.fd()).value();
  auto netlink = open_netlink().value();
  ASSERT_TRUE(netlink->create_vxlan("weft-v0", 8472, {}));
  FILE* ip = popen("ip -d link show weft-v0", "r");
  ASSERT_NE(ip, nullptr);
  std::string said(4096, '\0');
  said.resize(std::fread(said.data(), 1, said.size(), ip));
  EXPECT_EQ(pclose(ip), 0);
  for (const auto* word : {"external", "dstport 8472", "nolearning", " udp6zerocsumtx", " udp6zerocsumrx"})
    EXPECT_NE(said.find(word), std::string::npos) << word << " is not in\n" << said;
}

TEST(LinuxNetlink, AHostDeviceNeedsNoNeighbours) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  const TestNetns netns("noarp");
  const auto scope = NetnsScope::enter(netns.fd()).value();
  auto netlink = open_netlink().value();
  const Device host = netlink->create_dummy("weft0", mac("02:00:00:00:00:09")).value();
  ifreq request{};
  std::strncpy(request.ifr_name, "weft0", IFNAMSIZ - 1);
  const Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::ioctl(socket.get(), SIOCGIFFLAGS, &request), 0);
  EXPECT_TRUE((request.ifr_flags & IFF_NOARP) != 0);
}

TEST(LinuxNetlink, AHostDeviceCarriesUsableAddresses) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  const TestNetns netns("host");
  const auto scope = NetnsScope::enter(netns.fd()).value();
  auto netlink = open_netlink().value();
  const Device host = netlink->create_dummy("weft0", mac("02:00:00:00:00:09")).value();
  ASSERT_TRUE(netlink->set_up(host.index, true));
  ASSERT_TRUE(netlink->add_address({host.index, ip("fd07::1"), 128}));
  const Fd socket(::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  std::copy_n(ip("fd07::1").bytes().begin(), 16, static_cast<std::uint8_t*>(address.sin6_addr.s6_addr));
  // Refused while an address is tentative.
  EXPECT_EQ(::bind(socket.get(), static_cast<const sockaddr*>(static_cast<const void*>(&address)), sizeof address), 0);
}

TEST(LinuxNetlink, MonitorSeesDevicesComeAndGo) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  const TestNetns netns("monitor");
  auto scope = NetnsScope::enter(netns.fd()).value();
  auto monitor = NetlinkMonitor::open().value();
  EXPECT_FALSE(monitor.drain().value());
  auto netlink = open_netlink().value();
  ASSERT_TRUE(netlink->create_dummy("weft-d0", {}));
  pollfd readable{monitor.fd(), POLLIN, 0};
  EXPECT_EQ(::poll(&readable, 1, 1000), 1);
  EXPECT_TRUE(monitor.drain().value());
  EXPECT_FALSE(monitor.drain().value());
}

// Not an assertion: prints what the kernel part of attaching a pod costs on this machine.
TEST(LinuxNetlink, CostOfAttachingAPod) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  using Clock = std::chrono::steady_clock;
  const TestNetns node_netns("cost");
  auto node = open_netlink_in(node_netns.fd()).value();
  std::vector<double> create;
  std::vector<double> rest;
  for (int i = 0; i < 20; ++i) {
    const TestNetns pod_netns("cost-pod");
    const auto start = Clock::now();
    const Device host = node->create_veth({"weft" + std::to_string(i), {}, "eth0", {}, 1500, pod_netns.fd()}).value();
    const auto created = Clock::now();
    auto pod = open_netlink_in(pod_netns.fd()).value();
    ASSERT_TRUE(node->set_up(host.index, true));
    ASSERT_TRUE(pod->set_up(host.peer_index, true));
    ASSERT_TRUE(pod->add_address({host.peer_index, ip("10.7.0.2"), 32}));
    ASSERT_TRUE(pod->add_address({host.peer_index, ip("fd07::2"), 128}));
    ASSERT_TRUE(pod->replace_route({.destination = cidr("169.254.1.1/32"), .device = host.peer_index}));
    ASSERT_TRUE(pod->replace_route(
        {.destination = cidr("0.0.0.0/0"), .gateway = ip("169.254.1.1"), .device = host.peer_index}));
    ASSERT_TRUE(pod->replace_route({.destination = cidr("::/0"), .gateway = ip("fe80::1"), .device = host.peer_index}));
    const auto done = Clock::now();
    create.push_back(std::chrono::duration<double, std::micro>(created - start).count());
    rest.push_back(std::chrono::duration<double, std::micro>(done - created).count());
  }
  std::sort(create.begin(), create.end());
  std::sort(rest.begin(), rest.end());
  std::printf("create_veth: median %.0f us; up, two addresses, three routes: median %.0f us\n", create[10], rest[10]);
}

}  // namespace
}  // namespace weft::sys
