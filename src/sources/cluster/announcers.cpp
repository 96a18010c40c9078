#include "sources/cluster/announcers.h"

#include <algorithm>
#include <utility>

namespace weft::cluster {

using etcd::Compare;
using std::chrono::milliseconds;

namespace {

// In one transaction: etcd takes 128 comparisons.
constexpr std::size_t most_at_once = 64;

}  // namespace

Announcers::Announcers(Context context, NodeRegistry& registry, Handlers handlers)
    : context_(std::move(context)),
      registry_(&registry),
      handlers_(std::move(handlers)),
      at_once_(most_at_once),
      turns_(context_.scheduler, context_.backoff, context_.random, [this] { return step(); }),
      mirror_(context_.client, context_.scheduler, context_.random,
              context_.mirror_of_leased(
                  context_.keys.announcers(),
                  [own = encode(registry.self().incarnation())](const etcd::KeyValue& kv) { return kv.value != own; }),
              {.changed = [this](const etcd::Change& change) { mirror_changed(change); },
               .state = [this] { turns_.wake(); }}) {}

void Announcers::want(std::set<IpAddress> addresses, Delay delay) {
  wanted_ = std::move(addresses);
  delay_ = std::move(delay);
  std::erase_if(had_, [this](const auto& address) { return !wanted_.contains(address); });
  std::erase_if(due_, [this](const auto& entry) { return !wanted_.contains(entry.first); });
  turns_.wake();
}

bool Announcers::surely_has(const IpAddress& address) const {
  const auto& membership = registry_->membership();
  if (!membership || !may_announce(address)) return false;
  const auto found = mirror_.view().find(context_.keys.build(AnnouncerKey{address}));
  return is_settling(address) || (found != mirror_.view().end() && found->second.lease == membership->lease);
}

void Announcers::membership_changed() {
  settling_.clear();
  turns_.wake();
}

bool Announcers::is_settling(const IpAddress& address) const {
  const auto found = settling_.find(address);
  return found != settling_.end() && found->second > mirror_.revision();
}

// Nothing when there is nothing to do, or not yet.
std::optional<Announcers::Move> Announcers::due(const IpAddress& address) {
  auto key = context_.keys.build(AnnouncerKey{address});
  const auto found = mirror_.view().find(key);
  if (is_settling(address)) return {};
  if (found != mirror_.view().end()) {
    due_.erase(address);
    const auto holder = decode_incarnation(key, found->second.value);
    if (!holder || *holder != registry_->self().incarnation()) return {};
    if (found->second.lease == registry_->membership()->lease) {
      // The answer was lost, or it was unwanted only for a moment.
      if (had_.insert(address).second)
        context_.scheduler.post(turns_.guarded_task([this] {
          if (handlers_.changed) handlers_.changed();
        }));
      return {};
    }
    // Of another lease of ours: it would end with it.
    return Move{address, Compare::unchanged_since(std::move(key), found->second.mod_revision), true};
  }
  if (!had_.contains(address)) {
    const auto now = context_.scheduler.now();
    const auto [at, is_new] = due_.try_emplace(address, now);
    if (is_new) at->second += delay_(address);
    if (now < at->second) {
      wake_at(at->second);
      return {};
    }
  }
  return Move{address, Compare::absent(std::move(key)), true};
}

void Announcers::wake_at(etcd::Scheduler::Time time) {
  const auto now = context_.scheduler.now();
  if (next_ > now && next_ <= time) return;
  next_ = time;
  timer_ = context_.scheduler.after(std::chrono::ceil<milliseconds>(time - now), [this] { turns_.wake(); });
}

std::vector<Announcers::Move> Announcers::due() {
  std::vector<Move> moves;
  for (const auto& [address, node] : holders_) {
    if (moves.size() == at_once_) return moves;
    if (node != registry_->self().name || wanted_.contains(address) || is_settling(address)) continue;
    auto key = context_.keys.build(AnnouncerKey{address});
    const auto found = mirror_.view().find(key);
    if (found == mirror_.view().end()) continue;
    moves.push_back({address, Compare::unchanged_since(std::move(key), found->second.mod_revision), false});
  }
  for (const auto& address : wanted_) {
    if (moves.size() == at_once_) break;
    if (auto move = due(address)) moves.push_back(std::move(*move));
  }
  return moves;
}

bool Announcers::step() {
  const auto& membership = registry_->membership();
  if (!membership || !mirror_.synced()) return false;
  const auto moves = due();
  if (moves.empty()) return false;
  etcd::Txn txn{.compare = {membership->holds}, .then = {}, .otherwise = {}};
  for (const auto& move : moves) {
    txn.compare.push_back(move.compare);
    if (move.take)
      txn.then.emplace_back(etcd::PutRequest{
          .key = move.compare.key, .value = encode(registry_->self().incarnation()), .lease = membership->lease});
    else
      txn.then.emplace_back(etcd::EraseRequest{etcd::Keys::one(move.compare.key)});
  }
  context_.client.txn(
      std::move(txn), {},
      turns_.guarded([this, moves, epoch = membership->epoch](const etcd::Outcome<etcd::TxnResult>& outcome) {
        moved(moves, outcome, epoch);
      }));
  return true;
}

void Announcers::moved(const std::vector<Move>& moves, const etcd::Outcome<etcd::TxnResult>& outcome,
                       std::uint64_t epoch) {
  if (!outcome || !outcome->succeeded) {
    // One of them is another node's by now, or ours, and the answer was lost: the mirror tells. Until then each is
    // tried by itself, so that one that is gone keeps no other back.
    at_once_ = outcome ? 1 : at_once_;
    if (!outcome && handlers_.trouble) handlers_.trouble(outcome.error().to_error());
    return outcome ? turns_.retry() : turns_.retry(outcome.error());
  }
  at_once_ = std::min(2 * at_once_, most_at_once);
  const auto& membership = registry_->membership();
  const bool current = membership && membership->epoch == epoch;
  bool changed = false;
  for (std::size_t i = 0; i < moves.size(); ++i) {
    const auto& move = moves[i];
    if (!current) continue;
    settling_[move.address] = revision_of(*outcome, i);
    if (move.take && wanted_.contains(move.address)) changed = had_.insert(move.address).second || changed;
  }
  turns_.next();
  if (changed && handlers_.changed) handlers_.changed();
}

void Announcers::mirror_changed(const etcd::Change& change) {
  for (const auto& kv : change.erased)
    if (const auto key = context_.keys.parse_as<AnnouncerKey>(kv.key)) holders_.erase(key->address);
  for (const auto& kv : change.set) {
    const auto key = context_.keys.parse_as<AnnouncerKey>(kv.key);
    const auto holder = decode_incarnation(kv.key, kv.value);
    if (!key || !holder) {
      if (handlers_.trouble) handlers_.trouble(key ? holder.error() : key.error());
      if (!key) continue;
    }
    // One that cannot be read is somebody's.
    holders_[key->address] = holder ? holder->node : "?";
    // What this node wrote before is no news of another.
    if ((!holder || *holder != registry_->self().incarnation()) && !is_settling(key->address)) had_.erase(key->address);
  }
  std::erase_if(settling_, [this](const auto& entry) { return entry.second <= mirror_.revision(); });
  turns_.wake();
  if (handlers_.changed) handlers_.changed();
}

}  // namespace weft::cluster
