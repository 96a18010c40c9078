#include "control/policy/world.h"

#include <algorithm>

#include "control/policy/match.h"

namespace weft::control::policy_internal {

PolicyWorld::PolicyWorld(const PolicyInput& input) {
  group_of_endpoint_.reserve(input.endpoints.size());
  for (const auto& endpoint : input.endpoints) group_of_endpoint_.push_back(find_or_add_group(endpoint, true));
  for (const auto& peer : input.peers) find_or_add_group(peer, false);
  for (std::size_t group = 0; group < groups_.size(); ++group)
    namespaces_[groups_[group].example->pod.namespace_].groups.push_back(group);
  for (auto& [name, entry] : namespaces_) entry.labels = namespace_labels(input, name);
  matched_.resize(groups_of_identity_.size());
}

std::size_t PolicyWorld::find_or_add_group(const PolicyEndpoint& endpoint, bool local) {
  const auto [index, added] = index_of_identity_.try_emplace(endpoint.identity, groups_of_identity_.size());
  if (added) groups_of_identity_.emplace_back();
  auto& same_identity = groups_of_identity_[index->second];
  for (const auto group : same_identity) {
    const auto& example = *groups_[group].example;
    if (example.pod.namespace_ == endpoint.pod.namespace_ && example.labels == endpoint.labels &&
        example.ports == endpoint.ports)
      return group;
  }
  same_identity.push_back(groups_.size());
  groups_.push_back({endpoint.identity, index->second, &endpoint, local});
  return groups_.size() - 1;
}

const std::vector<std::size_t>& PolicyWorld::matching_groups(const model::LabelSelector& selector,
                                                             const NamespaceGroups& in) {
  if (selector.empty()) return in.groups;
  const auto [entry, added] = group_matches_[selector].try_emplace(&in);
  if (added)
    for (const auto group : in.groups)
      if (selector.matches(groups_[group].example->labels)) entry->second.push_back(group);
  return entry->second;
}

const std::vector<const PolicyWorld::NamespaceGroups*>& PolicyWorld::matching_namespaces(
    const model::LabelSelector& selector) {
  const auto [entry, added] = namespace_matches_.try_emplace(selector);
  if (added)
    for (const auto& [name, candidate] : namespaces_)
      if (selector.matches(candidate.labels)) entry->second.push_back(&candidate);
  return entry->second;
}

const std::vector<std::size_t>& PolicyWorld::selected_by(const model::NetworkPolicy& policy) {
  static const std::vector<std::size_t> none;
  const auto found = namespaces_.find(policy.meta.namespace_);
  return found == namespaces_.end() ? none : matching_groups(policy.pod_selector, found->second);
}

void PolicyWorld::add_peers(const model::PolicyPeer& peer, const std::string& namespace_,
                            std::vector<IdentityId>& identities) {
  if (!peer.pod_selector && !peer.namespace_selector) return;
  std::vector<std::size_t> touched;
  const auto take = [&](const NamespaceGroups& in) {
    const auto& groups = peer.pod_selector ? matching_groups(*peer.pod_selector, in) : in.groups;
    for (const auto group : groups) {
      const auto index = groups_[group].identity_index;
      if (matched_[index]++ == 0) touched.push_back(index);
    }
  };
  if (peer.namespace_selector) {
    for (const auto* in : matching_namespaces(*peer.namespace_selector)) take(*in);
  } else if (const auto own = namespaces_.find(namespace_); own != namespaces_.end()) {
    take(own->second);
  }
  for (const auto index : touched) {
    const auto& of_identity = groups_of_identity_[index];
    const auto identity = groups_[of_identity.front()].identity;
    if (matched_[index] == of_identity.size() && identity >= WEFT_IDENTITY_FIRST) identities.push_back(identity);
    matched_[index] = 0;
  }
}

std::vector<IdentityId> PolicyWorld::all_identities() const {
  std::vector<IdentityId> identities;
  for (const auto& [identity, index] : index_of_identity_)
    if (identity >= WEFT_IDENTITY_FIRST) identities.push_back(identity);
  std::ranges::sort(identities);
  return identities;
}

std::vector<std::uint16_t> PolicyWorld::named_port(IdentityId identity, const std::string& name,
                                                   Protocol protocol) const {
  const auto index = index_of_identity_.find(identity);
  if (index == index_of_identity_.end()) return {};
  const auto& of_identity = groups_of_identity_[index->second];
  auto numbers = resolve_named_port(groups_[of_identity.front()].example->ports, name, protocol);
  for (const auto group : of_identity) {
    const auto other = resolve_named_port(groups_[group].example->ports, name, protocol);
    std::erase_if(numbers, [&](std::uint16_t number) { return std::ranges::find(other, number) == other.end(); });
  }
  return numbers;
}

}  // namespace weft::control::policy_internal
