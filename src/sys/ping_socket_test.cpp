#include "sys/ping_socket.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <vector>

#include "sys/netlink.h"
#include "sys/netns.h"

namespace weft::sys {
namespace {

TEST(EchoReplies, AreReadWithDistrust) {
  const IpAddress from = IpAddress::v4(0x0a000001);
  std::vector<std::uint8_t> v4(28);
  v4[0] = 0x45;
  v4[24] = 0x12;
  v4[25] = 0x34;
  v4[27] = 7;
  const auto reply = parse_echo_reply(Family::v4, v4, from);
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->identifier, 0x1234);
  EXPECT_EQ(reply->sequence, 7);
  for (std::size_t size = 0; size < 28; ++size)
    EXPECT_FALSE(parse_echo_reply(Family::v4, std::span(v4).first(size), from)) << size;
  v4[0] = 0x4f;  // options that are not there
  EXPECT_FALSE(parse_echo_reply(Family::v4, v4, from));
  v4[0] = 0x45;
  v4[20] = 8;  // a request
  EXPECT_FALSE(parse_echo_reply(Family::v4, v4, from));
  std::vector<std::uint8_t> v6{129, 0, 0, 0, 0, 1, 0, 2};
  EXPECT_EQ(parse_echo_reply(Family::v6, v6, from)->sequence, 2);
  v6[0] = 128;
  EXPECT_FALSE(parse_echo_reply(Family::v6, v6, from));
}

TEST(PingSocket, HearsLoopbackAnswerAndIsToldWhatDoesNotFit) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  const auto name = "weft-ping-" + std::to_string(::getpid());
  ASSERT_TRUE(create_named_netns(name));
  {
    const auto netns = open_netns(named_netns_path(name));
    ASSERT_TRUE(netns);
    const auto scope = NetnsScope::enter(netns->get());
    ASSERT_TRUE(scope);
    const auto netlink = open_netlink().value();
    ASSERT_TRUE(netlink->set_up(1, true));
    ASSERT_TRUE(netlink->set_mtu(1, 1500));
    for (const auto* text : {"127.0.0.1", "::1"}) {
      const auto address = IpAddress::parse(text).value();
      const auto socket = PingSocket::open(address.family());
      ASSERT_TRUE(socket) << socket.error().message;
      for (const std::uint32_t size : {0U, 1500U}) {
        ASSERT_TRUE(socket->send(address, 77, static_cast<std::uint16_t>(size), size));
        pollfd wait{socket->fd(), POLLIN, 0};
        ASSERT_EQ(::poll(&wait, 1, 5000), 1) << text;
        const auto reply = socket->receive();
        ASSERT_TRUE(reply) << text << " " << size;
        EXPECT_EQ(reply->from, address);
        EXPECT_EQ(reply->identifier, 77);
        EXPECT_EQ(reply->sequence, size);
      }
      EXPECT_FALSE(socket->receive());
      const auto large = socket->send(address, 77, 1, 1501);
      ASSERT_FALSE(large);
      EXPECT_EQ(large.error().code, ErrorCode::invalid);
    }
  }
  EXPECT_TRUE(delete_named_netns(name));
}

}  // namespace
}  // namespace weft::sys
