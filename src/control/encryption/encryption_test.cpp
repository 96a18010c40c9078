#include "control/encryption/encryption.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace weft::control {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

OfferedKey key(const std::string& node, Generation generation) {
  return {generation, node + std::to_string(generation), static_cast<std::uint16_t>(51871 + generation % 2)};
}
OfferedKeys offers(const std::string& node, std::initializer_list<Generation> generations, Generation settled = 0) {
  OfferedKeys all{{}, settled};
  for (const auto generation : generations) all.keys.push_back(key(node, generation));
  return all;
}

TEST(KeyPlan, ANodeByItselfHasOneKey) {
  EXPECT_THAT(plan_keys({{}, 0}, {}, {}, false).hold, ElementsAre(1));
  const auto plan = plan_keys({{1}, 0}, {}, {}, false);
  EXPECT_THAT(plan.hold, ElementsAre(1));
  EXPECT_EQ(plan.settled, 1U);
}

TEST(KeyPlan, ItIsSentByTheOneKeyBothHaveBeforeThereIsASession) {
  const auto plan = plan_keys({{1}, 0}, {{"b", offers("b", {1}, 1)}}, {}, false);
  EXPECT_EQ(plan.send.at("b"), key("b", 1));
  EXPECT_EQ(plan.settled, 1U);
  EXPECT_THAT(plan.waits_for, IsEmpty());
}

TEST(KeyPlan, WhoDoesNotEncryptIsNobodysBusiness) {
  const auto plan = plan_keys({{1}, 0}, {{"b", {}}}, {}, true);
  EXPECT_THAT(plan.send, IsEmpty());
  EXPECT_THAT(plan.hold, ElementsAre(1, 2)) << "and does not keep keys from changing";
}

TEST(KeyPlan, ANodeThatJoinsTakesTheClustersGeneration) {
  EXPECT_THAT(plan_keys({{}, 0}, {{"b", offers("b", {7}, 7)}}, {}, false).hold, ElementsAre(7));
  EXPECT_THAT(plan_keys({{1}, 0}, {{"b", offers("b", {8}, 8)}}, {}, false).hold, ElementsAre(1, 8));
  EXPECT_THAT(plan_keys({{1}, 0}, {{"b", offers("b", {7}, 7)}}, {}, false).hold, ElementsAre(7)) << "in one place";
  EXPECT_THAT(plan_keys({{1, 8}, 0}, {{"b", offers("b", {8}, 8)}}, {}, false).hold, ElementsAre(8));
}

TEST(KeyPlan, TheLaterKeyIsUsedOnceItHasASession) {
  const std::map<std::string, OfferedKeys> both{{"b", offers("b", {1, 2}, 1)}};
  EXPECT_EQ(plan_keys({{1, 2}, 0}, both, {}, false).send.at("b"), key("b", 1));
  EXPECT_EQ(plan_keys({{1, 2}, 0}, both, {{1, "b1"}}, false).send.at("b"), key("b", 1));
  const auto plan = plan_keys({{1, 2}, 0}, both, {{1, "b1"}, {2, "b2"}}, false);
  EXPECT_EQ(plan.send.at("b"), key("b", 2));
  EXPECT_EQ(plan.settled, 2U);
  EXPECT_THAT(plan.hold, ElementsAre(1, 2)) << "it may still send by the first";
  EXPECT_THAT(plan.waits_for, ElementsAre("b"));
  EXPECT_THAT(plan_keys({{1, 2}, 0}, {{"b", offers("b", {1, 2}, 2)}}, {{2, "b2"}}, false).hold, ElementsAre(2));
}

TEST(KeyPlan, OneThatIsAwayKeepsItsKey) {
  const auto plan =
      plan_keys({{1, 2}, 0}, {{"b", offers("b", {2}, 2)}, {"c", offers("c", {1}, 1)}}, {{2, "b2"}, {1, "c1"}}, true);
  EXPECT_THAT(plan.hold, ElementsAre(1, 2));
  EXPECT_EQ(plan.send.at("c"), key("c", 1));
  EXPECT_EQ(plan.settled, 0U);
  EXPECT_THAT(plan.waits_for, ElementsAre("c"));
}

TEST(KeyPlan, RotationBeginsOnlyFromRest) {
  const Sessions sessions{{1, "b1"}, {2, "b2"}};
  EXPECT_THAT(plan_keys({{1}, 0}, {{"b", offers("b", {1}, 1)}}, sessions, true).hold, ElementsAre(1, 2));
  EXPECT_THAT(plan_keys({{1, 2}, 0}, {{"b", offers("b", {1, 2}, 1)}}, sessions, true).hold, ElementsAre(1, 2));
  EXPECT_THAT(plan_keys({{1}, 0}, {{"b", offers("b", {1}, 0)}}, sessions, true).hold, ElementsAre(1));
}

