#include "sources/cluster/role.h"

#include <utility>

namespace weft::cluster {

using etcd::Compare;

Role::Role(Context context, Candidate candidate, const std::string& role, std::chrono::milliseconds patience,
           RoleHandlers handlers)
    : context_(std::move(context)),
      candidate_(std::move(candidate)),
      patience_(patience),
      handlers_(std::move(handlers)),
      key_(context_.keys.build(RoleKey{role})),
      turns_(context_.scheduler, context_.backoff, context_.random, [this] { return step(); }),
      mirror_(context_.client, context_.scheduler, context_.random, context_.mirror(key_),
              {.changed = [this](const etcd::Change& change) { mirror_changed(change); },
               .state = [this] { turns_.wake(); }}) {}

std::optional<Compare> Role::holds() const {
  if (taken_at_ == 0) return std::nullopt;
  return Compare::unchanged_since(key_, taken_at_);
}

std::optional<Incarnation> Role::holder() const {
  const auto found = mirror_.view().find(key_);
  if (found == mirror_.view().end()) return {};
  auto holder = decode_incarnation(key_, found->second.value);
  return holder ? std::optional(std::move(*holder)) : std::nullopt;
}

void Role::want(bool wanted) {
  if (std::exchange(wanted_, wanted) != wanted) turns_.wake();
}

void Role::membership_changed() {
  // The key went with the lease, or goes with it.
  if (!candidate_.membership()) give_up();
  turns_.wake();
}

bool Role::step() {
  const auto membership = candidate_.membership();
  if (!membership || !mirror_.synced()) return false;
  if (!wanted_) return let_go(*membership);
  if (taken_at_ != 0) return false;
  if (const auto found = mirror_.view().find(key_); found != mirror_.view().end()) {
    // Under our lease it is ours, though the answer was lost. A key of ours from before ends with its lease.
    if (found->second.lease != membership->lease) return false;
    taken_at_ = found->second.mod_revision;
    if (handlers_.changed) handlers_.changed();
    return false;
  }
  if (!std::exchange(waited_, true)) {
    const auto wait = static_cast<double>(patience_.count()) * etcd::fraction(context_.random);
    wait_ = context_.scheduler.after(std::chrono::milliseconds(static_cast<std::int64_t>(wait)), [this] {
      turns_.next();
      waited_ = false;
    });
    return true;
  }
  take(*membership);
  return true;
}

void Role::take(const Membership& membership) {
  context_.client.txn({.compare = {membership.holds, Compare::absent(key_)},
                       .then = {etcd::PutRequest{.key = key_, .value = candidate_.value, .lease = membership.lease}},
                       .otherwise = {}},
                      {},
                      turns_.guarded([this, epoch = membership.epoch](const etcd::Outcome<etcd::TxnResult>& outcome) {
                        if (!outcome || !outcome->succeeded) {
                          // Somebody was quicker; or we were, and the answer was lost. The mirror tells.
                          outcome ? turns_.retry() : turns_.retry(outcome.error());
                          if (!outcome && handlers_.trouble) handlers_.trouble(outcome.error().to_error());
                          return;
                        }
                        const auto now = candidate_.membership();
                        const bool current = now && now->epoch == epoch;
                        if (current) taken_at_ = revision_of(*outcome, 0);
                        turns_.next();
                        if (current && handlers_.changed) handlers_.changed();
                      }));
}

// Until the mirror shows that it is gone.
bool Role::let_go(const Membership& membership) {
  give_up();
  const auto found = mirror_.view().find(key_);
  if (found == mirror_.view().end() || found->second.lease != membership.lease) return false;
  context_.client.txn({.compare = {Compare::unchanged_since(key_, found->second.mod_revision)},
                       .then = {etcd::EraseRequest{etcd::Keys::one(key_)}},
                       .otherwise = {}},
                      {}, turns_.guarded([this](const etcd::Outcome<etcd::TxnResult>&) { turns_.retry(); }));
  return true;
}

void Role::give_up() {
  if (std::exchange(taken_at_, 0) != 0 && handlers_.changed) handlers_.changed();
}

void Role::mirror_changed(const etcd::Change& change) {
  const auto found = mirror_.view().find(key_);
  const bool ours = found != mirror_.view().end() && found->second.mod_revision <= taken_at_;
  if (taken_at_ != 0 && !ours && change.revision >= taken_at_) give_up();
  turns_.wake();
}

}  // namespace weft::cluster
