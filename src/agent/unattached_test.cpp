#include "agent/unattached.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace weft::agent {
namespace {

using namespace std::chrono_literals;

const Unattached::Clock::time_point noon{std::chrono::seconds(1764417600)};

Error error(const char* why) { return {ErrorCode::not_found, why, "do this"}; }

TEST(Unattached, TheLastReasonOfEachPodIsTold) {
  Unattached all;
  all.failed({"shop", "web-0"}, error("no pool"), noon);
  all.failed({"shop", "web-0"}, error("pod shop/web-0: no address"), noon + 3s);
  all.failed({"shop", "web-1"}, error("no pool"), noon + 4s);
  auto told = all.to_json();
  ASSERT_EQ(told.size(), 2U);
  EXPECT_EQ(told[0]["pod"], "web-0");
  EXPECT_EQ(told[0]["reason"], "no address");
  EXPECT_EQ(told[0]["remedy"], "do this");
  EXPECT_EQ(told[0]["tries"], 2);
  EXPECT_EQ(told[0]["since"], "2025-11-29T12:00:00Z");
  EXPECT_EQ(told[0]["last"], "2025-11-29T12:00:03Z");
  all.forget({"shop", "web-0"});
  EXPECT_EQ(all.to_json()[0]["pod"], "web-1");
}

TEST(Unattached, WhatNobodyTriesAnyMoreIsOver) {
  Unattached all;
  all.failed({"shop", "web-0"}, error("x"), noon);
  all.failed({"shop", "web-1"}, error("x"), noon);
  all.failed({"shop", "web-1"}, error("x"), noon + 10min);
  all.expire(noon + 15min);
  EXPECT_EQ(all.size(), 2U);
  all.expire(noon + 16min);
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all.to_json()[0]["pod"], "web-1");
}

TEST(Unattached, OfTooManyTheOldestGo) {
  Unattached all;
  for (std::size_t i = 0; i <= Unattached::most; ++i)
    all.failed({"shop", "web-" + std::to_string(i)}, error("x"), noon + std::chrono::seconds(i));
  EXPECT_EQ(all.size(), Unattached::most);
  EXPECT_EQ(all.to_json().dump().find("\"web-0\""), std::string::npos);
}

}  // namespace
}  // namespace weft::agent
