// Runs every case of the tables on the shared datapath, and sees to it that no drop reason is
// without a case.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "fixture.h"

namespace weft::test {
namespace {

std::string identifier(const std::string& text) {
  std::string result;
  for (const char c : text) result += std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return result;
}

class FixtureTest : public testing::Test {
 public:
  explicit FixtureTest(Case fixture) : fixture_(std::move(fixture)) {}
  void TestBody() override {
    try {
      run(Datapath::shared(), fixture_);
    } catch (const std::exception& error) {
      FAIL() << error.what();
    }
  }

 private:
  Case fixture_;
};

void register_cases(const Net& net) {
  std::set<std::string> names;
  for (const auto& fixture : all_cases(net)) {
    const auto name = identifier(fixture.name);
    if (!names.insert(name).second) throw std::runtime_error("two cases are named " + fixture.name);
    testing::RegisterTest(fmt::format("Packets_{}", net.name()).c_str(), name.c_str(), nullptr, nullptr, __FILE__,
                          __LINE__, [fixture]() -> testing::Test* { return new FixtureTest(fixture); });
  }
}

// Reasons that no packet of a test run can reach.
const std::set<int>& unreachable_reasons() {
  static const std::set<int> reasons{
      // The kernel refuses to write into a packet only when it has no memory to unshare it.
      WEFT_DROP_REWRITE,
      // The packets that leave in others, and come in others, have cases of their own (xdp_*).
      WEFT_DROP_ENCAPSULATION,
      // A test run cannot tag a packet: tests/lab/hostile.sh does.
      WEFT_DROP_VLAN,
  };
  return reasons;
}

TEST(DropReasons, EachHasACase) {
  std::set<int> covered = unreachable_reasons();
  covered.insert(WEFT_DROP_NONE);
  covered.insert(WEFT_DROP_FLOW_TABLE);  // FlowTable.RefusesWhenFull
  covered.insert(WEFT_DROP_FLOW_RATE);   // in a step made while "a pod that starts flows too fast" runs
  for (const auto* net : {&net_v4(), &net_v6()})
    for (const auto& fixture : all_cases(*net))
      for (const auto& step : fixture.steps) covered.insert(step.want_reason);
  static constexpr const char* names[] = {
#define WEFT_TEST_NAME(name, text, meaning) text,
      WEFT_DROP_REASONS(WEFT_TEST_NAME)
#undef WEFT_TEST_NAME
  };
  for (int reason = 0; reason < WEFT_DROP_REASON_COUNT; ++reason)
    EXPECT_TRUE(covered.contains(reason)) << "no case drops a packet as " << names[reason];
}

// The flow table evicts; only one that cannot shows what happens when an entry is refused.
TEST(FlowTable, RefusesWhenFull) {
  Datapath full({.flows = 2, .plain_flow_hash = true});
  for (const auto* net : {&net_v4(), &net_v6()}) {
    run(full, {"full",
               {standard(*net)},
               {send(Hook::from_pod, kPodA, udp(net->a, 1, net->b, 2)).redirected().event({.type = WEFT_EVENT_NEW}),
                send(Hook::from_pod, kPodA, udp(net->a, 3, net->b, 4)).dropped(WEFT_DROP_FLOW_TABLE),
                no_flow(udp(net->a, 3, net->b, 4)), no_flow(udp(net->b, 4, net->a, 3)),
                // one entry too few: the reply's goes again
                change([net](Datapath& d) { erase_flow(d, udp(net->a, 1, net->b, 2)); }),
                send(Hook::from_pod, kPodA, udp(net->a, 3, net->b, 4)).dropped(WEFT_DROP_FLOW_TABLE).silently(),
                no_flow(udp(net->b, 4, net->a, 3))}});
  }
}

TEST(Events, LossIsCounted) {
  Datapath small({.ring_bytes = 4096});
  const auto& net = net_v4();
  standard(net)(small);
  for (std::uint16_t port = 1; port <= 100; ++port)
    small.run(Hook::from_pod, udp(net.a, port, net.b, 53), {.ifindex = kPodA});
  const auto stats = small.stats();
  const auto seen = small.events().size();
  EXPECT_EQ(100u, stats[WEFT_STAT_NEW_FLOW]);
  EXPECT_GT(seen, 0u);
  EXPECT_EQ(100u, seen + stats[WEFT_STAT_EVENT_LOST]);
}

}  // namespace

void register_all_cases() {
  register_cases(net_v4());
  register_cases(net_v6());
}

}  // namespace weft::test
