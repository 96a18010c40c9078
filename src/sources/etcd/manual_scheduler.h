// A Scheduler whose clock stands until it is moved, for tests. One thread.
#pragma once

#include <algorithm>
#include <deque>
#include <map>

#include "sources/etcd/scheduler.h"

namespace weft::etcd {

class ManualScheduler final : public Scheduler {
 public:
  [[nodiscard]] Time now() const override { return now_; }
  void post(Task task) override { posted_.push_back(std::move(task)); }
  [[nodiscard]] Timer after(std::chrono::milliseconds delay, Task task) override {
    auto held = std::make_shared<Task>(std::move(task));
    waiting_.emplace(now_ + delay, held);
    return Timer(held);
  }

  // Runs what is due now, and what that posts.
  void settle() { advance(std::chrono::milliseconds(0)); }
  // Moves the clock, running every task at its time.
  void advance(std::chrono::milliseconds by) {
    const Time until = now_ + by;
    for (;;) {
      while (!posted_.empty()) {
        const Task task = std::move(posted_.front());
        posted_.pop_front();
        task();
      }
      if (waiting_.empty() || waiting_.begin()->first > until) break;
      now_ = std::max(now_, waiting_.begin()->first);
      const auto task = waiting_.begin()->second.lock();
      waiting_.erase(waiting_.begin());
      if (task) (*task)();
    }
    now_ = until;
  }
  // Moves the clock to the next task until `done`, at most `limit`. False when the limit was reached.
  bool run_until(const std::function<bool()>& done, std::chrono::milliseconds limit) {
    const Time until = now_ + limit;
    settle();
    while (!done()) {
      if (waiting_.empty() || waiting_.begin()->first > until) {
        advance(std::chrono::duration_cast<std::chrono::milliseconds>(until - now_));
        return done();
      }
      advance(std::chrono::duration_cast<std::chrono::milliseconds>(waiting_.begin()->first - now_));
    }
    return true;
  }

 private:
  Time now_{std::chrono::hours(1)};
  std::deque<Task> posted_;
  std::multimap<Time, std::weak_ptr<Task>> waiting_;
};

}  // namespace weft::etcd
