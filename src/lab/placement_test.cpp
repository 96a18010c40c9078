#include "lab/placement.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace weft::lab {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class PlacementTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = "/tmp/weft-placement.XXXXXX";
    directory_ = ::mkdtemp(pattern.data());
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  static PodPlan pod(const std::string& name, const std::string& workload = "", const std::string& node = "") {
    PodPlan plan;
    plan.namespace_ = "shop";
    plan.name = name;
    plan.workload = workload;
    plan.node_name = node;
    return plan;
  }
  static std::vector<NodeLayout> nodes(unsigned count) { return Layout("lab", {}, {.nodes = count}).nodes(); }
  [[nodiscard]] std::string path() const { return directory_ + "/placement"; }

  std::string directory_;
};

TEST_F(PlacementTest, PodsOfAWorkloadAreSpreadThenAllPods) {
  Placement placement(path());
  std::vector<std::string> places;
  for (const auto* name : {"web-0", "web-1", "web-2", "web-3"})
    places.push_back(*placement.place(pod(name, "web"), nodes(3)));
  EXPECT_THAT(places, ElementsAre("node1", "node2", "node3", "node1"));
  EXPECT_EQ(*placement.place(pod("db"), nodes(3)), "node2") << "node1 has two";
  EXPECT_EQ(*placement.place(pod("api-0", "api"), nodes(3)), "node3");
}

TEST_F(PlacementTest, NeitherANewSupervisorNorMoreNodesMoveAPod) {
  {
    Placement placement(path());
    for (const auto* name : {"a", "b", "c"}) ASSERT_TRUE(placement.place(pod(name), nodes(2)));
    placement.forget("shop/b");
  }
  Placement placement(path());
  EXPECT_EQ(*placement.place(pod("c"), nodes(5)), "node1");
  EXPECT_EQ(*placement.place(pod("a"), nodes(5)), "node1");
  EXPECT_EQ(*placement.place(pod("d"), nodes(5)), "node2");
  EXPECT_THAT(read_placement(path()),
              ElementsAre(std::pair("shop/a", "node1"), std::pair("shop/c", "node1"), std::pair("shop/d", "node2")));
}

TEST_F(PlacementTest, APodThatNamesItsNodeGetsItOrAnError) {
  Placement placement(path());
  EXPECT_EQ(*placement.place(pod("a", "", "node3"), nodes(3)), "node3");
  EXPECT_EQ(*placement.place(pod("a", "", "node2"), nodes(3)), "node2") << "it says another now";
  const auto wrong = placement.place(pod("b", "", "worker-1"), nodes(3));
  ASSERT_FALSE(wrong);
  EXPECT_THAT(wrong.error().message, HasSubstr("\"worker-1\" is no node of this lab, which has node1 to node3"));
  EXPECT_EQ(*placement.place(pod("b", "", "worker-1"), nodes(1)), "node1") << "a cluster's manifest in a lab of one";
}

TEST_F(PlacementTest, AFileThatACrashCutIsReadAsFarAsItGoes) {
  std::ofstream(path()) << "shop/a node2\nshop/b node1\nshop/a -\nshop/c";
  EXPECT_THAT(read_placement(path()), ElementsAre(std::pair("shop/b", "node1")));
}

}  // namespace
}  // namespace weft::lab
