// What a node does about its blocks, against a cluster in memory with a clock by hand.
#include "agent/own_blocks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/address_pools.h"
#include "sources/etcd/testing/world.h"

namespace weft::agent {
namespace {

using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

Cidr cidr(std::string_view text) { return Cidr::parse(text).value(); }

class OwnBlocksTest : public ::testing::Test {
 protected:
  struct TestNode {
    Config config;
    store::Store store = *store::Store::open(":memory:");
    Faults faults;
    std::unique_ptr<etcd::Client> client;
    std::unique_ptr<OwnBlocks> own;
    std::unique_ptr<cluster::Member> member;
    std::vector<cluster::Pool> more;  // beside the first one
    std::function<void()> changed;
  };

  std::unique_ptr<TestNode> make(const std::string& name) {
    auto node = std::make_unique<TestNode>();
    node->config.node = name;
    node->config.pod_cidrs = {cidr("10.0.0.0/22")};
    node->config.pod_block_length_v4 = 24;
    start(*node);
    return node;
  }
  void start(TestNode& node) {
    node.client = world_.cluster.connect();
    node.own = std::make_unique<OwnBlocks>(node.config, node.store, node.faults, world_.time, [&node] {
      if (node.changed) node.changed();
    });
    cluster::MemberOptions options;
    options.self = {.name = node.config.node, .boot_id = "boot", .predecessor = {}, .record = {}};
    options.pools = {default_pool(node.config)};
    options.pools.insert(options.pools.end(), node.more.begin(), node.more.end());
    options.lease = seconds(10);
    options.delay = seconds(60);
    options.round = seconds(15);
    options.remembered = node.own->remembered();
    node.member = std::make_unique<cluster::Member>(
        *node.client, world_.time, etcd::testing::fixed_random(), options,
        cluster::MemberHandlers{.joined = [&node] { node.own->changed(); },
                                .blocks = [&node] { node.own->changed(); },
                                .blocks_lost = [&node](const auto& blocks) { node.own->lost(blocks); }});
    node.own->follow(*node.member);
  }
  static void stop(TestNode& node) {
    node.member.reset();
    node.own.reset();
    node.client.reset();
  }
  std::string claim(TestNode& node, const std::string& pool = "default") {
    auto answer = std::make_shared<std::string>();
    node.own->claim(pool, Family::v4,
                    [answer](const Result<void>& claimed) { *answer = claimed ? "ok" : claimed.error().message; });
    world_.run_until([&] { return !answer->empty(); }, seconds(60));
    return *answer;
  }
  // As the agent does it, once a second.
  void pass(TestNode& node, seconds time) {
    for (seconds gone{0}; gone < time; gone += seconds(1)) {
      world_.time.advance(seconds(1));
      node.own->check();
    }
  }
  // As whoever changes the cluster's pools.
  void say(const std::vector<cluster::Pool>& pools) {
    ASSERT_TRUE(world_.cluster.store().put({.key = "/weft/v1/default/pools", .value = cluster::encode(pools)}));
    world_.cluster.changed();
  }
  std::size_t blocks_in_etcd() {
    return world_.cluster.store().range({.keys = etcd::Keys::prefix("/weft/v1/default/blocks/")})->kvs.size();
  }

