#include "agent/announce.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::agent {
namespace {

IpAddress ip(std::string_view text) { return IpAddress::parse(text).value(); }

class AnnounceTest : public ::testing::Test {
 protected:
  AnnounceTest() {
    control::ServiceOptions options;
    options.cluster_cidrs = {Cidr::parse("10.96.0.0/16").value()};
    services.emplace(options, control::ServiceAssignments());
    node.uplinks[3].name = "uplink0";
    objects->on_change([this](const ObjectChange& change) {
      const auto* service = change.object == nullptr ? nullptr : std::get_if<model::Service>(change.object);
      if (change.key.kind != model::Kind::service) return;
      facts.changed(change.key.key, service);
      if (service == nullptr) return services->erase_service(change.key.key);
      ASSERT_TRUE(services->assign(*service));
      services->upsert(*service);
    });
  }
  void apply(const std::string& text) {
    auto outcome = model::parse_manifests("test.yaml", text);
    for (const auto& problem : outcome.problems) ADD_FAILURE() << problem.to_string();
    ASSERT_TRUE(objects->apply(outcome.documents));
    ASSERT_TRUE(services->compile());
  }
  Announcements all() { return announcements(*objects, facts, *services, node, config, cluster); }
  std::vector<std::string> announced() {
    std::vector<std::string> result;
    for (const auto& [key, row] : all().rows) result.push_back(datapath::from_abi(key.addr).to_string());
    return result;
  }

