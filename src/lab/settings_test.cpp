#include "lab/settings.h"

#include <gmock/gmock.h>

namespace weft::lab {
namespace {

using testing::HasSubstr;

TEST(Settings, SurviveTheFile) {
  const Settings settings{.nodes = 5,
                          .store = "etcd",
                          .etcd_members = 3,
                          .tunnel = "geneve",
                          .tunnel_scope = "cross-subnet",
                          .encryption = "wireguard",
                          .underlay = Underlay::mixed,
                          .underlay_family = "6",
                          .edge = {3},
                          .operators = 3,
                          .renumbered = {2, 5}};
  const auto read = settings_from_json(settings_to_json(settings));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(*read, settings);
}

TEST(Settings, BadFilesAreErrors) {
  for (const auto* bad : {"", "[]", "{}", R"({"nodes": 0})", R"({"nodes": 33})", R"({"nodes": 2, "underlay": "x"})",
                          R"({"nodes": 2, "etcd_members": 6})"})
    EXPECT_FALSE(settings_from_json(bad)) << bad;
}

TEST(Settle, OneNodeIsByItselfAndSeveralShare) {
  EXPECT_EQ(*settle({}, {}, false), Settings{});
  EXPECT_EQ(settle({.nodes = 3}, {}, false)->store, "etcd");
  EXPECT_EQ(settle({.nodes = 3, .store = "embedded"}, {}, false)->store, "embedded");
  EXPECT_EQ(settle({.nodes = 1, .store = "etcd"}, {}, false)->store, "etcd");
}

TEST(Settle, SeveralNodesHaveTwoOperatorsUnlessToldOtherwise) {
  EXPECT_EQ(settle({}, {}, false)->operators, 0U);
  EXPECT_EQ(settle({.nodes = 3}, {}, false)->operators, 2U);
  EXPECT_EQ(settle({.nodes = 3, .store = "embedded"}, {}, false)->operators, 0U);
  EXPECT_EQ(settle({.nodes = 3, .operators = 0}, {}, false)->operators, 0U);
  EXPECT_EQ(settle({.nodes = 1, .store = "etcd", .operators = 1}, {}, false)->operators, 1U);
  EXPECT_THAT(settle({.operators = 1}, {}, false).error().message, HasSubstr("share no etcd"));
  EXPECT_FALSE(settle({.nodes = 3, .operators = 6}, {}, false));
  const auto made = *settle({.nodes = 3}, {}, false);
  EXPECT_EQ(settle({.operators = 3}, made, true)->operators, 3U);
  EXPECT_EQ(settle({.nodes = 4}, made, true)->operators, 2U);
  EXPECT_THAT(settle({.operators = 1}, made, true).error().message, HasSubstr("--operators 1"));
}

TEST(Settle, ALabKeepsWhatItWasMadeWithAndMayGrow) {
  const auto made = *settle({.nodes = 3, .tunnel = "vxlan", .underlay = "routed"}, {}, false);
  EXPECT_EQ(*settle({}, made, true), made) << "a second up without options";
  EXPECT_EQ(*settle({.nodes = 3, .tunnel = "vxlan", .underlay = "routed"}, made, true), made) << "with the same";
  const auto grown = settle({.nodes = 5}, made, true);
  ASSERT_TRUE(grown);
  EXPECT_EQ(grown->nodes, 5U);
  EXPECT_EQ(grown->tunnel, "vxlan");
  EXPECT_THAT(settle({.nodes = 2}, made, true).error().message, HasSubstr("3 nodes"));
  EXPECT_THAT(settle({.tunnel = "ipip"}, made, true).error().message, HasSubstr("--tunnel ipip"));
  EXPECT_THAT(settle({.underlay = "flat"}, made, true).error().message, HasSubstr("routed"));
  EXPECT_FALSE(settle({.store = "embedded"}, made, true));
}

TEST(Settle, WhatCannotBeIsRefused) {
  EXPECT_FALSE(settle({.nodes = 33}, {}, false));
  EXPECT_THAT(settle({.nodes = 2}, Settings{}, true).error().hint, HasSubstr("--store etcd"))
      << "a node by itself does not become one of many";
  EXPECT_THAT(settle({.tunnel = "vxlan"}, {}, false).error().message, HasSubstr("--tunnel vxlan"));
  EXPECT_FALSE(settle({.nodes = 2, .store = "embedded", .tunnel = "vxlan"}, {}, false));
  EXPECT_THAT(settle({.etcd_members = 3}, {}, false).error().message, HasSubstr("the lab has no etcd"));
  const auto made = *settle({.nodes = 2, .etcd_members = 3}, {}, false);
  EXPECT_EQ(made.etcd_members, 3U);
  EXPECT_EQ(settle({.edge = {2}}, made, true)->edge, std::set{2U});
  EXPECT_THAT(settle({.edge = {3}}, made, true).error().message, HasSubstr("--edge node3: the lab has no such node"));
  EXPECT_THAT(settle({.etcd_members = 1}, made, true).error().message, HasSubstr("--etcd-members 1"));
  EXPECT_THAT(settle({.encryption = "wireguard"}, {}, false).error().message, HasSubstr("--encryption wireguard"));
}

}  // namespace
}  // namespace weft::lab