TEST(KeyPlan, ASessionThatIsLostDoesNotLeadBack) {
  const std::map<std::string, OfferedKeys> both{{"b", offers("b", {1, 2}, 1)}};
  const auto plan = plan_keys({{1, 2}, 2}, both, {}, false);
  EXPECT_EQ(plan.send.at("b"), key("b", 2));
  EXPECT_EQ(plan.settled, 2U);
}

TEST(KeyPlan, ANumberFromNowhereIsNotFollowed) {
  EXPECT_THAT(plan_keys({{1}, 0}, {{"b", offers("b", {0xffffffff}, 1)}}, {}, false).hold, ElementsAre(1));
}

TEST(KeyPlan, OneRecordTakesNobodyToTheLastGeneration) {
  const Generation last = last_generation;
  const std::map<std::string, OfferedKeys> others{{"b", offers("b", {7}, 7)}, {"c", offers("c", {last}, last)}};
  const Sessions sessions{{7, "b7"}};
  EXPECT_THAT(plan_keys({{7}, 7}, others, sessions, false).hold, ElementsAre(7));
  EXPECT_THAT(plan_keys({{7}, 7}, others, sessions, true).hold, ElementsAre(7, 8)) << "nor keeps keys from changing";
  EXPECT_THAT(plan_keys({{7}, 7}, {{"c", offers("c", {last}, last)}}, {}, false).hold, ElementsAre(7));
  const std::map<std::string, OfferedKeys> three{
      {"a", offers("a", {7}, 7)}, {"b", offers("b", {7}, 7)}, {"c", offers("c", {last}, last)}};
  EXPECT_THAT(plan_keys({{}, 0}, three, {}, false).hold, ElementsAre(7)) << "nor does it lead who joins astray";
}

TEST(KeyPlan, WhoCountsOnAloneIsNotFollowed) {
  const auto others = [](Generation settled) {
    return std::map<std::string, OfferedKeys>{{"b", offers("b", {1, 2}, settled)}, {"c", offers("c", {3}, 3)}};
  };
  const Sessions sessions{{1, "b1"}, {2, "b2"}};
  EXPECT_THAT(plan_keys({{1, 2}, 2}, others(1), sessions, false).hold, ElementsAre(1, 2))
      << "b still sends by the first";
  EXPECT_THAT(plan_keys({{1, 2}, 2}, others(2), sessions, false).hold, ElementsAre(2, 3));
}

TEST(KeyPlan, WhoWasAwayComesToTheOthers) {
  const std::map<std::string, OfferedKeys> two{{"b", offers("b", {7}, 7)}, {"c", offers("c", {7}, 7)}};
  EXPECT_THAT(plan_keys({{3}, 3}, two, {}, false).hold, ElementsAre(7)) << "in one place";
  EXPECT_THAT(plan_keys({{4}, 4}, two, {}, false).hold, ElementsAre(4, 7));
  EXPECT_THAT(plan_keys({{12}, 12}, two, {}, false).hold, ElementsAre(7)) << "also back";
  EXPECT_THAT(plan_keys({{7}, 7}, {{"b", offers("b", {7}, 7)}, {"c", offers("c", {12}, 12)}}, {}, false).hold,
              ElementsAre(7))
      << "while the others stay";
}

TEST(KeyPlan, WhoBeginsAChangeDoesNotGoBackToTheOthers) {
  const std::map<std::string, OfferedKeys> two{{"b", offers("b", {7}, 7)}, {"c", offers("c", {7}, 7)}};
  EXPECT_THAT(plan_keys({{7, 8}, 7}, two, {{7, "b7"}, {7, "c7"}}, false).hold, ElementsAre(7, 8));
}

// Two halves that do not know each other's generation: one goes to the other, never both, whatever their sizes.
TEST(KeyPlan, HalvesMeet) {
  for (unsigned low = 1; low < 5; ++low)
    for (unsigned high = 1; high < 5; ++high) {
      std::map<std::string, OwnKeys> nodes;
      for (unsigned i = 0; i < low; ++i) nodes["l" + std::to_string(i)] = {{3}, 3};
      for (unsigned i = 0; i < high; ++i) nodes["h" + std::to_string(i)] = {{12}, 12};
      for (int round = 0; round < 8; ++round) {
        auto next = nodes;
        for (const auto& [name, own] : nodes) {
          std::map<std::string, OfferedKeys> others;
          Sessions sessions;
          for (const auto& [other, theirs] : nodes) {
            if (other == name) continue;
            others[other].settled = theirs.settled;
            for (const auto generation : theirs.held) {
              others[other].keys.push_back(key(other, generation));
              if (own.held.contains(generation)) sessions.insert({generation, key(other, generation).public_key});
            }
          }
          const auto plan = plan_keys(own, others, sessions, false);
          next[name] = {plan.hold, plan.settled};
        }
        nodes = std::move(next);
      }
      std::set<std::set<Generation>> ends;
      for (const auto& [name, own] : nodes) ends.insert(own.held);
      EXPECT_EQ(ends, (std::set<std::set<Generation>>{{high >= low ? 12U : 3U}})) << low << " and " << high;
    }
}

