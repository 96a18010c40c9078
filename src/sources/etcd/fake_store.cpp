#include "sources/etcd/fake_store.h"

#include <algorithm>

#include "sources/etcd/compare.h"

namespace weft::etcd {
namespace {

void replay(std::map<std::string, KeyValue>& state, const Event& event) {
  if (event.type == Event::Type::put)
    state.insert_or_assign(event.kv.key, event.kv);
  else
    state.erase(event.kv.key);
}

}  // namespace

Outcome<void> FakeStore::check(const Op& op) const {
  if (const auto* range = std::get_if<RangeRequest>(&op)) {
    if (range->keys.key.empty()) return failed(Reason::invalid, "key is not provided");
    if (range->revision > revision_) return failed(Reason::future_revision, "required revision is a future revision");
    if (range->revision > 0 && range->revision < compacted_)
      return failed(Reason::compacted, "required revision has been compacted");
  } else if (const auto* put = std::get_if<PutRequest>(&op)) {
    if (put->key.empty()) return failed(Reason::invalid, "key is not provided");
    if (put->lease != 0 && !leases_.contains(put->lease))
      return failed(Reason::lease_not_found, "requested lease not found");
  } else if (std::get<EraseRequest>(op).keys.key.empty()) {
    return failed(Reason::invalid, "key is not provided");
  }
  return {};
}

// The shape of a branch: etcd refuses a transaction that writes a key twice, whichever branch it takes.
Outcome<void> FakeStore::check(const std::vector<Op>& ops) const {
  std::set<std::string> written;
  for (const auto& op : ops)
    if (const auto* put = std::get_if<PutRequest>(&op); put != nullptr && !written.insert(put->key).second)
      return failed(Reason::invalid, "duplicate key given in txn request");
  for (const auto& op : ops)
    if (const auto* erase = std::get_if<EraseRequest>(&op))
      if (std::ranges::any_of(written, [&](const auto& key) { return erase->keys.contains(key); }))
        return failed(Reason::invalid, "duplicate key given in txn request");
  return {};
}

Outcome<RangeResult> FakeStore::range(const RangeRequest& request) const {
  if (auto good = check(Op(request)); !good) return std::unexpected(good.error());
  return apply(request, revision_);
}

Outcome<PutResult> FakeStore::put(const PutRequest& request) {
  if (auto good = check(Op(request)); !good) return std::unexpected(good.error());
  apply(request, ++revision_);
  return PutResult{revision_};
}

Outcome<EraseResult> FakeStore::erase(const EraseRequest& request) {
  if (auto good = check(Op(request)); !good) return std::unexpected(good.error());
  const auto erased = apply(request, revision_ + 1);
  if (erased > 0) ++revision_;
  return EraseResult{revision_, erased};
}

Outcome<TxnResult> FakeStore::txn(const Txn& request) {
  for (const auto* branch : {&request.then, &request.otherwise})
    if (auto good = check(*branch); !good) return std::unexpected(good.error());
  TxnResult result;
  result.succeeded = std::ranges::all_of(request.compare, [this](const Compare& compare) { return holds(compare); });
  const auto& branch = result.succeeded ? request.then : request.otherwise;
  for (const auto& op : branch)
    if (auto good = check(op); !good) return std::unexpected(good.error());
  const Revision at = revision_ + 1;
  bool changed = false;
  for (const auto& op : branch) {
    if (const auto* range = std::get_if<RangeRequest>(&op)) {
      result.results.emplace_back(apply(*range, changed ? at : revision_));
    } else if (const auto* put = std::get_if<PutRequest>(&op)) {
      apply(*put, at);
      changed = true;
      result.results.emplace_back(PutResult{at});
    } else {
      const auto erased = apply(std::get<EraseRequest>(op), at);
      changed = changed || erased > 0;
      result.results.emplace_back(EraseResult{changed ? at : revision_, erased});
    }
  }
  if (changed) revision_ = at;
  result.revision = revision_;
  return result;
}

Outcome<void> FakeStore::compact(Revision revision) {
  if (revision > revision_) return failed(Reason::future_revision, "required revision is a future revision");
  if (revision <= compacted_) return failed(Reason::compacted, "required revision has been compacted");
  base_ = state_at(revision);
  compacted_ = revision;
  std::erase_if(log_, [revision](const Event& event) { return event.kv.mod_revision < revision; });
  return {};
}

Outcome<LeaseGrant> FakeStore::grant(std::chrono::seconds ttl, LeaseId id) {
  if (id == 0) id = ++next_lease_;
  if (leases_.contains(id)) return failed(Reason::lease_exists, "lease already exists");
  const auto granted = std::max(ttl, std::chrono::seconds(1));
  leases_[id] = granted;
  return LeaseGrant{id, granted};
}

Outcome<void> FakeStore::revoke(LeaseId id) {
  if (leases_.erase(id) == 0) return failed(Reason::lease_not_found, "requested lease not found");
  std::vector<std::string> keys;
  for (const auto& [key, kv] : now_)
    if (kv.lease == id) keys.push_back(key);
  if (keys.empty()) return {};
  ++revision_;
  for (const auto& key : keys) apply(EraseRequest{Keys::one(key)}, revision_);
  return {};
}

Outcome<std::vector<Event>> FakeStore::events_since(const Keys& keys, Revision from) const {
  if (from < compacted_) {
    Failure failure{.reason = Reason::compacted, .message = "the history up to the start has been compacted"};
    failure.compact_revision = compacted_;
    return std::unexpected(std::move(failure));
  }
  std::vector<Event> events;
  for (const auto& event : log_)
    if (event.kv.mod_revision >= from && keys.contains(event.kv.key)) events.push_back(event);
  return events;
}

bool FakeStore::holds(const Compare& compare) const {
  const Keys keys{compare.key, compare.end};
  auto at = now_.lower_bound(compare.key);
  if (at == now_.end() || !keys.contains(at->first)) return holds(compare, nullptr);
  for (; at != now_.end() && keys.contains(at->first); ++at)
    if (!holds(compare, &at->second)) return false;
  return true;
}

// Null: a key that is not there.
bool FakeStore::holds(const Compare& compare, const KeyValue* found) {
  if (compare.target == Compare::Target::value)
    return found != nullptr && compares(compare.is, found->value, compare.value);
  const KeyValue kv = found == nullptr ? KeyValue{} : *found;
  std::int64_t actual = 0;
  switch (compare.target) {
    case Compare::Target::version:
      actual = kv.version;
      break;
    case Compare::Target::create_revision:
      actual = kv.create_revision;
      break;
    case Compare::Target::mod_revision:
      actual = kv.mod_revision;
      break;
    default:
      actual = kv.lease;
      break;
  }
  return compares(compare.is, actual, compare.number);
}

RangeResult FakeStore::apply(const RangeRequest& request, Revision at) const {
  RangeResult result{.revision = at};
  const Map past = request.revision > 0 && request.revision < at ? state_at(request.revision) : Map();
  const Map& state = request.revision > 0 && request.revision < at ? past : now_;
  for (const auto& [key, kv] : state) {
    if (!request.keys.contains(key)) continue;
    ++result.count;
    if (request.count_only) continue;
    if (request.limit > 0 && result.count > request.limit) {
      result.more = true;
      continue;
    }
    result.kvs.push_back(kv);
    if (request.keys_only) result.kvs.back().value.clear();
  }
  return result;
}

void FakeStore::apply(const PutRequest& request, Revision at) {
  KeyValue& kv = now_[request.key];
  if (kv.version == 0) kv.create_revision = at;
  kv.key = request.key;
  kv.value = request.value;
  kv.mod_revision = at;
  kv.lease = request.lease;
  ++kv.version;
  log_.push_back({Event::Type::put, kv});
}

std::int64_t FakeStore::apply(const EraseRequest& request, Revision at) {
  return static_cast<std::int64_t>(std::erase_if(now_, [&](const auto& entry) {
    if (!request.keys.contains(entry.first)) return false;
    log_.push_back({Event::Type::erase, {.key = entry.first, .mod_revision = at}});
    return true;
  }));
}

FakeStore::Map FakeStore::state_at(Revision revision) const {
  Map state = base_;
  for (const auto& event : log_)
    if (event.kv.mod_revision > compacted_ && event.kv.mod_revision <= revision) replay(state, event);
  return state;
}

}  // namespace weft::etcd
