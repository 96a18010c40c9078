#include "agent/l2.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::agent {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const MacAddress mac{{0x02, 0x57, 0x45, 0x46, 0x54, 0x09}};
const MacAddress other{{0x02, 0, 0, 0, 0, 0x77}};

IpAddress ip(std::string_view text) { return IpAddress::parse(text).value(); }

std::pair<weft_l2_key, weft_l2> row(std::string_view address, std::uint32_t ifindex, std::uint8_t last_byte = 9) {
  weft_l2 value{};
  std::ranges::copy(mac.bytes, value.mac);
  value.mac[5] = last_byte;
  return {{datapath::to_abi(ip(address)), ifindex}, value};
}

// What was sent: probes and announcements, and of which address (its last byte).
struct Sent {
  char kind = '?';
  std::uint32_t ifindex = 0;
  unsigned last = 0;
  bool operator==(const Sent&) const = default;
};
void PrintTo(const Sent& sent, std::ostream* out) { *out << sent.kind << sent.ifindex << ":" << sent.last; }

class L2Test : public ::testing::Test {
 protected:
  L2Test()
      : announcer_(
            loop_,
            [this](std::uint32_t ifindex, std::span<const std::uint8_t> frame) -> Result<void> {
              const auto said = heard(frame);
              EXPECT_TRUE(said);
              if (said)
                sent_.push_back({said->kind == Heard::Kind::probe ? 'p' : 'a', ifindex, said->address.bytes().back()});
              if (broken_) return fail(ErrorCode::unavailable, "the device is down");
              return {};
            },
            [this] { ++changes_; }, timing()) {}
  static L2Timing timing() {
    L2Timing timing;
    timing.probe = timing.announce = L2Timing::Span(2);
    timing.defend = L2Timing::Span(10'000);
    timing.again = L2Timing::Span(40);
    timing.remind = L2Timing::Span(0);
    return timing;
  }
  void want(const L2Announcer::Rows& rows) { announcer_.want(rows); }
  // Until nothing is due within the time.
  void run(std::chrono::milliseconds time = std::chrono::milliseconds(25)) {
    loop_.restart();
    loop_.run_for(time);
  }
  void run_until(const std::function<bool()>& done) {
    loop_.restart();
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!done() && std::chrono::steady_clock::now() < end) loop_.run_one_until(end);
    EXPECT_TRUE(done());
  }
  bool holds(std::string_view address, std::uint32_t ifindex = 3) {
    return announcer_.may_announce({datapath::to_abi(ip(address)), ifindex});
  }
  void claims(std::string_view address, const MacAddress& who, std::uint32_t ifindex = 3) {
    announcer_.heard(ifindex, {Heard::Kind::claim, ip(address), who});
  }
  asio::io_context loop_;
  std::vector<Sent> sent_;
  int changes_ = 0;
  bool broken_ = false;
  L2Announcer announcer_;
};

const std::vector<Sent> asked_and_told{{'p', 3, 5}, {'p', 3, 5}, {'p', 3, 5}, {'a', 3, 5}, {'a', 3, 5}, {'a', 3, 5}};

TEST_F(L2Test, AnAddressIsAskedForThenAnnouncedThreeTimesAndNeverAgain) {
  want({row("192.0.2.5", 3)});
  EXPECT_THAT(sent_, ElementsAre(Sent{'p', 3, 5})) << "the first question at once";
  EXPECT_FALSE(holds("192.0.2.5")) << "not before nobody has answered";
  loop_.run();
  EXPECT_EQ(sent_, asked_and_told);
  EXPECT_TRUE(holds("192.0.2.5"));
  EXPECT_EQ(changes_, 1);
  sent_.clear();
  loop_.restart();
  want({row("192.0.2.5", 3), row("192.0.2.6", 3)});
  loop_.run();
  EXPECT_THAT(sent_, SizeIs(6)) << "only the new one";
  EXPECT_EQ(sent_.front(), (Sent{'p', 3, 6}));
  sent_.clear();
  loop_.restart();
  want({row("192.0.2.6", 3, 10)});
  EXPECT_TRUE(holds("192.0.2.6"));
  loop_.run();
  EXPECT_THAT(sent_, ElementsAre(Sent{'a', 3, 6}, Sent{'a', 3, 6}, Sent{'a', 3, 6}))
      << "the device has another MAC address";
}

