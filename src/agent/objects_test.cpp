#include "agent/objects.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace weft::agent {
namespace {

using Action = Objects::Action;
using ::testing::ElementsAre;

std::vector<model::Document> documents(const std::string& text) {
  auto outcome = model::parse_manifests("test.yaml", text);
  for (const auto& problem : outcome.problems) ADD_FAILURE() << problem.to_string();
  return std::move(outcome.documents);
}

std::string pod(const std::string& name, const std::string& app) {
  return fmt::format(
      "apiVersion: v1\nkind: Pod\nmetadata: {{name: {}, namespace: shop, labels: {{app: {}}}}}\n"
      "spec: {{containers: [{{name: c, image: x}}]}}\n---\n",
      name, app);
}

std::string deployment(int replicas, const std::string& app = "web") {
  return fmt::format(
      "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web, namespace: shop}}\nspec:\n  replicas: {}\n"
      "  selector: {{matchLabels: {{tier: front}}}}\n  template:\n    metadata: {{labels: {{tier: front, app: {}}}}}\n"
      "    spec: {{containers: [{{name: c, image: x}}]}}\n---\n",
      replicas, app);
}

class ObjectsTest : public ::testing::Test {
 protected:
  ObjectsTest() { load(); }
  void load() {
    std::vector<std::string> problems;
    auto loaded = Objects::load(store, problems);
    ASSERT_TRUE(loaded) << loaded.error().message;
    objects.emplace(std::move(*loaded));
    objects->on_change([this](const ObjectChange& change) {
      const auto* type = change.type == ChangeType::added      ? "added"
                         : change.type == ChangeType::modified ? "modified"
                                                               : "deleted";
      changes.push_back(fmt::format("{} {} {}", type, model::to_string(change.key.kind), change.key.key.to_string()));
    });
  }
  std::vector<std::string> take_changes() { return std::exchange(changes, {}); }

