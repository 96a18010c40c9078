// A node whose objects come from an API server: real requests over loopback, maps in memory.
#include "agent/kubernetes_objects.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "agent/node_testing.h"
#include "sources/kubernetes/testing/world.h"

namespace weft::agent::testing {
namespace {

using kubernetes::testing::ApiServer;
using kubernetes::testing::World;
using nlohmann::json;
using std::chrono::milliseconds;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

constexpr auto namespaces = "/api/v1/namespaces/";
constexpr auto web_service = "/api/v1/namespaces/shop/services/web";
constexpr auto web_slice = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices/web-1";

json web(const std::string& address = "10.96.0.7", int node_port = 0) {
  json port{{"name", "http"}, {"port", 80}, {"protocol", "TCP"}, {"targetPort", 7000}};
  if (node_port != 0) port["nodePort"] = node_port;
  return {{"spec",
           {{"clusterIP", address},
            {"clusterIPs", {address}},
            {"ipFamilies", {"IPv4"}},
            {"ipFamilyPolicy", "SingleStack"},
            {"selector", {{"app", "web"}}},
            {"type", node_port == 0 ? "ClusterIP" : "NodePort"},
            {"sessionAffinity", "None"},
            {"internalTrafficPolicy", "Cluster"},
            {"ports", {port}}}},
          {"status", {{"loadBalancer", json::object()}}}};
}
json slice(const std::vector<std::string>& addresses) {
  json endpoints = json::array();
  for (const auto& address : addresses)
    endpoints.push_back({{"addresses", {address}}, {"conditions", {{"ready", true}}}, {"nodeName", "other"}});
  return {{"metadata", {{"labels", {{"kubernetes.io/service-name", "web"}}}}},
          {"addressType", "IPv4"},
          {"endpoints", endpoints},
          {"ports", {{{"name", "http"}, {"port", 7000}, {"protocol", "TCP"}}}}};
}
json pod(const std::string& node) {
  return {{"metadata", {{"labels", {{"app", "web"}}}}},
          {"spec", {{"nodeName", node}, {"containers", {{{"name", "c"}, {"image", "i"}}}}}}};
}

class Follower : public KernellessNode {
 public:
  Follower(World& world, std::unique_ptr<kubernetes::Http> http)
      : KernellessNode("node-a"), world_(&world), http_(std::move(http)) {
    config_.store = Config::Store::embedded;
    config_.objects = Config::ObjectSource::kubernetes;
    start();
  }
  void start(bool external_ips = true, bool shared_pools = false) {
    open();
    source = std::make_unique<KubernetesObjects>(
        KubernetesObjects::Parts{.http = *http_,
                                 .scheduler = world_->scheduler(),
                                 .random = kubernetes::testing::fixed_random(),
                                 .node = "node-a",
                                 .server = "https://api",
                                 .external_ips = external_ips,
                                 .shared_pools = shared_pools,
                                 .objects = *objects,
                                 .publisher = *publisher,
                                 .backoff = {milliseconds(5), milliseconds(50)}},
        KubernetesObjects::Handlers{.intake = intake(), .misunderstood = misunderstanding()});
  }
  void stop() {
    source.reset();
    close();
  }
  bool taken() const { return source->status_json().at("taken").get<bool>(); }

  std::unique_ptr<KubernetesObjects> source;

 private:
  World* world_;
  std::unique_ptr<kubernetes::Http> http_;
};

class KubernetesObjectsTest : public ::testing::Test {
 protected:
  KubernetesObjectsTest() {
    server.store().put(std::string(namespaces) + "shop", {{"metadata", {{"labels", {{"team", "blue"}}}}}});
    server.store().put(web_service, web());
    server.store().put(web_slice, slice({"10.244.7.1"}));
  }
  std::unique_ptr<Follower> follow() {
    auto node = std::make_unique<Follower>(world, world.connect(server.access()));
    EXPECT_TRUE(world.run_until([&] { return node->taken(); }));
    return node;
  }
  bool becomes(Follower& node, const std::string& text) {
    return world.run_until([&] { return node.state().find(text) != std::string::npos; });
  }
  bool loses(Follower& node, const std::string& text) {
    return world.run_until([&] { return node.state().find(text) == std::string::npos; });
  }
  static std::size_t backends(Follower& node) {
    std::size_t count = 0;
    for (const auto* port : node.publisher->services().ports_of({"shop", "web"})) count += port->backends.size();
    return count;
  }

