// What an API server stores, for tests: objects of any resource with versions and a history, as
// https://kubernetes.io/docs/reference/using-api/api-concepts/ describes them from outside. Thread-safe.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weft::kubernetes::testing {

using nlohmann::json;

struct ResourceType {
  std::string kind;
  std::string api_version;
  bool namespaced = true;
  bool status = true;  // what is written to the object leaves .status alone, and the other way round
};

// A path of the API taken apart: "/apis/apps/v1/namespaces/x/deployments/y/status".
struct ObjectPath {
  std::string resource;  // "/apis/apps/v1/deployments"
  std::string namespace_name;
  std::string name;
  bool status = false;
  [[nodiscard]] std::string key() const { return namespace_name.empty() ? name : namespace_name + "/" + name; }
};
std::optional<ObjectPath> parse_path(std::string_view path);

struct Stored {
  std::int64_t version = 0;
  std::string uid;
  std::string namespace_name;
  std::string name;
  std::string node;  // spec.nodeName
  std::map<std::string, std::string> labels;
  std::string text;  // JSON without kind and apiVersion, as lists have it
};
using StoredPtr = std::shared_ptr<const Stored>;

struct StoredEvent {
  std::int64_t version = 0;
  std::string resource;
  StoredPtr before;  // null: created
  StoredPtr now;     // null: deleted
  std::string last;  // of what was deleted: its text with the version of the deletion
};

struct Selector {
  std::string namespace_name;  // empty: all
  std::string fields;          // "spec.nodeName=a,metadata.name!=b"
  std::string labels;          // "app=web,tier!=db,ready"
  [[nodiscard]] bool matches(const Stored& object) const;
};

// An answer of the API: an object, or a Status.
struct StoreAnswer {
  int code = 200;
  std::string text;
};
StoreAnswer status_answer(int code, std::string_view reason, std::string_view message, const json& details = {});

class ApiStore {
 public:
  ApiStore();

  // `path` of the collection without a namespace: "/apis/weft.dev/v1/networkpools". Usual ones are there already.
  void add_resource(const std::string& path, ResourceType type);
  void remove_resource(const std::string& path);
  [[nodiscard]] std::optional<ResourceType> type_of(const std::string& resource) const;

  // What a client asks for.
  StoreAnswer get(const ObjectPath& path) const;
  StoreAnswer create(const ObjectPath& path, json object);
  StoreAnswer update(const ObjectPath& path, json object);
  // A merge patch; with `apply` what does not exist is created.
  StoreAnswer patch(const ObjectPath& path, const json& patch, bool apply);
  StoreAnswer erase(const ObjectPath& path, const json& options);
  StoreAnswer list(const ObjectPath& path, const Selector& selector, const std::string& version,
                   const std::string& more, std::size_t limit, bool exact = false) const;
  // 200, or why a watch cannot begin there.
  StoreAnswer may_watch(std::int64_t version) const;

  // What a test does: the object as it is given, status and all; its version.
  std::int64_t put(const std::string& path, json object);
  std::int64_t remove(const std::string& path);
  // Versions up to now can be read and watched no more.
  void compact();
  // Everything is gone, versions begin anew: another cluster under the same address, or one from a backup.
  void wipe(std::int64_t version);

  [[nodiscard]] std::int64_t version() const;
  // Lines of a watch after `from`, which is set to what has been told; nothing where some are lost.
  std::optional<std::string> events_after(std::int64_t& from, const ObjectPath& path, const Selector& selector) const;
  // ADDED of all that is there.
  std::string all_as_events(std::int64_t& version, const ObjectPath& path, const Selector& selector) const;
  std::string bookmark(std::int64_t version, const std::string& resource) const;
  // Until there is something after `version`, or the time is over, or somebody notifies.
  void wait(std::int64_t version, std::chrono::milliseconds time) const;
  void notify() const { changed_.notify_all(); }

 private:
  using Objects = std::map<std::string, StoredPtr, std::less<>>;

  StoreAnswer store(const ObjectPath& path, const StoredPtr& before, json object, int code);
  [[nodiscard]] std::optional<StoreAnswer> unchanged(const ObjectPath& path, const Stored& before, json object) const;
  [[nodiscard]] std::optional<StoreAnswer> missing(const ObjectPath& path) const;
  [[nodiscard]] StoreAnswer version_answer(std::int64_t version) const;
  [[nodiscard]] StoredPtr find(const ObjectPath& path) const;
  [[nodiscard]] std::string full_text(const std::string& resource, std::string_view text) const;
  [[nodiscard]] Objects as_of(const std::string& resource, std::int64_t version) const;
  void removed(const ObjectPath& path, const StoredPtr& object);
  void record(StoredEvent event);

  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  std::map<std::string, ResourceType> types_;
  std::map<std::string, Objects> objects_;
  std::deque<StoredEvent> history_;
  std::int64_t version_ = 1;
  std::int64_t compacted_ = 0;
  std::uint64_t last_uid_ = 0;
  std::string next_uid_;  // of what a test makes
};

}  // namespace weft::kubernetes::testing
