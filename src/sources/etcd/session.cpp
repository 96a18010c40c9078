#include "sources/etcd/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace weft::etcd {

using std::chrono::milliseconds;

Session::Session(Client& client, Scheduler& scheduler, Random random, SessionOptions options, SessionHandlers handlers)
    : client_(&client),
      scheduler_(&scheduler),
      random_(std::move(random)),
      options_(options),
      handlers_(std::move(handlers)),
      backoff_(options.backoff, random_),
      keepalive_backoff_(options.backoff, random_) {
  establish();
}

void Session::bind(std::string key, std::string value) {
  unbound_.erase(key);
  bound_.insert_or_assign(std::move(key), Bound{.value = std::move(value), .change = ++changes_});
  work();
}

void Session::unbind(const std::string& key) {
  if (bound_.erase(key) == 0) return;
  unbound_.insert(key);
  work();
}

bool Session::settled() const {
  return established_ && unbound_.empty() &&
         std::ranges::all_of(bound_, [](const auto& b) { return b.second.written; });
}

void Session::close(Done<void> done) {
  closed_ = true;
  established_ = false;
  begin_epoch();
  const LeaseId lease = std::exchange(lease_, 0);
  if (lease == 0) return scheduler_->post([done = std::move(done)] { done({}); });
  client_->revoke(lease, {}, [done = std::move(done)](Outcome<void> outcome) {
    // Gone is what was wanted.
    if (!outcome && outcome.error().reason == Reason::lease_not_found) outcome = {};
    done(std::move(outcome));
  });
}

void Session::begin_epoch() {
  epoch_ = std::make_shared<bool>(true);
  working_ = false;
  keepalive_.cancel();
  expiry_.cancel();
  retry_.cancel();
}

void Session::establish() {
  begin_epoch();
  client_->grant(options_.ttl, 0, {},
                 [this, epoch = std::weak_ptr(epoch_), asked = scheduler_->now()](const Outcome<LeaseGrant>& grant) {
                   if (epoch.expired()) return;
                   if (grant) return granted(*grant, asked);
                   retry_ = scheduler_->after(backoff_.next(grant.error().waited), [this] { establish(); });
                   trouble(grant.error());
                 });
}

void Session::granted(const LeaseGrant& grant, Scheduler::Time asked) {
  lease_ = grant.id;
  ttl_ = grant.ttl;
  keepalive_backoff_.reset();
  for (auto& [key, bound] : bound_) bound.written = false;
  kept(ttl_, asked);
  if (lease_ != 0) work();
}

void Session::work() {
  if (closed_ || lease_ == 0 || working_) return;
  const auto next = std::ranges::find_if(bound_, [](const auto& bound) { return !bound.second.written; });
  if (next != bound_.end()) return put(next->first, next->second);
  if (!unbound_.empty()) return erase(*unbound_.begin());
  all_written();
}

void Session::put(const std::string& key, const Bound& bound) {
  working_ = true;
  client_->put({.key = key, .value = bound.value, .lease = lease_}, {},
               [this, epoch = std::weak_ptr(epoch_), key, change = bound.change](const Outcome<PutResult>& outcome) {
                 if (epoch.expired()) return;
                 if (!outcome) return worked(outcome.error());
                 const auto found = bound_.find(key);
                 if (found != bound_.end() && found->second.change == change) found->second.written = true;
                 worked(std::nullopt);
               });
}

void Session::erase(const std::string& key) {
  working_ = true;
  client_->erase({Keys::one(key)}, {}, [this, epoch = std::weak_ptr(epoch_), key](const Outcome<EraseResult>& outcome) {
    if (epoch.expired()) return;
    if (!outcome) return worked(outcome.error());
    unbound_.erase(key);
    worked(std::nullopt);
  });
}

// Both kinds of write may be repeated, so a write that may have been applied is like one that was not.
void Session::worked(const std::optional<Failure>& failure) {
  if (!failure) {
    working_ = false;
    backoff_.reset();
    return work();
  }
  if (failure->reason == Reason::lease_not_found) return lose(*failure);
  retry_ = scheduler_->after(backoff_.next(failure->waited), [this] {
    working_ = false;
    work();
  });
  trouble(*failure);
}

void Session::all_written() {
  if (established_) return;
  established_ = true;
  const LeaseId old = std::exchange(old_lease_, 0);
  // It has no keys left; if this fails it expires.
  if (old != 0) client_->revoke(old, {}, [](const Outcome<void>&) {});
  if (handlers_.established) handlers_.established(lease_);
}

void Session::schedule_keep_alive() {
  // Three chances before the lease ends, and not all nodes at once.
  const double part = 0.8 + (0.2 * fraction(random_));
  const auto third = std::chrono::duration_cast<milliseconds>(ttl_) / 3;
  const milliseconds delay(static_cast<std::int64_t>(static_cast<double>(third.count()) * part));
  keepalive_ = scheduler_->after(delay, [this] { keep_alive(); });
}

void Session::keep_alive() {
  const auto timeout = std::max<milliseconds>(std::chrono::duration_cast<milliseconds>(ttl_) / 3, milliseconds(500));
  client_->keep_alive(
      lease_, {.timeout = timeout},
      [this, epoch = std::weak_ptr(epoch_), asked = scheduler_->now()](const Outcome<std::chrono::seconds>& outcome) {
        if (!epoch.expired()) kept(outcome, asked);
      });
}

void Session::kept(const Outcome<std::chrono::seconds>& outcome, Scheduler::Time asked) {
  if (!outcome) {
    if (outcome.error().reason == Reason::lease_not_found) return lose(outcome.error());
    keepalive_ = scheduler_->after(keepalive_backoff_.next(outcome.error().waited), [this] { keep_alive(); });
    return trouble(outcome.error());
  }
  keepalive_backoff_.reset();
  ttl_ = *outcome;
  // etcd counts from when it got the request, which was not before it was sent.
  const auto left = std::chrono::duration_cast<milliseconds>(asked + ttl_ - scheduler_->now());
  expiry_ = scheduler_->after(std::max(left, milliseconds(0)), [this] {
    lose({.reason = Reason::unavailable,
          .message = fmt::format("lease {:x} was not kept alive for {} s", lease_, ttl_.count())});
  });
  schedule_keep_alive();
}

void Session::lose(const Failure& why) {
  const bool told = std::exchange(established_, false);
  old_lease_ = why.reason == Reason::lease_not_found ? 0 : lease_;
  lease_ = 0;
  begin_epoch();
  retry_ = scheduler_->after(backoff_.next(), [this] { establish(); });
  if (told && handlers_.lost) handlers_.lost(why);
}

void Session::trouble(const Failure& why) {
  if (handlers_.trouble) handlers_.trouble(why);
}

}  // namespace weft::etcd
