#include "control/bgp/bgp.h"

#include <gmock/gmock.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "control/bgp/configuration.h"
#include "model/parse.h"

namespace weft::control {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::Pair;
using testing::UnorderedElementsAre;

IpAddress ip(std::string_view text) { return IpAddress::parse(text).value(); }
Cidr cidr(std::string_view text) { return Cidr::parse(text).value(); }

model::BgpPeering peering(const std::string& name, std::string_view spec) {
  const auto outcome =
      model::parse_manifests("t.yaml", "{apiVersion: weft.io/v1alpha1, kind: BGPPeering, metadata: {name: " + name +
                                           "}, spec: " + std::string(spec) + "}");
  for (const auto& problem : outcome.problems) ADD_FAILURE() << problem.to_string();
  return std::get<model::BgpPeering>(outcome.documents.at(0).object);
}

class BgpTest : public testing::Test {
 protected:
  BgpTest() {
    input_.node_labels = {{"rack", "r1"}};
    input_.addresses = {ip("192.0.2.2"), ip("2001:db8::2")};
    input_.blocks = {cidr("10.244.1.0/24"), cidr("fd00:1::/64")};
    input_.services = {{{{"tier", "front"}}, {ip("198.51.100.1"), ip("2001:db8:9::1")}, {}},
                       {{}, {ip("198.51.100.2")}, {ip("203.0.113.7")}}};
  }
  BgpOutcome plan(const std::vector<model::BgpPeering>& peerings) {
    input_.peerings.clear();
    for (const auto& one : peerings) input_.peerings.push_back(&one);
    return plan_bgp(input_);
  }
  BgpInput input_;
};

std::vector<std::string> texts(const BgpRoutes& routes) {
  std::vector<std::string> all;
  for (const auto& [route, attributes] : routes) all.push_back(route.to_string());
  return all;
}

TEST_F(BgpTest, NothingIsAdvertisedUnasked) {
  const auto [plan, problems] =
      this->plan({peering("tor", "{localAS: 65001, peers: [{address: 192.0.2.1, peerAS: 65000}]}")});
  EXPECT_THAT(problems, IsEmpty());
  EXPECT_EQ(plan.local_as, 65001U);
  EXPECT_EQ(plan.router_id, ip("192.0.2.2"));
  EXPECT_THAT(plan.advertised(), IsEmpty());
  EXPECT_FALSE(plan.imports());
  EXPECT_EQ(plan.peer(ip("192.0.2.1"))->as, 65000U);
  EXPECT_EQ(plan.peer(ip("192.0.2.9")), nullptr);
}

TEST_F(BgpTest, OfServicesThoseThatAreSelected) {
  const auto outcome =
      plan({peering("tor",
                    "{localAS: 65001, peers: [{address: 192.0.2.1, peerAS: 65000}], advertise: "
                    "[{services: [LoadBalancerIP], serviceSelector: {matchLabels: {tier: front}}}]}")});
  EXPECT_THAT(outcome.plan.advertised(), ElementsAre(cidr("198.51.100.1/32"), cidr("2001:db8:9::1/128")));
}

TEST_F(BgpTest, AdvertisementsOfOnePrefixAddUp) {
  const auto outcome =
      plan({peering("tor",
                    "{localAS: 65001, peers: [{address: 192.0.2.1, peerAS: 65000}], advertise: [{podCIDRs: true, "
                    "communities: ['65000:1'], localPreference: 50}, {podCIDRs: true, services: [ExternalIP], "
                    "communities: ['65000:2', no-export], largeCommunities: ['65000:1:2'], localPreference: 200}]}")});
  const auto& routes = outcome.plan.groups.at("tor").advertised;
  EXPECT_THAT(texts(routes), UnorderedElementsAre("10.244.1.0/24", "203.0.113.7/32", "fd00:1::/64"));
  EXPECT_EQ(routes.at(cidr("10.244.1.0/24")),
            (BgpAttributes{{{65000, 1}, {65000, 2}, {65535, 65281}}, {{65000, 1, 2}}, 200}));
  EXPECT_EQ(routes.at(cidr("203.0.113.7/32")).communities.size(), 2U);
}

TEST_F(BgpTest, NodesAreSelectedByTheirLabels) {
  constexpr auto rest = "localAS: 65001, peers: [{address: 192.0.2.1, peerAS: 65000}]}";
  EXPECT_TRUE(plan({peering("a", std::string("{nodeSelector: {matchLabels: {rack: r2}}, ") + rest)}).plan.empty());
  EXPECT_FALSE(plan({peering("a", std::string("{nodeSelector: {matchLabels: {rack: r1}}, ") + rest)}).plan.empty());
}

TEST_F(BgpTest, TheFirstOfThoseThatContradictEachOtherIsFollowed) {
  const auto outcome = plan(
      {peering("a", "{localAS: 65001, routerID: 9.9.9.9, peers: [{address: 192.0.2.1, peerAS: 65000}]}"),
       peering("b", "{localAS: 65002, peers: [{address: 192.0.2.3, peerAS: 65000}]}"),
       peering("c", "{localAS: 65001, peers: [{address: 192.0.2.1, peerAS: 65000}, {address: 192.0.2.4, peerAS: 1}]}"),
       peering("d", "{localAS: 65001, routerID: 8.8.8.8, peers: [{address: 192.0.2.5, peerAS: 65000}]}")});
  EXPECT_EQ(outcome.plan.router_id, ip("9.9.9.9"));
  EXPECT_EQ(outcome.plan.groups.size(), 2U);
  EXPECT_EQ(outcome.plan.peer(ip("192.0.2.4"))->as, 1U);
  EXPECT_EQ(outcome.plan.peer(ip("192.0.2.5")), nullptr);
  EXPECT_THAT(outcome.problems,
              ElementsAre(Pair("b", HasSubstr("localAS 65002 is not that of BGPPeering a, 65001")),
                          Pair("c", HasSubstr("the router 192.0.2.1 is one of BGPPeering a already")),
                          Pair("d", HasSubstr("routerID 8.8.8.8 is not that of BGPPeering a, 9.9.9.9"))));
}

TEST_F(BgpTest, ANodeWithoutIPv4NeedsARouterId) {
  input_.addresses = {ip("2001:db8::2")};
  const auto refused = plan({peering("a", "{localAS: 65001, peers: [{address: '2001:db8::1', peerAS: 65000}]}")});
  EXPECT_TRUE(refused.plan.empty());
  EXPECT_THAT(refused.problems.at("a"), HasSubstr("give it a routerID"));
  EXPECT_FALSE(
      plan({peering("a", "{localAS: 65001, routerID: 1.1.1.1, peers: [{address: '2001:db8::1', peerAS: 65000}]}")})
          .plan.empty());
}

// --- Configurations

constexpr auto full = R"({
  localAS: 65001,
  peers: [{address: 192.0.2.1, peerAS: 65000, holdTime: 9, passwordFile: /etc/weft/tor, families: [IPv4, IPv6]},
          {address: "2001:db8::1", peerAS: 65001, port: 1179, multihop: 3, gracefulRestart: false}],
  advertise: [{podCIDRs: true, communities: ["65000:1"], largeCommunities: ["65000:1:2"], localPreference: 200},
              {services: [LoadBalancerIP]}],
  import: {cidrs: [10.244.0.0/16, 192.0.2.77/32, "fd00::/16"]}})";

