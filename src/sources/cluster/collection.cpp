#include "sources/cluster/collection.h"

#include <set>
#include <utility>

namespace weft::cluster {

using etcd::Compare;
using etcd::EraseRequest;
using etcd::Keys;

template <class Kind>
void Collection::judge_by_node(const std::vector<etcd::KeyValue>& kvs, etcd::Scheduler::Time now, Cleanup& cleanup) {
  for (const auto& kv : kvs) {
    const auto key = keys_.parse_as<Kind>(kv.key);
    if (key)
      judge(kv, key->node, std::nullopt, now, cleanup);
    else
      cleanup.problems.push_back(key.error());
  }
}

Cleanup Collection::look(const Picture& picture, etcd::Scheduler::Time now) {
  Cleanup cleanup;
  seen_.clear();
  alive_.clear();
  for (const auto& kv : picture.alive) {
    const auto key = keys_.parse_as<AliveKey>(kv.key);
    const auto run = decode_incarnation(kv.key, kv.value);
    if (!key || !run) cleanup.problems.push_back(key ? run.error() : key.error());
    if (key) alive_[key->node] = {run ? std::optional(run->boot_id) : std::nullopt, kv.mod_revision};
  }
  kept_.clear();
  for (const auto& kv : picture.nodes)
    if (const auto key = keys_.parse_as<NodeKey>(kv.key))
      if (const auto record = decode_node(kv.key, kv.value); !record || record->keep) kept_.insert(key->node);
  judge_by_node<NodeKey>(picture.nodes, now, cleanup);
  // Those of an earlier run are replaced by the one that is alive; nobody takes them for its own (endpoint_table.h).
  judge_by_node<EndpointsKey>(picture.endpoints, now, cleanup);
  judge_by_node<EnforcementKey>(picture.enforcement, now, cleanup);
  for (const auto& kv : picture.blocks) {
    const auto owner = decode_incarnation(kv.key, kv.value);
    if (owner)
      judge(kv, owner->node, owner->boot_id, now, cleanup);
    else
      cleanup.problems.push_back(owner.error());
  }
  for (const auto& kv : picture.users) {
    const auto key = keys_.parse_as<UsersKey>(kv.key);
    const auto users = decode_users(kv.key, kv.value);
    if (key && users)
      judge(kv, key->node, users->boot_id, now, cleanup);
    else
      cleanup.problems.push_back(key ? users.error() : key.error());
  }
  absent_ = std::exchange(seen_, {});
  look_at_identities(picture, cleanup);
  return cleanup;
}

void Collection::judge(const etcd::KeyValue& kv, const std::string& node, const std::optional<std::string>& boot_id,
                       etcd::Scheduler::Time now, Cleanup& cleanup) {
  const auto alive = alive_.find(node);
  // Who is alive and cannot be read may be the one.
  if (alive != alive_.end() && (!boot_id || !alive->second.boot_id || *alive->second.boot_id == *boot_id)) return;
  // It may be running, cut off from etcd: nobody but itself, or who deletes its record, ends what it has.
  if (alive == alive_.end() && kept_.contains(node)) return;
  const auto before = absent_.find(kv.key);
  const bool same = before != absent_.end() && before->second.revision == kv.mod_revision;
  const Absent absent{kv.mod_revision, same ? before->second.since : now};
  seen_[kv.key] = absent;
  if (now - absent.since < delay_) return;
  const auto alive_key = keys_.build(AliveKey{node});
  cleanup.leftovers.push_back(
      {.compare = {Compare::unchanged_since(kv.key, kv.mod_revision),
                   alive == alive_.end() ? Compare::absent(alive_key)
                                         : Compare::unchanged_since(alive_key, alive->second.revision)},
       .then = {EraseRequest{Keys::one(kv.key)}},
       .otherwise = {}});
}

void Collection::look_at_identities(const Picture& picture, Cleanup& cleanup) const {
  std::set<IdentityNumber> used;
  bool all_known = true;
  for (const auto& kv : picture.users) {
    const auto users = decode_users(kv.key, kv.value);
    // A list that cannot be read may name any number.
    if (!users) all_known = false;
    if (users) used.insert(users->numbers.begin(), users->numbers.end());
  }
  std::map<IdentityNumber, const etcd::KeyValue*> marks;
  for (const auto& kv : picture.marks) {
    const auto key = keys_.parse_as<MarkKey>(kv.key);
    if (key)
      marks[key->number] = &kv;
    else
      cleanup.problems.push_back(key.error());
  }
  for (const auto& kv : picture.identities) {
    const auto key = keys_.parse_as<IdentityKey>(kv.key);
    if (!key) {
      cleanup.problems.push_back(key.error());
      continue;
    }
    const auto mark = marks.extract(key->number);
    if (!all_known) continue;
    if (used.contains(key->number)) {
      if (mark) cleanup.unmark.push_back(mark.mapped()->key);
    } else if (!mark) {
      cleanup.mark.push_back(keys_.build(MarkKey{key->number}));
    } else {
      cleanup.identities[key->number] = {Compare::unchanged_since(kv.key, kv.mod_revision),
                                         Compare::unchanged_since(mark.mapped()->key, mark.mapped()->mod_revision)};
    }
  }
  for (const auto& [number, mark] : marks) cleanup.unmark.push_back(mark->key);
}

}  // namespace weft::cluster
