#include "agent/cluster_objects.h"

#include <gmock/gmock.h>

#include "agent/cluster_objects_testing.h"
#include "sources/cluster/values.h"

namespace weft::agent::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::UnorderedElementsAre;

class ClusterObjectsTest : public ::testing::Test {
 protected:
  std::unique_ptr<TestNode> start(const std::string& name, const std::map<std::string, std::uint32_t>& sizes = {}) {
    auto node = std::make_unique<TestNode>(world_, world_.cluster.connect(), name, sizes);
    world_.time.settle();
    return node;
  }
  void put(const std::string& key, const std::string& value) {
    ASSERT_TRUE(world_.cluster.store().put({.key = "/weft/v1/c/state/" + key, .value = value}));
    world_.cluster.changed();
    world_.time.settle();
  }
  void erase(const std::string& key) {
    ASSERT_TRUE(world_.cluster.store().erase({etcd::Keys::one("/weft/v1/c/state/" + key)}));
    world_.cluster.changed();
    world_.time.settle();
  }
  // Every ClusterIP and node port that anybody holds is one's alone, in etcd.
  void expect_nothing_twice() {
    std::map<std::string, std::string> owners;
    const auto all = world_.cluster.store().range({.keys = etcd::Keys::prefix("/weft/v1/c/state/assignments/")});
    for (const auto& kv : all->kvs) {
      const auto held = control::assignment_from_text(kv.value).value();
      for (const auto& address : held.cluster_ips)
        EXPECT_TRUE(owners.emplace(address.to_string(), kv.key).second) << kv.key << " " << kv.value;
      for (const auto& [port, node_port] : held.node_ports)
        EXPECT_TRUE(owners.emplace(std::to_string(node_port), kv.key).second) << kv.key << " " << kv.value;
    }
  }

  etcd::testing::FakeWorld world_;
};

TEST_F(ClusterObjectsTest, WhatOneAppliesAllHaveAndPublish) {
  const auto a = start("a");
  const auto b = start("b");
  EXPECT_EQ(a->apply(namespace_yaml("shop") + service("web") + pod("web-1")), "created created created ");
  EXPECT_THAT(a->state(), HasSubstr("frontend 10.96.0."));
  world_.time.settle();
  EXPECT_EQ(a->state(), b->state());
  EXPECT_EQ(b->apply(service("web")), "unchanged ");
  EXPECT_EQ(b->apply(pod("web-1", "db") + pod("web-2")), "configured created ");
  world_.time.settle();
  EXPECT_EQ(a->state(), b->state());
  EXPECT_EQ(a->objects->pod({"shop", "web-1"})->meta.labels.at("app"), "db");
  const auto held = a->held("web");
  EXPECT_EQ(b->apply(service("web", ", type: NodePort")), "configured ");
  world_.time.settle();
  EXPECT_THAT(a->held("web"), HasSubstr("nodePorts"));
  EXPECT_THAT(a->held("web"), HasSubstr(held.substr(1, 24))) << "its ClusterIP stays";
  EXPECT_EQ(a->remove(model::Kind::service, "shop", "web"), "deleted");
  world_.time.settle();
  EXPECT_EQ(a->state(), b->state());
  EXPECT_THAT(b->state(), Not(HasSubstr("frontend")));
  EXPECT_THAT(b->state(), Not(HasSubstr("holds")));
}

