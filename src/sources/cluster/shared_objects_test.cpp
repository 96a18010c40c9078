#include "sources/cluster/shared_objects.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sources/cluster/testing/replica.h"
#include "sources/cluster/values.h"

namespace weft::cluster::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;

SharedWrite object(const std::string& name, const std::string& text = "1") {
  return {.key = {"Pod", "shop", name}, .text = text};
}

class SharedObjectsTest : public ::testing::Test {
 protected:
  struct Node {
    std::unique_ptr<etcd::Client> client;
    std::unique_ptr<Replica> replica;
    Replica* operator->() const { return replica.get(); }
  };
  Node start(const std::string& name) {
    Node node{world_.cluster.connect(), nullptr};
    node.replica = std::make_unique<Replica>(*node.client, world_.time, name);
    world_.time.settle();
    return node;
  }
  // What became of it: "done 2", "conflict 0", "failed 1 (2 unsure): why".
  std::string write(const Node& node, std::vector<SharedWrite> writes, bool gives = false) {
    return wait([&](SharedObjects::Done done) { node->shared.write(std::move(writes), gives, std::move(done)); });
  }
  std::string found(const Node& node, std::vector<SharedWrite> writes = {}) {
    return wait([&](SharedObjects::Done done) { node->shared.found(std::move(writes), std::move(done)); });
  }
  static std::string text_of(const WriteResult& result) {
    static constexpr const char* ends[] = {"done", "conflict", "failed"};
    auto text = fmt::format("{} {}", ends[static_cast<int>(result.end)], result.applied);
    if (result.unsure != 0) text += fmt::format(" ({} unsure)", result.unsure);
    return result.error ? text + ": " + result.error->message : text;
  }
  std::string wait(const std::function<void(SharedObjects::Done)>& begin) {
    const auto answer = std::make_shared<std::string>();
    begin([answer](const WriteResult& result) { *answer = text_of(result); });
    world_.run_until([&] { return !answer->empty(); }, seconds(120));
    return *answer;
  }
  std::vector<etcd::KeyValue> below(const std::string& prefix) {
    return world_.cluster.store().range({.keys = etcd::Keys::prefix("/weft/v1/c/" + prefix)})->kvs;
  }
  void put(const std::string& key, const std::string& value) {
    ASSERT_TRUE(world_.cluster.store().put({.key = "/weft/v1/c/" + key, .value = value}));
    world_.cluster.changed();
    world_.time.settle();
  }

  etcd::testing::FakeWorld world_;
};

TEST_F(SharedObjectsTest, WhatOneWritesAllHaveWhenItIsDone) {
  const auto a = start("a");
  const auto b = start("b");
  EXPECT_EQ(a->shared.state(), SharedObjects::State::unfounded);
  EXPECT_EQ(write(a, {object("web")}), "failed 0: the cluster has no objects yet");
  EXPECT_EQ(found(a, {object("web")}), "done 1");
  EXPECT_EQ(a->text(), "Pod/web=1 ");
  EXPECT_EQ(found(b), "failed 0: the cluster has objects already");
  EXPECT_EQ(write(b, {object("web", "2"), object("db")}), "done 2");
  EXPECT_EQ(b->text(), "Pod/db=1 Pod/web=2 ");
  EXPECT_EQ(write(a, {{.key = {"Pod", "shop", "web"}}}), "done 1");
  EXPECT_EQ(write(a, {{.key = {"Namespace", "", "shop"}, .text = "n"}}), "done 1");
  world_.time.settle();
  EXPECT_EQ(b->text(), "Namespace/shop=n Pod/db=1 ");
  EXPECT_EQ(a->text(), b->text());
  EXPECT_EQ(a->shared.objects(), 2U);
  EXPECT_TRUE(a->shared.contains({"Namespace", "", "shop"}));
  EXPECT_EQ(a->wholes, 1);
  const auto c = start("c");
  EXPECT_EQ(c->text(), a->text());
}

