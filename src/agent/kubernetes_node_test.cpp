// The Node object as the agent reads and writes it: real requests over loopback.
#include "agent/kubernetes_node.h"

#include <gmock/gmock.h>

#include "sources/kubernetes/testing/world.h"

namespace weft::agent {
namespace {

using kubernetes::testing::ApiServer;
using kubernetes::testing::fixed_random;
using kubernetes::testing::World;
using nlohmann::json;
using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr auto path = "/api/v1/nodes/node-a";
const json other_taint{{"key", "example.com/gpu"}, {"effect", "NoSchedule"}};

class KubernetesNodeTest : public ::testing::Test {
 protected:
  KubernetesNodeTest() { put({{{"key", not_ready_taint}, {"effect", "NoSchedule"}}, other_taint}); }
  void put(const json& taints, const json& conditions = json::array()) {
    server.store().put(
        path, {{"metadata", {{"labels", {{"topology.kubernetes.io/zone", "west"}, {"disk", "ssd"}}}}},
               {"spec", {{"taints", taints}, {"podCIDR", "10.0.0.0/24"}, {"podCIDRs", {"10.0.0.0/24", "x", 7}}}},
               {"status",
                {{"conditions", conditions},
                 {"addresses",
                  {{{"type", "Hostname"}, {"address", "node-a"}},
                   {{"type", "InternalIP"}, {"address", "192.0.2.2"}},
                   {{"type", "ExternalIP"}, {"address", "203.0.113.9"}},
                   {{"type", "InternalIP"}, {"address", "2001:db8::2"}}}}}}});
  }
  KubernetesNode& node() {
    if (!node_)
      node_.emplace(KubernetesNode::Parts{.http = *http,
                                          .scheduler = world.scheduler(),
                                          .random = fixed_random(),
                                          .node = "node-a",
                                          .backoff = {milliseconds(5), milliseconds(40)},
                                          .patience = milliseconds(60)},
                    KubernetesNode::Handlers{.changed = [this](const NodeFacts& facts) { told.push_back(facts); },
                                             .event = [this](const std::string& reason, const std::string&,
                                                             bool) { events.push_back(reason); }});
    return *node_;
  }
  // As the agent's timer does, faster.
  bool becomes(const std::function<bool()>& done, const std::string& why_not = {}) {
    return world.run_until([&] {
      node().check(why_not);
      return done();
    });
  }
  json object() { return json::parse(server.store().get(kubernetes::testing::parse_path(path).value()).text); }
  json taints() { return object()["spec"].value("taints", json::array()); }
  json condition() {
    for (const auto& one : std::vector<json>(object()["status"]["conditions"]))
      if (one["type"] == "NetworkUnavailable") return one;
    return {};
  }
  bool ready() { return taints() == json::array({other_taint}) && condition().value("status", "") == "False"; }
  int patches() {
    int count = 0;
    for (const auto& request : server.requests()) count += request.starts_with("PATCH") ? 1 : 0;
    return count;
  }

