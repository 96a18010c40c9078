#include "control/services/choose.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "control/services/testing.h"

namespace weft::control {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::ip;
using ::testing::Pair;
using ::testing::SizeIs;

ChoiceQuestion question(weft_algorithm algorithm, std::span<const std::uint32_t> run) {
  ChoiceQuestion result;
  result.row.algorithm = static_cast<std::uint8_t>(algorithm);
  result.run = run;
  result.client = ip("192.0.2.1");
  result.client_port = 40000;
  result.hash_seed = 5;
  return result;
}

TEST(Choose, WithoutBackends) {
  auto asked = question(WEFT_ALGORITHM_RANDOM, {});
  EXPECT_EQ(choose_backend(asked).why, "no endpoint can take new flows");
  asked.row.flags = WEFT_SERVICE_EXTERNAL | WEFT_SERVICE_EXTERNAL_LOCAL;
  asked.scope = ClientScope::external;
  EXPECT_THAT(choose_backend(asked).why, HasSubstr("externalTrafficPolicy is Local"));
}

TEST(Choose, AffinityThenTheOnlyOneThenTheAlgorithm) {
  const std::vector<std::uint32_t> run{7, 8, 7};
  auto asked = question(WEFT_ALGORITHM_RANDOM, run);
  EXPECT_THAT(choose_backend(asked).shares, ElementsAre(Pair(7, 2.0 / 3), Pair(8, 1.0 / 3)));
  EXPECT_EQ(choose_backend(asked).backend, std::nullopt);
  asked.remembered_backend = 8;
  EXPECT_EQ(choose_backend(asked).backend, std::nullopt);  // the service has no affinity
  asked.row.affinity_seconds = 60;
  EXPECT_EQ(choose_backend(asked).backend, 8U);
  const std::vector<std::uint32_t> one{7, 7};
  EXPECT_EQ(choose_backend(question(WEFT_ALGORITHM_MAGLEV, one)).backend, 7U);
}

TEST(Choose, RoundRobinByItsCursor) {
  const std::vector<std::uint32_t> run{7, 8, 9};
  auto asked = question(WEFT_ALGORITHM_ROUND_ROBIN, run);
  EXPECT_THAT(choose_backend(asked).shares, SizeIs(3));
  asked.cursor = 4;
  EXPECT_EQ(choose_backend(asked).backend, 8U);
}

TEST(Choose, LeastConnections) {
  const std::vector<std::uint32_t> run{7, 8, 9};
  auto asked = question(WEFT_ALGORITHM_LEAST_CONNECTIONS, run);
  EXPECT_EQ(choose_backend(asked).backend, std::nullopt);
  const std::vector<std::uint32_t> one{3, 1, 2};
  asked.active = one;
  EXPECT_EQ(choose_backend(asked).backend, 8U);
  const std::vector<std::uint32_t> tie{1, 1, 2};
  asked.active = tie;
  EXPECT_THAT(choose_backend(asked).shares, ElementsAre(Pair(7, 0.5), Pair(8, 0.5)));
}

TEST(Choose, HashesAsTheDatapathDoes) {
  std::vector<std::uint32_t> run;
  for (std::uint32_t i = 0; i < 100; ++i) run.push_back(1000 + i);
  auto maglev = question(WEFT_ALGORITHM_MAGLEV, run);
  auto source = question(WEFT_ALGORITHM_SOURCE_HASH, run);
  std::set<std::uint32_t> by_flow;
  std::set<std::uint32_t> by_client;
  for (std::uint16_t port = 1; port < 200; ++port) {
    maglev.client_port = source.client_port = port;
    const auto answer = choose_backend(maglev);
    EXPECT_EQ(answer.backend, run[*answer.slot]);
    by_flow.insert(*answer.backend);
    by_client.insert(*choose_backend(source).backend);
  }
  EXPECT_GT(by_flow.size(), 60U);
  EXPECT_THAT(by_client, SizeIs(1));
  EXPECT_THAT(choose_backend(maglev).why, HasSubstr("192.0.2.1 port 199 TCP"));
}

}  // namespace
}  // namespace weft::control
