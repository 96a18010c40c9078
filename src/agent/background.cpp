#include "agent/background.h"

#include <asio/post.hpp>
#include <utility>

namespace weft::agent {

Background::Background(asio::io_context& loop) : loop_(loop), thread_([this] { work(); }) {}

Background::~Background() {
  std::deque<Job> dropped;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    dropped.swap(jobs_);
  }
  dropped.clear();
  changed_.notify_one();
  thread_.join();
}

void Background::run(Job job) {
  {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
  }
  changed_.notify_one();
}

void Background::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return stopping_ || !jobs_.empty(); });
    if (stopping_) return;
    auto job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    asio::post(loop_, job());
    job = nullptr;
    lock.lock();
  }
}

}  // namespace weft::agent
