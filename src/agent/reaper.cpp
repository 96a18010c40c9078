#include "agent/reaper.h"

#include <algorithm>

namespace weft::agent {
namespace {

constexpr auto pause = std::chrono::milliseconds(100);
constexpr auto longest_delay = std::chrono::seconds(1);
constexpr std::uint32_t doomed_group = 0x57454654;  // "WEFT"; IFLA_GROUP of devices to be deleted together

}  // namespace

Reaper::Reaper(std::unique_ptr<sys::Netlink> netlink, Done done)
    : netlink_(std::move(netlink)), done_(std::move(done)), thread_([this] { run(); }) {}

Reaper::~Reaper() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Reaper::remove(const store::EndpointKey& key, int ifindex) {
  {
    const std::lock_guard lock(mutex_);
    jobs_.push_back({key, ifindex});
    pending_.insert(key);
    last_activity_ = Clock::now();
  }
  changed_.notify_all();
}

void Reaper::give_way() {
  const std::lock_guard lock(mutex_);
  last_activity_ = Clock::now();
}

void Reaper::wait_for(const store::EndpointKey& key) {
  std::unique_lock lock(mutex_);
  if (!pending_.contains(key)) return;
  urgent_ = true;
  changed_.notify_all();
  changed_.wait(lock, [&] { return !pending_.contains(key); });
}

bool Reaper::is_busy_with(const store::EndpointKey& key) {
  const std::lock_guard lock(mutex_);
  return pending_.contains(key);
}

void Reaper::wait_for_pause(std::unique_lock<std::mutex>& lock) {
  const auto deadline = Clock::now() + longest_delay;
  while (!stopping_ && !urgent_) {
    const auto until = std::min(last_activity_ + pause, deadline);
    if (Clock::now() >= until) return;
    changed_.wait_until(lock, until);
  }
}

bool Reaper::delete_all(const std::vector<Job>& jobs) {
  if (jobs.size() > 1) {
    bool grouped = true;
    for (const auto& job : jobs) {
      const auto set = netlink_->set_group(job.ifindex, doomed_group);
      grouped = grouped && (set || set.error().code == ErrorCode::not_found);
    }
    if (grouped && netlink_->delete_group(doomed_group)) return true;
  }
  bool gone = true;
  for (const auto& job : jobs) gone = netlink_->delete_device(job.ifindex).has_value() && gone;
  return gone;
}

void Reaper::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
    if (jobs_.empty()) return;
    wait_for_pause(lock);
    const std::vector<Job> jobs(jobs_.begin(), jobs_.end());
    jobs_.clear();
    urgent_ = false;
    lock.unlock();
    // Devices that cannot be deleted now are left to Attachment::finish_removals.
    if (delete_all(jobs))
      for (const auto& job : jobs) done_(job.key);
    lock.lock();
    for (const auto& job : jobs) pending_.erase(pending_.find(job.key));
    changed_.notify_all();
  }
}

}  // namespace weft::agent
