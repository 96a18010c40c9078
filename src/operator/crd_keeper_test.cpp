#include "operator/crd_keeper.h"

#include <filesystem>
#include <fstream>
#include <set>

#include "operator/kubernetes_testing.h"

namespace weft::op::testing {
namespace {

using ::testing::HasSubstr;

const std::string crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/";

class CrdKeeperTest : public ::testing::Test {
 protected:
  CrdKeeperTest() { std::filesystem::create_directories(directory); }
  ~CrdKeeperTest() override { std::filesystem::remove_all(directory); }
  void write(const std::string& name, const std::string& text) { std::ofstream(directory + "/" + name) << text; }
  void write_crd(const std::string& name) {
    write(name + ".yaml", "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: " +
                              name + ", labels: {a: b}}\nspec: {group: weft.io}\n");
  }
  std::unique_ptr<CrdKeeper> keep(const std::string& version) {
    auto loaded = load_crds(directory, version);
    EXPECT_TRUE(loaded) << loaded.error().message;
    auto keeper = std::make_unique<CrdKeeper>(
        CrdKeeper::Parts{.http = *http,
                         .scheduler = world.scheduler(),
                         .random = kubernetes::testing::fixed_random(),
                         .crds = std::move(*loaded),
                         .version = version,
                         .backoff = {milliseconds(20), milliseconds(100)},
                         .pace = milliseconds(200)},
        CrdKeeper::Handlers{.acts = [this] { return acts; },
                            .trouble = [this](const kubernetes::Failure& why) { troubles.insert(why.message); }});
    keeper->duty_changed();
    return keeper;
  }
  std::string version_of(const std::string& name) {
    const auto answer = server.store().get(*kubernetes::testing::parse_path(crds + name));
    return answer.code == 200 ? json::parse(answer.text)["metadata"]["annotations"].value("weft.io/version", "")
                              : "none";
  }

