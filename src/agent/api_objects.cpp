// API: apply, delete, get, watch.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <nlohmann/json.hpp>

#include "agent/agent.h"
#include "agent/memory.h"
#include "api/params.h"

namespace weft::agent {
namespace {

using nlohmann::json;

json problem_json(const model::Problem& problem) {
  return {{"file", problem.file}, {"line", problem.line},       {"column", problem.column},
          {"path", problem.path}, {"message", problem.message}, {"text", problem.to_string()}};
}

json problems_json(const std::vector<model::Problem>& problems) {
  auto list = json::array();
  for (const auto& problem : problems) list.push_back(problem_json(problem));
  return list;
}

std::string_view action_word(Objects::Action action) {
  switch (action) {
    case Objects::Action::created:
      return "created";
    case Objects::Action::configured:
      return "configured";
    case Objects::Action::unchanged:
      break;
  }
  return "unchanged";
}

constexpr std::array all_kinds{model::Kind::namespace_,         model::Kind::pod,
                               model::Kind::deployment,         model::Kind::service,
                               model::Kind::endpoint_slice,     model::Kind::network_policy,
                               model::Kind::load_balancer_pool, model::Kind::l2_announcement};

json identity_json(const store::StoredKey& key) {
  return {{"kind", model::to_string(key.kind)}, {"namespace", key.key.namespace_}, {"name", key.key.name}};
}

// All documents of a request; params.documents is [{file, text}].
Result<model::ParseOutcome> parse_documents(const json& params) {
  model::ParseOutcome all;
  if (!params.contains("documents") || !params["documents"].is_array())
    return weft::fail(ErrorCode::invalid, "documents: expected a list of {file, text}");
  for (const auto& document : params["documents"]) {
    WEFT_TRY(const auto file, api::required_text(document, "file"));
    WEFT_TRY(const auto text, api::optional_text(document, "text"));
    auto outcome = model::parse_manifests(file, text);
    std::ranges::move(outcome.documents, std::back_inserter(all.documents));
    std::ranges::move(outcome.problems, std::back_inserter(all.problems));
    std::ranges::move(outcome.warnings, std::back_inserter(all.warnings));
  }
  return all;
}

store::StoredKey key_of(const model::Object& object) {
  return {model::kind_of(object), model::metadata_of(object).key()};
}

// Reading a large document takes many times its size.
bool is_large(const json& params) {
  constexpr std::size_t large = 128 * 1024;
  std::size_t size = 0;
  if (params.contains("documents") && params["documents"].is_array())
    for (const auto& document : params["documents"])
      if (document.is_object() && document.contains("text") && document["text"].is_string())
        size += document["text"].get_ref<const std::string&>().size();
  return size >= large;
}

// The same object twice in one request: the last one counts, as if applied one after the other.
void keep_last(std::vector<model::Document>& documents) {
  std::map<store::StoredKey, std::size_t> last;
  for (std::size_t i = 0; i < documents.size(); ++i) last[key_of(documents[i].object)] = i;
  std::vector<model::Document> kept;
  for (std::size_t i = 0; i < documents.size(); ++i)
    if (last[key_of(documents[i].object)] == i) kept.push_back(std::move(documents[i]));
  documents = std::move(kept);
}

// What the node gave the Service, where Kubernetes shows it.
void show_assignment(json& object, const control::ServiceAssignment& held) {
  auto& spec = object["spec"];
  if (!held.cluster_ips.empty()) {
    spec["clusterIP"] = held.cluster_ips.front().to_string();
    spec["clusterIPs"] = json::array();
    for (const auto& address : held.cluster_ips) spec["clusterIPs"].push_back(address.to_string());
  }
  if (held.health_check_port != 0) spec["healthCheckNodePort"] = held.health_check_port;
  if (spec.contains("ports") && spec["ports"].is_array())
    for (auto& port : spec["ports"]) {
      const auto parsed = PortProtocol::parse(
          fmt::format("{}/{}", port.value("port", 0), port.is_object() ? port.value("protocol", "TCP") : "TCP"));
      if (!parsed) continue;
      const auto node_port = held.node_ports.find({parsed->port, parsed->protocol});
      if (node_port != held.node_ports.end()) port["nodePort"] = node_port->second;
    }
  if (held.load_balancer_ips.empty()) return;
  auto& ingress = object["status"]["loadBalancer"]["ingress"];
  ingress = json::array();
  for (const auto& address : held.load_balancer_ips)
    ingress.push_back({{"ip", address.to_string()}, {"ipMode", "VIP"}});
}

}  // namespace

void Agent::register_objects() {
  server_->handle("apply", [this](const json& params) {
    auto answer = apply_objects(params);
    if (is_large(params)) give_memory_back(loop_);
    return answer;
  });
  server_->handle("delete", [this](const json& params) { return delete_objects(params); });
  server_->handle("get", [this](const json& params) { return get_objects(params); });
  server_->handle_stream("watch",
                         [this](const json& params, const api::Stream& stream) { watch_objects(params, stream); });
}

// What only the whole node can refuse: addresses and ports. Refused documents leave `documents`.
std::vector<model::Problem> Agent::admit(std::vector<model::Document>& documents) {
  std::vector<model::Problem> problems;
  std::set<std::size_t> refused;
  for (const auto& [index, error] : publisher_->admit(documents)) {
    auto& problem = problems.emplace_back(documents[index].refused(error.message));
    if (!error.hint.empty()) problem.message += "; " + error.hint;
    refused.insert(index);
  }
  std::vector<model::Document> kept;
  for (std::size_t i = 0; i < documents.size(); ++i)
    if (!refused.contains(i)) kept.push_back(std::move(documents[i]));
  documents = std::move(kept);
  return problems;
}

api::Answer Agent::apply_objects(const json& params) {
  WEFT_TRY(auto outcome, parse_documents(params));
  WEFT_TRY(const auto all_or_nothing, api::optional_bool(params, "all_or_nothing", true));
  WEFT_TRY(const auto dry_run, api::optional_bool(params, "dry_run", false));
  keep_last(outcome.documents);
  const auto before = publisher_->held(outcome.documents);
  std::ranges::move(admit(outcome.documents), std::back_inserter(outcome.problems));
  json result{{"applied", json::array()},
              {"problems", problems_json(outcome.problems)},
              {"warnings", problems_json(outcome.warnings)}};
  if (!outcome.problems.empty() && all_or_nothing) {
    publisher_->give_back(before);
    return weft::fail(api::ApiError({ErrorCode::invalid,
                                     fmt::format("{} problem{} found, nothing was applied", outcome.problems.size(),
                                                 outcome.problems.size() == 1 ? "" : "s"),
                                     "correct the documents, or apply the good ones with --no-all-or-nothing"},
                                    {{"problems", result["problems"]}, {"warnings", result["warnings"]}}));
  }
  if (dry_run) {
    publisher_->give_back(before);
    WEFT_TRY(const auto actions, objects_->plan(outcome.documents));
    for (std::size_t i = 0; i < actions.size(); ++i) {
      auto entry = identity_json(key_of(outcome.documents[i].object));
      entry["action"] = action_word(actions[i]);
      result["applied"].push_back(entry);
    }
    return result;
  }
  return commit(outcome.documents, before, std::move(result));
}

// Stores and publishes what was admitted; when it is refused, everything is as it was, the Services'
// addresses and ports as in `before`.
api::Answer Agent::commit(const std::vector<model::Document>& documents, const Publisher::Held& before, json result) {
  publisher_->set_records(attachment_->records());
  WEFT_TRY(const auto applied, publisher_->apply(documents, before));
  enrichment_stale_ = true;
  serve_outside();
  duties_->refresh();
  if (applied.owed) spdlog::warn("{}", applied.owed->message);  // told by the status while it lasts
  WEFT_CHECK(publisher_->store_numbers(true));
  WEFT_CHECK(store_->flush());  // enforced first, on the disk before the user is told
  const auto& actions = applied.actions;
  for (std::size_t i = 0; i < actions.size(); ++i) {
    auto entry = identity_json(key_of(documents[i].object));
    entry["action"] = action_word(actions[i]);
    result["applied"].push_back(entry);
  }
  return result;
}

api::Answer Agent::delete_objects(const json& params) {
  std::vector<store::StoredKey> keys;
  if (params.contains("documents")) {
    WEFT_TRY(const auto outcome, parse_documents(params));
    if (!outcome.problems.empty())
      return weft::fail(api::ApiError({ErrorCode::invalid, "nothing was deleted", {}},
                                      {{"problems", problems_json(outcome.problems)}}));
    for (const auto& document : outcome.documents) keys.push_back(key_of(document.object));
  } else {
    WEFT_TRY(const auto word, api::required_text(params, "kind"));
    WEFT_TRY(const auto kind, model::parse_kind(word));
    WEFT_TRY(const auto name, api::required_text(params, "name"));
    WEFT_TRY(const auto space, api::optional_text(params, "namespace", "default"));
    keys.push_back({kind, {!model::has_namespace(kind) ? "" : space.empty() ? "default" : space, name}});
  }
  std::vector<store::StoredKey> present;
  json result{{"deleted", json::array()}};
  for (const auto& key : keys) {
    WEFT_TRY(const bool known, objects_->contains(key));
    if (known) {
      present.push_back(key);
      result["deleted"].push_back(identity_json(key));
    } else if (key.kind == model::Kind::pod && objects_->pod(key.key) != nullptr) {
      return weft::fail(
          ErrorCode::invalid,
          fmt::format("pod {} belongs to Deployment {}", key.key.to_string(), objects_->pod(key.key)->workload),
          "delete the Deployment, or apply it with fewer replicas");
    }
  }
  if (present.empty())
    return weft::fail(ErrorCode::not_found, keys.size() == 1 ? fmt::format("no {} {}", model::to_string(keys[0].kind),
                                                                           keys[0].key.to_string())
                                                             : "none of the objects exists");
  // Deleting a namespace takes what is in it, as Kubernetes does.
  std::set<store::StoredKey> doomed(present.begin(), present.end());
  for (const auto& key : present)
    if (key.kind == model::Kind::namespace_)
      for (const auto kind : all_kinds) {
        if (!model::has_namespace(kind)) continue;
        WEFT_TRY(const auto others, objects_->keys(kind, key.key.name));
        for (const auto& other : others)
          if (doomed.insert(other).second) result["deleted"].push_back(identity_json(other));
      }
  publisher_->set_records(attachment_->records());
  WEFT_TRY(const auto owed, publisher_->remove({doomed.begin(), doomed.end()}));
  enrichment_stale_ = true;
  duties_->refresh();
  if (owed) spdlog::warn("{}", owed->message);
  WEFT_CHECK(publisher_->store_numbers(true));
  WEFT_CHECK(store_->flush());
  return result;
}

Result<json> Agent::pod_object(const model::Pod& pod) const {
  WEFT_TRY(const auto text, objects_->pod_json(pod));
  auto object = json::parse(model::public_json(text), nullptr, false);
  if (!object.is_object()) object = json::object();
  json status{{"phase", "Pending"}, {"conditions", json::array()}};
  const auto runs_at = [&](const std::vector<IpAddress>& addresses) {
    status["phase"] = "Running";
    if (!addresses.empty()) status["podIP"] = addresses.front().to_string();
    for (const auto& address : addresses) status["podIPs"].push_back({{"ip", address.to_string()}});
    status["conditions"].push_back({{"type", "Ready"}, {"status", pod.ready ? "True" : "False"}});
  };
  // The record, not the compiled endpoint: that one was made before the attachment was complete.
  const auto* endpoint = live(pod.meta.key());
  const auto record =
      endpoint == nullptr ? attachment_->records().end() : attachment_->records().find(endpoint->record.key);
  if (record != attachment_->records().end() && record->second.state == store::EndpointState::ready)
    runs_at(record->second.addresses);
  else if (pod.spec.host_network)  // nobody attaches it
    runs_at(node_.main_addresses());
  object["status"] = status;
  return object;
}

Result<json> Agent::stored_json(const store::StoredKey& key) const {
  WEFT_TRY(const auto row, objects_->read(key));
  if (!row) return identity_json(key);
  auto object = json::parse(model::public_json(row->json), nullptr, false);
  if (!object.is_object())
    return fail(ErrorCode::io,
                fmt::format("{}: what is stored of {} {} is no JSON object", store_->path(), model::to_string(key.kind),
                            key.key.to_string()),
                "apply the object again, or delete it");
  return object;
}

Result<json> Agent::object_json(const store::StoredKey& key) const {
  if (key.kind == model::Kind::pod)
    if (const auto* pod = objects_->pod(key.key)) return pod_object(*pod);
  WEFT_TRY(auto object, stored_json(key));
  if (key.kind == model::Kind::service) show_assignment(object, services().held(key.key));
  return object;
}

api::Answer Agent::get_objects(const json& params) {
  WEFT_TRY(const auto word, api::required_text(params, "kind"));
  WEFT_TRY(const auto space, api::optional_text(params, "namespace"));
  WEFT_TRY(const auto name, api::optional_text(params, "name"));
  std::optional<model::Kind> kind;
  if (word != "all") {
    WEFT_TRY(kind, model::parse_kind(word));
  }
  std::set<store::StoredKey> keys;
  const auto add = [&](const store::StoredKey& key) {
    if (!space.empty() && model::has_namespace(key.kind) && key.key.namespace_ != space) return;
    if (name.empty() || key.key.name == name) keys.insert(key);
  };
  for (const auto candidate : all_kinds) {
    if (kind && candidate != *kind) continue;
    WEFT_TRY(const auto stored, objects_->keys(candidate));
    std::ranges::for_each(stored, add);
  }
  if (!kind || *kind == model::Kind::pod)
    for (const auto& [key, pod] : objects_->pods()) add({model::Kind::pod, key});
  json result{{"items", json::array()}};
  for (const auto& key : keys) {
    WEFT_TRY(auto object, object_json(key));
    result["items"].push_back(std::move(object));
  }
  if (keys.size() >= many_items) give_memory_back(loop_);
  if (!name.empty() && result["items"].empty())
    return weft::fail(ErrorCode::not_found, fmt::format("no {} {}{}", word, space.empty() ? "" : space + "/", name));
  return result;
}

void Agent::watch_objects(const json& params, const api::Stream& stream) {
  const auto word = api::required_text(params, "kind");
  const auto kind = word ? model::parse_kind(*word) : Result<model::Kind>(weft::fail(word.error()));
  if (!kind) return stream.fail(kind.error());
  const auto present = get_objects({{"kind", *word}});
  if (!present) return stream.fail(present.error());
  for (const auto& item : (*present)["items"]) stream.send({{"type", "added"}, {"object", item}});
  stream.send({{"type", "synced"}});
  const auto id = next_watcher_++;
  stream.on_close([this, id] { watchers_.erase(id); });
  watchers_.emplace(id, Watcher{stream, *kind});
}

void Agent::tell_watchers(const ObjectChange& change) {
  const auto concerned = [&](const auto& item) { return item.second.kind == change.key.kind; };
  if (std::ranges::none_of(watchers_, concerned)) return;
  const char* type = change.type == ChangeType::added      ? "added"
                     : change.type == ChangeType::modified ? "modified"
                                                           : "deleted";
  Result<json> object = json{{"kind", model::to_string(change.key.kind)},
                             {"metadata", {{"namespace", change.key.key.namespace_}, {"name", change.key.key.name}}}};
  if (change.type != ChangeType::deleted) object = object_json(change.key);
  for (const auto& [id, watcher] : watchers_) {
    if (watcher.kind != change.key.kind) continue;
    // Who misses a change must ask anew.
    if (object)
      watcher.stream.send({{"type", type}, {"object", *object}});
    else
      watcher.stream.fail(object.error());
  }
  if (!object) std::erase_if(watchers_, concerned);
}

void Agent::tell_pod_modified(const model::ObjectKey& pod) {
  if (objects_->pod(pod) != nullptr) tell_watchers({ChangeType::modified, {model::Kind::pod, pod}});
}

}  // namespace weft::agent
