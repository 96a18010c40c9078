// API: get, watch.
#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>

#include "agent/agent.h"
#include "agent/memory.h"
#include "agent/object_names.h"
#include "api/params.h"

namespace weft::agent {
namespace {

using nlohmann::json;

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

// Where the next page of a list begins: "Pod/shop/web-0".
std::string token_of(const store::StoredKey& key) {
  return fmt::format("{}/{}/{}", model::to_string(key.kind), key.key.namespace_, key.key.name);
}

Result<store::StoredKey> key_of_token(const std::string& token) {
  const auto first = token.find('/');
  const auto second = first == std::string::npos ? first : token.find('/', first + 1);
  const auto kind = model::parse_kind(token.substr(0, first));
  if (second == std::string::npos || !kind)
    return weft::fail(ErrorCode::invalid, fmt::format("continue: \"{}\" is not what an answer carried", token));
  return store::StoredKey{*kind, {token.substr(first + 1, second - first - 1), token.substr(second + 1)}};
}

// One that runs on another node, if any is known.
std::optional<cluster::SharedEndpoint> told_by_others(const cluster::PodTable* others, const model::ObjectKey& key) {
  if (others == nullptr) return {};
  auto pods = others->named({key.namespace_, key.name});
  return pods.empty() ? std::nullopt : std::optional(std::move(pods.front().told));
}

}  // namespace

Result<json> Agent::pod_object(const model::Pod& pod) const {
  WEFT_TRY(const auto text, objects_->pod_json(pod));
  auto object = json::parse(model::public_json(text), nullptr, false);
  if (!object.is_object()) object = json::object();
  json status{{"phase", "Pending"}, {"conditions", json::array()}};
  const auto runs_at = [&](const std::vector<IpAddress>& addresses, bool ready) {
    status["phase"] = "Running";
    if (!addresses.empty()) status["podIP"] = addresses.front().to_string();
    for (const auto& address : addresses) status["podIPs"].push_back({{"ip", address.to_string()}});
    status["conditions"].push_back({{"type", "Ready"}, {"status", ready ? "True" : "False"}});
  };
  // The record, not the compiled endpoint: that one was made before the attachment was complete.
  const auto* endpoint = live(pod.meta.key());
  const auto record =
      endpoint == nullptr ? attachment_->records().end() : attachment_->records().find(endpoint->record.key);
  if (record != attachment_->records().end() && record->second.state == store::EndpointState::ready)
    runs_at(record->second.addresses, pod.ready);
  else if (const auto told = told_by_others(publisher_->others(), pod.meta.key()))
    runs_at(told->addresses, told->ready);
  else if (pod.spec.host_network && runs_here(pod, config_))  // nobody attaches it
    runs_at(node_.main_addresses(), pod.ready);
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

// Ordered; with `limit` the first of them behind `after`, and whether there are more.
Result<Agent::Keys> Agent::wanted_keys(const json& params) const {
  WEFT_TRY(const auto word, api::required_text(params, "kind"));
  WEFT_TRY(const auto space, api::optional_text(params, "namespace"));
  WEFT_TRY(const auto name, api::optional_text(params, "name"));
  WEFT_TRY(const auto limit, api::optional_number(params, "limit", 0));
  WEFT_TRY(const auto token, api::optional_text(params, "continue"));
  std::optional<model::Kind> kind;
  if (word != "all") {
    WEFT_TRY(kind, model::parse_kind(word));
  }
  store::StoredKey after;
  if (!token.empty()) {
    WEFT_TRY(after, key_of_token(token));
  }
  // Of a name there is one in each namespace: not worth a page.
  const auto most = limit == 0 || !name.empty() ? std::numeric_limits<std::int64_t>::max() - 1
                                                : static_cast<std::int64_t>(std::min<std::uint64_t>(limit, 1U << 20));
  const auto wanted = static_cast<std::size_t>(most);
  Keys result;
  for (const auto candidate : all_kinds) {
    // Of a namespace, all is what lives in it.
    if (!kind && !space.empty() && !model::has_namespace(candidate)) continue;
    if ((kind && candidate != *kind) || candidate < after.kind || result.more) continue;
    const auto of = space.empty() || !model::has_namespace(candidate) ? std::nullopt : std::optional(space);
    const auto begin = candidate == after.kind ? after.key : model::ObjectKey();
    WEFT_TRY(auto found, objects_->page(candidate, of, begin, wanted + 1 - result.keys.size()));
    if (!name.empty()) std::erase_if(found, [&](const auto& key) { return key.key.name != name; });
    std::ranges::move(found, std::back_inserter(result.keys));
    result.more = result.keys.size() > wanted;
  }
  if (result.more) result.keys.resize(wanted);
  if (!name.empty() && result.keys.empty())
    return weft::fail(ErrorCode::not_found, fmt::format("no {} {}{}", word, space.empty() ? "" : space + "/", name));
  return result;
}

api::Answer Agent::get_objects(const json& params) const {
  WEFT_TRY(const auto wanted, wanted_keys(params));
  json result{{"items", json::array()}};
  for (const auto& key : wanted.keys) {
    WEFT_TRY(auto object, object_json(key));
    result["items"].push_back(std::move(object));
  }
  if (wanted.more) result["continue"] = token_of(wanted.keys.back());
  if (wanted.keys.size() >= many_items) give_memory_back(loop_);
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
