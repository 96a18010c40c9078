#include "datapath/service_tables.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <random>
#include <thread>

#include "datapath/testing.h"

namespace weft::datapath {
namespace {

using control::ServiceDelta;
using testing::FakeMaps;

weft_service_key frontend(unsigned n) {
  weft_service_key key{};
  key.addr = to_abi(*IpAddress::parse("10.96.0." + std::to_string(n)));
  key.port = htons(80);
  key.protocol = 6;
  return key;
}

weft_backend backend(std::uint32_t service, unsigned n, weft_backend_state state = WEFT_BACKEND_ACTIVE) {
  weft_backend row{};
  row.addr = to_abi(*IpAddress::parse("10.0.0." + std::to_string(n)));
  row.port = htons(8080);
  row.protocol = 6;
  row.state = state;
  row.service_id = service;
  return row;
}

weft_service service(std::uint32_t id, std::uint32_t first, std::uint32_t count) {
  weft_service row{};
  row.service_id = id;
  row.first_slot = row.external_first_slot = first;
  row.slot_count = row.external_slot_count = count;
  return row;
}

// Service 1 with backends 1 and 2, which was never there before.
ServiceDelta first_delta() {
  ServiceDelta delta;
  delta.whole = true;
  delta.backends = {{1, backend(1, 1)}, {2, backend(1, 2)}};
  delta.backends_new = {1, 2};
  delta.services_new = {1};
  delta.slots = {{0, {1, 2}}};
  delta.frontends = {{frontend(1), service(1, 0, 2)}};
  delta.source_ranges = {{64, 1, {}}};
  delta.port_words = {{weft_port_word(WEFT_PORTS_DEVICE, 0, 80), std::uint64_t{1} << (80 & 63)}};
  return delta;
}

// Backend 2 leaves, 3 comes.
ServiceDelta second_delta() {
  ServiceDelta delta;
  delta.backends = {{3, backend(1, 3)}};
  delta.backends_gone = {2};
  delta.backends_new = {3};
  delta.slots = {{8, {1, 3}}};
  delta.frontends = {{frontend(1), service(1, 8, 2)}};
  delta.source_ranges_gone = {{64, 1, {}}};
  return delta;
}

class ServiceTablesTest : public ::testing::Test {
 protected:
  std::unique_ptr<Tables> open() {
    auto tables = maps.open();
    EXPECT_TRUE(tables) << tables.error().message;
    return std::move(*tables);
  }
  void until_done(Tables& tables) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!tables.retry()) {
      ASSERT_LT(std::chrono::steady_clock::now(), end) << tables.status().last_error;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
  // What a program that reads now would see: every frontend leads to whole backends of its own.
  void check_readers() {
    const auto slots = maps.slots();
    const auto backends = maps.backends();
    for (const auto& [key, row] : maps.frontends())
      for (auto slot = row.first_slot; slot < row.first_slot + row.slot_count; ++slot) {
        const auto& found = backends[slots[slot]];
        ASSERT_EQ(found.service_id, row.service_id) << "slot " << slot << " backend " << slots[slot];
        ASSERT_NE(found.state, WEFT_BACKEND_GONE);
        ASSERT_NE(found.port, 0);
      }
  }
  FakeMaps maps;
};

TEST_F(ServiceTablesTest, WritesTheDifference) {
  auto tables = open();
  ASSERT_TRUE(tables->apply(first_delta(), {}, {}));
  check_readers();
  EXPECT_EQ(maps.frontends().size(), 1U);
  EXPECT_EQ(maps.source_ranges().size(), 1U);
  EXPECT_EQ(maps.port_words()[weft_port_word(WEFT_PORTS_DEVICE, 0, 80)], std::uint64_t{1} << (80 & 63));
  ASSERT_TRUE(tables->apply(second_delta(), {}, {}));
  check_readers();
  EXPECT_EQ(maps.backends()[2].state, WEFT_BACKEND_GONE);
  EXPECT_NE(maps.backends()[2].port, 0) << "a late reader still finds the address";
  EXPECT_EQ(maps.backends()[3].state, WEFT_BACKEND_ACTIVE);
  EXPECT_TRUE(maps.source_ranges().empty());
  EXPECT_EQ(tables->status().pending, 0U);
}

TEST_F(ServiceTablesTest, OnlyWhatTouchesFlowsIsAnEpoch) {
  auto tables = open();
  ASSERT_TRUE(tables->apply(first_delta(), {}, {}));
  auto epoch = tables->epoch();
  ServiceDelta more;
  more.backends = {{4, backend(2, 4)}};
  more.slots = {{20, {4}}};
  more.frontends = {{frontend(2), service(2, 20, 1)}};
  ASSERT_FALSE(more.changes_decisions());
  ASSERT_TRUE(tables->apply(more, {}, {}));
  EXPECT_EQ(tables->epoch(), epoch) << "a new service";
  ASSERT_TRUE(tables->apply(second_delta(), {}, {}));
  EXPECT_GT(tables->epoch(), epoch) << "a backend went";
  epoch = tables->epoch();
  ASSERT_TRUE(tables->apply(ServiceDelta{}, {}, {}));
  EXPECT_EQ(tables->epoch(), epoch) << "nothing";
}

TEST_F(ServiceTablesTest, ABackendStaysUntilNoFrontendLeadsToIt) {
  auto tables = open();
  ASSERT_TRUE(tables->apply(first_delta(), {}, {}));
  maps.fails = [](std::uint64_t, const std::string& map) { return map == "weft_svc_v2"; };
  const auto applied = tables->apply(second_delta(), {}, {});
  ASSERT_FALSE(applied);
  EXPECT_EQ(applied.error().code, ErrorCode::io);
  check_readers();
  EXPECT_EQ(maps.backends()[2].state, WEFT_BACKEND_ACTIVE);
  EXPECT_GT(tables->status().failed, 0U);
  maps.heal();
  until_done(*tables);
  check_readers();
  EXPECT_EQ(maps.backends()[2].state, WEFT_BACKEND_GONE);
}

TEST_F(ServiceTablesTest, CountersStartAtZeroAndAreLeftAlone) {
  auto tables = open();
  ASSERT_TRUE(tables->apply(first_delta(), {}, {}));
  auto& stats = tables->services().backend_stats()[1];
  stats.connections = 7;
  ServiceDelta change;
  change.backends = {{1, backend(1, 1, WEFT_BACKEND_DRAINING)}};
  ASSERT_TRUE(tables->apply(change, {}, {}));
  EXPECT_EQ(maps.backends()[1].state, WEFT_BACKEND_DRAINING);
  EXPECT_EQ(stats.connections, 7U);
  change.backends_new = {1};
  ASSERT_TRUE(tables->apply(change, {}, {}));
  EXPECT_EQ(stats.connections, 0U);
}

TEST_F(ServiceTablesTest, TheFirstDifferenceOfARunTakesOver) {
  ASSERT_TRUE(open()->apply(first_delta(), {}, {}));
  auto tables = open();
  EXPECT_TRUE(tables->retry());
  EXPECT_EQ(maps.frontends().size(), 1U) << "nothing goes before everything is known";
  ServiceDelta whole;
  whole.whole = true;
  whole.backends = {{1, backend(1, 1)}};
  whole.slots = {{4, {1}}};
  whole.frontends = {{frontend(3), service(1, 4, 1)}};
  ASSERT_TRUE(tables->apply(whole, {}, {}));
  check_readers();
  EXPECT_EQ(maps.frontends().size(), 1U);
  EXPECT_TRUE(maps.source_ranges().empty());
  EXPECT_EQ(maps.backends()[2].state, WEFT_BACKEND_GONE);
  EXPECT_EQ(maps.port_words()[weft_port_word(WEFT_PORTS_DEVICE, 0, 80)], 0U);
}

// Frontends swap runs and backends at random while writes fail; readers never see a stranger's backend.
TEST_F(ServiceTablesTest, ReadersNeverSeeHalfAChangeWhateverFails) {
  std::mt19937 random(7);
  auto tables = open();
  ASSERT_TRUE(tables->apply(first_delta(), {}, {}));
  maps.written = [this](const std::string&) { check_readers(); };
  std::uint32_t next_backend = 10;
  std::uint32_t first = 100;
  std::map<unsigned, std::vector<std::uint32_t>> live;
  for (int step = 0; step < 300; ++step) {
    maps.fail_every(random() % 3 == 0 ? 2 : 0);
    const unsigned n = 2 + random() % 5;
    ServiceDelta delta;
    control::SlotRun run{first, {}};
    for (unsigned i = 0; i < 1 + random() % 3; ++i) {
      delta.backends.emplace_back(next_backend, backend(n, 1 + next_backend % 200));
      delta.backends_new.push_back(next_backend);
      run.backends.push_back(next_backend++);
    }
    first += 3;
    delta.frontends = {{frontend(n), service(n, run.first, static_cast<std::uint32_t>(run.backends.size()))}};
    delta.backends_gone = std::exchange(live[n], run.backends);
    delta.slots = {run};
    (void)tables->apply(delta, {}, {});
    check_readers();
    ASSERT_FALSE(HasFatalFailure());
    if (next_backend > 900) break;
  }
  maps.heal();
  until_done(*tables);
  std::size_t active = 0;
  for (std::uint32_t id = 10; id < next_backend; ++id) active += maps.backends()[id].state == WEFT_BACKEND_ACTIVE;
  std::size_t expected = 0;
  for (const auto& [n, backends] : live) expected += backends.size();
  EXPECT_EQ(active, expected);
}

}  // namespace
}  // namespace weft::datapath
