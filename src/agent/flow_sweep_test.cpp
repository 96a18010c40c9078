#include "agent/flow_sweep.h"

#include <gtest/gtest.h>

namespace weft::agent {
namespace {

constexpr std::uint64_t second = 1'000'000'000;

bpfrt::FakeMap flow_map() {
  bpfrt::MapInfo info;
  info.name = "weft_flow4_v2";
  info.type = "hash";
  info.key_size = sizeof(weft_flow_key_v4);
  info.value_size = sizeof(weft_flow);
  info.max_entries = 16;
  return bpfrt::FakeMap(info);
}

weft_flow_key_v4 key(std::uint32_t from, std::uint32_t to, std::uint8_t protocol) {
  weft_flow_key_v4 result{};
  result.saddr = from;
  result.daddr = to;
  result.protocol = protocol;
  return result;
}

TEST(TickRate, FindsTheRateFromTheKernelsList) {
  EXPECT_EQ(tick_rate("now at 1 nsecs\njiffies: 4296118431\n", 4904765445355), 250U);
  EXPECT_EQ(tick_rate("jiffies: " + std::to_string(ticks_at(50 * second, 1000)), 50 * second), 1000U);
  EXPECT_EQ(tick_rate("nothing of the kind", 50 * second), 0U);
}

TEST(Sweep, EndsSilentFlowsOfBothDirectionsAndReportsThemOnce) {
  auto raw = flow_map();
  bpfrt::Map<weft_flow_key_v4, weft_flow> map(raw);
  const Ticks ticks{ticks_at(10000 * second, 250), 250};
  weft_flow forward{};
  forward.last_seen = ticks_at(9000 * second, 250);
  forward.packets = 3;
  weft_flow reply = forward;
  reply.flags = WEFT_FLOW_REPLY;
  reply.packets = 2;
  ASSERT_TRUE(map.update(key(1, 2, 17), forward));
  ASSERT_TRUE(map.update(key(2, 1, 17), reply));
  ASSERT_TRUE(map.update(key(1, 3, 6), forward));  // TCP may be silent for two hours
  FlowUse use;
  const auto events = sweep_v4(raw, ticks, {}, use);
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(events[0].packets, 3U);
  EXPECT_EQ(events[0].type, WEFT_EVENT_CLOSED);
  EXPECT_FALSE(map.lookup(key(1, 2, 17))->has_value());
  EXPECT_FALSE(map.lookup(key(2, 1, 17))->has_value());
  EXPECT_TRUE(map.lookup(key(1, 3, 6))->has_value());
}

TEST(Sweep, GivesAnUnansweredConnectionAMinuteAndAClosedOneSeconds) {
  auto raw = flow_map();
  bpfrt::Map<weft_flow_key_v4, weft_flow> map(raw);
  const auto seen = ticks_at(10000 * second, 250);
  weft_flow answered{};
  answered.last_seen = seen;
  weft_flow opening = answered;
  opening.flags = WEFT_FLOW_OPENING;
  weft_flow opening_reply = answered;
  opening_reply.flags = WEFT_FLOW_OPENING | WEFT_FLOW_REPLY;
  weft_flow reset = answered;
  reset.flags = WEFT_FLOW_OPENING | WEFT_FLOW_CLOSED;
  ASSERT_TRUE(map.update(key(1, 2, 6), answered));
  ASSERT_TRUE(map.update(key(1, 3, 6), opening));  // towards a pod: its reply brings its own entry
  ASSERT_TRUE(map.update(key(1, 4, 6), opening));
  ASSERT_TRUE(map.update(key(4, 1, 6), opening_reply));
  ASSERT_TRUE(map.update(key(1, 5, 6), reset));
  const auto sweep_after = [&](unsigned seconds) {
    FlowUse use;
    return sweep_v4(raw, {seen + seconds * 250ULL, 250}, {}, use).size();
  };
  EXPECT_EQ(sweep_after(10), 0U);
  EXPECT_EQ(sweep_after(11), 0U) << "a closed one was reported when it closed";
  EXPECT_FALSE(map.lookup(key(1, 5, 6))->has_value());
  EXPECT_EQ(sweep_after(60), 0U);
  EXPECT_TRUE(map.lookup(key(1, 4, 6))->has_value());
  EXPECT_EQ(sweep_after(61), 2U) << "one event a flow";
  EXPECT_FALSE(map.lookup(key(1, 3, 6))->has_value());
  EXPECT_FALSE(map.lookup(key(1, 4, 6))->has_value());
  EXPECT_FALSE(map.lookup(key(4, 1, 6))->has_value());
  EXPECT_TRUE(map.lookup(key(1, 2, 6))->has_value());
  EXPECT_EQ(sweep_after(7501), 1U);
}

// A server answers the SYN of a forged client too, and sends that again for a while.
TEST(Sweep, EndsAConnectionWhoseClientNeverWentOn) {
  auto raw = flow_map();
  bpfrt::Map<weft_flow_key_v4, weft_flow> map(raw);
  const auto seen = ticks_at(10000 * second, 250);
  weft_flow half_open{};
  half_open.flags = WEFT_FLOW_OPENING;
  half_open.last_seen = seen;
  weft_flow answer{};
  answer.flags = WEFT_FLOW_REPLY;
  answer.last_seen = seen + 30 * 250;
  answer.packets = 6;
  // The key of its replies is another flow's by now.
  weft_flow another = answer;
  another.flags = WEFT_FLOW_REPLY | WEFT_FLOW_DNAT;
  ASSERT_TRUE(map.update(key(1, 2, 6), half_open));
  ASSERT_TRUE(map.update(key(2, 1, 6), answer));
  ASSERT_TRUE(map.update(key(1, 3, 6), half_open));
  ASSERT_TRUE(map.update(key(3, 1, 6), another));
  const auto sweep_after = [&](unsigned seconds) {
    FlowUse use;
    return sweep_v4(raw, {seen + seconds * 250ULL, 250}, {}, use).size();
  };
  EXPECT_EQ(sweep_after(90), 0U) << "the server still spoke";
  EXPECT_EQ(sweep_after(91), 2U);
  EXPECT_FALSE(map.lookup(key(1, 2, 6))->has_value());
  EXPECT_FALSE(map.lookup(key(2, 1, 6))->has_value()) << "nothing would ever end it: it is an open connection's";
  EXPECT_FALSE(map.lookup(key(1, 3, 6))->has_value());
  EXPECT_TRUE(map.lookup(key(3, 1, 6))->has_value());
}

// Anybody outside can write a reset: only if nothing follows it in either direction was it one.
TEST(Sweep, EndsAResetConnectionOnceBothEndsAreSilent) {
  auto raw = flow_map();
  bpfrt::Map<weft_flow_key_v4, weft_flow> map(raw);
  const auto seen = ticks_at(10000 * second, 250);
  const auto enter = [&](std::uint32_t peer, unsigned original, unsigned reply) {
    weft_flow flow{};
    flow.last_seen = seen;
    flow.flags = static_cast<std::uint16_t>(original);
    ASSERT_TRUE(map.update(key(1, peer, 6), flow));
    flow.flags = static_cast<std::uint16_t>(WEFT_FLOW_REPLY | reply);
    ASSERT_TRUE(map.update(key(peer, 1, 6), flow));
  };
  const auto there = [&](std::uint32_t peer) {
    return map.lookup(key(1, peer, 6))->has_value() && map.lookup(key(peer, 1, 6))->has_value();
  };
  enter(2, WEFT_FLOW_RESET, WEFT_FLOW_RESET);
  enter(3, 0, WEFT_FLOW_RESET);                                                        // the client went on
  enter(4, WEFT_FLOW_RESET, 0);                                                        // the server did
  enter(5, WEFT_FLOW_RESET | WEFT_FLOW_OPENING, WEFT_FLOW_RESET | WEFT_FLOW_OPENING);  // a SYN refused
  const auto sweep_after = [&](unsigned seconds) {
    FlowUse use;
    return sweep_v4(raw, {seen + seconds * 250ULL, 250}, {}, use);
  };
  EXPECT_TRUE(sweep_after(10).empty());
  EXPECT_EQ(sweep_after(11).size(), 1U);
  EXPECT_FALSE(map.lookup(key(1, 5, 6))->has_value());
  EXPECT_FALSE(map.lookup(key(5, 1, 6))->has_value());
  EXPECT_TRUE(sweep_after(240).empty());
  EXPECT_TRUE(there(2));
  const auto events = sweep_after(241);
  ASSERT_EQ(events.size(), 1U) << "the datapath told none";
  EXPECT_EQ(events[0].tcp_flags, 0x04);
  EXPECT_FALSE(map.lookup(key(1, 2, 6))->has_value());
  EXPECT_FALSE(map.lookup(key(2, 1, 6))->has_value());
  EXPECT_TRUE(there(3));
  EXPECT_TRUE(there(4));
  EXPECT_TRUE(sweep_after(7500).empty());
  EXPECT_EQ(sweep_after(7501).size(), 2U);
}

TEST(Sweep, TellsWhatCameBackWhicheverEntryTheMapGivesFirst) {
  for (const bool swapped : {false, true}) {
    auto raw = flow_map();
    bpfrt::Map<weft_flow_key_v4, weft_flow> map(raw);
    const Ticks ticks{ticks_at(10000 * second, 250), 250};
    weft_flow forward{};
    forward.last_seen = ticks_at(9000 * second, 250);
    weft_flow reply = forward;
    reply.flags = WEFT_FLOW_REPLY;
    reply.packets = 2;
    reply.bytes = 128;
    ASSERT_TRUE(map.update(swapped ? key(2, 1, 17) : key(1, 2, 17), forward));
    ASSERT_TRUE(map.update(swapped ? key(1, 2, 17) : key(2, 1, 17), reply));
    FlowUse use;
    const auto events = sweep_v4(raw, ticks, {}, use);
    ASSERT_EQ(events.size(), 1U);
    EXPECT_EQ(events[0].reply_packets, 2U) << swapped;
    EXPECT_EQ(events[0].reply_bytes, 128U) << swapped;
    EXPECT_FALSE(map.lookup(key(2, 1, 17))->has_value());
    EXPECT_FALSE(map.lookup(key(1, 2, 17))->has_value());
  }
}

TEST(Sweep, KeepsAReplyEntryWhileTheFlowGoesOneWay) {
  auto raw = flow_map();
  bpfrt::Map<weft_flow_key_v4, weft_flow> map(raw);
  const Ticks ticks{ticks_at(10000 * second, 250), 250};
  weft_flow forward{};
  forward.last_seen = ticks.now;
  weft_flow reply{};
  reply.flags = WEFT_FLOW_REPLY;
  reply.last_seen = ticks_at(9000 * second, 250);
  ASSERT_TRUE(map.update(key(1, 2, 17), forward));
  ASSERT_TRUE(map.update(key(2, 1, 17), reply));
  FlowUse use;
  EXPECT_TRUE(sweep_v4(raw, ticks, {}, use).empty());
  EXPECT_TRUE(map.lookup(key(2, 1, 17))->has_value());
}

bpfrt::FakeMap stats_map() {
  bpfrt::MapInfo info;
  info.name = "weft_bstat_v1";
  info.type = "array";
  info.key_size = sizeof(std::uint32_t);
  info.value_size = sizeof(weft_backend_stats);
  info.max_entries = 16;
  return bpfrt::FakeMap(info);
}

weft_flow flow_of(std::uint32_t service, std::uint32_t backend, std::uint64_t seen, std::uint16_t flags) {
  weft_flow flow{};
  flow.service_id = service;
  flow.backend_id = backend;
  flow.last_seen = seen;
  flow.flags = flags;
  flow.packets = 10;
  flow.bytes = 1000;
  return flow;
}

TEST(Sweep, CountsOpenFlowsAndAccountsTheEndedOnesForTheirBackends) {
  auto raw = flow_map();
  bpfrt::Map<weft_flow_key_v4, weft_flow> map(raw);
  const Ticks ticks{ticks_at(10000 * second, 250), 250};
  const auto fresh = ticks.now;
  const auto old = ticks_at(9000 * second, 250);
  ASSERT_TRUE(map.update(key(1, 2, 17), flow_of(7, 3, fresh, WEFT_FLOW_COUNTED)));
  ASSERT_TRUE(map.update(key(2, 1, 17), flow_of(7, 3, fresh, WEFT_FLOW_REPLY)));
  ASSERT_TRUE(map.update(key(1, 3, 6), flow_of(7, 3, fresh, WEFT_FLOW_CLOSED)));  // not counted any more
  ASSERT_TRUE(map.update(key(1, 4, 17), flow_of(8, 4, old, WEFT_FLOW_COUNTED)));
  ASSERT_TRUE(map.update(key(4, 1, 17), flow_of(8, 4, old, WEFT_FLOW_REPLY)));
  ASSERT_TRUE(map.update(key(1, 5, 17), flow_of(0, 0, fresh, 0)));
  FlowUse use;
  EXPECT_EQ(sweep_v4(raw, ticks, {}, use).size(), 1U);
  EXPECT_EQ(use.open, (std::unordered_map<std::uint32_t, std::uint32_t>{{3, 1}}));
  ASSERT_EQ(use.ended.size(), 1U);
  EXPECT_EQ(use.ended.at(4).packets, 20U) << "both directions, whichever is met first";
  EXPECT_EQ(use.ended.at(4).bytes, 2000U);
  EXPECT_EQ(use.ended.at(4).flows, 1U);
  EXPECT_EQ(use.backends, (std::unordered_set<std::uint32_t>{3}));
  EXPECT_EQ(use.services, (std::unordered_set<std::uint32_t>{7}));
}

TEST(Sweep, CountsNoConnectionThatWasResetForItsBackend) {
  auto raw = flow_map();
  bpfrt::Map<weft_flow_key_v4, weft_flow> map(raw);
  const auto seen = ticks_at(10000 * second, 250);
  constexpr auto kReset = static_cast<std::uint16_t>(WEFT_FLOW_COUNTED | WEFT_FLOW_RESET);
  ASSERT_TRUE(map.update(key(1, 2, 6), flow_of(7, 3, seen, kReset)));
  ASSERT_TRUE(map.update(key(2, 1, 6), flow_of(7, 3, seen, WEFT_FLOW_REPLY | WEFT_FLOW_RESET)));
  const auto sweep_after = [&](unsigned seconds) {
    FlowUse use;
    sweep_v4(raw, {seen + seconds * 250ULL, 250}, {}, use);
    return use;
  };
  EXPECT_TRUE(sweep_after(1).open.empty());
  EXPECT_TRUE(sweep_after(11).backends.contains(3)) << "its id is still in use";
  // Forged: the client goes on.
  ASSERT_TRUE(map.update(key(1, 2, 6), flow_of(7, 3, seen, WEFT_FLOW_COUNTED)));
  EXPECT_EQ(sweep_after(20).open.size(), 1U);
  ASSERT_TRUE(map.update(key(1, 2, 6), flow_of(7, 3, seen, kReset)));
  const auto use = sweep_after(241);
  EXPECT_EQ(use.ended.at(3).packets, 20U);
  EXPECT_EQ(use.ended.at(3).flows, 0U) << "taken off before";
}

class AccountsTest : public ::testing::Test {
 protected:
  weft_backend_stats& row(std::uint32_t id) { return bpfrt::ArrayRows<weft_backend_stats>::open(raw_).value()[id]; }
  bpfrt::FakeMap raw_ = stats_map();
  BackendAccounts accounts_ = BackendAccounts::open(raw_).value();
};

TEST_F(AccountsTest, EndedFlowsAreAddedAndTakenFromTheActive) {
  row(4).active = 3;
  row(4).packets = 100;
  accounts_.end({{4, {20, 2000, 2}}, {5, {1, 1, 1}}, {0, {1, 1, 1}}, {999, {1, 1, 1}}});
  EXPECT_EQ(row(4).active, 1U);
  EXPECT_EQ(row(4).packets, 120U);
  EXPECT_EQ(row(4).bytes, 2000U);
  EXPECT_EQ(row(5).active, 0U) << "never below zero";
  EXPECT_EQ(row(0).packets, 0U);
}

TEST_F(AccountsTest, OnlyADriftThatTwoSweepsSawIsCorrected) {
  row(1).active = 10;  // three of them were evicted
  row(2).active = 1;
  const BackendAccounts::Active open{{1, 7}, {2, 4}};
  accounts_.correct(accounts_.active(), open, accounts_.active());
  EXPECT_EQ(row(1).active, 10U);
  EXPECT_EQ(row(2).active, 1U);
  row(1).active = 12;  // two more, which the table has as well
  accounts_.correct(accounts_.active(), {{1, 9}, {2, 3}}, accounts_.active());
  EXPECT_EQ(row(1).active, 9U);
  EXPECT_EQ(row(2).active, 3U) << "as much as both have seen";
  accounts_.correct(accounts_.active(), {{1, 9}, {2, 3}}, accounts_.active());
  EXPECT_EQ(row(1).active, 9U) << "what was corrected is not corrected again";
}

TEST_F(AccountsTest, FlowsThatComeAndGoMeanwhileAreNoDrift) {
  row(1).active = 30;
  for (int sweep = 0; sweep < 3; ++sweep) accounts_.correct({{1, 10}}, {{1, 17}}, {{1, 30}});
  EXPECT_EQ(row(1).active, 30U) << "it grows while the table is read";
  accounts_.correct({{1, 30}}, {{1, 20}}, {{1, 30}});
  accounts_.correct({{1, 30}}, {{1, 40}}, {{1, 30}});
  EXPECT_EQ(row(1).active, 30U) << "once above, once below";
  accounts_.correct(accounts_.active(), {}, accounts_.active());
  accounts_.correct(accounts_.active(), {}, accounts_.active());
  EXPECT_EQ(row(1).active, 0U) << "all of its entries are gone";
}

TEST(ReleaseGate, AnIdIsFreeAfterTwoSweepsThatKnewItWaited) {
  ReleaseGate gate;
  gate.begin({});
  EXPECT_TRUE(gate.in_use(5)) << "it may have been freed behind the sweep";
  gate.begin({});
  EXPECT_FALSE(gate.in_use(5));
  EXPECT_TRUE(gate.in_use(6));
  gate.begin({6});
  EXPECT_TRUE(gate.in_use(6));
  gate.begin({});
  EXPECT_TRUE(gate.in_use(6)) << "seen by the sweep before";
  gate.begin({});
  EXPECT_FALSE(gate.in_use(6));
}

}  // namespace
}  // namespace weft::agent
