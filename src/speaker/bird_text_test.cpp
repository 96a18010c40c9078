#include "speaker/bird_text.h"

#include <gmock/gmock.h>

namespace weft::speaker {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

IpAddress ip(std::string_view text) { return IpAddress::parse(text).value(); }

BirdAnswer answer(std::string_view text) {
  BirdReader reader;
  const auto fed = reader.feed(text);
  EXPECT_TRUE(fed) << fed.error().message;
  auto whole = reader.take();
  EXPECT_TRUE(whole);
  return whole.value_or(BirdAnswer());
}

TEST(BirdReader, AnswersMayComeInPieces) {
  BirdReader reader;
  const std::string text =
      "0001 BIRD 2.0.12 ready.\n1000-BIRD 2.0.12\n1011-Router ID is 192.0.2.2\n Hostname is vm\n0013 Up\n";
  std::vector<BirdAnswer> whole;
  for (const char c : text) {
    ASSERT_TRUE(reader.feed(std::string_view(&c, 1)));
    while (auto one = reader.take()) whole.push_back(std::move(*one));
  }
  ASSERT_EQ(whole.size(), 2U);
  EXPECT_EQ(whole[0].code, 1);
  EXPECT_EQ(whole[0].text, "BIRD 2.0.12 ready.");
  EXPECT_THAT(whole[0].lines, IsEmpty());
  ASSERT_EQ(whole[1].lines.size(), 3U);
  EXPECT_EQ(whole[1].lines[2].code, 1011);
  EXPECT_EQ(whole[1].lines[2].text, "Hostname is vm");
  EXPECT_TRUE(whole[1].good());
}

TEST(BirdReader, RefusalsAreSo) {
  EXPECT_FALSE(answer("9001 syntax error\n").good());
  EXPECT_FALSE(answer("0002-Reading configuration from x\n8002 x: No such file or directory\n").good());
  EXPECT_TRUE(answer("0002-Reading configuration from x\n0003 Reconfigured\n").good());
}

TEST(BirdReader, WhatIsNoAnswerIsAnError) {
  for (const auto* bad : {"hello\n", "12\n", "12345 x\n", " continued\n", "\n", "12a4 x\n"})
    EXPECT_FALSE(BirdReader().feed(bad)) << bad;
  EXPECT_FALSE(BirdReader().feed(std::string(BirdReader::most + 1, '1')));
}

constexpr auto peers = R"(2002-Name       Proto      Table      State  Since         Info
1002-weft_device Device     ---        up     2026-11-29 14:02:13
1006-
1002-weft_static4 Static     master4    up     2026-11-29 14:02:13
1006-  Channel ipv4
     State:          UP
     Routes:         2 imported, 0 exported, 2 preferred

1002-peer_192_0_2_1 BGP        ---        up     2026-11-29 14:02:14  Established
1006-  Description:    BGPPeering tor
   BGP state:          Established
     Neighbor address: 192.0.2.1
     Neighbor AS:      65000
     Hold timer:       6.890/9
   Channel ipv4
     State:          UP
     Routes:         3 imported, 1 filtered, 2 exported, 2 preferred
     Route change stats:     received   rejected   filtered    ignored   accepted
       Import updates:              2          0          0          0          2
     BGP Next hop:   192.0.2.2
   Channel ipv6
     Routes:         0 imported, 4 exported, 0 preferred

1002-peer_2001_db8__1 BGP        ---        start  2026-11-29 14:02:13  Active        Received: Bad peer AS
1006-  BGP state:          Active
     Neighbor address: 2001:db8::1
     Last error:       Received: Bad peer AS
   Channel ipv6
     State:          DOWN
0000
)";

std::string with_space(std::string text) {
  text.replace(text.rfind("0000\n"), 5, "0000 \n");
  for (auto at = text.find("\n\n"); at != std::string::npos; at = text.find("\n\n")) text.replace(at, 2, "\n \n");
  return text;
}

TEST(BirdPeers, AsBirdSays) {
  const auto parsed = parse_bird_peers(answer(with_space(peers)));
  ASSERT_EQ(parsed.size(), 2U);
  EXPECT_EQ(parsed[0], (Peer{ip("192.0.2.1"),
                             "Established",
                             true,
                             "2026-11-29T14:02:14Z",
                             {{Family::v4, {3, 2}}, {Family::v6, {0, 4}}},
                             ""}));
  EXPECT_EQ(parsed[1], (Peer{ip("2001:db8::1"), "Active", false, "2026-11-29T14:02:13Z", {}, "Received: Bad peer AS"}));
}

constexpr auto routes = R"(1007-Table master4:
 0.0.0.0/0            unicast [peer_192_0_2_1 2026-11-29 14:02:14] * (100) [AS65000i]
 	via 192.0.2.1 on va
1008-	Type: BGP univ
1012-	BGP.origin: IGP
 	BGP.as_path: 65000 65009
 	BGP.next_hop: 192.0.2.1
 	BGP.local_pref: 100
1007-10.244.1.0/24        blackhole [weft_static4 2026-11-29 14:02:13] * (200)
1008-	Type: static univ
1012-	BGP.community: (65000,1) (65535,65281)
 	BGP.large_community: (65000, 1, 2)
0000 
)";

TEST(BirdRoutes, AsBirdSays) {
  const auto parsed = parse_bird_routes(answer(routes), ip("192.0.2.1"), false);
  ASSERT_EQ(parsed.size(), 2U);
  EXPECT_EQ(parsed[0].prefix.to_string(), "0.0.0.0/0");
  EXPECT_EQ(parsed[0].as_path, "65000 65009");
  EXPECT_THAT(parsed[0].next_hops, ElementsAre(ip("192.0.2.1")));
  EXPECT_EQ(parsed[1].prefix.to_string(), "10.244.1.0/24");
  EXPECT_THAT(parsed[1].communities, ElementsAre("65000:1", "65535:65281"));
  EXPECT_THAT(parsed[1].large_communities, ElementsAre("65000:1:2"));
  EXPECT_FALSE(parsed[1].advertised);
}

}  // namespace
}  // namespace weft::speaker