// A host that could not hear the announcements may answer still.
TEST_F(L2Test, WhatIsHeldIsAnnouncedNowAndThen) {
  auto reminding = timing();
  reminding.remind = L2Timing::Span(20);
  int announced = 0;
  L2Announcer announcer(
      loop_,
      [&](std::uint32_t, std::span<const std::uint8_t> frame) -> Result<void> {
        if (const auto said = heard(frame); said && said->kind == Heard::Kind::claim) ++announced;
        return {};
      },
      [] {}, reminding);
  announcer.want({row("192.0.2.5", 3)});
  run_until([&] { return announced >= 6; });
  announcer.want({});
  announced = 0;
  run(std::chrono::milliseconds(80));
  EXPECT_EQ(announced, 0) << "not what is held no more";
}

TEST_F(L2Test, OneAnotherHostHasIsNotAnnouncedUntilThatHostIsGone) {
  want({row("192.0.2.5", 3), row("2001:db8::6", 3)});
  claims("192.0.2.5", other);
  run();
  EXPECT_FALSE(holds("192.0.2.5"));
  EXPECT_TRUE(holds("2001:db8::6"));
  EXPECT_THAT(announcer_.conflicts(), ElementsAre(L2Announcer::Conflict{ip("192.0.2.5"), 3, other}));
  for (const auto& sent : sent_) EXPECT_FALSE(sent.kind == 'a' && sent.last == 5);
  const auto asked_again = [&] {
    return std::ranges::count(sent_, Sent{'p', 3, 5}) > 1 && !announcer_.may_announce(row("192.0.2.5", 3).first);
  };
  run_until(asked_again);
  EXPECT_THAT(announcer_.conflicts(), SizeIs(1)) << "told while it is asked for again";
  run_until([&] { return holds("192.0.2.5"); });
  EXPECT_THAT(announcer_.conflicts(), IsEmpty());
}

TEST_F(L2Test, WhoAsksForTheSameAddressAtTheSameTimeIsInTheWayToo) {
  want({row("192.0.2.5", 3)});
  announcer_.heard(3, {Heard::Kind::probe, ip("192.0.2.5"), other});
  EXPECT_THAT(announcer_.conflicts(), SizeIs(1));
}

// RFC 5227, 2.4 (b).
TEST_F(L2Test, AnAddressInUseIsDefendedOnce) {
  want({row("192.0.2.5", 3)});
  loop_.run();
  sent_.clear();
  claims("192.0.2.5", other);
  EXPECT_THAT(sent_, ElementsAre(Sent{'a', 3, 5}));
  EXPECT_TRUE(holds("192.0.2.5"));
  EXPECT_EQ(changes_, 1);
  claims("192.0.2.5", other);
  EXPECT_FALSE(holds("192.0.2.5"));
  EXPECT_EQ(changes_, 2) << "the datapath is not to answer any more";
  EXPECT_THAT(sent_, SizeIs(1));
}

TEST_F(L2Test, WhatOwnDevicesSayIsNoConflict) {
  want({row("192.0.2.5", 3), row("192.0.2.5", 4, 10)});
  auto second = mac;
  second.bytes[5] = 10;
  claims("192.0.2.5", second, 3);
  claims("192.0.2.5", mac, 3);
  claims("192.0.2.9", other, 3);
  run_until([&] { return holds("192.0.2.5", 3) && holds("192.0.2.5", 4); });
  EXPECT_THAT(announcer_.conflicts(), IsEmpty());
}

