// What gets lost in etcd, or is written over there, and what members make of it.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sources/cluster/testing/member_world.h"

namespace weft::cluster::testing {
namespace {

using ::testing::HasSubstr;

TEST_F(MemberTest, AWipedEtcdIsFilledAgainWithTheSameNumbers) {
  const LabelMap web{{"k8s:app", "web"}};
  const auto a = start(options("a"));
  const auto number = acquire(*a, web);
  world_.cluster.wipe(false);
  world_.time.advance(seconds(60));
  EXPECT_EQ(a->member->identities().number_of(web), number);
  EXPECT_EQ(a->renumbered, "");
  EXPECT_EQ(keys_below("identities/users/"), 1U);
}

TEST_F(MemberTest, AWipedEtcdTakesNothingOfOthersAway) {
  const LabelMap web{{"k8s:app", "web"}};
  const LabelMap database{{"k8s:app", "database"}};
  const auto a = start(options("a"));
  const auto b = start(options("b"));
  const Block block{"p", Cidr::parse(claim(*a)).value()};
  const auto number = acquire(*a, web);
  ASSERT_EQ(acquire(*b, web), number);
  const auto number_of_database = acquire(*a, database);
  a->member->endpoint_publisher().publish(pods({"web-1"}));
  world_.time.settle();
  b->pods.clear();
  for (const bool same_cluster : {true, false}) {
    world_.cluster.wipe(same_cluster);
    // What others write takes it past every revision it had.
    for (int i = 0; i < 100; ++i) ASSERT_TRUE(world_.cluster.store().put({.key = "/elsewhere", .value = "1"}));
    for (int second = 0; second < 50; ++second) {
      world_.time.advance(seconds(1));
      // It has lost its own one, and claims it again.
      if (a->lost == std::vector{block}) {
        a->lost.clear();
        a->member->blocks().claim(block, [](const Result<Block>& claimed) { EXPECT_TRUE(claimed); });
      }
      SCOPED_TRACE(second);
      ASSERT_EQ(b->member->blocks().owners(), (BlockOwners{{block, "a"}}));
      ASSERT_EQ(b->member->endpoints().pods_of("a"), pods({"web-1"}));
      ASSERT_EQ(b->member->identities().number_of(web), number);
      ASSERT_EQ(b->member->identities().number_of(database), number_of_database);
      const auto& seen = b->member->registry().nodes().at("a");
      ASSERT_TRUE(seen.record && seen.alive);
    }
    EXPECT_THAT(b->pods, ::testing::IsEmpty());
    EXPECT_EQ(a->renumbered + b->renumbered, "");
    EXPECT_EQ(keys_below("identities/ids/"), 2U);
    EXPECT_EQ(keys_below("blocks/"), 1U);
  }
}

TEST_F(MemberTest, WhoDoesNotComeBackToAWipedEtcdIsGoneAsElsewhere) {
  auto a = start(options("a"));
  const auto b = start(options("b"));
  const Block block{"p", Cidr::parse(claim(*a)).value()};
  a->member->endpoint_publisher().publish(pods({"web-1"}));
  world_.time.settle();
  a.reset();
  world_.cluster.wipe(false);
  world_.time.advance(seconds(15));
  EXPECT_EQ(b->member->registry().nodes().at("a").alive, std::nullopt) << "after a lease it is away";
  EXPECT_EQ(b->member->endpoints().pods_of("a"), pods({"web-1"}));
  EXPECT_EQ(claim(*b), "10.0.0.0/24") << "its block is not taken at once";
  EXPECT_EQ(b->member->blocks().owners().count(block), 1U);
  world_.time.advance(seconds(60));
  EXPECT_FALSE(b->member->registry().nodes().contains("a"));
  EXPECT_TRUE(b->member->endpoints().pods_of("a").empty());
  EXPECT_EQ(b->member->blocks().owners().count(block), 0U);
}

TEST_F(MemberTest, ARecordThatCannotBeReadLeavesTheNodeAsItWas) {
  const auto a = start(options("a"));
  auto b = start(options("b"));
  auto& store = world_.cluster.store();
  const std::string key = "/weft/v1/default/nodes/b";
  const auto& seen = a->member->registry().nodes();
  // Its node writes it again, whatever somebody made of it.
  for (const auto* text : {"garbage{", R"({"version":99})", ""}) {
    SCOPED_TRACE(text);
    a->troubles.clear();
    if (*text != '\0')
      ASSERT_TRUE(store.put({.key = key, .value = text}));
    else
      ASSERT_TRUE(store.erase({etcd::Keys::one(key)}));
    world_.cluster.changed();
    world_.time.advance(seconds(1));
    EXPECT_FALSE(a->troubles.empty());
    EXPECT_EQ(seen.at("b").wrong, "");
    EXPECT_TRUE(decode_node(key, store.range({.keys = etcd::Keys::one(key)})->kvs.at(0).value));
  }
  // As long as nobody does that, as of a later version, what it told before counts.
  b.reset();
  ASSERT_TRUE(store.put({.key = key, .value = R"({"version":99})"}));
  world_.cluster.changed();
  world_.time.advance(milliseconds(1));
  ASSERT_TRUE(seen.at("b").record);
  EXPECT_EQ(seen.at("b").record->underlay.size(), 1U);
  EXPECT_THAT(seen.at("b").wrong, HasSubstr("/nodes/b"));
  ASSERT_TRUE(store.erase({etcd::Keys::one(key)}));
  world_.cluster.changed();
  world_.time.advance(milliseconds(1));
  EXPECT_THAT(seen.at("b").wrong, HasSubstr("was deleted"));
  EXPECT_TRUE(seen.at("b").record);
  world_.time.advance(seconds(15));
  EXPECT_FALSE(seen.contains("b")) << "nothing is left of it";
}

TEST_F(MemberTest, ADeletedAliveKeyIsWrittenAgain) {
  const auto a = start(options("a"));
  ASSERT_TRUE(world_.cluster.store().erase({etcd::Keys::one("/weft/v1/default/alive/a")}));
  world_.cluster.changed();
  world_.time.advance(seconds(1));
  EXPECT_TRUE(a->member->registry().membership());
  EXPECT_EQ(keys_below("alive/"), 1U);
}

TEST_F(MemberTest, AnAliveKeyThatNoLeaseKeepsKeepsNobodyOut) {
  for (const auto& value : {std::string("{"), encode(Incarnation{"a", "boot-2"})}) {
    ASSERT_TRUE(world_.cluster.store().put({.key = "/weft/v1/default/alive/a", .value = value}));
    const auto a = start(options("a"));
    EXPECT_TRUE(a->member->registry().membership()) << value;
    EXPECT_THAT(a->refusals, ::testing::IsEmpty());
  }
}

// Such an etcd gives no lease to who wants to come back, but takes what is erased.
TEST_F(MemberTest, WhileEtcdHasNoSpaceNobodyIsCollected) {
  const auto a = start(options("a"));
  auto b = start(options("b"));
  ASSERT_EQ(keys_below("nodes/"), 2U);
  claim(*b);
  world_.cluster.set_full(true);
  b.reset();
  b = start(options("b"));
  EXPECT_FALSE(b->member->registry().membership());
  world_.time.advance(seconds(600));
  EXPECT_EQ(keys_below("nodes/"), 2U);
  EXPECT_EQ(keys_below("blocks/"), 1U);
  EXPECT_THAT(a->gone, ::testing::IsEmpty());
  world_.cluster.set_full(false);
  world_.time.advance(seconds(60));
  EXPECT_TRUE(b->member->registry().membership());
  EXPECT_EQ(keys_below("blocks/"), 1U);
}

TEST_F(MemberTest, ANumberTakenAwayInALongAbsenceIsAnotherAfterwardsAndTold) {
  const LabelMap web{{"k8s:app", "web"}};
  const LabelMap database{{"k8s:app", "database"}};
  auto few = options("a");
  few.identities = {.first = 256, .last = 257};
  const auto a = start(few);
  const auto number = acquire(*a, web);
  // Another took the number while this node was away.
  auto& store = world_.cluster.store();
  ASSERT_TRUE(store.erase({etcd::Keys::prefix("/weft/v1/default/identities/")}));
  ASSERT_TRUE(store.erase({etcd::Keys::one("/weft/v1/default/alive/a")}));
  ASSERT_TRUE(store.put(
      {.key = fmt::format("/weft/v1/default/identities/ids/{}", number), .value = encode_labels(database).value()}));
  world_.cluster.changed();
  world_.time.advance(seconds(5));
  EXPECT_EQ(a->renumbered, fmt::format("{} {}", number, 513 - number));
}

// Nodes that numbered the same labels at once, and one was cut off before it saw the other's.
TEST_F(MemberTest, OfTwoNumbersForItsLabelsANodeGoesOverToTheLowerOne) {
  const LabelMap web{{"k8s:app", "web"}};
  const auto a = start(options("a"));
  const auto number = acquire(*a, web);
  const auto write = [&](IdentityNumber other) {
    ASSERT_TRUE(world_.cluster.store().put(
        {.key = fmt::format("/weft/v1/default/identities/ids/{}", other), .value = encode_labels(web).value()}));
    world_.cluster.changed();
    world_.time.advance(seconds(5));
  };
  write(number + 1);
  EXPECT_EQ(a->renumbered, "");
  write(number - 1);
  EXPECT_EQ(a->renumbered, fmt::format("{} {}", number, number - 1));
  EXPECT_EQ(a->member->identities().held(), (std::map<LabelMap, IdentityNumber>{{web, number - 1}}));
  EXPECT_EQ(*a->member->identities().labels_of(number), web) << "others may still use it";
  world_.time.advance(seconds(60));
  EXPECT_EQ(keys_below("identities/ids/"), 1U) << "the others are collected";
}

TEST_F(MemberTest, PodsThatGotLostAreWrittenAgainAndOnlyThen) {
  const auto a = start(options("a"));
  const std::string key = is_etcd ? "/weft/v1/default/endpoints/a" : "/weft/v1/default/endpoints/a/1";
  a->member->endpoint_publisher().publish(pods({"web-1"}));
  world_.time.settle();
  auto& store = world_.cluster.store();
  const auto revision = [&] {
    const auto found = store.range({.keys = etcd::Keys::one(key)})->kvs;
    return found.empty() ? 0 : found[0].mod_revision;
  };
  const auto written = revision();
  // Away for longer than the lease, but not gone.
  world_.cluster.set_available(false);
  world_.time.advance(seconds(45));
  world_.cluster.set_available(true);
  world_.time.advance(seconds(45));
  ASSERT_TRUE(a->member->registry().membership());
  EXPECT_EQ(revision(), written) << "a thousand nodes that come back together have nothing to write";
  ASSERT_TRUE(store.erase({etcd::Keys::one(key)}));
  world_.cluster.changed();
  world_.time.advance(seconds(1));
  EXPECT_GT(revision(), written);
  ASSERT_TRUE(store.put({.key = key, .value = "?"}));
  world_.cluster.changed();
  world_.time.advance(seconds(1));
  EXPECT_EQ(a->member->endpoints().pods_of("a"), pods({"web-1"})) << "what cannot be read leaves what was there";
  EXPECT_THAT(store.range({.keys = etcd::Keys::one(key)})->kvs.at(0).value, HasSubstr("web-1"));
  world_.cluster.wipe(false);
  world_.time.advance(seconds(60));
  EXPECT_NE(revision(), 0);
  EXPECT_TRUE(a->member->endpoint_publisher().published());
}

TEST_F(MemberTest, ForeignKeysAndValuesAreToldAndPassedOver) {
  if (!is_etcd) GTEST_SKIP() << "objects are told by their names: store_test.cpp";
  auto& store = world_.cluster.store();
  ASSERT_TRUE(store.put({.key = "/weft/v1/default/nodes/x", .value = "?"}));
  ASSERT_TRUE(store.put({.key = "/weft/v1/default/blocks/p/10.0.0.0", .value = "?"}));
  ASSERT_TRUE(store.put({.key = "/weft/v1/default/identities/ids/1", .value = "?"}));
  const auto a = start(options("a"));
  EXPECT_THAT(a->troubles, ::testing::Contains(HasSubstr("value of key '/weft/v1/default/nodes/x'")));
  EXPECT_THAT(a->troubles, ::testing::Contains(HasSubstr("'/weft/v1/default/blocks/p/10.0.0.0'")));
  EXPECT_THAT(a->troubles, ::testing::Contains(HasSubstr("'/weft/v1/default/identities/ids/1'")));
  EXPECT_THAT(claim(*a), HasSubstr("/24"));
}

}  // namespace
}  // namespace weft::cluster::testing
