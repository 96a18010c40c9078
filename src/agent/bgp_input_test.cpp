#include "agent/bgp_input.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::agent {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

IpAddress ip(std::string_view text) { return IpAddress::parse(text).value(); }

class BgpInputTest : public ::testing::Test {
 protected:
  BgpInputTest() {
    control::ServiceOptions options;
    options.cluster_cidrs = {Cidr::parse("10.96.0.0/16").value()};
    services.emplace(options, control::ServiceAssignments());
    services->set_node({"here", "", {ip("192.0.2.2")}, {}});
    node.addresses = {ip("192.0.2.2")};
    config.node = "here";
    objects->on_change([this](const ObjectChange& change) {
      if (change.object == nullptr) return;
      if (const auto* slice = std::get_if<model::EndpointSlice>(change.object)) services->upsert(*slice);
      const auto* service = std::get_if<model::Service>(change.object);
      if (service == nullptr) return;
      facts.changed(change.key.key, service);
      ASSERT_TRUE(services->assign(*service));
      services->upsert(*service);
    });
    apply(
        "apiVersion: weft.io/v1alpha1\nkind: BGPPeering\nmetadata: {name: a}\n"
        "spec: {localAS: 1, peers: [{address: 192.0.2.1, peerAS: 2}]}\n");
  }
  void apply(const std::string& text) {
    auto outcome = model::parse_manifests("test.yaml", text);
    for (const auto& problem : outcome.problems) ADD_FAILURE() << problem.to_string();
    ASSERT_TRUE(objects->apply(outcome.documents));
    ASSERT_TRUE(services->compile());
  }
  void service(const std::string& more, const std::string& addresses = "198.51.100.1") {
    apply("apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 80}], externalIPs: [" +
          addresses + "]" + more + "}\n");
  }
  void endpoints(const std::string& list) {
    apply(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\n"
        "metadata: {name: web, labels: {kubernetes.io/service-name: web}}\nports: [{port: 80}]\nendpoints: [" +
        list + "]\n");
  }
  std::vector<std::string> told() {
    const auto input = bgp_input(*objects, facts, *services, node, config, {});
    std::vector<std::string> all;
    for (const auto& one : input.services) {
      for (const auto& address : one.external_ips) all.push_back(address.to_string());
      for (const auto& address : one.load_balancer_ips) all.push_back("lb " + address.to_string());
    }
    return all;
  }

  store::Store store = *store::Store::open(":memory:");
  std::vector<std::string> problems;
  Result<Objects> objects = Objects::load(store, problems);
  std::optional<control::ServiceCompiler> services;
  ServiceFacts facts;
  Node node;
  Config config = parse_config("weftd.yaml", "").value();
};

constexpr auto here = "{addresses: [10.0.0.1], nodeName: here}";
constexpr auto elsewhere = "{addresses: [10.0.0.2], nodeName: there}";

TEST_F(BgpInputTest, AnAddressWithoutABackendIsNotTold) {
  service("");
  EXPECT_THAT(told(), IsEmpty());
  endpoints(elsewhere);
  EXPECT_THAT(told(), ElementsAre("198.51.100.1"));
  endpoints("{addresses: [10.0.0.2], nodeName: there, conditions: {ready: false, serving: false}}");
  EXPECT_THAT(told(), IsEmpty());
}

TEST_F(BgpInputTest, WithPolicyLocalTheBackendIsReadyAndHere) {
  service(", externalTrafficPolicy: Local, type: NodePort");
  endpoints(elsewhere);
  EXPECT_THAT(told(), IsEmpty());
  endpoints(std::string(elsewhere) + ", " + here);
  EXPECT_THAT(told(), ElementsAre("198.51.100.1"));
  ASSERT_TRUE(services->compile());
  services->set_healthy(ip("10.0.0.1"), 80, Protocol::tcp, false);
  ASSERT_TRUE(services->compile());
  EXPECT_THAT(told(), IsEmpty()) << "its check found it ill";
  services->set_healthy(ip("10.0.0.1"), 80, Protocol::tcp, true);
  ASSERT_TRUE(services->compile());
  EXPECT_THAT(told(), ElementsAre("198.51.100.1"));
  endpoints("{addresses: [10.0.0.1], nodeName: here, conditions: {ready: false, serving: true, terminating: true}}");
  EXPECT_THAT(told(), IsEmpty()) << "it drains";
}

TEST_F(BgpInputTest, WhatOthersOrTheNodeHaveIsNotTold) {
  service("", "198.51.100.1, 192.0.2.2, 192.0.2.9, 10.244.0.7");
  endpoints(here);
  node.next_hops = {ip("192.0.2.9")};
  EXPECT_THAT(told(), ElementsAre("198.51.100.1"));
  config.external_ips = false;
  EXPECT_THAT(told(), IsEmpty());
}

TEST_F(BgpInputTest, WithoutAPeeringNothingIsLookedAt) {
  service("");
  endpoints(here);
  ASSERT_TRUE(objects->remove({{model::Kind::bgp_peering, {"", "a"}}}));
  EXPECT_THAT(told(), IsEmpty());
  EXPECT_FALSE(speaks_bgp(*objects, config));
}

TEST_F(BgpInputTest, ANodeSpeaksWhereAPeeringIsForItAndThereIsASpeaker) {
  EXPECT_TRUE(speaks_bgp(*objects, config));
  config.bgp_speaker = Config::BgpSpeaker::none;
  EXPECT_FALSE(speaks_bgp(*objects, config));
  config.bgp_speaker = Config::BgpSpeaker::automatic;
  apply(
      "apiVersion: weft.io/v1alpha1\nkind: BGPPeering\nmetadata: {name: a}\nspec:\n"
      "  nodeSelector: {matchLabels: {rack: r1}}\n  localAS: 1\n  peers: [{address: 192.0.2.1, peerAS: 2}]\n");
  EXPECT_FALSE(speaks_bgp(*objects, config));
  config.node_labels = {{"rack", "r1"}};
  EXPECT_TRUE(speaks_bgp(*objects, config));
}

}  // namespace
}  // namespace weft::agent