TEST_F(ClusterObjectsTest, APoolOfAddressesIsTheClustersAndGoesOnlyUnused) {
  const auto a = start("a");
  const auto b = start("b");
  const auto pool = [](const std::string& name, const std::string& cidrs) {
    return "---\napiVersion: weft.io/v1alpha1\nkind: PodAddressPool\nmetadata: {name: " + name + "}\nspec: {cidrs: [" +
           cidrs + "]}\n";
  };
  const auto pools = [&] {
    const auto kvs = world_.cluster.store().range({.keys = etcd::Keys::one("/weft/v1/c/pools")})->kvs;
    return kvs.empty() ? std::string("none") : cluster::names_of(cluster::decode_pools("pools", kvs[0].value).value());
  };
  EXPECT_EQ(a->apply(pool("blue", "{cidr: 10.50.0.0/16}")), "created ");
  EXPECT_EQ(pools(), "blue");
  world_.time.settle();
  EXPECT_EQ(b->objects->address_pools().size(), 1U);
  EXPECT_EQ(b->apply(pool("red", "{cidr: 10.50.1.0/24}")),
            "refused 10.50.1.0/24 overlaps 10.50.0.0/16 of pool \"blue\"; give the pool another CIDR ");
  EXPECT_EQ(b->apply(pool("blue", "{cidr: 10.50.0.0/16}, {cidr: 10.51.0.0/16}") + pool("red", "{cidr: 10.52.0.0/24}")),
            "configured created ");
  EXPECT_EQ(pools(), "blue, red");
  // Somebody has a block: this node need not have heard of it.
  ASSERT_TRUE(world_.cluster.store().put(
      {.key = "/weft/v1/c/blocks/blue/10.50.7.0/24", .value = cluster::encode(cluster::Incarnation{"n", "boot"})}));
  EXPECT_THAT(a->remove(model::Kind::pod_address_pool, "", "blue"),
              HasSubstr("PodAddressPool blue is in use: 10.50.7.0/24 of node n; nothing was deleted"));
  EXPECT_THAT(a->apply(pool("blue", "{cidr: 10.51.0.0/16}")), HasSubstr("is in use: 10.50.7.0/24 of node n"));
  EXPECT_EQ(a->remove(model::Kind::pod_address_pool, "", "red"), "deleted");
  EXPECT_EQ(pools(), "blue");
  a->publisher->set_pool_users([](const std::string&) { return std::string("node n has 10.50.7.0/24"); });
  EXPECT_THAT(a->remove(model::Kind::pod_address_pool, "", "blue"), HasSubstr("in use: node n has 10.50.7.0/24"));
  // Two at once, each good by itself.
  const auto one = a->apply_later(pool("x", "{cidr: 10.60.0.0/16}"));
  const auto two = b->apply_later(pool("y", "{cidr: 10.60.8.0/24}"));
  world_.run_until([&] { return !one->empty() && !two->empty(); }, seconds(60));
  EXPECT_EQ(*one, "created ");
  EXPECT_THAT(*two, HasSubstr("overlaps"));
}

TEST_F(ClusterObjectsTest, OneDifferenceIsPublishedOnceAndAnEchoNotAtAll) {
  const auto a = start("a");
  const auto b = start("b");
  a->apply(namespace_yaml("shop"));
  world_.time.settle();
  const auto before = b->publishes;
  a->apply(service("one") + service("two") + pod("web-1"));
  world_.time.settle();
  EXPECT_EQ(b->publishes, before + 1);
  world_.cluster.set_available(false);
  world_.time.advance(seconds(30));
  world_.cluster.set_available(true);
  world_.time.advance(seconds(30));
  EXPECT_EQ(b->publishes, before + 1);
  b->stop();
  b->start();
  world_.time.settle();
  EXPECT_EQ(b->publishes, before + 1) << "it has all of it in its store";
  EXPECT_EQ(a->state(), b->state());
}

