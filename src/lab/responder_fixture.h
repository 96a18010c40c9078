// Responders on a thread of their own, in a network namespace of the test's own. Needs root.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "lab/responder.h"
#include "lab/world.h"
#include "sys/netlink.h"
#include "sys/netns.h"

namespace weft::lab {

class RespondersFixture : public ::testing::Test {
 protected:
  explicit RespondersFixture(const std::string& what) : name_("weft-test-" + std::to_string(::getpid()) + "-" + what) {}

  // What the namespace has besides its loopback device.
  virtual void prepare(sys::Netlink& netlink) = 0;

  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root for network namespaces";
    ASSERT_TRUE(ensure_netns(name_));
    auto netns = sys::open_netns(sys::named_netns_path(name_));
    ASSERT_TRUE(netns);
    netns_ = std::move(*netns);
    auto netlink = sys::open_netlink_in(netns_.get());
    ASSERT_TRUE(netlink);
    ASSERT_NO_FATAL_FAILURE(prepare(**netlink));
    thread_ = std::thread([this] { loop_.run(); });
  }
  void TearDown() override {
    if (thread_.joinable()) {
      asio::post(loop_, [this] { responders_.reset(); });
      guard_.reset();
      thread_.join();
    }
    if (const auto deleted = sys::delete_named_netns(name_); !deleted) ADD_FAILURE() << deleted.error().message;
  }

  std::vector<ListeningPort> open(const std::vector<ResponderPort>& ports, const std::string& pod = "web-0") {
    std::promise<std::vector<ListeningPort>> opened;
    asio::post(loop_, [&] { opened.set_value(responders_->open(pod, netns_.get(), pod, ports)); });
    return opened.get_future().get();
  }
  void close(const std::string& pod) {
    std::promise<void> closed;
    asio::post(loop_, [&] {
      responders_->close(pod);
      closed.set_value();
    });
    closed.get_future().get();
  }

  const std::string name_;
  Fd netns_;
  asio::io_context loop_;
  asio::executor_work_guard<asio::io_context::executor_type> guard_{loop_.get_executor()};
  std::unique_ptr<Responders> responders_ = std::make_unique<Responders>(loop_);
  std::thread thread_;
};

}  // namespace weft::lab
