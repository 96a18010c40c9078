#include "agent/probe_scope.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/service_duties.h"
#include "agent/withheld.h"
#include "datapath/testing.h"

namespace weft::agent {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

IpAddress ip(std::string_view text) { return IpAddress::parse(text).value(); }

// This node is 192.0.2.1 with the pod 10.244.0.5 of shop, node b is 192.0.2.2; etcd is at 192.0.2.9.
class ProbeScopeTest : public ::testing::Test {
 protected:
  void SetUp() override { open("node: here\nstore: etcd\netcd_endpoints: [\"http://192.0.2.9:2379\"]\n"); }

  void open(const std::string& text) {
    config = parse_config("test", text + "pod_cidrs: [10.244.0.0/16]\nservice_cidrs: [10.96.0.0/16]\n");
    ASSERT_TRUE(config) << config.error().message;
    publisher.reset();
    tables = maps.open().value();
    publisher = Publisher::open({*config, store, *objects, *tables}, 0, problems).value();
    objects->on_change([this](const ObjectChange& change) { publisher->object_changed(change); });
    node.addresses = {ip("192.0.2.1"), ip("10.244.0.1")};
    publisher->set_node(node);
    store::EndpointRecord record;
    record.key = {"own", "eth0"};
    record.namespace_ = "shop";
    record.pod = "own";
    record.state = store::EndpointState::ready;
    record.endpoint_id = 100;
    record.ifindex = 7;
    record.addresses = {ip("10.244.0.5")};
    records[record.key] = record;
    publisher->set_records(records);
    publisher->set_may_announce([](const weft_l2_key&) { return true; });
    if (!config->clustered()) return;
    publisher->set_others(others);
    publisher->compiler().learn({{300, control::identity_labels("shop", {{"app", "web"}})},
                                 {301, control::identity_labels("shop", {{"app", "db"}})},
                                 {302, control::identity_labels("bank", {})}},
                                {}, false);
    others.replace("b", {{{"shop", "web"}, told("10.244.1.1", 300)},
                         {{"shop", "db"}, told("10.244.1.2", 301)},
                         {{"bank", "vault"}, told("10.244.1.3", 302)},
                         {{"shop", "new"}, told("10.244.1.4", 0)}});
    view.plan.reach["b"].number = 1;
    view.plan.addresses[ip("192.0.2.2")] = {"b", 1};
    view.nodes["c"].underlay = {ip("192.0.2.3")};
    publisher->set_cluster(view);
  }
  static cluster::SharedEndpoint told(std::string_view address, cluster::IdentityNumber identity) {
    return {.addresses = {ip(address)}, .identity = identity};
  }
  void apply(const std::string& yaml) {
    auto outcome = model::parse_manifests("t.yaml", yaml);
    ASSERT_TRUE(outcome.problems.empty()) << outcome.problems.front().to_string();
    for (const auto& document : outcome.documents)
      if (const auto* service = std::get_if<model::Service>(&document.object)) {
        const auto assigned = publisher->services().assign(*service);
        ASSERT_TRUE(assigned) << assigned.error().message;
      }
    ASSERT_TRUE(objects->apply(outcome.documents));
    const auto published = publisher->publish();
    ASSERT_TRUE(published) << published.error().message;
  }
  void select(const std::string& policy) {
    apply("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p, namespace: shop}\nspec: " +
          policy);
  }
  [[nodiscard]] std::vector<std::string> withheld(const model::ObjectKey& service) const {
    std::vector<std::string> texts;
    for (const auto& one : withheld_addresses(*publisher, service))
      texts.push_back(withheld_text(service, one) + (one.of_status ? " (status)" : ""));
    return texts;
  }
  [[nodiscard]] std::string unchecked(std::string_view address) const {
    return ProbeScope(*publisher).unchecked({"shop", "web"}, ip(address), 8080);
  }

