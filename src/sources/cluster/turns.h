// One request at a time. A step looks at what is to be done and starts a request for it, whose answer ends the turn;
// the next step looks again. Everything in this room that writes goes on like that: after a failure, or a long absence,
// nothing is remembered but what is to be so.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <utility>

#include "sources/etcd/backoff.h"
#include "sources/etcd/failure.h"
#include "sources/etcd/scheduler.h"

namespace weft::cluster {

class Turns {
 public:
  // `step` starts a request and says true, or there is nothing to do. It does not run inside the constructor.
  using Step = std::function<bool()>;
  Turns(etcd::Scheduler& scheduler, etcd::BackoffOptions backoff, etcd::Random random, Step step)
      : scheduler_(&scheduler), backoff_(backoff, std::move(random)), step_(std::move(step)) {}

  // There may be something to do.
  void wake() {
    if (!busy_) busy_ = step_();
  }
  // The request was answered: look again.
  void next() {
    backoff_.reset();
    busy_ = false;
    wake();
  }
  // It failed, or will be of no use for a while: look again later.
  void retry() { again_in(backoff_.next()); }
  void retry(const etcd::Failure& why) { again_in(backoff_.next(why.waited)); }

  // Wraps a request's callback: it does not run once this is gone.
  template <class Answer>
  auto guarded(Answer answer) {
    return [alive = std::weak_ptr(alive_), answer = std::move(answer)](const auto& outcome) {
      if (!alive.expired()) answer(outcome);
    };
  }
  std::function<void()> guarded_task(std::function<void()> task) {
    return [alive = std::weak_ptr(alive_), task = std::move(task)] {
      if (!alive.expired()) task();
    };
  }

 private:
  void again_in(std::chrono::milliseconds delay) {
    timer_ = scheduler_->after(delay, [this] {
      busy_ = false;
      wake();
    });
  }

  etcd::Scheduler* scheduler_;
  etcd::Backoff backoff_;
  Step step_;
  bool busy_ = false;
  etcd::Timer timer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace weft::cluster