// Nodes that hear of each other late and in any order, rotate when they like, and lose sessions when they like. What is
// sent is always taken: whoever sends by a key has one that the receiver holds.
class Cluster {
 public:
  explicit Cluster(unsigned seed) : random_(seed) {}

  void run() {
    for (int i = 0; i < 4; ++i) nodes_["n" + std::to_string(i)];
    for (auto& [name, node] : nodes_) node.held = {1};
    for (auto& [name, node] : nodes_)
      for (const auto& [other, theirs] : nodes_)
        if (other != name) node.heard[other] = told(other);
    for (int turn = 0; turn < 4000; ++turn) step();
    for (int turn = 0; turn < 400; ++turn) rest();
    std::set<std::set<Generation>> ends;
    for (const auto& [name, node] : nodes_) {
      ends.insert(node.held);
      EXPECT_EQ(node.send.size(), nodes_.size() - 1) << name;
    }
    EXPECT_EQ(ends.size(), 1U) << "all have come to one generation";
    EXPECT_EQ(ends.begin()->size(), 1U);
    EXPECT_GT(*ends.begin()->begin(), 10U) << "keys were changed often";
  }

 private:
  struct Node {
    std::set<Generation> held;
    Generation settled = 0;
    std::map<std::string, OfferedKeys> heard;
    std::map<std::string, OfferedKey> send;
    Sessions sessions;
  };

  void plan(const std::string& name, bool rotate) {
    auto& node = nodes_[name];
    const auto plan = plan_keys({node.held, node.settled}, node.heard, node.sessions, rotate);
    EXPECT_LE(plan.hold.size(), 2U);
    // A key must not go while somebody sends by it.
    for (const auto generation : node.held)
      if (!plan.hold.contains(generation))
        for (const auto& [other, theirs] : nodes_)
          if (const auto sends = theirs.send.find(name); sends != theirs.send.end()) {
            EXPECT_NE(sends->second.generation, generation) << other << " sends to " << name;
          }
    node.held = plan.hold;
    node.settled = plan.settled;
    node.send = plan.send;
    std::erase_if(node.send, [&](const auto& entry) { return !node.held.contains(entry.second.generation); });
  }

  OfferedKeys told(const std::string& name) {
    OfferedKeys offered{{}, nodes_[name].settled};
    for (const auto generation : nodes_[name].held) offered.keys.push_back(key(name, generation));
    return offered;
  }

  // Both know the other's key.
  void shake(const std::string& a, const std::string& b) {
    for (const auto generation : nodes_[a].held) {
      const auto knows = [&](const std::string& one, const std::string& other) {
        const auto heard = nodes_[one].heard.find(other);
        return nodes_[one].held.contains(generation) && heard != nodes_[one].heard.end() &&
               std::ranges::find(heard->second.keys, generation, &OfferedKey::generation) != heard->second.keys.end();
      };
      if (!knows(a, b) || !knows(b, a)) continue;
      nodes_[a].sessions.insert({generation, key(b, generation).public_key});
      nodes_[b].sessions.insert({generation, key(a, generation).public_key});
    }
  }

  std::string any() { return "n" + std::to_string(random_() % nodes_.size()); }

  void step() {
    const auto a = any();
    switch (random_() % 8) {
      case 0:
        plan(a, random_() % 4 == 0);
        break;
      case 1:
        nodes_[a].sessions.clear();
        break;
      default:
        rest();
    }
  }

  void rest() {
    const auto a = any();
    const auto b = any();
    if (a == b) return plan(a, false);
    if (random_() % 2 == 0)
      nodes_[a].heard[b] = told(b);
    else
      shake(a, b);
    plan(a, false);
  }

  std::mt19937 random_;
  std::map<std::string, Node> nodes_;
};

TEST(KeyPlan, KeysChangeWithoutLossWhateverTheOrder) {
  for (unsigned seed = 0; seed < 20; ++seed) {
    SCOPED_TRACE(seed);
    Cluster(seed).run();
  }
}

}  // namespace
}  // namespace weft::control
