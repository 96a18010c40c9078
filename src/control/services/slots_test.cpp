#include "control/services/slots.h"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <vector>

namespace weft::control::services {
namespace {

TEST(SlotSpace, FreedNeighboursJoin) {
  SlotSpace space(10);
  EXPECT_EQ(space.allocate(3), 0U);
  EXPECT_EQ(space.allocate(3), 3U);
  EXPECT_EQ(space.allocate(3), 6U);
  EXPECT_EQ(space.allocate(2), std::nullopt);
  space.release(0, 3);
  space.release(6, 3);
  EXPECT_EQ(space.gaps(), 2U);
  space.release(3, 3);
  EXPECT_EQ(space.gaps(), 1U);
  EXPECT_EQ(space.longest(), 10U);
}

TEST(SlotSpace, ClaimsOnlyWhatIsFree) {
  SlotSpace space(10);
  EXPECT_TRUE(space.claim(2, 3));
  EXPECT_FALSE(space.claim(4, 1));
  EXPECT_FALSE(space.claim(0, 3));
  EXPECT_FALSE(space.claim(8, 3));
  EXPECT_FALSE(space.claim(10, 1));
  EXPECT_FALSE(space.claim(9, 0xffff'ffff));
  EXPECT_TRUE(space.claim(5, 5));
  EXPECT_EQ(space.free(), 2U);
  EXPECT_EQ(SlotSpace(0).allocate(1), std::nullopt);
}

TEST(SlotSpace, RandomRunsNeverOverlapAndNoneIsLost) {
  std::mt19937 random(3);
  SlotSpace space(200);
  std::vector<std::pair<std::uint32_t, std::uint32_t>> runs;
  std::set<std::uint32_t> taken;
  for (int step = 0; step < 20000; ++step) {
    if (runs.empty() || random() % 2 == 0) {
      const std::uint32_t length = random() % 12 + 1;
      const auto first = space.allocate(length);
      if (!first) {
        ASSERT_LT(space.longest(), length);
        continue;
      }
      for (std::uint32_t i = 0; i < length; ++i) {
        ASSERT_LT(*first + i, 200U);
        ASSERT_TRUE(taken.insert(*first + i).second);
      }
      runs.emplace_back(*first, length);
    } else {
      std::swap(runs[random() % runs.size()], runs.back());
      const auto [first, length] = runs.back();
      runs.pop_back();
      space.release(first, length);
      for (std::uint32_t i = 0; i < length; ++i) taken.erase(first + i);
    }
    ASSERT_EQ(space.free(), 200 - taken.size());
  }
  for (const auto& [first, length] : runs) space.release(first, length);
  EXPECT_EQ(space.gaps(), 1U);
}

}  // namespace
}  // namespace weft::control::services
