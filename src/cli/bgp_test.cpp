// weft bgp, against canned answers.
#include <gmock/gmock.h>

#include "cli/fake_agent.h"

namespace weft::cli {
namespace {

using ::testing::ElementsAre;
using testing::FakeAgent;
using ::testing::HasSubstr;
using testing::json;

class BgpCommandTest : public FakeAgent {};

constexpr auto well = R"({"speaker":"BIRD","running":true,"answers":true,"configured":true,"local_as":65001,
  "processes":[{"name":"BIRD","pid":77,"restarts":1}],"router_id":"192.0.2.2","peers":2,"established":1,
  "advertised":3,"imports":false,"problems":[]})";

TEST_F(BgpCommandTest, StatusForPeopleAndItsExitCode) {
  answers("bgp.status", well);
  const auto ran = weft({"bgp", "status"});
  EXPECT_EQ(ran.code, 0);
  EXPECT_EQ(ran.out,
            "Speaker     BIRD: runs\n"
            "            BIRD: pid 77, started again 1 times\n"
            "AS          65001, router ID 192.0.2.2\n"
            "Sessions    1 of 2 established\n"
            "Advertised  3 prefixes\n"
            "Imports     none\n");
  auto ill = json::parse(well);
  ill["problems"] = {"BGP: no session with the router 192.0.2.1"};
  ill["running"] = false;
  ill["configured"] = false;
  answers("bgp.status", ill.dump());
  EXPECT_EQ(weft({"bgp", "status"}).code, 1);
  EXPECT_THAT(weft({"bgp", "status"}).out, HasSubstr("BIRD: DOES NOT RUN, NOT AS CONFIGURED\n"));
  EXPECT_THAT(weft({"bgp", "status"}).out, HasSubstr("! BGP: no session with the router 192.0.2.1\n"));
  EXPECT_EQ(json::parse(weft({"bgp", "status", "-o", "json"}).out), ill);
  EXPECT_EQ(weft({"bgp", "status", "-o", "json"}).code, 1);
}

TEST_F(BgpCommandTest, WithoutAPeeringThatIsSaid) {
  answers("bgp.status", R"({"speaker":"","peers":0,"problems":[]})");
  const auto ran = weft({"bgp", "status"});
  EXPECT_EQ(ran.code, 0);
  EXPECT_THAT(ran.out, HasSubstr("no BGPPeering is for this node"));
}

TEST_F(BgpCommandTest, Peers) {
  answers("bgp.peers", R"({"items":[{"address":"192.0.2.1","as":65000,"peering":"tor","state":"Established",
    "established":true,"since":"2026-01-01T00:00:00Z","last_error":"","families":{"IPv4":{"received":1,"advertised":3},
    "IPv6":{"received":0,"advertised":2}}},
    {"address":"2001:db8::1","as":1,"peering":"b","state":"Active","established":false,"since":"","last_error":"Bad peer AS",
     "families":{}}]})");
  EXPECT_EQ(
      weft({"bgp", "peers"}).out,
      "ROUTER       AS     BGPPEERING  STATE        SINCE                 RECEIVED        ADVERTISED      LAST ERROR\n"
      "192.0.2.1    65000  tor         Established  2026-01-01T00:00:00Z  IPv4 1, IPv6 0  IPv4 3, IPv6 2  -\n"
      "2001:db8::1  1      b           Active       -                     -               -               Bad peer "
      "AS\n");
  EXPECT_EQ(weft({"bgp", "peers", "-o", "name"}).out, "192.0.2.1\n2001:db8::1\n");
}

TEST_F(BgpCommandTest, RoutesOfAllRoutersOrOfOne) {
  answers("bgp.routes", R"({"items":[{"prefix":"10.244.1.0/24","direction":"advertised","peer":"192.0.2.1",
    "next_hops":["192.0.2.2"],"as_path":"","communities":["65000:1"],"large_communities":[]}]})");
  EXPECT_EQ(weft({"bgp", "routes"}).out,
            "PREFIX         DIRECTION   ROUTER     NEXT HOPS  AS PATH  COMMUNITIES\n"
            "10.244.1.0/24  advertised  192.0.2.1  192.0.2.2  -        65000:1\n");
  EXPECT_EQ(params("bgp.routes"), json::object());
  EXPECT_EQ(weft({"bgp", "routes", "192.0.2.1", "-o", "name"}).out, "10.244.1.0/24\n");
  EXPECT_EQ(params("bgp.routes"), (json{{"peer", "192.0.2.1"}}));
  refuses("bgp.routes", ErrorCode::invalid, "\"x\" is no address");
  EXPECT_EQ(weft({"bgp", "routes", "x"}).code, 2);
}

TEST_F(BgpCommandTest, CompletionKnowsTheRouters) {
  answers("bgp.peers", R"({"items":[{"address":"192.0.2.1"},{"address":"2001:db8::1"}]})");
  const auto ran = run_bare({"__complete", "--", "--socket", socket(), "bgp", "routes", "2"});
  EXPECT_EQ(ran.out, "2001:db8::1\n");
}

TEST_F(BgpCommandTest, PeeringsAsObjects) {
  answers("get", R"({"items":[{"kind":"BGPPeering","metadata":{"name":"tor"},"spec":{"localAS":65001,
    "peers":[{"address":"192.0.2.1"},{"address":"192.0.2.9"}],"nodeSelector":{"matchLabels":{"rack":"r1"}}}}]})");
  EXPECT_EQ(weft({"get", "bgpp"}).out,
            "NAME  AS     ROUTERS              NODES\n"
            "tor   65001  192.0.2.1,192.0.2.9  rack=r1\n");
}

}  // namespace
}  // namespace weft::cli
