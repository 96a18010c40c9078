#include "control/services/maglev.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <numeric>

#include "control/services/weights.h"

namespace weft::control::services {
namespace {

using ::testing::ElementsAre;

std::vector<Member> members(unsigned count) {
  std::vector<Member> result;
  for (unsigned i = 0; i < count; ++i) result.push_back({i + 1, 1, IpAddress::v4(0x0a000001U + i), 8080});
  return result;
}

std::map<std::uint32_t, unsigned> count(const std::vector<std::uint32_t>& table) {
  std::map<std::uint32_t, unsigned> result;
  for (const auto id : table) ++result[id];
  return result;
}

TEST(Maglev, IsBalanced) {
  const auto table = maglev_table(members(100), Protocol::tcp, 16381, 1);
  ASSERT_EQ(table.size(), 16381U);
  const auto shares = count(table);
  ASSERT_EQ(shares.size(), 100U);
  // Each takes its turns: nobody is more than one place ahead.
  for (const auto& [id, places] : shares) EXPECT_TRUE(places == 163 || places == 164) << id << ": " << places;
}

TEST(Maglev, FollowsWeights) {
  auto some = members(3);
  some[0].weight = 5;
  some[1].weight = 3;
  some[2].weight = 2;
  auto shares = count(maglev_table(some, Protocol::tcp, 10007, 1));
  EXPECT_NEAR(shares[1], 5003, 10);
  EXPECT_NEAR(shares[2], 3002, 10);
  EXPECT_NEAR(shares[3], 2001, 10);
}

// Losing one of n backends moves its own places, and few of the others'.
TEST(Maglev, OneBackendLessMovesFewOthers) {
  for (const unsigned size : {16381U, 65537U}) {
    const auto all = members(50);
    const auto before = maglev_table(all, Protocol::tcp, size, 7);
    for (unsigned gone = 0; gone < 50; gone += 10) {
      auto fewer = all;
      fewer.erase(fewer.begin() + gone);
      const auto after = maglev_table(fewer, Protocol::tcp, size, 7);
      unsigned moved = 0;
      for (std::size_t i = 0; i < size; ++i)
        if (before[i] != all[gone].id && before[i] != after[i]) ++moved;
      EXPECT_LT(moved, size / 50) << "of " << size;  // as many again as had to move, at the very most
    }
  }
}

TEST(Maglev, IsTheSameOnEveryNode) {
  auto here = members(20);
  auto there = here;
  for (auto& member : there) member.id += 1000;  // ids are each node's own
  const auto a = maglev_table(here, Protocol::udp, 4099, 3);
  const auto b = maglev_table(there, Protocol::udp, 4099, 3);
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_EQ(a[i] + 1000, b[i]);
  EXPECT_NE(a, maglev_table(here, Protocol::udp, 4099, 4));
  EXPECT_NE(a, maglev_table(here, Protocol::tcp, 4099, 3));
}

TEST(Maglev, SmallAndOddCases) {
  EXPECT_TRUE(maglev_table({}, Protocol::tcp, 31, 0).empty());
  EXPECT_EQ(count(maglev_table(members(1), Protocol::tcp, 31, 0)).at(1), 31U);
  // More backends than places: the first have one each.
  EXPECT_EQ(count(maglev_table(members(40), Protocol::tcp, 31, 0)).size(), 31U);
  EXPECT_EQ(prime_from(0), 3U);
  EXPECT_EQ(prime_from(16381), 16381U);
  EXPECT_EQ(prime_from(16382), 16411U);
  EXPECT_EQ(prime_from(65536), 65537U);
}

// Prints what it took; time is asserted by the benchmark.
TEST(Maglev, AThousandBackends) {
  const auto thousand = members(1000);
  for (const unsigned size : {16381U, 65537U}) {
    double best = 1e9;
    for (int round = 0; round < 5; ++round) {
      const auto start = std::chrono::steady_clock::now();
      EXPECT_EQ(count(maglev_table(thousand, Protocol::tcp, size, 1)).size(), 1000U);
      best =
          std::min(best, std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
    }
    fmt::print("{} places: {:.2f} ms\n", size, best);
  }
}

TEST(Weights, RepeatAndSpread) {
  auto some = members(3);
  some[0].weight = 5;
  some[1].weight = 1;
  some[2].weight = 1;
  EXPECT_THAT(weighted_sequence(some), ElementsAre(1, 1, 2, 1, 3, 1, 1));
  for (auto& member : some) member.weight *= 100;
  EXPECT_THAT(repetitions(some), ElementsAre(5, 1, 1));
  for (auto& member : some) member.weight = 7;
  EXPECT_THAT(weighted_sequence(some), ElementsAre(1, 2, 3));
}

TEST(Weights, AreBounded) {
  auto some = members(2);
  some[0].weight = 1000;
  some[1].weight = 999;
  const auto sequence = weighted_sequence(some);
  EXPECT_LE(sequence.size(), weighted_run_limit + 2);
  some[1].weight = 1;
  const auto shares = count(weighted_sequence(some));
  EXPECT_EQ(shares.at(2), 1U);
  EXPECT_GE(shares.at(1), 500U);
  auto many = members(2000);
  for (unsigned i = 0; i < many.size(); ++i) many[i].weight = i % 1000 + 1;
  const auto counts = repetitions(many);
  EXPECT_LE(std::accumulate(counts.begin(), counts.end(), 0U), 4000U);
  EXPECT_EQ(std::ranges::min(counts), 1U);
}

TEST(Weights, SlotsOfEachAlgorithm) {
  using model::Algorithm;
  auto some = members(2);
  some[0].weight = 2;
  const auto slots = [&](Algorithm algorithm) { return slots_of(some, Protocol::tcp, algorithm, 31, 0); };
  EXPECT_EQ(slots(Algorithm::random).size(), 3U);
  EXPECT_THAT(slots(Algorithm::round_robin), ElementsAre(1, 2, 1));
  EXPECT_THAT(slots(Algorithm::least_connections), ElementsAre(1, 2));
  EXPECT_EQ(slots(Algorithm::maglev).size(), 31U);
  EXPECT_EQ(slots(Algorithm::source_hash), slots(Algorithm::maglev));
  some.pop_back();
  EXPECT_THAT(slots(Algorithm::maglev), ElementsAre(1));
}

}  // namespace
}  // namespace weft::control::services