  std::string directory = ::testing::TempDir() + "/crds-" + std::to_string(::getpid());
  World world;
  kubernetes::testing::ApiServer server;
  std::unique_ptr<kubernetes::Http> http = world.connect(server.access());
  bool acts = true;
  std::set<std::string> troubles;
};

TEST_F(CrdKeeperTest, WhatIsMissingOrOlderIsAppliedAndNothingElse) {
  for (const auto* name : {"a.weft.io", "b.weft.io", "c.weft.io", "d.weft.io"}) write_crd(name);
  server.store().put(crds + "b.weft.io", {{"metadata", {{"annotations", {{"weft.io/version", "0.9.1"}}}}}});
  server.store().put(crds + "c.weft.io", {{"metadata", {{"annotations", {{"weft.io/version", "1.0.0"}}}}}});
  server.store().put(crds + "d.weft.io", json::object());
  const auto keeper = keep("0.10.0");
  ASSERT_TRUE(world.run_until([&] { return keeper->done(); }));
  EXPECT_EQ(version_of("a.weft.io"), "0.10.0");
  EXPECT_EQ(version_of("b.weft.io"), "0.10.0");
  EXPECT_EQ(version_of("c.weft.io"), "1.0.0") << "of a later version";
  EXPECT_EQ(version_of("d.weft.io"), "0.10.0");
  const auto before = server.store().version();
  world.run_for(milliseconds(500));
  EXPECT_EQ(server.store().version(), before);
  server.store().remove(crds + "a.weft.io");
  ASSERT_TRUE(world.run_until([&] { return version_of("a.weft.io") == "0.10.0"; })) << "it looks again";
}

// All of the file, beside what others have written of their own.
TEST_F(CrdKeeperTest, WhatIsAppliedIsWhatTheFileHas) {
  write("a.yaml",
        "kind: CustomResourceDefinition\nmetadata: {name: a.weft.io, annotations: {x: y}, labels: {a: b}}\n"
        "spec: {group: weft.io, versions: [{name: v1alpha1, served: true}]}\n");
  server.store().put(crds + "a.weft.io", {{"metadata", {{"annotations", {{"weft.io/version", "0.1"}, {"o", "p"}}}}},
                                          {"spec", {{"group", "weft.io"}, {"versions", json::array()}}}});
  const auto keeper = keep("0.1.0");
  ASSERT_TRUE(world.run_until([&] { return keeper->done(); }));
  const auto there = json::parse(server.store().get(*kubernetes::testing::parse_path(crds + "a.weft.io")).text);
  EXPECT_EQ(there["metadata"]["annotations"], (json{{"x", "y"}, {"o", "p"}, {"weft.io/version", "0.1.0"}}));
  EXPECT_EQ(there["metadata"]["labels"], (json{{"a", "b"}}));
  EXPECT_EQ(there["spec"], json::parse(R"({"group": "weft.io", "versions": [{"name": "v1alpha1", "served": true}]})"));
}

// As while a Deployment is replaced: whoever acts in between, the later version's stay.
TEST_F(CrdKeeperTest, OperatorsOfTwoVersionsThatTakeTurnsComeToTheLaterOne) {
  write_crd("a.weft.io");
  for (const auto* first : {"0.9.0", "0.10.0"}) {
    server.store().remove(crds + "a.weft.io");
    const auto one = keep(first);
    ASSERT_TRUE(world.run_until([&] { return one->done(); }));
    EXPECT_EQ(version_of("a.weft.io"), first);
    const auto other = keep(first == std::string("0.9.0") ? "0.10.0" : "0.9.0");
    ASSERT_TRUE(world.run_until([&] { return other->done(); }));
    const auto before = server.store().version();
    world.run_for(milliseconds(700));
    EXPECT_EQ(version_of("a.weft.io"), "0.10.0") << "after " << first;
    EXPECT_EQ(server.store().version(), before) << "nobody writes any more";
  }
}

TEST_F(CrdKeeperTest, WhoNoLongerActsWritesNothing) {
  write_crd("a.weft.io");
  const auto keeper = keep("0.1.0");
  ASSERT_TRUE(world.run_until([&] { return keeper->done(); }));
  acts = false;
  keeper->duty_changed();
  server.store().remove(crds + "a.weft.io");
  world.run_for(milliseconds(500));
  EXPECT_EQ(version_of("a.weft.io"), "none");
  acts = true;
  keeper->duty_changed();
  EXPECT_TRUE(world.run_until([&] { return version_of("a.weft.io") == "0.1.0"; }));
}

// What others have written there: of no version of ours, or of one that is further than ours will ever be.
TEST_F(CrdKeeperTest, StrangeVersionsThatAreThere) {
  const std::vector<std::pair<std::string, std::string>> cases{{"latest", "0.2.0"},
                                                               {"0.1.9", "0.2.0"},
                                                               {"v0.2.1", "v0.2.1"},
                                                               {"0.2.99999999999999999999", "0.2.99999999999999999999"},
                                                               {"0.2.0-rc1", "0.2.0-rc1"}};
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const auto name = std::string(1, static_cast<char>('a' + i)) + ".weft.io";
    write_crd(name);
    server.store().put(crds + name, {{"metadata", {{"annotations", {{"weft.io/version", cases[i].first}}}}}});
  }
  write_crd("y.weft.io");
  write_crd("z.weft.io");
  server.store().put(crds + "y.weft.io", {{"metadata", {{"annotations", {{"weft.io/version", 3}}}}}});
  server.store().put(crds + "z.weft.io", {{"metadata", {{"annotations", json::array()}}}});
  const auto keeper = keep("0.2.0");
  ASSERT_TRUE(world.run_until([&] { return keeper->done(); }));
  for (std::size_t i = 0; i < cases.size(); ++i)
    EXPECT_EQ(version_of(std::string(1, static_cast<char>('a' + i)) + ".weft.io"), cases[i].second) << cases[i].first;
  EXPECT_EQ(version_of("y.weft.io"), "0.2.0");
  EXPECT_EQ(version_of("z.weft.io"), "0.2.0");
}

TEST_F(CrdKeeperTest, OnlyWhoActsAppliesAndTroubleIsTold) {
  write_crd("a.weft.io");
  acts = false;
  const auto keeper = keep("0.1.0");
  world.run_for(milliseconds(100));
  EXPECT_EQ(version_of("a.weft.io"), "none");
  server.fail({.method = "PATCH", .path_contains = "customresourcedefinitions", .status = 403, .times = 2});
  acts = true;
  keeper->duty_changed();
  ASSERT_TRUE(world.run_until([&] { return keeper->done(); }));
  EXPECT_EQ(version_of("a.weft.io"), "0.1.0");
  ASSERT_EQ(troubles.size(), 1U);
  EXPECT_THAT(*troubles.begin(), HasSubstr("PATCH /apis/apiextensions.k8s.io/v1/customresourcedefinitions/a.weft.io"));
}

TEST_F(CrdKeeperTest, OneThatIsRefusedDoesNotHoldUpTheOthers) {
  for (const auto* name : {"a.weft.io", "b.weft.io"}) write_crd(name);
  server.fail({.method = "GET", .path_contains = "a.weft.io", .status = 403, .times = 1000});
  const auto keeper = keep("0.1.0");
  ASSERT_TRUE(world.run_until([&] { return version_of("b.weft.io") == "0.1.0"; }));
  world.run_for(milliseconds(100));
  EXPECT_FALSE(keeper->done());
}

TEST_F(CrdKeeperTest, FilesThatAreNone) {
  EXPECT_THAT(load_crds(directory, "1").error().message, HasSubstr("there is no .yaml file in it"));
  EXPECT_THAT(load_crds(directory + "/missing", "1").error().message, HasSubstr("No such file"));
  write("a.yaml", "kind: ConfigMap\nmetadata: {name: a}\n");
  EXPECT_THAT(load_crds(directory, "1").error().message, HasSubstr("a.yaml: expected one CustomResourceDefinition"));
  write("a.yaml", "kind: [");
  EXPECT_THAT(load_crds(directory, "1").error().message, HasSubstr("a.yaml:1:"));
}

TEST(CrdText, YamlSaysInJsonWhatItMeans) {
  const auto object =
      json_from_yaml("t", "a: 'true'\nb: true\nc: 12\nd: '12'\ne: ~\nf: [1.5, x, \"\", in]\ng: {h: -3}\n");
  ASSERT_TRUE(object);
  EXPECT_EQ(*object, json::parse(R"({"a": "true", "b": true, "c": 12, "d": "12", "e": null,
                                     "f": [1.5, "x", "", "in"], "g": {"h": -3}})"));
}

TEST(CrdText, Versions) {
  EXPECT_TRUE(older("0.9.1", "0.10.0"));
  EXPECT_FALSE(older("0.10.0", "0.9.1"));
  EXPECT_FALSE(older("1.0.0", "1.0.0"));
  EXPECT_TRUE(older("", "0.1.0"));
  EXPECT_TRUE(older("1.0", "1.0.1"));
  EXPECT_FALSE(older("v2.0.0-rc1", "1.9"));
  EXPECT_FALSE(older("1.99999999999999999999", "1.2"));
  EXPECT_TRUE(older("1.2", "1.99999999999999999999"));
  EXPECT_TRUE(older("latest", "0.0.1"));
  EXPECT_FALSE(older("latest", "x"));
}

}  // namespace
}  // namespace weft::op::testing
