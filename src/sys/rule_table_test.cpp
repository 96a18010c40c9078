// In a network namespace of the running kernel.
#include "sys/rule_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <thread>

#include "sys/netlink.h"
#include "sys/netns.h"

namespace weft::sys {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAreArray;

TEST(RuleTable, RulesAndRoutesComeBackAsTheyWereMade) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  const auto name = "weft-rules-" + std::to_string(::getpid());
  ASSERT_TRUE(create_named_netns(name));
  std::thread([&] {
    const auto netns = open_netns(named_netns_path(name)).value();
    const auto scope = NetnsScope::enter(netns.get()).value();
    const auto netlink = open_netlink().value();
    ASSERT_TRUE(netlink->set_up(1, true));
    const auto device = netlink->create_tun("weft-wg0").value();
    EXPECT_EQ(device.kind, "tun");
    EXPECT_EQ(netlink->create_tun("weft-wg0").error().code, ErrorCode::exists);
    ASSERT_TRUE(netlink->set_up(device.index, true));
    auto table = RuleTable::open().value();
    EXPECT_THAT(table.rules().value(), IsEmpty()) << "others' are none of ours";

    const std::vector<Rule> rules{{.family = Family::v4, .priority = 5, .table = 254, .mark = 7},
                                  {.family = Family::v6, .priority = 5, .table = 254, .mark = 7},
                                  {.family = Family::v4, .priority = 6, .table = 254, .tcp_source = 2379},
                                  {.family = Family::v4, .priority = 6, .table = 254, .tcp_destination = 2379},
                                  {.family = Family::v4, .priority = 9, .table = 8700, .local = true}};
    for (const auto& rule : rules) {
      ASSERT_TRUE(table.add(rule));
      EXPECT_TRUE(table.add(rule)) << "twice";
    }
    EXPECT_THAT(table.rules().value(), UnorderedElementsAreArray(rules));
    ASSERT_TRUE(netlink->add_address({device.index, IpAddress::parse("192.0.2.1").value(), 32}));
    const TableRoute route{Cidr::parse("192.0.2.9/32").value(), device.index, IpAddress::parse("192.0.2.1").value()};
    ASSERT_TRUE(table.replace(8700, route));
    EXPECT_THAT(table.routes(8700).value(), ElementsAre(route));
    EXPECT_THAT(table.routes(8701).value(), IsEmpty());
    ASSERT_TRUE(table.remove(8700, route));
    EXPECT_TRUE(table.remove(8700, route)) << "it is gone already";
    EXPECT_THAT(table.routes(8700).value(), IsEmpty());
    for (const auto& rule : rules) {
      ASSERT_TRUE(table.remove(rule));
      EXPECT_TRUE(table.remove(rule));
    }
    EXPECT_THAT(table.rules().value(), IsEmpty());
  }).join();
  EXPECT_TRUE(delete_named_netns(name));
}

}  // namespace
}  // namespace weft::sys
