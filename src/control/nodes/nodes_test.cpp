#include "control/nodes/nodes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

namespace weft::control {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

IpAddress ip(std::string_view text) { return IpAddress::parse(text).value(); }
Cidr cidr(std::string_view text) { return Cidr::parse(text).value(); }

IpAddress address_of(const weft_addr& addr) {
  IpAddress::Bytes bytes{};
  std::memcpy(bytes.data(), &addr, sizeof addr);
  return IpAddress(bytes);
}

NodeSelf self() {
  return {.underlay = {ip("192.0.2.1"), ip("2001:db8::1")},
          .gateways = {ip("10.244.1.1"), ip("fd00:1::1")},
          .networks = {cidr("192.0.2.0/24"), cidr("2001:db8::/64")},
          .mtu = 1500,
          .overhead_v4 = 50,
          .overhead_v6 = 70};
}

RemoteNode remote(std::string_view address, int block) {
  return {.underlay = {ip(address)},
          .gateways = {ip("10.244." + std::to_string(block) + ".1")},
          .blocks = {cidr("10.244." + std::to_string(block) + ".0/24")}};
}

TEST(Nodes, OnOneNetworkAreReachedByRoutes) {
  NodeNumbers numbers;
  const auto plan = plan_nodes(self(), {{"b", remote("192.0.2.2", 2)}, {"c", remote("198.51.100.3", 3)}}, numbers);
  ASSERT_THAT(plan.reach, SizeIs(2));
  EXPECT_EQ(plan.reach.at("b").way, WEFT_WAY_DIRECT);
  EXPECT_TRUE(plan.reach.at("b").same_network);
  EXPECT_FALSE(plan.reach.at("c").same_network);  // its blocks are for the routers to know
  EXPECT_THAT(plan.routes, ElementsAre(NodeRoute{cidr("10.244.2.0/24"), ip("192.0.2.2"), {}}));
  EXPECT_EQ(plan.blocks.at(cidr("10.244.3.0/24")), plan.reach.at("c").number);
  EXPECT_EQ(plan.addresses.at(ip("192.0.2.2")).number, 0U);
  EXPECT_EQ(plan.addresses.at(ip("10.244.2.1")).number, 0U);
  EXPECT_EQ(plan.nodes.at(plan.reach.at("b").number).mtu, 1500U);
}

TEST(Nodes, ByTunnelTheHostDeviceKnowsTheWay) {
  auto here = self();
  here.tunnel = WEFT_WAY_VXLAN;
  NodeNumbers numbers;
  auto far = remote("192.0.2.2", 2);
  far.blocks.push_back(cidr("fd00:2::/64"));
  const auto plan = plan_nodes(here, {{"b", far}}, numbers);
  const auto& reach = plan.reach.at("b");
  EXPECT_EQ(reach.way, WEFT_WAY_VXLAN);
  EXPECT_THAT(plan.routes, ElementsAre(NodeRoute{cidr("10.244.2.0/24"), {}, ip("10.244.1.1")},
                                       NodeRoute{cidr("fd00:2::/64"), {}, ip("fd00:1::1")}));
  EXPECT_EQ(plan.nodes.at(reach.number).mtu, 1450U);
  EXPECT_EQ(plan.addresses.at(ip("10.244.2.1")).number, reach.number);
  EXPECT_EQ(plan.addresses.at(ip("192.0.2.2")).number, 0U);

  far.underlay = {ip("2001:db8:9::2")};
  const auto over_v6 = plan_nodes(here, {{"b", far}}, numbers);
  EXPECT_EQ(over_v6.nodes.at(reach.number).mtu, 1430U);
}

TEST(Nodes, CrossSubnetTakesTheTunnelOnlyWhereItMust) {
  auto here = self();
  here.tunnel = WEFT_WAY_IPIP;
  here.cross_subnet = true;
  NodeNumbers numbers;
  const auto plan = plan_nodes(here, {{"b", remote("192.0.2.2", 2)}, {"c", remote("198.51.100.3", 3)}}, numbers);
  EXPECT_EQ(plan.reach.at("b").way, WEFT_WAY_DIRECT);
  EXPECT_EQ(plan.reach.at("c").way, WEFT_WAY_IPIP);
  EXPECT_THAT(plan.routes, ElementsAre(NodeRoute{cidr("10.244.2.0/24"), ip("192.0.2.2"), {}},
                                       NodeRoute{cidr("10.244.3.0/24"), {}, ip("10.244.1.1")}));
}

NodeSelf encrypting(bool strict) {
  auto here = self();
  here.tunnel = WEFT_WAY_VXLAN;
  here.encrypts = true;
  here.strict = strict;
  here.wireguard_overhead_v4 = 60;
  here.wireguard_overhead_v6 = 80;
  here.pod_ranges = {cidr("10.244.0.0/16"), cidr("fd00::/16")};
  return here;
}

TEST(Nodes, WhoHasAKeyIsNeverSentToInClear) {
  NodeNumbers numbers;
  auto keyed = remote("192.0.2.2", 2);
  keyed.wireguard = 7;
  auto waiting = remote("192.0.2.3", 3);
  waiting.wireguard = 0;
  const auto plan =
      plan_nodes(encrypting(false), {{"b", keyed}, {"c", waiting}, {"d", remote("192.0.2.4", 4)}}, numbers);
  EXPECT_EQ(plan.reach.at("b").way, WEFT_WAY_WIREGUARD);
  EXPECT_THAT(plan.reach.at("b").problem, IsEmpty());
  const auto& row = plan.nodes.at(plan.reach.at("b").number);
  EXPECT_EQ(row.ifindex, 7U);
  EXPECT_EQ(row.mtu, 1440U);
  EXPECT_EQ(address_of(row.addr), ip("10.244.2.1")) << "the gateways': keys are bound to them";
  EXPECT_EQ(address_of(row.source), ip("10.244.1.1"));
  EXPECT_EQ(plan.addresses.at(ip("10.244.2.1")).number, plan.reach.at("b").number);
  EXPECT_EQ(plan.reach.at("c").way, WEFT_WAY_REFUSED);
  EXPECT_THAT(plan.reach.at("c").problem, HasSubstr("nothing here encrypts to its key yet"));
  EXPECT_EQ(plan.reach.at("d").way, WEFT_WAY_VXLAN) << "it has no key, and may be sent to all the same";
  EXPECT_EQ(plan.nodes.at(plan.reach.at("d").number).mtu, 1450U);
  EXPECT_THAT(plan.routes, SizeIs(3));
}

TEST(Nodes, WhatIsWrappedForWireGuardHasEndsOfOneFamily) {
  NodeNumbers numbers;
  auto keyed = remote("192.0.2.2", 2);
  keyed.wireguard = 7;
  keyed.gateways = {ip("fd00:2::1")};
  auto plan = plan_nodes(encrypting(false), {{"b", keyed}}, numbers);
  EXPECT_EQ(address_of(plan.nodes.at(plan.reach.at("b").number).addr), ip("fd00:2::1"));
  keyed.gateways = {};
  plan = plan_nodes(encrypting(false), {{"b", keyed}}, numbers);
  EXPECT_EQ(address_of(plan.nodes.at(plan.reach.at("b").number).addr), IpAddress());
}

TEST(Nodes, StrictlyNothingGoesInClear) {
  NodeNumbers numbers;
  auto keyed = remote("2001:db8::2", 2);
  keyed.wireguard = 7;
  const auto plan = plan_nodes(encrypting(true), {{"b", keyed}, {"d", remote("192.0.2.4", 4)}}, numbers);
  EXPECT_EQ(plan.reach.at("b").way, WEFT_WAY_WIREGUARD);
  EXPECT_EQ(plan.nodes.at(plan.reach.at("b").number).mtu, 1420U);
  EXPECT_EQ(plan.reach.at("d").way, WEFT_WAY_REFUSED);
  EXPECT_THAT(plan.reach.at("d").problem, HasSubstr("it has no key, and encryption_strict"));
  // Not even addresses that no node has.
  EXPECT_TRUE(plan.routes.contains({cidr("10.244.0.0/16"), {}, ip("10.244.1.1")}));
  EXPECT_TRUE(plan.routes.contains({cidr("fd00::/16"), {}, ip("fd00:1::1")}));
}

TEST(Nodes, WhoDoesNotEncryptItselfDoesNotLookForKeys) {
  NodeNumbers numbers;
  auto keyed = remote("192.0.2.2", 2);
  keyed.wireguard = 7;
  EXPECT_EQ(plan_nodes(self(), {{"b", keyed}}, numbers).reach.at("b").way, WEFT_WAY_DIRECT);
}

TEST(Nodes, WhatCannotBeReachedIsSaid) {
  auto here = self();
  here.underlay = {ip("192.0.2.1")};
  NodeNumbers numbers;
  auto v6_pods = remote("192.0.2.2", 2);
  v6_pods.blocks.push_back(cidr("fd00:2::/64"));
  const auto plan =
      plan_nodes(here,
                 {{"b", v6_pods},
                  {"c", {.underlay = {ip("2001:db8::3")}, .gateways = {}, .blocks = {cidr("10.244.3.0/24")}}},
                  {"d", {}},
                  {"e", remote("192.0.2.2", 2)}},
                 numbers);
  EXPECT_THAT(plan.reach.at("b").problem, HasSubstr("IPv6 pods at fd00:2::/64 cannot be reached without a tunnel"));
  EXPECT_THAT(plan.reach.at("c").problem, HasSubstr("no address of a family"));
  EXPECT_THAT(plan.reach.at("d").problem, HasSubstr("not told its address"));
  EXPECT_THAT(plan.reach.at("e").problem, HasSubstr("192.0.2.2 is also node b's"));
  EXPECT_THAT(plan.reach.at("e").problem, HasSubstr("block 10.244.2.0/24 is another node's too"));
  EXPECT_FALSE(plan.blocks.contains(cidr("10.244.3.0/24")));
}

TEST(NodeNumbers, StayAndAreGivenAgainLate) {
  NodeNumbers numbers({{"a", 5}, {"bad", 0}, {"worse", 9000}, {"twin", 5}});
  EXPECT_THAT(numbers.all(), SizeIs(1));
  numbers.assign({{"a", {}}, {"b", {}}});
  EXPECT_EQ(numbers.all().at("a"), 5U);
  EXPECT_EQ(numbers.all().at("b"), 6U);
  numbers.assign({{"a", {}}});
  numbers.assign({{"a", {}}, {"c", {}}});
  EXPECT_EQ(numbers.all().at("c"), 7U);
  RemoteNodes many;
  for (int i = 0; i < 9000; ++i) many[std::to_string(i)];
  numbers.assign(many);
  EXPECT_THAT(numbers.all(), SizeIs(NodeNumbers::last));
  std::set<std::uint32_t> distinct;
  for (const auto& [name, number] : numbers.all()) distinct.insert(number);
  EXPECT_THAT(distinct, SizeIs(NodeNumbers::last));
  numbers.assign({});
  EXPECT_THAT(numbers.all(), IsEmpty());
}

}  // namespace
}  // namespace weft::control
