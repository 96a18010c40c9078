// What a test run cannot show: the programs on real devices, with the stack between them. A datagram
// too large for the uplink is handed to the stack, fragmented there and translated on its way out.
#include <arpa/inet.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "fixture.h"

namespace weft::test {
namespace {

// Frames in and out of one device.
class Wire {
 public:
  explicit Wire(const char* device) : fd_(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL))) {
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(ETH_P_ALL);
    address.sll_ifindex = static_cast<int>(if_nametoindex(device));
    if (fd_ < 0 || bind(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
      throw std::runtime_error(fmt::format("cannot listen on {}: {}", device, std::strerror(errno)));
  }
  ~Wire() { close(fd_); }
  Wire(const Wire&) = delete;
  Wire& operator=(const Wire&) = delete;

  void put(const Octets& frame) const {
    if (::send(fd_, frame.data(), frame.size(), 0) < 0)
      throw std::runtime_error(fmt::format("cannot send: {}", std::strerror(errno)));
  }
  // The next frame to `destination` that came in, or none within two seconds.
  [[nodiscard]] Octets next_to(const IpAddress& destination) const {
    pollfd ready{.fd = fd_, .events = POLLIN, .revents = 0};
    while (poll(&ready, 1, 2000) > 0) {
      Octets frame(4096);
      sockaddr_ll from{};
      socklen_t length = sizeof from;
      const auto size = recvfrom(fd_, frame.data(), frame.size(), 0, reinterpret_cast<sockaddr*>(&from), &length);
      if (size < 34 || from.sll_pkttype == PACKET_OUTGOING) continue;
      frame.resize(static_cast<std::size_t>(size));
      if (frame[12] == 8 && frame[13] == 0 &&
          std::equal(frame.begin() + 30, frame.begin() + 34, destination.bytes().begin() + 12))
        return frame;
    }
    return {};
  }

 private:
  int fd_;
};

class Attached {
 public:
  Attached(std::uint32_t device, bpf_tc_attach_point point, int program) {
    hook_.sz = sizeof hook_;
    hook_.ifindex = static_cast<int>(device);
    hook_.attach_point = point;
    bpf_tc_hook create = hook_;
    create.attach_point = static_cast<bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS);
    if (const int error = bpf_tc_hook_create(&create); error != 0 && error != -EEXIST)
      throw std::runtime_error("cannot make the clsact qdisc");
    LIBBPF_OPTS(bpf_tc_opts, options);
    options.prog_fd = program;
    if (bpf_tc_attach(&hook_, &options) != 0) throw std::runtime_error("cannot attach");
  }
  ~Attached() {
    hook_.attach_point = static_cast<bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS);
    bpf_tc_hook_destroy(&hook_);
  }
  Attached(const Attached&) = delete;
  Attached& operator=(const Attached&) = delete;

 private:
  bpf_tc_hook hook_{};
};

ifreq device_request(const char* device, unsigned long command, int mtu = 0) {
  ifreq request{};
  std::strncpy(request.ifr_name, device, IFNAMSIZ - 1);
  request.ifr_mtu = mtu;
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const int error = ioctl(fd, command, &request);
  close(fd);
  if (error != 0) throw std::runtime_error(fmt::format("ioctl {:#x} of {} failed", command, device));
  return request;
}

void set_mtu(const char* device, int mtu) { device_request(device, SIOCSIFMTU, mtu); }

std::array<std::uint8_t, 6> mac_of(const char* device) {
  const auto answer = device_request(device, SIOCGIFHWADDR);
  std::array<std::uint8_t, 6> mac{};
  std::memcpy(mac.data(), answer.ifr_hwaddr.sa_data, mac.size());
  return mac;
}

