#include "agent/objects.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace weft::agent {
namespace {

using Action = Objects::Action;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

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

std::string service(const std::string& name, int port) {
  return fmt::format(
      "apiVersion: v1\nkind: Service\nmetadata: {{name: {}, namespace: shop}}\nspec: {{ports: [{{port: {}}}]}}\n---\n",
      name, port);
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
      if (change.key.kind != model::Kind::service) return;
      const auto* service = change.object == nullptr ? nullptr : std::get_if<model::Service>(change.object);
      values.push_back(fmt::format("Service {}: {}", change.key.key.to_string(),
                                   service == nullptr ? "gone" : std::to_string(service->ports.front().port)));
    });
  }
  // Empty: not there.
  std::string text(const store::StoredKey& key) const {
    const auto row = objects->read(key);
    EXPECT_TRUE(row) << row.error().message;
    return row && *row ? (*row)->json : std::string();
  }
  std::size_t stored(model::Kind kind) const { return objects->keys(kind)->size(); }
  std::vector<std::string> take_changes() { return std::exchange(changes, {}); }

  store::Store store = *store::Store::open(":memory:");
  std::optional<Objects> objects;
  std::vector<std::string> changes;
  std::vector<std::string> values;  // of Services, as told
};

TEST_F(ObjectsTest, ApplySaysWhatItDidAndTellsTheListenerOnlyOfChanges) {
  const auto first = documents(pod("a", "one") + pod("b", "one"));
  EXPECT_THAT(objects->apply(first)->actions, ElementsAre(Action::created, Action::created));
  EXPECT_THAT(take_changes(), ElementsAre("added Pod shop/a", "added Pod shop/b"));
  const auto second = documents(pod("a", "one") + pod("b", "two"));
  EXPECT_THAT(*objects->plan(second), ElementsAre(Action::unchanged, Action::configured));
  EXPECT_TRUE(changes.empty()) << "a plan changes nothing";
  EXPECT_THAT(objects->apply(second)->actions, ElementsAre(Action::unchanged, Action::configured));
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
  const auto json = nlohmann::json::parse(*objects->pod_json(*first));
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
    const auto json = nlohmann::json::parse(model::public_json(*objects->pod_json(*pod)));
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
  const auto owner = nlohmann::json::parse(*objects->pod_json(*objects->pod({"shop", "web-0"})))["metadata"];
  EXPECT_EQ(owner["ownerReferences"][0]["uid"], model::uid_of(text({model::Kind::deployment, {"shop", "web"}})));

  (void)take_changes();
  EXPECT_THAT(objects->apply(documents(pod("a", "two") + pod("b", "two") + deployment(2, "other")))->actions,
              ElementsAre(Action::configured, Action::configured, Action::configured));
  EXPECT_EQ(uid("a"), a);
  EXPECT_EQ(uid("b"), "my-own");
  EXPECT_EQ(uid("web-0"), first);
  // What `get` printed, applied again: nothing new.
  const auto printed = model::public_json(text({model::Kind::pod, {"shop", "a"}}));
  EXPECT_THAT(objects->apply(documents(printed))->actions, ElementsAre(Action::unchanged));
  load();
  EXPECT_EQ(uid("a"), a);
  EXPECT_EQ(uid("web-0"), first);

  ASSERT_TRUE(objects->remove({{model::Kind::pod, {"shop", "a"}}, {model::Kind::deployment, {"shop", "web"}}}));
  ASSERT_TRUE(objects->apply(documents(pod("a", "two") + deployment(2, "other"))));
  EXPECT_NE(uid("a"), a) << "another one of the same name";
  EXPECT_NE(uid("web-0"), first);
}

