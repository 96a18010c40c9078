#include "agent/node_routes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sys/fake_netlink.h"

namespace weft::agent {
namespace {

IpAddress ip(std::string_view text) { return IpAddress::parse(text).value(); }
Cidr cidr(std::string_view text) { return Cidr::parse(text).value(); }

class NodeRoutesTest : public ::testing::Test {
 protected:
  NodeRoutesTest() {
    const auto host = netlink->create_dummy(host_device, {}).value();
    const auto uplink = netlink->create_dummy("eth0", {}).value();
    EXPECT_TRUE(netlink->set_up(host.index, true));
    EXPECT_TRUE(netlink->set_up(uplink.index, true));
    host_index = host.index;
    uplink_index = uplink.index;
    node.uplinks[static_cast<std::uint32_t>(uplink.index)].subnets = {cidr("192.0.2.0/24")};
  }
  [[nodiscard]] const sys::Route* route(std::string_view destination) {
    const auto& all = kernel.at().routes;
    const auto found = std::ranges::find(all, cidr(destination), &sys::Route::destination);
    return found == all.end() ? nullptr : &*found;
  }

  sys::FakeKernel kernel;
  std::unique_ptr<sys::Netlink> netlink = kernel.open();
  Faults faults;
  NodeRoutes routes{*netlink, faults};
  Node node;
  int host_index = 0;
  int uplink_index = 0;
};

TEST_F(NodeRoutesTest, LeadToTheNextHopOrTheHostDevice) {
  const std::set<control::NodeRoute> wanted{{cidr("10.244.2.0/24"), ip("192.0.2.2"), {}},
                                            {cidr("10.244.3.0/24"), {}, ip("10.244.1.1")}};
  routes.add(wanted, node);
  ASSERT_NE(route("10.244.2.0/24"), nullptr);
  EXPECT_EQ(route("10.244.2.0/24")->device, uplink_index);
  EXPECT_EQ(route("10.244.2.0/24")->gateway, ip("192.0.2.2"));
  ASSERT_NE(route("10.244.3.0/24"), nullptr);
  EXPECT_EQ(route("10.244.3.0/24")->device, host_index);
  EXPECT_EQ(route("10.244.3.0/24")->source, ip("10.244.1.1"));
  EXPECT_TRUE(faults.texts().empty());
}

TEST_F(NodeRoutesTest, SomebodyElsesRouteIsNotReplaced) {
  sys::Route gateway;
  gateway.destination = cidr("0.0.0.0/0");
  gateway.gateway = ip("192.0.2.1");
  gateway.device = uplink_index;
  ASSERT_TRUE(netlink->replace_route(gateway));
  const std::set<control::NodeRoute> wanted{{cidr("0.0.0.0/0"), {}, ip("10.244.1.1")}};
  routes.add(wanted, node);
  EXPECT_EQ(route("0.0.0.0/0")->gateway, ip("192.0.2.1"));
  ASSERT_TRUE(faults.has("node route 0.0.0.0/0"));
  EXPECT_THAT(faults.texts().at("node route 0.0.0.0/0"), ::testing::HasSubstr("somebody else's"));
}

TEST_F(NodeRoutesTest, ThoseOfGoneNodesGoAndOthersStay) {
  sys::Route foreign;
  foreign.destination = cidr("10.9.0.0/16");
  foreign.device = uplink_index;
  ASSERT_TRUE(netlink->replace_route(foreign));
  routes.add({{cidr("10.244.2.0/24"), ip("192.0.2.2"), {}}, {cidr("10.244.3.0/24"), ip("192.0.2.3"), {}}}, node);
  routes.add({{cidr("10.244.3.0/24"), ip("192.0.2.3"), {}}}, node);
  EXPECT_NE(route("10.244.2.0/24"), nullptr);  // until the maps no longer lead there
  routes.prune();
  EXPECT_EQ(route("10.244.2.0/24"), nullptr);
  EXPECT_NE(route("10.244.3.0/24"), nullptr);
  EXPECT_NE(route("10.9.0.0/16"), nullptr);
}

TEST_F(NodeRoutesTest, ANextHopOnNoNetworkIsToldUntilItIs) {
  const std::set<control::NodeRoute> wanted{{cidr("10.244.2.0/24"), ip("198.51.100.2"), {}}};
  routes.add(wanted, node);
  EXPECT_TRUE(faults.has("node route 10.244.2.0/24"));
  node.uplinks.begin()->second.subnets.insert(cidr("198.51.100.0/24"));
  routes.add(wanted, node);
  EXPECT_TRUE(faults.texts().empty());
  EXPECT_NE(route("10.244.2.0/24"), nullptr);
  EXPECT_TRUE(routes.heal(node).empty()) << "nobody had taken it away";
}

TEST_F(NodeRoutesTest, WhatSomebodyTookAwayIsPutBack) {
  routes.add({{cidr("10.244.2.0/24"), ip("192.0.2.2"), {}}, {cidr("10.244.3.0/24"), {}, ip("10.244.1.1")}}, node);
  EXPECT_TRUE(routes.heal(node).empty());
  ASSERT_TRUE(netlink->delete_route(*route("10.244.2.0/24")));
  auto elsewhere = *route("10.244.3.0/24");
  elsewhere.source.reset();
  ASSERT_TRUE(netlink->replace_route(elsewhere));
  EXPECT_THAT(routes.heal(node),
              ::testing::ElementsAre(::testing::HasSubstr("10.244.2.0/24"), ::testing::HasSubstr("10.244.3.0/24")));
  EXPECT_EQ(route("10.244.2.0/24")->gateway, ip("192.0.2.2"));
  EXPECT_EQ(route("10.244.3.0/24")->source, ip("10.244.1.1"));
  EXPECT_TRUE(routes.heal(node).empty());
}

TEST_F(NodeRoutesTest, WhatAChangePutsBackIsToldToo) {
  const control::NodeRoute second{cidr("10.244.2.0/24"), ip("192.0.2.2"), {}};
  const control::NodeRoute third{cidr("10.244.3.0/24"), ip("192.0.2.3"), {}};
  routes.add({second}, node);
  routes.add({second, third}, node);
  EXPECT_TRUE(routes.heal(node).empty());
  ASSERT_TRUE(netlink->delete_route(*route("10.244.2.0/24")));
  auto moved = third;
  moved.gateway = ip("192.0.2.4");
  routes.add({second, moved}, node);
  EXPECT_THAT(routes.heal(node), ::testing::ElementsAre(::testing::HasSubstr("10.244.2.0/24")))
      << "another next hop of the third is no repair";
  EXPECT_TRUE(routes.heal(node).empty());
}

// Another uplink leads to the network of the next hop, the host device was made anew: nobody touched the routes.
TEST_F(NodeRoutesTest, AnotherDeviceIsNoRepair) {
  const std::set<control::NodeRoute> wanted{{cidr("10.244.2.0/24"), ip("192.0.2.2"), {}}};
  routes.add(wanted, node);
  const auto other = netlink->create_dummy("eth1", {}).value();
  ASSERT_TRUE(netlink->set_up(other.index, true));
  const auto uplink = node.uplinks.begin()->second;
  node.uplinks.clear();
  node.uplinks[static_cast<std::uint32_t>(other.index)] = uplink;
  routes.add(wanted, node);
  EXPECT_EQ(route("10.244.2.0/24")->device, other.index);
  EXPECT_TRUE(routes.heal(node).empty());
  ASSERT_TRUE(netlink->delete_route(*route("10.244.2.0/24")));
  EXPECT_EQ(routes.heal(node).size(), 1U);
}

}  // namespace
}  // namespace weft::agent
