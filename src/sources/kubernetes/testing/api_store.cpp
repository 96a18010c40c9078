#include "sources/kubernetes/testing/api_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <utility>

namespace weft::kubernetes::testing {
namespace {

constexpr std::size_t most_history = 200000;

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const auto end = std::min(text.find(separator), text.size());
    if (end > 0) parts.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

// "key=value", "key==value", "key!=value", "key", "!key".
bool holds(const std::string& term, const std::function<std::optional<std::string>(const std::string&)>& value_of) {
  const auto unequal = term.find("!=");
  if (unequal != std::string::npos) return value_of(term.substr(0, unequal)) != term.substr(unequal + 2);
  const auto equal = term.find('=');
  if (equal == std::string::npos && term.starts_with('!')) return !value_of(term.substr(1)).has_value();
  if (equal == std::string::npos) return value_of(term).has_value();
  return value_of(term.substr(0, equal)) == term.substr(equal + (term.substr(equal).starts_with("==") ? 2 : 1));
}

StoredPtr stored_from(json object, std::int64_t version) {
  auto stored = std::make_shared<Stored>();
  auto& meta = object["metadata"];
  meta["resourceVersion"] = std::to_string(version);
  stored->version = version;
  stored->uid = meta.value("uid", "");
  stored->namespace_name = meta.value("namespace", "");
  stored->name = meta.value("name", "");
  if (meta.contains("labels"))
    for (const auto& [key, value] : meta["labels"].items()) stored->labels.emplace(key, value.get<std::string>());
  if (const auto spec = object.find("spec"); spec != object.end() && spec->is_object())
    stored->node = spec->value("nodeName", "");
  object.erase("kind");
  object.erase("apiVersion");
  stored->text = object.dump();
  return stored;
}

bool has_finalizers(const json& object) {
  const auto& meta = object["metadata"];
  return meta.contains("finalizers") && !meta["finalizers"].empty();
}

}  // namespace

std::optional<ObjectPath> parse_path(std::string_view path) {
  auto parts = split(path, '/');
  const std::size_t head = !parts.empty() && parts[0] == "api" ? 2 : 3;
  if (parts.size() <= head || (parts[0] != "api" && parts[0] != "apis")) return std::nullopt;
  ObjectPath result;
  std::string prefix;
  for (std::size_t i = 0; i < head; ++i) prefix += "/" + parts[i];
  parts.erase(parts.begin(), parts.begin() + static_cast<std::ptrdiff_t>(head));
  if (parts[0] == "namespaces" && parts.size() >= 3 && parts[2] != "status") {
    result.namespace_name = parts[1];
    parts.erase(parts.begin(), parts.begin() + 2);
  }
  result.resource = prefix + "/" + parts[0];
  if (parts.size() > 1) result.name = parts[1];
  if (parts.size() > 3 || (parts.size() == 3 && parts[2] != "status")) return std::nullopt;
  result.status = parts.size() == 3;
  return result;
}

bool Selector::matches(const Stored& object) const {
  if (!namespace_name.empty() && object.namespace_name != namespace_name) return false;
  for (const auto& term : split(fields, ','))
    if (!holds(term, [&](const std::string& field) -> std::optional<std::string> {
          if (field == "metadata.name") return object.name;
          if (field == "metadata.namespace") return object.namespace_name;
          if (field == "spec.nodeName") return object.node;
          return std::nullopt;
        }))
      return false;
  for (const auto& term : split(labels, ','))
    if (!holds(term, [&](const std::string& label) -> std::optional<std::string> {
          const auto found = object.labels.find(label);
          return found == object.labels.end() ? std::nullopt : std::optional(found->second);
        }))
      return false;
  return true;
}

StoreAnswer status_answer(int code, std::string_view reason, std::string_view message, const json& details) {
  json status{{"kind", "Status"},
              {"apiVersion", "v1"},
              {"metadata", json::object()},
              {"status", code < 300 ? "Success" : "Failure"},
              {"code", code},
              {"reason", reason},
              {"message", message}};
  if (!details.is_null()) status["details"] = details;
  return {.code = code, .text = status.dump()};
}

ApiStore::ApiStore() {
  const auto core = [this](const char* name, const char* kind, bool namespaced = true) {
    types_[std::string("/api/v1/") + name] = {.kind = kind, .api_version = "v1", .namespaced = namespaced};
  };
  core("pods", "Pod");
  core("services", "Service");
  core("endpoints", "Endpoints");
  core("configmaps", "ConfigMap");
  core("secrets", "Secret");
  core("serviceaccounts", "ServiceAccount");
  core("events", "Event");
  core("nodes", "Node", false);
  core("namespaces", "Namespace", false);
  const auto of_group = [this](const char* group_version, const char* name, const char* kind, bool namespaced = true) {
    types_[fmt::format("/apis/{}/{}", group_version, name)] = {
        .kind = kind, .api_version = group_version, .namespaced = namespaced};
  };
  of_group("discovery.k8s.io/v1", "endpointslices", "EndpointSlice");
  of_group("networking.k8s.io/v1", "networkpolicies", "NetworkPolicy");
  of_group("networking.k8s.io/v1", "ingresses", "Ingress");
  of_group("coordination.k8s.io/v1", "leases", "Lease");
  of_group("events.k8s.io/v1", "events", "Event");
  of_group("apiextensions.k8s.io/v1", "customresourcedefinitions", "CustomResourceDefinition", false);
}

void ApiStore::add_resource(const std::string& path, ResourceType type) {
  const std::scoped_lock lock(mutex_);
  types_[path] = std::move(type);
}

void ApiStore::remove_resource(const std::string& path) {
  const std::scoped_lock lock(mutex_);
  types_.erase(path);
  objects_.erase(path);
}

std::optional<ResourceType> ApiStore::type_of(const std::string& resource) const {
  const std::scoped_lock lock(mutex_);
  const auto found = types_.find(resource);
  return found == types_.end() ? std::nullopt : std::optional(found->second);
}

std::optional<StoreAnswer> ApiStore::missing(const ObjectPath& path) const {
  if (types_.contains(path.resource)) return std::nullopt;
  return status_answer(404, "NotFound", "the server could not find the requested resource");
}

StoredPtr ApiStore::find(const ObjectPath& path) const {
  const auto objects = objects_.find(path.resource);
  if (objects == objects_.end()) return nullptr;
  const auto found = objects->second.find(path.key());
  return found == objects->second.end() ? nullptr : found->second;
}

std::string ApiStore::full_text(const std::string& resource, std::string_view text) const {
  const auto& type = types_.at(resource);
  return fmt::format(R"({{"kind":"{}","apiVersion":"{}",{})", type.kind, type.api_version, text.substr(1));
}

namespace {

StoreAnswer not_found(const ObjectPath& path) {
  return status_answer(404, "NotFound", fmt::format("{} \"{}\" not found", path.resource, path.key()));
}

StoreAnswer conflict(const ObjectPath& path, std::string_view why) {
  return status_answer(409, "Conflict",
                       fmt::format("Operation cannot be fulfilled on {} \"{}\": {}", path.resource, path.key(), why));
}

constexpr std::string_view modified =
    "the object has been modified; please apply your changes to the latest version and try again";

}  // namespace

StoreAnswer ApiStore::get(const ObjectPath& path) const {
  const std::scoped_lock lock(mutex_);
  if (auto wrong = missing(path)) return *wrong;
  const auto object = find(path);
  return object ? StoreAnswer{200, full_text(path.resource, object->text)} : not_found(path);
}

void ApiStore::record(StoredEvent event) {
  history_.push_back(std::move(event));
  if (history_.size() > most_history) {
    compacted_ = history_.front().version;
    history_.pop_front();
  }
  changed_.notify_all();
}

// The mutex is held. `object` replaces `before`, where there is one.
StoreAnswer ApiStore::store(const ObjectPath& path, const StoredPtr& before, json object, int code) {
  auto& meta = object["metadata"];
  meta["name"] = path.name;
  if (path.namespace_name.empty())
    meta.erase("namespace");
  else
    meta["namespace"] = path.namespace_name;
  if (before) {
    const json old = json::parse(before->text);
    for (const auto* fixed : {"uid", "creationTimestamp", "deletionTimestamp"})
      if (old["metadata"].contains(fixed)) meta[fixed] = old["metadata"][fixed];
  } else {
    meta["uid"] = next_uid_.empty() ? fmt::format("00000000-0000-4000-8000-{:012x}", ++last_uid_) : next_uid_;
    next_uid_.clear();
    // A test may say when.
    if (!meta.contains("creationTimestamp")) meta["creationTimestamp"] = "2026-01-01T00:00:00Z";
  }
  if (before && meta.contains("deletionTimestamp") && !has_finalizers(object)) {
    removed(path, before);
    return status_answer(200, "", "deleted");
  }
  auto now = stored_from(std::move(object), ++version_);
  objects_[path.resource][path.key()] = now;
  record({.version = version_, .resource = path.resource, .before = before, .now = now});
  return {.code = code, .text = full_text(path.resource, now->text)};
}

// The mutex is held. What is written as it was is not written: it keeps its version, and no watch hears of it.
std::optional<StoreAnswer> ApiStore::unchanged(const ObjectPath& path, const Stored& before, json object) const {
  json old = json::parse(before.text);
  auto& meta = object["metadata"];
  for (const auto* fixed : {"name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "resourceVersion"}) {
    meta.erase(fixed);
    if (old["metadata"].contains(fixed)) meta[fixed] = old["metadata"][fixed];
  }
  object.erase("kind");
  object.erase("apiVersion");
  if (object != old || meta.contains("deletionTimestamp")) return std::nullopt;
  return StoreAnswer{.code = 200, .text = full_text(path.resource, before.text)};
}

StoreAnswer ApiStore::create(const ObjectPath& path, json object) {
  const std::scoped_lock lock(mutex_);
  if (auto wrong = missing(path)) return *wrong;
  ObjectPath place = path;
  const auto meta = object.value("metadata", json::object());
  place.name = meta.value("name", "");
  if (place.name.empty() && meta.contains("generateName"))
    place.name = fmt::format("{}{:05x}", meta["generateName"].get<std::string>(), last_uid_ + 1);
  if (place.name.empty()) return status_answer(422, "Invalid", "name or generateName is required");
  if (find(place))
    return status_answer(409, "AlreadyExists", fmt::format("{} \"{}\" already exists", path.resource, place.key()));
  return store(place, nullptr, std::move(object), 201);
}

StoreAnswer ApiStore::update(const ObjectPath& path, json object) {
  const std::scoped_lock lock(mutex_);
  if (auto wrong = missing(path)) return *wrong;
  const auto before = find(path);
  if (!before) return not_found(path);
  const auto meta = object.value("metadata", json::object());
  const auto version = meta.value("resourceVersion", "");
  if (!version.empty() && version != std::to_string(before->version)) return conflict(path, modified);
  if (const auto uid = meta.value("uid", ""); !uid.empty() && uid != before->uid)
    return conflict(
        path, fmt::format("Precondition failed: UID in precondition: {}, UID in object meta: {}", uid, before->uid));
  json old = json::parse(before->text);
  if (path.status) {
    old["status"] = object.value("status", json::object());
    object = std::move(old);
  } else if (types_.at(path.resource).status) {
    object.erase("status");
    if (old.contains("status")) object["status"] = old["status"];
  }
  if (auto same = unchanged(path, *before, object)) return *same;
  return store(path, before, std::move(object), 200);
}

StoreAnswer ApiStore::patch(const ObjectPath& path, const json& patch, bool apply) {
  const std::scoped_lock lock(mutex_);
  if (auto wrong = missing(path)) return *wrong;
  const auto before = find(path);
  if (!before) return apply && !path.status ? store(path, nullptr, patch, 201) : not_found(path);
  json object = json::parse(before->text);
  const json old_status = object.value("status", json());
  const auto meta = patch.value("metadata", json::object());
  if (const auto version = meta.value("resourceVersion", "");
      !version.empty() && version != std::to_string(before->version))
    return conflict(path, modified);
  if (path.status) {
    if (patch.contains("status")) object["status"].merge_patch(patch["status"]);
  } else {
    object.merge_patch(patch);
    if (types_.at(path.resource).status) {
      object.erase("status");
      if (!old_status.is_null()) object["status"] = old_status;
    }
  }
  if (auto same = unchanged(path, *before, object)) return *same;
  return store(path, before, std::move(object), 200);
}

// The mutex is held.
void ApiStore::removed(const ObjectPath& path, const StoredPtr& object) {
  objects_[path.resource].erase(path.key());
  auto last = json::parse(object->text);
  last["metadata"]["resourceVersion"] = std::to_string(++version_);
  record({.version = version_, .resource = path.resource, .before = object, .last = last.dump()});
}

StoreAnswer ApiStore::erase(const ObjectPath& path, const json& options) {
  const std::scoped_lock lock(mutex_);
  if (auto wrong = missing(path)) return *wrong;
  const auto object = find(path);
  if (!object) return not_found(path);
  const auto wanted = options.value("preconditions", json::object());
  if (const auto uid = wanted.value("uid", object->uid); uid != object->uid)
    return conflict(
        path, fmt::format("Precondition failed: UID in precondition: {}, UID in object meta: {}", uid, object->uid));
  const auto version = std::to_string(object->version);
  if (const auto of = wanted.value("resourceVersion", version); of != version)
    return conflict(
        path,
        fmt::format("Precondition failed: ResourceVersion in precondition: {}, ResourceVersion in object meta: {}", of,
                    version));
  json text = json::parse(object->text);
  if (has_finalizers(text)) {
    text["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:01Z";
    auto now = stored_from(std::move(text), ++version_);
    objects_[path.resource][path.key()] = now;
    record({.version = version_, .resource = path.resource, .before = object, .now = now});
    return {.code = 200, .text = full_text(path.resource, now->text)};
  }
  removed(path, object);
  return status_answer(200, "", "deleted");
}

// The mutex is held. What was written since is taken back.
ApiStore::Objects ApiStore::as_of(const std::string& resource, std::int64_t version) const {
  const auto found = objects_.find(resource);
  Objects objects = found == objects_.end() ? Objects() : found->second;
  for (auto event = history_.rbegin(); event != history_.rend() && event->version > version; ++event) {
    if (event->resource != resource) continue;
    const Stored& any = event->now ? *event->now : *event->before;
    const std::string key = any.namespace_name.empty() ? any.name : any.namespace_name + "/" + any.name;
    if (event->before)
      objects[key] = event->before;
    else
      objects.erase(key);
  }
  return objects;
}

StoreAnswer ApiStore::list(const ObjectPath& path, const Selector& selector, const std::string& version,
                           const std::string& more, std::size_t limit, bool exact) const {
  const std::scoped_lock lock(mutex_);
  if (auto wrong = missing(path)) return *wrong;
  std::int64_t of = version_;
  std::string after;
  if (!more.empty()) {
    const auto colon = more.find(':');
    of = std::atoll(more.c_str());
    after = colon == std::string::npos ? std::string() : more.substr(colon + 1);
    if (of < compacted_)
      return status_answer(410, "Expired",
                           "The provided continue parameter is too old to display a consistent list result.");
  } else if (std::atoll(version.c_str()) > version_) {
    return version_answer(std::atoll(version.c_str()));
  } else if (exact) {
    of = std::atoll(version.c_str());
    if (auto gone = version_answer(of); gone.code != 200) return gone;
  }
  static const Objects none;
  const bool now = of == version_;
  const auto found = objects_.find(path.resource);
  const Objects old = now ? Objects() : as_of(path.resource, of);
  const Objects& objects = !now ? old : found == objects_.end() ? none : found->second;
  std::string items;
  std::string next;
  std::size_t count = 0;
  std::string last;
  for (auto object = after.empty() ? objects.begin() : objects.upper_bound(after); object != objects.end(); ++object) {
    if (!selector.matches(*object->second)) continue;
    if (limit != 0 && count == limit) {
      next = fmt::format("{}:{}", of, last);
      break;
    }
    if (count++ != 0) items += ',';
    items += object->second->text;
    last = object->first;
  }
  const auto& type = types_.at(path.resource);
  json metadata{{"resourceVersion", std::to_string(of)}};
  if (!next.empty()) metadata["continue"] = next;
  return {200, fmt::format(R"({{"kind":"{}List","apiVersion":"{}","metadata":{},"items":[)", type.kind,
                           type.api_version, metadata.dump()) +
                   items + "]}\n"};
}

StoreAnswer ApiStore::may_watch(std::int64_t version) const {
  const std::scoped_lock lock(mutex_);
  return version_answer(version);
}

StoreAnswer ApiStore::version_answer(std::int64_t version) const {
  if (version > version_)
    return status_answer(
        504, "Timeout", fmt::format("Too large resource version: {}, current: {}", version, version_),
        {{"causes", {{{"reason", "ResourceVersionTooLarge"}, {"message", "Too large resource version"}}}},
         {"retryAfterSeconds", 1}});
  if (version != 0 && version < compacted_)
    return status_answer(410, "Expired", fmt::format("too old resource version: {} ({})", version, compacted_));
  return {.code = 200, .text = {}};
}

std::int64_t ApiStore::put(const std::string& path, json object) {
  const std::scoped_lock lock(mutex_);
  const auto place = parse_path(path);
  if (!place || place->name.empty() || missing(*place)) return -1;
  const auto before = find(*place);
  // As if it had been erased and made again: the uid is another.
  const bool anew =
      before && object.contains("metadata") && object["metadata"].value("uid", before->uid) != before->uid;
  if (anew) removed(*place, before);
  if ((anew || !before) && object.contains("metadata")) next_uid_ = object["metadata"].value("uid", "");
  store(*place, anew ? nullptr : before, std::move(object), 200);
  return version_;
}

std::int64_t ApiStore::remove(const std::string& path) {
  const std::scoped_lock lock(mutex_);
  const auto place = parse_path(path);
  const auto object = place ? find(*place) : nullptr;
  if (!object) return -1;
  removed(*place, object);
  return version_;
}

void ApiStore::compact() {
  const std::scoped_lock lock(mutex_);
  compacted_ = version_;
  history_.clear();
  changed_.notify_all();
}

void ApiStore::wipe(std::int64_t version) {
  const std::scoped_lock lock(mutex_);
  objects_.clear();
  history_.clear();
  version_ = version;
  compacted_ = 0;
  changed_.notify_all();
}

std::int64_t ApiStore::version() const {
  const std::scoped_lock lock(mutex_);
  return version_;
}

std::optional<std::string> ApiStore::events_after(std::int64_t& from, const ObjectPath& path,
                                                  const Selector& selector) const {
  const std::scoped_lock lock(mutex_);
  if (from < compacted_ || from > version_) return std::nullopt;
  std::string lines;
  const auto begin = std::upper_bound(history_.begin(), history_.end(), from,
                                      [](std::int64_t v, const StoredEvent& event) { return v < event.version; });
  if (!types_.contains(path.resource)) return lines;
  for (auto event = begin; event != history_.end(); ++event) {
    from = event->version;
    if (event->resource != path.resource) continue;
    const bool was = event->before && selector.matches(*event->before);
    const bool is = event->now && selector.matches(*event->now);
    if (!was && !is) continue;
    // What matches no more is deleted, as far as this watch is concerned, and told as it is now.
    const auto* type = !is ? "DELETED" : was ? "MODIFIED" : "ADDED";
    const std::string& text = event->now ? event->now->text : event->last;
    lines += fmt::format(R"({{"type":"{}","object":{}}})", type, full_text(path.resource, text)) + "\n";
  }
  from = version_;
  return lines;
}

std::string ApiStore::all_as_events(std::int64_t& version, const ObjectPath& path, const Selector& selector) const {
  const std::scoped_lock lock(mutex_);
  version = version_;
  std::string lines;
  const auto objects = objects_.find(path.resource);
  if (objects == objects_.end()) return lines;
  for (const auto& [key, object] : objects->second)
    if (selector.matches(*object))
      lines += fmt::format(R"({{"type":"ADDED","object":{}}})", full_text(path.resource, object->text)) + "\n";
  return lines;
}

std::string ApiStore::bookmark(std::int64_t version, const std::string& resource) const {
  const std::scoped_lock lock(mutex_);
  return fmt::format(R"({{"type":"BOOKMARK","object":{}}})",
                     full_text(resource, fmt::format(R"({{"metadata":{{"resourceVersion":"{}"}}}})", version))) +
         "\n";
}

void ApiStore::wait(std::int64_t version, std::chrono::milliseconds time) const {
  std::unique_lock lock(mutex_);
  if (version_ <= version) changed_.wait_for(lock, time);
}

}  // namespace weft::kubernetes::testing
