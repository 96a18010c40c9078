#include "agent/removed_nodes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace weft::agent {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const std::chrono::system_clock::time_point then{std::chrono::seconds(1'800'000'000)};

cluster::NodeDifference told(const std::string& name, bool alive) {
  cluster::Node node{.record = cluster::NodeRecord()};
  node.record->underlay = {IpAddress::parse("192.0.2.2").value()};
  if (alive) node.alive = "boot";
  return {.set = {{name, node}}, .gone = {}};
}

TEST(RemovedNodes, AreToldWithTheirAddressesAndSinceWhenTheyWereSilent) {
  RemovedNodes nodes;
  EXPECT_THAT(nodes.heard(told("b", true), then), IsEmpty());
  EXPECT_THAT(nodes.heard(told("b", false), then + std::chrono::seconds(60)), IsEmpty());
  EXPECT_THAT(nodes.heard(told("b", false), then + std::chrono::seconds(90)), IsEmpty());
  EXPECT_THAT(nodes.heard({.set = {}, .gone = {"b"}}, then + std::chrono::seconds(660)),
              ElementsAre("node b (192.0.2.2) was removed from the cluster, silent since 2027-01-15T08:01:00Z at "
                          "least: what it had is free for others"));
  EXPECT_EQ(nodes.to_json(), nlohmann::json::parse(R"([{"name":"b","addresses":["192.0.2.2"],
    "silent_since":"2027-01-15T08:01:00Z","removed":"2027-01-15T08:11:00Z"}])"));
  EXPECT_THAT(nodes.heard(told("b", true), then + std::chrono::seconds(700)), IsEmpty());
  EXPECT_THAT(nodes.all(), IsEmpty()) << "it is back";
  EXPECT_THAT(nodes.heard({.set = {}, .gone = {"b"}}, then),
              ElementsAre("node b was removed from the cluster: what it had is free for others"));
}

TEST(RemovedNodes, OnlyTheLatestAreRemembered) {
  RemovedNodes nodes;
  for (int i = 0; i < 20; ++i)
    (void)nodes.heard({.set = {}, .gone = {"n" + std::to_string(i)}}, then + std::chrono::seconds(i));
  EXPECT_THAT(nodes.all(), SizeIs(RemovedNodes::most));
  EXPECT_FALSE(nodes.all().contains("n0"));
}

}  // namespace
}  // namespace weft::agent