TEST_F(ClusterObjectsTest, ServicesAppliedOnAllNodesAtOnceShareNothing) {
  std::vector<std::unique_ptr<TestNode>> nodes;
  for (const auto* name : {"a", "b", "c"}) nodes.push_back(start(name));
  EXPECT_EQ(nodes[0]->apply(namespace_yaml("shop")), "created ");
  world_.time.settle();
  std::vector<std::shared_ptr<std::string>> answers;
  for (int i = 0; i < 4; ++i)
    for (std::size_t n = 0; n < nodes.size(); ++n)
      answers.push_back(nodes[n]->apply_later(service(fmt::format("s-{}-{}", n, i), ", type: NodePort")));
  const auto all = [&](const auto& holds) { return std::ranges::all_of(answers, holds); };
  ASSERT_TRUE(world_.run_until([&] { return all([](const auto& answer) { return !answer->empty(); }); }, seconds(60)));
  EXPECT_TRUE(all([](const auto& answer) { return *answer == "created "; })) << *answers[0];
  world_.time.settle();
  expect_nothing_twice();
  for (const auto& node : nodes) EXPECT_EQ(node->state(), nodes[0]->state());
  // Twelve of fourteen addresses are taken, and one has to be left out: what is wrong is said as it is by one node.
  nodes[0]->apply(service("last"));
  EXPECT_EQ(nodes[1]->apply(service("none") + service("none-either")),
            nodes[2]->apply(service("none") + service("none-either")));
  EXPECT_THAT(nodes[1]->apply(service("none") + service("none-either")), HasSubstr("refused "));
  EXPECT_EQ(nodes[1]->stored(), nodes[0]->stored());
}

TEST_F(ClusterObjectsTest, ANodePortAskedForByTwoIsOnesOnly) {
  const auto a = start("a");
  const auto b = start("b");
  a->apply(namespace_yaml("shop"));
  world_.time.settle();
  const auto asking = [](const std::string& name) {
    return fmt::format(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {}, namespace: shop}}\n"
        "spec: {{type: NodePort, ports: [{{port: 80, nodePort: 30005}}]}}\n",
        name);
  };
  const auto first = a->apply_later(asking("one"));
  const auto second = b->apply_later(asking("two"));
  world_.run_until([&] { return !first->empty() && !second->empty(); }, seconds(60));
  EXPECT_EQ(*first, "created ");
  EXPECT_THAT(*second, HasSubstr("refused service shop/two: node port 30005 belongs to service shop/one"));
  world_.time.settle();
  EXPECT_EQ(a->state(), b->state());
}

TEST_F(ClusterObjectsTest, WithoutEtcdChangesAreRefusedAndAllElseStays) {
  const auto a = start("a");
  a->apply(namespace_yaml("shop") + service("web"));
  world_.time.settle();
  const auto before = a->state();
  world_.cluster.set_available(false);
  world_.time.advance(seconds(30));
  EXPECT_THAT(a->apply(service("db")), HasSubstr("etcd (http://etcd:2379) has not been heard of since "));
  EXPECT_THAT(a->remove(model::Kind::service, "shop", "web"), HasSubstr("nothing was changed"));
  EXPECT_EQ(a->cluster->status_json()["connected"], false);
  EXPECT_EQ(a->state(), before);
  // A start without etcd uses what came last.
  a->stop();
  a->start();
  world_.time.advance(seconds(30));
  EXPECT_EQ(a->state(), before);
  EXPECT_EQ(a->cluster->status_json()["state"], "unheard");
  world_.cluster.set_available(true);
  world_.time.advance(seconds(30));
  EXPECT_EQ(a->cluster->status_json()["connected"], true);
  EXPECT_EQ(a->cluster->status_json()["objects"], 2);
  EXPECT_EQ(a->state(), before);
  EXPECT_EQ(a->apply(service("db")), "created ");
}

TEST_F(ClusterObjectsTest, ALostAnswerIsFoundOutAndTheCallSaysWhatItDid) {
  const auto a = start("a");
  a->apply(namespace_yaml("shop"));
  world_.time.settle();
  world_.cluster.lose_answers(1);
  EXPECT_EQ(a->apply(service("web") + pod("web-1")), "created created ");
  world_.cluster.lose_answers(1);
  EXPECT_EQ(a->remove(model::Kind::pod, "shop", "web-1"), "deleted");
  world_.cluster.lose_answers(2);
  EXPECT_THAT(a->apply(service("db")), HasSubstr("may be applied: Service shop/db"));
  expect_nothing_twice();
}

