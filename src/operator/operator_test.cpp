#include "operator/operator.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "control/services/assignment_text.h"
#include "model/parse.h"
#include "sources/cluster/member.h"
#include "sources/etcd/testing/world.h"

namespace weft::op {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;

constexpr auto lease = seconds(10);
constexpr auto delay = seconds(60);

class OperatorTest : public ::testing::Test {
 protected:
  struct Running {
    std::unique_ptr<etcd::Client> client;
    std::unique_ptr<Duties> duties;
  };
  cluster::Context context(etcd::Client& client) {
    return {.client = client,
            .scheduler = world_.time,
            .random = etcd::testing::fixed_random(),
            .keys = cluster::Keyspace::make("c").value(),
            .delay = delay};
  }
  Running start(const std::string& name) {
    Running running{.client = world_.cluster.connect(), .duties = {}};
    running.duties = std::make_unique<Duties>(
        context(*running.client), Duties::Options{.self = {name, "run"}, .record = {.host = name}, .lease = lease});
    world_.time.settle();
    return running;
  }
  std::vector<etcd::KeyValue> below(const std::string& folder) {
    return world_.cluster.store().range({.keys = etcd::Keys::prefix("/weft/v1/c/" + folder)})->kvs;
  }
  cluster::OperatorRecord told_by(const std::string& name) {
    const auto found = below("operators/" + name);
    return found.empty() ? cluster::OperatorRecord() : cluster::decode_operator("k", found.front().value).value();
  }
  void put(const std::string& key, const std::string& value) {
    ASSERT_TRUE(world_.cluster.store().put({.key = "/weft/v1/c/" + key, .value = value}));
    world_.cluster.changed();
  }
  void erase(const std::string& key) {
    ASSERT_TRUE(world_.cluster.store().erase({etcd::Keys::one("/weft/v1/c/" + key)}));
    world_.cluster.changed();
  }
  // As an agent leaves it.
  void put_object(const std::string& yaml) {
    auto outcome = model::parse_manifests("test.yaml", yaml);
    for (const auto& problem : outcome.problems) ADD_FAILURE() << problem.to_string();
    for (const auto& document : outcome.documents) {
      const auto& meta = model::metadata_of(document.object);
      const std::string kind(model::to_string(model::kind_of(document.object)));
      put("state/objects/" + kind + "/" + (meta.namespace_.empty() ? "" : meta.namespace_ + "/") + meta.name,
          document.json);
    }
  }
  void put_service(const std::string& name, const std::string& cluster_ip, const std::string& more = "") {
    put(fmt::format("state/assignments/shop/{}", name), fmt::format(R"({{"clusterIPs":["{}"]}})", cluster_ip));
    put_object(
        fmt::format("apiVersion: v1\nkind: Service\nmetadata: {{name: {}, namespace: shop}}\n"
                    "spec: {{type: LoadBalancer, ports: [{{port: 80}}]{}}}\n",
                    name, more));
  }
  void put_pool(const std::string& range) {
    put_object("apiVersion: weft.io/v1alpha1\nkind: LoadBalancerPool\nmetadata: {name: p}\nspec: {addresses: ['" +
               range + "']}\n");
  }
  std::vector<std::string> addresses_of(const std::string& name) {
    std::vector<std::string> texts;
    const auto found = below("state/assignments/shop/" + name);
    if (found.empty()) return {"gone"};
    const auto held = control::assignment_from_text(found.front().value).value();
    for (const auto& address : held.load_balancer_ips) texts.push_back(address.to_string());
    return texts;
  }