TEST_F(BgpTest, Bird) {
  const auto outcome = plan({peering("tor", full)});
  EXPECT_EQ(bird_configuration(outcome.plan, {{"/etc/weft/tor", "s3cret"}}),
            R"(# Written by weftd for this node's BGPPeerings, and overwritten by it.
log stderr { info, warning, error, auth, fatal, bug };
router id 192.0.2.2;
graceful restart wait 30;
timeformat protocol iso long;
timeformat route iso long;
protocol device weft_device { scan time 10; }
protocol static weft_static4 {
  ipv4;
  route 10.244.1.0/24 blackhole;
  route 198.51.100.1/32 blackhole;
  route 198.51.100.2/32 blackhole;
}
protocol kernel weft_kernel4 {
  ipv4 { import none; export where source = RTS_BGP; };
  merge paths yes;
  graceful restart yes;
}
protocol static weft_static6 {
  ipv6;
  route 2001:db8:9::1/128 blackhole;
  route fd00:1::/64 blackhole;
}
protocol kernel weft_kernel6 {
  ipv6 { import none; export where source = RTS_BGP; };
  merge paths yes;
  graceful restart yes;
}
filter weft_export4_1 {
  if source != RTS_STATIC then reject;
  if net ~ [ 198.51.100.1/32, 198.51.100.2/32 ] then {
    accept;
  }
  if net ~ [ 10.244.1.0/24 ] then {
    bgp_community.add((65000,1));
    bgp_large_community.add((65000,1,2));
    bgp_local_pref = 200;
    accept;
  }
  reject;
}
filter weft_import4_1 {
  if net ~ [ 10.244.1.0/24+, 198.51.100.1/32+, 198.51.100.2/32+ ] then reject;
  if net ~ [ 10.244.0.0/16+, 192.0.2.77/32+ ] then accept;
  reject;
}
filter weft_export6_1 {
  if source != RTS_STATIC then reject;
  if net ~ [ 2001:db8:9::1/128 ] then {
    accept;
  }
  if net ~ [ fd00:1::/64 ] then {
    bgp_community.add((65000,1));
    bgp_large_community.add((65000,1,2));
    bgp_local_pref = 200;
    accept;
  }
  reject;
}
filter weft_import6_1 {
  if net ~ [ 2001:db8:9::1/128+, fd00:1::/64+ ] then reject;
  if net ~ [ fd00::/16+ ] then accept;
  reject;
}
protocol bgp peer_192_0_2_1 {
  description "BGPPeering tor";
  local as 65001;
  neighbor 192.0.2.1 port 179 as 65000;
  direct;
  hold time 9;
  keepalive time 3;
  connect delay time 1;
  connect retry time 5;
  error wait time 2, 10;
  graceful restart on;
  graceful restart time 30;
  allow local as 1;
  password "s3cret";
  ipv4 {
    import filter weft_import4_1;
    export filter weft_export4_1;
  };
  ipv6 {
    import filter weft_import6_1;
    export filter weft_export6_1;
  };
}
protocol bgp peer_2001_db8__1 {
  description "BGPPeering tor";
  local as 65001;
  neighbor 2001:db8::1 port 1179 as 65001;
  multihop 3;
  hold time 90;
  keepalive time 30;
  connect delay time 1;
  connect retry time 5;
  error wait time 2, 10;
  graceful restart aware;
  ipv6 {
    import filter weft_import6_1;
    export filter weft_export6_1;
  };
}
)");
}

