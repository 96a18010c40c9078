#include "sources/cluster/collector.h"

#include <algorithm>
#include <utility>

namespace weft::cluster {

using etcd::EraseRequest;
using etcd::Keys;
using etcd::PutRequest;
using etcd::RangeRequest;
using etcd::RangeResult;
using etcd::TxnResult;

namespace {

// etcd takes 128 operations in a transaction.
constexpr std::size_t most_marks = 100;
// Of the key that a look writes.
constexpr const char* collecting = "collecting";

}  // namespace

std::chrono::milliseconds collector_interval(std::chrono::seconds delay) {
  return std::clamp(std::chrono::milliseconds(delay) / 4, std::chrono::milliseconds(1000),
                    std::chrono::milliseconds(60000));
}

Collector::Collector(Context context, const Role& role, std::chrono::milliseconds interval, Trouble trouble,
                     std::function<void(const std::string& node)> removed)
    : context_(std::move(context)),
      role_(&role),
      interval_(interval),
      trouble_(std::move(trouble)),
      removed_(std::move(removed)),
      collection_(context_.keys, context_.delay),
      turns_(context_.scheduler, context_.backoff, context_.random, [this] { return step(); }) {}

void Collector::role_changed() {
  collection_.forget();
  writes_.clear();
  identities_.clear();
  due_ = false;
  timer_.cancel();
  if (role_->holds()) arm();
}

void Collector::arm() {
  timer_ = context_.scheduler.after(interval_, [this] {
    due_ = true;
    turns_.wake();
  });
}

bool Collector::step() {
  if (!role_->holds()) return false;
  if (!writes_.empty()) {
    auto txn = std::move(writes_.front());
    writes_.pop_front();
    write(std::move(txn));
  } else if (!identities_.empty()) {
    auto next = identities_.extract(identities_.begin());
    erase_identity(next.key(), std::move(next.mapped()));
  } else if (std::exchange(due_, false)) {
    look();
  } else {
    return false;
  }
  return true;
}

void Collector::look() {
  const auto& keys = context_.keys;
  context_.client.txn(
      {.compare = {*role_->holds()},
       .then = {RangeRequest{.keys = Keys::prefix(keys.alive())}, RangeRequest{.keys = Keys::prefix(keys.nodes())},
                RangeRequest{.keys = Keys::prefix(keys.blocks())}, RangeRequest{.keys = Keys::prefix(keys.users())},
                RangeRequest{.keys = Keys::prefix(keys.endpoints()), .keys_only = true},
                RangeRequest{.keys = Keys::prefix(keys.identities()), .keys_only = true},
                RangeRequest{.keys = Keys::prefix(keys.marks()), .keys_only = true},
                RangeRequest{.keys = Keys::prefix(keys.enforcement()), .keys_only = true},
                // An etcd without space takes what is erased, but no lease of a node that wants to come back, nor its
                // keys: while nobody can write, nobody is collected.
                PutRequest{.key = keys.build(RoleKey{collecting}), .value = "{}"}},
       .otherwise = {}},
      {}, turns_.guarded([this](const etcd::Outcome<TxnResult>& outcome) {
        if (role_->holds()) arm();
        if (!outcome) return failed(outcome.error());
        if (outcome->succeeded && role_->holds()) looked(*outcome);
        turns_.next();
      }));
}

void Collector::looked(const TxnResult& result) {
  const auto part = [&](std::size_t i) { return std::get<RangeResult>(result.results.at(i)).kvs; };
  auto cleanup = collection_.look({.alive = part(0),
                                   .nodes = part(1),
                                   .blocks = part(2),
                                   .users = part(3),
                                   .endpoints = part(4),
                                   .enforcement = part(7),
                                   .identities = part(5),
                                   .marks = part(6)},
                                  context_.scheduler.now());
  ++collected_.rounds;
  for (const auto& problem : cleanup.problems)
    if (trouble_) trouble_(problem);
  for (auto& txn : cleanup.leftovers) writes_.push_back(std::move(txn));
  plan_marks(cleanup.unmark, false);
  plan_marks(cleanup.mark, true);
  identities_ = std::move(cleanup.identities);
}

void Collector::plan_marks(const std::vector<std::string>& keys, bool write) {
  for (std::size_t i = 0; i < keys.size(); ++i) {
    if (i % most_marks == 0) writes_.emplace_back();
    auto& operations = writes_.back().then;
    if (write)
      operations.emplace_back(PutRequest{.key = keys[i], .value = encode_mark()});
    else
      operations.emplace_back(EraseRequest{Keys::one(keys[i])});
  }
}

void Collector::erase_identity(IdentityNumber number, std::vector<etcd::Compare> compare) {
  const auto key = context_.keys.build(IdentityKey{number});
  context_.client.range(
      {.keys = Keys::one(key)}, {},
      turns_.guarded([this, number, key, compare = std::move(compare)](const etcd::Outcome<RangeResult>& outcome) {
        if (!outcome) return failed(outcome.error());
        if (outcome->kvs.empty()) return turns_.next();
        etcd::Txn txn{
            .compare = compare,
            .then = {EraseRequest{Keys::one(key)}, EraseRequest{Keys::one(context_.keys.build(MarkKey{number}))}},
            .otherwise = {}};
        // Labels that cannot be read have no key that leads to them.
        if (const auto labels = decode_labels(key, outcome->kvs.front().value); labels)
          txn.then.emplace_back(EraseRequest{Keys::one(context_.keys.build(LabelsKey{*labels}))});
        else if (trouble_)
          trouble_(labels.error());
        if (role_->holds()) return write(std::move(txn));
        turns_.next();
      }));
}

// What does not hold any more is left for the next round.
void Collector::write(etcd::Txn txn) {
  txn.compare.push_back(*role_->holds());
  context_.client.txn(txn, {}, turns_.guarded([this, txn](const etcd::Outcome<etcd::TxnResult>& outcome) {
    if (!outcome) return failed(outcome.error());
    if (outcome->succeeded) count(txn);
    turns_.next();
  }));
}

void Collector::count(const etcd::Txn& txn) {
  for (const auto& operation : txn.then) {
    const auto* erase = std::get_if<EraseRequest>(&operation);
    const auto key = erase == nullptr ? fail(ErrorCode::invalid, "no key") : context_.keys.parse(erase->keys.key);
    if (!key) continue;
    const auto* node = std::get_if<NodeKey>(&*key);
    collected_.nodes += node == nullptr ? 0 : 1;
    if (node != nullptr && removed_) removed_(node->node);
    collected_.endpoints += std::holds_alternative<EndpointsKey>(*key) ? 1 : 0;
    collected_.blocks += std::holds_alternative<BlockKey>(*key) ? 1 : 0;
    collected_.users += std::holds_alternative<UsersKey>(*key) ? 1 : 0;
    collected_.identities += std::holds_alternative<IdentityKey>(*key) ? 1 : 0;
  }
}

void Collector::failed(const etcd::Failure& why) {
  turns_.retry(why);
  if (trouble_) trouble_(why.to_error());
}

}  // namespace weft::cluster