TEST_F(ClusterObjectsTest, WhatHappenedWhileANodeWasAwayIsOneDifference) {
  const auto a = start("a");
  auto b = start("b");
  a->apply(namespace_yaml("shop") + service("goes") + service("stays"));
  world_.time.settle();
  b->stop();
  a->remove(model::Kind::service, "shop", "goes");
  a->apply(service("comes"));
  auto& store = world_.cluster.store();
  ASSERT_TRUE(store.compact(store.revision()));
  b->start();
  world_.time.settle();
  EXPECT_EQ(a->state(), b->state());
  EXPECT_EQ(b->held("comes"), a->held("comes"));
}

TEST_F(ClusterObjectsTest, EmbeddedObjectsAreTheClustersOnlyWhenTheyArePushed) {
  const auto a = start("a");
  const auto b = start("b");
  a->apply_embedded(namespace_yaml("shop") + service("web") + service("db"));
  const auto before = a->state();
  const auto held = a->held("db");
  EXPECT_THAT(a->apply(service("x")), HasSubstr("weft store push makes them the cluster's"));
  EXPECT_THAT(a->cluster->unfounded(), HasSubstr("has no objects of the cluster: nobody has pushed any yet"));
  EXPECT_EQ(a->state(), before) << "nothing is taken away";
  EXPECT_EQ(a->push(), "pushed 3");
  EXPECT_EQ(a->cluster->unfounded(), "");
  world_.time.settle();
  EXPECT_EQ(a->state(), before);
  EXPECT_EQ(b->state(), before);
  EXPECT_EQ(b->held("db"), held) << "with the addresses they had";
  EXPECT_THAT(b->push(), HasSubstr("the cluster has objects already"));
  // One that joins later with others of its own gives way.
  const auto c = start("c");
  c->stop();
  c->start();
  EXPECT_EQ(c->state(), before);
}

TEST_F(ClusterObjectsTest, ANodesOwnObjectsGiveWayToTheClusters) {
  const auto b = start("b");
  b->apply_embedded(namespace_yaml("own") + service("own"));
  b->stop();
  const auto a = start("a");
  EXPECT_EQ(a->apply(namespace_yaml("shop") + service("web")), "created created ");
  b->start();
  world_.time.settle();
  EXPECT_EQ(a->state(), b->state());
  EXPECT_EQ(b->stored(), 2U);
}

TEST_F(ClusterObjectsTest, AWipedEtcdTakesNothingAwayUntilSomebodySaysSo) {
  const auto a = start("a");
  const auto b = start("b");
  a->apply(namespace_yaml("shop") + service("web"));
  world_.time.settle();
  const auto before = b->state();
  world_.cluster.wipe(false);
  world_.time.advance(seconds(60));
  EXPECT_EQ(a->state(), before);
  EXPECT_EQ(b->state(), before);
  EXPECT_EQ(a->cluster->status_json()["state"], "lost");
  EXPECT_THAT(a->apply(service("db")), HasSubstr("no longer in etcd, this node still has them"));
  EXPECT_EQ(b->push(), "pushed 2");
  world_.time.settle();
  EXPECT_EQ(a->state(), before);
  EXPECT_EQ(a->apply(service("db")), "created ");
  world_.cluster.wipe(false);
  world_.time.advance(seconds(60));
  EXPECT_EQ(b->push(true), "pushed 0");
  world_.time.settle();
  EXPECT_EQ(a->stored(), 0U);
}

TEST_F(ClusterObjectsTest, WaitingServicesAreServedByTheOneThatHasTheDuty) {
  const auto a = start("a");
  const auto b = start("b");
  a->apply(namespace_yaml("shop") + service("web", ", type: LoadBalancer"));
  world_.time.settle();
  EXPECT_THAT(b->held("web"), Not(HasSubstr("loadBalancerIPs")));
  EXPECT_EQ(a->apply(pool("public", "192.0.2.0/30")), "created ");
  world_.time.settle();
  EXPECT_THAT(a->held("web"), Not(HasSubstr("loadBalancerIPs"))) << "nobody has the duty";
  b->serves = true;
  b->cluster->check();
  world_.time.settle();
  EXPECT_THAT(a->held("web"), HasSubstr("\"loadBalancerIPs\":[\"192.0.2."));
  EXPECT_EQ(a->state(), b->state());
  EXPECT_THAT(a->state(), HasSubstr("frontend 192.0.2."));
  EXPECT_EQ(a->remove(model::Kind::load_balancer_pool, "", "public"), "deleted");
  world_.time.advance(seconds(1));
  EXPECT_THAT(a->held("web"), Not(HasSubstr("loadBalancerIPs")));
  EXPECT_EQ(a->state(), b->state());
}

