#include "agent/recent_drops.h"

#include <gtest/gtest.h>

namespace weft::agent {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;
using Wall = std::chrono::system_clock::time_point;

struct Taken {
  RecentDrops drops;
  void at(seconds since_start, const RecentDrops::Packets& packets) {
    drops.take(packets, RecentDrops::Clock::time_point(since_start), Wall(since_start));
  }
};

TEST(RecentDrops, WhatTheFirstReadingHasIsOfBefore) {
  Taken taken;
  EXPECT_EQ(taken.drops.of("no-route").packets, 0U);
  taken.at(seconds(0), {{"no-route", 700}});
  EXPECT_EQ(taken.drops.of("no-route").packets, 0U);
  EXPECT_FALSE(taken.drops.of("no-route").last);
  taken.at(seconds(5), {{"no-route", 703}, {"flow-rate", 2}});
  EXPECT_EQ(taken.drops.of("no-route").packets, 3U);
  EXPECT_EQ(taken.drops.of("no-route").last, Wall(seconds(5)));
  EXPECT_EQ(taken.drops.of("flow-rate").packets, 2U) << "not counted before";
  EXPECT_EQ(taken.drops.covered(), seconds(5));
}

TEST(RecentDrops, OnlyThoseOfTheWindowAreOfLateAndTheLastTimeStays) {
  Taken taken;
  taken.at(seconds(0), {});
  taken.at(seconds(5), {{"no-route", 9}});
  for (seconds at(10); at < minutes(9); at += seconds(5)) taken.at(at, {{"no-route", 9}});
  EXPECT_EQ(taken.drops.of("no-route").packets, 9U);
  for (seconds at = minutes(9); at <= minutes(12); at += seconds(5)) taken.at(at, {{"no-route", 9}});
  EXPECT_EQ(taken.drops.of("no-route").packets, 0U);
  EXPECT_EQ(taken.drops.of("no-route").last, Wall(seconds(5)));
  EXPECT_GE(taken.drops.covered(), RecentDrops::window);
  EXPECT_LT(taken.drops.covered(), RecentDrops::window + minutes(1));
}

TEST(RecentDrops, CountersMayBeginAnew) {
  Taken taken;
  taken.at(seconds(0), {{"no-route", 700}});
  taken.at(seconds(5), {{"no-route", 2}});
  EXPECT_EQ(taken.drops.of("no-route").packets, 2U);
}

}  // namespace
}  // namespace weft::agent
