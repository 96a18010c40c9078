#include "sources/cluster/identity_allocator.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "sources/cluster/spread.h"

namespace weft::cluster {

using etcd::Compare;
using etcd::EraseRequest;
using etcd::Keys;
using etcd::PutRequest;
using etcd::RangeRequest;
using etcd::RangeResult;
using etcd::TxnResult;

namespace {

RangeRequest range(std::string key) { return {.keys = Keys::one(std::move(key))}; }

}  // namespace

IdentityAllocator::IdentityAllocator(Context context, NodeRegistry& registry, IdentityRange numbers,
                                     IdentityHandlers handlers)
    : context_(std::move(context)),
      registry_(&registry),
      range_(numbers),
      handlers_(std::move(handlers)),
      users_key_(context_.keys.build(UsersKey{registry.self().name})),
      turns_(context_.scheduler, context_.backoff, context_.random, [this] { return step(); }),
      mirror_(context_.client, context_.scheduler, context_.random,
              context_.mirror_of_nodes(context_.keys.identities(), [](const etcd::KeyValue&) { return true; }),
              {.changed = [this](const etcd::Change& change) { mirror_changed(change); },
               .state = [this] { turns_.wake(); }}) {}

void IdentityAllocator::acquire(const LabelMap& labels, Acquired done) {
  if (const auto text = canonical(labels); !text) {
    context_.scheduler.post([done = std::move(done), error = text.error()] { done(fail(error)); });
    return;
  }
  auto& use = uses_[labels];
  ++use.references;
  use.waiting.push_back(std::move(done));
  context_.scheduler.post(turns_.guarded_task([this, labels] {
    const auto found = uses_.find(labels);
    if (found != uses_.end() && found->second.listed) {
      const auto number = found->second.number;
      const auto waiting = std::exchange(found->second.waiting, {});
      for (const auto& answer : waiting) answer(number);
    }
    turns_.wake();
  }));
}

void IdentityAllocator::release(const LabelMap& labels) {
  const auto found = uses_.find(labels);
  if (found == uses_.end() || --found->second.references > 0) return;
  uses_.erase(found);
  turns_.wake();
}

std::optional<IdentityNumber> IdentityAllocator::number_of(const LabelMap& labels) const {
  const auto place = place_of(labels);
  return place.number == 0 ? std::nullopt : std::optional(place.number);
}

// By the mirror.
IdentityAllocator::Place IdentityAllocator::place_of(const LabelMap& labels) const {
  const auto found = by_labels_.find(labels);
  if (found == by_labels_.end()) return {};
  const auto& [number, revision] = *found->second.begin();
  return {number, revision};
}

const LabelMap* IdentityAllocator::labels_of(IdentityNumber number) const {
  const auto found = by_number_.find(number);
  return found == by_number_.end() ? nullptr : &found->second;
}

std::map<LabelMap, IdentityNumber> IdentityAllocator::held() const {
  std::map<LabelMap, IdentityNumber> held;
  for (const auto& [labels, use] : uses_)
    if (use.listed) held.emplace(labels, use.number);
  return held;
}

void IdentityAllocator::membership_changed() {
  conflicts_.clear();  // an etcd that was wiped meanwhile counts anew
  turns_.wake();
}

bool IdentityAllocator::step() {
  const auto& membership = registry_->membership();
  if (!membership) return false;
  // A node that comes back writes its list again, so that a collector that saw it away begins anew.
  if (list_epoch_ != membership->epoch) {
    write_list();
    return true;
  }
  if (mirror_.synced()) {
    const auto next =
        std::ranges::find_if(uses_, [](const auto& use) { return !use.second.listed && !use.second.refused; });
    if (next != uses_.end()) {
      enlist(next->first);
      return true;
    }
  }
  if (listed() == list_) return false;
  write_list();
  return true;
}

std::set<IdentityNumber> IdentityAllocator::listed() const {
  std::set<IdentityNumber> numbers;
  for (const auto& [labels, use] : uses_)
    if (use.listed) numbers.insert(use.number);
  return numbers;
}

void IdentityAllocator::write_list() {
  const auto& membership = *registry_->membership();
  auto numbers = listed();
  const auto value = encode(IdentityUsers{registry_->self().boot_id, numbers});
  context_.client.txn({.compare = {Compare::unchanged_since(users_key_, list_revision_), membership.holds},
                       .then = {PutRequest{.key = users_key_, .value = value}},
                       .otherwise = {range(users_key_)}},
                      {},
                      turns_.guarded([this, numbers = std::move(numbers),
                                      epoch = membership.epoch](const etcd::Outcome<TxnResult>& outcome) {
                        if (!outcome) return failed(outcome.error());
                        list_answered(*outcome, numbers, epoch);
                      }));
}

void IdentityAllocator::list_answered(const TxnResult& result, std::set<IdentityNumber> written, std::uint64_t epoch) {
  if (result.succeeded) {
    list_revision_ = revision_of(result, 0);
    list_epoch_ = epoch;
    list_ = std::move(written);
    return turns_.next();
  }
  const auto known = list_revision_;
  list_read(range_of(result, 0));
  if (list_revision_ != known) return turns_.next();
  turns_.retry();  // this node was seen as away, which the registry will hear
}

// The list is another than was thought: lost with this node's absence, or written by a request whose answer was lost.
void IdentityAllocator::list_read(const std::vector<etcd::KeyValue>& kvs) {
  list_revision_ = kvs.empty() ? 0 : kvs.front().mod_revision;
  list_epoch_ = 0;
  list_.clear();
  if (!kvs.empty()) {
    auto users = decode_users(users_key_, kvs.front().value);
    if (!users)
      trouble(users.error());  // it is ours to write
    else if (users->boot_id == registry_->self().boot_id)
      list_ = std::move(users->numbers);
  }
  for (auto& [labels, use] : uses_) use.listed = use.listed && list_.contains(use.number);
}

void IdentityAllocator::enlist(const LabelMap& labels) {
  if (!place_ || place_->first != labels) {
    const auto place = place_of(labels);
    const bool there = place.number != 0 && !mirror_.holds(context_.keys.build(IdentityKey{place.number}));
    place_.emplace(labels, there ? place : Place{});
  }
  if (place_->second.number != 0) return use(labels, place_->second);
  if (const auto number = free_number(labels)) return create(labels, *number);
  context_.scheduler.post(turns_.guarded_task([this, labels] {
    refuse(labels, {ErrorCode::exhausted,
                    fmt::format("all identity numbers from {} to {} are in use", range_.first, range_.last),
                    "give pods fewer distinct label sets: leave labels unique to a pod out"});
    turns_.next();
  }));
}

void IdentityAllocator::use(const LabelMap& labels, const Place& place) {
  submit(labels, place.number,
         {.compare = {Compare::unchanged_since(context_.keys.build(IdentityKey{place.number}), place.revision)},
          .then = {},
          .otherwise = {}});
}

void IdentityAllocator::create(const LabelMap& labels, IdentityNumber number) {
  const auto value = encode_labels(labels);
  const auto number_key = context_.keys.build(IdentityKey{number});
  const auto labels_key = context_.keys.build(LabelsKey{labels});
  submit(labels, number,
         {.compare = {Compare::absent(number_key), Compare::absent(labels_key)},
          .then = {PutRequest{.key = number_key, .value = value.value_or("")},
                   PutRequest{.key = labels_key, .value = encode_number(number)}},
          .otherwise = {}});
}

// What both ways to a number have in common: the list with it, and no mark on it.
void IdentityAllocator::submit(const LabelMap& labels, IdentityNumber number, etcd::Txn txn) {
  auto numbers = list_;
  numbers.insert(number);
  txn.compare.push_back(Compare::unchanged_since(users_key_, list_revision_));
  txn.compare.push_back(registry_->membership()->holds);
  // First, for enlisted().
  txn.then.insert(
      txn.then.begin(),
      PutRequest{.key = users_key_, .value = encode(IdentityUsers{registry_->self().boot_id, std::move(numbers)})});
  txn.then.emplace_back(EraseRequest{Keys::one(context_.keys.build(MarkKey{number}))});
  txn.otherwise = {range(users_key_), range(context_.keys.build(LabelsKey{labels})),
                   range(context_.keys.build(IdentityKey{number}))};
  context_.client.txn(std::move(txn), {},
                      turns_.guarded([this, labels, number](const etcd::Outcome<TxnResult>& outcome) {
                        if (!outcome) return failed(outcome.error());
                        if (outcome->succeeded) return enlisted(labels, number, *outcome);
                        not_enlisted(labels, number, *outcome);
                      }));
}

void IdentityAllocator::enlisted(const LabelMap& labels, IdentityNumber number, const TxnResult& result) {
  place_.reset();
  list_revision_ = revision_of(result, 0);
  list_.insert(number);
  const auto found = uses_.find(labels);
  if (found == uses_.end()) return turns_.next();  // released meanwhile
  auto& use = found->second;
  const IdentityNumber before = std::exchange(use.number, number);
  use.listed = true;
  use.listed_at = result.revision;
  const auto waiting = std::exchange(use.waiting, {});
  turns_.next();
  if (before != 0 && before != number && handlers_.renumbered) handlers_.renumbered(labels, before, number);
  for (const auto& done : waiting) done(number);
}

void IdentityAllocator::not_enlisted(const LabelMap& labels, IdentityNumber number, const TxnResult& result) {
  const auto& list = range_of(result, 0);
  const auto& said = range_of(result, 1);
  const auto& taken = range_of(result, 2);
  const auto tried = std::exchange(place_, std::nullopt)->second;
  if ((list.empty() ? 0 : list.front().mod_revision) != list_revision_) {
    list_read(list);
    if (tried.number == 0 && !taken.empty()) conflicts_[number] = taken.front().mod_revision;
    return turns_.next();
  }
  if (!said.empty()) {
    const auto there = decode_number(said.front().key, said.front().value);
    if (!there) {
      refuse(labels, there.error());
      return turns_.next();
    }
    // As it was tried: this node was seen as away, which the registry will hear.
    if (*there == tried.number && !taken.empty() && taken.front().mod_revision == tried.revision) return turns_.retry();
    return look_up(labels, *there);
  }
  if (tried.number != 0) {
    // Collected, and the mirror does not know yet.
    place_.emplace(labels, Place{});
    return turns_.next();
  }
  if (taken.empty()) return turns_.retry();  // seen as away
  conflicts_[number] = taken.front().mod_revision;
  turns_.next();
}

// An answer told the number. What it stands for is read before it is believed.
void IdentityAllocator::look_up(const LabelMap& labels, IdentityNumber number) {
  context_.client.range(range(context_.keys.build(IdentityKey{number})), {},
                        turns_.guarded([this, labels, number](const etcd::Outcome<RangeResult>& outcome) {
                          if (!outcome) return failed(outcome.error());
                          if (outcome->kvs.empty()) return turns_.next();  // collected meanwhile
                          const auto& kv = outcome->kvs.front();
                          const auto theirs = decode_labels(kv.key, kv.value);
                          if (!theirs || *theirs != labels)
                            refuse(labels, theirs ? Error{ErrorCode::internal,
                                                          fmt::format("key {} has other labels than those that "
                                                                      "lead to it: {}",
                                                                      etcd::printable(kv.key), to_string(labels)),
                                                          {}}
                                                  : theirs.error());
                          else
                            place_.emplace(labels, Place{number, kv.mod_revision});
                          turns_.next();
                        }));
}

// What the labels had, or have as far as the mirror knows, so that numbers survive the loss of etcd's data; else a free
// one by the labels, so that nodes that number the same labels at once meet at the same key.
std::optional<IdentityNumber> IdentityAllocator::free_number(const LabelMap& labels) const {
  const auto had = uses_.at(labels).number;
  const auto wanted = had != 0 ? had : number_of(labels).value_or(0);
  const auto is_free = [&](IdentityNumber number) {
    const auto* theirs = labels_of(number);
    return (theirs == nullptr || *theirs == labels) && !conflicts_.contains(number);
  };
  if (wanted != 0 && is_free(wanted)) return wanted;
  const std::uint64_t all = std::uint64_t{range_.last} - range_.first + 1;
  const std::uint64_t first = spread(canonical(labels).value_or("")) % all;
  for (std::uint64_t i = 0; i < all; ++i) {
    const auto number = static_cast<IdentityNumber>(range_.first + (first + i) % all);
    if (is_free(number)) return number;
  }
  return std::nullopt;
}

void IdentityAllocator::refuse(const LabelMap& labels, const Error& error) {
  place_.reset();
  const auto found = uses_.find(labels);
  if (found == uses_.end()) return;
  auto& use = found->second;
  const auto waiting = std::exchange(use.waiting, {});
  // Those get no number. Who had one before still needs it: it is tried again when the cluster's numbers change.
  use.references -= static_cast<int>(waiting.size());
  use.refused = true;
  if (use.references <= 0) uses_.erase(found);
  for (const auto& done : waiting) done(fail(error));
  if (waiting.empty()) trouble(error);
}

void IdentityAllocator::mirror_changed(const etcd::Change& change) {
  IdentityDifference difference;
  for (const auto& kv : change.erased) {
    const auto key = context_.keys.parse_as<IdentityKey>(kv.key);
    if (!key || !by_number_.contains(key->number)) continue;
    forget(key->number);
    difference.gone.push_back(key->number);
  }
  for (const auto& kv : change.set) {
    const auto key = context_.keys.parse_as<IdentityKey>(kv.key);
    auto labels = key ? decode_labels(kv.key, kv.value) : fail(key.error());
    if (!labels) {
      trouble(labels.error());
      if (!key || !by_number_.contains(key->number)) continue;
      forget(key->number);
      difference.gone.push_back(key->number);
      continue;
    }
    const auto* before = labels_of(key->number);
    const bool same = before != nullptr && *before == *labels;
    if (!same) forget(key->number);
    by_labels_[*labels][key->number] = kv.mod_revision;
    if (same) continue;  // it was marked, or is no longer
    by_number_.insert_or_assign(key->number, *labels);
    difference.set.emplace(key->number, std::move(*labels));
  }
  std::erase_if(conflicts_, [&](const auto& conflict) { return conflict.second <= mirror_.revision(); });
  // Erased by hand, or another's: it is written anew.
  for (auto& [labels, use] : uses_) {
    use.refused = false;
    if (!use.listed || use.listed_at > change.revision) continue;
    const auto* theirs = labels_of(use.number);
    if (theirs == nullptr || *theirs != labels || place_of(labels).number < use.number) use.listed = false;
  }
  turns_.wake();
  if (handlers_.changed && !(difference.set.empty() && difference.gone.empty())) handlers_.changed(difference);
}

void IdentityAllocator::forget(IdentityNumber number) {
  const auto found = by_number_.find(number);
  if (found == by_number_.end()) return;
  const auto places = by_labels_.find(found->second);
  if (places != by_labels_.end() && places->second.erase(number) != 0 && places->second.empty())
    by_labels_.erase(places);
  by_number_.erase(found);
}

// Whether the list was written is not known: it is read before anything else.
void IdentityAllocator::failed(const etcd::Failure& why) {
  list_epoch_ = 0;
  turns_.retry(why);
  trouble(why.to_error());
}

void IdentityAllocator::trouble(const Error& error) {
  if (handlers_.trouble) handlers_.trouble(error);
}

}  // namespace weft::cluster
