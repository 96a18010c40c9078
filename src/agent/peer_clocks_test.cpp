#include "agent/peer_clocks.h"

#include <gtest/gtest.h>

namespace weft::agent {
namespace {

using namespace std::chrono_literals;

const std::chrono::system_clock::time_point noon{std::chrono::seconds(1764417600)};

std::uint64_t at(std::chrono::seconds after_noon) {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::seconds>(noon.time_since_epoch()).count() +
                                    after_noon.count());
}

TEST(PeerClocks, ARecordFromTheFutureShowsAClockAheadHoweverItCame) {
  PeerClocks clocks;
  clocks.heard("a", at(86400s), noon, false);
  EXPECT_EQ(clocks.difference("a"), 86400s);
  clocks.heard("b", at(11s), noon, true);
  EXPECT_EQ(clocks.difference("b"), 11s);
  clocks.heard("c", at(10s), noon, true);
  EXPECT_EQ(clocks.difference("c"), 0s);
}

TEST(PeerClocks, AnOldRecordShowsAClockBehindOnlyAsNews) {
  PeerClocks clocks;
  clocks.heard("a", at(-86400s), noon, false);
  EXPECT_EQ(clocks.difference("a"), 0s) << "it may have been written a day ago";
  clocks.heard("b", at(-60s), noon, true);
  EXPECT_EQ(clocks.difference("b"), -60s);
  clocks.heard("c", at(-30s), noon, true);
  EXPECT_EQ(clocks.difference("c"), 0s);
}

TEST(PeerClocks, WhatWasFoundLastsUntilTheNextRecord) {
  PeerClocks clocks;
  clocks.heard("a", at(-60s), noon, true);
  clocks.heard("a", at(-60s), noon + 1h, false);  // its lease has ended, say
  EXPECT_EQ(clocks.difference("a"), -60s);
  clocks.heard("a", at(3600s), noon + 1h, true);
  EXPECT_EQ(clocks.difference("a"), 0s);
  clocks.heard("b", at(60s), noon, true);
  clocks.heard("b", 0, noon, true);
  EXPECT_EQ(clocks.difference("b"), 0s) << "a version that does not say";
  clocks.heard("a", at(7200s), noon, true);
  clocks.gone("a");
  EXPECT_EQ(clocks.difference("a"), 0s);
  EXPECT_EQ(clocks.difference("nobody"), 0s);
}

}  // namespace
}  // namespace weft::agent
