// A coroutine that is awaited once, for steps that wait for one answer after the other. It begins when it is awaited,
// on the owner thread, and is gone with whoever holds it, wherever it waits.
#pragma once

#include <coroutine>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "sources/etcd/scheduler.h"

namespace weft::crd {

template <class T>
class [[nodiscard]] Task {
 public:
  struct promise_type {
    std::optional<T> value;
    std::coroutine_handle<> awaiter;

    Task get_return_object() { return Task(std::coroutine_handle<promise_type>::from_promise(*this)); }
    std::suspend_always initial_suspend() noexcept { return {}; }
    auto final_suspend() noexcept {
      struct Back {
        bool await_ready() noexcept { return false; }
        std::coroutine_handle<> await_suspend(std::coroutine_handle<promise_type> self) noexcept {
          return self.promise().awaiter;
        }
        void await_resume() noexcept {}
      };
      return Back{};
    }
    template <class Value>
    void return_value(Value&& given) {
      value.emplace(std::forward<Value>(given));
    }
    // Nothing in this room throws.
    void unhandled_exception() { std::terminate(); }
  };

  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;
  Task& operator=(Task&&) = delete;
  ~Task() {
    if (handle_) handle_.destroy();
  }

  bool await_ready() const noexcept { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> awaiter) noexcept {
    handle_.promise().awaiter = awaiter;
    return handle_;
  }
  T await_resume() { return std::move(*handle_.promise().value); }

 private:
  explicit Task(std::coroutine_handle<promise_type> handle) : handle_(handle) {}
  std::coroutine_handle<promise_type> handle_;
};

// Awaits what `start` begins: it is given a function to be called once with the answer, never inside of the call.
template <class T>
class Answered {
 public:
  using Start = std::function<void(std::function<void(T)>)>;
  explicit Answered(Start start) : start_(std::move(start)) {}
  Answered(Answered&&) = delete;
  Answered(const Answered&) = delete;
  Answered& operator=(const Answered&) = delete;
  Answered& operator=(Answered&&) = delete;
  ~Answered() = default;

  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> waiting) {
    start_([this, waiting](T answer) {
      answer_.emplace(std::move(answer));
      waiting.resume();
    });
  }
  T await_resume() { return std::move(*answer_); }

 private:
  Start start_;
  std::optional<T> answer_;
};

// Tasks under way. Destroying this ends them where they wait, and no answer is told after that; whatever could resume
// one of them must be gone before.
class Running {
 public:
  explicit Running(etcd::Scheduler& scheduler) : scheduler_(&scheduler) {}
  ~Running() {
    *alive_ = false;
    for (const auto& [id, handle] : handles_) handle.destroy();
  }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

  // `done` is told by the scheduler, so it may destroy this.
  template <class T>
  void start(Task<T> task, std::function<void(T)> done) {
    const std::uint64_t id = ++last_;
    const auto handle = carry<T>(id, std::move(task), std::move(done)).handle;
    handles_.emplace(id, handle);
    handle.resume();
  }

 private:
  struct Detached {
    struct promise_type {
      Detached get_return_object() { return {std::coroutine_handle<promise_type>::from_promise(*this)}; }
      std::suspend_always initial_suspend() noexcept { return {}; }
      std::suspend_never final_suspend() noexcept { return {}; }
      void return_void() {}
      void unhandled_exception() { std::terminate(); }
    };
    std::coroutine_handle<> handle;
  };

  template <class T>
  Detached carry(std::uint64_t id, Task<T> task, std::function<void(T)> done) {
    T outcome = co_await task;
    handles_.erase(id);
    scheduler_->post([alive = alive_, done = std::move(done), outcome = std::move(outcome)]() mutable {
      if (*alive) done(std::move(outcome));
    });
  }

  etcd::Scheduler* scheduler_;
  std::uint64_t last_ = 0;
  std::map<std::uint64_t, std::coroutine_handle<>> handles_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace weft::crd