  store::Store store = *store::Store::open(":memory:");
  std::vector<std::string> problems;
  Result<Objects> objects = Objects::load(store, problems);
  std::optional<control::ServiceCompiler> services;
  ServiceFacts facts;
  Node node;
  Config config = parse_config("weftd.yaml", "node_labels: {rack: '7'}").value();
  ClusterView cluster;
};

constexpr auto announcement =
    "apiVersion: weft.io/v1alpha1\nkind: L2Announcement\nmetadata: {name: some}\n"
    "spec: {serviceSelector: {matchLabels: {tell: 'yes'}}}\n---\n";

TEST_F(AnnounceTest, TheAddressesOfTheServicesTheSelectorNames) {
  apply(
      "apiVersion: v1\nkind: Service\nmetadata: {name: told, labels: {tell: 'yes'}}\n"
      "spec: {ports: [{port: 80}], externalIPs: [192.0.2.80]}\n---\n"
      "apiVersion: v1\nkind: Service\nmetadata: {name: untold}\n"
      "spec: {ports: [{port: 80}], externalIPs: [192.0.2.81]}\n---\n"
      "apiVersion: v1\nkind: Service\nmetadata: {name: inside, labels: {tell: 'yes'}}\nspec: {ports: [{port: 80}]}\n");
  EXPECT_THAT(announced(), ::testing::IsEmpty());
  apply(announcement);
  EXPECT_THAT(announced(), ::testing::ElementsAre("192.0.2.80"));
  EXPECT_EQ(facts.announceable().size(), 2U) << "one without such addresses is not kept";
  node.addresses.insert(ip("192.0.2.80"));
  EXPECT_THAT(announced(), ::testing::IsEmpty()) << "the node answers for its own";
}

TEST_F(AnnounceTest, AServiceThatLosesItsAddressOrItsLabelIsNoLongerAnnounced) {
  const auto service = [](const std::string& label, const std::string& addresses) {
    return "apiVersion: v1\nkind: Service\nmetadata: {name: web, labels: {tell: '" + label +
           "'}}\nspec: {ports: [{port: 80}], externalIPs: [" + addresses + "]}\n";
  };
  apply(announcement + service("yes", "192.0.2.80"));
  EXPECT_THAT(announced(), ::testing::ElementsAre("192.0.2.80"));
  apply(service("no", "192.0.2.80"));
  EXPECT_THAT(announced(), ::testing::IsEmpty());
  apply(service("yes", ""));
  EXPECT_THAT(announced(), ::testing::IsEmpty());
  EXPECT_TRUE(facts.announceable().empty());
  apply(service("yes", "192.0.2.80"));
  ASSERT_TRUE(objects->remove({{model::Kind::service, {"default", "web"}}}));
  ASSERT_TRUE(services->compile());
  EXPECT_THAT(announced(), ::testing::IsEmpty());
  EXPECT_TRUE(facts.announceable().empty());
}

// Whoever may write a Service could draw what others send to the router, or to the pods.
TEST_F(AnnounceTest, WhatOthersHaveIsRefusedAndSaid) {
  apply(
      "apiVersion: v1\nkind: Service\nmetadata: {name: web, labels: {tell: 'yes'}}\n"
      "spec: {ports: [{port: 80}], externalIPs: [192.0.2.1, 192.0.2.80, 10.244.0.7, 192.0.2.9]}\n---\n");
  apply(announcement);
  node.next_hops = {ip("192.0.2.1")};
  node.neighbours = {ip("192.0.2.9")};
  EXPECT_THAT(announced(), ::testing::ElementsAre("192.0.2.80"));
  const auto refused = all().refused;
  ASSERT_THAT(refused, ::testing::SizeIs(3));
  EXPECT_THAT(refused.at(ip("192.0.2.1")), ::testing::HasSubstr("is a router's"));
  EXPECT_THAT(refused.at(ip("192.0.2.9")), ::testing::HasSubstr("permanent neighbour entry"));
  EXPECT_THAT(refused.at(ip("10.244.0.7")), ::testing::HasSubstr("pod_cidrs"));
  config.external_ips = false;
  EXPECT_THAT(announced(), ::testing::IsEmpty());
  EXPECT_THAT(all().refused.at(ip("192.0.2.80")), ::testing::HasSubstr("`external_ips: false`"));
}

TEST_F(AnnounceTest, WithoutExternalIpsOnlyThePoolsAddressesAreAnnounced) {
  config.external_ips = false;
  auto outcome = model::parse_manifests("pool.yaml",
                                        "apiVersion: weft.io/v1alpha1\nkind: LoadBalancerPool\nmetadata: {name: p}\n"
                                        "spec: {addresses: [192.0.2.100/32]}\n");
  services->upsert(std::get<model::LoadBalancerPool>(outcome.documents.at(0).object));
  apply(
      "apiVersion: v1\nkind: Service\nmetadata: {name: pooled, labels: {tell: 'yes'}}\n"
      "spec: {type: LoadBalancer, ports: [{port: 80}]}\n---\n"
      "apiVersion: v1\nkind: Service\nmetadata: {name: given, labels: {tell: 'yes'}}\n"
      "spec: {type: LoadBalancer, ports: [{port: 80}]}\nstatus: {loadBalancer: {ingress: [{ip: 192.0.2.77}]}}\n");
  apply(announcement);
  EXPECT_THAT(announced(), ::testing::ElementsAre("192.0.2.100"));
  EXPECT_TRUE(all().refused.contains(ip("192.0.2.77")));
}

TEST_F(AnnounceTest, ADeviceThatIsNoUplinkIsSaid) {
  const auto on = [&](const std::string& interfaces) {
    apply("apiVersion: weft.io/v1alpha1\nkind: L2Announcement\nmetadata: {name: lan}\nspec: {interfaces: " +
          interfaces + "}\n");
    return all().problems;
  };
  EXPECT_THAT(on("[eth7]"),
              ::testing::ElementsAre(::testing::AllOf(
                  ::testing::HasSubstr("L2Announcement lan: spec.interfaces: no uplink of this node is named eth7"),
                  ::testing::HasSubstr("its uplinks are uplink0"), ::testing::HasSubstr("`devices`"))));
  EXPECT_THAT(on("[uplink0, eth7]"), ::testing::SizeIs(1)) << "a name that is nobody's is a mistake wherever it stands";
  EXPECT_THAT(on("['uplink*', 'en*']"), ::testing::IsEmpty()) << "a pattern may be for other nodes";
  EXPECT_THAT(on("['en*']"), ::testing::SizeIs(1)) << "nothing is announced anywhere";
}

constexpr auto balanced =
    "apiVersion: v1\nkind: Service\nmetadata: {name: web, labels: {tell: 'yes'}}\n"
    "spec: {selector: {app: web}, ports: [{port: 80}], externalIPs: [192.0.2.80]";

TEST_F(AnnounceTest, NodesTheSelectorDoesNotNameAnnounceNothing) {
  const auto announce_on = [&](const std::string& rack) {
    apply(
        "apiVersion: weft.io/v1alpha1\nkind: L2Announcement\nmetadata: {name: some}\nspec: {interfaces: [none0], "
        "nodeSelector: {matchLabels: {rack: '" +
        rack + "'}}}\n");
  };
  apply(std::string(balanced) + "}\n");
  announce_on("8");
  EXPECT_THAT(all().problems, ::testing::IsEmpty()) << "a device that only others have is none";
  announce_on("7");
  EXPECT_EQ(all().problems.size(), 1U);
  apply(
      "apiVersion: weft.io/v1alpha1\nkind: L2Announcement\nmetadata: {name: some}\n"
      "spec: {nodeSelector: {matchLabels: {rack: '7'}}}\n");
  EXPECT_THAT(announced(), ::testing::ElementsAre("192.0.2.80"));
  apply(
      "apiVersion: weft.io/v1alpha1\nkind: L2Announcement\nmetadata: {name: some}\n"
      "spec: {nodeSelector: {matchExpressions: [{key: rack, operator: DoesNotExist}]}}\n");
  EXPECT_THAT(announced(), ::testing::IsEmpty());
}

TEST_F(AnnounceTest, EachAddressHasAnOrderOfNodesThatAllOfThemKnow) {
  std::string text = announcement;
  for (int i = 0; i < 90; ++i)
    text += fmt::format(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: s{}, labels: {{tell: 'yes'}}}}\n"
        "spec: {{ports: [{{port: 80}}], externalIPs: [192.0.2.{}]}}\n---\n",
        i, i + 100);
  apply(text);
  cluster.clustered = true;
  const std::vector<std::string> names{"a", "b", "c"};
  std::map<std::string, std::map<unsigned, int>> ranks;
  std::map<std::string, std::set<unsigned>> of_address;
  for (const auto& self : names) {
    cluster.nodes.clear();
    for (const auto& name : names)
      cluster.nodes[name] = {.labels = {}, .underlay = {}, .alive = true, .self = name == self};
    cluster.nodes["dead"] = {};
    const auto result = all();
    ASSERT_EQ(result.rows.size(), 90U);
    for (const auto& [key, row] : result.rows) {
      const auto address = datapath::from_abi(key.addr);
      const auto rank = result.rank(address, self);
      ++ranks[self][rank];
      of_address[address.to_string()].insert(rank);
    }
  }
  for (const auto& [address, seen] : of_address) EXPECT_EQ(seen, (std::set<unsigned>{0, 1, 2})) << address;
  for (const auto& name : names) EXPECT_GT(ranks[name][0], 15) << name << ": about a third each";
}