TEST(Wire, LargeDatagramsAreFragmentedByTheStackAndTranslatedAtTheUplink) {
  auto& datapath = Datapath::shared();
  const auto& net = net_v4();
  datapath.clear();
  standard(net)(datapath);
  set_mtu("poda", 4000);
  set_mtu("poda-peer", 4000);
  const Attached from_pod(kPodA, BPF_TC_INGRESS, datapath.program("weft_from_pod"));
  const Attached to_device(kUplink, BPF_TC_EGRESS, datapath.program("weft_to_device"));
  const Wire inside("poda-peer");
  const Wire outside("uplink-peer");
  const auto packet = udp(net.a, 40000, net.world, 53).with_macs(mac_of("poda"), mac_of("poda-peer"));

  inside.put(packet.with_payload(100).bytes());
  const auto small = outside.next_to(net.world);
  const auto want = packet.with_payload(100).from(net.nat, 40000).with_hop_limit(63).bytes();
  ASSERT_EQ(want.size(), small.size());
  EXPECT_EQ(dump({want.begin() + 14, want.end()}), dump({small.begin() + 14, small.end()}));

  inside.put(packet.with_payload(2000).bytes());
  std::size_t payload = 0;
  for (int fragment = 0; fragment < 2; ++fragment) {
    const auto frame = outside.next_to(net.world);
    ASSERT_GE(frame.size(), 34u) << "fragment " << fragment;
    EXPECT_LE(frame.size(), 1514u);
    EXPECT_TRUE(std::equal(frame.begin() + 26, frame.begin() + 30, net.nat.bytes().begin() + 12))
        << "a pod's address left the node:\n"
        << dump(frame);
    payload += frame.size() - 34;
  }
  EXPECT_EQ(2008u, payload);
}

// A connection whose backend is gone: one packet of it becomes two resets, of which a test run shows one.
class Bereaved : public testing::Test {
 protected:
  void SetUp() override {
    datapath_.clear();
    standard(net_)(datapath_);
    serving_outside()(datapath_);
    backend(3, net_.b, 8080, kTcp)(datapath_);
    frontend(net_.service, 80, kTcp, {.backends = {3}})(datapath_);
  }
  // Enters the packet's flow, takes the backend away, sends the packet again: what its sender is told.
  Octets told(Hook hook, std::uint32_t device, const Packet& packet, const Wire& wire) {
    datapath_.run(hook, packet, {.ifindex = device});
    no_backend(3)(datapath_);
    datapath_.bump_epoch();
    datapath_.run(hook, packet, {.ifindex = device});
    datapath_.events();
    return wire.next_to(packet.source);
  }
  static void expect_same_packet(const Packet& want, const Octets& got) {
    const auto bytes = want.bytes();
    ASSERT_LE(bytes.size(), got.size());
    EXPECT_EQ(dump({bytes.begin(), bytes.end()}), dump({got.begin(), got.begin() + static_cast<long>(bytes.size())}));
  }

  Datapath& datapath_ = Datapath::shared();
  const Net& net_ = net_v4();
};

TEST_F(Bereaved, TheClientPodIsToldPastItsOwnHook) {
  const Attached to_pod(kPodA, BPF_TC_EGRESS, datapath_.program("weft_to_pod"));
  const Wire wire("poda-peer");
  const auto packet = tcp(net_.a, 40000, net_.service, 80);
  const auto drops = datapath_.drops();
  expect_same_packet(packet.refused().with_macs(packet.from_mac, packet.to_mac),
                     told(Hook::from_pod, kPodA, packet, wire));
  EXPECT_EQ(drops[WEFT_DROP_POLICY_DENIED], datapath_.drops()[WEFT_DROP_POLICY_DENIED]);
}

TEST_F(Bereaved, TheClientOutsideIsTold) {
  const Attached to_device(kUplink, BPF_TC_EGRESS, datapath_.program("weft_to_device"));
  const Wire wire("uplink-peer");
  const auto packet = tcp(net_.client, 50000, net_.service, 80);
  expect_same_packet(packet.refused().with_macs(packet.from_mac, packet.to_mac),
                     told(Hook::from_device, kUplink, packet, wire));
}

TEST_F(Bereaved, TheNodeIsToldPastThePodsHook) {
  hint(1, net_.b, 8080, kTcp, kService, 3)(datapath_);
  const Attached from_pod(kPodB, BPF_TC_INGRESS, datapath_.program("weft_from_pod"));
  const Wire wire("podb");
  const auto packet = tcp(net_.host, 40000, net_.b, 8080);
  expect_same_packet(packet.refused().with_macs(packet.from_mac, packet.to_mac),
                     told(Hook::to_pod, kPodB, packet, wire));
  // nothing but the end of the connection was counted as dropped
  const auto drops = datapath_.drops();
  std::uint64_t others = 0;
  for (int reason = 1; reason < WEFT_DROP_REASON_COUNT; ++reason)
    if (reason != WEFT_DROP_BACKEND_GONE) others += drops[static_cast<std::size_t>(reason)];
  EXPECT_EQ(0u, others);
}

}  // namespace
}  // namespace weft::test
