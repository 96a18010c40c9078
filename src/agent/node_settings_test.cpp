#include "agent/node_settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::agent {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

Config node_config() {
  Config config;
  config.store = Config::Store::etcd;
  config.pod_cidrs = {Cidr::parse("10.244.0.0/16").value(), Cidr::parse("fd00::/48").value()};
  config.tunnel = Config::Tunnel::vxlan;
  return config;
}

cluster::NodeRecord told_by(const Config& config) {
  cluster::NodeRecord record;
  record.mode = to_string(config.tunnel);
  record.settings = shared_settings(config);
  return record;
}

std::vector<SettingDifference> between(const Config& here, const Config& there) {
  return differences(shared_settings(here), told_by(there));
}

TEST(NodeSettings, NodesOfOneConfigurationDifferInNothing) {
  auto there = node_config();
  std::ranges::reverse(there.pod_cidrs);
  there.node = "b";
  there.wireguard_port = 7;
  EXPECT_THAT(between(node_config(), there), IsEmpty());
}

TEST(NodeSettings, WhatDiffersIsNamedAsTheConfigurationNamesIt) {
  auto there = node_config();
  there.tunnel = Config::Tunnel::geneve;
  there.pod_cidrs = {Cidr::parse("10.99.0.0/16").value()};
  there.pod_block_length_v4 = 26;
  there.encryption = Config::Encryption::wireguard;
  const auto found = between(node_config(), there);
  EXPECT_THAT(found, ElementsAre(SettingDifference{"encryption", "none", "wireguard"},
                                 SettingDifference{"pod_block_length_v4", "24", "26"},
                                 SettingDifference{"pod_cidrs", "[10.244.0.0/16, fd00::/48]", "[10.99.0.0/16]"},
                                 SettingDifference{"tunnel", "vxlan", "geneve"}));
  EXPECT_EQ(losing(found), "encryption: wireguard there, none here, tunnel: geneve there, vxlan here");
  auto blocks = node_config();
  blocks.pod_block_length_v6 = 80;
  EXPECT_THAT(losing(between(node_config(), blocks)), IsEmpty());
}

TEST(NodeSettings, ANodeThatTellsNoneIsComparedByItsTunnel) {
  cluster::NodeRecord earlier;
  EXPECT_THAT(differences(shared_settings(node_config()), earlier), IsEmpty());
  earlier.mode = "geneve";
  EXPECT_THAT(differences(shared_settings(node_config()), earlier),
              ElementsAre(SettingDifference{"tunnel", "vxlan", "geneve"}));
}

TEST(NodeSettings, WhatAnotherWroteIsShownAsPlainText) {
  auto record = told_by(node_config());
  record.settings["pod_cidrs"] = "\x1b[31m" + std::string(1000, 'x');
  const auto found = differences(shared_settings(node_config()), record);
  ASSERT_EQ(found.size(), 1U);
  EXPECT_THAT(found[0].there, Not(HasSubstr("\x1b")));
  EXPECT_LT(found[0].there.size(), 300U);
}

}  // namespace
}  // namespace weft::agent
