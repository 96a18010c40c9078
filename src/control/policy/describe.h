// Policy in words and in YAML. Internal to this room.
#pragma once

#include <string>
#include <vector>

#include "control/policy/explain.h"

namespace weft::control::policy_internal {

std::string_view name_of(weft_direction direction);  // "ingress", "egress"
inline const std::vector<model::PolicyRule>& rules_of(const model::NetworkPolicy& policy, weft_direction direction) {
  return direction == WEFT_EGRESS ? policy.egress : policy.ingress;
}
inline bool applies(const model::NetworkPolicy& policy, weft_direction direction) {
  return direction == WEFT_EGRESS ? policy.applies_egress : policy.applies_ingress;
}

// "8080/TCP", "1000-2000/UDP", "every SCTP port", "port http/TCP".
std::string describe(const model::PolicyPort& port);
// "8080/TCP or every UDP port"; "every port" for a rule without ports.
std::string describe_ports(const model::PolicyRule& rule);
// "pods app=web in namespace shop", "all pods in namespaces team=a", "addresses in 10.0.0.0/8 except
// 10.1.0.0/16"; in a policy of `namespace_`.
std::string describe(const model::PolicyPeer& peer, const std::string& namespace_);
// The peers joined with "or"; "everybody" for a rule without peers.
std::string describe_peers(const model::PolicyRule& rule, const std::string& namespace_);
// "shop/web-0", "the node", "192.0.2.1".
std::string describe(const ExplainSide& side);
// "80/TCP", "ICMP".
std::string describe_port(Protocol protocol, std::uint16_t port);
bool has_ports(Protocol protocol);

// A manifest of the policy, one line each, without line ends.
std::vector<std::string> to_yaml(const model::NetworkPolicy& policy);

}  // namespace weft::control::policy_internal