TEST_F(SharedObjectsTest, WhoWaitsForWhatEtcdHasSeesItOrIsToldThatItCouldNot) {
  const auto a = start("a");
  const auto b = start("b");
  const ObjectKey web{"Pod", "shop", "web"};
  std::string told;
  const auto catch_up = [&](const Node& node, const ObjectKey& key) {
    told.clear();
    node->shared.catch_up({key, {"Namespace", "", "shop"}}, [&](bool whole) { told = whole ? "whole" : "not"; });
  };
  catch_up(a, web);
  world_.time.settle();
  EXPECT_EQ(told, "whole") << "that there is nothing is known";
  ASSERT_EQ(found(a, {object("db")}), "done 1");
  world_.time.settle();
  // Others' news take longer than an answer.
  world_.cluster.set_latency(milliseconds(50));
  ASSERT_EQ(write(a, {object("web", "2")}), "done 1");
  catch_up(b, web);
  EXPECT_EQ(told, "");
  world_.run_until([&] { return !told.empty(); }, seconds(5));
  EXPECT_EQ(told, "whole");
  EXPECT_EQ(b->text(), "Pod/db=1 Pod/web=2 ");
  catch_up(b, {"Pod", "shop", "nobody"});
  world_.run_until([&] { return !told.empty(); }, seconds(5));
  EXPECT_EQ(told, "whole") << "that there is none is known too";
  world_.cluster.set_available(false);
  catch_up(b, web);
  world_.run_until([&] { return !told.empty(); }, seconds(10));
  EXPECT_EQ(told, "not");
}

TEST_F(SharedObjectsTest, WhoWaitsWhileTheFirstObjectsAreOnTheirWayGetsThem) {
  const auto a = start("a");
  const auto b = start("b");
  world_.time.settle();
  world_.cluster.set_latency(milliseconds(50));
  ASSERT_EQ(found(a, {object("web")}), "done 1");
  // At any moment of b's hearing of it and listing all.
  int waited = 0;
  bool early = false;
  for (int i = 0; i < 40; ++i) {
    b->shared.catch_up({{"Pod", "shop", "web"}}, [&](bool whole) {
      ++waited;
      early = early || !whole || b->text() != "Pod/web=1 ";
    });
    world_.time.advance(milliseconds(10));
  }
  world_.time.advance(seconds(10));
  EXPECT_EQ(waited, 40);
  EXPECT_FALSE(early);
}

SharedWrite pool_object(const std::string& name, std::vector<PoolRange> ranges) {
  SharedWrite write{.key = {"PodAddressPool", "", name}, .text = "p", .pool = Pool{name, std::move(ranges)}};
  if (write.pool->ranges.empty()) write.text.reset();
  return write;
}
PoolRange range(const char* cidr, unsigned block_length) { return {Cidr::parse(cidr).value(), block_length}; }

TEST_F(SharedObjectsTest, PoolsAreWrittenWithTheirObjectsAndGoOnlyWhenNobodyHasABlock) {
  const auto a = start("a");
  const auto b = start("b");
  const auto pools = [&] {
    const auto kvs = below("pools");
    if (kvs.empty()) return std::string("none");
    std::string text;
    const auto known = decode_pools(kvs[0].key, kvs[0].value).value();
    for (const auto& pool : known) text += fmt::format("{}: {}; ", pool.name, pool.to_string());
    return text;
  };
  EXPECT_EQ(found(a, {pool_object("blue", {range("10.1.0.0/16", 24)}), object("web")}), "done 2");
  EXPECT_EQ(pools(), "blue: 10.1.0.0/16 in blocks of /24; ");
  EXPECT_EQ(write(b, {pool_object("red", {range("10.1.2.0/24", 26)})}),
            "failed 0: 10.1.0.0/16 of pool \"blue\" overlaps 10.1.2.0/24 of pool \"red\"");
  EXPECT_EQ(write(b, {pool_object("red", {range("10.2.0.0/24", 26)})}), "done 1");
  EXPECT_EQ(write(a, {pool_object("blue", {range("10.1.0.0/16", 24), range("10.3.0.0/24", 24)})}), "done 1");
  EXPECT_EQ(pools(),
            "blue: 10.1.0.0/16 in blocks of /24, 10.3.0.0/24 in blocks of /24; red: 10.2.0.0/24 in blocks of /26; ");
  // A block of it.
  put("blocks/blue/10.1.7.0/24", encode(Incarnation{"n1", "boot"}));
  EXPECT_EQ(write(b, {pool_object("blue", {})}), "failed 0: PodAddressPool blue is in use: 10.1.7.0/24 of node n1");
  EXPECT_EQ(write(b, {pool_object("blue", {range("10.1.0.0/16", 25), range("10.3.0.0/24", 24)})}),
            "failed 0: PodAddressPool blue is in use: 10.1.7.0/24 of node n1");
  EXPECT_EQ(
      write(b, {pool_object("blue", {range("10.1.0.0/16", 24), range("10.3.0.0/24", 24), range("10.4.0.0/24", 24)})}),
      "done 1");
  ASSERT_TRUE(world_.cluster.store().erase({.keys = etcd::Keys::prefix("/weft/v1/c/blocks/")}));
  world_.cluster.changed();
  EXPECT_EQ(write(b, {pool_object("blue", {range("10.1.0.0/16", 25)})}), "done 1");
  EXPECT_EQ(write(b, {pool_object("blue", {})}), "done 1");
  EXPECT_EQ(pools(), "red: 10.2.0.0/24 in blocks of /26; ");
  EXPECT_FALSE(a->shared.contains({"PodAddressPool", "", "blue"}));
  // Somebody else adds to the pools meanwhile: that is no conflict of objects.
  put("pools", encode(std::vector<Pool>{{"default", {range("10.0.0.0/16", 24)}}, {"red", {range("10.2.0.0/24", 26)}}}));
  EXPECT_EQ(write(a, {pool_object("blue", {range("10.1.0.0/16", 24)})}), "done 1");
  put("pools", "{");
  EXPECT_THAT(write(a, {pool_object("green", {range("10.8.0.0/16", 24)})}),
              HasSubstr("failed 0: value of key '/weft/v1/c/pools': not a JSON object"));
}

