// The objects users applied, as tables: what is stored, what Deployments expand into, and who
// watches. One owner thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "model/objects.h"
#include "model/parse.h"
#include "sources/store/store.h"

namespace weft::agent {

struct StoredEntry {
  model::Object object;
  std::string json;            // normalised, private keys and uid included
  std::uint64_t revision = 0;  // grows with every change of any object
};

enum class ChangeType { added, modified, deleted };

struct ObjectChange {
  ChangeType type;
  store::StoredKey key;
};

class Objects {
 public:
  using Listener = std::function<void(const ObjectChange&)>;

  // Loads what the store holds; an object that no longer parses is reported and kept in the store.
  static Result<Objects> load(store::Store& store, std::vector<std::string>& problems);

  enum class Action { created, configured, unchanged };
  // Writes all documents in one transaction, then the tables, then tells the listener. The disk is
  // synced by the caller's Store::flush.
  Result<std::vector<Action>> apply(const std::vector<model::Document>& documents);
  // What apply would do.
  [[nodiscard]] std::vector<Action> plan(const std::vector<model::Document>& documents) const;
  Result<void> remove(const std::vector<store::StoredKey>& keys);
  // Puts these objects back as they were, revisions included; nothing means that it was not there.
  Result<void> restore(const std::map<store::StoredKey, std::optional<StoredEntry>>& before);
  void on_change(Listener listener) { listener_ = std::move(listener); }

  [[nodiscard]] const StoredEntry* find(const store::StoredKey& key) const;
  [[nodiscard]] const std::map<store::StoredKey, StoredEntry>& all() const { return entries_; }

  // Typed views, kept up to date by apply and remove. Pods holds bare and expanded ones.
  [[nodiscard]] const std::map<model::ObjectKey, model::Pod>& pods() const { return pods_; }
  [[nodiscard]] const model::Pod* pod(const model::ObjectKey& key) const;
  // JSON of a pod without its status: its own, or made from its Deployment's. Every object has a uid
  // (the one it was applied with, or one given when it was created), for as long as it exists; a
  // Deployment's pod has one that follows from the Deployment's uid and its own name.
  [[nodiscard]] std::string pod_json(const model::Pod& pod) const;
  [[nodiscard]] std::map<std::string, LabelMap> namespaces() const;
  template <class T>
  [[nodiscard]] std::map<model::ObjectKey, T> typed() const {
    std::map<model::ObjectKey, T> result;
    for (const auto& [key, entry] : entries_)
      if (const auto* object = std::get_if<T>(&entry.object)) result.emplace(key.key, *object);
    return result;
  }
  [[nodiscard]] std::map<model::ObjectKey, std::uint64_t> policy_revisions() const;

 private:
  explicit Objects(store::Store& store) : store_(&store) {}
  void insert(const store::StoredKey& key, StoredEntry entry);
  void rebuild_pods(std::vector<ObjectChange>& changes);
  static store::StoredKey key_of(const model::Object& object);
  static bool same_content(const StoredEntry& known, const std::string& json);
  // The document's JSON with the uid it was given, `known`'s, or a new one.
  static std::string json_of(const model::Document& document, const StoredEntry* known);

  store::Store* store_;
  std::map<store::StoredKey, StoredEntry> entries_;
  std::map<model::ObjectKey, model::Pod> pods_;
  std::map<model::ObjectKey, std::string> pod_marks_;  // what a pod is made of, to tell a change
  std::uint64_t revision_ = 0;
  Listener listener_;
};

}  // namespace weft::agent
