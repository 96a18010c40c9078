#include "sys/packet_socket.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <optional>

#include "sys/netlink.h"
#include "sys/netns.h"

namespace weft::sys {
namespace {

// A namespace of its own, left and deleted at the end.
class PacketSocketTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    name_ = "weft-packet-" + std::to_string(::getpid());
    ASSERT_TRUE(create_named_netns(name_));
    auto netns = open_netns(named_netns_path(name_));
    ASSERT_TRUE(netns);
    auto scope = NetnsScope::enter(netns->get());
    ASSERT_TRUE(scope);
    scope_.emplace(std::move(*scope));
  }
  void TearDown() override {
    scope_.reset();
    if (name_.empty()) return;
    EXPECT_TRUE(delete_named_netns(name_));
  }
  std::string name_;
  std::optional<NetnsScope> scope_;
};

TEST_F(PacketSocketTest, AFrameLeavesAsItWasMade) {
  auto netlink = open_netlink();
  ASSERT_TRUE(netlink);
  const auto here = current_netns();
  ASSERT_TRUE(here);
  VethRequest request;
  request.host_name = "wp0";
  request.peer_name = "wp1";
  request.host_mac = MacAddress{{2, 0, 0, 0, 0, 1}};
  request.peer_mac = MacAddress{{2, 0, 0, 0, 0, 2}};
  request.mtu = 1500;
  request.peer_netns = here->get();
  const auto device = (*netlink)->create_veth(request);
  ASSERT_TRUE(device) << device.error().message;
  const auto peer = (*netlink)->device("wp1");
  ASSERT_TRUE(peer);
  auto socket = PacketSocket::open();
  ASSERT_TRUE(socket) << socket.error().message;
  std::array<std::uint8_t, 42> frame{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 0x08, 0x06, 7};
  const auto down = socket->send(static_cast<std::uint32_t>(device->index), frame);
  ASSERT_FALSE(down);
  EXPECT_EQ(down.error().code, ErrorCode::unavailable) << down.error().message;
  ASSERT_TRUE((*netlink)->set_up(device->index, true));
  ASSERT_TRUE((*netlink)->set_up(peer->index, true));

  const Fd listener(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL)));
  ASSERT_TRUE(listener.valid());
  sockaddr_ll at{};
  at.sll_family = AF_PACKET;
  at.sll_protocol = htons(ETH_P_ALL);
  at.sll_ifindex = peer->index;
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at), 0);
  ASSERT_TRUE(socket->send(static_cast<std::uint32_t>(device->index), frame));
  // The kernel sends router solicitations of its own.
  std::array<std::uint8_t, 256> got{};
  bool seen = false;
  pollfd waiting{listener.get(), POLLIN, 0};
  while (!seen && ::poll(&waiting, 1, 5000) == 1) {
    const auto size = ::recv(listener.get(), got.data(), got.size(), 0);
    seen = size == static_cast<ssize_t>(frame.size()) && std::equal(frame.begin(), frame.end(), got.begin());
  }
  EXPECT_TRUE(seen);
}

TEST_F(PacketSocketTest, WhatCannotBeSentIsSaid) {
  auto socket = PacketSocket::open();
  ASSERT_TRUE(socket);
  const std::array<std::uint8_t, 8> runt{};
  EXPECT_EQ(socket->send(1, runt).error().code, ErrorCode::invalid);
  const std::array<std::uint8_t, 42> frame{};
  const auto nowhere = socket->send(9999, frame);
  ASSERT_FALSE(nowhere);
  EXPECT_THAT(nowhere.error().message, ::testing::HasSubstr("device 9999"));
}

}  // namespace
}  // namespace weft::sys
