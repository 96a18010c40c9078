// Real sockets on both ends of real devices: a client outside, the node with the programs on its devices, a pod.
// What single packets cannot show: partial checksums, segmentation offload, what a socket makes of an answer.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <net/if.h>

#include <cerrno>

#include "fixture.h"
#include "traffic.h"

namespace weft::test {
namespace {

constexpr std::uint16_t kNodePort = 30080;
constexpr std::uint16_t kBackendPort = 8080;

class Traffic : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    shell(fmt::format("ip link add trafup type veth peer name eth0 netns {}", client_.name()));
    shell(fmt::format("ip link add trafpod address 02:00:00:00:00:99 type veth peer name eth0 netns {}", pod_.name()));
    const auto in = [](const Namespace& where) { return "ip -n " + where.name() + " "; };
    shell(
        "ip link set trafup up; ip link set trafpod up;"
        "ip address add 10.77.0.1/24 dev trafup; ip address add fd00:77::1/64 dev trafup nodad;"
        "ip route add 10.1.0.3/32 dev trafpod; ip -6 route add fd00:1::3/128 dev trafpod");
    shell(in(client_) + "link set lo up; " + in(client_) + "link set eth0 up; " + in(client_) +
          "address add 10.77.0.2/24 dev eth0; " + in(client_) + "address add fd00:77::2/64 dev eth0 nodad");
    pod_index_ = if_nametoindex("trafpod");
    up_index_ = if_nametoindex("trafup");
    const std::string mac = "02:00:00:00:00:99";
    shell(in(pod_) + "link set lo up; " + in(pod_) + "link set eth0 up; " + in(pod_) +
          "address add 10.1.0.3/32 dev eth0; " + in(pod_) + "address add fd00:1::3/128 dev eth0 nodad; " + in(pod_) +
          "route add 169.254.1.1 dev eth0; " + in(pod_) + "route add default via 169.254.1.1; " + in(pod_) +
          "-6 route add fd00:9::1 dev eth0; " + in(pod_) + "-6 route add default via fd00:9::1; " + in(pod_) +
          "neigh add 169.254.1.1 lladdr " + mac + " dev eth0 nud permanent; " + in(pod_) +
          "neigh add fd00:9::1 lladdr " + mac + " dev eth0 nud permanent");
    datapath_.clear();
    standard(net_)(datapath_);
    serving_outside()(datapath_);
    pod(net_, 'b', {.ifindex = pod_index_})(datapath_);
    weft_device device{};
    device.nat_v4 = to_abi(IpAddress::parse("10.77.0.1").value());
    device.nat_v6 = to_abi(IpAddress::parse("fd00:77::1").value());
    device.mtu = 1500;
    datapath_.put("weft_dev_v1", up_index_, device);
    host_at(node_)(datapath_);
    for (const std::uint8_t protocol : {kTcp, kUdp}) {
      backend(protocol, net_.b, kBackendPort, protocol)(datapath_);
      node_port(net_, kNodePort, protocol, {.backends = {protocol}, .first_slot = protocol})(datapath_);
    }
    device_hooks_ =
        std::make_unique<Hooks>(up_index_, datapath_.program("weft_from_device"), datapath_.program("weft_to_device"));
    pod_hooks_ =
        std::make_unique<Hooks>(pod_index_, datapath_.program("weft_from_pod"), datapath_.program("weft_to_pod"));
  }
  void TearDown() override {
    device_hooks_.reset();
    pod_hooks_.reset();
    shell("ip link del trafup; ip link del trafpod");
    datapath_.clear();
  }
  const Net& net_ = GetParam() ? net_v4() : net_v6();
  const IpAddress node_ = IpAddress::parse(GetParam() ? "10.77.0.1" : "fd00:77::1").value();
  const IpAddress client_address_ = IpAddress::parse(GetParam() ? "10.77.0.2" : "fd00:77::2").value();
  Namespace client_{"client"};
  Namespace pod_{"pod"};
  Datapath& datapath_ = Datapath::shared();
  std::uint32_t pod_index_ = 0;
  std::uint32_t up_index_ = 0;
  std::unique_ptr<Hooks> device_hooks_, pod_hooks_;
};

