#include "speaker/frr_text.h"

#include <gmock/gmock.h>

namespace weft::speaker {
namespace {

using testing::ElementsAre;

IpAddress ip(std::string_view text) { return IpAddress::parse(text).value(); }

TEST(FrrPeers, AsBgpdSays) {
  const auto peers = parse_frr_peers(R"({
    "192.0.2.1":{"remoteAs":65000,"bgpState":"Established","bgpTimerUpEstablishedEpoch":1795961061,
      "addressFamilyInfo":{"ipv4Unicast":{"acceptedPrefixCounter":1,"sentPrefixCounter":2}},
      "lastResetDueTo":"Waiting for peer OPEN"},
    "2001:db8::1":{"bgpState":"Active","lastResetDueTo":"BGP Notification received",
      "lastNotificationReason":"OPEN Message Error/Bad Peer AS"},
    "other":{"bgpState":"Idle"}, "192.0.2.3": 5})");
  ASSERT_TRUE(peers);
  ASSERT_EQ(peers->size(), 2U);
  EXPECT_EQ(peers->at(0),
            (Peer{ip("192.0.2.1"), "Established", true, "2026-11-29T14:04:21Z", {{Family::v4, {1, 2}}}, ""}));
  EXPECT_EQ(peers->at(1), (Peer{ip("2001:db8::1"), "Active", false, "", {}, "OPEN Message Error/Bad Peer AS"}));
}

TEST(FrrRoutes, AsBgpdSays) {
  const auto advertised = parse_frr_routes(
      R"({"advertisedRoutes":{"10.244.1.0/24":{"nextHop":"0.0.0.0","path":"","network":"10.244.1.0/24"}}})",
      ip("192.0.2.1"), true);
  ASSERT_TRUE(advertised);
  ASSERT_EQ(advertised->size(), 1U);
  EXPECT_TRUE(advertised->at(0).advertised);
  EXPECT_EQ(advertised->at(0).prefix.to_string(), "10.244.1.0/24");
  const auto received = parse_frr_routes(
      R"({"routes":{"10.9.0.0/16":[{"valid":true,"path":"65000 1","nexthops":[{"ip":"192.0.2.1"}]}], "x":[], "10.8.0.0/16":[]}})",
      ip("192.0.2.1"), false);
  ASSERT_TRUE(received);
  ASSERT_EQ(received->size(), 1U);
  EXPECT_EQ(received->at(0).as_path, "65000 1");
  EXPECT_THAT(received->at(0).next_hops, ElementsAre(ip("192.0.2.1")));
}

TEST(FrrText, WhatIsNoObjectIsAnError) {
  for (const auto* bad : {"", "[]", "5", "{", "% Unknown command"}) {
    EXPECT_FALSE(parse_frr_peers(bad)) << bad;
    EXPECT_FALSE(parse_frr_routes(bad, ip("192.0.2.1"), true)) << bad;
  }
  EXPECT_TRUE(parse_frr_peers("{}")->empty());
  EXPECT_TRUE(parse_frr_routes(R"({"routes": 5})", ip("192.0.2.1"), false)->empty());
}

}  // namespace
}  // namespace weft::speaker