// One reads them and then the other writes.
TEST_F(SharedObjectsTest, TwoThatAddPoolsAtOnceBothSucceed) {
  const auto a = start("a");
  const auto b = start("b");
  found(a);
  world_.time.settle();
  std::string ends;
  const auto add = [&](const Node& node, const char* name, const char* cidr) {
    node->shared.write({pool_object(name, {range(cidr, 24)})}, false,
                       [&ends](const WriteResult& result) { ends += text_of(result) + "; "; });
  };
  add(a, "x", "10.1.0.0/16");
  add(b, "y", "10.2.0.0/16");
  world_.run_until([&] { return ends.size() >= 16; }, seconds(60));
  EXPECT_EQ(ends, "done 1; done 1; ");
  EXPECT_EQ(decode_pools("pools", below("pools")[0].value).value().size(), 2U);
}

TEST_F(SharedObjectsTest, ServiceAndWhatItHoldsComeAndGoTogether) {
  const auto a = start("a");
  const auto b = start("b");
  found(a);
  const int before = b->differences;
  EXPECT_EQ(write(a, {{.key = {"Service", "shop", "web"}, .text = "s", .assignment = "7"}}, true), "done 1");
  EXPECT_EQ(b->text(), "Service/web=s web:7 ");
  EXPECT_EQ(write(a, {{.key = {"Service", "shop", "web"}, .assignment = "8", .assignment_only = true}}, true),
            "done 1");
  EXPECT_EQ(b->text(), "Service/web=s web:8 ");
  EXPECT_EQ(write(a, {{.key = {"Service", "shop", "web"}, .assignment = ""}}, true), "done 1");
  world_.time.settle();
  EXPECT_EQ(b->text(), "");
  EXPECT_EQ(b->differences, before + 3) << "each transaction is one difference";
}

// Both decide by the same view before either is heard.
TEST_F(SharedObjectsTest, OfTwoThatDecideAtOnceOneDecidesAgain) {
  const auto a = start("a");
  const auto b = start("b");
  found(a);
  world_.time.settle();
  a->want_number("one");
  b->want_number("two");
  world_.run_until([&] { return a->wanting + b->wanting == 0; }, seconds(10));
  world_.time.settle();
  EXPECT_EQ(a->text(), "Service/one=one Service/two=two one:1 two:2 ");
  EXPECT_EQ(a->text(), b->text());
  // The same object.
  std::string first;
  std::string second;
  a->shared.write({object("x", "a")}, false, [&](const WriteResult& result) { first = text_of(result); });
  b->shared.write({object("x", "b")}, false, [&](const WriteResult& result) {
    second = text_of(result);
    EXPECT_EQ(b->objects.at({"Pod", "shop", "x"}), "a") << "it is told when the view has caught up";
  });
  world_.run_until([&] { return !first.empty() && !second.empty(); }, seconds(10));
  EXPECT_EQ(first, "done 1");
  EXPECT_EQ(second, "conflict 0");
}

TEST_F(SharedObjectsTest, WhoGivesNothingIsInNobodysWay) {
  const auto a = start("a");
  const auto b = start("b");
  found(a);
  world_.time.settle();
  std::string second;
  a->want_number("one");
  b->shared.write({object("x")}, false, [&](const WriteResult& result) { second = text_of(result); });
  world_.run_until([&] { return !second.empty(); }, seconds(10));
  EXPECT_EQ(second, "done 1");
}

