// What is tried in every interleaving (testing/model.h): claims, numbers and lists of pods, each with its misfortunes.
#include <gtest/gtest.h>

#include "sources/cluster/testing/model.h"

namespace weft::cluster::testing {
namespace {

std::vector<Pool> pool(const char* cidr, unsigned block_length) {
  return {{.name = "p", .ranges = {{.cidr = Cidr::parse(cidr).value(), .block_length = block_length}}}};
}

void all_want_blocks(ModelWorld& world) {
  for (std::size_t i = 1; i < world.nodes.size(); ++i) world.node(i).want_block();
}

TEST(ClusterModel, TwoNodesClaimTheirFirstBlocks) {
  Explorer explorer(
      {.nodes = {"a", "b"}, .pools = pool("10.0.0.0/23", 24), .beside = "/identities/", .begin = all_want_blocks});
  explorer.run();
}

TEST(ClusterModel, ThreeNodesClaimTheLastTwoBlocks) {
  Explorer explorer({.nodes = {"a", "b", "c"},
                     .pools = pool("10.0.0.0/29", 32),
                     .beside = "/identities/",
                     .prepare =
                         [](ModelWorld& world) {
                           all_want_blocks(world);
                           all_want_blocks(world);
                         },
                     .begin = all_want_blocks});
  explorer.run();
}

TEST(ClusterModel, FirstClaimsOneOfWhoseAnswersIsLost) {
  Explorer explorer({.nodes = {"a", "b"},
                     .pools = pool("10.0.0.0/23", 24),
                     .beside = "/identities/",
                     .budget = {.timeouts = 1},
                     .begin = all_want_blocks});
  explorer.run();
}

TEST(ClusterModel, ClaimsWhoseAnswersAreLostAndThatComeLate) {
  Explorer explorer({.nodes = {"a", "b"},
                     .pools = pool("10.0.0.0/24", 26),
                     .beside = "/identities/",
                     .budget = {.timeouts = 2},
                     .prepare = all_want_blocks,
                     .begin = all_want_blocks});
  explorer.run();
}

TEST(ClusterModel, ANodeCrashesAtAnyStepOfAClaimAndStartsAgain) {
  Explorer explorer({.nodes = {"a", "b"},
                     .pools = pool("10.0.0.0/24", 25),
                     .beside = "/identities/",
                     .unlucky = {"a"},
                     .budget = {.crashes = 1},
                     .prepare = [](ModelWorld& world) { world.node(1).want_block(); },
                     .begin = all_want_blocks});
  explorer.run();
}

TEST(ClusterModel, ABlockIsGivenBackAndClaimedAtAnyStep) {
  Explorer explorer({.nodes = {"a", "b"},
                     .pools = pool("10.0.0.0/24", 24),
                     .beside = "/identities/",
                     .budget = {.timeouts = 1, .asks = 1},
                     .prepare = [](ModelWorld& world) { world.node(1).want_block(); },
                     .begin =
                         [](ModelWorld& world) {
                           auto& blocks = world.node(1).member->blocks();
                           blocks.release(blocks.blocks().at(0));
                           all_want_blocks(world);
                         }});
  explorer.run();
}

// Its blocks of before are another run's; they are released with it.
TEST(ClusterModel, ANodeBootsAtAnyStepOfAClaim) {
  Explorer explorer({.nodes = {"a", "b"},
                     .pools = pool("10.0.0.0/24", 25),
                     .beside = "/identities/",
                     .reboots = true,
                     .unlucky = {"a"},
                     .budget = {.crashes = 1},
                     .prepare = [](ModelWorld& world) { world.node(1).want_block(); },
                     .begin = all_want_blocks});
  explorer.run();
}

// a has the only block and is cut off; z takes it away; b wants it, which is one operation.
TEST(ClusterModel, ABlockOfANodeThatIsCutOffIsTakenAwayAtAnyStep) {
  Explorer explorer({.nodes = {"a", "b"},
                     .pools = pool("10.0.0.0/24", 24),
                     .at_once = {"b"},
                     .beside = "/identities/",
                     .news_at_once = true,
                     .unlucky = {"a"},
                     .budget = {.cuts = 1, .ticks = 3, .asks = 1},
                     .prepare = [](ModelWorld& world) {
                       world.node(1).want_block();
                       world.time.advance(milliseconds(10));
                       world.node(2).want_block();
                     }});
  explorer.run();
}

Pool further(const char* cidr, unsigned block_length, const char* name = "q") {
  return {.name = name, .ranges = {{.cidr = Cidr::parse(cidr).value(), .block_length = block_length}}};
}

Scenario pools_are_objects() {
  Scenario scenario;
  scenario.nodes = {"a", "b"};
  scenario.pools = pool("10.0.0.0/24", 25);
  scenario.beside = "/identities/";
  scenario.objects = true;
  return scenario;
}

// Before b has heard of it there is none of that name for it, and it asks again.
TEST(ClusterModel, APoolIsAddedWhileTwoNodesClaimOfIt) {
  auto scenario = pools_are_objects();
  scenario.unlucky = {"b"};
  scenario.budget = {.asks = 1};
  scenario.prepare = [](ModelWorld& world) { world.node(1).want_block(); };
  scenario.begin = [](ModelWorld& world) {
    world.node(1).want_pool(further("10.1.0.0/24", 25));
    world.node(2).want_block("q");
  };
  Explorer(scenario).run();
}

TEST(ClusterModel, APoolIsAddedWhileTwoNodesClaimOfAnother) {
  auto scenario = pools_are_objects();
  scenario.begin = [](ModelWorld& world) {
    world.node(1).want_pool(further("10.1.0.0/24", 25));
    all_want_blocks(world);
  };
  Explorer(scenario).run();
}

TEST(ClusterModel, APoolGoesWhileAnotherNodeClaimsOfIt) {
  auto scenario = pools_are_objects();
  scenario.budget = {.timeouts = 1};
  scenario.prepare = [](ModelWorld& world) {
    world.node(1).want_pool(further("10.1.0.0/24", 25));
    world.node(1).want_block();
  };
  scenario.begin = [](ModelWorld& world) {
    world.node(1).want_pool({.name = "q", .ranges = {}});
    world.node(2).want_block("q");
  };
  Explorer(scenario).run();
}

TEST(ClusterModel, APoolIsCutOtherwiseWhileAnotherNodeClaimsOfIt) {
  auto scenario = pools_are_objects();
  scenario.prepare = [](ModelWorld& world) { world.node(1).want_pool(further("10.1.0.0/24", 25)); };
  scenario.begin = [](ModelWorld& world) {
    world.node(1).want_pool(further("10.1.0.0/24", 32));
    world.node(2).want_block("q");
  };
  Explorer(scenario).run();
}

// Each is good by itself; of the two together one is refused.
TEST(ClusterModel, TwoNodesAddPoolsThatOverlapAndOneClaimsOfThem) {
  auto scenario = pools_are_objects();
  scenario.prepare = all_want_blocks;
  scenario.begin = [](ModelWorld& world) {
    world.node(1).want_pool(further("10.1.0.0/24", 24));
    world.node(2).want_pool(further("10.1.0.128/25", 32, "r"));
    world.node(1).want_block("q");
  };
  Explorer(scenario).run();
}

// A block of one address is given back by a and wanted by b by name.
TEST(ClusterModel, ABlockMovesByNameAtAnyStep) {
  Explorer explorer({.nodes = {"a", "b"},
                     .pools = pool("10.0.0.0/30", 32),
                     .beside = "/identities/",
                     .budget = {.timeouts = 1},
                     .prepare =
                         [](ModelWorld& world) {
                           world.node(1).want_named({"p", Cidr::parse("10.0.0.2/32").value()});
                         },
                     .begin =
                         [](ModelWorld& world) {
                           auto& blocks = world.node(1).member->blocks();
                           blocks.release(blocks.blocks().at(0));
                           world.node(2).want_named({"p", Cidr::parse("10.0.0.2/32").value()});
                         }});
  explorer.run();
}

const LabelMap web{{"k8s:app", "web"}};
const LabelMap database{{"k8s:app", "database"}};

TEST(ClusterModel, TwoNodesNeedTheSameNewLabels) {
  Explorer explorer({.nodes = {"a", "b"}, .budget = {.timeouts = 1}, .begin = [](ModelWorld& world) {
                       world.node(1).want_identity(web);
                       world.node(2).want_identity(web);
                     }});
  explorer.run();
}

TEST(ClusterModel, TwoNodesNeedTwoLabelSetsWithTheirNumbersCrossed) {
  Explorer explorer({.nodes = {"a", "b"}, .begin = [](ModelWorld& world) {
                       world.node(1).want_identity(web);
                       world.node(1).want_identity(database);
                       world.node(2).want_identity(database);
                       world.node(2).want_identity(web);
                     }});
  explorer.run();
}

TEST(ClusterModel, ALateListOfNumbersReplacesNoNewerOne) {
  Explorer explorer({.nodes = {"a", "b"},
                     .at_once = {"b", "z"},
                     .unlucky = {"a"},
                     .budget = {.timeouts = 2},
                     .prepare =
                         [](ModelWorld& world) {
                           world.node(2).want_identity(web);
                           world.node(2).want_identity(database);
                         },
                     .begin =
                         [](ModelWorld& world) {
                           world.node(1).want_identity(web);
                           world.node(1).want_identity(database);
                         }});
  explorer.run();
}

// a lets a number go, z collects it in two rounds, b needs it at any step of that.
TEST(ClusterModel, ANumberIsNeededAgainAtAnyStepOfItsCollection) {
  Explorer explorer({.nodes = {"a", "b"},
                     .identities = {.first = 256, .last = 256},
                     .at_once = {},
                     .unlucky = {"b"},
                     .budget = {.timeouts = 1, .ticks = 2, .asks = 0},
                     .prepare = [](ModelWorld& world) { world.node(1).want_identity(web); },
                     .begin =
                         [](ModelWorld& world) {
                           world.node(1).member->identities().release(web);
                           world.node(2).want_identity(web);
                         }});
  explorer.run();
}

// a writes its pods, and others in their place. `slice`: pods in one key; 0: all.
Scenario pods_change(unsigned slice, Budget budget) {
  return {.nodes = {"a", "b"},
          .at_once = {"b", "z"},
          .beside = "/identities/",
          .slice = slice,
          .unlucky = {"a"},
          .budget = budget,
          .prepare =
              [](ModelWorld& world) {
                world.node(1).want_pods();
                world.time.advance(milliseconds(200));
              },
          .begin = [](ModelWorld& world) { world.node(1).want_pods(); }};
}

// a is cut off for longer than the delay: z takes its list away at any step, and it is there again afterwards.
Scenario pods_come_back(unsigned slice) {
  return {.nodes = {"a", "b"},
          .at_once = {"b"},
          .beside = "/identities/",
          .slice = slice,
          .news_at_once = true,
          .unlucky = {"a"},
          .budget = {.cuts = 1, .ticks = 3},
          .prepare = [](ModelWorld& world) { world.node(1).want_pods(); }};
}

// Whatever of an earlier list comes late: the last one stays.
TEST(ClusterModel, APodListIsWrittenAtAnyStepOfACrashAndWithLostAnswers) {
  struct Way {
    bool reboots;
    Budget budget;
  };
  for (const auto& [reboots, budget] : {Way{false, {.timeouts = 1, .crashes = 1}}, Way{true, {.crashes = 1}},
                                        Way{false, {.timeouts = 1, .ticks = 1, .asks = 1}}}) {
    auto scenario = pods_change(0, budget);
    scenario.reboots = reboots;
    Explorer(std::move(scenario)).run();
  }
}

TEST(ClusterModel, APodListIsCollectedAtAnyStepOfAComeback) { Explorer(pods_come_back(0)).run(); }

// The same of slices of one pod each: one goes from its slice, another comes to the next.
TEST(ClusterModel, SlicesOfPodsAreWrittenAtAnyStepOfACrashAndWithLostAnswers) {
  for (const auto& budget : {Budget{.timeouts = 1, .crashes = 1}, Budget{.timeouts = 1, .ticks = 1, .asks = 1}})
    Explorer(pods_change(1, budget)).run();
}

TEST(ClusterModel, SlicesOfPodsAreCollectedAtAnyStepOfAComeback) { Explorer(pods_come_back(1)).run(); }

}  // namespace
}  // namespace weft::cluster::testing