TEST_F(BgpTest, Frr) {
  const auto outcome = plan({peering("tor", full)});
  EXPECT_EQ(frr_configuration(outcome.plan, {{"/etc/weft/tor", "s3cret"}}),
            R"(frr defaults traditional
log stdout warnings
bgp route-map delay-timer 1
ip prefix-list weft-export4-1-1 permit 198.51.100.1/32
ip prefix-list weft-export4-1-1 permit 198.51.100.2/32
route-map weft-export4-1 permit 10
 match ip address prefix-list weft-export4-1-1
exit
ip prefix-list weft-export4-1-2 permit 10.244.1.0/24
route-map weft-export4-1 permit 20
 match ip address prefix-list weft-export4-1-2
 set community 65000:1 additive
 set large-community 65000:1:2 additive
 set local-preference 200
exit
route-map weft-export4-1 deny 65535
exit
ip prefix-list weft-import4-1-own permit 10.244.1.0/24 le 32
ip prefix-list weft-import4-1-own permit 198.51.100.1/32
ip prefix-list weft-import4-1-own permit 198.51.100.2/32
ip prefix-list weft-import4-1 permit 10.244.0.0/16 le 32
ip prefix-list weft-import4-1 permit 192.0.2.77/32
route-map weft-import4-1 deny 10
 match ip address prefix-list weft-import4-1-own
exit
route-map weft-import4-1 permit 20
 match ip address prefix-list weft-import4-1
exit
route-map weft-import4-1 deny 65535
exit
ipv6 prefix-list weft-export6-1-1 permit 2001:db8:9::1/128
route-map weft-export6-1 permit 10
 match ipv6 address prefix-list weft-export6-1-1
exit
ipv6 prefix-list weft-export6-1-2 permit fd00:1::/64
route-map weft-export6-1 permit 20
 match ipv6 address prefix-list weft-export6-1-2
 set community 65000:1 additive
 set large-community 65000:1:2 additive
 set local-preference 200
exit
route-map weft-export6-1 deny 65535
exit
ipv6 prefix-list weft-import6-1-own permit 2001:db8:9::1/128
ipv6 prefix-list weft-import6-1-own permit fd00:1::/64 le 128
ipv6 prefix-list weft-import6-1 permit fd00::/16 le 128
route-map weft-import6-1 deny 10
 match ipv6 address prefix-list weft-import6-1-own
exit
route-map weft-import6-1 permit 20
 match ipv6 address prefix-list weft-import6-1
exit
route-map weft-import6-1 deny 65535
exit
router bgp 65001
 bgp router-id 192.0.2.2
 no bgp default ipv4-unicast
 no bgp network import-check
 bgp graceful-restart
 bgp graceful-restart restart-time 30
 bgp graceful-restart preserve-fw-state
 neighbor 192.0.2.1 remote-as 65000
 neighbor 192.0.2.1 description BGPPeering tor
 neighbor 192.0.2.1 password s3cret
 neighbor 192.0.2.1 timers 3 9
 neighbor 192.0.2.1 timers connect 5
 neighbor 2001:db8::1 remote-as 65001
 neighbor 2001:db8::1 description BGPPeering tor
 neighbor 2001:db8::1 port 1179
 neighbor 2001:db8::1 timers 30 90
 neighbor 2001:db8::1 timers connect 5
 neighbor 2001:db8::1 graceful-restart-helper
 address-family ipv4 unicast
  network 10.244.1.0/24
  network 198.51.100.1/32
  network 198.51.100.2/32
  neighbor 192.0.2.1 activate
  neighbor 192.0.2.1 allowas-in 1
  neighbor 192.0.2.1 route-map weft-import4-1 in
  neighbor 192.0.2.1 route-map weft-export4-1 out
 exit-address-family
 address-family ipv6 unicast
  network 2001:db8:9::1/128
  network fd00:1::/64
  neighbor 192.0.2.1 activate
  neighbor 192.0.2.1 allowas-in 1
  neighbor 192.0.2.1 route-map weft-import6-1 in
  neighbor 192.0.2.1 route-map weft-export6-1 out
  neighbor 2001:db8::1 activate
  neighbor 2001:db8::1 route-map weft-import6-1 in
  neighbor 2001:db8::1 route-map weft-export6-1 out
 exit-address-family
exit
)");
}

