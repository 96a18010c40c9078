#include "model/stored.h"
#include "model/annotations.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "base/json_depth.h"
#include "model/parse.h"
#include "model/tree.h"

namespace weft::model {
namespace {

using nlohmann::json;

// What a cluster wrote into an object it was asked for; it says nothing about what is wanted.
constexpr std::array server_fields{"managedFields",     "selfLink",          "resourceVersion",           "generation",
                                   "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"};

json lines_of(const std::vector<PolicyRule>& rules) {
  json lines = json::array();
  for (const auto& rule : rules) lines.push_back(rule.line);
  return lines;
}

void restore_lines(std::vector<PolicyRule>& rules, const json& location, const char* key) {
  const auto lines = location.find(key);
  if (lines == location.end() || !lines->is_array()) return;
  for (std::size_t i = 0; i < rules.size() && i < lines->size(); ++i)
    if ((*lines)[i].is_number_integer()) rules[i].line = (*lines)[i].get<int>();
}

std::uint64_t number_in(const json& object, const char* key) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  return object.is_object() && found != object.end() && found->is_number_unsigned() ? found->get<std::uint64_t>() : 0;
}

void restore_location(Object& object, const json& location) {
  if (!location.is_object()) return;
  std::visit(
      [&](auto& value) {
        const auto file = location.find("file");
        const auto line = location.find("line");
        if (file != location.end() && file->is_string()) value.meta.location.file = file->template get<std::string>();
        if (line != location.end() && line->is_number_integer()) value.meta.location.line = line->template get<int>();
      },
      object);
  if (auto* policy = std::get_if<NetworkPolicy>(&object)) {
    policy->meta.generation = number_in(location, "generation");
    restore_lines(policy->ingress, location, "ingress");
    restore_lines(policy->egress, location, "egress");
  }
}

// As deep as documents may be, and what is added to them here. Discarded: it is deeper, or no JSON.
json parse_stored(std::string_view text) {
  constexpr std::size_t deepest = Limits::depth + 10;
  return nests_deeper(text, deepest) ? json(json::value_t::discarded) : json::parse(text, nullptr, false);
}

// Of a Service that an API server has, whose controller says which endpoints the selector leads to.
void leave_to_slices(Object& object) {
  if (auto* service = std::get_if<Service>(&object)) service->selector.reset();
}

std::string dump(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

std::string text_in(const json& object, const char* part, const char* key) {
  if (!object.is_object()) return {};
  const auto inner = object.find(part);
  if (inner == object.end() || !inner->is_object()) return {};
  const auto found = inner->find(key);
  return found != inner->end() && found->is_string() ? found->get<std::string>() : std::string();
}

// Only what decoding reads of a status is kept.
void trim_status(json& stored, const Object& object) {
  const auto status = stored.find("status");
  if (status == stored.end()) return;
  const auto* service = std::get_if<Service>(&object);
  const auto* pod = std::get_if<Pod>(&object);
  if (pod != nullptr && status->is_object() && (pod->finished || status->contains("conditions"))) {
    auto kept = json::object();
    if (status->contains("conditions")) kept["conditions"] = status->at("conditions");
    if (pod->finished) kept["phase"] = status->at("phase");
    *status = std::move(kept);
  } else if (service != nullptr && !service->ingress.empty()) {
    *status = json{{"loadBalancer", status->at("loadBalancer")}};
  } else {
    stored.erase(status);
  }
}

}  // namespace

Object decode_object(const KindEntry& entry, const Value& root) {
  switch (entry.kind) {
    case Kind::namespace_:
      return decode_namespace(root);
    case Kind::pod:
      return decode_pod(root);
    case Kind::deployment:
      return decode_deployment(root, entry.workload);
    case Kind::service:
      return decode_service(root);
    case Kind::endpoint_slice:
      return decode_endpoint_slice(root);
    case Kind::network_policy:
      return decode_network_policy(root);
    case Kind::load_balancer_pool:
      return decode_load_balancer_pool(root);
    case Kind::l2_announcement:
      return decode_l2_announcement(root);
    case Kind::bgp_peering:
      return decode_bgp_peering(root);
    case Kind::egress_gateway:
      return decode_egress_gateway(root);
    case Kind::pod_address_pool:
      return decode_pod_address_pool(root);
  }
  return Namespace{};
}

std::string stored_json(const KindEntry& entry, const Value& root, const Object& object) {
  const Metadata& meta = metadata_of(object);
  json stored = json_from_tree(root.tree(), root.id());
  stored["apiVersion"] = entry.api_version;
  stored["kind"] = to_string(entry.kind);
  if (entry.kind == Kind::deployment) {
    stored["apiVersion"] = "apps/v1";
    for (const char* field : {"serviceName", "volumeClaimTemplates", "podManagementPolicy", "updateStrategy",
                              "ordinals", "persistentVolumeClaimRetentionPolicy"})
      stored["spec"].erase(field);
  }
  json& metadata = stored["metadata"];
  // That a pod is going decides who gets new flows.
  for (const std::string_view field : server_fields)
    if (entry.kind != Kind::pod || field != "deletionTimestamp") metadata.erase(std::string(field));
  metadata.erase("namespace");
  if (entry.kind == Kind::namespace_) metadata["labels"] = meta.labels;
  if (has_namespace(entry.kind)) metadata["namespace"] = meta.namespace_;
  trim_status(stored, object);
  json location{{"file", meta.location.file}, {"line", meta.location.line}};
  if (!root.report().tells_unknown()) location["checked"] = true;
  if (const auto* policy = std::get_if<NetworkPolicy>(&object)) {
    if (policy->meta.generation != 0) location["generation"] = policy->meta.generation;
    location["ingress"] = lines_of(policy->ingress);
    location["egress"] = lines_of(policy->egress);
  }
  stored[location_key] = std::move(location);
  return dump(stored);
}

Result<Object> object_from_json(std::string_view text) {
  json stored = parse_stored(text);
  if (!stored.is_object()) return fail(ErrorCode::invalid, "the stored object is not a JSON object");
  json location;
  if (const auto found = stored.find(location_key); found != stored.end()) {
    location = std::move(*found);
    stored.erase(found);
  }
  const auto word = [&](const char* key) {
    const auto found = stored.find(key);
    return found != stored.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  const KindVerdict verdict = judge_kind(word("apiVersion"), word("kind"));
  if (verdict.action != KindVerdict::Action::decode)
    return fail(ErrorCode::invalid, "the stored object has no kind Weft acts on: \"" + word("kind") + "\"");
  WEFT_TRY(const Tree tree, tree_from_json(stored));
  const bool checked = location.is_object() && location.value("checked", json()) == true;
  Report report("", checked ? Report::Unknown::passed_over : Report::Unknown::told);
  Object object = decode_object(*verdict.entry, Value(tree, tree.root, report, ""));
  if (!report.clean()) {
    const Problem& first = report.problems().front();
    return fail(ErrorCode::invalid, "the stored object is not valid: " + first.path + ": " + first.message);
  }
  restore_location(object, location);
  if (checked) leave_to_slices(object);
  return object;
}

Result<ApiObject> object_from_api(Kind kind, std::string_view from, std::string_view text) {
  const json given = parse_stored(text);
  if (!given.is_object()) return fail(ErrorCode::invalid, "expected an object in JSON");
  WEFT_TRY(const Tree tree, tree_from_json(given));
  Report report(from, Report::Unknown::passed_over);
  const Value root(tree, tree.root, report, "");
  const auto& entry = entry_of(kind);
  ApiObject result{.object = decode_object(entry, root), .json = {}, .misspelt = {}};
  if (!report.clean()) {
    const Problem& first = report.problems().front();
    return fail(ErrorCode::invalid, first.path + ": " + first.message);
  }
  for (const auto& warning : report.warnings())
    if (warning.message.starts_with(unknown_annotation))
      result.misspelt += (result.misspelt.empty() ? "" : "; ") + warning.message;
  if (auto* policy = std::get_if<NetworkPolicy>(&result.object); policy != nullptr && given.contains("metadata"))
    policy->meta.generation = number_in(given.at("metadata"), "generation");
  result.json = stored_json(entry, root, result.object);
  leave_to_slices(result.object);
  return result;
}

Result<ApiObject> closed_policy_from_api(std::string_view from, std::string_view text) {
  const json given = parse_stored(text);
  json metadata = json::object();
  for (const char* key : {"name", "namespace", "uid"}) metadata[key] = text_in(given, "metadata", key);
  if (given.is_object() && given.contains("metadata"))
    if (const auto generation = number_in(given.at("metadata"), "generation"); generation != 0)
      metadata["generation"] = generation;
  json spec{{"podSelector", json::object()}, {"policyTypes", {"Ingress", "Egress"}}};
  const auto closed = [&] {
    return object_from_api(Kind::network_policy, from, dump({{"metadata", metadata}, {"spec", spec}}));
  };
  const auto stated = given.is_object() ? given.find("spec") : given.end();
  if (!given.is_object() || stated == given.end() || !stated->is_object()) return closed();
  // Each by itself: one that is not understood does not spoil the other.
  for (const char* part : {"policyTypes", "podSelector"}) {
    const auto found = stated->find(part);
    if (found == stated->end() || found->empty()) continue;
    auto before = std::exchange(spec[part], *found);
    if (!closed()) spec[part] = std::move(before);
  }
  return closed();
}

std::string uid_of(std::string_view text) {
  const json stored = parse_stored(text);
  for (const char* place : {"metadata", location_key})
    if (auto uid = text_in(stored, place, "uid"); !uid.empty()) return uid;
  return {};
}

std::string with_uid(std::string_view text, std::string_view uid) {
  json stored = parse_stored(text);
  if (!stored.is_object()) return std::string(text);
  if (const auto metadata = stored.find("metadata"); metadata != stored.end() && metadata->is_object())
    metadata->erase("uid");
  auto& location = stored[location_key];
  if (!location.is_object()) location = json::object();
  location["uid"] = uid;
  return dump(stored);
}

std::string without_status(std::string_view text) {
  json stored = parse_stored(text);
  if (!stored.is_object()) return std::string(text);
  stored.erase("status");
  return dump(stored);
}

std::string public_json(std::string_view text) {
  json stored = parse_stored(text);
  if (!stored.is_object()) return std::string(text);
  if (const auto uid = text_in(stored, location_key, "uid"); !uid.empty() && stored["metadata"].is_object())
    stored["metadata"]["uid"] = uid;
  stored.erase(location_key);
  return dump(stored);
}

}  // namespace weft::model
