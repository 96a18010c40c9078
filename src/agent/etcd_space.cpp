#include "agent/etcd_space.h"

#include <fmt/format.h>

#include <utility>

#include "base/utc_text.h"

namespace weft::agent {
namespace {

// It takes an etcd long to fill, and its users not long to wonder.
constexpr auto interval = std::chrono::seconds(10);
constexpr auto interval_while_full = std::chrono::seconds(2);

}  // namespace

EtcdSpace::EtcdSpace(etcd::Client& client, etcd::Scheduler& scheduler, Faults& faults, std::string etcd)
    : client_(&client), scheduler_(&scheduler), faults_(&faults), etcd_(std::move(etcd)) {}

void EtcdSpace::check() {
  if (!asking_ && scheduler_->now() >= next_) ask();
}

// No answer says nothing about its space, and others say that there is none.
void EtcdSpace::ask() {
  asking_ = true;
  client_->status({}, [this, alive = std::weak_ptr(alive_)](const etcd::Outcome<etcd::Status>& status) {
    if (alive.expired()) return;
    asking_ = false;
    if (status) answered(status->full);
    next_ = scheduler_->now() + (full_since_ ? interval_while_full : interval);
  });
}

void EtcdSpace::answered(bool full) {
  if (!full) {
    full_since_.reset();
    return faults_->clear("etcd space");
  }
  if (!full_since_) full_since_ = std::chrono::system_clock::now();
  faults_->set(
      "etcd space",
      fmt::format("etcd ({}) is out of space since {} or before: it refuses every change, of pods, policies, Services "
                  "and nodes; traffic goes on as it is, what is not told yet waits",
                  etcd_, utc_text(*full_since_)),
      "compact and defragment etcd, or raise its quota (--quota-backend-bytes), then etcdctl alarm disarm; what "
      "waits is written by itself");
}

}  // namespace weft::agent