TEST_F(ClusterObjectsTest, ANodeThatCannotTakeItSaysSoAndTakesItWhenItCan) {
  const auto a = start("a");
  const auto small = start("small", {{"weft_svc_v2", 4}});
  a->apply(namespace_yaml("shop"));
  world_.time.settle();
  for (int i = 0; i < 6; ++i) EXPECT_EQ(a->apply(service(fmt::format("s-{}", i))), "created ");
  world_.time.settle();
  EXPECT_THAT(small->fault, Not(::testing::IsEmpty()));
  const auto frontends = [](const std::string& state) {
    std::size_t count = 0;
    for (auto at = state.find("frontend"); at != std::string::npos; at = state.find("frontend", at + 1)) ++count;
    return count;
  };
  EXPECT_EQ(frontends(small->state()), 4U) << "what fits is served";
  EXPECT_EQ(small->stored(), a->stored()) << "all is stored";
  EXPECT_TRUE(small->publisher->publish()) << "what has nothing to do with it goes on";
  EXPECT_THAT(small->apply(service("more")), HasSubstr("the cluster has it, but this node cannot take it"));
  world_.time.settle();
  EXPECT_EQ(frontends(a->state()), 7U);
  // It may be mended from here.
  for (const auto* name : {"s-0", "s-5", "more"}) small->remove(model::Kind::service, "shop", name);
  world_.time.settle();
  EXPECT_EQ(small->fault, "");
  EXPECT_EQ(small->state(), a->state());
  EXPECT_EQ(frontends(a->state()), 4U);
}

TEST_F(ClusterObjectsTest, WhatMakesNoSenseIsToldAndLeavesWhatWasThere) {
  const auto a = start("a");
  a->apply(namespace_yaml("shop") + service("web"));
  world_.time.settle();
  const auto before = a->state();
  put("objects/Service/shop/web", "?");
  put("objects/Service/shop/other", "{}");
  put("objects/Gadget/shop/x", "{}");
  put("assignments/shop/web", R"({"clusterIPs":7})");
  EXPECT_EQ(a->state(), before);
  EXPECT_THAT(a->misunderstood,
              UnorderedElementsAre(HasSubstr("Service shop/web in etcd is not understood"),
                                   HasSubstr("Service shop/other in etcd"),
                                   HasSubstr("Gadget shop/x in etcd is not understood: this version of "
                                             "Weft knows no such kind"),
                                   HasSubstr("clusterIPs: expected a list")));
  EXPECT_EQ(a->apply(namespace_yaml("shop") + service("web")), "unchanged configured ")
      << "etcd has something else than this node";
  erase("objects/Service/shop/other");
  erase("objects/Gadget/shop/x");
  EXPECT_THAT(a->misunderstood, ElementsAre(HasSubstr("clusterIPs: expected a list")));
  // Text of one object under another's name.
  const auto text = a->objects->read({model::Kind::service, {"shop", "web"}}).value()->json;
  put("objects/Service/shop/liar", text);
  EXPECT_THAT(a->misunderstood, ::testing::Contains(HasSubstr("its text is that of Service shop/web")));
  EXPECT_EQ(a->state(), before);
}

