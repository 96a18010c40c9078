#include "sources/cluster/shared_objects.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "sources/cluster/pool_writer.h"
#include "sources/cluster/values.h"

namespace weft::cluster {

using etcd::Compare;
using etcd::EraseRequest;
using etcd::Keys;
using etcd::PutRequest;
using etcd::RangeRequest;
using etcd::TxnResult;

namespace {

// etcd takes 128 operations, and as many comparisons, and 1.5 MiB. A part leaves room for what goes with its objects.
constexpr std::size_t most_operations = 120;
constexpr std::size_t part_bytes = 1000000;
constexpr std::size_t largest_write = 1400000;
// Others change pools rarely.
constexpr int most_pool_tries = 20;
// For the mirror to show what a request said.
constexpr auto patience = std::chrono::seconds(30);
// Who waits can go on with what is known.
constexpr auto catching_up = std::chrono::seconds(5);

std::string name_of(const ObjectKey& key) {
  return fmt::format("{} {}{}{}", key.kind, key.namespace_, key.namespace_.empty() ? "" : "/", key.name);
}

std::size_t bytes_of(const SharedWrite& write) {
  constexpr std::size_t around = 400;  // both keys, their comparisons and reads, and what frames them
  return around + 4 * (write.key.namespace_.size() + write.key.name.size()) + write.text.value_or("").size() +
         write.assignment.value_or("").size();
}

Result<void> check(const std::vector<SharedWrite>& writes) {
  for (const auto& write : writes) {
    WEFT_CHECK(check_name("kind", write.key.kind));
    if (!write.key.namespace_.empty()) WEFT_CHECK(check_name("namespace", write.key.namespace_));
    WEFT_CHECK(check_name(write.key.kind, write.key.name));
    if (bytes_of(write) > largest_write)
      return fail(ErrorCode::invalid, fmt::format("{} takes {} bytes in etcd; {} are the most", name_of(write.key),
                                                  bytes_of(write), largest_write));
  }
  return {};
}

Error lost_error() {
  return {ErrorCode::unavailable, "the cluster's objects are no longer in etcd",
          "weft status says what this node still has; weft store push brings it back"};
}

}  // namespace

SharedObjects::SharedObjects(Context context, std::string node, SharedObjectsHandlers handlers)
    : context_(std::move(context)),
      node_(std::move(node)),
      handlers_(std::move(handlers)),
      epoch_key_(context_.keys.build(AssignmentsEpochKey{})),
      founding_key_(context_.keys.build(FoundingKey{})),
      pools_key_(context_.keys.build(PoolsKey{})) {
  open();
}

// --- The mirror ---------------------------------------------------------------------------------

void SharedObjects::open() {
  opened_ = context_.scheduler.now();
  fresh_ = true;
  auto options = context_.mirror(context_.keys.state());
  options.page = 200;
  options.values = false;  // whoever follows keeps them
  mirror_ = std::make_unique<etcd::Mirror>(
      context_.client, context_.scheduler, context_.random, std::move(options),
      etcd::MirrorHandlers{.changed = [this](const etcd::Change& change) { mirror_changed(change); },
                           .state = [this] { mirror_state(); }});
}

std::chrono::milliseconds SharedObjects::silent_for() const {
  if (mirror_->synced()) return mirror_->silent_for();
  return std::chrono::duration_cast<std::chrono::milliseconds>(context_.scheduler.now() - opened_);
}

std::size_t SharedObjects::objects() const {
  const auto prefix = context_.keys.objects();
  std::size_t count = 0;
  for (auto at = mirror_->view().lower_bound(prefix); at != mirror_->view().end() && at->first.starts_with(prefix);
       ++at)
    ++count;
  return count;
}

etcd::Revision SharedObjects::revision_of(const std::string& key) const {
  const auto found = mirror_->view().find(key);
  return found == mirror_->view().end() ? 0 : found->second.mod_revision;
}

void SharedObjects::mirror_changed(const etcd::Change& change) {
  const bool first = std::exchange(fresh_, false);
  restarting_ = restarting_ && !first;
  const bool founded = revision_of(epoch_key_) != 0;
  if (!founded) {
    state_ = State::unfounded;
  } else if (state_ == State::following || first) {
    state_ = State::following;
    followed_ = true;
    tell(change, first);
  } else {
    // Values that came before the founding were not kept: all is listed anew.
    return restart();
  }
  check_waiting();
  check_followers();
  if (handlers_.state && !founded) handlers_.state();
}

void SharedObjects::mirror_state() {
  if (fresh_ && mirror_->synced()) {
    fresh_ = false;
    restarting_ = false;
    state_ = State::unfounded;
  }
  check_waiting();
  check_followers();
  if (handlers_.state) handlers_.state();
}

void SharedObjects::restart() {
  restarting_ = true;
  context_.scheduler.post(guarded([this] { open(); }));
}

void SharedObjects::tell(const etcd::Change& change, bool whole) {
  SharedDifference difference{.revision = change.revision, .whole = whole};
  for (const auto& kv : change.erased) {
    const auto key = context_.keys.parse(kv.key);
    if (!key) continue;
    if (const auto* object = std::get_if<ObjectKey>(&*key)) difference.gone.push_back(*object);
    if (const auto* assignment = std::get_if<AssignmentKey>(&*key)) difference.assignments_gone.push_back(*assignment);
  }
  for (const auto& kv : change.set) {
    const auto key = context_.keys.parse(kv.key);
    if (!key) {
      if (handlers_.trouble) handlers_.trouble(key.error());
      continue;
    }
    if (const auto* object = std::get_if<ObjectKey>(&*key)) difference.objects.emplace(*object, kv.value);
    if (const auto* assignment = std::get_if<AssignmentKey>(&*key))
      difference.assignments.emplace(*assignment, kv.value);
  }
  if (handlers_.changed) handlers_.changed(difference);
}

void SharedObjects::catch_up(const std::vector<ObjectKey>& keys, std::function<void(bool whole)> done) {
  if (!connected() && !restarting_) return done(false);
  etcd::Txn txn;
  for (const auto& key : keys)
    txn.then.emplace_back(etcd::RangeRequest{.keys = etcd::Keys::one(context_.keys.build(key)), .keys_only = true});
  const auto number = ++last_follower_;
  followers_.emplace(
      number, Follower{.done = std::move(done),
                       .patience = context_.scheduler.after(catching_up, [this, number] { let_go(number, false); })});
  context_.client.txn(std::move(txn), {}, guarded([this, number](const etcd::Outcome<TxnResult>& outcome) {
                        const auto follower = followers_.find(number);
                        if (follower == followers_.end()) return;
                        if (!outcome) return let_go(number, false);
                        follower->second.revision = 1;
                        for (const auto& result : outcome->results)
                          for (const auto& kv : std::get<etcd::RangeResult>(result).kvs)
                            follower->second.revision = std::max(follower->second.revision, kv.mod_revision);
                        check_followers();
                      }));
}

void SharedObjects::check_followers() {
  if (restarting_) return;
  std::vector<std::uint64_t> there;
  for (const auto& [number, follower] : followers_)
    if (follower.revision != 0 && follower.revision <= mirror_->revision()) there.push_back(number);
  for (const auto number : there) let_go(number, true);
}

void SharedObjects::let_go(std::uint64_t follower, bool whole) {
  auto node = followers_.extract(follower);
  if (node) node.mapped().done(whole);
}

// --- Writing ------------------------------------------------------------------------------------

void SharedObjects::write(std::vector<SharedWrite> writes, bool gives, Done done) {
  Job job{.writes = std::move(writes), .gives = gives, .done = std::move(done)};
  for (const auto& write : job.writes) {
    auto key = context_.keys.build(write.key);
    const auto revision = revision_of(key);
    job.seen.emplace(std::move(key), revision);
  }
  job.expected = revision_of(epoch_key_);
  submit(std::move(job));
}

void SharedObjects::found(std::vector<SharedWrite> writes, Done done) {
  submit({.writes = std::move(writes), .gives = true, .founds = true, .done = std::move(done)});
}

void SharedObjects::submit(Job job) {
  jobs_.push_back(std::move(job));
  context_.scheduler.post(guarded([this] { start(); }));
}

void SharedObjects::start() {
  if (working_ || jobs_.empty()) return;
  working_ = true;
  const auto& job = jobs_.front();
  if (const auto good = check(job.writes); !good) return finish(WriteResult::End::failed, good.error());
  if (state_ == State::unheard)
    return finish(WriteResult::End::failed, Error{ErrorCode::unavailable, "etcd has not answered yet", {}});
  if (!job.founds && state_ == State::unfounded)
    return finish(WriteResult::End::failed,
                  lost() ? lost_error() : Error{ErrorCode::unavailable, "the cluster has no objects yet", {}});
  if (job.founds && state_ == State::following)
    return finish(WriteResult::End::failed, Error{ErrorCode::exists, "the cluster has objects already", {}});
  next_part();
}

// What was left by another founding goes; whoever begins one later ends this.
etcd::Txn SharedObjects::make_beginning() const {
  return {.compare = {Compare::absent(epoch_key_)},
          .then = {EraseRequest{Keys::prefix(context_.keys.objects())},
                   EraseRequest{Keys::prefix(context_.keys.assignments())},
                   PutRequest{.key = founding_key_, .value = encode(Incarnation{node_, ""})}},
          .otherwise = {}};
}

etcd::RangeRequest SharedObjects::Conflict::look() const {
  constexpr std::int64_t some = 3;
  if (!pool.empty()) return {.keys = Keys::prefix(key), .limit = some};
  return {.keys = Keys::one(key), .keys_only = true};
}

Result<void> SharedObjects::add_pool(Part& part, const Pool& pool) const {
  WEFT_TRY(auto change, change_pool(context_.keys, std::move(part.pools), pool));
  if (change.unused) {
    part.compared.push_back({.key = change.unused->key, .pool = pool.name});
    part.txn.compare.push_back(std::move(*change.unused));
  }
  part.pools = std::move(change.pools);
  return {};
}

Result<SharedObjects::Part> SharedObjects::make_part() const {
  const auto& job = jobs_.front();
  Part part;
  if (job.pools) part.pools = job.pools->pools;
  auto& [compare, then, otherwise] = part.txn;
  const auto compare_with = [&](Compare one) {
    const auto revision = one.target == Compare::Target::mod_revision ? one.number : revision_of(one.key);
    part.compared.push_back({.key = one.key, .compared = revision, .pool = {}});
    compare.push_back(std::move(one));
  };
  std::size_t bytes = 0;
  for (auto i = job.applied; i < job.writes.size(); ++i) {
    const auto& write = job.writes[i];
    bytes += bytes_of(write);
    const auto operations = std::max(then.size(), compare.size());
    if (i > job.applied && (operations + 2 > most_operations || bytes > part_bytes)) break;
    const auto key = context_.keys.build(write.key);
    if (!job.founds) compare_with(Compare::unchanged_since(key, job.seen.at(key)));
    if (write.pool) WEFT_CHECK(add_pool(part, *write.pool));
    if (!write.assignment_only) {
      if (write.text)
        then.emplace_back(PutRequest{.key = key, .value = *write.text});
      else
        then.emplace_back(EraseRequest{Keys::one(key)});
    }
    if (write.assignment) {
      auto held = context_.keys.build(AssignmentKey{write.key.namespace_, write.key.name});
      if (write.assignment->empty())
        then.emplace_back(EraseRequest{Keys::one(std::move(held))});
      else
        then.emplace_back(PutRequest{.key = std::move(held), .value = *write.assignment});
    }
    ++part.writes;
  }
  if (job.pools) {
    compare_with(Compare::unchanged_since(pools_key_, job.pools->revision));
    if (part.pools != job.pools->pools) then.emplace_back(PutRequest{.key = pools_key_, .value = encode(part.pools)});
  }
  const auto epoch = PutRequest{.key = epoch_key_, .value = encode(Incarnation{node_, ""})};
  if (job.founds) {
    compare_with(Compare::unchanged_since(founding_key_, job.expected));
    if (job.applied + part.writes == job.writes.size()) {
      then.emplace_back(EraseRequest{Keys::one(founding_key_)});
      then.emplace_back(epoch);
    }
  } else if (job.gives) {
    compare_with(Compare::unchanged_since(epoch_key_, job.expected));
    then.emplace_back(epoch);
  } else {
    compare_with({.key = epoch_key_, .target = Compare::Target::version, .is = Compare::Is::greater});
  }
  for (const auto& one : part.compared) otherwise.emplace_back(one.look());
  return part;
}

void SharedObjects::read_pools() {
  context_.client.range({.keys = Keys::one(pools_key_)}, {},
                        guarded([this](const etcd::Outcome<etcd::RangeResult>& outcome) {
                          if (!outcome) return finish(WriteResult::End::failed, outcome.error().to_error());
                          auto& known = jobs_.front().pools.emplace(KnownPools{{}, 0});
                          if (!outcome->kvs.empty()) {
                            known.revision = outcome->kvs.front().mod_revision;
                            auto pools = decode_pools(pools_key_, outcome->kvs.front().value);
                            if (!pools) return finish(WriteResult::End::failed, pools.error());
                            known.pools = std::move(*pools);
                          }
                          next_part();
                        }));
}

void SharedObjects::next_part() {
  auto& job = jobs_.front();
  if (job.founds && !job.begun) {
    context_.client.txn(
        make_beginning(), {}, guarded([this](const etcd::Outcome<TxnResult>& outcome) {
          auto& begun = jobs_.front();
          if (!outcome) return finish(WriteResult::End::failed, outcome.error().to_error());
          if (!outcome->succeeded)
            return finish(WriteResult::End::failed, Error{ErrorCode::exists, "the cluster has objects already", {}});
          begun.begun = true;
          begun.expected = outcome->revision;
          next_part();
        }));
    return;
  }
  if (job.applied == job.writes.size() && (job.revision != 0 || !job.founds)) {
    waiting_ = Wait::written;
    patience_ = context_.scheduler.after(patience, [this] {
      finish(WriteResult::End::failed,
             Error{ErrorCode::unavailable,
                   fmt::format("all of it is in etcd since revision {}, but this node has not heard of it in {} s",
                               jobs_.front().revision, patience.count()),
                   "it is applied here as soon as etcd is heard again"});
    });
    return check_waiting();
  }
  const auto is_pool = [](const auto& write) { return write.pool.has_value(); };
  if (!job.pools &&
      std::any_of(job.writes.begin() + static_cast<std::ptrdiff_t>(job.applied), job.writes.end(), is_pool))
    return read_pools();
  auto part = make_part();
  if (!part) return finish(WriteResult::End::failed, part.error());
  auto txn = std::exchange(part->txn, {});
  context_.client.txn(std::move(txn), {},
                      guarded([this, part = std::move(*part)](const etcd::Outcome<TxnResult>& outcome) {
                        part_answered(outcome, part);
                      }));
}

void SharedObjects::part_answered(const etcd::Outcome<TxnResult>& outcome, const Part& part) {
  auto& job = jobs_.front();
  if (!outcome) {
    if (outcome.error().unsure) return look_again(part.writes, part.compared, outcome.error());
    return finish(WriteResult::End::failed, outcome.error().to_error());
  }
  if (!outcome->succeeded) return conflicted(*outcome, part.compared);
  if (job.pools && part.pools != job.pools->pools) job.pools = KnownPools{part.pools, outcome->revision};
  job.applied += part.writes;
  job.revision = outcome->revision;
  if (job.gives && !job.founds) job.expected = outcome->revision;
  next_part();
}

// The answer was lost. What etcd has now says how far the view must get before it is decided again; should the request
// come later than that, what it compares has moved on or it does what is wanted.
void SharedObjects::look_again(std::size_t writes, std::vector<Conflict> compared, const etcd::Failure& why) {
  etcd::Txn txn;
  for (const auto& one : compared) txn.then.emplace_back(one.look());
  context_.client.txn(
      std::move(txn), {},
      guarded([this, writes, compared = std::move(compared), why](const etcd::Outcome<TxnResult>& outcome) {
        if (!outcome || jobs_.front().founds) return finish(WriteResult::End::failed, why.to_error(), writes);
        conflicted(*outcome, compared);
      }));
}

void SharedObjects::conflicted(const TxnResult& result, const std::vector<Conflict>& compared) {
  auto& job = jobs_.front();
  conflicts_.clear();
  std::optional<Error> used;
  bool pools_moved = false;
  for (std::size_t i = 0; i < compared.size(); ++i) {
    const auto& found = std::get<etcd::RangeResult>(result.results.at(i));
    const auto now = found.kvs.empty() ? 0 : found.kvs.front().mod_revision;
    // That others wrote the epoch is no conflict for who only needs it to be there.
    const bool needs_presence = compared[i].key == epoch_key_ && !job.gives;
    if (!compared[i].pool.empty()) {
      if (now != 0 && !used) used = pool_in_use(context_.keys, compared[i].pool, found);
    } else if (now != compared[i].compared && !(needs_presence && now != 0)) {
      if (compared[i].key == pools_key_)
        pools_moved = true;
      else
        conflicts_.push_back(compared[i]);
    }
  }
  // The mirror, which the others are waited for in, shows neither pools nor blocks.
  if (conflicts_.empty() && used) return finish(WriteResult::End::failed, used);
  if (conflicts_.empty() && pools_moved && ++job.pool_tries <= most_pool_tries) {
    job.pools.reset();
    return next_part();
  }
  if (job.founds)
    return finish(WriteResult::End::failed,
                  Error{ErrorCode::exists, "another node brings its objects to the cluster", {}});
  waiting_ = Wait::conflict;
  patience_ = context_.scheduler.after(patience, [this] {
    finish(WriteResult::End::failed,
           Error{ErrorCode::unavailable,
                 fmt::format("somebody else changed the cluster's objects, and this node has not heard of it in {} s",
                             patience.count()),
                 "try again"});
  });
  check_waiting();
}

void SharedObjects::check_waiting() {
  if (waiting_ == Wait::none) return;
  const auto& job = jobs_.front();
  if (state_ != State::following) {
    // A founding is seen a moment later.
    if (!job.founds) finish(WriteResult::End::failed, lost_error());
    return;
  }
  if (!mirror_->synced() || mirror_->revision() < job.revision) return;
  if (waiting_ == Wait::written) return finish(WriteResult::End::done);
  const bool caught_up = std::ranges::all_of(
      conflicts_, [this](const auto& conflict) { return revision_of(conflict.key) != conflict.compared; });
  if (caught_up) finish(WriteResult::End::conflict);
}

void SharedObjects::finish(WriteResult::End end, std::optional<Error> error, std::size_t unsure) {
  waiting_ = Wait::none;
  patience_.cancel();
  auto job = std::move(jobs_.front());
  jobs_.pop_front();
  working_ = false;
  const std::weak_ptr<bool> alive = alive_;
  job.done({.end = end, .applied = job.applied, .unsure = unsure, .error = std::move(error)});
  if (!alive.expired()) start();
}

}  // namespace weft::cluster
