#include "install/status.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "install/install.h"
#include "install/testing/cluster_world.h"
#include "sources/kubernetes/micro_time.h"

namespace weft::install {
namespace {

using testing::ClusterWorld;
using ::testing::HasSubstr;
using namespace std::chrono_literals;
using testing::json;

class StatusTest : public ::testing::Test {
 protected:
  StatusTest() { world.run_pod = nullptr; }
  void agent(const std::string& node, const json& status) {
    world.put(
        "/api/v1/namespaces/weft-system/pods/weft-" + node,
        {{"metadata", {{"labels", {{"app.kubernetes.io/name", "weft"}, {"app.kubernetes.io/component", "agent"}}}}},
         {"spec", {{"nodeName", node}, {"containers", {{{"image", "registry.test:5000/weft:0.1.0"}}}}}},
         {"status", status}});
  }
  // The Lease of the operators, which have a pod.
  void lease(const std::string& holder, std::int64_t duration, std::chrono::seconds ago) {
    world.put(
        "/api/v1/namespaces/weft-system/pods/weft-operator-a",
        {{"metadata", {{"labels", {{"app.kubernetes.io/name", "weft"}, {"app.kubernetes.io/component", "operator"}}}}},
         {"status", ready}});
    world.put("/apis/coordination.k8s.io/v1/namespaces/weft-system/leases/weft-operator",
              {{"spec",
                {{"holderIdentity", holder},
                 {"leaseDurationSeconds", duration},
                 {"renewTime", kubernetes::micro_time(std::chrono::system_clock::now() - ago)}}}});
  }
  json status() {
    const auto now = cluster_status(*world.cluster);
    EXPECT_TRUE(now) << now.error().message;
    return now.value_or(json());
  }
  const json ready{{"conditions", {{{"type", "Ready"}, {"status", "True"}}}}};
  ClusterWorld world;
};

TEST_F(StatusTest, AClusterWithoutWeftSaysSo) {
  const auto now = status();
  EXPECT_EQ(now["installed"], false);
  EXPECT_EQ(now["server"], "v1.32.0-weft-test");
}

TEST_F(StatusTest, AllIsWell) {
  ASSERT_TRUE(install(*world.cluster, {}, world.progress()));
  for (const auto* node : {"n1", "n2"}) agent(node, ready);
  lease("weft-operator-a_0f", 15, 2s);
  const auto now = status();
  EXPECT_EQ(now["well"], true) << now.dump(2);
  EXPECT_EQ(now["agents"], json({{"ready", 2}, {"wanted", 2}}));
  EXPECT_EQ(now["operators"]["leader"], "weft-operator-a_0f");
  EXPECT_EQ(now["nodes"][1]["version"], "0.1.0");
  EXPECT_EQ(now["definitions"][0]["version"], chart::version());
}

TEST_F(StatusTest, ALeaseThatIsNoOperatorsIsAProblem) {
  ASSERT_TRUE(install(*world.cluster, {}, world.progress()));
  for (const auto* node : {"n1", "n2"}) agent(node, ready);
  const auto problem = [&](const std::string& holder, std::int64_t duration, std::chrono::seconds ago) {
    lease(holder, duration, ago);
    const auto now = status();
    EXPECT_EQ(now["well"], now["reasons"].empty()) << now.dump(2);
    return now["reasons"].empty() ? std::string() : now["reasons"][0].get<std::string>();
  };
  EXPECT_EQ(problem("weft-operator-a_0f", 15, 10s), "");
  EXPECT_EQ(problem("", 1, 10s), "");
  EXPECT_THAT(problem("evil", 15, 2s), HasSubstr("evil has it, and is none of the operators' pods"));
  EXPECT_THAT(problem("weft-operator-a", 15, 2s), HasSubstr("none of the operators' pods"));
  EXPECT_THAT(problem("weft-operator-a_0f", 360000, 2s), HasSubstr("it is for 360000 seconds"));
  EXPECT_THAT(problem("weft-operator-a_0f", 15, -1h), HasSubstr("in the future"));
  EXPECT_THAT(problem("", 1, 1h), HasSubstr("no operator acts"));
  // All have the name of their configuration where it says one.
  ASSERT_TRUE(install(*world.cluster, {.set = {"operatorConfig.name=blue"}}, world.progress()));
  EXPECT_EQ(problem("blue_0f", 15, 2s), "");
}

TEST_F(StatusTest, WhatIsWrongIsToldByNode) {
  ASSERT_TRUE(install(*world.cluster, {}, world.progress()));
  agent("n1", {{"containerStatuses",
                {{{"name", "weftd"},
                  {"state", {{"waiting", {{"reason", "ImagePullBackOff"}, {"message", "no such image"}}}}}}}}});
  agent("n2", ready);
  auto node = ClusterWorld::node("n2");
  node["status"]["conditions"].push_back(
      {{"type", "NetworkUnavailable"}, {"status", "True"}, {"message", "the disk is full"}});
  world.put("/api/v1/nodes/n2", node);
  world.put("/api/v1/nodes/n3", ClusterWorld::node("n3"));
  world.server.store().remove("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/bgppeerings.weft.io");
  const auto now = status();
  EXPECT_EQ(now["well"], false);
  EXPECT_EQ(now["nodes"][0]["why"], "ImagePullBackOff: no such image");
  EXPECT_EQ(now["nodes"][1]["why"], "the disk is full");
  EXPECT_EQ(now["nodes"][2]["why"], "there is no agent");
  EXPECT_THAT(now["definitions"][0]["why"], HasSubstr("missing"));
}

}  // namespace
}  // namespace weft::install
