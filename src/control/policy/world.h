// One compile's view of the endpoints: grouped by everything policy can tell apart, with each
// selector evaluated once per group instead of once per pod. Internal to this room. Holds pointers
// into the PolicyInput it was made from.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "control/policy/policy.h"
#include "model/objects.h"

namespace weft::control::policy_internal {

// Endpoints with the same identity, namespace, labels and ports.
struct EndpointGroup {
  IdentityId identity = 0;
  std::size_t identity_index = 0;
  const PolicyEndpoint* example = nullptr;
  bool local = true;  // some endpoint of it is policed here, the example is one
};

class PolicyWorld {
 public:
  explicit PolicyWorld(const PolicyInput& input);

  [[nodiscard]] const std::vector<EndpointGroup>& groups() const { return groups_; }
  // By position in PolicyInput.endpoints.
  [[nodiscard]] std::size_t group_of(std::size_t endpoint) const { return group_of_endpoint_[endpoint]; }

  // The groups in the policy's namespace that its podSelector selects.
  const std::vector<std::size_t>& selected_by(const model::NetworkPolicy& policy);
  // Adds the identities a peer's selectors match, in a policy of `namespace_`.
  void add_peers(const model::PolicyPeer& peer, const std::string& namespace_, std::vector<IdentityId>& identities);
  // Every identity of an endpoint.
  [[nodiscard]] std::vector<IdentityId> all_identities() const;
  // The numbers a port's name has on the pods of an identity: those that all of its pods agree on.
  [[nodiscard]] std::vector<std::uint16_t> named_port(IdentityId identity, const std::string& name,
                                                      Protocol protocol) const;

 private:
  struct NamespaceGroups {
    LabelMap labels;
    std::vector<std::size_t> groups;
  };
  // Groups of one namespace a selector matches, by namespace.
  using Matches = std::map<const NamespaceGroups*, std::vector<std::size_t>>;

  std::size_t find_or_add_group(const PolicyEndpoint& endpoint, bool local);
  const std::vector<std::size_t>& matching_groups(const model::LabelSelector& selector, const NamespaceGroups& in);
  const std::vector<const NamespaceGroups*>& matching_namespaces(const model::LabelSelector& selector);

  std::vector<EndpointGroup> groups_;
  std::vector<std::size_t> group_of_endpoint_;
  std::vector<std::vector<std::size_t>> groups_of_identity_;  // by identity_index
  std::unordered_map<IdentityId, std::size_t> index_of_identity_;
  std::map<std::string, NamespaceGroups> namespaces_;
  std::map<model::LabelSelector, Matches> group_matches_;
  std::map<model::LabelSelector, std::vector<const NamespaceGroups*>> namespace_matches_;
  std::vector<std::size_t> matched_;  // scratch of add_peers, by identity_index
};

}  // namespace weft::control::policy_internal
