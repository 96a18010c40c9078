// Events on their way to flows: the ring is polled, names are looked up when the event arrives.
#include <nlohmann/json.hpp>

#include "abi/config.h"
#include "abi/egress.h"
#include "agent/agent.h"
#include "agent/rule_json.h"
#include "flow/observe.h"

namespace weft::agent {
namespace {

flow::Party pod_party(const model::ObjectKey& pod, control::IdentityId identity,
                      const std::vector<IpAddress>& addresses, const std::string& workload) {
  flow::Party party;
  party.kind = flow::PeerKind::pod;
  party.namespace_ = pod.namespace_;
  party.pod = pod.name;
  party.workload = workload;
  party.identity = identity;
  party.addresses = addresses;
  return party;
}

flow::RuleInfo rule_info(const control::RuleDescription& rule, const control::PolicyInput& input) {
  flow::RuleInfo info;
  info.kind = to_string(rule.kind);
  info.direction = rule.direction == WEFT_EGRESS ? "egress" : "ingress";
  if (rule.kind == control::RuleDescription::Kind::rule) {
    info.policy = rule.policy.to_string();
    info.index = rule.index;
  }
  for (const auto& policy : rule.isolating) info.isolating.push_back(policy.to_string());
  if (const auto location = control::location_of(rule, input)) {
    info.file = location->file;
    info.line = location->line;
  }
  info.text = rule.to_string();
  return info;
}

}  // namespace

void Agent::refresh_enrichment() {
  if (!enrichment_stale_) return;
  enrichment_stale_ = false;
  const auto& old = flows_->enrichment();
  auto addresses = std::make_shared<flow::AddressTable>();
  auto endpoints = std::make_shared<flow::EndpointTable>();
  for (const auto& live : compiled().endpoints) {
    const auto party = pod_party(live.pod(), live.identity, live.record.addresses, live.workload);
    flow::put(*endpoints, old.endpoints.get(), live.record.endpoint_id, party);
    for (const auto& address : live.record.addresses) flow::put(*addresses, old.addresses.get(), address, party);
  }
  flow::Party host;
  host.kind = flow::PeerKind::host;
  host.identity = WEFT_IDENTITY_HOST;
  host.addresses.assign(node_.addresses.begin(), node_.addresses.end());
  flow::put<std::uint32_t, flow::Party>(*endpoints, old.endpoints.get(), WEFT_ENDPOINT_ID_HOST, host);
  for (const auto& address : node_.addresses) flow::put(*addresses, old.addresses.get(), address, host);

  auto identities = std::make_shared<flow::IdentityTable>();
  const auto add_identity = [&](const control::Identity& identity) {
    flow::IdentityInfo info;
    info.labels = to_texts(identity.labels);
    flow::put(*identities, old.identities.get(), identity.id, info);
  };
  for (const auto& identity : control::reserved_identities()) add_identity(identity);
  for (const auto& [id, identity] : compiler().identities().all()) add_identity(identity);
  for (const auto& [cidr, id] : compiled().cidr_identities)
    add_identity({id, {{"cidr:" + cidr.to_string(), ""}, {"reserved:world", ""}}});

  auto rules = std::make_shared<flow::RuleTable>();
  for (const auto& [id, rule] : compiler().rules().all())
    flow::put(*rules, old.rules.get(), id, rule_info(rule, compiled().policy_input));
  for (const auto id : {0U, control::RuleTable::host_allowed, control::RuleTable::reply})
    if (const auto* rule = compiler().rules().find(id))
      flow::put(*rules, old.rules.get(), id, rule_info(*rule, compiled().policy_input));

  auto nodes = std::make_shared<flow::NodeTable>();
  flow::put<std::uint32_t, std::string>(*nodes, old.nodes.get(), WEFT_EGRESS_HERE, config_.node);
  for (const auto& [name, reach] : publisher_->cluster().plan.reach)
    if (reach.number != 0) flow::put(*nodes, old.nodes.get(), reach.number, name);

  std::erase_if(service_names_, [](const auto& item) { return item.second.info.use_count() <= 1; });
  for (auto& [id, name] : service_names_) name.stale = true;
  parties_elsewhere_.clear();
  flows_->set_enrichment({addresses, endpoints, identities, rules, nodes,
                          [this](const IpAddress& address) { return party_elsewhere(address); },
                          [this](std::uint32_t id) { return service_name(id); }});
}

// Of another node, if some flow names it: flows share it until something is told of other nodes.
std::shared_ptr<const flow::Party> Agent::party_elsewhere(const IpAddress& address) {
  if (publisher_->others() == nullptr) return nullptr;
  const auto [known, added] = parties_elsewhere_.try_emplace(address);
  if (!added) return known->second;
  if (const auto pod = remote(address)) {
    const model::ObjectKey key{pod->name.namespace_, pod->name.name};
    const auto* object = objects_->pod(key);
    known->second = std::make_shared<const flow::Party>(
        pod_party(key, pod->told.identity, pod->told.addresses, object == nullptr ? "" : object->workload));
  }
  return known->second;
}

// Of a service some flow names, as it is now. Flows share it while it stays the same.
std::shared_ptr<const flow::ServiceInfo> Agent::service_name(std::uint32_t id) {
  auto& known = service_names_[id];
  if (!std::exchange(known.stale, false)) return known.info;
  const auto* port = services().by_id(id);
  if (port == nullptr) {
    known.info = nullptr;
    return nullptr;
  }
  flow::ServiceInfo info{port->service.namespace_, port->service.name, port->port_name, {}, port->port};
  if (!port->frontends.empty()) info.address = port->frontends.front().address;
  if (known.info == nullptr || *known.info != info) known.info = std::make_shared<const flow::ServiceInfo>(info);
  return known.info;
}

void Agent::consume_events() {
  refresh_enrichment();
  (void)ring_->consume();
  std::uint64_t lost = 0;
  if (auto* stats = datapath_->map("weft_stats_v1")) {
    const std::uint32_t index = WEFT_STAT_EVENT_LOST;
    if (const auto values = stats->lookup(std::as_bytes(std::span<const std::uint32_t, 1>(&index, 1)));
        values && *values)
      for (std::size_t at = 0; at + 8 <= (*values)->size(); at += 8) {
        std::uint64_t value = 0;
        std::memcpy(&value, (*values)->data() + at, 8);
        lost += value;
      }
  }
  // The counter is the kernel's: what it says at the start was lost to an earlier agent.
  if (lost_told_ && lost > *lost_told_) flows_->add_lost(lost - *lost_told_);
  lost_told_ = lost;
  flows_->notify();
}

void Agent::register_observe() {
  server_->handle_stream("observe", [this](const nlohmann::json& params, api::Stream stream) {
    // What has happened up to the question belongs into its answer.
    consume_events();
    flow::serve_observe(*flows_, config_.node, params, std::move(stream));
  });
}

}  // namespace weft::agent
