#include "sources/cluster/node_registry.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

namespace weft::cluster {

using etcd::Compare;
using etcd::Keys;

namespace {

std::string addresses_of(const std::optional<NodeRecord>& record) {
  if (!record || record->underlay.empty()) return "an unknown address";
  std::vector<std::string> texts;
  for (const auto& address : record->underlay) texts.push_back(address.to_string());
  return fmt::format("{}", fmt::join(texts, ", "));
}

}  // namespace

NodeRegistry::NodeRegistry(Context context, Self self, etcd::SessionOptions session, RegistryHandlers handlers)
    : context_(std::move(context)),
      self_(std::move(self)),
      handlers_(std::move(handlers)),
      alive_key_(context_.keys.build(AliveKey{self_.name})),
      record_key_(context_.keys.build(NodeKey{self_.name})),
      turns_(context_.scheduler, context_.backoff, context_.random, [this] { return step(); }),
      records_(context_.client, context_.scheduler, context_.random,
               context_.mirror_of_nodes(context_.keys.nodes(), [](const etcd::KeyValue&) { return true; }),
               {.changed = [this](const etcd::Change& change) { records_changed(change); }, .state = {}}),
      alive_(context_.client, context_.scheduler, context_.random,
             context_.mirror_of_leased(context_.keys.alive(),
                                       [this](const etcd::KeyValue& kv) { return kv.key != alive_key_; }),
             {.changed = [this](const etcd::Change& change) { alive_changed(change); }, .state = {}}),
      session_(context_.client, context_.scheduler, context_.random, session,
               {.established =
                    [this](etcd::LeaseId lease) {
                      lease_ = lease;
                      turns_.wake();
                    },
                .lost =
                    [this](const etcd::Failure& why) {
                      lease_ = 0;
                      leave(why);
                    },
                .trouble = [this](const etcd::Failure& why) { trouble(why.to_error()); }}) {
  self_.record.boot_id = self_.boot_id;
  self_.record.reads_slices = true;
}

void NodeRegistry::update(NodeRecord record) {
  record.boot_id = self_.boot_id;
  record.reads_slices = true;
  if (self_.record == record) return;
  self_.underlay_before.insert(self_.record.underlay.begin(), self_.record.underlay.end());
  self_.record = std::move(record);
  record_written_ = false;
  turns_.wake();
}

bool NodeRegistry::all_read_slices() const {
  return std::ranges::none_of(nodes_, [](const auto& each) {
    const auto& [name, node] = each;
    return node.alive && node.record && !node.record->reads_slices;
  });
}

void NodeRegistry::close(etcd::Done<void> done) {
  closed_ = true;
  lease_ = 0;
  session_.close(std::move(done));
  leave({.reason = etcd::Reason::cancelled, .message = "this node was closed"});
}

bool NodeRegistry::step() {
  if (lease_ == 0 || closed_) return false;
  if (!membership_) return join();
  return !record_written_ && write_record();
}

bool NodeRegistry::join() {
  const auto unchanged = replaced_ == 0 ? Compare::absent(alive_key_) : Compare::unchanged_since(alive_key_, replaced_);
  record_written_ = true;  // unless it changes meanwhile
  own_leases_.insert(lease_);
  context_.client.txn(
      {.compare = {unchanged},
       .then = {etcd::PutRequest{.key = alive_key_, .value = encode(self_.incarnation()), .lease = lease_},
                etcd::PutRequest{.key = record_key_, .value = told_record()}},
       .otherwise = {etcd::RangeRequest{.keys = Keys::one(alive_key_)},
                     etcd::RangeRequest{.keys = Keys::one(record_key_)}}},
      {}, turns_.guarded([this, lease = lease_](const etcd::Outcome<etcd::TxnResult>& outcome) {
        join_answered(outcome, lease);
      }));
  return true;
}

void NodeRegistry::join_answered(const etcd::Outcome<etcd::TxnResult>& outcome, etcd::LeaseId lease) {
  if (!outcome) {
    turns_.retry(outcome.error());
    return trouble(outcome.error().to_error());
  }
  if (!outcome->succeeded) {
    const auto& kvs = std::get<etcd::RangeResult>(outcome->results.at(0)).kvs;
    replaced_ = 0;
    // What stood in the way has ended meanwhile.
    if (kvs.empty()) return turns_.next();
    const auto& records = std::get<etcd::RangeResult>(outcome->results.at(1)).kvs;
    auto record = records.empty() ? Result<NodeRecord>(fail(ErrorCode::not_found, "no record"))
                                  : decode_node(records.front().key, records.front().value);
    return met_other(kvs.front(), record ? std::optional(std::move(*record)) : std::nullopt);
  }
  replaced_ = 0;
  // A lease that was lost meanwhile takes the key with it.
  if (lease != lease_) return turns_.next();
  refused_for_.clear();
  joined_at_ = revision_of(*outcome, 0);
  told_at_ = revision_of(*outcome, 1);
  membership_ =
      Membership{.epoch = ++epoch_, .lease = lease, .holds = Compare::unchanged_since(alive_key_, joined_at_)};
  turns_.next();
  if (membership_ && handlers_.joined) handlers_.joined();
}

void NodeRegistry::met_other(const etcd::KeyValue& kv, const std::optional<NodeRecord>& record) {
  // No agent wrote a key that no lease keeps, and it would never go.
  if (kv.lease == 0) {
    replaced_ = kv.mod_revision;
    return turns_.next();
  }
  const auto other = decode_incarnation(kv.key, kv.value);
  if (!other) {
    turns_.retry();
    return trouble(other.error());
  }
  const auto known = record && record->boot_id == other->boot_id ? record : std::nullopt;
  if (other->boot_id == self_.boot_id ? is_run_before(kv, known)
                                      : !self_.predecessor.empty() && other->boot_id == self_.predecessor) {
    replaced_ = kv.mod_revision;
    return turns_.next();
  }
  turns_.retry();
  refuse(*other, known);
}

// Of the same boot id. Whoever wrote the key after this node had joined runs at the same time.
bool NodeRegistry::is_run_before(const etcd::KeyValue& kv, const std::optional<NodeRecord>& record) const {
  if (own_leases_.contains(kv.lease)) return true;
  if (joined_at_ != 0 && kv.mod_revision > joined_at_) return false;
  const auto& own = self_.record.underlay;
  const auto& before = self_.underlay_before;
  if (!record || record->underlay.empty() || (own.empty() && before.empty())) return true;
  return std::ranges::any_of(record->underlay, [&](const IpAddress& address) {
    return before.contains(address) || std::ranges::find(own, address) != own.end();
  });
}

void NodeRegistry::refuse(const Incarnation& other, const std::optional<NodeRecord>& record) {
  const auto at = addresses_of(record);
  const auto told = other.boot_id + " " + at;
  if (!handlers_.refused || std::exchange(refused_for_, told) == told) return;
  if (other.boot_id == self_.boot_id)
    return handlers_.refused(
        {ErrorCode::exists,
         fmt::format("node \"{}\" ({}) cannot join: another agent runs as node \"{}\" at {}, with the same boot id: "
                     "a container of the same machine, or a copy of it",
                     self_.name, addresses_of(self_.record), self_.name, at),
         fmt::format("give one of the two another name, or stop it; if it was this node by an earlier address, it has "
                     "its place once that run's lease is over, in {} s",
                     session_.ttl().count())});
  handlers_.refused(
      {ErrorCode::exists,
       fmt::format("node \"{}\" with boot id {} ({}) cannot join: one of this name with boot id {} ({}) is alive",
                   self_.name, self_.boot_id, addresses_of(self_.record), other.boot_id, at),
       "give one of the two another name, or stop it"});
}

std::string NodeRegistry::told_record() const {
  auto record = self_.record;
  record.written = self_.clock ? self_.clock() : 0;
  return encode(record);
}

bool NodeRegistry::write_record() {
  record_written_ = true;
  context_.client.txn({.compare = {membership_->holds},
                       .then = {etcd::PutRequest{.key = record_key_, .value = told_record()}},
                       .otherwise = {}},
                      {}, turns_.guarded([this](const etcd::Outcome<etcd::TxnResult>& outcome) {
                        // Whoever joins anew writes the record too.
                        if (outcome) {
                          if (outcome->succeeded) told_at_ = revision_of(*outcome, 0);
                          return turns_.next();
                        }
                        record_written_ = false;
                        turns_.retry(outcome.error());
                        trouble(outcome.error().to_error());
                      }));
  return true;
}

void NodeRegistry::leave(const etcd::Failure& why) {
  if (!membership_) return;
  membership_.reset();
  // The lease was kept alive at most its own time before, so nobody can have missed this node before that.
  // Who has told to be kept is never found to be gone.
  trusted_until_ =
      self_.record.keep ? etcd::Scheduler::Time::max() : context_.scheduler.now() - session_.ttl() + context_.delay;
  if (handlers_.left) handlers_.left(why);
}

// Somebody deleted or replaced our key although its lease stands.
void NodeRegistry::alive_changed(const etcd::Change& change) {
  const auto found = alive_.view().find(alive_key_);
  const bool ours = found != alive_.view().end() && found->second.mod_revision <= joined_at_;
  const bool older = change.revision < joined_at_;
  if (membership_ && !ours && !older)
    leave({.reason = etcd::Reason::internal, .message = fmt::format("{} was deleted or replaced", alive_key_)});
  turns_.wake();
  refresh(change);
}

// Our record that somebody erased, or wrote over with what nobody can read, is written again.
void NodeRegistry::records_changed(const etcd::Change& change) {
  const auto kv = records_.view().find(record_key_);
  if (membership_ && record_written_ && change.revision > told_at_ &&
      (kv == records_.view().end() || !decode_node(kv->first, kv->second.value))) {
    record_written_ = false;
    turns_.wake();
  }
  refresh(change);
}

// A record that cannot be read, or is gone while its node is alive, leaves the one before it: the node is as it was.
Node NodeRegistry::read(const std::string& name) {
  Node node;
  const auto known = nodes_.find(name);
  const auto before = known == nodes_.end() ? std::nullopt : known->second.record;
  if (const auto kv = alive_.view().find(context_.keys.build(AliveKey{name})); kv != alive_.view().end()) {
    auto run = decode_incarnation(kv->first, kv->second.value);
    if (run)
      node.alive = std::move(run->boot_id);
    else
      trouble(run.error());
  }
  const auto key = context_.keys.build(NodeKey{name});
  if (const auto kv = records_.view().find(key); kv != records_.view().end()) {
    auto record = decode_node(kv->first, kv->second.value);
    node.record = record ? std::optional(std::move(*record)) : before;
    if (!record) node.wrong = record.error().message;
  } else if (node.alive && before) {
    node.record = before;
    node.wrong = fmt::format("key {} was deleted", etcd::printable(key));
  }
  return node;
}

void NodeRegistry::refresh(const etcd::Change& change) {
  std::set<std::string> touched;
  for (const auto* kvs : {&change.set, &change.erased})
    for (const auto& kv : *kvs) {
      const auto key = context_.keys.parse(kv.key);
      if (!key)
        trouble(key.error());
      else if (const auto* node = std::get_if<NodeKey>(&*key))
        touched.insert(node->node);
      else if (const auto* alive = std::get_if<AliveKey>(&*key))
        touched.insert(alive->node);
    }
  NodeDifference difference;
  for (const auto& name : touched) {
    auto node = read(name);
    if (!node.wrong.empty()) trouble({ErrorCode::invalid, node.wrong, {}});
    if (node == Node{}) {
      if (nodes_.erase(name) != 0) difference.gone.push_back(name);
    } else if (const auto known = nodes_.find(name); known == nodes_.end() || known->second != node) {
      difference.set.emplace(name, node);
      nodes_.insert_or_assign(name, std::move(node));
    }
  }
  if (handlers_.changed && !(difference.set.empty() && difference.gone.empty())) handlers_.changed(difference);
}

void NodeRegistry::trouble(const Error& error) {
  if (handlers_.trouble) handlers_.trouble(error);
}

}  // namespace weft::cluster
