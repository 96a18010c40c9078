// What writes: single keys, and transactions as plan.h has them.
#include <algorithm>
#include <utility>

#include "sources/crd_store/failures.h"
#include "sources/crd_store/kubernetes_store.h"

namespace weft::crd {

using etcd::EraseRequest;
using etcd::EraseResult;
using etcd::OpResult;
using etcd::PutRequest;
using etcd::PutResult;
using etcd::Revision;
using etcd::TxnResult;
using kubernetes::Reason;

namespace {

// So often a write that depends on nothing but what it finds is tried again.
constexpr int most_tries = 8;

// Somebody else has changed the object since it was read.
bool is_lost(Reason reason) {
  return reason == Reason::conflict || reason == Reason::exists || reason == Reason::not_found;
}

}  // namespace

// A transaction under way.
struct KubernetesStore::Run {
  etcd::Txn txn;
  Plan plan;
  Deadline deadline{};
  std::vector<OpResult> results;
  // What stood in a step's place before it, of those that had to be read; by index of the step.
  std::map<std::size_t, std::optional<Stored>> before;
  std::vector<Written> written;  // and still to be so while the rest is done
  std::map<etcd::LeaseId, std::string> lease_uids;
  bool began = false;  // something has been written
};

namespace {

etcd::Failure has_ended(etcd::LeaseId lease, bool unsure) {
  return {.reason = etcd::Reason::lease_not_found,
          .message = lease_name(lease) + " has ended",
          .unsure = unsure,
          .store = "Kubernetes",
          .hint = {}};
}

// What is undone may have been seen, and what was written before a failure stays.
etcd::Failure half_done(etcd::Failure failure, bool began) {
  failure.unsure = failure.unsure || began;
  return failure;
}

}  // namespace

Task<etcd::Outcome<bool>> KubernetesStore::check_one(const Check& check, Deadline deadline) {
  if (check.folder) {
    const auto& prefix = check.folder->prefix;
    etcd::RangeRequest all{.keys = etcd::Keys::prefix(prefix), .count_only = true};
    Task<Outcome<etcd::RangeResult>> reading = read(std::move(all), deadline);
    const auto result = co_await reading;
    if (!result) co_return std::unexpected(result.error());
    co_return result->count == 0;
  }
  etcd::RangeRequest one{.keys = etcd::Keys::one(codec_.places().key(check.place->rest))};
  Task<Outcome<etcd::RangeResult>> reading = read(std::move(one), deadline);
  const auto result = co_await reading;
  if (!result) co_return std::unexpected(result.error());
  const auto* kv = result->kvs.empty() ? nullptr : &result->kvs.front();
  co_return std::ranges::all_of(check.comparisons, [kv](const auto& compare) { return holds(compare, kv); });
}

Task<etcd::Outcome<bool>> KubernetesStore::check(const std::vector<Check>& checks, Deadline deadline) {
  for (const auto& each : checks) {
    Task<Outcome<bool>> checking = check_one(each, deadline);
    auto holds_now = co_await checking;
    if (!holds_now || !*holds_now) co_return std::move(holds_now);
  }
  co_return true;
}

// What is decided by more than a revision is read before anything is compared, and so is what is written after
// something else.
Task<etcd::Outcome<bool>> KubernetesStore::prepare(Run& run) {
  for (std::size_t i = 0; i < run.plan.steps.size(); ++i) {
    const auto& step = run.plan.steps[i];
    const bool is_mark = step.kind == Step::Kind::mark || step.kind == Step::Kind::unmark;
    const bool named = step.place.resource == Resource::identities && step.kind == Step::Kind::put;
    const bool undone = run.plan.check_again && step.expected != 0;
    if (is_mark ? step.comparisons.empty() : step.expected && !named && !undone) continue;
    Task<Outcome<std::optional<Stored>>> asking = get(step.place, run.deadline);
    auto found = co_await asking;
    if (!found) co_return std::unexpected(std::move(found.error()));
    const auto* kv = *found ? &(*found)->kv : nullptr;
    const bool as_wanted = std::ranges::all_of(step.comparisons, [kv](const auto& c) { return holds(c, kv); }) &&
                           (!step.expected || *step.expected == (kv == nullptr ? 0 : kv->mod_revision));
    if (!as_wanted) co_return false;
    run.before[i] = std::move(*found);
  }
  // Looked for before as well: what is taken back has been seen by others.
  for (const auto& step : run.plan.steps) {
    if (step.lease == 0 || run.lease_uids.contains(step.lease)) continue;
    Task<Outcome<std::optional<std::string>>> asking = lease_uid(step.lease, run.deadline);
    auto uid = co_await asking;
    if (!uid) co_return std::unexpected(std::move(uid.error()));
    if (!*uid) co_return std::unexpected(has_ended(step.lease, false));
    run.lease_uids.emplace(step.lease, std::move(**uid));
  }
  Task<Outcome<bool>> checking = check(run.plan.checks, run.deadline);
  co_return co_await checking;
}

Task<etcd::Outcome<std::optional<std::string>>> KubernetesStore::lease_uid(etcd::LeaseId id, Deadline deadline) {
  kubernetes::Request request{.target = leases() + "/" + lease_name(id)};
  Task<kubernetes::Outcome<std::string>> sending = calls_.send(std::move(request), deadline);
  const auto answer = co_await sending;
  if (!answer) {
    if (answer.error().reason == Reason::not_found) co_return std::optional<std::string>();
    co_return std::unexpected(to_etcd(answer.error()));
  }
  kubernetes::Decoder decoder;
  std::string padded = *answer;
  padded.append(kubernetes::json_padding, '\0');
  const auto object = decoder.object(std::string_view(padded).substr(0, answer->size()));
  co_return std::optional<std::string>(object ? std::string(object->meta.uid) : std::string());
}

// Ends with what was written under a session that had ended taken back.
Task<etcd::Outcome<bool>> KubernetesStore::holds_lease(Run& run, etcd::LeaseId lease) {
  Task<Outcome<std::optional<std::string>>> asking = lease_uid(lease, run.deadline);
  const auto uid = co_await asking;
  if (uid && *uid) co_return true;
  if (!uid) co_return std::unexpected(half_done(uid.error(), true));
  bool undone = true;
  for (const auto& written : run.written) {
    if (written.lease != lease) continue;
    Task<Outcome<bool>> undoing = take_back(run, written);
    const auto back = co_await undoing;
    undone = undone && back;
  }
  co_return std::unexpected(has_ended(lease, !undone));
}

// One step on condition of its revision, and what it depends on looked at again where that is not its own.
Task<etcd::Outcome<bool>> KubernetesStore::write(Run& run, Step& step) {
  const auto index = static_cast<std::size_t>(&step - run.plan.steps.data());
  Revision expected = step.expected.value_or(0);
  if (const auto read_it = run.before.find(index); read_it != run.before.end())
    expected = read_it->second ? read_it->second->kv.mod_revision : 0;
  if (expected < 0) co_return false;
  if (step.kind == Step::Kind::erase) {
    EraseResult result{.revision = expected + 1, .erased = 1};
    bool erased = false;
    if (expected != 0) {
      Task<kubernetes::Outcome<bool>> erasing =
          calls_.erase(step.place.resource, step.place.name, expected, run.deadline);
      const auto done = co_await erasing;
      if (!done && !is_lost(done.error().reason))
        co_return std::unexpected(half_done(to_etcd(done.error()), run.began));
      erased = done && *done;
    }
    if (!erased && step.expected.value_or(0) != 0) co_return false;
    if (!erased) result = {};
    run.results[step.index] = result;
    run.began = run.began || erased;
    co_return erased || expected == 0;
  }
  Writing writing{.lease = step.lease, .lease_uid = {}, .revision = expected, .nonce = random_()};
  if (step.lease != 0) writing.lease_uid = run.lease_uids.at(step.lease);
  const auto object = codec_.encode(step.place, step.value, writing);
  if (!object)
    co_return std::unexpected(etcd::Failure{.reason = etcd::Reason::invalid,
                                            .message = object.error().message,
                                            .unsure = run.began,
                                            .store = "Kubernetes"});
  Task<Wrote> putting = expected == 0 ? calls_.create(step.place.resource, *object, run.deadline)
                                      : calls_.replace(step.place.resource, step.place.name, *object, run.deadline);
  const auto wrote = co_await putting;
  if (!wrote) {
    // What is not found when it is made is its namespace, or its kind.
    const bool missing = wrote.error().reason == Reason::not_found && (expected == 0 || is_no_resource(wrote.error()));
    if (is_lost(wrote.error().reason) && !missing) co_return false;
    co_return std::unexpected(half_done(to_etcd(wrote.error()), run.began));
  }
  run.began = true;
  run.results[step.index] = PutResult{wrote->kv.mod_revision};
  run.written.push_back({.step = index, .revision = wrote->kv.mod_revision, .lease = step.lease});
  co_return true;
}

// What has no comparison of its own is written over whatever there is, as long as all else holds.
Task<etcd::Outcome<bool>> KubernetesStore::write_again(Run& run, Step& step) {
  const auto index = static_cast<std::size_t>(&step - run.plan.steps.data());
  const bool decided = step.expected.has_value();
  for (int i = 0; i < most_tries; ++i) {
    if (i > 0) {
      Task<Outcome<std::optional<Stored>>> asking = get(step.place, run.deadline);
      auto found = co_await asking;
      if (!found) co_return std::unexpected(half_done(std::move(found.error()), run.began));
      const auto* kv = *found ? &(*found)->kv : nullptr;
      if (!std::ranges::all_of(step.comparisons, [kv](const auto& compare) { return holds(compare, kv); }))
        co_return false;
      run.before[index] = std::move(*found);
      Task<Outcome<bool>> checking = check(run.plan.checks, run.deadline);
      auto still = co_await checking;
      if (!still || !*still) co_return std::move(still);
      for (const auto& written : run.written) {
        Task<Outcome<std::optional<Stored>>> looking = get(run.plan.steps[written.step].place, run.deadline);
        const auto now = co_await looking;
        if (!now) co_return std::unexpected(half_done(now.error(), run.began));
        if (!*now || (*now)->kv.mod_revision != written.revision) co_return false;
      }
    }
    Task<Outcome<bool>> writing = write(run, step);
    auto wrote = co_await writing;
    if (!wrote || *wrote || decided) co_return std::move(wrote);
  }
  co_return std::unexpected(half_done({.reason = etcd::Reason::unavailable,
                                       .message = step.place.rest + " was changed by others each time it was written",
                                       .store = "Kubernetes"},
                                      run.began));
}

Task<etcd::Outcome<bool>> KubernetesStore::mark(Run& run, Step& step) {
  const bool marked = step.kind == Step::Kind::mark;
  for (int i = 0; i < most_tries; ++i) {
    Task<Outcome<std::optional<Stored>>> asking = get(step.place, run.deadline);
    const auto found = co_await asking;
    if (!found) co_return std::unexpected(half_done(found.error(), run.began));
    // There is nothing to mark, or it is as it is to be.
    if (!*found || (*found)->marked == marked) {
      if (marked) run.results[step.index] = PutResult{*found ? (*found)->kv.mod_revision : 0};
      co_return true;
    }
    auto place = step.place;
    place.rest = (*found)->kv.key.substr(codec_.places().key("").size());
    const Writing writing{.lease_uid = {}, .marked = marked, .revision = (*found)->kv.mod_revision, .nonce = random_()};
    const auto object = codec_.encode(place, (*found)->kv.value, writing);
    // One that nobody can read is not marked, and so never collected.
    if (!object) {
      trouble(object.error());
      co_return true;
    }
    Task<Wrote> putting = calls_.replace(place.resource, place.name, *object, run.deadline);
    const auto wrote = co_await putting;
    if (wrote) {
      run.began = true;
      if (marked)
        run.results[step.index] = PutResult{wrote->kv.mod_revision};
      else
        run.results[step.index] = EraseResult{.revision = wrote->kv.mod_revision, .erased = 1};
      co_return true;
    }
    if (!is_lost(wrote.error().reason)) co_return std::unexpected(half_done(to_etcd(wrote.error()), run.began));
  }
  co_return std::unexpected(half_done({.reason = etcd::Reason::unavailable,
                                       .message = step.place.rest + " was changed by others each time it was marked",
                                       .store = "Kubernetes"},
                                      run.began));
}

// Of a number that is being used: it must be the identity it was when it was compared, marked or not.
Task<etcd::Outcome<bool>> KubernetesStore::unmark(Run& run, Step& step) {
  Task<Outcome<std::optional<Stored>>> asking = get(step.place, run.deadline);
  const auto found = co_await asking;
  if (!found) co_return std::unexpected(half_done(found.error(), run.began));
  if (!*found) co_return false;
  const auto& known = run.before.at(static_cast<std::size_t>(&step - run.plan.steps.data()));
  if (!known || known->uid != (*found)->uid) co_return false;
  if (!(*found)->marked) co_return true;
  auto place = step.place;
  place.rest = (*found)->kv.key.substr(codec_.places().key("").size());
  const Writing writing{.lease_uid = {}, .revision = (*found)->kv.mod_revision, .nonce = random_()};
  const auto object = codec_.encode(place, (*found)->kv.value, writing);
  if (!object) co_return false;
  Task<Wrote> putting = calls_.replace(place.resource, place.name, *object, run.deadline);
  const auto wrote = co_await putting;
  if (!wrote && is_lost(wrote.error().reason)) co_return false;
  if (!wrote) co_return std::unexpected(half_done(to_etcd(wrote.error()), run.began));
  run.results[step.index] = EraseResult{.revision = wrote->kv.mod_revision, .erased = 1};
  co_return true;
}

Task<etcd::Outcome<bool>> KubernetesStore::carry_out(Run& run, Step& step) {
  if (step.kind == Step::Kind::unmark && !step.comparisons.empty()) {
    Task<Outcome<bool>> unmarking = unmark(run, step);
    co_return co_await unmarking;
  }
  if (step.kind == Step::Kind::mark || step.kind == Step::Kind::unmark) {
    Task<Outcome<bool>> marking = mark(run, step);
    co_return co_await marking;
  }
  Task<Outcome<bool>> writing = write_again(run, step);
  co_return co_await writing;
}

// The object is as it was before the step. It has its own time, whatever the transaction took.
Task<etcd::Outcome<bool>> KubernetesStore::take_back(Run& run, Written written) {
  const auto& step = run.plan.steps[written.step];
  const auto revision = written.revision;
  const auto deadline = std::max(run.deadline, scheduler_->now() + options_.timeout);
  const auto before = run.before.find(written.step);
  // A claim goes with its session, whatever stood in its place.
  const bool restore = step.lease == 0 && before != run.before.end() && before->second;
  for (int i = 0; i < most_tries; ++i) {
    kubernetes::Outcome<bool> done;
    if (restore) {
      const Writing writing{.lease_uid = {}, .revision = revision, .nonce = random_()};
      const auto object = codec_.encode(step.place, before->second->kv.value, writing);
      if (!object) co_return false;
      Task<Wrote> putting = calls_.replace(step.place.resource, step.place.name, *object, deadline);
      const auto wrote = co_await putting;
      done = wrote ? kubernetes::Outcome<bool>(true) : kubernetes::Outcome<bool>(std::unexpected(wrote.error()));
    } else {
      Task<kubernetes::Outcome<bool>> erasing = calls_.erase(step.place.resource, step.place.name, revision, deadline);
      done = co_await erasing;
    }
    if (done || is_lost(done.error().reason)) co_return true;
    if (!done.error().transient() || scheduler_->now() >= deadline)
      co_return std::unexpected(half_done(to_etcd(done.error()), true));
  }
  co_return std::unexpected(half_done({.reason = etcd::Reason::unavailable,
                                       .message = step.place.rest + " could not be taken back",
                                       .store = "Kubernetes"},
                                      true));
}

// Whether no other identity had these labels when ours was made.
Task<etcd::Outcome<bool>> KubernetesStore::is_first(Run& run, const Step& step) {
  const auto labels = std::ranges::find_if(
      run.plan.checks, [](const Check& check) { return check.place && check.place->labels_digest; });
  Task<Outcome<std::vector<Stored>>> asking = named(*labels->place, run.deadline);
  const auto all = co_await asking;
  if (!all) co_return std::unexpected(half_done(all.error(), true));
  const auto ours = run.written.back().revision;
  const auto own = codec_.places().key(step.place.rest);
  co_return std::ranges::none_of(
      *all, [&](const Stored& other) { return other.kv.key != own && other.kv.mod_revision < ours; });
}

Task<etcd::Outcome<bool>> KubernetesStore::after(Run& run) {
  auto& last = run.plan.steps.back();
  if (run.plan.names_labels) {
    Task<Outcome<bool>> looking = is_first(run, last);
    auto first = co_await looking;
    if (!first || *first) co_return std::move(first);
  } else if (run.plan.check_again) {
    Task<Outcome<bool>> checking = check(run.plan.checks, run.deadline);
    auto still = co_await checking;
    if (!still) co_return std::unexpected(half_done(std::move(still.error()), true));
    if (*still) co_return true;
  } else {
    co_return true;
  }
  Task<Outcome<bool>> undoing = take_back(run, run.written.back());
  const auto undone = co_await undoing;
  if (!undone) co_return std::unexpected(undone.error());
  co_return false;
}

Task<etcd::Outcome<TxnResult>> KubernetesStore::answer(Run& run, bool succeeded) {
  TxnResult result{.succeeded = succeeded};
  const auto& branch = succeeded ? run.txn.then : run.txn.otherwise;
  Task<Outcome<std::vector<OpResult>>> looking = look(branch, run.deadline);
  auto results = co_await looking;
  if (!results) co_return std::unexpected(half_done(std::move(results.error()), run.began));
  for (std::size_t i = 0; succeeded && i < branch.size(); ++i)
    if (!std::holds_alternative<etcd::RangeRequest>(branch[i])) (*results)[i] = std::move(run.results[i]);
  result.results = std::move(*results);
  for (const auto& one : result.results)
    result.revision = std::max(result.revision, std::visit([](const auto& each) { return each.revision; }, one));
  co_return std::move(result);
}

Task<etcd::Outcome<TxnResult>> KubernetesStore::transact(etcd::Txn txn, Deadline deadline) {
  Run run{.txn = std::move(txn), .deadline = deadline};
  auto planned = plan(codec_.places(), run.txn);
  if (!planned)
    co_return std::unexpected(etcd::Failure{
        .reason = etcd::Reason::invalid, .message = planned.error().message, .store = "Kubernetes", .hint = {}});
  run.plan = std::move(*planned);
  for (const auto& op : run.txn.then) {
    if (std::holds_alternative<PutRequest>(op))
      run.results.emplace_back(PutResult{});
    else if (std::holds_alternative<EraseRequest>(op))
      run.results.emplace_back(EraseResult{});
    else
      run.results.emplace_back(etcd::RangeResult{});
  }
  Task<Outcome<bool>> preparing = prepare(run);
  auto good = co_await preparing;
  auto& steps = run.plan.steps;
  for (std::size_t i = 0; good && *good && i < steps.size(); ++i) {
    Task<Outcome<bool>> doing = carry_out(run, steps[i]);
    good = co_await doing;
    // Once for all that a session writes one after the other, also where one of them fails.
    const auto lease = steps[i].lease;
    const bool more = good && *good && i + 1 < steps.size() && steps[i + 1].lease == lease;
    const bool wrote = std::ranges::any_of(run.written, [lease](const auto& each) { return each.lease == lease; });
    if (lease == 0 || more || !wrote || !good) continue;
    Task<Outcome<bool>> checking = holds_lease(run, lease);
    const auto held = co_await checking;
    if (!held) good = held;
  }
  if (good && *good && !run.plan.steps.empty()) {
    Task<Outcome<bool>> ending = after(run);
    good = co_await ending;
  }
  if (!good) co_return std::unexpected(std::move(good.error()));
  Task<Outcome<TxnResult>> answering = answer(run, *good);
  co_return co_await answering;
}

Task<etcd::Outcome<PutResult>> KubernetesStore::put_one(PutRequest request, Deadline deadline) {
  Run run{.txn = {}, .deadline = deadline};
  auto place = codec_.places().of(request.key);
  const bool is_object = place && !place->mark && !place->labels_digest;
  if (!is_object)
    co_return std::unexpected(
        etcd::Failure{.reason = etcd::Reason::invalid,
                      .message = place ? request.key + ": it is not written by itself" : place.error().message,
                      .store = "Kubernetes"});
  Step step{.place = std::move(*place), .value = std::move(request.value), .lease = request.lease};
  run.plan.steps.push_back(std::move(step));
  run.results.emplace_back(PutResult{});
  Task<Outcome<bool>> preparing = prepare(run);
  const auto prepared = co_await preparing;
  if (!prepared) co_return std::unexpected(prepared.error());
  Task<Outcome<bool>> writing = write_again(run, run.plan.steps.front());
  auto wrote = co_await writing;
  const auto lease = run.plan.steps.front().lease;
  if (wrote && lease != 0) {
    Task<Outcome<bool>> checking = holds_lease(run, lease);
    wrote = co_await checking;
  }
  if (!wrote) co_return std::unexpected(wrote.error());
  co_return std::get<PutResult>(run.results.front());
}

Task<etcd::Outcome<EraseResult>> KubernetesStore::erase_one(EraseRequest request, Deadline deadline) {
  auto place = codec_.places().of(request.keys.key);
  const bool is_object = place && !place->mark && !place->labels_digest && request.keys.end.empty();
  if (!is_object)
    co_return std::unexpected(
        etcd::Failure{.reason = etcd::Reason::invalid,
                      .message = place ? request.keys.text() + ": it is not erased by itself" : place.error().message,
                      .store = "Kubernetes"});
  Task<kubernetes::Outcome<bool>> erasing = calls_.erase(place->resource, place->name, 0, deadline);
  const auto erased = co_await erasing;
  if (!erased) co_return std::unexpected(to_etcd(erased.error()));
  co_return EraseResult{.revision = 0, .erased = *erased ? 1 : 0};
}

}  // namespace weft::crd
