#include "agent/compile.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "agent/address_pools.h"
#include "agent/rule_json.h"

namespace weft::agent {
namespace {

using datapath::to_abi;

std::vector<control::Identity> restored_identities(const store::NumberSet& numbers) {
  std::vector<control::Identity> result;
  for (const auto& [id, labels] : numbers.identities) result.push_back({id, labels});
  return result;
}

std::map<control::RuleId, control::RuleDescription> restored_rules(const store::NumberSet& numbers) {
  std::map<control::RuleId, control::RuleDescription> result;
  for (const auto& [id, text] : numbers.rules)
    if (auto rule = rule_from_store(text)) result.emplace(id, *rule);
  return result;
}

constexpr std::size_t spare_identities = 1024;

// All zero asks the datapath for nothing; the enforcement bits come from policy.
weft_endpoint endpoint_row(const LiveEndpoint& endpoint, const control::EndpointPolicy& policy, std::uint32_t mtu) {
  weft_endpoint row{};
  row.ifindex = endpoint.record.ifindex;
  row.endpoint_id = endpoint.record.endpoint_id;
  row.identity = endpoint.identity;
  row.policy_class = policy.policy_class;
  if (policy.enforced[WEFT_INGRESS]) row.flags |= WEFT_ENDPOINT_INGRESS_ENFORCED;
  if (policy.enforced[WEFT_EGRESS]) row.flags |= WEFT_ENDPOINT_EGRESS_ENFORCED;
  for (const auto direction : {WEFT_INGRESS, WEFT_EGRESS}) {
    row.prefix_mask[direction] = policy.prefix_mask[direction];
    row.default_rule[direction] = policy.default_rule[direction];
  }
  std::ranges::copy(endpoint.record.mac.bytes, row.mac);
  row.mtu = static_cast<std::uint16_t>(std::min(mtu, 65535U));
  return row;
}

}  // namespace

std::vector<model::ContainerPort> ports_of(const model::Pod& pod) {
  std::vector<model::ContainerPort> result;
  for (const auto& container : pod.spec.containers)
    result.insert(result.end(), container.ports.begin(), container.ports.end());
  result.insert(result.end(), pod.spec.sidecar_ports.begin(), pod.spec.sidecar_ports.end());
  return result;
}

Compiler::Compiler(const Config& config, const store::NumberSet& restored, std::map<std::string, std::uint32_t> classes,
                   std::uint32_t highest_class)
    : config_(config),
      identities_(restored_identities(restored)),
      cidrs_(restored.cidr_identities),
      rules_(restored_rules(restored)),
      policy_(rules_, cidrs_),
      kept_classes_(std::move(classes)),
      highest_class_(highest_class) {
  for (const auto& [key, number] : kept_classes_) highest_class_ = std::max(highest_class_, number);
  policy_.restore(kept_classes_, highest_class_);
}

void Compiler::written(control::RuleTable::Time now) {
  kept_classes_ = policy_.classes();
  rules_.settle(now);
}

void Compiler::owed() {
  kept_classes_ = policy_.classes();
  refused();
}

void Compiler::refused() { policy_.restore(kept_classes_, highest_class_); }

bool runs_here(const model::Pod& pod, const Config& config) {
  return !config.clustered() || pod.spec.node == config.node;
}

LabelMap identity_labels_of(const Objects& objects, const model::ObjectKey& pod, const LabelMap& container_labels) {
  if (const auto* object = objects.pod(pod))
    return control::identity_labels(pod.namespace_, object->meta.labels, ports_of(*object));
  auto labels = control::identity_labels(pod.namespace_, {});
  labels.merge(LabelMap(container_labels));
  return labels;
}

void Compiler::learn(const std::map<control::IdentityId, LabelMap>& set, const std::vector<control::IdentityId>& gone,
                     bool whole) {
  std::vector<control::IdentityId> stale = gone;
  if (whole)
    for (const auto& [id, identity] : identities_.all())
      if (!set.contains(id)) stale.push_back(id);
  for (const auto id : stale) identities_.forget(id);
  for (const auto& [id, labels] : set) identities_.learn(id, labels);
}

Result<void> Compiler::live_endpoints(Compiled& compiled, const Objects& objects,
                                      const std::map<store::EndpointKey, store::EndpointRecord>& records,
                                      bool clustered) {
  auto& result = compiled.endpoints;
  std::map<store::EndpointKey, control::IdentityId> held;
  for (const auto& [key, record] : records) {
    if (record.state == store::EndpointState::deleting || record.ifindex == 0) continue;
    LiveEndpoint live;
    live.record = record;
    if (const auto* pod = objects.pod(live.pod())) {
      if (pod->finished) continue;  // its addresses are nobody's, though the runtime has not detached it yet
      live.pod_labels = pod->meta.labels;
      live.ports = ports_of(*pod);
      live.workload = pod->workload;
      live.ready = pod->ready;
      live.terminating = pod->terminating;
      live.weight = pod->weight;
    }
    const auto labels = identity_labels_of(objects, live.pod(), record.labels);
    if (clustered) {
      compiled.labels.insert(labels);
      const auto before = held_.find(key);
      const auto otherwise = before == held_.end() ? control::IdentityId{WEFT_IDENTITY_INIT} : before->second;
      live.identity = identities_.number_of(labels).value_or(otherwise);
    } else {
      const auto identity = identities_.acquire(labels);
      if (!identity) {
        for (const auto& [taker, taken] : held) identities_.release(taken);
        return fail(identity.error());
      }
      live.identity = *identity;
    }
    held.emplace(key, live.identity);
    result.push_back(std::move(live));
  }
  if (!clustered)
    for (const auto& [key, identity] : held_) identities_.release(identity);
  held_ = std::move(held);
  // Containers without a pod object have label sets of their own. The numbers of the gone are kept a
  // while, so that flows of the past still have names.
  if (!clustered && identities_.all().size() > 2 * held_.size() + spare_identities) (void)identities_.collect();
  std::ranges::sort(result, {}, [](const LiveEndpoint& endpoint) { return endpoint.pod(); });
  return {};
}

// The pods of other nodes as peers: all of an identity are one.
void Compiler::add_peers(Compiled& compiled, const cluster::PodTable& others) const {
  std::map<control::IdentityId, control::PolicyEndpoint> peers;
  for (const auto& [id, pods] : others.identities()) {
    const auto* identity = identities_.find(id);
    if (identity == nullptr || id < WEFT_IDENTITY_FIRST) continue;
    auto& peer = peers[id];
    peer.pod.namespace_ = control::namespace_of(identity->labels);
    peer.identity = id;
    peer.labels = control::pod_labels_of(identity->labels);
    peer.ports = control::named_ports_of(identity->labels);
  }
  auto& input = compiled.policy_input;
  compiled.peers_by_address = std::ranges::any_of(
      *input.policies, [](const auto& policy) { return control::knows_peers_by_address(policy.second); });
  if (compiled.peers_by_address)
    others.each([&](const cluster::ToldPod& pod) {
      const auto peer = peers.find(pod.told.identity);
      if (peer == peers.end() || pod.told.host_network || peer->second.ports.empty()) return;
      auto& addresses = peer->second.addresses;
      addresses.insert(addresses.end(), pod.told.addresses.begin(), pod.told.addresses.end());
    });
  for (auto& [id, peer] : peers) input.peers.push_back(std::move(peer));
}

void Compiler::fill_endpoints(Compiled& compiled, const Node& node) const {
  auto& rows = compiled.rows;
  for (const auto& live : compiled.endpoints) {
    const auto policy = compiled.policy.endpoints.find(live.pod());
    auto row = endpoint_row(
        live, policy == compiled.policy.endpoints.end() ? control::EndpointPolicy{} : policy->second, node.pod_mtu);
    for (const auto& address : live.record.addresses) {
      row.cidr_identity = cidrs_.narrowest(address);
      rows.endpoints.insert_or_assign(to_abi(address), row);
    }
    if (live.record.netns_cookie != 0) rows.netns[live.record.netns_cookie] = {live.record.endpoint_id, 0};
  }
  for (const auto& address : node.addresses) {
    weft_endpoint row{};
    row.endpoint_id = WEFT_ENDPOINT_ID_HOST;
    row.identity = WEFT_IDENTITY_HOST;
    row.cidr_identity = cidrs_.narrowest(address);
    row.flags = WEFT_ENDPOINT_HOST;
    rows.endpoints.try_emplace(to_abi(address), row);
  }
  rows.netns[node.netns_cookie] = {WEFT_ENDPOINT_ID_HOST, WEFT_ENDPOINT_HOST};
  for (const auto& [index, uplink] : node.uplinks) {
    weft_device device{};
    if (uplink.v4) device.nat_v4 = to_abi(*uplink.v4);
    if (uplink.v6) device.nat_v6 = to_abi(*uplink.v6);
    device.mtu = uplink.mtu;
    rows.devices[index] = device;
  }
}

std::optional<weft_remote> Compiler::remote_row(const IpAddress& address, const control::NodePlan& plan,
                                                const cluster::ToldPod& pod) const {
  const auto reach = plan.reach.find(pod.node);
  if (pod.told.host_network || reach == plan.reach.end() || reach->second.number == 0) return {};
  return weft_remote{pod.told.identity, cidrs_.narrowest(address), reach->second.number, 0};
}

std::optional<weft_remote> Compiler::remote_row(const IpAddress& address, const ClusterView& cluster,
                                                const cluster::PodTable& others) const {
  if (const auto owner = cluster.plan.addresses.find(address); owner != cluster.plan.addresses.end())
    return weft_remote{WEFT_IDENTITY_REMOTE_NODE, cidrs_.narrowest(address), owner->second.number, WEFT_REMOTE_NODE};
  for (const auto& pod : others.at(address))
    if (auto row = remote_row(address, cluster.plan, pod)) return row;
  return {};
}

// Every prefix the datapath must tell apart: policy CIDRs, the pod and service ranges, native ones, nodes' blocks.
void Compiler::fill_identities(Compiled& compiled, const std::vector<Cidr>& pools, const Node& node,
                               const ClusterView& cluster) const {
  std::map<Cidr, std::uint32_t> special;  // prefix -> weft_ip_flag
  for (const auto* ranges : {&config_.pod_cidrs, &config_.service_cidrs, &pools})
    for (const auto& cidr : *ranges) special[cidr] |= WEFT_IP_RESERVED | WEFT_IP_NATIVE;
  for (const auto& cidr : config_.native_cidrs) special[cidr] |= WEFT_IP_NATIVE;
  for (const auto& cidr : config_.load_balancer_peers) special[cidr] |= WEFT_IP_BALANCER;
  for (const auto& address : node.broadcasts) special[Cidr(address, 32)] |= WEFT_IP_BROADCAST;
  std::set<Cidr> prefixes;
  for (const auto& [cidr, flags] : special) prefixes.insert(cidr);
  for (const auto& [cidr, id] : cidrs_.all()) prefixes.insert(cidr);
  for (const auto& [cidr, number] : cluster.plan.blocks) prefixes.insert(cidr);
  const auto& blocks = cluster.plan.blocks;
  // Always there: otherwise ::/0 would catch IPv4, whose keys are IPv4-mapped.
  prefixes.insert(*Cidr::parse("0.0.0.0/0"));
  prefixes.insert(*Cidr::parse("::/0"));
  for (const auto& prefix : prefixes) {
    const auto number = cidrs_.narrowest(prefix);
    weft_ip_identity row{.identity = number != 0 ? number : control::IdentityId{WEFT_IDENTITY_WORLD}};
    for (const auto& [cidr, flags] : special)
      if (cidr.contains(prefix)) row.flags |= flags;
    // Blocks do not overlap: only the last one that begins before the prefix can hold it.
    const auto after = blocks.upper_bound(prefix);
    const auto block = after == blocks.begin() ? blocks.end() : std::prev(after);
    if (block != blocks.end() && block->first.contains(prefix)) {
      row.node = block->second;
      row.identity = WEFT_IDENTITY_INIT;
    }
    compiled.rows.identities.emplace(to_abi(prefix), row);
  }
}

Result<Compiled> Compiler::compile(const Objects& objects,
                                   const std::map<store::EndpointKey, store::EndpointRecord>& records, const Node& node,
                                   const ClusterView& cluster, const cluster::PodTable* others) {
  Compiled compiled;
  WEFT_CHECK(live_endpoints(compiled, objects, records, cluster.clustered));
  auto& input = compiled.policy_input;
  input.namespaces = objects.namespaces();
  input.policies = objects.shared_policies();
  input.revisions = objects.shared_policy_revisions();
  for (const auto& live : compiled.endpoints)
    input.endpoints.push_back({live.pod(), live.identity, live.pod_labels, live.ports, live.record.addresses});
  if (others != nullptr && cluster.known) add_peers(compiled, *others);
  // Half of the table: so that the rows of a change fit beside those of before it.
  input.row_room = WEFT_POLICY_ROWS / 2;
  input.cidr_room = WEFT_POLICY_CIDRS;
  compiled.policy = policy_.compile(input);
  for (const auto& [key, number] : policy_.classes()) highest_class_ = std::max(highest_class_, number);
  for (const auto& [key, entry] : compiled.policy.rows) compiled.rows.policy.emplace(key, entry);
  compiled.cidr_identities = cidrs_.all();
  fill_endpoints(compiled, node);
  for (const auto& [number, way] : cluster.plan.nodes) compiled.rows.nodes.emplace(number, way);
  fill_identities(compiled, further_cidrs(config_, objects), node, cluster);
  fill_egress(compiled, objects, node, cluster);
  return compiled;
}

store::NumberSet Compiler::numbers() const {
  store::NumberSet numbers;
  for (const auto& [id, identity] : identities_.all()) numbers.identities.emplace(id, identity.labels);
  numbers.cidr_identities = cidrs_.all();
  for (const auto& [id, rule] : rules_.all()) numbers.rules.emplace(id, rule_to_store(rule));
  return numbers;
}

}  // namespace weft::agent