  store::Store store = *store::Store::open(":memory:");
  std::optional<Objects> objects;
  std::vector<std::string> changes;
};

TEST_F(ObjectsTest, ApplySaysWhatItDidAndTellsTheListenerOnlyOfChanges) {
  const auto first = documents(pod("a", "one") + pod("b", "one"));
  EXPECT_THAT(*objects->apply(first), ElementsAre(Action::created, Action::created));
  EXPECT_THAT(take_changes(), ElementsAre("added Pod shop/a", "added Pod shop/b"));
  const auto second = documents(pod("a", "one") + pod("b", "two"));
  EXPECT_THAT(objects->plan(second), ElementsAre(Action::unchanged, Action::configured));
  EXPECT_TRUE(changes.empty()) << "a plan changes nothing";
  EXPECT_THAT(*objects->apply(second), ElementsAre(Action::unchanged, Action::configured));
  EXPECT_THAT(take_changes(), ElementsAre("modified Pod shop/b"));
  EXPECT_EQ(objects->pod({"shop", "b"})->meta.labels.at("app"), "two");
}

TEST_F(ObjectsTest, ADeploymentIsExpandedAndFollowed) {
  ASSERT_TRUE(objects->apply(documents(deployment(2))));
  EXPECT_EQ(objects->pods().size(), 2U);
  EXPECT_THAT(take_changes(), ElementsAre("added Deployment shop/web", "added Pod shop/web-0", "added Pod shop/web-1"));
  const auto* first = objects->pod({"shop", "web-0"});
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(first->workload, "web");
  const auto json = nlohmann::json::parse(objects->pod_json(*first));
  EXPECT_EQ(json["metadata"]["ownerReferences"][0]["name"], "web");
  ASSERT_TRUE(objects->apply(documents(deployment(1, "other"))));
  EXPECT_THAT(take_changes(),
              ElementsAre("modified Deployment shop/web", "modified Pod shop/web-0", "deleted Pod shop/web-1"));
  ASSERT_TRUE(objects->remove({{model::Kind::deployment, {"shop", "web"}}}));
  EXPECT_THAT(take_changes(), ElementsAre("deleted Deployment shop/web", "deleted Pod shop/web-0"));
  EXPECT_TRUE(objects->pods().empty());
}

TEST_F(ObjectsTest, APodOfItsOwnStandsBeforeTheDeployments) {
  ASSERT_TRUE(objects->apply(documents(pod("web-0", "own") + deployment(1))));
  EXPECT_EQ(objects->pod({"shop", "web-0"})->meta.labels.at("app"), "own");
  ASSERT_TRUE(objects->remove({{model::Kind::pod, {"shop", "web-0"}}}));
  EXPECT_EQ(objects->pod({"shop", "web-0"})->meta.labels.at("app"), "web");
}

TEST_F(ObjectsTest, EveryObjectKeepsItsUidUntilItIsDeleted) {
  const auto uid = [&](const std::string& name) {
    const auto* pod = objects->pod({"shop", name});
    const auto json = nlohmann::json::parse(model::public_json(objects->pod_json(*pod)));
    return json["metadata"].value("uid", "");
  };
  const std::string given =
      "apiVersion: v1\nkind: Pod\nmetadata: {name: b, namespace: shop, uid: my-own}\n"
      "spec: {containers: [{name: c, image: x}]}\n---\n";
  ASSERT_TRUE(objects->apply(documents(pod("a", "one") + given + deployment(2))));
  const auto a = uid("a");
  EXPECT_THAT(a, ::testing::MatchesRegex("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"));
  EXPECT_EQ(uid("b"), "my-own");
  const auto first = uid("web-0");
  EXPECT_THAT(first, ::testing::MatchesRegex("[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"));
  EXPECT_NE(uid("web-1"), first);
  const auto owner = nlohmann::json::parse(objects->pod_json(*objects->pod({"shop", "web-0"})))["metadata"];
  EXPECT_EQ(owner["ownerReferences"][0]["uid"],
            model::uid_of(objects->find({model::Kind::deployment, {"shop", "web"}})->json));

  (void)take_changes();
  EXPECT_THAT(*objects->apply(documents(pod("a", "two") + pod("b", "two") + deployment(2, "other"))),
              ElementsAre(Action::configured, Action::configured, Action::configured));
  EXPECT_EQ(uid("a"), a);
  EXPECT_EQ(uid("b"), "my-own");
  EXPECT_EQ(uid("web-0"), first);
  // What `get` printed, applied again: nothing new.
  const auto printed = model::public_json(objects->find({model::Kind::pod, {"shop", "a"}})->json);
  EXPECT_THAT(*objects->apply(documents(printed)), ElementsAre(Action::unchanged));
  load();
  EXPECT_EQ(uid("a"), a);
  EXPECT_EQ(uid("web-0"), first);

  ASSERT_TRUE(objects->remove({{model::Kind::pod, {"shop", "a"}}, {model::Kind::deployment, {"shop", "web"}}}));
  ASSERT_TRUE(objects->apply(documents(pod("a", "two") + deployment(2, "other"))));
  EXPECT_NE(uid("a"), a) << "another one of the same name";
  EXPECT_NE(uid("web-0"), first);
}

TEST_F(ObjectsTest, AnObjectStoredBeforeUidsHasTheSameAtEveryStart) {
  const auto documents_of_old = documents(pod("a", "one"));
  ASSERT_TRUE(store.apply({{model::Kind::pod, {"shop", "a"}, documents_of_old[0].json, 7}}, {}));
  load();
  const auto uid = model::uid_of(objects->find({model::Kind::pod, {"shop", "a"}})->json);
  EXPECT_FALSE(uid.empty());
  load();
  EXPECT_EQ(model::uid_of(objects->find({model::Kind::pod, {"shop", "a"}})->json), uid);
  EXPECT_THAT(*objects->apply(documents_of_old), ElementsAre(Action::unchanged));
  EXPECT_EQ(model::uid_of(objects->find({model::Kind::pod, {"shop", "a"}})->json), uid);
}

TEST_F(ObjectsTest, NamespacesAreThereAsSoonAsSomethingIsInThem) {
  ASSERT_TRUE(objects->apply(documents(pod("a", "one"))));
  EXPECT_EQ(objects->namespaces().at("shop"), (LabelMap{{"kubernetes.io/metadata.name", "shop"}}));
  ASSERT_TRUE(
      objects->apply(documents("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {team: red}}\n")));
  EXPECT_EQ(objects->namespaces().at("shop").at("team"), "red");
}

TEST_F(ObjectsTest, RevisionsGrowAndSurviveARestart) {
  const auto policy = [](const char* app) {
    return documents(
        fmt::format("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n"
                    "metadata: {{name: p, namespace: shop}}\n"
                    "spec: {{podSelector: {{matchLabels: {{app: {}}}}}}}\n",
                    app));
  };
  ASSERT_TRUE(objects->apply(policy("one")));
  const auto first = objects->policy_revisions().at({"shop", "p"});
  ASSERT_TRUE(objects->apply(policy("one")));
  EXPECT_EQ(objects->policy_revisions().at({"shop", "p"}), first);
  ASSERT_TRUE(objects->apply(policy("two")));
  const auto second = objects->policy_revisions().at({"shop", "p"});
  EXPECT_GT(second, first);
  load();
  EXPECT_EQ(objects->policy_revisions().at({"shop", "p"}), second);
  // Back to what it was: a new revision all the same, also when it was deleted between.
  ASSERT_TRUE(objects->remove({{model::Kind::network_policy, {"shop", "p"}}}));
  ASSERT_TRUE(objects->apply(policy("one")));
  EXPECT_GT(objects->policy_revisions().at({"shop", "p"}), second);
}

TEST_F(ObjectsTest, WhatIsPutBackIsAsBeforeWithItsRevision) {
  const store::StoredKey a{model::Kind::pod, {"shop", "a"}};
  const store::StoredKey b{model::Kind::pod, {"shop", "b"}};
  ASSERT_TRUE(objects->apply(documents(pod("a", "one"))));
  const auto before = *objects->find(a);
  ASSERT_TRUE(objects->apply(documents(pod("a", "two") + pod("b", "two"))));
  take_changes();
  ASSERT_TRUE(objects->restore({{a, before}, {b, std::nullopt}}));
  EXPECT_THAT(take_changes(), ElementsAre("modified Pod shop/a", "deleted Pod shop/b"));
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(objects->all().size(), 1U);
    EXPECT_EQ(objects->find(a)->json, before.json);
    EXPECT_EQ(objects->find(a)->revision, before.revision);
    EXPECT_EQ(objects->pod(a.key)->meta.labels.at("app"), "one");
    load();
  }
  ASSERT_TRUE(objects->apply(documents(pod("a", "three"))));
  EXPECT_GT(objects->find(a)->revision, before.revision);
}

TEST_F(ObjectsTest, WhatTheStoreHoldsIsThereAfterARestart) {
  ASSERT_TRUE(objects->apply(documents(deployment(2) + pod("a", "one"))));
  load();
  EXPECT_EQ(objects->all().size(), 2U);
  EXPECT_EQ(objects->pods().size(), 3U);
}

TEST_F(ObjectsTest, AStoredObjectThatIsNotUnderstoodIsReportedAndKept) {
  ASSERT_TRUE(store.apply({{model::Kind::pod, {"shop", "bad"}, "{\"kind\":\"Pod\"}", 7}}, {}));
  std::vector<std::string> problems;
  const auto loaded = Objects::load(store, problems);
  ASSERT_TRUE(loaded);
  EXPECT_THAT(problems, ElementsAre(::testing::HasSubstr("shop/bad")));
  EXPECT_EQ(store.objects()->size(), 1U);
}

TEST_F(ObjectsTest, RemovingWhatIsNotThereTellsNobody) {
  ASSERT_TRUE(objects->remove({{model::Kind::pod, {"shop", "nobody"}}}));
  EXPECT_TRUE(changes.empty());
}

}  // namespace
}  // namespace weft::agent