TEST_F(BgpTest, RoutesOfAnotherFamilyThroughRoutersLeadToTheNode) {
  const auto text = [&](const std::string& hops) {
    return bird_configuration(plan({peering("tor", "{localAS: 1, peers: [{address: 192.0.2.1, peerAS: 2, multihop: " +
                                                       hops + ", families: [IPv4, IPv6]}]}")})
                                  .plan,
                              {});
  };
  EXPECT_THAT(text("2"), HasSubstr("next hop address 2001:db8::2;"));
  EXPECT_THAT(text("0"), Not(HasSubstr("next hop address")));
}

TEST_F(BgpTest, AMissingPasswordIsLeftOut) {
  const auto outcome = plan({peering("tor", full)});
  EXPECT_THAT(bird_configuration(outcome.plan, {}), Not(HasSubstr("password")));
  EXPECT_THAT(frr_configuration(outcome.plan, {}), Not(HasSubstr("password")));
}

TEST(BgpPassword, OnlyWhatEverySpeakerTakes) {
  EXPECT_TRUE(check_password("s3cret!#;{}'$"));
  for (const auto* bad : {"", "a b", "a\"b", "a\\b", "a|b", "a?", "a\n", "!a", "#a", "\xc3\xa4"})
    EXPECT_FALSE(check_password(bad)) << bad;
  EXPECT_TRUE(check_password(std::string(80, 'a')));
  EXPECT_FALSE(check_password(std::string(81, 'a')));
}

// The real programs read what was written for them.
class RealSpeakers : public BgpTest {
 protected:
  void SetUp() override {
    char name[] = "/tmp/weft-bgp-test.XXXXXX";
    directory_ = ::mkdtemp(name);
    // FRR gives up root before it reads.
    std::filesystem::permissions(directory_, std::filesystem::perms(0755));
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }
  // Its exit code, and what it said.
  int run(const std::string& command) {
    const auto status = std::system((command + " >" + directory_ + "/said 2>&1").c_str());
    std::ifstream in(directory_ + "/said");
    said_.assign(std::istreambuf_iterator<char>(in), {});
    return status;
  }
  std::string write(const std::string& text) {
    std::ofstream(directory_ + "/conf") << text;
    return directory_ + "/conf";
  }
  std::string directory_;
  std::string said_;
};