// Made on another thread, before anything is known of what is stored.
TEST_F(ObjectsTest, APreparedDocumentIsAppliedAsAnyOther) {
  const auto prepared = [](const std::string& text) {
    auto list = documents(text);
    for (auto& document : list) Objects::prepare(document);
    return list;
  };
  const store::StoredKey key{model::Kind::service, {"shop", "a"}};
  auto first = prepared(service("a", 80));
  ASSERT_THAT(objects->apply(first)->actions, ElementsAre(Action::created));
  const auto uid = model::uid_of(text(key));
  EXPECT_EQ(uid, first[0].prepared_uid);
  EXPECT_THAT(objects->apply(prepared(service("a", 80)))->actions, ElementsAre(Action::unchanged));
  EXPECT_THAT(objects->apply(prepared(service("a", 81)))->actions, ElementsAre(Action::configured));
  EXPECT_EQ(model::uid_of(text(key)), uid);
  EXPECT_EQ(text(key), model::with_uid(documents(service("a", 81))[0].json, uid));
  const auto given =
      "apiVersion: v1\nkind: Service\nmetadata: {name: b, namespace: shop, uid: mine}\n"
      "spec: {ports: [{port: 80}]}\n";
  ASSERT_TRUE(objects->apply(prepared(given)));
  EXPECT_EQ(model::uid_of(text({model::Kind::service, {"shop", "b"}})), "mine");
}

TEST_F(ObjectsTest, PagesTogetherAreAllKeys) {
  ASSERT_TRUE(objects->apply(documents(deployment(3) + pod("alone", "x") + pod("zebra", "x") + service("a", 80) +
                                       service("b", 80) + service("c", 80))));
  const auto in_pages = [&](model::Kind kind, const std::optional<std::string>& space, std::size_t size) {
    std::vector<std::string> names;
    model::ObjectKey after;
    for (;;) {
      const auto page = objects->page(kind, space, after, size);
      EXPECT_TRUE(page);
      EXPECT_LE(page->size(), size);
      for (const auto& key : *page) names.push_back(key.key.name);
      if (page->size() < size) return names;
      after = page->back().key;
    }
  };
  for (const std::size_t size : {1, 2, 3, 100}) {
    EXPECT_THAT(in_pages(model::Kind::pod, {}, size), ElementsAre("alone", "web-0", "web-1", "web-2", "zebra"));
    EXPECT_THAT(in_pages(model::Kind::pod, "shop", size), ElementsAre("alone", "web-0", "web-1", "web-2", "zebra"));
    EXPECT_THAT(in_pages(model::Kind::service, "shop", size), ElementsAre("a", "b", "c"));
    EXPECT_THAT(in_pages(model::Kind::service, "elsewhere", size), ElementsAre());
  }
}

TEST_F(ObjectsTest, AnObjectStoredBeforeUidsHasTheSameAtEveryStart) {
  const auto documents_of_old = documents(pod("a", "one"));
  ASSERT_TRUE(store.apply({{model::Kind::pod, {"shop", "a"}, documents_of_old[0].json, 7}}, {}));
  load();
  const auto uid = model::uid_of(text({model::Kind::pod, {"shop", "a"}}));
  EXPECT_FALSE(uid.empty());
  load();
  EXPECT_EQ(model::uid_of(text({model::Kind::pod, {"shop", "a"}})), uid);
  EXPECT_THAT(objects->apply(documents_of_old)->actions, ElementsAre(Action::unchanged));
  EXPECT_EQ(model::uid_of(text({model::Kind::pod, {"shop", "a"}})), uid);
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
  const store::StoredKey untouched{model::Kind::pod, {"shop", "c"}};
  ASSERT_TRUE(objects->apply(documents(pod("a", "one") + pod("c", "one"))));
  const auto before = **objects->read(a);
  const auto applied = objects->apply(documents(pod("a", "two") + pod("c", "one") + pod("b", "two")));
  ASSERT_TRUE(applied);
  EXPECT_EQ(applied->before, (Objects::Before{{a, before}, {b, std::nullopt}})) << "of what was written only";
  take_changes();
  ASSERT_TRUE(objects->restore(applied->before));
  EXPECT_THAT(take_changes(), ElementsAre("modified Pod shop/a", "deleted Pod shop/b"));
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(stored(model::Kind::pod), 2U);
    EXPECT_EQ(**objects->read(a), before);
    EXPECT_EQ(objects->pod(a.key)->meta.labels.at("app"), "one");
    EXPECT_NE(objects->pod(untouched.key), nullptr);
    EXPECT_EQ(objects->namespaces().size(), 1U);
    load();
  }
  ASSERT_TRUE(objects->apply(documents(pod("a", "three"))));
  EXPECT_GT((*objects->read(a))->revision, before.revision);
}

