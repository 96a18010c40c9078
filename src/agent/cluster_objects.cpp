#include "agent/cluster_objects.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "agent/address_pools.h"
#include "agent/object_names.h"
#include "agent/refusals.h"
#include "base/utc_text.h"
#include "control/services/assignment_text.h"

namespace weft::agent {
namespace {

using cluster::WriteResult;

// A watch that is being opened anew is no absence.
constexpr auto silence = std::chrono::seconds(2);
// Meeting another node's change each time is as unlikely as many nodes are busy.
constexpr int most_tries = 20;
constexpr auto founding_pause = std::chrono::milliseconds(200);

std::string name_of(const cluster::ObjectKey& key) {
  return fmt::format("{} {}{}{}", key.kind, key.namespace_, key.namespace_.empty() ? "" : "/", key.name);
}

cluster::ObjectKey shared_key(const store::StoredKey& key) {
  return {std::string(model::to_string(key.kind)), key.key.namespace_, key.key.name};
}

// What others refer to comes first; so a part of it is never without what it needs.
int rank(model::Kind kind) {
  switch (kind) {
    case model::Kind::namespace_:
      return 0;
    case model::Kind::load_balancer_pool:
    case model::Kind::pod_address_pool:
      return 1;
    case model::Kind::l2_announcement:
    case model::Kind::bgp_peering:
    case model::Kind::egress_gateway:
      return 2;
    case model::Kind::network_policy:
      return 3;
    case model::Kind::service:
      return 4;
    case model::Kind::endpoint_slice:
      return 5;
    case model::Kind::deployment:
      return 6;
    case model::Kind::pod:
      break;
  }
  return 7;
}

bool gives(model::Kind kind) { return kind == model::Kind::service || kind == model::Kind::load_balancer_pool; }

// Empty: it holds nothing.
std::string text_of(const control::ServiceAssignment& assignment) {
  return assignment.empty() ? std::string() : control::assignment_to_text(assignment);
}

std::string_view to_string(cluster::SharedObjects::State state) {
  switch (state) {
    case cluster::SharedObjects::State::unheard:
      return "unheard";
    case cluster::SharedObjects::State::unfounded:
      return "unfounded";
    case cluster::SharedObjects::State::following:
      break;
  }
  return "following";
}

}  // namespace

ClusterObjects::ClusterObjects(Parts parts, Handlers handlers)
    : parts_(std::move(parts)), handlers_(std::move(handlers)), intake_(parts_.publisher, handlers_.intake) {
  shared_ = std::make_unique<cluster::SharedObjects>(
      parts_.context, parts_.node,
      cluster::SharedObjectsHandlers{
          .changed = [this](const cluster::SharedDifference& difference) { take(difference); },
          .state = [this] { state_changed(); },
          .trouble = [this](const Error& error) { handlers_.note(error.text()); }});
}

void ClusterObjects::state_changed() {
  if (connected_ != shared_->connected()) {
    connected_ = shared_->connected();
    since_ = std::chrono::system_clock::now();
  }
}

std::optional<Error> ClusterObjects::unavailable() const {
  if (!shared_->connected() && shared_->silent_for() > silence) {
    const auto since = std::chrono::system_clock::now() - shared_->silent_for();
    return Error{ErrorCode::unavailable,
                 fmt::format("etcd ({}) has not been heard of since {}: {}; nothing was changed", parts_.etcd,
                             utc_text(since), shared_->problem() ? shared_->problem()->message : "no answer yet"),
                 "traffic goes on as it is; try again when weft status says that it is connected"};
  }
  if (owed_)
    return Error{ErrorCode::unavailable, "this node has not taken what the cluster has: " + intake_.fault(),
                 "weft status says what is wrong; nothing was changed"};
  return {};
}

std::string ClusterObjects::unfounded() const {
  if (shared_->state() != cluster::SharedObjects::State::unfounded) return {};
  std::size_t own = 0;
  for (const auto kind : all_kinds)
    if (const auto keys = parts_.objects.keys(kind)) own += keys->size();
  if (own == 0) return {};
  // An earlier run may have followed them.
  const auto what = shared_->lost()
                        ? "no longer knows the cluster's objects: its data was lost, or replaced by other data"
                        : "has no objects of the cluster: nobody has pushed any yet, or its data was lost";
  return fmt::format(
      "etcd ({}) {}; the {} objects that this node has stay in force, changes are refused, nodes get no blocks "
      "of pools of addresses other than {} and those they have blocks of (weft store push gives etcd what this node "
      "has, weft store push --none lets it "
      "go)",
      parts_.etcd, what, own, model::default_address_pool);
}

nlohmann::json ClusterObjects::status_json() const {
  const auto& problem = shared_->problem();
  return {{"state", shared_->lost() ? "lost" : to_string(shared_->state())},
          {"connected", shared_->connected()},
          {"since", utc_text(since_)},
          {"problem", shared_->connected() || !problem ? std::string() : problem->message},
          {"revision", shared_->revision()},
          {"objects", shared_->objects()},
          {"owed", intake_.fault()}};
}

void ClusterObjects::catch_up(const model::ObjectKey& pod, std::function<void()> done) {
  shared_->catch_up({{std::string(model::to_string(model::Kind::pod)), pod.namespace_, pod.name},
                     {std::string(model::to_string(model::Kind::namespace_)), "", pod.namespace_}},
                    [done = std::move(done)](bool /*whole*/) { done(); });
}

// --- Changes that are asked for here ------------------------------------------------------------

void ClusterObjects::apply(std::vector<model::Document> documents, std::vector<model::Problem> problems,
                           bool all_or_nothing, Done<Applied> done) {
  submit({.kind = Job::Kind::apply,
          .documents = std::move(documents),
          .problems = std::move(problems),
          .all_or_nothing = all_or_nothing,
          .applied = std::move(done)});
}

void ClusterObjects::remove(std::vector<store::StoredKey> keys, Done<void> done) {
  submit({.kind = Job::Kind::remove, .keys = std::move(keys), .removed = std::move(done)});
}

void ClusterObjects::push(bool none, Done<std::size_t> done) {
  submit({.kind = Job::Kind::push, .none = none, .pushed = std::move(done)});
}

void ClusterObjects::submit(Job job) {
  jobs_.push_back(std::move(job));
  start_ = parts_.context.scheduler.after(std::chrono::milliseconds(0), [this] { start(); });
}

void ClusterObjects::start() {
  if (working_ || jobs_.empty()) return;
  working_ = true;
  attempt();
}

bool ClusterObjects::known() const {
  return shared_->state() != cluster::SharedObjects::State::unheard || parts_.objects.any().value_or(false);
}

void ClusterObjects::attempt() {
  auto& job = jobs_.front();
  if (auto why = unavailable()) return finish(why);
  if (++job.tries > most_tries)
    return finish(Error{ErrorCode::unavailable,
                        fmt::format("other nodes changed the cluster's objects each of {} times", most_tries),
                        "try again"});
  job.founds = shared_->state() == cluster::SharedObjects::State::unfounded;
  job.writes.clear();
  bool changes_assignments = false;
  Result<void> planned;
  if (job.kind == Job::Kind::push) {
    planned = plan_push(job);
  } else {
    if (job.founds) {
      const auto own = parts_.objects.any();
      if (!own) return finish(own.error());
      if (*own)
        return finish(Error{ErrorCode::unavailable,
                            shared_->lost() ? "the cluster's objects are no longer in etcd, this node still has them"
                                            : "the cluster has no objects yet, but this node has some of its own",
                            "weft store push makes them the cluster's, weft store push --none lets them go"});
    }
    planned =
        job.kind == Job::Kind::apply ? plan_apply(job, changes_assignments) : plan_remove(job, changes_assignments);
  }
  if (!planned) return finish(planned.error());
  if (job.result.refused || (job.writes.empty() && job.kind != Job::Kind::push)) return finish({});
  const auto done = [this](const WriteResult& result) { answered(result); };
  job.founds || job.kind == Job::Kind::push ? shared_->found(job.writes, done)
                                            : shared_->write(job.writes, changes_assignments, done);
}

// What it would be here and now, without anything being so afterwards: it is when it comes back.
Result<void> ClusterObjects::plan_apply(Job& job, bool& changes_assignments) {
  auto& publisher = parts_.publisher;
  auto& [refused, documents, actions, problems] = job.result;
  documents = job.documents;
  problems = job.problems;
  actions.clear();
  const auto before = publisher.held(documents);
  std::ranges::move(take_refused(documents, publisher.admit(documents)), std::back_inserter(problems));
  std::map<model::ObjectKey, control::ServiceAssignment> held;
  for (const auto& [service, assignment] : before.services) held.emplace(service, publisher.services().held(service));
  publisher.give_back(before);
  refused = !problems.empty() && job.all_or_nothing;
  if (refused) return {};
  std::vector<std::pair<model::Kind, cluster::SharedWrite>> writes;
  for (const auto& document : documents) {
    WEFT_TRY(auto planned, parts_.objects.plan(document));
    const auto& key = planned.key;
    cluster::SharedWrite write{.key = shared_key(key)};
    if (key.kind == model::Kind::service && held.at(key.key) != before.services.at(key.key))
      write.assignment = text_of(held.at(key.key));
    const auto earlier = job.tried.find(key);
    // What an earlier try wrote is what this call did.
    const bool ours = earlier != job.tried.end() && planned.action == Objects::Action::unchanged && planned.known &&
                      planned.known->json == earlier->second.json;
    // What etcd has may be another thing than what this node has.
    if (planned.action == Objects::Action::unchanged && misunderstood_.contains(name_of(write.key)))
      planned.action = Objects::Action::configured;
    actions.push_back(ours ? earlier->second.action : planned.action);
    const bool same = planned.action == Objects::Action::unchanged;
    if (same && !write.assignment) continue;
    if (gives(key.kind)) changes_assignments = true;
    write.assignment_only = same;
    if (!same) {
      write.text = planned.json;
      if (const auto* pool = std::get_if<model::PodAddressPool>(&document.object)) write.pool = shared_pool(*pool);
      job.tried.insert_or_assign(key, planned);
    }
    writes.emplace_back(key.kind, std::move(write));
  }
  std::ranges::stable_sort(writes, {}, [](const auto& write) { return rank(write.first); });
  for (auto& [kind, write] : writes) job.writes.push_back(std::move(write));
  return {};
}

Result<void> ClusterObjects::plan_remove(Job& job, bool& changes_assignments) const {
  WEFT_CHECK(parts_.publisher.may_remove(job.keys));
  auto keys = job.keys;
  std::ranges::stable_sort(keys, {}, [](const auto& key) { return -rank(key.kind); });
  for (const auto& key : keys) {
    if (!shared_->contains(shared_key(key))) continue;
    auto& write = job.writes.emplace_back(cluster::SharedWrite{.key = shared_key(key)});
    if (key.kind == model::Kind::service) write.assignment = "";
    if (key.kind == model::Kind::pod_address_pool) write.pool = cluster::Pool{.name = key.key.name, .ranges = {}};
    if (gives(key.kind)) changes_assignments = true;
  }
  return {};
}

Result<void> ClusterObjects::plan_push(Job& job) const {
  if (job.none) return {};
  auto kinds = all_kinds;
  std::ranges::sort(kinds, {}, rank);
  for (const auto kind : kinds) {
    WEFT_TRY(const auto keys, parts_.objects.keys(kind));
    for (const auto& key : keys) {
      WEFT_TRY(auto row, parts_.objects.read(key));
      if (!row) continue;
      auto& write = job.writes.emplace_back(cluster::SharedWrite{.key = shared_key(key), .text = std::move(row->json)});
      if (const auto pools = parts_.objects.address_pools().find(key.key);
          kind == model::Kind::pod_address_pool && pools != parts_.objects.address_pools().end())
        write.pool = shared_pool(pools->second);
      if (kind != model::Kind::service) continue;
      if (auto text = text_of(parts_.publisher.services().held(key.key)); !text.empty())
        write.assignment = std::move(text);
    }
  }
  return {};
}

void ClusterObjects::answered(const WriteResult& result) {
  auto& job = jobs_.front();
  if (result.end == WriteResult::End::done) {
    return finish(not_taken(job));
  }
  for (std::size_t i = 0; i < result.applied; ++i) job.written.push_back(name_of(job.writes[i].key));
  if (result.end == WriteResult::End::conflict) return attempt();
  // Another node was first with the cluster's first objects: these come after them.
  if (job.founds && job.kind != Job::Kind::push && result.error && result.error->code == ErrorCode::exists) {
    retry_ = parts_.context.scheduler.after(founding_pause, [this] { attempt(); });
    return;
  }
  finish(failure(job, result));
}

// Why this node does not do what was asked for. That it has no room for somebody else's is not told here.
std::optional<Error> ClusterObjects::not_taken(const Job& job) const {
  auto why = owed_ || intake_.owes() ? intake_.fault() : std::string();
  const auto left_out = parts_.publisher.services().left_out();
  for (const auto& one : left_out) {
    const auto key = shared_key({model::Kind::service, one.owner});
    const auto asks = [&](const cluster::SharedWrite& write) { return write.text && write.key == key; };
    if (why.empty() && !one.is_pod && std::ranges::any_of(job.writes, asks)) why = one.error.text();
  }
  if (why.empty()) return {};
  return Error{ErrorCode::exhausted, "the cluster has it, but this node cannot take it: " + why,
               "other nodes may have taken it; weft status says when this one has"};
}

// Says what of it is in etcd, as far as that is known.
Error ClusterObjects::failure(const Job& job, const WriteResult& result) const {
  auto error = result.error.value_or(Error{ErrorCode::internal, "etcd", {}});
  std::vector<std::string> unsure;
  for (std::size_t i = 0; i < result.unsure && result.applied + i < job.writes.size(); ++i)
    unsure.push_back(name_of(job.writes[result.applied + i].key));
  const auto* word = job.kind == Job::Kind::remove ? "deleted" : "applied";
  if (!job.written.empty()) error.message += fmt::format("; {}: {}", word, fmt::join(job.written, ", "));
  if (!unsure.empty()) error.message += fmt::format("; may be {}: {}", word, fmt::join(unsure, ", "));
  if (job.written.empty() && unsure.empty())
    error.message += fmt::format("; nothing was {}", word);
  else if (job.kind != Job::Kind::push)
    error.hint = "run the same command again: it does what is left, and leaves alone what is done";
  return error;
}

void ClusterObjects::finish(const std::optional<Error>& error) {
  auto job = std::move(jobs_.front());
  jobs_.pop_front();
  working_ = false;
  if (!jobs_.empty()) start_ = parts_.context.scheduler.after(std::chrono::milliseconds(0), [this] { start(); });
  if (job.applied) error ? job.applied(fail(*error)) : job.applied(std::move(job.result));
  if (job.removed) error ? job.removed(fail(*error)) : job.removed({});
  if (job.pushed) error ? job.pushed(fail(*error)) : job.pushed(job.writes.size());
}

// --- What the cluster says ----------------------------------------------------------------------

void ClusterObjects::take(const cluster::SharedDifference& difference) {
  if (difference.whole || !owed_) owed_ = Owed{.whole = difference.whole};
  for (const auto& [key, text] : difference.objects) owed_->objects.insert_or_assign(key, text);
  for (const auto& key : difference.gone) owed_->objects.insert_or_assign(key, std::nullopt);
  for (const auto& [key, text] : difference.assignments) owed_->assignments.insert_or_assign(key, text);
  for (const auto& key : difference.assignments_gone) owed_->assignments.insert_or_assign(key, std::nullopt);
  settle();
  serve();
  // Another program serves those that wait; why they do is found out here all the same.
  if (!handlers_.serves() && !owed_) (void)parts_.publisher.services().plan_pending();
}

// What makes no sense is told, and what it stands for left as it is.
void ClusterObjects::read_objects(Publisher::Brought& brought) {
  std::set<store::StoredKey> there;
  for (const auto& [key, text] : owed_->objects) {
    const auto what = name_of(key);
    misunderstood_.erase(what);
    const auto wrong = [&](const std::string& why) { misunderstood_[what] = {key.namespace_, why}; };
    const auto kind = model::parse_kind(key.kind);
    if (!kind || model::to_string(*kind) != key.kind) {
      if (text) wrong("this version of Weft knows no such kind");
      continue;
    }
    const store::StoredKey stored{*kind, {key.namespace_, key.name}};
    there.insert(stored);
    if (!text) {
      brought.gone.push_back(stored);
      continue;
    }
    auto object = model::object_from_json(*text);
    if (!object)
      wrong(object.error().message);
    else if (key_of(*object) != stored)
      wrong(fmt::format("its text is that of {}", name_of(key_of(*object))));
    else
      brought.objects.push_back({std::move(*object), *text});
  }
  if (!owed_->whole) return;
  for (const auto kind : all_kinds)
    if (const auto keys = parts_.objects.keys(kind))
      for (const auto& key : *keys)
        if (!there.contains(key)) brought.gone.push_back(key);
}

void ClusterObjects::read_assignments(Publisher::Brought& brought) {
  std::set<model::ObjectKey> there;
  for (const auto& [key, text] : owed_->assignments) {
    const model::ObjectKey service{key.namespace_, key.name};
    there.insert(service);
    const auto what = fmt::format("what Service {} holds", service.to_string());
    misunderstood_.erase(what);
    auto assignment = text ? control::assignment_from_text(*text) : Result<control::ServiceAssignment>();
    if (assignment)
      brought.assignments.emplace(service, std::move(*assignment));
    else
      misunderstood_[what] = {key.namespace_, assignment.error().message};
  }
  if (!owed_->whole) return;
  for (const auto& [service, held] : parts_.publisher.services().assignments())
    if (!there.contains(service)) brought.assignments.emplace(service, control::ServiceAssignment());
}

void ClusterObjects::tell_misunderstood() {
  handlers_.misunderstood(misunderstood_faults(
      misunderstood_, "in etcd",
      "apply it again (weft apply), or delete it there; a later version of Weft may have written it: update this one"));
}

void ClusterObjects::settle() {
  Publisher::Brought brought;
  if (owed_->whole) misunderstood_.clear();
  read_objects(brought);
  read_assignments(brought);
  tell_misunderstood();
  for (const auto& [key, text] : owed_->objects)
    if (key.kind == model::to_string(model::Kind::load_balancer_pool)) pools_changed_ = true;
  if (owed_->whole) pools_changed_ = true;
  if (!intake_.take(brought)) return;
  const auto is_policy = [](const auto& object) {
    return object.first.kind == model::to_string(model::Kind::network_policy);
  };
  if (owed_->whole || std::ranges::any_of(owed_->objects, is_policy))
    policies_seen_ = static_cast<std::uint64_t>(shared_->revision());
  owed_.reset();
}

std::uint64_t ClusterObjects::revision_of(const store::StoredKey& key) const {
  return static_cast<std::uint64_t>(shared_->revision_of(shared_key(key)));
}

// A new pool, or an address given back, may serve those that wait. One program does it for all.
void ClusterObjects::serve() {
  auto& services = parts_.publisher.services();
  if (serving_ || unavailable() || shared_->state() != cluster::SharedObjects::State::following) return;
  if (!handlers_.serves() || (!pools_changed_ && services.pending().empty())) return;
  // All are looked at, those that have addresses, too.
  if (pools_changed_)
    for (const auto& [key, pool] : parts_.objects.pools()) services.upsert(pool);
  std::vector<cluster::SharedWrite> writes;
  for (const auto& [service, assignment] : services.plan_pending()) {
    const auto key = shared_key({model::Kind::service, service});
    if (shared_->contains(key))
      writes.push_back({.key = key, .assignment = text_of(assignment), .assignment_only = true});
  }
  pools_changed_ = false;
  if (writes.empty()) return;
  serving_ = true;
  shared_->write(std::move(writes), true, [this](const WriteResult& result) {
    serving_ = false;
    if (result.end != WriteResult::End::done) pools_changed_ = true;
  });
}

void ClusterObjects::check() {
  owed_ ? settle() : intake_.check();
  serve();
}

}  // namespace weft::agent
