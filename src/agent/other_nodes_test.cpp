#include "agent/other_nodes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::agent {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

IpAddress ip(std::string_view text) { return IpAddress::parse(text).value(); }
Cidr cidr(std::string_view text) { return Cidr::parse(text).value(); }

class OtherNodesTest : public ::testing::Test {
 protected:
  OtherNodesTest() {
    config.node = "here";
    config.service_cidrs = {cidr("10.96.0.0/16")};
    add("here", "192.0.2.1");
    add("a", "192.0.2.2");
    add("b", "192.0.2.3");
    owners = {{{"default", cidr("10.244.0.0/24")}, "here"},
              {{"default", cidr("10.244.1.0/24")}, "a"},
              {{"default", cidr("10.244.2.0/24")}, "b"},
              {{"default", cidr("fd00:10:244:1::/64")}, "a"}};
    pods.believe([this](const std::string& node, const IpAddress& address, bool host_network) {
      return others.owns(node, address, host_network);
    });
  }
  void add(const std::string& name, std::string_view address) {
    nodes[name].record = cluster::NodeRecord{.underlay = {ip(address)}};
  }
  std::set<std::string> take() { return others.take({nodes, owners, pools}); }
  static cluster::SharedEndpoint pod(std::string_view address, bool host_network = false) {
    return {.addresses = {ip(address)}, .identity = 300, .host_network = host_network, .ports = {}};
  }
  std::vector<std::string> at(std::string_view address) {
    std::vector<std::string> names;
    for (const auto& told : pods.at(ip(address))) names.push_back(told.node + " " + told.name.name);
    return names;
  }

  Config config;
  std::map<std::string, cluster::Node> nodes;
  cluster::BlockOwners owners;
  std::vector<cluster::Pool> pools{
      {.name = "default", .ranges = {{cidr("10.244.0.0/16"), 24}, {cidr("fd00:10:244::/48"), 64}}}};
  OtherNodes others{config};
  cluster::PodTable pods{"here"};
};

TEST_F(OtherNodesTest, APodsAddressIsThatOfABlockOfItsNodeAndNoOther) {
  EXPECT_THAT(take(), UnorderedElementsAre("a", "b"));
  EXPECT_THAT(take(), IsEmpty());
  (void)pods.replace("a", {{{"x", "own"}, pod("10.244.1.9")},
                           {{"x", "stolen"}, pod("10.244.2.9")},
                           {{"x", "mine"}, pod("10.244.0.9")},
                           {{"x", "free"}, pod("10.244.77.9")},
                           {{"x", "world"}, pod("198.51.100.1")},
                           {{"x", "six"}, pod("fd00:10:244:1::9")},
                           {{"x", "four"}, pod("fd00:10:244:2::9")}});
  (void)pods.replace("b", {{{"x", "right"}, pod("10.244.2.9")}});
  EXPECT_THAT(at("10.244.1.9"), ElementsAre("a own"));
  EXPECT_THAT(at("10.244.2.9"), ElementsAre("b right"));
  EXPECT_THAT(at("fd00:10:244:1::9"), ElementsAre("a six"));
  for (const auto* address : {"10.244.0.9", "10.244.77.9", "198.51.100.1", "fd00:10:244:2::9"})
    EXPECT_THAT(at(address), IsEmpty()) << address;
  // Whoever looks for the pod finds it, without the address.
  ASSERT_EQ(pods.named({"x", "stolen"}).size(), 1U);
  EXPECT_THAT(pods.named({"x", "stolen"})[0].told.addresses, IsEmpty());
  std::size_t seen = 0;
  pods.each([&](const cluster::ToldPod& each) { seen += each.told.addresses.size(); });
  EXPECT_EQ(seen, 3U);
  EXPECT_EQ(others.pods_left_out("b", pods), "");
  EXPECT_EQ(
      others.pods_left_out("a", pods),
      "pod x/four at fd00:10:244:2::9, which is of pool \"default\", but in no block of the node, pod x/free at "
      "10.244.77.9, which is of pool \"default\", but in no block of the node, pod x/mine at 10.244.0.9, which is "
      "in a block of this node and 2 more");
}

TEST_F(OtherNodesTest, NewsComeInAnyOrder) {
  owners.erase({"default", cidr("10.244.1.0/24")});
  nodes["a"].record->gateways = {ip("10.244.1.1")};
  (void)take();
  (void)pods.replace("a", {{{"x", "own"}, pod("10.244.1.9")}});
  EXPECT_THAT(at("10.244.1.9"), IsEmpty());
  EXPECT_THAT(others.all().at("a").gateways, IsEmpty());
  EXPECT_EQ(others.left_out("a"), "gateway 10.244.1.1, which is of pool \"default\", but in no block of the node");
  owners[{"default", cidr("10.244.1.0/24")}] = "a";
  EXPECT_THAT(take(), ElementsAre("a"));
  EXPECT_THAT(at("10.244.1.9"), ElementsAre("a own"));
  EXPECT_THAT(others.all().at("a").gateways, ElementsAre(ip("10.244.1.1")));
  EXPECT_EQ(others.left_out("a"), "");
  // And the block goes to another one.
  owners[{"default", cidr("10.244.1.0/24")}] = "b";
  EXPECT_THAT(take(), UnorderedElementsAre("a", "b"));
  EXPECT_THAT(at("10.244.1.9"), IsEmpty());
  EXPECT_EQ(others.left_out("a"), "gateway 10.244.1.1, which is in a block of node b");
}