  Result<Config> config = parse_config("test", "");
  datapath::testing::FakeMaps maps;
  store::Store store = *store::Store::open(":memory:");
  std::vector<std::string> problems;
  Result<Objects> objects = Objects::load(store, problems);
  Node node;
  Publisher::Records records;
  cluster::PodTable others{"here"};
  ClusterView view{.clustered = true, .known = true};
  std::unique_ptr<datapath::Tables> tables;
  std::unique_ptr<Publisher> publisher;
};

// The pod's own node would drop the probe: it lets through what comes from there alone.
TEST_F(ProbeScopeTest, APodElsewhereThatAnIngressPolicySelectsIsLeftToItsOwnNode) {
  ASSERT_TRUE(publisher->publish());
  for (const auto* address : {"10.244.0.5", "10.244.1.1", "10.244.1.2", "10.244.1.4", "203.0.113.5"})
    EXPECT_THAT(unchecked(address), IsEmpty()) << address;
  select("{podSelector: {matchLabels: {app: db}}, policyTypes: [Egress]}");
  EXPECT_THAT(unchecked("10.244.1.2"), IsEmpty()) << "it says nothing of who comes in";
  select("{podSelector: {matchLabels: {app: db}}, policyTypes: [Ingress]}");
  EXPECT_EQ(unchecked("10.244.1.2"), "a NetworkPolicy selects it");
  EXPECT_THAT(unchecked("10.244.1.1"), IsEmpty());
  EXPECT_EQ(unchecked("10.244.1.4"), "a NetworkPolicy selects it") << "its labels are not known yet";
  select("{podSelector: {}, policyTypes: [Ingress]}");
  EXPECT_EQ(unchecked("10.244.1.1"), "a NetworkPolicy selects it");
  EXPECT_THAT(unchecked("10.244.0.5"), IsEmpty()) << "the node may always reach its own pods";
}

TEST_F(ProbeScopeTest, NobodyIsAskedWhomTheServicesNamespaceCouldNotAsk) {
  ASSERT_TRUE(publisher->publish());
  EXPECT_EQ(unchecked("10.244.1.3"), "the address is a pod's of another namespace");
  EXPECT_EQ(ProbeScope(*publisher).unchecked({"bank", "x"}, ip("10.244.0.5"), 80),
            "the address is a pod's of another namespace");
  EXPECT_EQ(unchecked("192.0.2.9"), "the address is etcd's");
  EXPECT_EQ(unchecked("192.0.2.1"), "the address is node here's");
  EXPECT_EQ(unchecked("10.244.0.1"), "the address is node here's");
  EXPECT_EQ(unchecked("192.0.2.2"), "the address is node b's");
  EXPECT_EQ(unchecked("192.0.2.3"), "the address is node c's");
  EXPECT_EQ(unchecked("10.96.0.77"), "the address is a Service's");
  apply(
      "apiVersion: v1\nkind: Service\nmetadata: {name: vault, namespace: bank}\n"
      "spec: {selector: {app: x}, externalIPs: [203.0.113.5], ports: [{port: 8080}]}");
  EXPECT_EQ(unchecked("203.0.113.5"), "the address is a Service's");
  EXPECT_THAT(unchecked("203.0.113.6"), IsEmpty());
  view.known = false;
  publisher->set_cluster(view);
  EXPECT_EQ(unchecked("203.0.113.6"), "what other nodes have is not known yet");
  EXPECT_THAT(unchecked("10.244.0.5"), IsEmpty());
}

TEST_F(ProbeScopeTest, ANodeByItselfProbesPlainHostsButNotItself) {
  open("node: here\n");
  ASSERT_TRUE(publisher->publish());
  EXPECT_EQ(unchecked("192.0.2.1"), "the address is this node's");
  EXPECT_THAT(unchecked("192.0.2.2"), IsEmpty());
  EXPECT_THAT(unchecked("10.244.0.5"), IsEmpty());
}

TEST_F(ProbeScopeTest, TargetsAreThoseThatMayBeProbed) {
  apply(
      "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop, annotations: {weft.io/health-check: "
      "tcp}}\n"
      "spec: {ports: [{port: 80}]}\n---\n"
      "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"
      "metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}\n"
      "addressType: IPv4\nports: [{port: 8080}]\nendpoints: [{addresses: [10.244.1.1]}, {addresses: [10.244.1.3]}, "
      "{addresses: [192.0.2.9]}, {addresses: [203.0.113.5]}]");
  std::vector<std::string> probed;
  for (const auto& [target, backends] :
       check_targets(publisher->service_facts().health_checks(), publisher->services(), ProbeScope(*publisher)))
    probed.push_back(target.address.to_string());
  EXPECT_THAT(probed, UnorderedElementsAre("10.244.1.1", "203.0.113.5"));
}

// As one that was applied before its address was a node's.
TEST_F(ProbeScopeTest, NoServiceIsServedAtANodesAddressByAnExternalIp) {
  apply(
      "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\n"
      "spec: {clusterIP: 10.96.0.5, externalIPs: [192.0.2.1, 192.0.2.2, 203.0.113.5], ports: [{port: 80}]}");
  const auto served = [&](std::string_view address) {
    return publisher->services().find(ip(address), 80, Protocol::tcp) != nullptr;
  };
  EXPECT_FALSE(served("192.0.2.1"));
  EXPECT_FALSE(served("192.0.2.2"));
  EXPECT_TRUE(served("203.0.113.5"));
  EXPECT_THAT(withheld({"shop", "web"}),
              ElementsAre("192.0.2.1 of shop/web is node here's", "192.0.2.2 of shop/web is node b's"));
  EXPECT_THAT(withheld_addresses(*publisher), ::testing::SizeIs(1));
  EXPECT_THAT(withheld({"shop", "other"}), IsEmpty());
  view.plan.addresses.clear();
  publisher->set_cluster(view);
  ASSERT_TRUE(publisher->publish());
  EXPECT_TRUE(served("192.0.2.2")) << "that node is gone";
}

// Who writes the status may give a node's own address; what pods and other Services have is nobody's to give.
TEST_F(ProbeScopeTest, WhatAStatusNamesIsServedOutsideOfTheRangesOnlyAndToldOtherwise) {
  apply(
      "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\n"
      "spec: {type: LoadBalancer, clusterIP: 10.96.0.5, ports: [{port: 80}]}\n"
      "status: {loadBalancer: {ingress: [{ip: 10.96.0.77}, {ip: 10.244.9.9}, {ip: 192.0.2.1}, {ip: 203.0.113.5}]}}");
  for (const auto* address : {"192.0.2.1", "203.0.113.5"})
    EXPECT_NE(publisher->services().find(ip(address), 80, Protocol::tcp), nullptr) << address;
  for (const auto* address : {"10.96.0.77", "10.244.9.9"})
    EXPECT_EQ(publisher->services().find(ip(address), 80, Protocol::tcp), nullptr) << address;
  EXPECT_THAT(withheld({"shop", "web"}),
              ElementsAre("10.96.0.77 of shop/web is in service_cidrs: it is a cluster IP's (status)",
                          "10.244.9.9 of shop/web is in pod_cidrs: it is a pod's (status)"));
  apply(
      "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\n"
      "spec: {type: LoadBalancer, clusterIP: 10.96.0.5, ports: [{port: 80}]}\n"
      "status: {loadBalancer: {ingress: [{ip: 203.0.113.5}]}}");
  EXPECT_THAT(withheld_addresses(*publisher), IsEmpty());
}

}  // namespace
}  // namespace weft::agent
