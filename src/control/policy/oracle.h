// Test support: the NetworkPolicy API read directly, pod by pod and rule by rule, without identities,
// classes or prefixes. It shares no code with the compiler on purpose: whatever both get wrong in the
// same way would stay unseen.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "control/policy/policy.h"
#include "model/objects.h"

namespace weft::control::oracle {

// One end of a connection: a pod at one of its addresses, or just an address.
struct Party {
  const PolicyEndpoint* pod = nullptr;
  IpAddress address;
};

struct Verdict {
  std::vector<model::ObjectKey> isolating;                 // policies that select the pod, sorted
  std::vector<std::pair<model::ObjectKey, int>> matching;  // rules that allow, sorted
  [[nodiscard]] bool allowed() const { return isolating.empty() || !matching.empty(); }
};

inline bool requirement_holds(const model::LabelRequirement& requirement, const LabelMap& labels) {
  using Operator = model::LabelRequirement::Operator;
  const auto label = labels.find(requirement.key);
  const bool present = label != labels.end();
  const bool listed = present && std::count(requirement.values.begin(), requirement.values.end(), label->second) > 0;
  if (requirement.op == Operator::in) return listed;
  if (requirement.op == Operator::not_in) return !listed;
  if (requirement.op == Operator::exists) return present;
  return !present;
}

inline bool selects(const model::LabelSelector& selector, const LabelMap& labels) {
  for (const auto& requirement : selector.requirements)
    if (!requirement_holds(requirement, labels)) return false;
  return true;
}

// Bit by bit.
inline bool inside(const Cidr& cidr, const IpAddress& address) {
  if (cidr.address().is_v4() != address.is_v4()) return false;
  const unsigned skipped = address.is_v4() ? 96 : 0;
  for (unsigned bit = skipped; bit < skipped + cidr.length(); ++bit) {
    const unsigned differing = cidr.address().bytes()[bit / 8] ^ address.bytes()[bit / 8];
    if ((differing >> (7 - bit % 8) & 1U) != 0) return false;
  }
  return true;
}

inline bool is_peer(const model::PolicyPeer& peer, const std::string& policy_namespace, const Party& party,
                    const PolicyInput& world) {
  if (peer.ip_block) {
    if (!inside(peer.ip_block->cidr, party.address)) return false;
    for (const auto& except : peer.ip_block->except)
      if (inside(except, party.address)) return false;
    return true;
  }
  if (party.pod == nullptr) return false;
  const auto& namespace_ = party.pod->pod.namespace_;
  if (peer.namespace_selector) {
    LabelMap labels;
    if (world.namespaces.contains(namespace_)) labels = world.namespaces.at(namespace_);
    labels["kubernetes.io/metadata.name"] = namespace_;
    if (!selects(*peer.namespace_selector, labels)) return false;
  } else if (!peer.pod_selector || namespace_ != policy_namespace) {
    return false;
  }
  return !peer.pod_selector || selects(*peer.pod_selector, party.pod->labels);
}

inline bool is_port(const model::PolicyPort& allowed, const PolicyEndpoint* destination, Protocol protocol,
                    std::uint16_t port) {
  if (allowed.protocol != protocol) return false;
  if (!allowed.port) return true;
  if (const auto* number = std::get_if<std::uint16_t>(&*allowed.port))
    return port == *number || (allowed.end_port != 0 && port >= *number && port <= allowed.end_port);
  if (destination == nullptr) return false;
  for (const auto& declared : destination->ports)
    if (declared.name == std::get<std::string>(*allowed.port) && declared.protocol == protocol && declared.port == port)
      return true;
  return false;
}

// What the policies say of traffic of `subject` with `peer` in one direction.
inline Verdict judge(const PolicyInput& world, weft_direction direction, const PolicyEndpoint& subject,
                     const Party& peer, Protocol protocol, std::uint16_t port) {
  Verdict verdict;
  const auto* destination = direction == WEFT_INGRESS ? &subject : peer.pod;
  for (const auto& [key, policy] : *world.policies) {
    if (!(direction == WEFT_INGRESS ? policy.applies_ingress : policy.applies_egress)) continue;
    if (key.namespace_ != subject.pod.namespace_ || !selects(policy.pod_selector, subject.labels)) continue;
    verdict.isolating.push_back(key);
    const auto& rules = direction == WEFT_INGRESS ? policy.ingress : policy.egress;
    for (std::size_t index = 0; index < rules.size(); ++index) {
      const auto& rule = rules[index];
      bool peer_listed = rule.peers.empty();
      for (const auto& each : rule.peers) peer_listed = peer_listed || is_peer(each, key.namespace_, peer, world);
      bool port_listed = rule.ports.empty();
      for (const auto& each : rule.ports) port_listed = port_listed || is_port(each, destination, protocol, port);
      if (peer_listed && port_listed) verdict.matching.emplace_back(key, static_cast<int>(index));
    }
  }
  return verdict;
}

}  // namespace weft::control::oracle
