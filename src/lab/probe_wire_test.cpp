// The prober's sockets in a namespace of the test's own, whose dummy device swallows packets.
#include <gmock/gmock.h>

#include "lab/probe.h"
#include "lab/responder_fixture.h"

namespace weft::lab {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

class ProbeWireTest : public RespondersFixture {
 protected:
  ProbeWireTest() : RespondersFixture("wire") {}

  void prepare(sys::Netlink& netlink) override {
    const auto hole = netlink.create_dummy("hole", *MacAddress::parse("02:00:00:00:00:01"));
    ASSERT_TRUE(hole);
    ASSERT_TRUE(netlink.set_up(hole->index, true));
    ASSERT_TRUE(netlink.add_address({hole->index, *IpAddress::parse("198.51.100.1"), 24}));
    ASSERT_TRUE(netlink.add_address({hole->index, *IpAddress::parse("2001:db8::1"), 64}));
  }
  void SetUp() override {
    RespondersFixture::SetUp();
    if (thread_.joinable()) open({{80, Protocol::tcp, true}, {5432, Protocol::tcp, false}, {53, Protocol::udp, false}});
  }
  [[nodiscard]] Probe probe(const char* address, std::uint16_t port, Protocol protocol, bool greets = true) const {
    Probe one;
    one.from_netns = name_;
    one.address = *IpAddress::parse(address);
    one.port = port;
    one.protocol = protocol;
    one.greets = greets;
    return one;
  }
  [[nodiscard]] WireOutcome attempt(const Probe& one, std::chrono::milliseconds timeout = 20s) const {
    return try_probes({one}, timeout).front();
  }
};

TEST_F(ProbeWireTest, AnswersAreReadAndNamed) {
  for (const auto* address : {"127.0.0.1", "::1"})
    for (const auto& [port, protocol] :
         {std::pair<std::uint16_t, Protocol>{80, Protocol::tcp}, {5432, Protocol::tcp}, {53, Protocol::udp}}) {
      const auto outcome = attempt(probe(address, port, protocol));
      EXPECT_EQ(outcome.reachable, true) << address << " " << port;
      EXPECT_EQ(outcome.answered_by, "web-0") << address << " " << port;
      EXPECT_EQ(outcome.error, "");
      EXPECT_TRUE(outcome.latency_us.has_value());
    }
}

TEST_F(ProbeWireTest, AStrangerIsNotAskedForAName) {
  const auto outcome = attempt(probe("127.0.0.1", 5432, Protocol::tcp, false));
  EXPECT_EQ(outcome.reachable, true);
  EXPECT_EQ(outcome.answered_by, "");
}

TEST_F(ProbeWireTest, PingsBothFamilies) {
  EXPECT_EQ(attempt(probe("127.0.0.1", 0, Protocol::icmp)).reachable, true);
  EXPECT_EQ(attempt(probe("::1", 0, Protocol::icmpv6)).reachable, true);
  EXPECT_EQ(attempt(probe("198.51.100.9", 0, Protocol::icmp), 60ms).reachable, false);
}

TEST_F(ProbeWireTest, RefusalsAreNotTimeouts) {
  for (const auto protocol : {Protocol::tcp, Protocol::udp})
    for (const auto* address : {"127.0.0.1", "::1"}) {
      const auto outcome = attempt(probe(address, 9, protocol));
      EXPECT_EQ(outcome.reachable, false);
      EXPECT_TRUE(outcome.refused) << address << " " << to_string(protocol);
    }
}

TEST_F(ProbeWireTest, SilenceEndsAtTheTimeoutForAllAtOnce) {
  std::vector<Probe> probes;
  for (int i = 0; i < 300; ++i) {
    probes.push_back(
        probe(i % 2 == 0 ? "198.51.100.9" : "2001:db8::9", 80, i % 3 == 0 ? Protocol::udp : Protocol::tcp));
    probes.push_back(probe("127.0.0.1", 5432, Protocol::tcp));
  }
  const auto outcomes = try_probes(probes, 2s);
  for (std::size_t i = 0; i < outcomes.size(); ++i) {
    EXPECT_EQ(outcomes[i].reachable, i % 2 == 1) << i;
    EXPECT_EQ(outcomes[i].answered_by, i % 2 == 1 ? "web-0" : "") << i;
    EXPECT_FALSE(outcomes[i].refused);
  }
  EXPECT_THAT(outcomes[0].error, HasSubstr("no answer within 2000 ms"));
}

TEST_F(ProbeWireTest, WhatCannotBeTriedIsNeitherReachableNorNot) {
  Probe nowhere = probe("127.0.0.1", 80, Protocol::tcp);
  nowhere.address.reset();
  EXPECT_EQ(attempt(nowhere).reachable, std::nullopt);
  Probe homeless = probe("127.0.0.1", 80, Protocol::tcp);
  homeless.from_netns = "weft-test-no-such-namespace";
  const auto outcome = attempt(homeless);
  EXPECT_EQ(outcome.reachable, std::nullopt);
  EXPECT_THAT(outcome.error, HasSubstr("weft-test-no-such-namespace"));
  // A protocol no kernel has stands for SCTP where it is missing.
  EXPECT_EQ(attempt(probe("127.0.0.1", 80, static_cast<Protocol>(254), false)).reachable, std::nullopt);
}

TEST_F(ProbeWireTest, NoRouteIsStopped) {
  const auto outcome = attempt(probe("203.0.113.1", 80, Protocol::tcp));
  EXPECT_EQ(outcome.reachable, false);
  EXPECT_THAT(outcome.error, HasSubstr("unreachable"));
}

}  // namespace
}  // namespace weft::lab