TEST_F(L2Test, OneOfTheLastRunIsKeptAndAskedForMeanwhile) {
  announcer_.adopt({row("192.0.2.5", 3)});
  want({row("192.0.2.5", 3)});
  EXPECT_TRUE(holds("192.0.2.5")) << "the clients of a restarting node notice nothing";
  loop_.run();
  EXPECT_THAT(sent_, ElementsAre(Sent{'p', 3, 5}, Sent{'a', 3, 5}, Sent{'p', 3, 5}, Sent{'a', 3, 5}, Sent{'p', 3, 5},
                                 Sent{'a', 3, 5}));
  EXPECT_EQ(changes_, 0);
}

// Nodes of one cluster: what was agreed on counts, not who was first.
class L2ClusterTest : public L2Test {
 protected:
  L2ClusterTest() {
    announcer_.set_cluster({.is_node = [](const MacAddress& who) { return who == other; },
                            .is_agreed = [this](const IpAddress&) { return agreed_; }});
  }
  bool agreed_ = true;
};

TEST_F(L2ClusterTest, ANodeThatStillAnswersIsToldAndNotYieldedTo) {
  want({row("192.0.2.5", 3)});
  claims("192.0.2.5", other);  // the answer to the probe
  loop_.run();
  EXPECT_TRUE(holds("192.0.2.5"));
  sent_.clear();
  for (int i = 0; i < 5; ++i) claims("192.0.2.5", other);
  EXPECT_TRUE(holds("192.0.2.5"));
  EXPECT_THAT(sent_, ElementsAre(Sent{'a', 3, 5})) << "told once, not as often as it speaks";
  EXPECT_THAT(announcer_.conflicts(), IsEmpty());
  claims("192.0.2.5", MacAddress{{2, 0, 0, 0, 0, 0x78}});
  claims("192.0.2.5", MacAddress{{2, 0, 0, 0, 0, 0x78}});
  EXPECT_FALSE(holds("192.0.2.5")) << "a stranger is one as ever";
}

TEST_F(L2ClusterTest, WhoDoesNotKnowWhetherItIsStillAgreedYieldsToAnotherNodeAtOnce) {
  announcer_.adopt({row("192.0.2.5", 3)});
  want({row("192.0.2.5", 3)});
  EXPECT_TRUE(holds("192.0.2.5"));
  agreed_ = false;
  announcer_.heard(3, {Heard::Kind::probe, ip("192.0.2.5"), other});
  EXPECT_FALSE(holds("192.0.2.5"));
  EXPECT_EQ(changes_, 1) << "the datapath is not to answer any more";
  EXPECT_THAT(announcer_.conflicts(), IsEmpty()) << "it is where it belongs";
  agreed_ = true;
  claims("192.0.2.5", other);
  run_until([&] { return holds("192.0.2.5"); });
}

TEST_F(L2Test, DuplicateAddressDetectionOfAnotherHostIsAnswered) {
  want({row("2001:db8::5", 3)});
  loop_.run();
  sent_.clear();
  announcer_.heard(3, {Heard::Kind::probe, ip("2001:db8::5"), other});
  EXPECT_THAT(sent_, ElementsAre(Sent{'a', 3, 5}));
  EXPECT_TRUE(holds("2001:db8::5"));
}

TEST_F(L2Test, ARowThatLeavesIsNotAnnouncedAnyMore) {
  want({row("192.0.2.5", 3)});
  want({});
  loop_.run();
  EXPECT_THAT(sent_, SizeIs(1));
  EXPECT_FALSE(holds("192.0.2.5"));
}

TEST_F(L2Test, WhatCannotBeSentIsToldAndTriedAgain) {
  broken_ = true;
  want({row("192.0.2.5", 3)});
  EXPECT_EQ(announcer_.last_error(), "the device is down");
  run();
  EXPECT_FALSE(holds("192.0.2.5")) << "nobody was asked";
  broken_ = false;
  sent_.clear();
  run_until([&] { return sent_.size() >= 6; });
  EXPECT_EQ(announcer_.last_error(), "");
  EXPECT_EQ(sent_, asked_and_told);
}

}  // namespace
}  // namespace weft::agent
