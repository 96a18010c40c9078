// Time and turns for one owner thread: the loop the agent runs, or a clock that a test turns
// (manual_scheduler.h). Everything in this room that waits does it through here.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <utility>

namespace asio {
class io_context;
}

namespace weft::etcd {

// A task that waits; it does not run once the Timer is gone. Use on the owner thread.
class Timer {
 public:
  Timer() = default;
  explicit Timer(std::shared_ptr<void> held) : held_(std::move(held)) {}
  void cancel() { held_.reset(); }
  // Also true after the task has run, until cancelled or replaced.
  explicit operator bool() const { return held_ != nullptr; }
  Timer(Timer&&) = default;
  Timer& operator=(Timer&&) = default;
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  ~Timer() = default;

 private:
  std::shared_ptr<void> held_;
};

class Scheduler {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Task = std::function<void()>;
  virtual ~Scheduler() = default;
  [[nodiscard]] virtual Time now() const = 0;
  // Runs the task on the owner thread, later, in order. May be called from any thread.
  virtual void post(Task task) = 0;
  [[nodiscard]] virtual Timer after(std::chrono::milliseconds delay, Task task) = 0;
};

// Over an io_context that one thread runs and that outlives this.
class AsioScheduler final : public Scheduler {
 public:
  explicit AsioScheduler(asio::io_context& loop) : loop_(&loop) {}
  [[nodiscard]] Time now() const override;
  void post(Task task) override;
  [[nodiscard]] Timer after(std::chrono::milliseconds delay, Task task) override;

 private:
  asio::io_context* loop_;
};

}  // namespace weft::etcd
