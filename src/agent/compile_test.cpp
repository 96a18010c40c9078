#include "agent/compile.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace weft::agent {
namespace {

// tests/script shows what is compiled from what; here is what takes too many steps for a script.
class CompileTest : public ::testing::Test {
 protected:
  Result<Compiled> compile() { return compiler.compile(*objects, records, node); }
  store::EndpointRecord& attach(const std::string& name, std::uint32_t id) {
    store::EndpointRecord record;
    record.key = {name, "eth0"};
    record.namespace_ = "default";
    record.pod = name;
    record.state = store::EndpointState::ready;
    record.endpoint_id = id;
    record.ifindex = 100 + id;
    record.addresses = {IpAddress::v4(0x0a000002 + id)};
    record.labels["container:name"] = name;
    return records[record.key] = record;
  }

  store::Store store = *store::Store::open(":memory:");
  std::vector<std::string> problems;
  Result<Objects> objects = Objects::load(store, problems);
  Node node;
  std::map<store::EndpointKey, store::EndpointRecord> records;
  Compiler compiler{*parse_config("test", ""), {}, {}, 0};
};

TEST_F(CompileTest, ContainersThatComeAndGoDoNotUseIdentitiesUp) {
  attach("stays", 1);
  const auto first = compile();
  ASSERT_TRUE(first);
  const auto stays = first->endpoints.front().identity;
  for (std::uint32_t n = 0; n < 5000; ++n) {
    attach(fmt::format("container-{}", n), 2);
    ASSERT_TRUE(compile());
    records.erase({fmt::format("container-{}", n), "eth0"});
  }
  EXPECT_LT(compiler.identities().all().size(), 1100U);
  EXPECT_EQ(compiler.numbers().identities.size(), compiler.identities().all().size());
  EXPECT_EQ(compile()->endpoints.front().identity, stays);
}

TEST_F(CompileTest, WhatIsBeingRemovedOrHasNoDeviceIsNotCompiled) {
  attach("a", 1).state = store::EndpointState::deleting;
  attach("b", 2).ifindex = 0;
  attach("c", 3);
  const auto compiled = compile();
  ASSERT_TRUE(compiled);
  ASSERT_EQ(compiled->endpoints.size(), 1U);
  EXPECT_EQ(compiled->endpoints.front().record.pod, "c");
}

// The kubelet detaches it some time after it has ended; nobody is to be allowed or balanced to its address until then.
TEST_F(CompileTest, APodThatHasFinishedIsNotCompiled) {
  for (const auto* phase : {"Running", "Succeeded", "Failed"}) {
    auto outcome = model::parse_manifests(
        "p.yaml",
        fmt::format("apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec: {{containers: [{{name: c, image: i}}]}}\n"
                    "status: {{phase: {}}}\n",
                    phase));
    ASSERT_TRUE(outcome.problems.empty()) << outcome.problems.front().to_string();
    ASSERT_TRUE(objects->apply(outcome.documents));
    attach("a", 1);
    const auto compiled = compile();
    ASSERT_TRUE(compiled);
    EXPECT_EQ(compiled->endpoints.size(), phase == std::string_view("Running") ? 1U : 0U) << phase;
  }
}

TEST_F(CompileTest, InAClusterNumbersAreLearntAndAnEndpointKeepsTheOneItHad) {
  ClusterView cluster{.clustered = true, .known = true};
  const auto identity = [&] { return compiler.compile(*objects, records, node, cluster)->endpoints.front().identity; };
  attach("a", 1);
  EXPECT_EQ(identity(), control::IdentityId{WEFT_IDENTITY_INIT});
  EXPECT_TRUE(compiler.identities().all().empty());  // none was given
  const auto labels = identity_labels_of(*objects, {"default", "a"}, {{"container:name", "a"}});
  EXPECT_EQ(compiler.compile(*objects, records, node, cluster)->labels, std::set{labels});
  compiler.learn({{700, labels}, {701, {{"k8s:app", "old"}}}}, {}, false);
  EXPECT_EQ(identity(), 700U);
  compiler.learn({{701, {{"k8s:app", "other"}}}}, {}, true);  // all there are: 700 is gone
  EXPECT_EQ(identity(), 700U);
  compiler.learn({{702, labels}}, {}, false);
  EXPECT_EQ(identity(), 702U);
}

TEST_F(CompileTest, EgressGatewaysAmongTheNodesOfACluster) {
  const auto outcome = model::parse_manifests(
      "e.yaml",
      "apiVersion: weft.io/v1alpha1\nkind: EgressGateway\nmetadata: {name: e}\nspec:\n"
      "  selectors: [{podSelector: {matchLabels: {app: bank}}}]\n  destinationCIDRs: [0.0.0.0/0]\n"
      "  gateways: [{nodeSelector: {matchLabels: {role: gateway}}}]\n");
  ASSERT_TRUE(objects->apply(outcome.documents));
  compiler.learn({{800, control::identity_labels("default", {{"app", "bank"}})}}, {}, true);
  ClusterView cluster{.clustered = true, .known = true};
  for (const auto* name : {"x", "y", "z"})
    cluster.nodes[name] = {.labels = {{"role", "gateway"}}, .underlay = {IpAddress::v4(0xc0000207)}, .alive = true};
  cluster.plan.reach["x"] = {.number = 1, .way = WEFT_WAY_DIRECT, .same_network = true, .problem = {}};
  cluster.plan.reach["y"] = {.number = 2, .way = WEFT_WAY_DIRECT, .same_network = false, .problem = {}};
  cluster.plan.reach["z"] = {.number = 3, .way = WEFT_WAY_VXLAN, .same_network = false, .problem = {}};
  const auto compiled = compiler.compile(*objects, records, node, cluster);
  ASSERT_TRUE(compiled);
  ASSERT_EQ(compiled->rows.egress.size(), 1U);
  const auto& [key, row] = *compiled->rows.egress.begin();
  EXPECT_EQ(key.identity, 800U);
  EXPECT_EQ(key.prefix_length, 32U + 96U);
  ASSERT_EQ(row.count, 2) << "y is on another network, without a tunnel";
  EXPECT_EQ(row.node[0], 1);
  EXPECT_EQ(row.node[1], 3);
  ASSERT_EQ(compiled->rows.next_hops.size(), 1U) << "only who is reached directly is a next hop";
  EXPECT_EQ(compiled->rows.next_hops.begin()->first, 1U);
  cluster.nodes["x"].answers = false;
  EXPECT_EQ(compiler.compile(*objects, records, node, cluster)->rows.egress.begin()->second.node[0], 3);
  cluster.plan.reach["z"].way = WEFT_WAY_WIREGUARD;
  const auto encrypted = compiler.compile(*objects, records, node, cluster);
  EXPECT_EQ(encrypted->rows.egress.begin()->second.count, 1) << "nothing can be wrapped for WireGuard there";
  const auto& candidates = encrypted->egress.gateways.begin()->second.candidates;
  const auto by_wireguard = std::ranges::find(candidates, "z", &control::EgressCandidate::node);
  ASSERT_NE(by_wireguard, candidates.end());
  EXPECT_NE(by_wireguard->why_not.find("encrypted"), std::string::npos) << by_wireguard->why_not;
  cluster.plan.nodes[3].addr = datapath::to_abi(IpAddress::v4(0x0af40301));
  EXPECT_EQ(compiler.compile(*objects, records, node, cluster)->rows.egress.begin()->second.node[0], 3);
  cluster.known = false;
  EXPECT_TRUE(compiler.compile(*objects, records, node, cluster)->rows.egress.empty()) << "what is in the maps stays";
}

TEST_F(CompileTest, OtherNodesAndTheirPodsAreRowsAndPeers) {
  attach("a", 1);
  compiler.learn({{800, control::identity_labels("default", {{"app", "far"}})}}, {}, true);
  ClusterView cluster{.clustered = true, .known = true};
  cluster.plan.nodes[3].way = WEFT_WAY_VXLAN;
  cluster.plan.blocks[*Cidr::parse("10.244.3.0/24")] = 3;
  cluster.plan.addresses[IpAddress::v4(0xc0000203)] = {"far", 0};
  cluster.plan.addresses[IpAddress::v4(0x0af40301)] = {"far", 3};
  cluster.plan.reach["far"].number = 3;
  cluster::PodTable others("here");
  (void)others.replace("far", {{{"default", "there"}, {.addresses = {IpAddress::v4(0x0af40302)}, .identity = 800}}});
  const auto compiled = compiler.compile(*objects, records, node, cluster, &others);
  ASSERT_TRUE(compiled);
  const auto row = [&](std::uint32_t address) {
    return compiler.remote_row(IpAddress::v4(address), cluster, others).value_or(weft_remote{});
  };
  const auto there = row(0x0af40302);
  EXPECT_EQ(there.identity, 800U);
  EXPECT_EQ(there.node, 3U);
  EXPECT_EQ(there.flags, 0U);
  EXPECT_FALSE(compiler.remote_row(IpAddress::v4(0x0af40303), cluster, others));
  const auto far = row(0xc0000203);
  EXPECT_EQ(far.identity, std::uint32_t{WEFT_IDENTITY_REMOTE_NODE});
  EXPECT_EQ(far.node, 0U);
  EXPECT_EQ(far.flags, std::uint32_t{WEFT_REMOTE_NODE});
  const auto& block = compiled->rows.identities.at(datapath::to_abi(*Cidr::parse("10.244.3.0/24")));
  EXPECT_EQ(block.node, 3U);
  EXPECT_EQ(block.identity, std::uint32_t{WEFT_IDENTITY_INIT});
  EXPECT_EQ(compiled->rows.identities.at(datapath::to_abi(*Cidr::parse("0.0.0.0/0"))).node, 0U);
  ASSERT_EQ(compiled->policy_input.peers.size(), 1U);
  EXPECT_EQ(compiled->policy_input.peers[0].pod.namespace_, "default");
  EXPECT_EQ(compiled->policy_input.peers[0].labels, (LabelMap{{"app", "far"}}));
}

TEST_F(CompileTest, ACompileThatFailsHalfwayHoldsNoIdentity) {
  store::NumberSet restored;
  for (std::uint32_t id = WEFT_IDENTITY_FIRST; id < WEFT_IDENTITY_LAST; ++id)
    restored.identities.emplace(id, LabelMap{{"container:name", fmt::format("old-{}", id)}});
  Compiler full(*parse_config("test", ""), restored, {}, 0);
  attach("a", 1);
  attach("b", 2);
  for (int attempt = 0; attempt < 3; ++attempt) {
    const auto refused = full.compile(*objects, records, node);
    ASSERT_FALSE(refused) << "one number is left for two label sets";
    EXPECT_EQ(refused.error().code, ErrorCode::exhausted);
  }
  EXPECT_EQ(full.identities().references(WEFT_IDENTITY_LAST), 0);
  records.erase({"b", "eth0"});
  ASSERT_TRUE(full.compile(*objects, records, node));
  EXPECT_EQ(full.identities().references(WEFT_IDENTITY_LAST), 1);
  EXPECT_EQ(full.identities().all().size(), 1U) << "the others were collected";
}

TEST_F(CompileTest, TheNodesMainAddressesAreItsUplinks) {
  node.addresses = {*IpAddress::parse("192.0.2.2"), *IpAddress::parse("10.0.0.1"), *IpAddress::parse("2001:db8::2")};
  node.uplinks[7] = {"eth0", 1500, IpAddress::parse("192.0.2.2").value(), {}, {}};
  EXPECT_THAT(node.main_addresses(),
              ::testing::ElementsAre(*IpAddress::parse("192.0.2.2"), *IpAddress::parse("2001:db8::2")));
}

TEST_F(CompileTest, RefusedClassNumbersAreNotGivenAgain) {
  const auto policy = [&](int port) {
    auto outcome = model::parse_manifests(
        "p.yaml", fmt::format("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p}}\n"
                              "spec: {{podSelector: {{}}, ingress: [{{ports: [{{port: {}}}]}}]}}\n",
                              port));
    ASSERT_TRUE(objects->apply(outcome.documents));
  };
  const auto class_now = [&] {
    auto compiled = compile();
    return compiled->rows.endpoints.begin()->second.policy_class;
  };
  attach("a", 1);
  policy(1);
  const auto first = class_now();
  compiler.written();
  const store::StoredKey key{model::Kind::network_policy, {"default", "p"}};
  const auto before = *objects->read(key);
  policy(2);
  const auto second = class_now();
  EXPECT_NE(second, first);
  compiler.refused();
  ASSERT_TRUE(objects->restore({{key, before}}));
  EXPECT_EQ(class_now(), first) << "as it is in the maps";
  compiler.written();
  policy(3);
  const auto third = class_now();
  compiler.owed();
  policy(4);
  const auto fourth = class_now();
  // The maps may still hold endpoints of the first and rows of the third.
  EXPECT_NE(fourth, first);
  EXPECT_NE(fourth, third);
}

TEST_F(CompileTest, PoliciesThatComeAndGoDoNotAddUpRules) {
  using std::chrono::hours;
  attach("a", 1);
  control::RuleTable::Time now{};
  std::uint32_t latest = 0;
  for (int round = 0; round < 100; ++round) {
    const auto name = fmt::format("p{}", round);
    auto outcome = model::parse_manifests(
        "p.yaml", "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: " + name +
                      "}\nspec: {podSelector: {}, ingress: [{ports: [{port: 80}]}]}\n");
    ASSERT_TRUE(objects->apply(outcome.documents));
    ASSERT_TRUE(compile());
    compiler.written(now += hours(1));
    ASSERT_GT(compiler.rules().all().rbegin()->first, latest) << "a number is given once";
    latest = compiler.rules().all().rbegin()->first;
    ASSERT_TRUE(objects->remove({{model::Kind::network_policy, {"default", name}}}));
    ASSERT_TRUE(compile());
    compiler.written(now += hours(1));
    (void)compiler.forget_rules(now - hours(3));
    ASSERT_LE(compiler.rules().all().size(), 8U);
    ASSERT_LE(compiler.numbers().rules.size(), 8U);
  }
}

}  // namespace
}  // namespace weft::agent
