#include "agent/kubernetes_node.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/utc_text.h"

namespace weft::agent {
namespace {

using kubernetes::Reason;
using nlohmann::json;

constexpr auto condition_type = "NetworkUnavailable";
constexpr auto up_reason = "WeftIsUp";
constexpr auto down_reason = "WeftCannotAttach";
// A conflict or two are other writers; more that nothing gets through.
constexpr int many_failures = 5;
// Before what somebody else has set otherwise is set again: a cloud's route controller may have its own opinion, for
// ever.
constexpr auto argue_after = std::chrono::seconds(30);

std::string text_at(const json& object, const char* key) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  return object.is_object() && found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}
// An empty list where it is something else.
json list_at(const json& object, const char* part, const char* key) {
  if (!object.is_object() || !object.contains(part) || !object[part].is_object()) return json::array();
  const auto found = object[part].find(key);
  return found != object[part].end() && found->is_array() ? *found : json::array();
}

std::vector<Cidr> cidrs_of(const json& list) {
  std::vector<Cidr> cidrs;
  for (const auto& text : list)
    if (const auto cidr = Cidr::parse(text.is_string() ? text.get<std::string>() : "")) cidrs.push_back(*cidr);
  return cidrs;
}

NodeFacts facts_of(const json& node, std::string_view uid) {
  NodeFacts facts{.uid = std::string(uid), .labels = {}, .addresses = {}, .pod_cidrs = {}};
  if (node.contains("metadata") && node["metadata"].is_object() && node["metadata"].contains("labels"))
    for (const auto& [key, value] : node["metadata"]["labels"].items())
      if (value.is_string()) facts.labels[key] = value.get<std::string>();
  for (const auto& address : list_at(node, "status", "addresses"))
    if (text_at(address, "type") == "InternalIP")
      if (const auto parsed = IpAddress::parse(text_at(address, "address"))) facts.addresses.push_back(*parsed);
  facts.pod_cidrs = cidrs_of(list_at(node, "spec", "podCIDRs"));
  return facts;
}

std::string dump(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

}  // namespace

// What is kept of the object.
struct KubernetesNode::Seen {
  NodeFacts facts;
  json taints;
  json conditions;
};

json to_json(const NodeFacts& facts) {
  json result{{"uid", facts.uid}, {"labels", facts.labels}, {"addresses", json::array()}, {"podCIDRs", json::array()}};
  for (const auto& address : facts.addresses) result["addresses"].push_back(address.to_string());
  for (const auto& cidr : facts.pod_cidrs) result["podCIDRs"].push_back(cidr.to_string());
  return result;
}

std::optional<NodeFacts> facts_from_json(const json& stored) {
  if (!stored.is_object()) return std::nullopt;
  NodeFacts facts{.uid = text_at(stored, "uid"), .labels = {}, .addresses = {}, .pod_cidrs = {}};
  if (stored.contains("labels") && stored["labels"].is_object())
    for (const auto& [key, value] : stored["labels"].items())
      if (value.is_string()) facts.labels[key] = value.get<std::string>();
  if (stored.contains("addresses") && stored["addresses"].is_array())
    for (const auto& value : stored["addresses"])
      if (const auto parsed = IpAddress::parse(value.is_string() ? value.get<std::string>() : ""))
        facts.addresses.push_back(*parsed);
  if (stored.contains("podCIDRs") && stored["podCIDRs"].is_array()) facts.pod_cidrs = cidrs_of(stored["podCIDRs"]);
  return facts;
}

KubernetesNode::KubernetesNode(Parts parts, Handlers handlers)
    : parts_(std::move(parts)),
      handlers_(std::move(handlers)),
      writer_(parts_.http, {}),
      backoff_(parts_.backoff, parts_.random),
      reflector_(parts_.http, parts_.scheduler, parts_.random,
                 {.path = "/api/v1/nodes",
                  .field_selector = "metadata.name=" + parts_.node,
                  .label_selector = {},
                  .decode = [](const kubernetes::Object& object) -> Result<kubernetes::Decoded> {
                    const auto node = json::parse(object.json, nullptr, false);
                    if (!node.is_object()) return weft::fail(ErrorCode::invalid, "expected an object in JSON");
                    return std::make_shared<Seen>(Seen{.facts = facts_of(node, object.meta.uid),
                                                       .taints = list_at(node, "spec", "taints"),
                                                       .conditions = list_at(node, "status", "conditions")});
                  },
                  .backoff = parts_.backoff},
                 {.changed = [this](const kubernetes::Change& change) { take(change); }, .state = [] {}}),
      able_at_(parts_.scheduler.now()) {}

const KubernetesNode::Seen* KubernetesNode::seen() const {
  const auto found = reflector_.view().find(parts_.node);
  return found == reflector_.view().end() || !found->second.value ? nullptr
                                                                  : &kubernetes::as<Seen>(found->second.value);
}

void KubernetesNode::take(const kubernetes::Change&) {
  // Without the object the node is what it was: somebody deletes it to have it made anew.
  if (const auto* now = seen(); now != nullptr && now->facts != facts_) {
    facts_ = now->facts;
    handlers_.changed(facts_);
  }
  act();
}

void KubernetesNode::check(const std::string& why_not) {
  const auto now = parts_.scheduler.now();
  const auto before = wanted_;
  if (why_not.empty()) {
    able_at_ = now;
    wanted_ = Wanted::available;
  } else if (now - able_at_ > parts_.patience) {
    wanted_ = Wanted::unavailable;
    why_not_ = why_not;
  }
  if (before != Wanted::unavailable && wanted_ == Wanted::unavailable)
    handlers_.event(down_reason, "no pod can be attached: " + why_not_, true);
  if (before == Wanted::unavailable && wanted_ == Wanted::available)
    handlers_.event(up_reason, "pods can be attached again", false);
  act();
}

// Empty: nothing is to be changed.
std::string KubernetesNode::patch_of_taints() const {
  const auto* now = seen();
  auto rest = json::array();
  for (const auto& taint : now->taints)
    if (text_at(taint, "key") != not_ready_taint) rest.push_back(taint);
  if (rest.size() == now->taints.size()) return {};
  // A merge patch replaces the list: what somebody has added since must be a conflict.
  return dump({{"metadata", {{"resourceVersion", reflector_.view().find(parts_.node)->second.resource_version}}},
               {"spec", {{"taints", rest.empty() ? json(nullptr) : std::move(rest)}}}});
}

std::string KubernetesNode::patch_of_condition() const {
  const bool up = wanted_ == Wanted::available;
  const std::string status = up ? "False" : "True";
  auto conditions = seen()->conditions;
  const auto found =
      std::ranges::find(conditions, condition_type, [](const json& one) { return text_at(one, "type"); });
  const bool same = found != conditions.end() && text_at(*found, "status") == status;
  if (same && text_at(*found, "reason") == (up ? up_reason : down_reason)) return {};
  const auto time = utc_text(parts_.wall_clock());
  json condition{{"type", condition_type},
                 {"status", status},
                 {"reason", up ? up_reason : down_reason},
                 {"message", up ? "Weft attaches pods on this node" : why_not_},
                 {"lastHeartbeatTime", time},
                 {"lastTransitionTime", same ? found->value("lastTransitionTime", json(time)) : json(time)}};
  found == conditions.end() ? conditions.push_back(std::move(condition)) : (void)(*found = std::move(condition));
  return dump({{"metadata", {{"resourceVersion", reflector_.view().find(parts_.node)->second.resource_version}}},
               {"status", {{"conditions", std::move(conditions)}}}});
}

void KubernetesNode::act() {
  const auto now = parts_.scheduler.now();
  if (busy_ || wanted_ == Wanted::nothing || seen() == nullptr || now < not_before_) return;
  if (reflector_.view().find(parts_.node)->second.resource_version == based_on_) return;
  const auto path = "/api/v1/nodes/" + kubernetes::escape(parts_.node);
  // First the condition: whoever sees the node without the taint finds a network.
  if (auto patch = patch_of_condition(); !patch.empty()) {
    if (told_ == wanted_ && now < argue_at_) return;
    return write(path + "/status", std::move(patch), [this, telling = wanted_] {
      told_ = telling;
      argue_at_ = parts_.scheduler.now() + argue_after;
    });
  }
  if (wanted_ != Wanted::available) return;
  if (auto patch = patch_of_taints(); !patch.empty())
    write(path, std::move(patch), [this] {
      handlers_.event("WeftIsReady", fmt::format("pods can be attached: the taint {} was removed", not_ready_taint),
                      false);
    });
}

void KubernetesNode::write(const std::string& path, std::string patch, std::function<void()> written) {
  busy_ = true;
  const auto version = reflector_.view().find(parts_.node)->second.resource_version;
  writer_.merge_patch(path, std::move(patch), [this, version, written = std::move(written)](const auto& outcome) {
    busy_ = false;
    if (outcome) {
      problem_.clear();
      failures_ = 0;
      backoff_.reset();
      based_on_ = version;
      not_before_ = {};
      written();
      return act();
    }
    problem_ = outcome.error().message;
    ++failures_;
    not_before_ = parts_.scheduler.now() + backoff_.next();
  });
}

std::optional<Fault> KubernetesNode::fault() const {
  if (reflector_.synced() && seen() == nullptr)
    return Fault{fmt::format("the API server has no Node {}: pods are not followed under this name, and its taint and "
                             "condition are not tended",
                             parts_.node),
                 "set node: in weftd.yaml, or NODE_NAME, to the name that `kubectl get nodes` shows"};
  if (const auto& problem = reflector_.problem();
      problem && (problem->reason == Reason::denied || problem->reason == Reason::unauthenticated))
    return Fault{"the Node object cannot be followed: " + problem->message,
                 "give the agent's service account list and watch on nodes (docs/kubernetes.md, Rights)"};
  if (failures_ < many_failures) return std::nullopt;
  return Fault{fmt::format("the Node {} cannot be told that its network is {}: {}", parts_.node,
                           wanted_ == Wanted::available ? "there" : "not there", problem_),
               "it is tried again; the agent's service account needs patch on nodes and nodes/status "
               "(docs/kubernetes.md, Rights)"};
}

json KubernetesNode::status_json() const {
  const auto* now = seen();
  auto tainted = false;
  std::string available = "unknown";
  if (now != nullptr) {
    for (const auto& taint : now->taints) tainted = tainted || text_at(taint, "key") == not_ready_taint;
    for (const auto& one : now->conditions)
      if (text_at(one, "type") == condition_type)
        available = text_at(one, "status") == "False" ? "available" : "unavailable";
  }
  auto addresses = json::array();
  for (const auto& address : facts_.addresses) addresses.push_back(address.to_string());
  return {{"name", parts_.node},  {"known", now != nullptr}, {"tainted", tainted},
          {"network", available}, {"addresses", addresses},  {"problem", problem_}};
}

}  // namespace weft::agent
