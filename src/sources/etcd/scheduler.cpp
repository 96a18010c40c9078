#include "sources/etcd/scheduler.h"

#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>

namespace weft::etcd {

Scheduler::Time AsioScheduler::now() const { return std::chrono::steady_clock::now(); }

void AsioScheduler::post(Task task) { asio::post(*loop_, std::move(task)); }

Timer AsioScheduler::after(std::chrono::milliseconds delay, Task task) {
  auto timer = std::make_shared<asio::steady_timer>(*loop_, delay);
  // The handler may already be queued when the Timer goes: it looks whether it is still wanted.
  timer->async_wait([weak = std::weak_ptr(timer), task = std::move(task)](const std::error_code& error) {
    const auto wanted = weak.lock();
    if (wanted && !error) task();
  });
  return Timer(timer);
}

}  // namespace weft::etcd