  etcd::testing::FakeWorld world_;
};

TEST_F(OperatorTest, OneActsAndAnotherActsAtOnceWhenItStops) {
  auto first = start("first");
  world_.time.advance(seconds(1));
  auto second = start("second");
  world_.time.advance(seconds(5));
  EXPECT_TRUE(first.duties->acts());
  EXPECT_FALSE(second.duties->acts());
  EXPECT_EQ(below("operators/").size(), 2U);
  first.duties->close([](const etcd::Outcome<void>&) {});
  EXPECT_FALSE(first.duties->acts());
  world_.time.advance(seconds(1));
  EXPECT_TRUE(second.duties->acts());
  EXPECT_EQ(below("operators/").size(), 1U);
}

TEST_F(OperatorTest, AnotherActsWhenTheLeaseOfOneThatWasKilledEnds) {
  auto first = start("first");
  world_.time.advance(seconds(1));
  const auto second = start("second");
  first.duties.reset();
  first.client.reset();
  world_.time.advance(lease / 2);
  EXPECT_FALSE(second.duties->acts());
  world_.time.advance(lease);
  EXPECT_TRUE(second.duties->acts());
}

TEST_F(OperatorTest, OneThatIsCutOffActsNoLonger) {
  const auto first = start("first");
  world_.time.advance(seconds(1));
  ASSERT_TRUE(first.duties->acts());
  world_.cluster.set_available(false);
  world_.time.advance(2 * lease);
  EXPECT_FALSE(first.duties->acts());
  world_.cluster.set_available(true);
  world_.time.advance(2 * lease);
  EXPECT_TRUE(first.duties->acts());
}

TEST_F(OperatorTest, WhatANodeThatIsGoneLeftIsCollectedAndTold) {
  const auto client = world_.cluster.connect();
  auto node = std::make_unique<cluster::Member>(
      *client, world_.time, etcd::testing::fixed_random(),
      cluster::MemberOptions{.cluster = "c",
                             .self = {.name = "a", .boot_id = "b", .predecessor = {}, .record = {}},
                             .pools = {{.name = "p", .ranges = {{Cidr::parse("10.0.0.0/16").value(), 24}}}},
                             .lease = lease,
                             .delay = delay},
      cluster::MemberHandlers{});
  node->blocks().claim("p", Family::v4, [](const Result<cluster::Block>& block) { EXPECT_TRUE(block); });
  world_.time.advance(seconds(5));
  const auto first = start("first");
  world_.time.advance(seconds(5));
  ASSERT_EQ(below("blocks/").size(), 1U);
  node.reset();
  world_.time.advance(delay / 2);
  EXPECT_EQ(below("nodes/").size(), 1U) << "not before its time";
  world_.time.advance(2 * delay);
  EXPECT_TRUE(below("nodes/").empty());
  EXPECT_TRUE(below("blocks/").empty());
  EXPECT_EQ(first.duties->collected().nodes, 1U);
  EXPECT_EQ(first.duties->collected().blocks, 1U);
  const auto told = told_by("first");
  EXPECT_EQ(told.collected, first.duties->collected());
  EXPECT_NE(told.last_round, "");
}

TEST_F(OperatorTest, AWaitingServiceGetsAnAddressWhenThereIsAPool) {
  put("state/assignments-epoch", "first");
  put_service("web", "10.96.0.2");
  const auto first = start("first");
  world_.time.advance(seconds(2));
  EXPECT_TRUE(addresses_of("web").empty());
  EXPECT_EQ(told_by("first").waiting, 1U);
  put_pool("192.0.2.0/30");
  world_.time.advance(seconds(2));
  EXPECT_THAT(addresses_of("web"), ::testing::ElementsAre(HasSubstr("192.0.2.")));
  EXPECT_EQ(below("state/assignments/shop/web").front().value.find("10.96.0.2") != std::string::npos, true)
      << "what else it holds stays";
  EXPECT_EQ(told_by("first").waiting, 0U);
  EXPECT_EQ(told_by("first").served, 1U);
}

TEST_F(OperatorTest, AWaitingServiceGetsAnAddressThatComesFree) {
  put("state/assignments-epoch", "first");
  put_pool("192.0.2.5-192.0.2.5");
  put_service("a", "10.96.0.2");
  const auto first = start("first");
  world_.time.advance(seconds(2));
  put_service("b", "10.96.0.3");
  world_.time.advance(seconds(2));
  EXPECT_THAT(addresses_of("a"), ::testing::ElementsAre("192.0.2.5"));
  EXPECT_TRUE(addresses_of("b").empty());
  erase("state/objects/Service/shop/a");
  erase("state/assignments/shop/a");
  world_.time.advance(seconds(2));
  EXPECT_THAT(addresses_of("b"), ::testing::ElementsAre("192.0.2.5"));
  erase("state/objects/LoadBalancerPool/p");
  world_.time.advance(seconds(2));
  EXPECT_TRUE(addresses_of("b").empty()) << "it is in no pool any more";
}

TEST_F(OperatorTest, NobodyGetsAnAddressThatANodesNetworkHas) {
  put("state/assignments-epoch", "first");
  put("nodes/a", cluster::encode(cluster::NodeRecord{.boot_id = "b",
                                                     .underlay = {IpAddress::parse("192.0.2.5").value()},
                                                     .taken = {IpAddress::parse("192.0.2.6").value()}}));
  put_service("web", "10.96.0.2");
  const auto first = start("first");
  world_.time.advance(seconds(2));
  put_pool("192.0.2.5-192.0.2.7");
  world_.time.advance(seconds(2));
  EXPECT_THAT(addresses_of("web"), ::testing::ElementsAre("192.0.2.7"));
}

TEST_F(OperatorTest, OnlyTheOneThatActsGivesAddresses) {
  put("state/assignments-epoch", "first");
  put_service("web", "10.96.0.2");
  const auto first = start("first");
  world_.time.advance(seconds(1));
  const auto second = start("second");
  world_.time.advance(seconds(1));
  put_pool("192.0.2.0/28");
  world_.time.advance(seconds(2));
  EXPECT_EQ(first.duties->waiting_services()->served(), 1U);
  EXPECT_EQ(second.duties->waiting_services()->served(), 0U);
  EXPECT_EQ(second.duties->waiting_services()->waiting(), 0U) << "it follows all the same";
}

TEST_F(OperatorTest, ALostAnswerIsNoSecondAddress) {
  put("state/assignments-epoch", "first");
  put_service("web", "10.96.0.2");
  put_service("shop", "10.96.0.3");
  const auto first = start("first");
  world_.time.advance(seconds(2));
  world_.cluster.lose_answers(1);
  put_pool("192.0.2.0/28");
  world_.time.advance(seconds(30));
  EXPECT_EQ(addresses_of("web").size(), 1U);
  EXPECT_EQ(addresses_of("shop").size(), 1U);
  EXPECT_NE(addresses_of("web"), addresses_of("shop"));
}

TEST(OperatorConfig, ItsKeysAndThoseOfEtcd) {
  const auto config = parse_config("o.yaml",
                                   "name: op-1\ncluster: west\netcd_endpoints: ['http://10.0.0.1:2379']\n"
                                   "lease_seconds: 5\nreclaim_seconds: 40\nlog_level: debug\n");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->name, "op-1");
  EXPECT_EQ(config->cluster, "west");
  EXPECT_EQ(config->lease_seconds, 5U);
  EXPECT_EQ(config->reclaim_seconds, 40U);
  EXPECT_FALSE(parse_config("o.yaml", "etcd_endpoints: ['http://10.0.0.1:2379']")->name.empty()) << "the host's";
}

