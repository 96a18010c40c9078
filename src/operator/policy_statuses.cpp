#include "operator/policy_statuses.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <utility>

#include "operator/conditions.h"
#include "operator/json_parts.h"
#include "sources/cluster/values.h"

namespace weft::op {
namespace {

using cluster::EnforcementView;
using kubernetes::as;
using kubernetes::Decoded;
using kubernetes::Entry;
using nlohmann::json;

constexpr auto resource = "/apis/weft.io/v1alpha1";
constexpr auto plural = "weftpolicystatuses";
constexpr auto enforced_condition = "Enforced";
// What several nodes tell at once is written together, and so many in a look: a hundred in a second at most.
constexpr auto together = std::chrono::milliseconds(200);
constexpr std::size_t most_in_a_look = 20;
constexpr std::size_t most_named = 10;
// Between writes of one status: of another decision, and of other numbers.
constexpr auto decision_pace = std::chrono::milliseconds(900);
constexpr auto number_pace = std::chrono::seconds(5);
constexpr auto unseen_for = std::chrono::seconds(3);

struct PolicyMeta {
  std::int64_t generation = 0;
  bool deleting = false;
};

struct StatusMeta {
  std::string policy_uid;  // by its ownerReference
  std::string status;      // JSON
};

Result<Decoded> read_policy(const kubernetes::Object& object) {
  auto meta = std::make_shared<PolicyMeta>();
  simdjson::dom::element part;
  if (object.root["metadata"]["generation"].get(meta->generation) != simdjson::SUCCESS) meta->generation = 0;
  meta->deleting = object.root["metadata"]["deletionTimestamp"].get(part) == simdjson::SUCCESS;
  return Decoded(std::move(meta));
}

Result<Decoded> read_status(const kubernetes::Object& object) {
  auto meta = std::make_shared<StatusMeta>();
  const auto whole = json::parse(object.json, nullptr, false);
  for (const auto& owner : part(part(whole, "metadata"), "ownerReferences", json::array()))
    if (text(owner, "kind") == "NetworkPolicy") meta->policy_uid = text(owner, "uid");
  meta->status = part(whole, "status").dump(-1, ' ', false, json::error_handler_t::replace);
  return Decoded(std::move(meta));
}

std::pair<std::string, std::string> names_of(const std::string& key) {
  const auto slash = key.find('/');
  return {key.substr(0, slash), key.substr(slash + 1)};
}

std::string collection_of(const std::string& key) {
  return fmt::format("{}/namespaces/{}/{}", resource, names_of(key).first, plural);
}
std::string path_of(const std::string& key) { return fmt::format("{}/{}", collection_of(key), names_of(key).second); }

std::uint64_t number_of(const std::string& version) {
  std::uint64_t number = 0;
  std::from_chars(version.data(), version.data() + version.size(), number);
  return number;
}

std::string names(const EnforcementView::Judgement& judged) {
  constexpr std::size_t most = 3;
  std::string all;
  for (std::size_t i = 0; i < std::min(most, judged.behind.size()); ++i)
    all += (i == 0 ? "" : ", ") + judged.behind[i].node;
  if (judged.behind.size() > most) all += fmt::format(" and {} more", judged.behind.size() - most);
  return all;
}

bool is_in_force(const EnforcementView::Judgement& judged) {
  return judged.verdict == EnforcementView::Verdict::enforced || judged.verdict == EnforcementView::Verdict::no_pods;
}

// What was not in force before is not before they have told.
void wait_for_joining(EnforcementView::Judgement& judged) {
  if (judged.joining.empty()) return;
  if (is_in_force(judged)) judged.verdict = EnforcementView::Verdict::waiting;
  for (const auto& node : judged.joining)
    judged.behind.push_back({node, {}, "it has joined a moment ago, and has not told yet what it enforces"});
}

Condition condition_of(const EnforcementView::Judgement& judged, std::int64_t generation) {
  Condition condition{.type = enforced_condition, .message = {}, .generation = generation};
  const auto why = [&] { return fmt::format("{}: {}", names(judged), judged.behind.front().reason); };
  switch (judged.verdict) {
    case EnforcementView::Verdict::enforced:
      condition.status = true;
      condition.reason = "Enforced";
      condition.message = fmt::format("by every node that has pods of it: {}", judged.selected);
      break;
    case EnforcementView::Verdict::no_pods:
      condition.status = true;
      condition.reason = "NoPods";
      condition.message = "it selects no pod of any node";
      break;
    case EnforcementView::Verdict::waiting:
      condition.unknown = true;
      condition.reason = "NodesBehind";
      condition.message = why();
      break;
    case EnforcementView::Verdict::failed:
      condition.reason = "NodesFailed";
      condition.message = why();
      break;
    case EnforcementView::Verdict::away:
      condition.reason = "NodesAway";
      condition.message = why();
      break;
  }
  return condition;
}

json status_of(const EnforcementView::Judgement& judged, std::int64_t generation) {
  auto behind = json::array();
  for (std::size_t i = 0; i < std::min(most_named, judged.behind.size()); ++i) {
    const auto& one = judged.behind[i];
    json named{{"node", one.node}, {"reason", one.reason}};
    if (one.version.generation != 0) named["generation"] = one.version.generation;
    behind.push_back(std::move(named));
  }
  return {{"observedGeneration", generation},
          {"summary", fmt::format("{}/{}", judged.enforcing, judged.selected)},
          {"nodes", {{"selected", judged.selected}, {"enforcing", judged.enforcing}, {"behind", judged.behind.size()}}},
          {"nodesBehind", std::move(behind)}};
}

}  // namespace

PolicyStatuses::PolicyStatuses(Parts parts, Handlers handlers)
    : parts_(std::move(parts)),
      handlers_(std::move(handlers)),
      writer_({.http = parts_.http, .scheduler = parts_.scheduler, .random = parts_.random, .backoff = parts_.backoff},
              {.again = [this] { soon(); },
               .trouble =
                   [this](const kubernetes::Failure& why) {
                     // Its policies go with it, and nobody misses the status of one.
                     if (why.message.find("being terminated") == std::string::npos) handlers_.trouble(why);
                   }}),
      policies_(parts_.http, parts_.scheduler, parts_.random,
                {.path = "/apis/networking.k8s.io/v1/networkpolicies",
                 .field_selector = {},
                 .label_selector = {},
                 .decode = read_policy,
                 .consistent = true,
                 .metadata_only = true,
                 .backoff = parts_.backoff},
                {.changed = [this](const kubernetes::Change& change) { policies_changed(change); },
                 .state = [this] { soon(); }}),
      statuses_(parts_.http, parts_.scheduler, parts_.random,
                {.path = fmt::format("{}/{}", resource, plural),
                 .field_selector = {},
                 .label_selector = {},
                 .decode = read_status,
                 .consistent = true,
                 .backoff = parts_.backoff},
                {.changed = [this](const kubernetes::Change& change) { statuses_changed(change); },
                 .state = [this] { soon(); }}),
      alive_(parts_.store.client, parts_.scheduler, parts_.random,
             parts_.store.mirror_of_leased(parts_.store.keys.alive(), [](const etcd::KeyValue&) { return true; }),
             {.changed = [this](const etcd::Change& change) { nodes_changed(change); }, .state = [this] { soon(); }}),
      told_(parts_.store.client, parts_.scheduler, parts_.random,
            [this] {
              auto options = parts_.store.mirror_of_nodes(parts_.store.keys.enforcement(),
                                                          [](const etcd::KeyValue&) { return true; });
              options.values = false;
              options.page = 50;
              return options;
            }(),
            {.changed = [this](const etcd::Change& change) { told(change); }, .state = [this] { soon(); }}) {}

void PolicyStatuses::duty_changed() {
  writer_.stop();
  look_.cancel();
  all_due();
}

void PolicyStatuses::check() {
  if (!handlers_.acts()) return;
  for (const auto* reflector : {&policies_, &statuses_})
    if (const auto& problem = reflector->problem();
        problem && (problem->reason == kubernetes::Reason::denied || problem->reason == kubernetes::Reason::not_found))
      handlers_.trouble(*problem);
  due_.insert(unsettled_.begin(), unsettled_.end());
  soon();
}

void PolicyStatuses::policies_changed(const kubernetes::Change& change) {
  for (const auto& each : change.set) {
    const std::string key(each.key);
    auto& known = known_[key];
    const auto generation = as<PolicyMeta>(each.now->value).generation;
    // Labels and annotations make no other policy of it.
    if (known.uid != each.now->uid || known.generation != generation) {
      known.uid = each.now->uid;
      known.generation = generation;
      known.revision = number_of(each.now->resource_version);
    }
    due_.insert(key);
  }
  for (const auto& each : change.erased) due_.emplace(each.key);
  soon();
}

void PolicyStatuses::statuses_changed(const kubernetes::Change& change) {
  for (const auto& each : change.set) due_.emplace(each.key);
  for (const auto& each : change.erased) {
    if (const auto known = known_.find(std::string(each.key)); known != known_.end() && each.before != nullptr)
      known->second.last_version = each.before->resource_version;
    due_.emplace(each.key);
  }
  soon();
}

void PolicyStatuses::nodes_changed(const etcd::Change& change) {
  const auto now = parts_.scheduler.now();
  const auto take = [&](const etcd::KeyValue& kv, bool gone) {
    const auto key = parts_.store.keys.parse_as<cluster::AliveKey>(kv.key);
    const auto run = gone ? fail(ErrorCode::not_found, "") : cluster::decode_incarnation(kv.key, kv.value);
    if (!key || (!gone && !run)) return handlers_.store_trouble(key ? run.error() : key.error());
    view_.set_alive(key->node, gone ? std::optional<std::string>() : run->boot_id, now);
    for (const auto& [space, name] : view_.policies_of(key->node)) due_.insert(fmt::format("{}/{}", space, name));
  };
  for (const auto& kv : change.erased) take(kv, true);
  for (const auto& kv : change.set) take(kv, false);
  due_.insert(unsettled_.begin(), unsettled_.end());
  soon();
}

void PolicyStatuses::told(const etcd::Change& change) {
  const auto now = parts_.scheduler.now();
  const auto take = [&](const etcd::KeyValue& kv, bool gone) {
    const auto key = parts_.store.keys.parse_as<cluster::EnforcementKey>(kv.key);
    auto told = gone ? fail(ErrorCode::not_found, "") : cluster::decode_enforcement(kv.key, kv.value);
    if (!key || (!gone && !told)) handlers_.store_trouble(key ? told.error() : key.error());
    if (!key) return;
    // What cannot be read is nobody's word.
    for (const auto& [space, name] : view_.set(key->node, told ? std::optional(std::move(*told)) : std::nullopt, now))
      due_.insert(fmt::format("{}/{}", space, name));
  };
  for (const auto& kv : change.erased) take(kv, true);
  for (const auto& kv : change.set) take(kv, false);
  due_.insert(unsettled_.begin(), unsettled_.end());
  soon();
}

// Nothing is concluded from half of it.
bool PolicyStatuses::ready() const {
  return handlers_.acts() && policies_.live() && statuses_.live() && alive_.live() && told_.live() && alive_.synced() &&
         told_.synced();
}

void PolicyStatuses::all_due() {
  for (const auto& [key, entry] : policies_.view()) due_.insert(key);
  for (const auto& [key, entry] : statuses_.view()) due_.insert(key);
  soon();
}

void PolicyStatuses::soon() {
  if (look_ || due_.empty() || !ready()) return;
  look_ = parts_.scheduler.after(together, [this] {
    look_.cancel();
    look();
  });
}

void PolicyStatuses::look() {
  if (!ready()) return;
  std::size_t left = most_in_a_look;
  for (auto entry = due_.begin(); entry != due_.end() && left > 0;) {
    if (!settle(*entry)) {
      // It was written, or cannot be for now: the view or the clock brings it back.
      unsettled_.insert(*entry);
      --left;
    }
    entry = due_.erase(entry);
  }
  soon();
}

bool PolicyStatuses::settle(const std::string& key) {
  const auto policy = policies_.view().find(key);
  if (policy != policies_.view().end()) return write(key, policy->second, known_[key]);
  const auto status = statuses_.view().find(key);
  unsettled_.erase(key);
  if (status != statuses_.view().end()) {
    writer_.erase(path_of(key), status->second.uid, status->second.resource_version);
    return false;
  }
  known_.erase(key);
  return true;
}

bool PolicyStatuses::write(const std::string& key, const Entry& policy, Known& known) {
  const auto now = parts_.scheduler.now();
  auto judged = view_.judge({.name = names_of(key),
                             .uid = policy.uid,
                             .version = {.generation = static_cast<std::uint64_t>(known.generation), .digest = {}},
                             .revision = known.revision},
                            now);
  if (as<PolicyMeta>(policy.value).deleting) return true;
  const auto entry = statuses_.view().find(key);
  const bool there = entry != statuses_.view().end();
  const auto before = there ? json::parse(as<StatusMeta>(entry->second.value).status, nullptr, false) : json::object();
  // Of a policy that was deleted and made again: whoever collects garbage would take it, whatever stands in it.
  if (there && as<StatusMeta>(entry->second.value).policy_uid != policy.uid) {
    writer_.erase(path_of(key), entry->second.uid, entry->second.resource_version);
    return false;
  }
  auto status = status_of(judged, known.generation);
  const auto had = part(before, "conditions", json::array());
  const auto* was = find_condition(had, enforced_condition);
  const bool was_true = was != nullptr && was->value("status", json()) == "True" &&
                        before.value("observedGeneration", json()) == known.generation;
  if (!was_true) wait_for_joining(judged);
  if (!is_in_force(judged) || !judged.joining.empty())
    unsettled_.insert(key);
  else
    unsettled_.erase(key);
  auto conditions = with_condition(had, condition_of(judged, known.generation), parts_.wall_clock());
  if (conditions)
    status["conditions"] = std::move(*conditions);
  else
    status["conditions"] = had;
  if (there && status == before) return true;
  const auto* is = find_condition(status["conditions"], enforced_condition);
  const bool decided = was == nullptr || is == nullptr || was->value("status", json()) != is->value("status", json()) ||
                       before.value("observedGeneration", json()) != status["observedGeneration"];
  const auto pace = decided ? std::chrono::milliseconds(decision_pace) : std::chrono::milliseconds(number_pace);
  if (there && now - known.written < pace) return false;
  bool begun = false;
  if (there) {
    begun = writer_.write(path_of(key), entry->second.resource_version, {{"status", std::move(status)}});
  } else {
    // What came and went before the view had it is never seen.
    if (now - known.written > unseen_for) ++known.tries;
    const auto [space, name] = names_of(key);
    begun = writer_.create(path_of(key), collection_of(key),
                           fmt::format("absent since {}, try {}", known.last_version, known.tries),
                           {{"apiVersion", "weft.io/v1alpha1"},
                            {"kind", "WeftPolicyStatus"},
                            {"metadata",
                             {{"namespace", space},
                              {"name", name},
                              {"ownerReferences",
                               {{{"apiVersion", "networking.k8s.io/v1"},
                                 {"kind", "NetworkPolicy"},
                                 {"name", name},
                                 {"uid", policy.uid}}}}}},
                            {"status", std::move(status)}});
  }
  if (begun) known.written = now;
  return false;
}

}  // namespace weft::op
