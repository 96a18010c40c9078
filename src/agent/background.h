// One thread for what would hold the agent's loop for long, such as reading a large manifest. A job owns its input
// and knows nothing of the agent; what it made comes back on the loop. Jobs run one after the other, in order.
#pragma once

#include <asio/io_context.hpp>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace weft::agent {

class Background {
 public:
  using Done = std::move_only_function<void()>;  // runs on the loop
  using Job = std::move_only_function<Done()>;   // runs on the thread

  explicit Background(asio::io_context& loop);
  // Waits for the job under way; those behind it are dropped, on the caller's thread.
  ~Background();
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;

  void run(Job job);

 private:
  void work();

  asio::io_context& loop_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Job> jobs_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace weft::agent
