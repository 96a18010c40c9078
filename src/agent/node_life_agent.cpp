// The agent's part of what node_life.h does: what it hears of the Node object, and when it is ready.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include <nlohmann/json.hpp>

#include "agent/agent.h"
#include "agent/ipam_time.h"
#include "agent/withheld.h"

namespace weft::agent {
namespace {

constexpr auto facts_name = "kubernetes-node";
constexpr auto kept_from = std::chrono::minutes(2);  // renewed every second
constexpr auto zone_label = "topology.kubernetes.io/zone";

}  // namespace

// What weftd.yaml says goes before what the object says.
bool Agent::apply_node_facts(const NodeFacts& facts) {
  auto labels = facts.labels;
  for (const auto& [key, value] : given_labels_) labels[key] = value;
  const auto zone = facts.labels.find(zone_label);
  const auto wanted = !given_zone_.empty() || zone == facts.labels.end() ? given_zone_ : zone->second;
  if (labels == config_.node_labels && wanted == config_.zone && facts.addresses == config_.node_addresses &&
      facts.pod_cidrs == config_.own_cidrs)
    return false;
  config_.node_labels = std::move(labels);
  config_.zone = wanted;
  config_.node_addresses = facts.addresses;
  config_.own_cidrs = facts.pod_cidrs;
  return true;
}

// A start without the server knows what an earlier run heard.
void Agent::recall_node_facts() {
  given_zone_ = config_.zone;
  given_labels_ = config_.node_labels;
  if (config_.objects != Config::ObjectSource::kubernetes) return;
  const auto stored = store_->get(facts_name);
  if (!stored || !*stored) return;
  if (const auto facts = facts_from_json(nlohmann::json::parse(**stored, nullptr, false))) apply_node_facts(*facts);
}

void Agent::take_node_facts(const NodeFacts& facts) {
  if (auto stored = store_->set(facts_name, to_json(facts).dump()); !stored) note(stored.error().message);
  if (!apply_node_facts(facts)) return;
  spdlog::info("the Node object has changed: zone \"{}\", {} labels", config_.zone, config_.node_labels.size());
  compiler().set_config(config_);
  if (auto node = read_node(*netlink_, config_, node_.netns_cookie)) node_ = std::move(*node);
  bgp_seen_.reset();
  if (cluster_) cluster_->tell(node_);
  if (!taken_over_) return;
  if (cluster_) {
    compile_due_ = true;
    if (config_.node_cidrs == Config::NodeCidrs::kubernetes) blocks_changed();
    return take_others();
  }
  if (auto published = publish(); !published) faults_.set("publish", "the node changed: " + published.error().message);
}

void Agent::tend_life() {
  const auto able = attach_ability();
  life_->check(able ? std::string() : able.error().message, node_);
  if (!kubernetes_) return;
  // A pod of another network may have an address of our range: the same for two would be worse than none.
  for (const auto& address : life_->check_pods(kubernetes_->objects().pods(), attachment_->records()))
    ipam_->rest(address, ipam_now() + kept_from);
  tell_of_objects();
}

// Of what this node does not do as objects ask for.
void Agent::tell_of_objects() {
  std::set<std::string> namespaces;
  for (const auto& [pod, object] : objects_->pods()) namespaces.insert(pod.namespace_);
  life_->tell_new("NotUnderstood", kubernetes_->objects().misunderstood(), namespaces);
  life_->tell_new("UnknownAnnotation", kubernetes_->objects().misspelt(), namespaces);
  std::map<store::StoredKey, std::string> unserved;
  for (const auto& one : services().left_out())
    unserved.emplace(store::StoredKey{one.is_pod ? model::Kind::pod : model::Kind::service, one.owner},
                     one.error.text());
  for (const auto& [service, withheld] : withheld_addresses(*publisher_)) {
    std::vector<std::string> asked;
    std::vector<std::string> given;
    for (const auto& one : withheld)
      (one.of_status ? given : asked).push_back(fmt::format("{} {}", one.address.to_string(), one.why));
    std::vector<std::string> texts;
    if (!asked.empty()) texts.push_back(fmt::format("not at its external IPs: {}", fmt::join(asked, ", ")));
    if (!given.empty()) texts.push_back(fmt::format("not at addresses of its status: {}", fmt::join(given, ", ")));
    unserved.try_emplace(store::StoredKey{model::Kind::service, service}, fmt::format("{}", fmt::join(texts, "; ")));
  }
  life_->tell_new("NotServed", unserved, namespaces);
  std::map<store::StoredKey, std::string> closed;
  for (const auto& policy : compiled().policy.closed)
    closed.emplace(store::StoredKey{model::Kind::network_policy, policy},
                   "it needs more rows than there is room for: it allows nothing to the pods it selects here; make it "
                   "smaller");
  life_->tell_new("TooLarge", closed, namespaces);
}

}  // namespace weft::agent