TEST_F(RealSpeakers, BirdReadsIt) {
  if (!std::filesystem::exists("/usr/sbin/bird")) GTEST_SKIP() << "BIRD is not installed";
  const auto outcome =
      plan({peering("tor", full), peering("x", "{localAS: 65001, peers: [{address: 192.0.2.9, peerAS: 1}]}")});
  const auto file = write(bird_configuration(outcome.plan, {{"/etc/weft/tor", "s3cret!#;{}'$"}}));
  EXPECT_EQ(run("/usr/sbin/bird -p -c " + file), 0) << said_;
  EXPECT_NE(run("/usr/sbin/bird -p -c " + write("router id banana;")), 0);
}

TEST_F(RealSpeakers, FrrReadsIt) {
  if (!std::filesystem::exists("/usr/lib/frr/bgpd")) GTEST_SKIP() << "FRR is not installed";
  const auto outcome =
      plan({peering("tor", full), peering("x", "{localAS: 65001, peers: [{address: 192.0.2.9, peerAS: 1}]}")});
  const auto check = "/usr/lib/frr/bgpd -C -f ";
  EXPECT_EQ(run(check + write(frr_configuration(outcome.plan, {{"/etc/weft/tor", "s3cret!#;{}'$"}}))), 0) << said_;
  // It ends well whatever it has read.
  EXPECT_THAT(said_, Not(HasSubstr("No such command"))) << said_;
  run(check + write("router bgp banana\n"));
  EXPECT_THAT(said_, HasSubstr("No such command on config line 1"));
}

// --- FRR from one text to the next

TEST(FrrChanges, NothingForTheSame) {
  EXPECT_THAT(*frr_changes("router bgp 1\n a b\nexit\n", "router bgp 1\n a b\nexit\n"), IsEmpty());
}

TEST(FrrChanges, LinesComeAndGoWhereTheyStand) {
  constexpr auto before =
      "ip prefix-list p permit 10.0.0.0/8\nrouter bgp 1\n neighbor 1.1.1.1 remote-as 2\n neighbor 1.1.1.1 description "
      "x y\n"
      " address-family ipv4 unicast\n  network 10.0.0.0/8\n exit-address-family\nexit\n";
  constexpr auto now =
      "ip prefix-list p permit 11.0.0.0/8\nrouter bgp 1\n neighbor 1.1.1.1 remote-as 2\n"
      " address-family ipv4 unicast\n  network 11.0.0.0/8\n exit-address-family\nexit\n";
  EXPECT_THAT(*frr_changes(before, now),
              ElementsAre("configure terminal", "no ip prefix-list p permit 10.0.0.0/8", "router bgp 1",
                          "no neighbor 1.1.1.1 description", "exit", "router bgp 1", "address-family ipv4 unicast",
                          "no network 10.0.0.0/8", "exit", "exit", "ip prefix-list p permit 11.0.0.0/8", "router bgp 1",
                          "address-family ipv4 unicast", "network 11.0.0.0/8", "exit", "exit", "end"));
}

TEST(FrrChanges, ANeighbourOfAnotherAsIsMadeAnew) {
  constexpr auto text =
      "router bgp 1\n neighbor 1.1.1.1 remote-as {}\n neighbor 1.1.1.1 timers 1 3\n address-family ipv4 unicast\n"
      "  neighbor 1.1.1.1 activate\n exit-address-family\nexit\n";
  const auto with = [&](const std::string& as) {
    std::string all = text;
    return all.replace(all.find("{}"), 2, as);
  };
  EXPECT_THAT(
      *frr_changes(with("2"), with("3")),
      ElementsAre("configure terminal", "router bgp 1", "no neighbor 1.1.1.1", "exit", "router bgp 1",
                  "neighbor 1.1.1.1 remote-as 3", "exit", "router bgp 1", "neighbor 1.1.1.1 timers 1 3", "exit",
                  "router bgp 1", "address-family ipv4 unicast", "neighbor 1.1.1.1 activate", "exit", "exit", "end"));
}

TEST(FrrChanges, AnotherAsOfTheNodeIsAnotherStart) {
  EXPECT_FALSE(
      frr_changes("router bgp 1\n bgp router-id 1.1.1.1\nexit\n", "router bgp 2\n bgp router-id 1.1.1.1\nexit\n"));
  EXPECT_THAT(*frr_changes("", "router bgp 2\n bgp router-id 1.1.1.1\nexit\n"),
              ElementsAre("configure terminal", "router bgp 2", "exit", "router bgp 2", "bgp router-id 1.1.1.1", "exit",
                          "end"));
}

}  // namespace
}  // namespace weft::control
