#include "lab/condition.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "supervise/process.h"
#include "sys/system.h"

namespace weft::lab {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(Condition, DelaysAndLosses) {
  EXPECT_EQ(*parse_delay("20ms"), 20ms);
  EXPECT_EQ(*parse_delay("1.5s"), 1500ms);
  EXPECT_EQ(*parse_delay("300us"), 300us);
  EXPECT_EQ(*parse_delay("0ms"), 0us);
  for (const auto* bad : {"", "20", "ms", "-1ms", "61s", "20 ms", "20msx", "nanms", "infs"})
    EXPECT_FALSE(parse_delay(bad)) << bad;
  EXPECT_EQ(*parse_loss("5%"), 50'000U);
  EXPECT_EQ(*parse_loss("0.01%"), 100U);
  EXPECT_EQ(*parse_loss("100%"), 1'000'000U);
  for (const auto* bad : {"", "5", "%", "-1%", "101%", "5 %", "nan%"}) EXPECT_FALSE(parse_loss(bad)) << bad;
}

class ConditionFile : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = "/tmp/weft-condition.XXXXXX";
    directory_ = ::mkdtemp(pattern.data());
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }
  std::string directory_;
};

TEST_F(ConditionFile, SurvivesAndGoesWhenAllIsWell) {
  const std::string path = directory_ + "/conditions.json";
  Conditions conditions;
  conditions["node2"] = {.group = 3, .delay = 20ms, .loss_ppm = 50'000, .cut_from_etcd = true};
  conditions["node3"] = {.down = Condition::Down::node};
  ASSERT_TRUE(save_conditions(path, conditions));
  EXPECT_EQ(load_conditions(path), conditions);
  ASSERT_TRUE(save_conditions(path, {}));
  EXPECT_FALSE(std::filesystem::exists(path));
  EXPECT_EQ(load_conditions(path), Conditions{});
  std::ofstream(path) << R"({"node2": {"group": "x"}, "node3": {"loss_ppm": 1}, "node4": 5})";
  EXPECT_EQ(load_conditions(path), (Conditions{{"node3", {.loss_ppm = 1}}})) << "what cannot be read is nothing";
}

TEST_F(ConditionFile, WhatIsDownComesBackByTheCommandThatStartsIt) {
  const Layout layout("lab", {directory_, directory_, directory_}, {.nodes = 3, .store = "etcd"});
  ASSERT_TRUE(sys::make_directories(layout.state_dir(), 0755));
  ASSERT_TRUE(save_conditions(layout.conditions_file(), {{"node2", {.down = Condition::Down::agent}},
                                                         {"node3", {.down = Condition::Down::node}}}));
  EXPECT_EQ(way_back(layout, "node2"), "bring it back with: weft lab up --name lab") << "nobody keeps it";
  const auto self = supervise::identify(::getpid());
  ASSERT_TRUE(self);
  ASSERT_TRUE(supervise::write_pid_file(layout.supervisor_pid_file(), *self));
  EXPECT_EQ(way_back(layout, "node2"), "node2 was killed; bring it back with: weft lab start --name lab node2");
  EXPECT_EQ(way_back(layout, "node3"), "node3 was crashed; bring it back with: weft lab start --name lab node3");
  EXPECT_EQ(way_back(layout), way_back(layout, "node2")) << "the first that is down";
  EXPECT_THAT(way_back(layout, "node1"), HasSubstr("supervisor starts it again"));
}

TEST_F(ConditionFile, AgentsThatReachEtcdAreAskedFirst) {
  const Layout layout("lab", {directory_, directory_, directory_}, {.nodes = 4, .store = "etcd"});
  const auto names = [&layout] {
    std::vector<std::string> list;
    for (const auto* node : by_reach(layout)) list.push_back(node->name);
    return list;
  };
  EXPECT_THAT(names(), ElementsAre("node1", "node2", "node3", "node4"));
  ASSERT_TRUE(sys::make_directories(layout.state_dir(), 0755));
  Conditions conditions;
  conditions["node1"] = {.group = 1};
  conditions["node2"] = {.delay = 1ms};
  conditions["node3"] = {.cut_from_etcd = true};
  ASSERT_TRUE(save_conditions(layout.conditions_file(), conditions));
  EXPECT_THAT(names(), ElementsAre("node2", "node4", "node1", "node3"));
}

}  // namespace
}  // namespace weft::lab
