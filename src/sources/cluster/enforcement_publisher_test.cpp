// What nodes tell of the policies they enforce: how often, and that it is there again whatever became of it.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sources/cluster/testing/member_world.h"

namespace weft::cluster::testing {
namespace {

Enforcement telling(std::uint64_t seen, std::uint64_t generation = 0) {
  Enforcement told{.boot_id = {}, .seen = seen, .policies = {}};
  if (generation != 0)
    told.policies.push_back({.namespace_ = "shop",
                             .name = "web",
                             .uid = "u",
                             .version = {generation, {}},
                             .reason = generation % 2 == 0 ? "the map is full" : "",
                             .kept = {}});
  return told;
}

class EnforcementPublisherTest : public MemberTest {
 protected:
  // "7 web@3", of what the node has told.
  std::string told(const std::string& node) {
    const auto key = "/weft/v1/default/enforcement/" + node;
    const auto found = world_.cluster.store().range({.keys = etcd::Keys::one(key)})->kvs;
    if (found.empty()) return "none";
    const auto value = decode_enforcement(key, found.front().value);
    if (!value) return value.error().message;
    auto text = fmt::format("{} {}", value->boot_id, value->seen);
    for (const auto& policy : value->policies)
      text += fmt::format(" {}@{} {}", policy.name, policy.version.to_string(), policy.reason);
    return text;
  }
};

TEST_F(EnforcementPublisherTest, IsWrittenOnceASecondAtMost) {
  const auto a = start(options("a"));
  auto& publisher = a->member->enforcement_publisher();
  EXPECT_EQ(told("a"), "none");
  publisher.publish(telling(1, 1));
  world_.time.settle();
  EXPECT_EQ(told("a"), "boot-1 1 web@1 ");
  EXPECT_TRUE(publisher.published());
  const auto before = world_.cluster.requests();
  for (std::uint64_t i = 2; i <= 1000; ++i) {
    publisher.publish(telling(i, i));
    world_.time.advance(milliseconds(5));
  }
  world_.time.advance(seconds(1));
  EXPECT_EQ(told("a"), "boot-1 1000 web@1000 the map is full");
  EXPECT_LE(world_.cluster.requests() - before, is_etcd ? 20U : 60U) << "in six seconds, with what else a node does";
  const auto after = told("a");
  publisher.publish(telling(1000, 1000));
  EXPECT_TRUE(publisher.published()) << "nothing is new";
  EXPECT_EQ(told("a"), after);
}

TEST_F(EnforcementPublisherTest, NewsThatConcernNoPodMayWait) {
  const auto a = start(options("a"));
  auto& publisher = a->member->enforcement_publisher();
  publisher.publish(telling(1));
  world_.time.settle();
  publisher.publish(telling(2));
  world_.time.advance(seconds(3));
  EXPECT_EQ(told("a"), "boot-1 2");
  // Behind it comes something that cannot.
  publisher.publish(telling(3));
  publisher.publish(telling(4, 1));
  world_.time.settle();
  EXPECT_EQ(told("a"), "boot-1 4 web@1 ");
}

TEST_F(EnforcementPublisherTest, StaysWhileItsNodeIsAwayAndGoesWithWhatElseItHad) {
  const auto collector = start(options("z"));
  auto a = start(options("a"));
  a->member->enforcement_publisher().publish(telling(1, 1));
  world_.time.settle();
  a.reset();
  world_.time.advance(seconds(30));
  EXPECT_EQ(told("a"), "boot-1 1 web@1 ") << "its datapath goes on";
  world_.time.advance(seconds(150));
  EXPECT_EQ(told("a"), "none");
}

TEST_F(EnforcementPublisherTest, WhatIsLostOrDeletedIsToldAgain) {
  const auto a = start(options("a"));
  auto& publisher = a->member->enforcement_publisher();
  world_.cluster.lose_answers(1);
  publisher.publish(telling(1, 1));
  world_.time.advance(seconds(5));
  EXPECT_TRUE(publisher.published());
  EXPECT_EQ(told("a"), "boot-1 1 web@1 ");
  ASSERT_TRUE(world_.cluster.store().erase({etcd::Keys::one("/weft/v1/default/enforcement/a")}));
  world_.cluster.changed();
  EXPECT_EQ(told("a"), "none");
  world_.time.advance(seconds(310));
  EXPECT_EQ(told("a"), "boot-1 1 web@1 ");
  world_.cluster.wipe(false);
  world_.time.advance(seconds(60));
  EXPECT_EQ(told("a"), "boot-1 1 web@1 ");
  EXPECT_TRUE(publisher.published());
}

}  // namespace
}  // namespace weft::cluster::testing