TEST_F(ClusterObjectsTest, AgreeThroughAnyMixOfFailures) {
  std::vector<std::unique_ptr<TestNode>> nodes;
  for (const auto* name : {"a", "b", "c"}) nodes.push_back(start(name));
  nodes[0]->serves = true;
  nodes[0]->apply(namespace_yaml("shop") + pool("public", "192.0.2.0/30"));
  world_.time.settle();
  auto random = etcd::testing::fixed_random();
  std::vector<std::shared_ptr<std::string>> answers;
  for (int step = 0; step < 1500; ++step) {
    auto& node = *nodes[random() % nodes.size()];
    const auto name = fmt::format("s-{}", random() % 10);
    static constexpr const char* types[] = {"", ", type: NodePort", ", type: LoadBalancer", ", clusterIP: None"};
    const auto which = random() % 16;
    if (!etcd::testing::make_trouble(world_.cluster, which, random)) switch (which) {
        case 5:
          node.cluster->remove({{model::Kind::service, {"shop", name}}}, [](const Result<void>&) {});
          break;
        case 6:
          node.stop();
          node.start();
          break;
        case 7:
        case 8:
        case 9:
          answers.push_back(node.apply_later(service(name, types[random() % 4]) + pod(name, name)));
          break;
        default:
          world_.time.advance(milliseconds(random() % 500));
          for (const auto& each : nodes) each->cluster->check();
      }
    world_.time.advance(milliseconds(random() % 5));
    expect_nothing_twice();
    if (HasFailure()) FAIL() << "step " << step;
  }
  world_.cluster.set_available(true);
  world_.cluster.set_latency(milliseconds(0));
  for (int i = 0; i < 120; ++i) {
    world_.time.advance(seconds(1));
    for (const auto& node : nodes) node->cluster->check();
  }
  for (const auto& node : nodes) EXPECT_EQ(node->state(), nodes[0]->state());
  const auto done = std::ranges::count_if(answers, [](const auto& answer) { return answer->contains("ed "); });
  EXPECT_GT(done, 50);
  EXPECT_EQ(nodes[0]->fault, "");
}

class ClusterObjectsOnEtcd : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!etcd::testing::etcd_installed()) GTEST_SKIP() << "etcd is not installed (tools/bootstrap test installs it)";
    cluster_ = std::make_unique<etcd::testing::EtcdCluster>(etcd::testing::EtcdCluster::Setup{});
  }
  std::unique_ptr<TestNode> start(const std::string& name) {
    return std::make_unique<TestNode>(world_, world_.connect(etcd::testing::LoopWorld::options(cluster_->endpoints())),
                                      name);
  }

  etcd::testing::LoopWorld world_;
  std::unique_ptr<etcd::testing::EtcdCluster> cluster_;
};

TEST_F(ClusterObjectsOnEtcd, ThreeNodesApplyAtOnceAndHaveTheSame) {
  std::vector<std::unique_ptr<TestNode>> nodes;
  for (const auto* name : {"a", "b", "c"}) nodes.push_back(start(name));
  ASSERT_TRUE(world_.run_until([&] {
    return std::ranges::all_of(nodes,
                               [](const auto& node) { return node->cluster->status_json()["state"] == "unfounded"; });
  }));
  EXPECT_EQ(nodes[0]->apply(namespace_yaml("shop")), "created ");
  std::string many;
  for (int i = 0; i < 300; ++i) many += pod(fmt::format("web-{}", i));
  std::vector<std::shared_ptr<std::string>> answers{nodes[0]->apply_later(many)};
  for (int i = 0; i < 4; ++i)
    for (std::size_t n = 0; n < nodes.size(); ++n)
      answers.push_back(nodes[n]->apply_later(service(fmt::format("s-{}-{}", n, i), ", type: NodePort")));
  ASSERT_TRUE(world_.run_until(
      [&] { return std::ranges::all_of(answers, [](const auto& answer) { return !answer->empty(); }); }, seconds(60)));
  for (std::size_t i = 1; i < answers.size(); ++i) EXPECT_EQ(*answers[i], "created ");
  ASSERT_TRUE(world_.run_until([&] {
    return std::ranges::all_of(nodes, [&](const auto& node) { return node->state() == nodes[0]->state(); });
  }));
  EXPECT_EQ(nodes[2]->stored(), 1U + 300 + 12);
  EXPECT_EQ(nodes[2]->publisher->services().assignments().size(), 12U);
}

}  // namespace
}  // namespace weft::agent::testing
