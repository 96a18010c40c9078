// Deletes devices off the owner's thread: the kernel waits milliseconds for a device's last user,
// and nobody needs that wait answered. The wait holds the lock that attaching needs (rtnl), so
// deletions are gathered until attaching pauses, and then made all in one.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"
#include "sources/store/rows.h"
#include "sys/netlink.h"

namespace weft::agent {

class Reaper {
 public:
  // `done` is called on the reaper's thread, once for each key whose device is gone.
  using Done = std::function<void(store::EndpointKey)>;
  Reaper(std::unique_ptr<sys::Netlink> netlink, Done done);
  ~Reaper();  // finishes what is queued
  Reaper(const Reaper&) = delete;
  Reaper& operator=(const Reaper&) = delete;

  void remove(const store::EndpointKey& key, int ifindex);
  // Somebody is attaching: what is queued can wait a little longer, though never more than a second.
  void give_way();
  // Returns once the device of `key` is gone, which it does not delay any more; at once when it is not queued.
  void wait_for(const store::EndpointKey& key);
  [[nodiscard]] bool is_busy_with(const store::EndpointKey& key);

 private:
  struct Job {
    store::EndpointKey key;
    int ifindex = 0;
  };
  using Clock = std::chrono::steady_clock;
  void run();
  void wait_for_pause(std::unique_lock<std::mutex>& lock);
  // True when all of them are gone.
  bool delete_all(const std::vector<Job>& jobs);

  std::unique_ptr<sys::Netlink> netlink_;
  Done done_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Job> jobs_;                       // guarded by mutex_
  std::multiset<store::EndpointKey> pending_;  // guarded by mutex_
  Clock::time_point last_activity_;            // guarded by mutex_
  bool urgent_ = false;                        // guarded by mutex_
  bool stopping_ = false;                      // guarded by mutex_
  std::thread thread_;
};

}  // namespace weft::agent
