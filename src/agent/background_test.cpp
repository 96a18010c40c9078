#include "agent/background.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <asio/executor_work_guard.hpp>
#include <asio/post.hpp>
#include <future>
#include <memory>
#include <thread>
#include <vector>

namespace weft::agent {
namespace {

TEST(Background, JobsRunElsewhereAndInOrderAndEndOnTheLoop) {
  asio::io_context loop;
  const auto open = asio::make_work_guard(loop);
  Background background(loop);
  std::vector<int> ended;
  const auto here = std::this_thread::get_id();
  for (int i = 0; i < 100; ++i)
    background.run([&, i]() -> Background::Done {
      EXPECT_NE(std::this_thread::get_id(), here);
      return [&, i] {
        EXPECT_EQ(std::this_thread::get_id(), here);
        ended.push_back(i);
        if (i == 99) loop.stop();
      };
    });
  loop.run();
  ASSERT_EQ(ended.size(), 100U);
  EXPECT_TRUE(std::ranges::is_sorted(ended));
}

TEST(Background, TheLoopGoesOnWhileAJobRuns) {
  asio::io_context loop;
  const auto open = asio::make_work_guard(loop);
  Background background(loop);
  std::promise<void> answered;
  background.run([&]() -> Background::Done {
    answered.get_future().wait();  // for ever, when the loop waited for the job
    return [&] { loop.stop(); };
  });
  asio::post(loop, [&] { answered.set_value(); });
  loop.run();
}

TEST(Background, WhatWaitsIsDroppedAtTheEnd) {
  asio::io_context loop;
  std::promise<void> begun;
  std::promise<void> dropped;
  {
    Background background(loop);
    background.run([&]() -> Background::Done {
      begun.set_value();
      dropped.get_future().wait();  // for ever, when the end waited for all jobs
      return [] {};
    });
    background.run([ends = std::shared_ptr<void>(nullptr, [&](void*) { dropped.set_value(); })]() -> Background::Done {
      ADD_FAILURE() << "ran after the end was asked for";
      return [] {};
    });
    begun.get_future().wait();
  }
}

}  // namespace
}  // namespace weft::agent