TEST(OperatorConfig, OnKubernetes) {
  const auto config =
      parse_config("o.yaml",
                   "objects: kubernetes\nstore: embedded\nkubeconfig: /etc/k\nkubernetes_context: east\n"
                   "kubernetes_servers: ['10.0.0.1:6443']\nkubernetes_namespace: net\ncrds: /crds\n");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_TRUE(config->on_kubernetes());
  EXPECT_EQ(config->store, Config::Store::embedded);
  EXPECT_EQ(config->kubernetes_namespace, "net");
  const auto problem = [](const std::string& text) { return parse_config("o.yaml", text).error().message; };
  EXPECT_THAT(problem("store: embedded"), HasSubstr("there is nothing to do"));
  EXPECT_THAT(problem("objects: kubernetes"), HasSubstr("etcd_endpoints is empty"));
  EXPECT_THAT(problem("objects: files"), HasSubstr("expected applied or kubernetes"));
  EXPECT_THAT(problem("objects: kubernetes\nstore: embedded\nkubernetes_servers: ['ftp://a']"),
              HasSubstr("kubernetes_servers"));
  EXPECT_THAT(problem("objects: kubernetes\nstore: embedded\nkubernetes_namespace: A_b"),
              HasSubstr("is no name of a Namespace"));
  EXPECT_THAT(problem("etcd_endpoints: ['http://10.0.0.1:2379']\nkubeconfig: /etc/k"),
              HasSubstr("kubeconfig is given, but objects is applied"));
}

TEST(OperatorConfig, WhatIsWrongIsToldWithItsPlace) {
  const auto problem = [](const std::string& text) { return parse_config("o.yaml", text).error().message; };
  EXPECT_THAT(problem(""), HasSubstr("o.yaml: etcd_endpoints is empty"));
  EXPECT_THAT(problem("a: ["), HasSubstr("o.yaml:1:"));
  EXPECT_THAT(problem("- a"), HasSubstr("expected a mapping"));
  const std::string good = "etcd_endpoints: ['http://10.0.0.1:2379']\n";
  EXPECT_THAT(problem(good + "node: a"), HasSubstr("o.yaml:2:1: unknown key \"node\""));
  EXPECT_THAT(problem(good + "name: a/b"), HasSubstr("name: \"a/b\" is not a name"));
  EXPECT_THAT(problem(good + "lease_seconds: 1"), HasSubstr("o.yaml:2:16: lease_seconds: expected a number from 2"));
  EXPECT_THAT(problem(good + "lease_seconds: 40\nreclaim_seconds: 79"), HasSubstr("less than twice"));
  EXPECT_THAT(problem(good + "log_level: loud"), HasSubstr("expected error, warn, info or debug"));
}

}  // namespace
}  // namespace weft::op