  World world;
  ApiServer server;
};

TEST_F(KubernetesObjectsTest, ServicesHaveWhatTheServerGaveThem) {
  const auto node = follow();
  EXPECT_THAT(node->state(), HasSubstr("frontend 10.96.0.7 80 6"));
  EXPECT_EQ(backends(*node), 1U);
  EXPECT_EQ(node->objects->namespaces().at("shop").at("team"), "blue");
  // Out of every range that this node knows of.
  server.store().put(web_service, web("172.30.5.5", 32000));
  ASSERT_TRUE(becomes(*node, "frontend 172.30.5.5 80 6"));
  EXPECT_THAT(node->state(), HasSubstr("32000"));
  EXPECT_THAT(node->state(), Not(HasSubstr("frontend 10.96.0.7")));
  server.store().put(web_slice, slice({"10.244.7.1", "10.244.7.2"}));
  ASSERT_TRUE(world.run_until([&] { return backends(*node) == 2; }));
  server.store().remove(web_service);
  ASSERT_TRUE(loses(*node, "frontend"));
  EXPECT_THAT(node->state(), Not(HasSubstr("holds")));
  EXPECT_THAT(node->fault, IsEmpty());
}

// Given by the operator, in the status: this node gives nothing, not at a start either.
TEST_F(KubernetesObjectsTest, LoadBalancersHaveTheAddressesOfTheirStatus) {
  server.store().add_resource("/apis/weft.io/v1alpha1/loadbalancerpools",
                              {.kind = "LoadBalancerPool", .api_version = "weft.io/v1alpha1", .namespaced = false});
  server.store().put("/apis/weft.io/v1alpha1/loadbalancerpools/public", {{"spec", {{"addresses", {"192.0.2.0/28"}}}}});
  auto balanced = web();
  balanced["spec"]["type"] = "LoadBalancer";
  server.store().put(web_service, balanced);
  const auto node = follow();
  const model::ObjectKey key{"shop", "web"};
  ASSERT_TRUE(world.run_until([&] { return node->objects->pools().size() == 1; }));
  EXPECT_THAT(node->state(), Not(HasSubstr("frontend 192.0.2.")));
  EXPECT_THAT(node->publisher->services().pending_reason(key), HasSubstr("weft-operator has given it none"));
  node->stop();
  node->start();
  EXPECT_THAT(node->state(), Not(HasSubstr("frontend 192.0.2."))) << "a start does not give any";
  ASSERT_TRUE(world.run_until([&] { return node->taken(); }));
  balanced["status"]["loadBalancer"]["ingress"] = {{{"ip", "192.0.2.5"}, {"ipMode", "VIP"}}};
  server.store().put(web_service, balanced);
  ASSERT_TRUE(becomes(*node, "frontend 192.0.2.5 80 6"));
  EXPECT_EQ(node->publisher->services().pending_reason(key), "");
  node->stop();
  node->start();
  EXPECT_THAT(node->state(), HasSubstr("frontend 192.0.2.5 80 6"));
  ASSERT_TRUE(world.run_until([&] { return node->taken(); }));
  balanced["status"]["loadBalancer"] = json::object();
  server.store().put(web_service, balanced);
  ASSERT_TRUE(loses(*node, "frontend 192.0.2.5"));
}

TEST_F(KubernetesObjectsTest, ExternalIpsArePassedOverWhereTheNodeServesNone) {
  auto named = web();
  named["spec"]["externalIPs"] = {"203.0.113.9"};
  server.store().put(web_service, named);
  const auto node = follow();
  EXPECT_THAT(node->state(), HasSubstr("frontend 203.0.113.9 80 6"));
  node->stop();
  node->start(false);
  ASSERT_TRUE(loses(*node, "203.0.113.9"));
  EXPECT_THAT(node->state(), HasSubstr("frontend 10.96.0.7 80 6"));
}

// The endpoints are the controller's decision: pods that match the selector are none before it says so.
TEST_F(KubernetesObjectsTest, EndpointsAreThoseOfTheSlicesAlone) {
  server.store().remove(web_slice);
  server.store().put("/api/v1/namespaces/shop/pods/web-1", pod("node-a"));
  const auto node = follow();
  EXPECT_EQ(node->objects->pods().size(), 1U);
  EXPECT_EQ(backends(*node), 0U);
  node->stop();
  node->start();
  ASSERT_TRUE(world.run_until([&] { return node->taken(); }));
  EXPECT_EQ(backends(*node), 0U);
}

TEST_F(KubernetesObjectsTest, OfPodsOnlyItsOwn) {
  server.store().put("/api/v1/namespaces/shop/pods/web-1", pod("node-a"));
  server.store().put("/api/v1/namespaces/shop/pods/web-2", pod("node-b"));
  const auto node = follow();
  EXPECT_THAT(node->objects->pods(), SizeIs(1));
  server.store().put("/api/v1/namespaces/shop/pods/web-3", pod("node-a"));
  ASSERT_TRUE(world.run_until([&] { return node->objects->pods().size() == 2; }));
  server.store().remove("/api/v1/namespaces/shop/pods/web-1");
  ASSERT_TRUE(world.run_until([&] { return node->objects->pods().size() == 1; }));
}

// What was deleted while nobody looked goes; all else is left alone.
TEST_F(KubernetesObjectsTest, AStartTakesOverWhatAnEarlierRunHad) {
  auto node = follow();
  const auto before = node->state();
  node->stop();
  node->publishes = 0;
  node->start();
  EXPECT_EQ(node->state(), before) << "the store has it";
  EXPECT_TRUE(node->source->known());
  ASSERT_TRUE(world.run_until([&] { return node->taken(); }));
  EXPECT_EQ(node->publishes, 0);
  EXPECT_EQ(node->state(), before);
  node->stop();
  server.store().remove(web_slice);
  server.store().put("/api/v1/namespaces/shop/services/db", web("10.96.0.8"));
  server.store().remove(web_service);
  node->start();
  ASSERT_TRUE(world.run_until([&] { return node->taken(); }));
  EXPECT_THAT(node->state(), Not(HasSubstr("10.96.0.7")));
  EXPECT_THAT(node->state(), HasSubstr("frontend 10.96.0.8 80 6"));
}

TEST_F(KubernetesObjectsTest, WithoutTheServerAllStays) {
  const auto node = follow();
  const auto before = node->state();
  EXPECT_TRUE(world.run_until([&] { return node->source->silence().empty(); }));
  server.stop();
  ASSERT_TRUE(world.run_until([&] { return !node->source->silence().empty(); }));
  EXPECT_EQ(node->state(), before);
  node->stop();
  node->start();
  world.run_for(milliseconds(100));
  EXPECT_FALSE(node->taken());
  EXPECT_EQ(node->state(), before);
  server.start();
  ASSERT_TRUE(world.run_until([&] { return node->taken(); }));
  EXPECT_EQ(node->state(), before);
}

// Nothing of a start is taken before all of it is there: a Service has its endpoints from the first.
TEST_F(KubernetesObjectsTest, AListThatIsSlowHoldsUpTheOthers) {
  server.fail({.method = "GET", .path_contains = "endpointslices", .status = 503, .times = 8});
  Follower node(world, world.connect(server.access()));
  bool ever_without = false;
  ASSERT_TRUE(world.run_until([&] {
    const bool there = node.state().find("frontend 10.96.0.7") != std::string::npos;
    ever_without = ever_without || (there && backends(node) == 0);
    return there;
  }));
  EXPECT_FALSE(ever_without);
}

TEST_F(KubernetesObjectsTest, OwnResourcesMayComeLater) {
  const auto node = follow();
  EXPECT_TRUE(world.run_until([&] { return node->source->silence().empty(); }));
  server.store().add_resource("/apis/weft.io/v1alpha1/podaddresspools",
                              {.kind = "PodAddressPool", .api_version = "weft.io/v1alpha1", .namespaced = false});
  server.store().put("/apis/weft.io/v1alpha1/podaddresspools/blue",
                     {{"spec", {{"cidrs", {{{"cidr", "10.50.0.0/16"}}}}}}});
  ASSERT_TRUE(world.run_until([&] { return node->objects->address_pools().size() == 1; }));
}

// What its spec says is a wish until the operator has made it so.
TEST_F(KubernetesObjectsTest, WhereNodesShareAPoolIsWhatItsStatusSays) {
  server.store().add_resource("/apis/weft.io/v1alpha1/podaddresspools",
                              {.kind = "PodAddressPool", .api_version = "weft.io/v1alpha1", .namespaced = false});
  const std::string path = "/apis/weft.io/v1alpha1/podaddresspools/blue";
  json blue{{"spec", {{"cidrs", {{{"cidr", "10.50.0.0/16"}}}}}}};
  server.store().put(path, blue);
  const auto node = follow();
  const auto ranges = [&]() -> std::size_t {
    const auto& pools = node->objects->address_pools();
    return pools.empty() ? 0 : pools.begin()->second.ranges.size();
  };
  ASSERT_TRUE(world.run_until([&] { return ranges() == 1; })) << "a node by itself";
  node->stop();
  node->start(true, true);
  ASSERT_TRUE(world.run_until([&] { return node->taken() && ranges() == 0; }));
  blue["status"]["cidrs"] = {{{"cidr", "10.50.0.0/16"}, {"blockLength", 26}}};
  blue["spec"]["cidrs"].push_back({{"cidr", "10.51.0.0/16"}});
  server.store().put(path, blue);
  ASSERT_TRUE(world.run_until([&] { return ranges() == 1; }));
  EXPECT_EQ(node->objects->address_pools().begin()->second.ranges.front().block_length, 26U);
  blue["status"]["cidrs"].push_back({{"cidr", "10.51.0.0/16"}, {"blockLength", 24}});
  server.store().put(path, blue);
  ASSERT_TRUE(world.run_until([&] { return ranges() == 2; }));
  blue["status"] = json::object();
  server.store().put(path, blue);
  ASSERT_TRUE(world.run_until([&] { return ranges() == 0; }));
}

TEST_F(KubernetesObjectsTest, WhatIsNotUnderstoodIsNamedAndStays) {
  const auto node = follow();
  auto bad = web();
  bad["spec"]["ports"][0]["port"] = 70000;
  server.store().put(web_service, bad);
  ASSERT_TRUE(world.run_until([&] { return !node->misunderstood.empty(); }));
  EXPECT_THAT(node->misunderstood.front(),
              HasSubstr("Service shop/web of https://api is not understood: spec.ports[0]"));
  EXPECT_THAT(node->state(), HasSubstr("frontend 10.96.0.7 80 6"));
  server.store().put(web_service, web());
  ASSERT_TRUE(world.run_until([&] { return node->misunderstood.empty(); }));
}

// Whoever wrote it wanted something kept out.
TEST_F(KubernetesObjectsTest, APolicyThatIsNotUnderstoodAllowsNothing) {
  constexpr auto path = "/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies/web";
  const auto policy = [](const json& port) -> json {
    return {{"spec",
             {{"podSelector", {{"matchLabels", {{"app", "web"}}}}},
              {"policyTypes", {"Ingress"}},
              {"ingress", {{{"ports", {{{"port", port}}}}}}}}}};
  };
  server.store().put(path, policy(80));
  const auto node = follow();
  const model::ObjectKey key{"shop", "web"};
  ASSERT_EQ(node->objects->policies().at(key).ingress.size(), 1U);
  server.store().put(path, policy(70000));
  ASSERT_TRUE(world.run_until([&] { return node->objects->policies().at(key).ingress.empty(); }));
  EXPECT_EQ(node->objects->policies().at(key).pod_selector.to_string(), "app=web");
  EXPECT_FALSE(node->objects->policies().at(key).applies_egress);
  ASSERT_TRUE(world.run_until([&] { return !node->misunderstood.empty(); }));
  EXPECT_THAT(node->misunderstood.front(), HasSubstr("NetworkPolicy shop/web of https://api is not understood: spec"));
  EXPECT_THAT(node->misunderstood.front(), HasSubstr("it isolates the pods that it selects"));
  // A start from what is stored, and a list of what is there, say the same.
  node->stop();
  node->start();
  EXPECT_TRUE(node->objects->policies().at(key).ingress.empty());
  ASSERT_TRUE(world.run_until([&] { return node->taken() && !node->misunderstood.empty(); }));
  server.store().put(path, policy(80));
  ASSERT_TRUE(world.run_until([&] { return node->misunderstood.empty(); }));
  EXPECT_EQ(node->objects->policies().at(key).ingress.size(), 1U);
  server.store().put(path, policy("no port"));
  ASSERT_TRUE(world.run_until([&] { return !node->misunderstood.empty(); }));
  server.store().remove(path);
  ASSERT_TRUE(world.run_until([&] { return node->misunderstood.empty(); })) << "a policy that is gone is no trouble";
  EXPECT_THAT(node->objects->policies(), IsEmpty());
}

TEST_F(KubernetesObjectsTest, WhatAPodIsBesideItsSpecIsKnown) {
  auto running = pod("node-a");
  running["status"] = {{"phase", "Running"}, {"podIPs", {{{"ip", "10.0.0.9"}}, {{"ip", "fd00::9"}}}}};
  server.store().put("/api/v1/namespaces/shop/pods/web-1", running);
  auto host = running;
  host["spec"]["hostNetwork"] = true;
  server.store().put("/api/v1/namespaces/shop/pods/web-2", host);
  const auto node = follow();
  const auto& pods = node->source->pods();
  ASSERT_THAT(pods, SizeIs(2));
  EXPECT_TRUE(pods.at({"shop", "web-1"}).has_network());
  EXPECT_THAT(pods.at({"shop", "web-1"}).addresses, SizeIs(2));
  EXPECT_EQ(node->source->uid_of({model::Kind::pod, {"shop", "web-1"}}), pods.at({"shop", "web-1"}).uid);
  EXPECT_FALSE(pods.at({"shop", "web-2"}).has_network());
  running["status"]["phase"] = "Succeeded";
  server.store().put("/api/v1/namespaces/shop/pods/web-1", running);
  ASSERT_TRUE(world.run_until([&] { return !pods.at({"shop", "web-1"}).running; }));
  ASSERT_TRUE(world.run_until([&] { return node->objects->pod({"shop", "web-1"})->finished; }));
  server.store().remove("/api/v1/namespaces/shop/pods/web-2");
  ASSERT_TRUE(world.run_until([&] { return pods.size() == 1; }));
}

TEST_F(KubernetesObjectsTest, APodIsWaitedForUntilItIsHeardOf) {
  const auto node = follow();
  bool known = false;
  node->source->catch_up({"shop", "web-9"}, "", [&] { known = true; });
  world.run_for(milliseconds(50));
  EXPECT_FALSE(known);
  server.store().put("/api/v1/namespaces/shop/pods/web-9", pod("node-a"));
  ASSERT_TRUE(world.run_until([&] { return known; }, std::chrono::seconds(3)));
  EXPECT_TRUE(node->objects->pods().contains({"shop", "web-9"}));
  known = false;
  node->source->catch_up({"shop", "web-9"}, "", [&] { known = true; });
  ASSERT_TRUE(world.run_until([&] { return known; }, std::chrono::seconds(1)));
  // Who has less time waits for less.
  known = false;
  node->source->catch_up(
      {"shop", "never"}, "", [&] { known = true; }, milliseconds(200));
  ASSERT_TRUE(world.run_until([&] { return known; }, std::chrono::seconds(2)));
}

// A StatefulSet's next pod has the name of the one before, which may be going still.
TEST_F(KubernetesObjectsTest, APodOfTheSameNameIsAnother) {
  const auto path = "/api/v1/namespaces/shop/pods/db-0";
  server.store().put(path, pod("node-a"));
  const auto node = follow();
  const auto http = world.connect(server.access());
  bool known = false;
  bool wrong = false;
  std::string next;
  const auto before = node->objects->pod({"shop", "db-0"})->meta.uid;
  EXPECT_NE(before, "");
  node->source->catch_up({"shop", "db-0"}, before, [&] { known = true; });
  ASSERT_TRUE(world.run_until([&] { return known; }, std::chrono::seconds(1)));
  known = false;
  server.store().remove(path);
  server.store().put(path, pod("node-a"));
  const auto asked = http->start({.target = path}, {.done = [&](const kubernetes::Outcome<kubernetes::Answer>& answer) {
                                   next = json::parse(answer->body)["metadata"]["uid"];
                                 }});
  node->source->catch_up({"shop", "db-0"}, "nobody's", [&] { wrong = true; });
  ASSERT_TRUE(world.run_until([&] { return !next.empty(); }));
  EXPECT_NE(next, before);
  node->source->catch_up({"shop", "db-0"}, next, [&] { known = true; });
  ASSERT_TRUE(world.run_until([&] { return known; }, std::chrono::seconds(3)));
  EXPECT_EQ(node->objects->pod({"shop", "db-0"})->meta.uid, next);
  EXPECT_FALSE(wrong);
  // A static pod's: the object that stands for it has another uid.
  auto still = pod("node-a");
  still["metadata"]["annotations"] = {{"kubernetes.io/config.hash", "abc"}};
  server.store().put("/api/v1/namespaces/shop/pods/proxy-node-a", still);
  known = false;
  node->source->catch_up({"shop", "proxy-node-a"}, "abc", [&] { known = true; });
  ASSERT_TRUE(world.run_until([&] { return known; }, std::chrono::seconds(3)));
}

// A tenant's are a few by name; those of another namespace are named all the same.
TEST_F(KubernetesObjectsTest, ManyThatAreNotUnderstoodOfOneNamespaceAreFolded) {
  const auto node = follow();
  server.store().put(std::string(namespaces) + "zoo", json::object());
  auto bad = web();
  bad["spec"]["ports"][0]["port"] = 70000;
  for (int i = 0; i < 20; ++i) server.store().put("/api/v1/namespaces/shop/services/bad-" + std::to_string(i), bad);
  server.store().put("/api/v1/namespaces/zoo/services/bad", bad);
  const auto has = [&](const std::string& text) {
    return std::ranges::any_of(node->misunderstood,
                               [&](const std::string& each) { return each.find(text) != std::string::npos; });
  };
  ASSERT_TRUE(world.run_until([&] { return has("17 more in namespace shop of https://api are not understood"); }));
  ASSERT_TRUE(world.run_until([&] { return has("Service zoo/bad of https://api is not understood"); }));
  EXPECT_THAT(node->misunderstood, SizeIs(5));
}

TEST_F(KubernetesObjectsTest, AWatchThatIsCutLosesNothing) {
  const auto node = follow();
  for (int round = 0; round < 5; ++round) {
    server.cut_next_event();
    server.store().put(web_slice, slice({"10.244.7." + std::to_string(round + 10)}));
    server.store().compact();
    server.store().put(std::string(namespaces) + "n" + std::to_string(round), json::object());
    ASSERT_TRUE(becomes(*node, "10.244.7." + std::to_string(round + 10)));
    ASSERT_TRUE(becomes(*node, "Namespace n" + std::to_string(round)));
  }
}

}  // namespace
}  // namespace weft::agent::testing
