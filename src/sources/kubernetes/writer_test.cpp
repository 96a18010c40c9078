#include "sources/kubernetes/writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sources/kubernetes/testing/world.h"

namespace weft::kubernetes::testing {
namespace {

using ::testing::HasSubstr;

class WriterTest : public ::testing::Test {
 protected:
  Outcome<json> wait(const std::function<void(Written)>& start) {
    std::optional<Outcome<std::string>> answer;
    start([&](Outcome<std::string> outcome) { answer.emplace(std::move(outcome)); });
    if (!world.run_until([&] { return answer.has_value(); })) return failed(Reason::internal, "the test got no answer");
    if (!*answer) return std::unexpected(answer->error());
    return json::parse(**answer);
  }
  Outcome<json> create(const json& object) {
    return wait([&](auto done) { writer.create(pods, object.dump(), std::move(done)); });
  }
  Outcome<json> update(const json& object, const std::string& path = pods + "/a") {
    return wait([&](auto done) { writer.update(path, object.dump(), std::move(done)); });
  }
  Outcome<json> patch(const json& object, const std::string& path = pods + "/a") {
    return wait([&](auto done) { writer.merge_patch(path, object.dump(), std::move(done)); });
  }
  Outcome<json> apply(const json& object, const std::string& name) {
    return wait([&](auto done) { writer.apply(pods + "/" + name, object.dump(), true, std::move(done)); });
  }
  Outcome<json> erase(const Preconditions& preconditions) {
    return wait([&](auto done) { writer.erase(pods + "/a", preconditions, std::move(done)); });
  }
  Outcome<json> get() {
    return wait([&](auto done) { writer.get(pods + "/a", std::move(done)); });
  }

  inline static const std::string pods = "/api/v1/namespaces/x/pods";
  World world;
  ApiServer server;
  std::unique_ptr<Http> http = world.connect(server.access());
  Writer writer{*http, {}};
};

TEST_F(WriterTest, AnObjectIsMadeOnce) {
  const auto made = create({{"metadata", {{"name", "a"}}}, {"spec", {{"nodeName", "n"}}}});
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ((*made)["kind"], "Pod");
  EXPECT_EQ((*made)["metadata"]["namespace"], "x");
  const auto again = create({{"metadata", {{"name", "a"}}}});
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().reason, Reason::exists);
  EXPECT_FALSE(again.error().unsure);
  EXPECT_EQ(get().value()["spec"]["nodeName"], "n");
}

TEST_F(WriterTest, WhatHasChangedMeanwhileIsAConflict) {
  auto object = create({{"metadata", {{"name", "a"}}}}).value();
  object["spec"] = {{"nodeName", "one"}};
  const auto first = update(object);
  ASSERT_TRUE(first) << first.error().message;
  const auto second = update(object);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().reason, Reason::conflict);
  EXPECT_THAT(second.error().message, HasSubstr("PUT /api/v1/namespaces/x/pods/a of http://"));
  EXPECT_EQ(patch({{"metadata", {{"resourceVersion", object["metadata"]["resourceVersion"]}}}}).error().reason,
            Reason::conflict);
}

TEST_F(WriterTest, StatusAndTheRestAreWrittenApart) {
  auto object = create({{"metadata", {{"name", "a"}}}, {"spec", {{"nodeName", "n"}}}}).value();
  ASSERT_TRUE(patch({{"status", {{"podIP", "10.0.0.1"}}}, {"spec", {{"nodeName", "other"}}}}, pods + "/a/status"));
  EXPECT_EQ(get().value()["status"]["podIP"], "10.0.0.1");
  EXPECT_EQ(get().value()["spec"]["nodeName"], "n");
  ASSERT_TRUE(patch({{"status", {{"podIP", "10.0.0.2"}}}, {"spec", {{"nodeName", "other"}, {"x", 1}}}}));
  EXPECT_EQ(get().value()["status"]["podIP"], "10.0.0.1");
  EXPECT_EQ(get().value()["spec"]["nodeName"], "other");
  ASSERT_TRUE(patch({{"spec", {{"x", nullptr}}}}));
  EXPECT_FALSE(get().value()["spec"].contains("x"));
}

TEST_F(WriterTest, ApplyMakesWhatIsNotThere) {
  ASSERT_TRUE(apply({{"spec", {{"nodeName", "n"}}}}, "a"));
  ASSERT_TRUE(apply({{"spec", {{"more", true}}}}, "a"));
  EXPECT_EQ(get().value()["spec"], (json{{"nodeName", "n"}, {"more", true}}));
  EXPECT_THAT(server.requests().front(), HasSubstr("fieldManager=weft&force=true"));
}

TEST_F(WriterTest, OnlyWhatIsMeantIsErased) {
  const auto object = create({{"metadata", {{"name", "a"}}}}).value();
  EXPECT_EQ(erase({.uid = "another"}).error().reason, Reason::conflict);
  EXPECT_EQ(erase({.resource_version = "1"}).error().reason, Reason::conflict);
  EXPECT_TRUE(erase({.uid = object["metadata"]["uid"].get<std::string>()}));
  EXPECT_EQ(erase({}).error().reason, Reason::not_found);
  ASSERT_TRUE(create({{"metadata", {{"name", "a"}, {"finalizers", {"weft.dev/x"}}}}}));
  ASSERT_TRUE(erase({}));
  EXPECT_TRUE(get().value()["metadata"].contains("deletionTimestamp"));
  ASSERT_TRUE(patch({{"metadata", {{"finalizers", nullptr}}}}));
  EXPECT_EQ(get().error().reason, Reason::not_found);
}

TEST_F(WriterTest, AFailureSaysWhetherItMayHaveHappened) {
  server.fail({.method = "PUT", .status = 500});
  server.fail({.method = "PUT", .status = 429, .retry_after = 3});
  EXPECT_TRUE(update(json::object()).error().unsure);
  const auto throttled = update(json::object());
  EXPECT_FALSE(throttled.error().unsure);
  EXPECT_EQ(throttled.error().retry_after, std::chrono::seconds(3));
  server.fail({.status = 403});
  EXPECT_EQ(update(json::object()).error().reason, Reason::denied);
}

}  // namespace
}  // namespace weft::kubernetes::testing
