#include "install/status.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "install/install.h"
#include "install/testing/cluster_world.h"

namespace weft::install {
namespace {

using testing::ClusterWorld;
using ::testing::HasSubstr;
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
  world.put("/apis/coordination.k8s.io/v1/namespaces/weft-system/leases/weft-operator",
            {{"spec", {{"holderIdentity", "weft-operator-a"}}}});
  const auto now = status();
  EXPECT_EQ(now["well"], true) << now.dump(2);
  EXPECT_EQ(now["agents"], json({{"ready", 2}, {"wanted", 2}}));
  EXPECT_EQ(now["operators"]["leader"], "weft-operator-a");
  EXPECT_EQ(now["nodes"][1]["version"], "0.1.0");
  EXPECT_EQ(now["definitions"][0]["version"], chart::version());
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
