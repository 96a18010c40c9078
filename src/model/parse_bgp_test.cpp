// Good and bad BGPPeerings.
#include <gmock/gmock.h>

#include "model/parse.h"

namespace weft::model {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::string text_of(const std::string& spec) {
  return "apiVersion: weft.io/v1alpha1\nkind: BGPPeering\nmetadata: {name: tor}\nspec: " + spec + "\n";
}

std::vector<std::string> texts(const std::vector<Problem>& problems) {
  std::vector<std::string> all;
  for (const auto& problem : problems) all.push_back(problem.to_string().substr(std::string_view("t:").size()));
  return all;
}

BgpPeering good(const std::string& spec, const std::vector<std::string>& warnings = {}) {
  const auto outcome = parse_manifests("t", text_of(spec));
  EXPECT_THAT(texts(outcome.problems), IsEmpty());
  EXPECT_EQ(texts(outcome.warnings), warnings);
  return outcome.documents.empty() ? BgpPeering() : std::get<BgpPeering>(outcome.documents[0].object);
}

std::vector<std::string> bad(const std::string& spec) {
  const auto outcome = parse_manifests("t", text_of(spec));
  EXPECT_THAT(outcome.documents, IsEmpty());
  return texts(outcome.problems);
}

TEST(BgpPeerings, Defaults) {
  const auto peering = good("{localAS: 4200000000, peers: [{address: 192.0.2.1, peerAS: 65000}]}");
  EXPECT_EQ(peering.meta.namespace_, "");
  EXPECT_EQ(peering.local_as, 4200000000);
  EXPECT_FALSE(peering.node_selector);
  EXPECT_FALSE(peering.router_id);
  EXPECT_THAT(peering.advertise, IsEmpty());
  EXPECT_THAT(peering.imports, IsEmpty());
  ASSERT_EQ(peering.peers.size(), 1U);
  const auto& peer = peering.peers[0];
  EXPECT_EQ(peer.as, 65000U);
  EXPECT_EQ(peer.port, 179);
  EXPECT_EQ(peer.multihop, 0);
  EXPECT_EQ(peer.hold_seconds, 90);
  EXPECT_EQ(peer.keepalive_seconds, 30);
  EXPECT_TRUE(peer.graceful_restart);
  EXPECT_THAT(peer.families, ElementsAre(Family::v4));
  EXPECT_THAT(good("{localAS: 1, peers: [{address: '2001:db8::1', peerAS: 1}]}").peers[0].families,
              ElementsAre(Family::v6));
}

TEST(BgpPeerings, Fields) {
  const auto peering = good(R"(
  nodeSelector: {matchLabels: {rack: r1}}
  localAS: 65001
  routerID: 192.0.2.7
  peers:
  - {address: 192.0.2.1, peerAS: 65000, port: 1179, multihop: 2, passwordFile: /etc/weft/tor, holdTime: 9,
     gracefulRestart: false, families: [IPv6, IPv4]}
  - {address: 192.0.2.9, peerAS: 65000, holdTime: 60, keepalive: 5}
  advertise:
  - {podCIDRs: true, communities: [65000:100, no-export, "65000:1"], largeCommunities: [65000:1:4294967295], localPreference: 0}
  - {services: [LoadBalancerIP, ExternalIP], serviceSelector: {matchLabels: {tier: front}}}
  import: {cidrs: [10.244.0.0/16, "fd00::/8"]})");
  EXPECT_TRUE(peering.node_selector->matches({{"rack", "r1"}}));
  EXPECT_EQ(peering.router_id->to_string(), "192.0.2.7");
  ASSERT_EQ(peering.peers.size(), 2U);
  EXPECT_EQ(peering.peers[0].password_file, "/etc/weft/tor");
  EXPECT_EQ(peering.peers[0].keepalive_seconds, 3);
  EXPECT_THAT(peering.peers[0].families, ElementsAre(Family::v6, Family::v4));
  EXPECT_EQ(peering.peers[1].keepalive_seconds, 5);
  ASSERT_EQ(peering.advertise.size(), 2U);
  EXPECT_THAT(peering.advertise[0].communities,
              ElementsAre(BgpCommunity{65000, 1}, BgpCommunity{65000, 100}, BgpCommunity{65535, 65281}));
  EXPECT_THAT(peering.advertise[0].large_communities, ElementsAre(BgpLargeCommunity{65000, 1, 4294967295}));
  EXPECT_EQ(peering.advertise[0].local_preference, 0U);
  EXPECT_TRUE(peering.advertise[1].load_balancer_ips && peering.advertise[1].external_ips);
  EXPECT_FALSE(peering.advertise[1].pod_cidrs);
  EXPECT_EQ(peering.imports.size(), 2U);
}

TEST(BgpPeerings, WhatDoesNothingIsAWarning) {
  good("{localAS: 1, peers: [{address: 192.0.2.1, peerAS: 2}], advertise: [{}, {podCIDRs: true, serviceSelector: {}}]}",
       {"4:74: spec.advertise[0]: advertises nothing: podCIDRs is not true and services is empty",
        "4:112: spec.advertise[1].serviceSelector: selects nothing: services names no addresses of Services"});
}

TEST(BgpPeerings, Problems) {
  EXPECT_THAT(bad("{}"),
              ElementsAre("4:7: spec.localAS: localAS is missing; expected the autonomous system of the nodes",
                          "4:7: spec.peers: peers is missing; expected a list of at least one router"));
  EXPECT_THAT(bad("{localAS: 0, routerID: '::1', peers: [], import: {}, asn: 3}"),
              ElementsAre("4:17: spec.localAS: expected a number from 1 to 4294967294, found the number 0",
                          "4:30: spec.routerID: expected an IPv4 address other than 0.0.0.0, found ::1",
                          "4:44: spec.peers: expected at least one entry, found none",
                          "4:56: spec.import.cidrs: cidrs is missing; expected the ranges routes are taken within",
                          testing::StartsWith("4:60: spec.asn: unknown field \"asn\"")));
}

TEST(BgpPeerings, ProblemsOfPeers) {
  EXPECT_THAT(
      bad("{localAS: 23456, peers: [{peerAS: 1}, {address: 'fe80::1', peerAS: 1}, {address: 192.0.2.1, peerAS: 1},\n"
          "  {address: 192.0.2.1, peerAS: 1, password: x}, {address: 192.0.2.3, peerAS: 1,\n"
          "  pasword: x}]}"),
      ElementsAre(
          "4:17: spec.localAS: expected the number of an autonomous system, found 23456, which stands for "
          "others (RFC 6793)",
          "4:32: spec.peers[0].address: address is missing; expected the router's address",
          "4:55: spec.peers[1].address: expected the address of a router, found fe80::1",
          "5:3: spec.peers[3]: the router 192.0.2.1 is given twice",
          "5:45: spec.peers[3].password: a password in an object can be read by everybody who reads "
          "objects; put it into a file on the node and name that by passwordFile",
          testing::StartsWith("6:3: spec.peers[4].pasword: unknown field \"pasword\"; a password in an object")));
  EXPECT_THAT(
      bad("{localAS: 1, peers: [{address: 192.0.2.1, peerAS: 2, holdTime: 9, keepalive: 4, passwordFile: 'a\"; b',\n"
          "  families: [IPv4, IPv5, IPv4]}]}"),
      ElementsAre("4:84: spec.peers[0].keepalive: expected at most a third of the hold time, 9 seconds, found 4",
                  "4:101: spec.peers[0].passwordFile: expected the whole path of a file of the node, without spaces, "
                  "found \"a\\\"; b\"",
                  testing::StartsWith("5:20: spec.peers[0].families[1]: expected IPv4 or IPv6, found \"IPv5\""),
                  "5:26: spec.peers[0].families[2]: IPv4 is given twice"));
}

TEST(BgpPeerings, ProblemsOfAdvertisements) {
  EXPECT_THAT(
      bad("{localAS: 1, peers: [{address: 192.0.2.1, peerAS: 2}], advertise: [{services: [ClusterIP, PodIP, "
          "ExternalIP,\n"
          "  ExternalIP], communities: [\"65536:1\", \"1:2; accept\", \"1:1\", \"1:1\", \"1\"], largeCommunities: "
          "[\"1:2\"]}]}"),
      ElementsAre(
          testing::StartsWith("4:86: spec.advertise[0].services[0]: clients outside the cluster are not served at "
                              "ClusterIPs"),
          testing::StartsWith("4:97: spec.advertise[0].services[1]: expected LoadBalancerIP or ExternalIP"),
          "5:3: spec.advertise[0].services[3]: ExternalIP is given twice",
          "5:30: spec.advertise[0].communities[0]: expected a community such as \"65000:100\", no-export or "
          "no-advertise, found \"65536:1\"",
          testing::StartsWith("5:41: spec.advertise[0].communities[1]: expected a community"),
          "5:63: spec.advertise[0].communities[3]: \"1:1\" is given twice",
          testing::StartsWith("5:70: spec.advertise[0].communities[4]: expected a community"),
          "5:95: spec.advertise[0].largeCommunities[0]: expected a large community such as \"65000:1:2\", found "
          "\"1:2\""));
}

}  // namespace
}  // namespace weft::model
