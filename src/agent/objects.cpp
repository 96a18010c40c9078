#include "agent/objects.h"

#include <fmt/format.h>

#include <algorithm>

#include "agent/uid.h"
#include "model/expand.h"

namespace weft::agent {

store::StoredKey Objects::key_of(const model::Object& object) {
  return {model::kind_of(object), model::metadata_of(object).key()};
}

void Objects::insert(const store::StoredKey& key, StoredEntry entry) {
  revision_ = std::max(revision_, entry.revision);
  entries_.insert_or_assign(key, std::move(entry));
}

Result<Objects> Objects::load(store::Store& store, std::vector<std::string>& problems) {
  Objects objects(store);
  WEFT_TRY(auto rows, store.objects());
  for (auto& row : rows) {
    auto object = model::object_from_json(row.json);
    if (!object) {
      problems.push_back(fmt::format("stored {} {} is not understood and has no effect: {}", model::to_string(row.kind),
                                     row.key.to_string(), object.error().message));
      continue;
    }
    // Stored before objects had one: always the same.
    if (model::uid_of(row.json).empty())
      row.json = model::with_uid(row.json, derived_uid(fmt::format("{} {} {}", model::to_string(row.kind),
                                                                   row.key.to_string(), row.revision)));
    objects.insert({row.kind, row.key}, {std::move(*object), std::move(row.json), row.revision});
  }
  std::vector<ObjectChange> ignored;
  objects.rebuild_pods(ignored);
  return objects;
}

// Moved lines of a file are no change of what it says.
bool Objects::same_content(const StoredEntry& known, const std::string& json) {
  return known.json == json || model::public_json(known.json) == model::public_json(json);
}

std::string Objects::json_of(const model::Document& document, const StoredEntry* known) {
  auto uid = model::metadata_of(document.object).uid;
  if (uid.empty()) uid = known != nullptr ? model::uid_of(known->json) : random_uid();
  return model::with_uid(document.json, uid);
}

std::vector<Objects::Action> Objects::plan(const std::vector<model::Document>& documents) const {
  std::vector<Action> actions;
  for (const auto& document : documents) {
    const auto* known = find(key_of(document.object));
    if (known == nullptr)
      actions.push_back(Action::created);
    else
      actions.push_back(same_content(*known, json_of(document, known)) ? Action::unchanged : Action::configured);
  }
  return actions;
}

Result<std::vector<Objects::Action>> Objects::apply(const std::vector<model::Document>& documents) {
  auto actions = plan(documents);
  std::vector<store::StoredObject> rows;
  std::vector<ObjectChange> changes;
  std::map<store::StoredKey, StoredEntry> entries;
  auto revision = revision_;
  for (std::size_t i = 0; i < documents.size(); ++i) {
    const auto key = key_of(documents[i].object);
    const auto* known = find(key);
    auto json = json_of(documents[i], known);
    if (known != nullptr && known->json == json) continue;
    const auto row_revision = actions[i] == Action::unchanged ? known->revision : ++revision;
    rows.push_back({key.kind, key.key, json, row_revision});
    entries.insert_or_assign(key, StoredEntry{documents[i].object, std::move(json), row_revision});
    if (actions[i] != Action::unchanged)
      changes.push_back({actions[i] == Action::created ? ChangeType::added : ChangeType::modified, key});
  }
  if (rows.empty()) return actions;
  WEFT_CHECK(store_->apply(rows, {}, store::Sync::later));
  for (auto& [key, entry] : entries) insert(key, std::move(entry));
  revision_ = revision;
  rebuild_pods(changes);
  if (listener_)
    for (const auto& change : changes) listener_(change);
  return actions;
}

Result<void> Objects::remove(const std::vector<store::StoredKey>& keys) {
  WEFT_CHECK(store_->apply({}, keys, store::Sync::later));
  std::vector<ObjectChange> changes;
  for (const auto& key : keys)
    if (entries_.erase(key) > 0) changes.push_back({ChangeType::deleted, key});
  ++revision_;
  rebuild_pods(changes);
  if (listener_)
    for (const auto& change : changes) listener_(change);
  return {};
}

Result<void> Objects::restore(const std::map<store::StoredKey, std::optional<StoredEntry>>& before) {
  std::vector<store::StoredObject> rows;
  std::vector<store::StoredKey> gone;
  std::vector<ObjectChange> changes;
  for (const auto& [key, entry] : before) {
    if (entry)
      rows.push_back({key.kind, key.key, entry->json, entry->revision});
    else
      gone.push_back(key);
    changes.push_back({entry ? ChangeType::modified : ChangeType::deleted, key});
  }
  WEFT_CHECK(store_->apply(rows, gone));
  for (const auto& [key, entry] : before)
    if (entry)
      insert(key, *entry);
    else
      entries_.erase(key);
  ++revision_;
  rebuild_pods(changes);
  if (listener_)
    for (const auto& change : changes) listener_(change);
  return {};
}

const StoredEntry* Objects::find(const store::StoredKey& key) const {
  const auto found = entries_.find(key);
  return found == entries_.end() ? nullptr : &found->second;
}

const model::Pod* Objects::pod(const model::ObjectKey& key) const {
  const auto found = pods_.find(key);
  return found == pods_.end() ? nullptr : &found->second;
}

std::string Objects::pod_json(const model::Pod& pod) const {
  const auto key = pod.meta.key();
  if (const auto* own = find({model::Kind::pod, key})) return own->json;
  const auto* deployment = find({model::Kind::deployment, {key.namespace_, pod.workload}});
  if (deployment == nullptr) return "{}";
  const auto& name = key.name;
  const auto ordinal = std::atoi(name.c_str() + name.rfind('-') + 1);
  const auto json = model::pod_json(deployment->json, ordinal);
  if (!json) return "{}";
  return model::with_uid(*json, derived_uid(model::uid_of(deployment->json) + " " + key.to_string()));
}

std::map<std::string, LabelMap> Objects::namespaces() const {
  std::map<std::string, LabelMap> result;
  for (const auto& [key, entry] : entries_) {
    if (const auto* space = std::get_if<model::Namespace>(&entry.object))
      result.insert_or_assign(key.key.name, space->meta.labels);
    else
      result.try_emplace(key.key.namespace_, LabelMap{{"kubernetes.io/metadata.name", key.key.namespace_}});
  }
  return result;
}

std::map<model::ObjectKey, std::uint64_t> Objects::policy_revisions() const {
  std::map<model::ObjectKey, std::uint64_t> result;
  for (const auto& [key, entry] : entries_)
    if (key.kind == model::Kind::network_policy) result.emplace(key.key, entry.revision);
  return result;
}

// Expansion is cheap beside a store write, so pods are made anew and compared by what they are made of.
void Objects::rebuild_pods(std::vector<ObjectChange>& changes) {
  std::map<model::ObjectKey, model::Pod> pods;
  std::map<model::ObjectKey, std::string> marks;
  for (const auto& [key, entry] : entries_) {
    if (const auto* pod = std::get_if<model::Pod>(&entry.object)) {
      pods.insert_or_assign(key.key, *pod);
      marks.insert_or_assign(key.key, fmt::format("own {}", entry.revision));
    }
  }
  for (const auto& [key, entry] : entries_) {
    const auto* deployment = std::get_if<model::Deployment>(&entry.object);
    if (deployment == nullptr) continue;
    for (auto& pod : model::expand(*deployment)) {
      const auto pod_key = pod.meta.key();
      if (pods.try_emplace(pod_key, std::move(pod)).second)
        marks.emplace(pod_key, fmt::format("of {} {}", key.key.name, entry.revision));
    }
  }
  for (const auto& [key, mark] : marks) {
    const auto known = pod_marks_.find(key);
    if (mark.starts_with("own")) continue;  // reported with its object
    if (known == pod_marks_.end())
      changes.push_back({ChangeType::added, {model::Kind::pod, key}});
    else if (known->second != mark)
      changes.push_back({ChangeType::modified, {model::Kind::pod, key}});
  }
  for (const auto& [key, mark] : pod_marks_)
    if (!marks.contains(key) && !mark.starts_with("own"))
      changes.push_back({ChangeType::deleted, {model::Kind::pod, key}});
  pods_ = std::move(pods);
  pod_marks_ = std::move(marks);
}

}  // namespace weft::agent