  World world;
  ApiServer server;
  std::unique_ptr<kubernetes::Http> http = world.connect(server.access());
  std::vector<NodeFacts> told;
  std::vector<std::string> events;
  std::optional<KubernetesNode> node_;
};

TEST_F(KubernetesNodeTest, TheTaintGoesWhenPodsCanBeAttachedAndTheConditionSaysSo) {
  node();
  world.run_for(milliseconds(30));
  node().check("the datapath is behind");
  EXPECT_EQ(taints().size(), 2U);
  EXPECT_EQ(patches(), 0);
  ASSERT_TRUE(becomes([&] { return ready(); }));
  EXPECT_EQ(condition()["reason"], "WeftIsUp");
  EXPECT_TRUE(condition().contains("lastTransitionTime"));
  EXPECT_EQ(object()["spec"]["podCIDR"], "10.0.0.0/24");
  ASSERT_TRUE(becomes([&] { return !events.empty(); }));
  EXPECT_THAT(events, ElementsAre("WeftIsReady"));
  EXPECT_FALSE(node().fault());
  ASSERT_TRUE(becomes([&] { return node().status_json()["tainted"] == false; }));
  EXPECT_EQ(node().status_json()["network"], "available");
  // Nothing more is written.
  const auto before = patches();
  for (int i = 0; i < 20; ++i) {
    node().check({});
    world.run_for(milliseconds(2));
  }
  EXPECT_EQ(patches(), before);
  EXPECT_EQ(before, 2);
}

TEST_F(KubernetesNodeTest, TheLastTaintLeavesNone) {
  put({{{"key", not_ready_taint}, {"effect", "NoSchedule"}}, {{"key", not_ready_taint}, {"effect", "NoExecute"}}});
  ASSERT_TRUE(becomes([&] { return taints().empty(); }));
  EXPECT_FALSE(object()["spec"].contains("taints"));
}

// Somebody else's taint, added meanwhile, must not be lost.
TEST_F(KubernetesNodeTest, AWriteOnAnOlderObjectIsMadeAgain) {
  node();
  ASSERT_TRUE(world.run_until([&] { return !told.empty(); }));
  server.hush(true);
  const json third{{"key", "example.com/later"}, {"effect", "NoSchedule"}};
  put({{{"key", not_ready_taint}, {"effect", "NoSchedule"}}, other_taint, third});
  for (int i = 0; i < 10; ++i) {
    node().check({});
    world.run_for(milliseconds(10));
  }
  EXPECT_EQ(taints().size(), 3U) << "conflicts";
  server.hush(false);
  ASSERT_TRUE(becomes([&] { return taints() == json({other_taint, third}); }));
  ASSERT_TRUE(becomes([&] { return !node().fault(); }));
}

TEST_F(KubernetesNodeTest, ANodeThatCannotAttachForLongSaysSoAndTakesItBack) {
  ASSERT_TRUE(becomes([&] { return ready(); }));
  const auto since = condition()["lastTransitionTime"];
  node().check("the disk is full");
  EXPECT_EQ(condition()["status"], "False") << "a moment is nothing";
  ASSERT_TRUE(becomes([&] { return condition()["status"] == "True"; }, "the disk is full"));
  EXPECT_EQ(condition()["reason"], "WeftCannotAttach");
  EXPECT_EQ(condition()["message"], "the disk is full");
  EXPECT_EQ(taints(), json::array({other_taint})) << "the taint is for nodes that join";
  ASSERT_TRUE(becomes([&] { return condition()["status"] == "False"; }));
  EXPECT_THAT(events, ElementsAre("WeftIsReady", "WeftCannotAttach", "WeftIsUp"));
}

TEST_F(KubernetesNodeTest, OthersConditionsStay) {
  const json pressure{{"type", "DiskPressure"}, {"status", "False"}};
  put({}, {pressure, {{"type", "NetworkUnavailable"}, {"status", "True"}, {"reason", "NoRouteCreated"}}});
  ASSERT_TRUE(becomes([&] { return condition()["status"] == "False"; }));
  EXPECT_EQ(object()["status"]["conditions"][0], pressure);
  EXPECT_EQ(object()["status"]["conditions"].size(), 2U);
}

// A cloud's controller that says otherwise each time is not argued with each time.
TEST_F(KubernetesNodeTest, AnotherOpinionIsAnsweredNowAndThen) {
  ASSERT_TRUE(becomes([&] { return ready(); }));
  const auto before = patches();
  for (int i = 0; i < 10; ++i) {
    put({other_taint}, {{{"type", "NetworkUnavailable"}, {"status", "True"}, {"reason", "NoRouteCreated"}}});
    world.run_for(milliseconds(10));
    node().check({});
  }
  EXPECT_LE(patches(), before + 1);
}

TEST_F(KubernetesNodeTest, WhatIsForbiddenIsAFault) {
  server.fail({.method = "PATCH", .path_contains = "nodes", .status = 403, .times = 8});
  ASSERT_TRUE(becomes([&] { return node().fault().has_value(); }));
  EXPECT_THAT(node().fault()->text, HasSubstr("403"));
  EXPECT_THAT(node().fault()->remedy, HasSubstr("patch on nodes and nodes/status"));
  ASSERT_TRUE(becomes([&] { return ready(); })) << "it is tried again";
  ASSERT_TRUE(becomes([&] { return !node().fault(); }));
}

TEST_F(KubernetesNodeTest, AServerThatIsAwayIsWaitedFor) {
  node();
  ASSERT_TRUE(world.run_until([&] { return !told.empty(); }));
  server.stop();
  node().check({});
  world.run_for(milliseconds(50));
  server.start();
  ASSERT_TRUE(becomes([&] { return ready(); }));
}

TEST_F(KubernetesNodeTest, ANodeByAnotherNameIsAFault) {
  server.store().remove(path);
  ASSERT_TRUE(becomes([&] { return node().fault().has_value(); }));
  EXPECT_THAT(node().fault()->text, HasSubstr("the API server has no Node node-a"));
  EXPECT_THAT(node().fault()->remedy, HasSubstr("NODE_NAME"));
  put({});
  ASSERT_TRUE(becomes([&] { return !node().fault(); }));
}

TEST_F(KubernetesNodeTest, WhatTheObjectSaysIsTold) {
  node();
  ASSERT_TRUE(world.run_until([&] { return !told.empty(); }));
  const auto& facts = told.front();
  EXPECT_EQ(facts.labels.at("topology.kubernetes.io/zone"), "west");
  EXPECT_THAT(facts.addresses, ElementsAre(*IpAddress::parse("192.0.2.2"), *IpAddress::parse("2001:db8::2")));
  EXPECT_THAT(facts.pod_cidrs, ElementsAre(*Cidr::parse("10.0.0.0/24")));
  EXPECT_FALSE(facts.uid.empty());
  EXPECT_EQ(facts_from_json(to_json(facts)), facts);
  EXPECT_FALSE(facts_from_json(json::array()));
  // Heartbeats are no news.
  put({other_taint}, {{{"type", "Ready"}, {"status", "True"}, {"lastHeartbeatTime", "2026-01-01T00:00:00Z"}}});
  world.run_for(milliseconds(50));
  EXPECT_EQ(told.size(), 1U);
  EXPECT_THAT(events, IsEmpty());
}

}  // namespace
}  // namespace weft::agent
