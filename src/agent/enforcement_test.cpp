#include "agent/enforcement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/node_testing.h"
#include "agent/publisher.h"
#include "datapath/testing.h"
#include "model/parse.h"

namespace weft::agent {
namespace {

using ::testing::HasSubstr;

class EnforcementTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(config) << config.error().message;
    node.uplinks[1] = {"eth0", 1500, IpAddress::v4(0xc0000201), {}, {}};
    node.addresses = {IpAddress::v4(0xc0000201)};
    tables = maps.open().value();
    publisher = Publisher::open({*config, store, *objects, *tables}, 0, problems).value();
    objects->on_change([this](const ObjectChange& change) { publisher->object_changed(change); });
    publisher->set_node(node);
    publisher->set_may_announce([](const weft_l2_key&) { return true; });
    const auto record = testing::ready_record({"shop", "web-0"}, 100, IpAddress::v4(0x0af4020a));
    records[record.key] = record;
    publisher->set_records(records);
    ASSERT_TRUE(publisher->publish());
  }
  void bring(const std::string& name, int generation, const std::string& spec) {
    auto object =
        model::object_from_api(model::Kind::network_policy, "https://api",
                               R"({"metadata": {"namespace": "shop", "name": ")" + name + R"(", "uid": "u-)" + name +
                                   R"(", "generation": )" + std::to_string(generation) + R"(}, "spec": )" + spec + "}");
    ASSERT_TRUE(object) << object.error().message;
    ASSERT_TRUE(publisher->bring({.objects = {{object->object, object->json}}, .gone = {}, .assignments = {}}));
  }
  cluster::Enforcement report(bool written = true, std::map<model::ObjectKey, std::string> misread = {}) {
    return reports.make(*objects, publisher->compiled(),
                        {.compiles = publisher->compiles(),
                         .written = written,
                         .trouble = "the map is full",
                         .seen = 5,
                         .misread = std::move(misread)});
  }

  Result<Config> config =
      parse_config("test", "node: here\npod_cidrs: [10.244.0.0/16]\nservice_cidrs: [10.96.0.0/16]\n");
  datapath::testing::FakeMaps maps;
  store::Store store = *store::Store::open(":memory:");
  std::vector<std::string> problems;
  std::optional<Objects> objects{std::move(*Objects::load(store, problems))};
  std::unique_ptr<datapath::Tables> tables;
  Node node;
  Publisher::Records records;
  std::unique_ptr<Publisher> publisher;
  EnforcementReport reports;
};

TEST_F(EnforcementTest, WhatIsCompiledAndWrittenIsEnforced) {
  bring("all", 4, R"({"podSelector": {}})");
  bring("others", 1, R"({"podSelector": {"matchLabels": {"app": "db"}}})");
  auto told = report();
  ASSERT_EQ(told.policies.size(), 1U) << "of those that select nobody here nothing is told";
  EXPECT_THAT(told.policies[0].reason, HasSubstr("it could not be compiled: the map is full")) << "nothing is yet";
  ASSERT_TRUE(publisher->publish());
  told = report();
  ASSERT_EQ(told.policies.size(), 1U);
  EXPECT_EQ(told.seen, 5U);
  EXPECT_EQ(told.policies[0],
            (cluster::EnforcedPolicy{
                .namespace_ = "shop", .name = "all", .uid = "u-all", .version = {4, {}}, .reason = {}, .kept = {}}));
  // The next generation is compiled, and its rows are on their way.
  bring("all", 5, R"({"podSelector": {}, "policyTypes": ["Egress"]})");
  ASSERT_TRUE(publisher->publish());
  told = report(false);
  EXPECT_EQ(told.policies[0].version.generation, 5U);
  EXPECT_EQ(told.policies[0].kept.generation, 4U);
  EXPECT_THAT(told.policies[0].reason, HasSubstr("it is not in the kernel yet: the map is full"));
  EXPECT_TRUE(report().policies[0].enforced());
  // Not compiled at all: what was there stays, and is told.
  bring("all", 6, R"({"podSelector": {}})");
  for (int i = 0; i < 2; ++i) {
    told = report();
    EXPECT_EQ(told.policies[0].version.generation, 6U);
    EXPECT_EQ(told.policies[0].kept.generation, 5U);
    EXPECT_FALSE(told.policies[0].enforced());
  }
  ASSERT_TRUE(publisher->publish());
  told = report(true, {{{"shop", "all"}, "it cannot be read"}});
  EXPECT_EQ(told.policies[0].reason, "it cannot be read");
}

TEST_F(EnforcementTest, IsDueOnlyWhenSomethingHasChanged) {
  EnforcementReport::State state{.compiles = 1, .written = true, .seen = 1};
  EXPECT_TRUE(reports.is_due(state));
  (void)reports.make(*objects, publisher->compiled(), state);
  EXPECT_FALSE(reports.is_due(state));
  state.seen = 2;
  EXPECT_TRUE(reports.is_due(state));
}

// Whoever has no API server has a digest of what the policy asks for, the same however it is written.
TEST_F(EnforcementTest, WithoutAGenerationThereIsADigest) {
  const auto version = [](const std::string& yaml) {
    const auto parsed = model::parse_manifests("t.yaml", yaml);
    EXPECT_EQ(parsed.documents.size(), 1U);
    return policy_version(std::get<model::NetworkPolicy>(parsed.documents.at(0).object));
  };
  const std::string head =
      "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p, namespace: shop, ";
  const auto one = version(head + "generation: 7}\nspec: {podSelector: {}, ingress: [{ports: [{port: 80}]}]}\n");
  EXPECT_EQ(one.generation, 0U) << "nobody counts what is written in a file";
  EXPECT_EQ(one.digest.size(), 16U);
  EXPECT_EQ(one,
            version(head +
                    "labels: {a: b}}\nspec:\n  ingress:\n  - ports: [{protocol: TCP, port: 80}]\n  podSelector: {}\n"));
  EXPECT_NE(one, version(head + "}\nspec: {podSelector: {}, ingress: [{ports: [{port: 81}]}]}\n"));
}

}  // namespace
}  // namespace weft::agent