TEST_F(AnnounceTest, OfALocalServiceNodesWithAnEndpointOnly) {
  apply(announcement + std::string(balanced) + ", externalTrafficPolicy: Local, type: NodePort}\n");
  services->set_node({"here", "", {}, {}});
  EXPECT_THAT(announced(), ::testing::ElementsAre("192.0.2.80")) << "a node by itself is the only one";
  cluster.clustered = true;
  cluster.nodes["here"] = {.labels = {}, .underlay = {}, .alive = true, .self = true};
  cluster.nodes["there"] = {.labels = {}, .underlay = {}, .alive = true, .self = false};
  EXPECT_THAT(announced(), ::testing::IsEmpty()) << "nobody has an endpoint";
  control::ServicePod pod;
  pod.key = {"default", "web-1"};
  pod.labels = {{"app", "web"}};
  pod.addresses = {ip("10.244.0.5")};
  services->upsert(pod);
  ASSERT_TRUE(services->compile());
  EXPECT_THAT(announced(), ::testing::ElementsAre("192.0.2.80"));
  EXPECT_EQ(all().rank(ip("192.0.2.80"), "here"), 0U) << "the other one cannot";
  pod.node = "there";
  services->upsert(pod);
  ASSERT_TRUE(services->compile());
  EXPECT_THAT(announced(), ::testing::IsEmpty());
}

}  // namespace
}  // namespace weft::agent
