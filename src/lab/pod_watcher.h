// Follows the pods of the node API in a thread of its own, through restarts of the agent.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <thread>

namespace weft::lab {

class PodWatcher {
 public:
  struct Callbacks {
    // All in the watcher's thread. A connection begins with `connected`, then comes one `event` for
    // each {type, object} of docs/api.md's watch, at last `disconnected`.
    std::function<void()> connected;
    std::function<void(const nlohmann::json& event)> event;
    std::function<void(const std::string& why)> disconnected;
  };
  PodWatcher(std::string socket, Callbacks callbacks);
  ~PodWatcher();
  PodWatcher(const PodWatcher&) = delete;
  PodWatcher& operator=(const PodWatcher&) = delete;

 private:
  void follow();
  bool pause();  // false when it is time to end

  const std::string socket_;
  const Callbacks callbacks_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;  // guarded by mutex_
  int open_fd_ = -1;       // guarded by mutex_; the connection in use
  std::thread thread_;
};

}  // namespace weft::lab
