// Pods of a node in slices (endpoint_publisher.h), as objects: where each lies, what others see while they are
// written, and what is left of a run that ended in between.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "sources/cluster/testing/member_world.h"
#include "sources/crd_store/objects.h"

namespace weft::crd::testing {
namespace {

using cluster::EndpointsKey;
using cluster::NodeEndpoints;
using cluster::PodName;
using cluster::SharedEndpoints;
using cluster::testing::TestNode;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::size_t most = 32;  // StoreOptions::slice

SharedEndpoints pods_of(int from, int to) {
  SharedEndpoints all;
  for (int i = from; i < to; ++i)
    all[{"shop", fmt::format("web-{}", i)}] = {.addresses = {IpAddress::v4(0x0a000100 + static_cast<unsigned>(i))},
                                               .identity = 300};
  return all;
}

class SlicesTest : public cluster::testing::MemberTest {
 protected:
  using Slices = std::map<unsigned, SharedEndpoints>;  // 0: the one object

  MemoryServer& server() { return world_.cluster.server(); }
  cluster::Keyspace keys() { return cluster::Keyspace::make("default").value(); }
  Slices told(const std::string& node) {
    Slices found;
    const auto all = world_.cluster.store().range({.keys = etcd::Keys::prefix("/weft/v1/default/endpoints/")});
    for (const auto& kv : all.kvs) {
      const auto key = keys().parse_as<EndpointsKey>(kv.key).value();
      if (key.node == node) found[key.slice] = cluster::decode_endpoints(kv.key, kv.value).value().pods;
    }
    return found;
  }
  std::map<unsigned, std::int64_t> revisions(const std::string& node) {
    std::map<unsigned, std::int64_t> found;
    const auto all = world_.cluster.store().range({.keys = etcd::Keys::prefix("/weft/v1/default/endpoints/")});
    for (const auto& kv : all.kvs) {
      const auto key = keys().parse_as<EndpointsKey>(kv.key).value();
      if (key.node == node) found[key.slice] = kv.mod_revision;
    }
    return found;
  }
  static std::map<PodName, unsigned> places(const Slices& slices) {
    std::map<PodName, unsigned> found;
    for (const auto& [slice, pods] : slices) {
      EXPECT_FALSE(pods.empty()) << "slice " << slice;
      EXPECT_LE(pods.size(), most);
      for (const auto& [name, pod] : pods) EXPECT_TRUE(found.emplace(name, slice).second) << name.to_string();
    }
    return found;
  }
  void write(const std::string& rest, const std::string& value) {
    ASSERT_TRUE(world_.cluster.store().put({.key = "/weft/v1/default/" + rest, .value = value}));
    world_.cluster.changed();
  }
  void publish(TestNode& node, const SharedEndpoints& pods) {
    node.member->endpoint_publisher().publish(pods);
    world_.time.advance(seconds(2));
    EXPECT_TRUE(node.member->endpoint_publisher().published());
  }
  // Of another machine, whose agent knows of no slices.
  void write_old_node(const std::string& name) {
    write("nodes/" + name, encode(cluster::NodeRecord{.boot_id = "old", .mode = "vxlan"}));
    write("alive/" + name, encode(cluster::Incarnation{name, "old"}));
    world_.time.advance(seconds(1));
  }
};

TEST_F(SlicesTest, AChangeOfAPodWritesItsSliceAloneAndMovesNoOther) {
  const auto a = start(options("a"));
  const auto b = start(options("b"));
  auto pods = pods_of(0, 100);
  publish(*a, pods);
  const auto before = places(told("a"));
  const auto at = revisions("a");
  EXPECT_EQ(before.size(), 100U);
  EXPECT_EQ(at.size(), 4U);
  const PodName changed{"shop", "web-50"};
  pods.at(changed).ready = false;
  publish(*a, pods);
  for (const auto& [slice, revision] : revisions("a"))
    EXPECT_EQ(revision != at.at(slice), slice == before.at(changed)) << slice;
  EXPECT_EQ(b->member->endpoints().pods_of("a"), pods);
  // Who comes takes the places of who has gone.
  for (int i = 0; i < 40; ++i) pods.erase({"shop", fmt::format("web-{}", i)});
  publish(*a, pods);
  pods.merge(pods_of(200, 230));
  publish(*a, pods);
  const auto after = places(told("a"));
  EXPECT_EQ(after.size(), pods.size());
  EXPECT_LE(told("a").size(), 4U);
  for (const auto& [name, slice] : after)
    EXPECT_EQ(slice, before.contains(name) ? before.at(name) : slice) << name.to_string();
  EXPECT_EQ(b->member->endpoints().pods_of("a"), pods);
  publish(*a, {});
  EXPECT_TRUE(told("a").empty()) << "empty slices are not";
  EXPECT_TRUE(b->member->endpoints().pods_of("a").empty());
  EXPECT_TRUE(a->troubles.empty());
}

TEST_F(SlicesTest, TheNextRunFindsEachPodInItsSlice) {
  auto a = start(options("a"));
  publish(*a, pods_of(0, 100));
  const auto before = places(told("a"));
  const auto at = revisions("a");
  a.reset();
  a = start(options("a"));
  world_.time.advance(seconds(1));
  EXPECT_EQ(places(told("a")), before) << "until the agent knows its pods";
  publish(*a, pods_of(0, 100));
  EXPECT_EQ(revisions("a"), at) << "nothing is another";
  publish(*a, pods_of(10, 120));
  for (const auto& [name, slice] : places(told("a")))
    EXPECT_EQ(slice, before.contains(name) ? before.at(name) : slice) << name.to_string();
}

// Killed after each of the writes that a change of all slices takes.
TEST_F(SlicesTest, ARunThatEndsBetweenTwoWritesLeavesNothingTwiceOrLost) {
  const auto b = start(options("b"));
  for (int writes = 0; writes < 4; ++writes) {
    SCOPED_TRACE(writes);
    auto a = start(options("a"));
    const auto all = pods_of(0, 128);
    publish(*a, all);
    b->pods.clear();
    // Half of them are others.
    auto next = pods_of(200, 264);
    for (int i = 0; i < 128; i += 2) next.merge(pods_of(i, i + 1));
    const std::function<void(int)> arm = [&](int left) {
      server().before("PUT", "weftendpoints", [this, left, &arm] {
        if (left == 0)
          world_.cluster.set_available(false);
        else
          arm(left - 1);
      });
    };
    arm(writes);  // of four slices that lose some
    a->member->endpoint_publisher().publish(next);
    world_.time.advance(seconds(1));
    a.reset();
    world_.cluster.set_available(true);
    a = start(options("a"));
    publish(*a, next);
    world_.time.advance(seconds(5));
    EXPECT_EQ(places(told("a")).size(), next.size());
    EXPECT_EQ(b->member->endpoints().pods_of("a"), next);
    for (const auto& difference : b->pods)
      for (int i = 0; i < 128; i += 2) EXPECT_THAT(difference + " ", Not(HasSubstr(fmt::format(" -web-{} ", i))));
    publish(*a, {});
    a.reset();
  }
}

// Of a run before: it was on its way for long, and nothing stood in its place any more.
TEST_F(SlicesTest, ASliceThatComesLateCountsForNothingForLong) {
  const auto a = start(options("a"));
  const auto b = start(options("b"));
  const auto pods = pods_of(0, 40);
  publish(*a, pods);
  auto late = pods_of(38, 42);
  late.begin()->second.identity = 999;
  write("endpoints/a/7", encode(NodeEndpoints{"boot-1", late}));
  world_.time.advance(seconds(2));
  EXPECT_EQ(b->member->endpoints().pods_of("a"), pods);
  EXPECT_EQ(places(told("a")).size(), 40U);
  EXPECT_FALSE(told("a").contains(7));
}

TEST_F(SlicesTest, SomebodyElsesWriteBetweenIsFoundAndWrittenOver) {
  const auto a = start(options("a"));
  publish(*a, pods_of(0, 40));
  server().before("PUT", "weftendpoints/a.slice-1", [this] {
    write("endpoints/a/1", encode(NodeEndpoints{"boot-1", pods_of(90, 95)}));
  });
  publish(*a, pods_of(1, 40));
  EXPECT_EQ(places(told("a")).size(), 39U);
  server().store().remove(path_of(Resource::endpoints, "a.slice-2"));
  server().changed();
  world_.time.advance(seconds(2));
  EXPECT_EQ(places(told("a")).size(), 39U) << "what is deleted is written again";
}

TEST_F(SlicesTest, AnAnswerThatIsLostLeavesNoPodTwice) {
  const auto a = start(options("a"));
  publish(*a, pods_of(0, 64));
  for (int i = 0; i < 3; ++i) {
    world_.cluster.lose_answers(1 + i);
    a->member->endpoint_publisher().publish(pods_of(i, 70 + 10 * i));
    world_.time.advance(milliseconds(150));
    a->member->endpoint_publisher().publish(pods_of(i + 5, 66 + 10 * i));
    world_.time.advance(seconds(10));
    EXPECT_EQ(places(told("a")).size(), static_cast<std::size_t>(61 + 9 * i));
  }
}

TEST_F(SlicesTest, TheOneObjectOfEarlierBecomesSlicesWithoutAPodBeingMissed) {
  const auto pods = pods_of(0, 100);
  write("endpoints/a", encode(NodeEndpoints{"boot-1", pods}));
  const auto b = start(options("b"));
  EXPECT_EQ(b->member->endpoints().pods_of("a"), pods);
  b->pods.clear();
  auto a = start(options("a"));
  world_.time.advance(seconds(1));
  EXPECT_EQ(told("a").size(), 1U) << "until the agent knows its pods";
  auto now = pods;
  now.at({"shop", "web-3"}).ready = false;
  publish(*a, now);
  EXPECT_EQ(places(told("a")).size(), 100U);
  EXPECT_FALSE(told("a").contains(0));
  EXPECT_EQ(b->member->endpoints().pods_of("a"), now);
  EXPECT_THAT(b->pods, ::testing::ElementsAre("a: +web-3"));
  EXPECT_TRUE(b->troubles.empty());
}

TEST_F(SlicesTest, AsLongAsAnAgentKnowsOfNoSlicesTheOneObjectIsThereToo) {
  write("endpoints/a", encode(NodeEndpoints{"boot-1", pods_of(0, 40)}));
  write_old_node("old");
  const auto a = start(options("a"));
  const auto b = start(options("b"));
  const auto pods = pods_of(10, 60);
  publish(*a, pods);
  EXPECT_EQ(told("a").at(0), pods);
  EXPECT_EQ(told("a").size(), 3U);
  EXPECT_EQ(b->member->endpoints().pods_of("a"), pods);
  publish(*a, pods_of(11, 60));
  EXPECT_EQ(told("a").at(0), pods_of(11, 60));
  b->pods.clear();
  ASSERT_TRUE(world_.cluster.store().erase({etcd::Keys::one("/weft/v1/default/alive/old")}));
  world_.cluster.changed();
  world_.time.advance(seconds(1));
  EXPECT_FALSE(told("a").contains(0));
  EXPECT_TRUE(b->pods.empty());
  EXPECT_EQ(b->member->endpoints().pods_of("a"), pods_of(11, 60));
}

// The node went back to an agent that knows of none: what it says now counts.
TEST_F(SlicesTest, SlicesOfAnAgentThatKnowsOfNoneCountForNothing) {
  auto a = start(options("a"));
  const auto b = start(options("b"));
  publish(*a, pods_of(0, 40));
  a.reset();
  write("endpoints/a", encode(NodeEndpoints{"boot-1", pods_of(5, 45)}));
  world_.time.advance(seconds(1));
  EXPECT_EQ(b->member->endpoints().pods_of("a").size(), 40U + 5U) << "a slice counts before the one object";
  write("nodes/a", encode(cluster::NodeRecord{.boot_id = "boot-1", .mode = "vxlan"}));
  world_.time.advance(seconds(1));
  EXPECT_EQ(b->member->endpoints().pods_of("a"), pods_of(5, 45));
}

TEST_F(SlicesTest, AllSlicesOfANodeThatIsGoneAreCollected) {
  auto a = start(options("a"));
  const auto b = start(options("b"));
  publish(*a, pods_of(0, 100));
  a.reset();
  world_.time.advance(seconds(30));
  EXPECT_EQ(told("a").size(), 4U);
  world_.time.advance(seconds(120));
  EXPECT_TRUE(told("a").empty());
  EXPECT_TRUE(b->member->endpoints().pods_of("a").empty());
}

// More than one object of etcd could hold.
TEST_F(SlicesTest, TenThousandPodsOfOneNodeAreTold) {
  const auto a = start(options("a"));
  const auto b = start(options("b"));
  publish(*a, pods_of(0, 10000));
  EXPECT_EQ(places(told("a")).size(), 10000U);
  EXPECT_EQ(b->member->endpoints().pods_of("a").size(), 10000U);
  EXPECT_TRUE(a->troubles.empty());
}

}  // namespace
}  // namespace weft::crd::testing
