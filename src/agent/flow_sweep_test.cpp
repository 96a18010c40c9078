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
  const auto events = sweep_v4(raw, ticks, {});
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
  const auto sweep_after = [&](unsigned seconds) { return sweep_v4(raw, {seen + seconds * 250ULL, 250}, {}).size(); };
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
  EXPECT_TRUE(sweep_v4(raw, ticks, {}).empty());
  EXPECT_TRUE(map.lookup(key(2, 1, 17))->has_value());
}

}  // namespace
}  // namespace weft::agent