TEST_F(ObjectsTest, WhatIsPutBackIsToldWithItsOldValue) {
  ASSERT_TRUE(objects->apply(documents(service("web", 80))));
  const auto applied = objects->apply(documents(service("web", 81) + service("new", 82)));
  ASSERT_TRUE(applied);
  values.clear();
  ASSERT_TRUE(objects->restore(applied->before));
  EXPECT_THAT(values, ElementsAre("Service shop/new: gone", "Service shop/web: 80"));
}

TEST_F(ObjectsTest, WhatTheStoreHoldsIsThereAfterARestart) {
  ASSERT_TRUE(objects->apply(documents(deployment(2) + pod("a", "one") + service("web", 80))));
  load();
  EXPECT_EQ(stored(model::Kind::pod), 1U);
  EXPECT_EQ(stored(model::Kind::deployment), 1U);
  EXPECT_EQ(objects->pods().size(), 3U);
  const auto web = objects->read_as<model::Service>({model::Kind::service, {"shop", "web"}});
  ASSERT_TRUE(web && *web);
  EXPECT_EQ((*web)->ports.front().port, 80);
  EXPECT_EQ(objects->apply(documents(service("web", 80)))->actions.front(), Action::unchanged);
}

TEST_F(ObjectsTest, ServicesAndSlicesAreToldAndReadBackButNotKept) {
  ASSERT_TRUE(objects->apply(documents(service("web", 80) + service("api", 81))));
  EXPECT_THAT(values, ElementsAre("Service shop/web: 80", "Service shop/api: 81"));
  std::vector<std::string> seen;
  std::vector<std::string> problems;
  ASSERT_TRUE(objects->visit(
      model::Kind::service, [&](const model::Object& object) { seen.push_back(model::metadata_of(object).name); },
      problems));
  EXPECT_THAT(seen, ElementsAre("api", "web"));
  EXPECT_THAT(problems, ElementsAre());
  EXPECT_TRUE(*objects->contains({model::Kind::service, {"shop", "web"}}));
  ASSERT_TRUE(objects->remove({{model::Kind::service, {"shop", "web"}}}));
  EXPECT_EQ(values.back(), "Service shop/web: gone");
  EXPECT_FALSE(*objects->contains({model::Kind::service, {"shop", "web"}}));
  EXPECT_FALSE(*objects->read({model::Kind::service, {"shop", "web"}}));
}

TEST_F(ObjectsTest, ANamespaceIsThereUntilTheLastObjectInItHasGone) {
  ASSERT_TRUE(objects->apply(documents(service("web", 80) + pod("a", "one"))));
  ASSERT_TRUE(objects->apply(documents(service("web", 81))));
  load();
  ASSERT_TRUE(objects->remove({{model::Kind::service, {"shop", "web"}}, {model::Kind::service, {"shop", "web"}}}));
  EXPECT_TRUE(objects->namespaces().contains("shop"));
  ASSERT_TRUE(objects->remove({{model::Kind::pod, {"shop", "a"}}}));
  EXPECT_FALSE(objects->namespaces().contains("shop"));
}

TEST_F(ObjectsTest, APodFollowsTheDeploymentOfItsNameOnly) {
  const auto of = [](const std::string& name) {
    auto text = deployment(2);
    return text.replace(text.find("name: web"), 9, "name: " + name);
  };
  ASSERT_TRUE(objects->apply(documents(of("web") + of("web-1"))));
  EXPECT_EQ(objects->pods().size(), 4U);
  ASSERT_TRUE(objects->remove({{model::Kind::deployment, {"shop", "web"}}}));
  EXPECT_EQ(objects->pods().size(), 2U);
  EXPECT_NE(objects->pod({"shop", "web-1-0"}), nullptr);
  ASSERT_TRUE(objects->apply(documents(pod("web-1-1", "own"))));
  take_changes();
  ASSERT_TRUE(objects->apply(documents(of("web-1").replace(of("web-1").find("replicas: 2"), 11, "replicas: 1"))));
  EXPECT_THAT(take_changes(), ElementsAre("modified Deployment shop/web-1", "modified Pod shop/web-1-0"));
  EXPECT_EQ(objects->pod({"shop", "web-1-1"})->meta.labels.at("app"), "own");
  ASSERT_TRUE(objects->remove({{model::Kind::pod, {"shop", "web-1-1"}}}));
  EXPECT_EQ(objects->pod({"shop", "web-1-1"}), nullptr);
}