TEST_P(Traffic, ANodePortIsServedWithTheClientsAddressUntilTheBackendIsGone) {
  constexpr std::size_t kMuch = 4 << 20;
  std::promise<void> listening, connected;
  auto server = pod_.run([&] {
    Endpoint socket(net_.b, SOCK_STREAM);
    socket.serve(net_.b, kBackendPort, true);
    listening.set_value();
    std::string peer;
    auto connection = socket.take(peer);
    EXPECT_EQ(client_address_.to_string(), peer);
    std::size_t heard = 0;
    EXPECT_EQ(0, connection.hear(heard, 5));
    EXPECT_EQ(0, connection.say(std::string(kMuch, 'x')));
    // until the reset
    const int error = connection.hear(heard, 1);
    EXPECT_EQ(ECONNRESET, error) << "the backend's end: " << std::strerror(error);
  });
  listening.get_future().wait();
  auto client = client_.run([&] {
    Endpoint socket(node_, SOCK_STREAM);
    EXPECT_EQ(0, socket.connect_to(node_, kNodePort));
    EXPECT_EQ(0, socket.say("hello"));
    std::size_t heard = 0;
    EXPECT_EQ(0, socket.hear(heard, kMuch));
    EXPECT_EQ(kMuch, heard);
    no_backend(kTcp)(datapath_);
    datapath_.bump_epoch();
    EXPECT_EQ(0, socket.say("anybody there?"));
    const int error = socket.hear(heard, 1);
    EXPECT_EQ(ECONNRESET, error) << "the client's end: " << std::strerror(error);
  });
  client.get();
  server.get();
}

TEST_P(Traffic, RefusalsReachTheSocket) {
  for (const std::uint8_t protocol : {kTcp, kUdp}) no_backend(protocol)(datapath_);
  client_
      .run([&] {
        Endpoint stream(node_, SOCK_STREAM);
        EXPECT_EQ(ECONNREFUSED, stream.connect_to(node_, kNodePort));
        Endpoint datagrams(node_, SOCK_DGRAM);
        EXPECT_EQ(0, datagrams.connect_to(node_, kNodePort));
        EXPECT_EQ(0, datagrams.say(std::string(900, 'x')));
        std::size_t heard = 0;
        const int error = datagrams.hear(heard, 1);
        EXPECT_EQ(ECONNREFUSED, error) << std::strerror(error);
      })
      .get();
  // and a pod's, which sends to the node's address past any socket hook
  pod_.run([&] {
        Endpoint stream(node_, SOCK_STREAM);
        EXPECT_EQ(ECONNREFUSED, stream.connect_to(node_, kNodePort));
        Endpoint datagrams(node_, SOCK_DGRAM);
        EXPECT_EQ(0, datagrams.connect_to(node_, kNodePort));
        EXPECT_EQ(0, datagrams.say("x"));
        std::size_t heard = 0;
        EXPECT_EQ(ECONNREFUSED, datagrams.hear(heard, 1));
      })
      .get();
}

TEST_P(Traffic, APodReachesItselfByANodePort) {
  pod_.run([&] {
        Endpoint server(net_.b, SOCK_STREAM);
        server.serve(net_.b, kBackendPort, true);
        Endpoint client(net_.b, SOCK_STREAM);
        EXPECT_EQ(0, client.connect_to(node_, kNodePort));
        std::string peer;
        auto connection = server.take(peer);
        EXPECT_EQ(net_.gateway.to_string(), peer);
        EXPECT_EQ(0, connection.say("hello"));
        std::size_t heard = 0;
        EXPECT_EQ(0, client.hear(heard, 5));
        EXPECT_EQ(5u, heard);
      })
      .get();
}

INSTANTIATE_TEST_SUITE_P(Families, Traffic, testing::Bool(),
                         [](const auto& family) { return family.param ? "v4" : "v6"; });

}  // namespace
}  // namespace weft::test