TEST_F(SharedObjectsTest, ManyObjectsGoInPartsOfWhichEachIsWhole) {
  const auto a = start("a");
  const auto b = start("b");
  found(a);
  world_.time.settle();
  std::vector<SharedWrite> many;
  for (int i = 0; i < 250; ++i) {
    many.push_back(object(fmt::format("pod-{}", i)));
    many.push_back(
        {.key = {"Service", "shop", fmt::format("service-{}", i)}, .text = "s", .assignment = std::to_string(i)});
  }
  const int before = b->differences;
  const auto requests = world_.cluster.requests();
  EXPECT_EQ(write(a, many, true), "done 500");
  EXPECT_EQ(world_.cluster.requests() - requests, 7U) << "750 operations, 120 each";
  world_.time.settle();
  EXPECT_EQ(b->differences - before, 7);
  EXPECT_EQ(b->shared.objects(), 500U);
  // Large ones by their size.
  std::vector<SharedWrite> large;
  for (int i = 0; i < 5; ++i) large.push_back(object(fmt::format("large-{}", i), std::string(400000, 'x')));
  EXPECT_EQ(write(a, large), "done 5");
  EXPECT_EQ(b->differences - before, 10);
  EXPECT_THAT(write(a, {object("small"), object("huge", std::string(1500000, 'x'))}),
              HasSubstr("failed 0: Pod shop/huge takes 15"));
  EXPECT_FALSE(b->shared.contains({"Pod", "shop", "small"}));
  EXPECT_THAT(write(a, {{.key = {"Pod", "shop", "a/b"}, .text = "x"}}), HasSubstr("is not a name"));
}

TEST_F(SharedObjectsTest, WhatIsAppliedIsSaidWhenEtcdGoesAwayInBetween) {
  const auto a = start("a");
  found(a);
  world_.time.settle();
  std::vector<SharedWrite> many;
  for (int i = 0; i < 250; ++i) many.push_back(object(fmt::format("pod-{}", i)));
  std::string answer;
  world_.cluster.set_latency(milliseconds(10));
  a->shared.write(many, false, [&](const WriteResult& result) { answer = text_of(result); });
  world_.time.advance(milliseconds(15));  // the first part is answered, the second on its way
  world_.cluster.set_available(false);
  world_.run_until([&] { return !answer.empty(); }, seconds(60));
  EXPECT_THAT(answer, HasSubstr("failed "));
  EXPECT_EQ(below("state/objects/").size() % 119, 0U) << "parts are whole";
  world_.cluster.set_latency(milliseconds(0));
  EXPECT_THAT(write(a, many), HasSubstr("failed 0: "));
  world_.cluster.set_available(true);
  world_.time.advance(seconds(60));
  EXPECT_EQ(a->shared.objects(), below("state/objects/").size());
}

TEST_F(SharedObjectsTest, ALostAnswerIsAConflictThatShowsWhatHappened) {
  const auto a = start("a");
  found(a);
  world_.time.settle();
  world_.cluster.lose_answers(1);
  EXPECT_EQ(write(a, {object("web")}), "conflict 0");
  EXPECT_EQ(a->text(), "Pod/web=1 ") << "it was applied, and is known to be";
  // Nothing can be found out: it is said.
  world_.cluster.lose_answers(2);
  EXPECT_THAT(write(a, {object("db"), object("cache")}), HasSubstr("failed 0 (2 unsure): "));
  world_.time.advance(seconds(5));
  EXPECT_EQ(a->shared.objects(), 3U);
}

TEST_F(SharedObjectsTest, AWipedEtcdTakesNothingAwayUntilItIsFoundedAgain) {
  const auto a = start("a");
  const auto b = start("b");
  found(a, {object("web"), object("db")});
  world_.time.settle();
  const auto known = b->text();
  world_.cluster.wipe(false);
  world_.time.advance(seconds(60));
  EXPECT_TRUE(a->shared.lost());
  EXPECT_EQ(a->text(), known);
  EXPECT_EQ(b->text(), known);
  EXPECT_EQ(write(a, {object("x")}), "failed 0: the cluster's objects are no longer in etcd");
  EXPECT_EQ(found(a, {object("web")}), "done 1");
  world_.time.settle();
  EXPECT_EQ(b->text(), "Pod/web=1 ");
  EXPECT_FALSE(b->shared.lost());
}

