#include "agent/reaper.h"

namespace weft::agent {

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
  }
  changed_.notify_all();
}

void Reaper::wait_for(const store::EndpointKey& key) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return !pending_.contains(key); });
}

bool Reaper::is_busy_with(const store::EndpointKey& key) {
  const std::lock_guard lock(mutex_);
  return pending_.contains(key);
}

void Reaper::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
    if (jobs_.empty()) return;
    const auto job = jobs_.front();
    jobs_.pop_front();
    lock.unlock();
    // A device that cannot be deleted now is left to Attachment::finish_removals.
    const bool gone = netlink_->delete_device(job.ifindex).has_value();
    if (gone) done_(job.key);
    lock.lock();
    pending_.erase(pending_.find(job.key));
    changed_.notify_all();
  }
}

}  // namespace weft::agent
