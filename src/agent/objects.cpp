#include "agent/objects.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "agent/object_names.h"
#include "agent/uid.h"
#include "model/expand.h"

namespace weft::agent {
namespace {

std::string not_understood(const store::StoredKey& key, const Error& error) {
  return fmt::format("{}: {}", Objects::problem_of(key), error.message);
}

// Kept as values; of the others only what the listener makes of them remains.
constexpr std::array kept_kinds{model::Kind::namespace_,         model::Kind::pod,
                                model::Kind::deployment,         model::Kind::network_policy,
                                model::Kind::load_balancer_pool, model::Kind::l2_announcement,
                                model::Kind::bgp_peering,        model::Kind::egress_gateway,
                                model::Kind::pod_address_pool};

// An object stored before objects had a uid: always the same one.
void complete(store::StoredObject& row) {
  if (model::uid_of(row.json).empty())
    row.json = model::with_uid(
        row.json, derived_uid(fmt::format("{} {} {}", model::to_string(row.kind), row.key.to_string(), row.revision)));
}

// The Deployment whose pod this would be.
model::ObjectKey deployment_of(const model::ObjectKey& pod) {
  const auto dash = pod.name.rfind('-');
  return {pod.namespace_, dash == std::string::npos ? "" : pod.name.substr(0, dash)};
}

// Moved lines of a file are no change of what it says.
bool same_content(const std::string& known, const std::string& json) {
  return known == json || model::public_json(known) == model::public_json(json);
}

// The document's JSON with the uid it was given, `known`'s, or a new one.
std::string json_of(const model::Document& document, const std::optional<store::StoredObject>& known) {
  auto uid = model::metadata_of(document.object).uid;
  if (uid.empty() && known) uid = model::uid_of(known->json);
  if (uid.empty()) uid = document.prepared_uid.empty() ? random_uid() : document.prepared_uid;
  if (uid == document.prepared_uid) return document.json;
  // A uid made for it stands in it once, as nothing else does.
  const auto made = nlohmann::json(document.prepared_uid).dump();
  const auto at = document.prepared_uid.empty() ? std::string::npos : document.json.find(made);
  if (at == std::string::npos) return model::with_uid(document.json, uid);
  auto json = document.json;
  return json.replace(at, made.size(), nlohmann::json(uid).dump());
}

}  // namespace

std::string Objects::problem_of(const store::StoredKey& key) {
  return fmt::format("stored {} is not understood and has no effect", name_of(key));
}

Result<Objects> Objects::load(store::Store& store, std::vector<std::string>& problems) {
  Objects objects(store);
  WEFT_TRY(auto tally, store.object_tally());
  objects.revision_ = tally.highest_revision;
  objects.used_namespaces_ = std::move(tally.namespaces);
  for (const auto kind : kept_kinds)
    WEFT_CHECK(store.each_object(kind, [&](const store::StoredObject& row) {
      if (const auto object = model::object_from_json(row.json))
        objects.keep(*object, row.revision);
      else
        problems.push_back(not_understood({row.kind, row.key}, object.error()));
      return Result<void>();
    }));
  std::vector<ObjectChange> present;
  std::vector<ObjectChange> gone;
  for (const auto& [key, deployed] : objects.deployments_) objects.follow(key, present, gone);
  return objects;
}

// --- Reading ------------------------------------------------------------------------------------

Result<std::optional<store::StoredObject>> Objects::read(const store::StoredKey& key) const {
  WEFT_TRY(auto row, store_->object(key));
  if (row) complete(*row);
  return row;
}

Result<std::optional<model::Object>> Objects::read_object(const store::StoredKey& key) const {
  WEFT_TRY(const auto row, store_->object(key));
  if (!row) return std::optional<model::Object>();
  auto object = model::object_from_json(row->json);
  if (!object) return fail(ErrorCode::io, not_understood(key, object.error()), "apply it again, or delete it");
  return std::optional(std::move(*object));
}

Result<void> Objects::visit(model::Kind kind, const std::function<void(const model::Object&)>& see,
                            std::vector<std::string>& problems) const {
  return store_->each_object(kind, [&](const store::StoredObject& row) {
    if (const auto object = model::object_from_json(row.json))
      see(*object);
    else
      problems.push_back(not_understood({row.kind, row.key}, object.error()));
    return Result<void>();
  });
}

Result<bool> Objects::any() const {
  for (const auto kind : all_kinds) {
    WEFT_TRY(const auto known, keys(kind));
    if (!known.empty()) return true;
  }
  return false;
}

Result<std::vector<store::StoredKey>> Objects::page(model::Kind kind, const std::optional<std::string>& space,
                                                    const model::ObjectKey& after, std::size_t limit) const {
  WEFT_TRY(auto keys, store_->object_keys(kind, space, after, limit));
  if (kind != model::Kind::pod) return keys;
  std::set<store::StoredKey> both(keys.begin(), keys.end());
  auto pod = pods_.upper_bound(space ? std::max(after, model::ObjectKey{*space, ""}) : after);
  for (std::size_t i = 0; i < limit && pod != pods_.end() && (!space || pod->first.namespace_ == *space); ++i, ++pod)
    both.insert({kind, pod->first});
  keys.assign(both.begin(), both.end());
  if (keys.size() > limit) keys.resize(limit);
  return keys;
}

const model::Pod* Objects::pod(const model::ObjectKey& key) const {
  const auto found = pods_.find(key);
  return found == pods_.end() ? nullptr : &found->second;
}

Result<std::string> Objects::pod_json(const model::Pod& pod) const {
  const auto key = pod.meta.key();
  const auto source = pod_sources_.find(key);
  const bool own = source == pod_sources_.end() || source->second.own;
  const store::StoredKey from =
      own ? store::StoredKey{model::Kind::pod, key} : store::StoredKey{model::Kind::deployment, deployment_of(key)};
  WEFT_TRY(auto row, read(from));
  if (!row)
    return fail(ErrorCode::io, fmt::format("{}: {} is no longer in it", store_->path(), name_of(from)),
                "the file was changed by something else; apply the object again");
  if (own) return std::move(row->json);
  const auto ordinal = std::atoi(key.name.c_str() + key.name.rfind('-') + 1);
  WEFT_TRY(const auto json, model::pod_json(row->json, ordinal));
  return model::with_uid(json, derived_uid(model::uid_of(row->json) + " " + key.to_string()));
}

// Namespaces are there as soon as something is in them.
std::map<std::string, LabelMap> Objects::namespaces() const {
  auto result = namespaces_;
  for (const auto& [name, objects] : used_namespaces_)
    if (!name.empty()) result.try_emplace(name, LabelMap{{"kubernetes.io/metadata.name", name}});
  return result;
}

std::string Objects::address_pool_of(const std::string& space) const {
  const auto found = namespace_pools_.find(space);
  return found == namespace_pools_.end() ? std::string() : found->second;
}

// --- Changing -----------------------------------------------------------------------------------

void Objects::prepare(model::Document& document) {
  const auto& given = model::metadata_of(document.object).uid;
  auto uid = given.empty() ? random_uid() : given;
  document.json = model::with_uid(document.json, uid);
  document.prepared_uid = std::move(uid);
}

Result<Objects::Planned> Objects::plan(const model::Document& document) const {
  Planned planned;
  planned.key = key_of(document.object);
  WEFT_TRY(planned.known, read(planned.key));
  planned.json = json_of(document, planned.known);
  if (planned.known)
    planned.action = same_content(planned.known->json, planned.json) ? Action::unchanged : Action::configured;
  return planned;
}

Result<std::vector<Objects::Action>> Objects::plan(const std::vector<model::Document>& documents) const {
  std::vector<Action> actions;
  for (const auto& document : documents) {
    WEFT_TRY(const auto planned, plan(document));
    actions.push_back(planned.action);
  }
  return actions;
}

Result<Objects::Applied> Objects::apply(const std::vector<model::Document>& documents) {
  Applied applied;
  std::vector<store::StoredObject> rows;
  std::vector<const model::Object*> objects;  // of the rows
  std::vector<ObjectChange> changes;
  auto revision = revision_;
  for (const auto& document : documents) {
    WEFT_TRY(auto planned, plan(document));
    const auto action = applied.actions.emplace_back(planned.action);
    if (planned.known && planned.known->json == planned.json) continue;
    const auto row_revision = action == Action::unchanged ? planned.known->revision : ++revision;
    rows.push_back({planned.key.kind, planned.key.key, std::move(planned.json), row_revision});
    objects.push_back(&document.object);
    if (action != Action::unchanged)
      changes.push_back(
          {action == Action::created ? ChangeType::added : ChangeType::modified, planned.key, &document.object});
    applied.before.emplace(planned.key, std::move(planned.known));
  }
  if (rows.empty()) return applied;
  WEFT_CHECK(store_->apply(rows, {}, store::Sync::later));
  revision_ = revision;
  for (std::size_t i = 0; i < rows.size(); ++i) keep(*objects[i], rows[i].revision);
  for (const auto& [key, known] : applied.before)
    if (!known) count(key.key.namespace_, true);
  tell(std::move(changes));
  return applied;
}

Result<void> Objects::remove(const std::vector<store::StoredKey>& keys) {
  std::set<store::StoredKey> present;
  std::vector<ObjectChange> changes;
  for (const auto& key : keys) {
    WEFT_TRY(const bool there, contains(key));
    if (there && present.insert(key).second) changes.push_back({ChangeType::deleted, key});
  }
  WEFT_CHECK(store_->apply({}, {present.begin(), present.end()}, store::Sync::later));
  for (const auto& key : present) {
    drop(key);
    count(key.key.namespace_, false);
  }
  ++revision_;
  tell(std::move(changes));
  return {};
}

Result<std::vector<store::StoredKey>> Objects::bring(const std::vector<Brought>& objects,
                                                     const std::vector<store::StoredKey>& gone) {
  std::vector<store::StoredObject> rows;
  std::vector<const model::Object*> kept;  // of the rows
  std::vector<store::StoredKey> added;
  std::vector<store::StoredKey> erased;
  std::vector<ObjectChange> changes;
  auto revision = revision_;
  for (const auto& [object, json] : objects) {
    const auto key = key_of(object);
    WEFT_TRY(const auto known, read(key));
    if (known && known->json == json) continue;
    const bool same = known && same_content(known->json, json);
    rows.push_back({key.kind, key.key, json, same ? known->revision : ++revision});
    kept.push_back(&object);
    if (!known) added.push_back(key);
    if (!same) changes.push_back({known ? ChangeType::modified : ChangeType::added, key, &object});
  }
  for (const auto& key : gone) {
    WEFT_TRY(const bool there, contains(key));
    if (!there) continue;
    erased.push_back(key);
    changes.push_back({ChangeType::deleted, key});
  }
  std::vector<store::StoredKey> changed;
  for (const auto& change : changes) changed.push_back(change.key);
  if (rows.empty() && erased.empty()) return changed;
  WEFT_CHECK(store_->apply(rows, erased, store::Sync::later));
  revision_ = revision + 1;
  for (std::size_t i = 0; i < rows.size(); ++i) keep(*kept[i], rows[i].revision);
  for (const auto& key : added) count(key.key.namespace_, true);
  for (const auto& key : erased) {
    drop(key);
    count(key.key.namespace_, false);
  }
  tell(std::move(changes));
  return changed;
}

Result<void> Objects::restore(const Before& before) {
  std::vector<store::StoredObject> rows;
  std::vector<store::StoredKey> gone;
  std::map<store::StoredKey, model::Object> objects;
  std::vector<ObjectChange> changes;
  std::map<store::StoredKey, bool> there;
  for (const auto& [key, row] : before) {
    WEFT_TRY(there[key], contains(key));
    if (row) {
      rows.push_back(*row);
      // One that was not understood before has no effect again.
      if (auto object = model::object_from_json(row->json)) objects.emplace(key, std::move(*object));
    } else {
      gone.push_back(key);
    }
    const auto object = objects.find(key);
    changes.push_back(
        {row ? ChangeType::modified : ChangeType::deleted, key, object == objects.end() ? nullptr : &object->second});
  }
  WEFT_CHECK(store_->apply(rows, gone));
  for (const auto& [key, row] : before) {
    const auto object = objects.find(key);
    if (object == objects.end())
      drop(key);
    else
      keep(object->second, row->revision);
    if (there[key] != row.has_value()) count(key.key.namespace_, row.has_value());
  }
  ++revision_;
  tell(std::move(changes));
  return {};
}

void Objects::count(const std::string& space, bool more) {
  const auto found = used_namespaces_.try_emplace(space, 0).first;
  if (more)
    ++found->second;
  else if (found->second <= 1)
    used_namespaces_.erase(found);
  else
    --found->second;
}

void Objects::keep(const model::Object& object, std::uint64_t revision) {
  const auto key = model::metadata_of(object).key();
  if (const auto* space = std::get_if<model::Namespace>(&object)) {
    namespaces_.insert_or_assign(key.name, space->meta.labels);
    if (space->address_pool.empty())
      namespace_pools_.erase(key.name);
    else
      namespace_pools_.insert_or_assign(key.name, space->address_pool);
  } else if (const auto* pod = std::get_if<model::Pod>(&object)) {
    pods_.insert_or_assign(key, *pod);
    pod_sources_.insert_or_assign(key, PodSource{true, revision});
  } else if (const auto* deployment = std::get_if<model::Deployment>(&object)) {
    deployments_.insert_or_assign(key, Deployed{*deployment, revision});
  } else if (const auto* policy = std::get_if<model::NetworkPolicy>(&object)) {
    policies_.edit().insert_or_assign(key, *policy);
    policy_revisions_.edit().insert_or_assign(key, revision);
  } else if (const auto* pool = std::get_if<model::LoadBalancerPool>(&object)) {
    pools_.insert_or_assign(key, *pool);
  } else if (const auto* announcement = std::get_if<model::L2Announcement>(&object)) {
    announcements_.insert_or_assign(key, *announcement);
  } else if (const auto* peering = std::get_if<model::BgpPeering>(&object)) {
    bgp_peerings_.insert_or_assign(key, *peering);
  } else if (const auto* gateway = std::get_if<model::EgressGateway>(&object)) {
    egress_gateways_.insert_or_assign(key, *gateway);
  } else if (const auto* addresses = std::get_if<model::PodAddressPool>(&object)) {
    address_pools_.insert_or_assign(key, *addresses);
  }
}

void Objects::drop(const store::StoredKey& key) {
  switch (key.kind) {
    case model::Kind::namespace_:
      namespaces_.erase(key.key.name);
      namespace_pools_.erase(key.key.name);
      break;
    case model::Kind::pod:
      // A Deployment's pod of this name is no object.
      if (const auto source = pod_sources_.find(key.key); source != pod_sources_.end() && source->second.own) {
        pod_sources_.erase(source);
        pods_.erase(key.key);
      }
      break;
    case model::Kind::deployment:
      deployments_.erase(key.key);
      break;
    case model::Kind::network_policy:
      policies_.edit().erase(key.key);
      policy_revisions_.edit().erase(key.key);
      break;
    case model::Kind::l2_announcement:
      announcements_.erase(key.key);
      break;
    case model::Kind::bgp_peering:
      bgp_peerings_.erase(key.key);
      break;
    case model::Kind::egress_gateway:
      egress_gateways_.erase(key.key);
      break;
    case model::Kind::load_balancer_pool:
      pools_.erase(key.key);
      break;
    case model::Kind::pod_address_pool:
      address_pools_.erase(key.key);
      break;
    case model::Kind::service:
    case model::Kind::endpoint_slice:
      break;
  }
}

// --- Pods of Deployments ------------------------------------------------------------------------

void Objects::tell(std::vector<ObjectChange> changes) {
  std::set<model::ObjectKey> deployments;
  for (const auto& change : changes)
    if (change.key.kind == model::Kind::deployment)
      deployments.insert(change.key.key);
    else if (change.key.kind == model::Kind::pod)
      deployments.insert(deployment_of(change.key.key));  // its pod of this name comes or gives way
  std::vector<ObjectChange> gone;
  for (const auto& deployment : deployments) follow(deployment, changes, gone);
  std::ranges::move(gone, std::back_inserter(changes));
  if (!listener_) return;
  for (const auto& change : changes) listener_(change);
}

// Brings a Deployment's pods to what it says. Pods of their own stand before them.
void Objects::follow(const model::ObjectKey& deployment, std::vector<ObjectChange>& present,
                     std::vector<ObjectChange>& gone) {
  std::map<model::ObjectKey, model::Pod> wanted;
  const auto found = deployments_.find(deployment);
  if (found != deployments_.end())
    for (auto& pod : model::expand(found->second.deployment)) {
      auto key = pod.meta.key();
      wanted.emplace(std::move(key), std::move(pod));
    }
  const auto prefix = deployment.name + "-";
  for (auto at = pods_.lower_bound({deployment.namespace_, prefix});
       at != pods_.end() && at->first.namespace_ == deployment.namespace_ && at->first.name.starts_with(prefix);) {
    const auto pod = at++;
    const auto source = pod_sources_.find(pod->first);
    if (source->second.own || wanted.contains(pod->first) || deployment_of(pod->first) != deployment) continue;
    gone.push_back({ChangeType::deleted, {model::Kind::pod, pod->first}});
    pod_sources_.erase(source);
    pods_.erase(pod);
  }
  for (auto& [key, pod] : wanted) {
    const auto source = pod_sources_.find(key);
    if (source != pod_sources_.end() && (source->second.own || source->second.revision == found->second.revision))
      continue;
    present.push_back(
        {source == pod_sources_.end() ? ChangeType::added : ChangeType::modified, {model::Kind::pod, key}});
    pod_sources_.insert_or_assign(key, PodSource{false, found->second.revision});
    pods_.insert_or_assign(key, std::move(pod));
  }
}

}  // namespace weft::agent