TEST_F(OtherNodesTest, ABlockIsOneOfAPoolThatIsKnown) {
  owners[{"blue", cidr("10.50.0.64/26")}] = "a";
  owners[{"default", cidr("10.244.128.0/17")}] = "a";
  owners[{"default", cidr("0.0.0.0/0")}] = "b";
  (void)take();
  EXPECT_THAT(others.all().at("a").blocks, ElementsAre(cidr("10.244.1.0/24"), cidr("fd00:10:244:1::/64")));
  EXPECT_THAT(others.all().at("b").blocks, ElementsAre(cidr("10.244.2.0/24")));
  EXPECT_THAT(others.left_out("a"), HasSubstr("block 10.50.0.64/26 of pool \"blue\", which this node does not know"));
  EXPECT_THAT(others.left_out("a"), HasSubstr("block 10.244.128.0/17, which is none of pool \"default\""));
  EXPECT_THAT(others.left_out("b"), HasSubstr("block 0.0.0.0/0, which is none of pool"));
  pools.push_back({.name = "blue", .ranges = {{cidr("10.50.0.0/24"), 26}}});
  EXPECT_THAT(take(), ElementsAre("a"));
  EXPECT_THAT(others.all().at("a").blocks,
              ElementsAre(cidr("10.50.0.64/26"), cidr("10.244.1.0/24"), cidr("fd00:10:244:1::/64")));
}

TEST_F(OtherNodesTest, ANodesOwnAddressIsNoPodsNoServicesAndNotThisNodes) {
  nodes["a"].record->underlay = {ip("192.0.2.1"), ip("10.244.2.9"), ip("10.96.0.1"), ip("192.0.2.2")};
  (void)take();
  EXPECT_THAT(others.all().at("a").underlay, ElementsAre(ip("192.0.2.2")));
  EXPECT_EQ(others.left_out("a"),
            "its address 192.0.2.1, which is this node's, its address 10.244.2.9, which is of pool \"default\", its "
            "address 10.96.0.1, which is of service_cidrs (10.96.0.0/16)");
}

TEST_F(OtherNodesTest, ANodeIsReachedByOneAddressOfEachFamily) {
  nodes["a"].record->underlay = {ip("192.0.2.2"), ip("2001:db8::2"), ip("198.51.100.1"), ip("2001:db8::9")};
  nodes["b"].record->underlay = {ip("127.0.0.1"), ip("::"), ip("224.0.0.1"), ip("fe80::1"), ip("192.0.2.3")};
  take();
  EXPECT_THAT(others.all().at("a").underlay, ElementsAre(ip("192.0.2.2"), ip("2001:db8::2")));
  EXPECT_THAT(others.left_out("a"), HasSubstr("198.51.100.1, when a node is reached by one of each family"));
  EXPECT_THAT(others.all().at("b").underlay, ElementsAre(ip("192.0.2.3")));
  EXPECT_THAT(others.left_out("b"), HasSubstr("127.0.0.1, which no machine is reached by"));
}

TEST_F(OtherNodesTest, APodInTheNodesNetworkHasItsAddressOrOneThatIsNobodys) {
  (void)take();
  (void)pods.replace("a", {{{"x", "p"}, pod("192.0.2.2", true)},
                           {{"x", "q"}, pod("203.0.113.7", true)},
                           {{"x", "r"}, pod("192.0.2.3", true)},
                           {{"x", "s"}, pod("10.244.2.9", true)}});
  const auto has = [&](const char* name) { return !pods.named({"x", name})[0].told.addresses.empty(); };
  EXPECT_TRUE(has("p"));
  EXPECT_TRUE(has("q"));
  EXPECT_FALSE(has("r"));
  EXPECT_FALSE(has("s"));
  EXPECT_THAT(others.pods_left_out("a", pods), HasSubstr("pod x/r at 192.0.2.3, which is node b's"));
  // It turns out to be somebody's.
  add("c", "203.0.113.7");
  EXPECT_THAT(take(), UnorderedElementsAre("a", "c"));
  EXPECT_FALSE(has("q"));
}

TEST_F(OtherNodesTest, WhatManyClaimIsToldByNumber) {
  for (unsigned i = 0; i < 5000; ++i) owners[{"default", Cidr(IpAddress::v4(0xcb000000U + (i << 8)), 24)}] = "a";
  (void)take();
  EXPECT_THAT(others.left_out("a"), HasSubstr("and 4997 more"));
  EXPECT_LT(others.left_out("a").size(), 500U);
}

}  // namespace
}  // namespace weft::agent