  etcd::testing::FakeWorld world_;
};

// A start that asks before it knows what it has: as the agent does, and pods that are attached at once.
TEST_F(OwnBlocksTest, AStartTakesNoFurtherBlock) {
  const auto a = make("a");
  ASSERT_EQ(claim(*a), "ok");
  const auto before = a->own->usable();
  stop(*a);
  start(*a);
  EXPECT_THAT(a->own->usable()["default"], IsEmpty());
  EXPECT_EQ(claim(*a), "ok");
  EXPECT_EQ(a->own->usable(), before);
  // The store is lost as well.
  stop(*a);
  a->store = *store::Store::open(":memory:");
  start(*a);
  EXPECT_EQ(claim(*a), "ok");
  EXPECT_EQ(a->own->usable(), before);
  EXPECT_EQ(blocks_in_etcd(), 1U);
  // Now it is known what there is.
  EXPECT_EQ(claim(*a), "ok");
  EXPECT_EQ(blocks_in_etcd(), 2U);
}

TEST_F(OwnBlocksTest, AStartIsWellWhereAllBlocksAreTaken) {
  const auto a = make("a");
  const auto b = make("b");
  for (int i = 0; i < 3; ++i) ASSERT_EQ(claim(*a), "ok");
  ASSERT_EQ(claim(*b), "ok");
  EXPECT_THAT(claim(*b), HasSubstr("all 4 IPv4 blocks are taken"));
  stop(*b);
  start(*b);
  EXPECT_EQ(claim(*b), "ok");
  EXPECT_THAT(b->own->usable()["default"], SizeIs(1));
}

TEST_F(OwnBlocksTest, WhatAWipedEtcdHasForgottenIsAskedForAgain) {
  const auto a = make("a");
  for (int i = 0; i < 3; ++i) ASSERT_EQ(claim(*a), "ok");
  const auto before = a->own->usable();
  const auto gateways = a->own->gateways();
  // As the agent does where it has no address left.
  a->changed = [&] {
    if (a->own->usable()["default"].empty() && !a->own->claims("default", Family::v4))
      a->own->claim("default", Family::v4, [](const Result<void>&) {});
  };
  world_.cluster.wipe(false);
  pass(*a, seconds(60));
  EXPECT_EQ(a->own->usable(), before);
  EXPECT_EQ(a->own->gateways(), gateways);
  EXPECT_EQ(blocks_in_etcd(), 3U);
  EXPECT_THAT(a->faults.texts(), IsEmpty());
}

TEST_F(OwnBlocksTest, ABlockThatNobodyTookMeanwhileIsHadAgain) {
  const auto z = make("z");
  const auto a = make("a");
  ASSERT_EQ(claim(*a), "ok");
  const auto before = a->own->usable();
  stop(*a);
  world_.time.advance(seconds(200));
  ASSERT_EQ(blocks_in_etcd(), 0U) << "z has collected it";
  start(*a);
  pass(*a, seconds(5));
  EXPECT_EQ(a->own->usable(), before);
  EXPECT_THAT(a->faults.texts(), IsEmpty());
}

TEST_F(OwnBlocksTest, BlocksThatOthersHaveNowAreNamedWhilePodsUseThem) {
  const auto z = make("z");
  const auto a = make("a");
  for (int i = 0; i < 3; ++i) ASSERT_EQ(claim(*a), "ok");
  const auto had = a->own->all();
  stop(*a);
  world_.time.advance(seconds(200));
  for (std::size_t i = 0; i < 2; ++i) {
    std::optional<Result<void>> taken;
    z->own->claim(cluster::Block{"default", had[i]}, [&](const Result<void>& claimed) { taken = claimed; });
    world_.time.advance(seconds(1));
    ASSERT_TRUE(taken && *taken);
  }
  start(*a);
  pass(*a, seconds(5));
  EXPECT_THAT(a->own->usable()["default"], ElementsAre(had[2]));
  const auto text = [&] {
    return a->faults.has("cluster blocks taken") ? a->faults.texts().at("cluster blocks taken") : "";
  };
  for (std::size_t i = 0; i < 2; ++i)
    EXPECT_THAT(text(), HasSubstr("block " + had[i].to_string() + " of pool \"default\" is node z's"));
  EXPECT_THAT(text(), HasSubstr("create the pods"));
  // Also after the next start, for the pods are still there.
  stop(*a);
  a->faults.clear("cluster blocks taken");
  start(*a);
  pass(*a, seconds(5));
  EXPECT_THAT(text(), HasSubstr(had[1].to_string()));
  // One of the pods is gone.
  control::Ipam ipam({.cidrs = {had[2]}, .gateways = {}},
                     {{had[1].address().plus(9), "pod"}, {had[2].address().plus(9), "pod"}}, {});
  a->own->release_unused(ipam);
  EXPECT_EQ(text().find(had[0].to_string()), std::string::npos);
  EXPECT_THAT(text(), HasSubstr(had[1].to_string()));
  // The other's block falls free.
  z->member->blocks().release({"default", had[1]});
  pass(*a, seconds(3));
  EXPECT_EQ(text(), "");
  EXPECT_THAT(a->own->usable()["default"], SizeIs(2));
}

// The pool of a wiped etcd is not known there until somebody says again what it is.
TEST_F(OwnBlocksTest, BlocksOfAPoolThatEtcdHasForgottenWaitForIt) {
  const auto a = make("a");
  ASSERT_EQ(claim(*a), "ok");
  const cluster::Pool blue{.name = "blue", .ranges = {{cidr("10.50.0.0/24"), 26}}};
  say({default_pool(a->config), blue});
  a->member->blocks().pools_changed();
  ASSERT_EQ(claim(*a, "blue"), "ok");
  const auto before = a->own->usable();
  world_.cluster.wipe(false);
  pass(*a, seconds(60));
  EXPECT_THAT(a->own->usable()["default"], SizeIs(1));
  EXPECT_THAT(a->own->usable()["blue"], IsEmpty());
  ASSERT_TRUE(a->faults.has("cluster blocks forgotten"));
  EXPECT_FALSE(a->faults.has("cluster blocks taken"));
  EXPECT_THAT(a->faults.texts().at("cluster blocks forgotten"),
              HasSubstr("block blue " + before.at("blue")[0].to_string() + ": the cluster has no pool \"blue\""));
  EXPECT_THAT(a->faults.texts().at("cluster blocks forgotten"), HasSubstr("weft store push"));
  say({default_pool(a->config), blue});
  pass(*a, seconds(5));
  EXPECT_EQ(a->own->usable(), before);
  EXPECT_THAT(a->faults.texts(), IsEmpty());
}

// Or until a node that has such a block says so: others would not reach its pods meanwhile.
TEST_F(OwnBlocksTest, ANodeThatHoldsTheObjectsBringsThePoolOfItsBlockBack) {
  const auto a = make("a");
  const auto b = make("b");
  const cluster::Pool blue{.name = "blue", .ranges = {{cidr("10.50.0.0/24"), 26}}};
  const cluster::Pool red{.name = "red", .ranges = {{cidr("10.60.0.0/24"), 26}}};
  say({default_pool(a->config), blue, red});
  a->member->blocks().pools_changed();
  ASSERT_EQ(claim(*a, "blue"), "ok");
  const auto before = a->own->usable();
  world_.cluster.wipe(false);
  a->member->blocks().pools_changed({default_pool(a->config), blue, red});
  pass(*a, seconds(30));
  EXPECT_EQ(a->own->usable()["blue"], before.at("blue"));
  EXPECT_FALSE(a->faults.has("cluster blocks forgotten"));
  const auto owners = b->member->blocks().owners();
  EXPECT_EQ(owners.at({"blue", before.at("blue")[0]}), "a");
  // What nobody here has a block of waits for who gives etcd the objects.
  EXPECT_EQ(claim(*a, "red"), "the cluster has no pool \"red\": there are default, blue");
}

// Two nodes that were not together at the last change of a pool: the first one has it, the other waits.
TEST_F(OwnBlocksTest, AHeldPoolThatContradictsTheClustersIsLeftOut) {
  const auto a = make("a");
  const cluster::Pool blue{.name = "blue", .ranges = {{cidr("10.50.0.0/24"), 26}}};
  const cluster::Pool other{.name = "other", .ranges = {{cidr("10.50.0.0/25"), 27}}};
  say({default_pool(a->config), blue});
  a->member->blocks().pools_changed();
  ASSERT_EQ(claim(*a, "blue"), "ok");
  world_.cluster.wipe(false);
  say({other});
  a->member->blocks().pools_changed({default_pool(a->config), blue});
  pass(*a, seconds(30));
  EXPECT_THAT(a->own->usable()["blue"], IsEmpty());
  EXPECT_TRUE(a->faults.has("cluster blocks forgotten"));
}

// An install with a wrong range, and then one with the right one.
TEST_F(OwnBlocksTest, AGatewayOfRangesThatAreNoneAnyMoreIsForgotten) {
  const auto a = make("a");
  ASSERT_EQ(claim(*a), "ok");
  ASSERT_EQ(a->own->gateways().size(), 1U);
  stop(*a);
  a->config.pod_cidrs = {cidr("10.9.0.0/22")};
  world_.cluster.wipe(false);
  start(*a);
  EXPECT_THAT(a->own->gateways(), IsEmpty());
  ASSERT_EQ(claim(*a), "ok");
  EXPECT_TRUE(a->config.pod_cidrs[0].contains(a->own->gateways().at(Family::v4)));
  pass(*a, seconds(3));
  EXPECT_TRUE(a->config.pod_cidrs[0].contains(a->own->gateways().at(Family::v4)));
}

// --- node_cidrs: kubernetes

TEST_F(OwnBlocksTest, ANodeTakesTheBlocksOfItsNodeObject) {
  const auto a = make("a");
  const auto b = make("b");
  for (auto* node : {a.get(), b.get()}) {
    node->config.node_cidrs = Config::NodeCidrs::kubernetes;
    EXPECT_THAT(claim(*node), HasSubstr("the Node object of this node has no spec.podCIDRs"));
  }
  EXPECT_EQ(blocks_in_etcd(), 0U);
  a->config.own_cidrs = {cidr("10.0.2.0/24")};
  b->config.own_cidrs = {cidr("10.0.0.0/23"), cidr("fd00::/64")};
  ASSERT_EQ(claim(*a), "ok");
  EXPECT_THAT(a->own->usable()["default"], ElementsAre(cidr("10.0.2.0/24")));
  EXPECT_THAT(claim(*a), HasSubstr("all blocks of default are taken: 10.0.2.0/24 in blocks of /24"));
  ASSERT_EQ(claim(*b), "ok");
  ASSERT_EQ(claim(*b), "ok");
  EXPECT_THAT(b->own->usable()["default"], ElementsAre(cidr("10.0.0.0/24"), cidr("10.0.1.0/24")));
}

TEST_F(OwnBlocksTest, PodCidrsThatDoNotFitAreNamed) {
  const auto a = make("a");
  a->config.node_cidrs = Config::NodeCidrs::kubernetes;
  a->config.own_cidrs = {cidr("10.9.0.0/24")};
  EXPECT_EQ(claim(*a), "podCIDR 10.9.0.0/24 of this Node is not in pod_cidrs (10.0.0.0/22)");
  a->config.own_cidrs = {cidr("10.0.1.0/26")};
  EXPECT_EQ(claim(*a), "podCIDR 10.0.1.0/26 of this Node is smaller than a block, which is a /24");
  a->config.own_cidrs = {cidr("fd00::/64")};
  EXPECT_EQ(claim(*a), "the podCIDRs of this Node (fd00::/64) have no IPv4");
  // Other pools are nobody's but theirs.
  const cluster::Pool blue{.name = "blue", .ranges = {{cidr("10.50.0.0/24"), 26}}};
  say({default_pool(a->config), blue});
  a->member->blocks().pools_changed();
  EXPECT_EQ(claim(*a, "blue"), "ok");
}

TEST_F(OwnBlocksTest, WhatANodeHadOtherwiseGoesBackWhenItIsUnused) {
  const auto a = make("a");
  ASSERT_EQ(claim(*a), "ok");
  ASSERT_EQ(claim(*a), "ok");
  const auto before = a->own->all();
  a->config.node_cidrs = Config::NodeCidrs::kubernetes;
  const auto gateway = a->own->gateways().at(Family::v4);
  const auto its = before[0].contains(gateway) ? before[0] : before[1];
  for (const auto* text : {"10.0.0.0/24", "10.0.1.0/24", "10.0.2.0/24", "10.0.3.0/24"})
    if (std::ranges::find(before, cidr(text)) == before.end()) a->config.own_cidrs = {cidr(text)};
  pass(*a, seconds(1));
  EXPECT_THAT(a->own->usable()["default"], IsEmpty());
  ASSERT_TRUE(a->faults.has("node cidrs"));
  EXPECT_THAT(a->faults.texts().at("node cidrs"), HasSubstr(before[1].to_string()));
  ASSERT_EQ(claim(*a), "ok");
  EXPECT_EQ(a->own->usable()["default"], a->config.own_cidrs);
  const auto outside = before[0] == its ? before[1] : before[0];
  EXPECT_THAT(
      [&] {
        std::string text;
        a->own->claim(cluster::Block{"default", outside},
                      [&](const Result<void>& claimed) { text = claimed ? "ok" : claimed.error().message; });
        pass(*a, seconds(1));
        return text;
      }(),
      HasSubstr("is not in the podCIDRs of this Node"));
  const control::Ipam ipam({.cidrs = a->config.own_cidrs, .gateways = {}}, {}, {});
  a->own->release_unused(ipam);
  pass(*a, seconds(2));
  // That of the gateway, which pods know, stays.
  EXPECT_THAT(a->own->all(), ::testing::UnorderedElementsAre(its, a->config.own_cidrs[0]));
}

}  // namespace
}  // namespace weft::agent
