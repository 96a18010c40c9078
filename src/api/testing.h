// A server of the API on a thread of its own, for tests of what handlers do and of clients.
#pragma once

#include <gtest/gtest.h>

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "api/server.h"

namespace weft::api::testing {

// `server_` belongs to the loop's thread: register handlers in on_loop.
class ServedTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = std::filesystem::temp_directory_path() / "weft-test-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    auto server = Server::listen(loop_, {.path = socket()});
    ASSERT_TRUE(server) << server.error().message;
    server_ = std::move(*server);
    thread_ = std::thread([this] {
      const auto work = asio::make_work_guard(loop_);
      loop_.run();
    });
  }
  void TearDown() override {
    if (thread_.joinable()) {
      close();
      loop_.stop();
      thread_.join();
    }
    if (!directory_.empty()) std::filesystem::remove_all(directory_);
  }

  // Ends the server and every connection; harmless when done before.
  void close() {
    on_loop([this] { server_.reset(); });
  }
  // As kill -9 and a new start: connections end without an answer, and a server without handlers takes its place.
  void serve_anew() {
    on_loop([this] {
      server_.reset();
      auto server = Server::listen(loop_, {.path = socket()});
      if (server) server_ = std::move(*server);
    });
  }
  // Runs `work` on the loop's thread and waits for its end.
  template <class Work>
  void on_loop(Work work) {
    ASSERT_TRUE(thread_.joinable()) << "the server did not start";
    std::promise<void> done;
    asio::post(loop_, [&] {
      work();
      done.set_value();
    });
    done.get_future().wait();
  }
  [[nodiscard]] std::string socket() const { return directory_ + "/s"; }

  std::string directory_;
  std::unique_ptr<Server> server_;

 private:
  asio::io_context loop_;
  std::thread thread_;
};

}  // namespace weft::api::testing
