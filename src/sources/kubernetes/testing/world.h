// What tests of this room run in: a loop, an API server, and a way to let both run until something is so.
#pragma once

#include <gtest/gtest.h>

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "sources/etcd/backoff.h"
#include "sources/etcd/scheduler.h"
#include "sources/kubernetes/http.h"
#include "sources/kubernetes/testing/api_server.h"

namespace weft::kubernetes::testing {

inline etcd::Random fixed_random() {
  return [state = std::make_shared<std::uint64_t>(88172645463325252)] {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
  };
}

class World {
 public:
  // False when `limit` went by.
  bool run_until(const std::function<bool()>& done, std::chrono::milliseconds limit = std::chrono::seconds(20)) {
    const auto until = std::chrono::steady_clock::now() + limit;
    while (!done()) {
      if (std::chrono::steady_clock::now() >= until) return false;
      // What other threads change is looked at now and then.
      loop_.run_one_for(std::chrono::milliseconds(5));
    }
    return true;
  }
  void run_for(std::chrono::milliseconds time) {
    run_until([] { return false; }, time);
  }
  std::unique_ptr<Http> connect(Access access, HttpOptions options = {}) {
    auto http = make_http(loop_, std::move(access), std::move(options));
    if (http) return std::move(*http);
    ADD_FAILURE() << http.error().text();
    return nullptr;
  }
  // Starts a request and waits for its answer.
  Outcome<Answer> request(Http& http, Request request) {
    std::optional<Outcome<Answer>> answer;
    const auto transfer =
        http.start(std::move(request), {.done = [&](Outcome<Answer> outcome) { answer.emplace(std::move(outcome)); }});
    if (!run_until([&] { return answer.has_value(); })) return failed(Reason::internal, "the test got no answer");
    return std::move(*answer);
  }

  asio::io_context& loop() { return loop_; }
  etcd::Scheduler& scheduler() { return scheduler_; }

 private:
  asio::io_context loop_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_{loop_.get_executor()};
  etcd::AsioScheduler scheduler_{loop_};
};

}  // namespace weft::kubernetes::testing