TEST_F(ObjectsTest, AStoredObjectThatIsNotUnderstoodIsReportedAndKept) {
  ASSERT_TRUE(store.apply({{model::Kind::pod, {"shop", "bad"}, "{\"kind\":\"Pod\"}", 7},
                           {model::Kind::service, {"shop", "worse"}, "no JSON", 8}},
                          {}));
  std::vector<std::string> problems;
  const auto loaded = Objects::load(store, problems);
  ASSERT_TRUE(loaded);
  EXPECT_THAT(problems, ElementsAre(HasSubstr("stored Pod shop/bad is not understood")));
  problems.clear();
  ASSERT_TRUE(loaded->visit(
      model::Kind::service, [](const model::Object&) { FAIL(); }, problems));
  EXPECT_THAT(problems, ElementsAre(HasSubstr("stored Service shop/worse is not understood")));
  const auto read = loaded->read_as<model::Service>({model::Kind::service, {"shop", "worse"}});
  ASSERT_FALSE(read);
  EXPECT_THAT(read.error().message, HasSubstr("stored Service shop/worse is not understood"));
  EXPECT_EQ((*loaded->read({model::Kind::service, {"shop", "worse"}}))->json, "no JSON");
}

TEST_F(ObjectsTest, WhatIsNotUnderstoodIsReplacedPutBackAndDeleted) {
  const store::StoredKey web{model::Kind::service, {"shop", "web"}};
  ASSERT_TRUE(store.apply({{web.kind, web.key, "no JSON", 8}}, {}));
  load();
  const auto applied = objects->apply(documents(service("web", 80)));
  ASSERT_TRUE(applied);
  EXPECT_THAT(applied->actions, ElementsAre(Action::configured));
  EXPECT_FALSE(model::uid_of(text(web)).empty());
  ASSERT_TRUE(objects->restore(applied->before));
  EXPECT_EQ(values.back(), "Service shop/web: gone");
  EXPECT_EQ(text(web), "no JSON");
  ASSERT_TRUE(objects->remove({web}));
  EXPECT_FALSE(*objects->contains(web));
}

TEST_F(ObjectsTest, ARowThatVanishedUnderAPodIsAnErrorThatNamesIt) {
  ASSERT_TRUE(objects->apply(documents(pod("a", "one") + deployment(1))));
  ASSERT_TRUE(store.apply({}, {{model::Kind::pod, {"shop", "a"}}, {model::Kind::deployment, {"shop", "web"}}}));
  const auto own = objects->pod_json(*objects->pod({"shop", "a"}));
  ASSERT_FALSE(own);
  EXPECT_THAT(own.error().message, HasSubstr("Pod shop/a is no longer in it"));
  const auto deployed = objects->pod_json(*objects->pod({"shop", "web-0"}));
  ASSERT_FALSE(deployed);
  EXPECT_THAT(deployed.error().message, HasSubstr("Deployment shop/web is no longer in it"));
  // Applied again it is new, and told as what changed.
  take_changes();
  EXPECT_THAT(objects->apply(documents(pod("a", "one")))->actions, ElementsAre(Action::created));
  EXPECT_TRUE(objects->pod_json(*objects->pod({"shop", "a"})));
}

TEST_F(ObjectsTest, RemovingWhatIsNotThereTellsNobody) {
  ASSERT_TRUE(objects->remove({{model::Kind::pod, {"shop", "nobody"}}}));
  EXPECT_TRUE(changes.empty());
}

}  // namespace
}  // namespace weft::agent