TEST_F(SharedObjectsTest, OfTwoFoundingsOneIsRefusedAndNothingOfItIsLeft) {
  const auto a = start("a");
  const auto b = start("b");
  std::vector<SharedWrite> of_a;
  std::vector<SharedWrite> of_b;
  for (int i = 0; i < 300; ++i) {
    of_a.push_back(object(fmt::format("a-{}", i)));
    of_b.push_back(object(fmt::format("b-{}", i)));
  }
  std::string first;
  std::string second;
  world_.cluster.set_latency(milliseconds(5));
  a->shared.found(of_a, [&](const WriteResult& result) { first = text_of(result); });
  world_.time.advance(milliseconds(12));
  b->shared.found(of_b, [&](const WriteResult& result) { second = text_of(result); });
  world_.run_until([&] { return !first.empty() && !second.empty(); }, seconds(60));
  EXPECT_THAT(first, HasSubstr("another node brings its objects to the cluster"));
  EXPECT_EQ(second, "done 300");
  world_.time.advance(seconds(1));
  EXPECT_EQ(below("state/objects/Pod/shop/a-").size(), 0U);
  EXPECT_EQ(a->text(), b->text());
  EXPECT_EQ(below("state/founding").size(), 0U);
}

TEST_F(SharedObjectsTest, FollowsThroughCompactionAndTellsWhatIsForeign) {
  const auto a = start("a");
  const auto b = start("b");
  found(a);
  world_.time.settle();
  write(a, {object("stays"), object("goes")});
  world_.cluster.set_available(false);
  world_.time.settle();
  put("state/objects/Pod/shop/comes", "1");
  ASSERT_TRUE(world_.cluster.store().erase({etcd::Keys::one("/weft/v1/c/state/objects/Pod/shop/goes")}));
  ASSERT_TRUE(world_.cluster.store().compact(world_.cluster.store().revision()));
  world_.time.advance(seconds(60));
  EXPECT_FALSE(a->shared.connected());
  EXPECT_GE(a->shared.silent_for(), seconds(60));
  world_.cluster.set_available(true);
  world_.time.advance(seconds(60));
  EXPECT_EQ(a->text(), "Pod/comes=1 Pod/stays=1 ");
  EXPECT_EQ(a->text(), b->text());
  EXPECT_EQ(a->wholes, 1) << "a difference again";
  put("state/objects/Pod/shop/a/b", "1");
  put("state/other", "1");
  ASSERT_EQ(a->troubles.size(), 2U);
  EXPECT_THAT(a->troubles[0], HasSubstr("'/weft/v1/c/state/objects/Pod/shop/a/b'"));
}

TEST_F(SharedObjectsTest, NobodyGivesANumberTwiceThroughAnyMixOfFailures) {
  std::vector<Node> nodes;
  for (const auto* name : {"a", "b", "c"}) nodes.push_back(start(name));
  found(nodes[0]);
  auto random = etcd::testing::fixed_random();
  int services = 0;
  for (int step = 0; step < 3000; ++step) {
    const auto& node = nodes[random() % nodes.size()];
    const auto which = random() % 16;
    if (!etcd::testing::make_trouble(world_.cluster, which, random)) switch (which) {
        case 5:
          if (node->assignments.size() > 3) {
            const auto& key = std::next(node->assignments.begin(), static_cast<long>(random() % 3))->first;
            node->shared.write({{.key = {"Service", key.namespace_, key.name}, .assignment = ""}}, true,
                               [](const WriteResult&) {});
          }
          break;
        case 6:
        case 7:
        case 8:
          node->want_number(fmt::format("s-{}", ++services));
          break;
        default:
          world_.time.advance(milliseconds(random() % 300));
      }
    world_.time.advance(milliseconds(random() % 5));
    std::map<std::string, std::string> owners;
    for (const auto& kv : below("state/assignments/"))
      ASSERT_TRUE(owners.emplace(kv.value, kv.key).second)
          << "step " << step << ": " << kv.value << " is " << kv.key << "'s and " << owners[kv.value] << "'s";
  }
  world_.cluster.set_available(true);
  world_.cluster.set_latency(milliseconds(0));
  world_.run_until([&] { return std::ranges::all_of(nodes, [](const auto& node) { return node->wanting == 0; }); },
                   seconds(300));
  world_.time.advance(seconds(60));
  EXPECT_GT(below("state/assignments/").size(), 20U);
  EXPECT_EQ(below("state/assignments/").size(), nodes[0]->assignments.size());
  for (const auto& node : nodes) EXPECT_EQ(node->text(), nodes[0]->text());
}

}  // namespace
}  // namespace weft::cluster::testing
