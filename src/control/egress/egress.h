// EgressGateways compiled: which gateways the flows of which identities take, whether this node is one of them, and
// which addresses it is to take. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "abi/egress.h"
#include "base/ip.h"
#include "base/labels.h"
#include "control/identity/identity.h"
#include "model/objects.h"

namespace weft::control {

struct EgressNode {
  LabelMap labels;
  std::vector<IpAddress> underlay;   // what it translates to where no address is asked for; at most one of each family
  std::vector<std::string> uplinks;  // of another node, by name; empty: not known
  std::uint32_t number = 0;          // of weft_node_v1; 0: this node, or there is no way to it
  bool self = false;
  bool alive = false;
  bool healthy = true;      // it answers this node
  bool direct = false;      // this node sends to it as a neighbour
  std::string unreachable;  // why this node cannot send by it; empty: it can
};

// A device of this node by which the cluster can be left.
struct EgressUplink {
  std::string name;
  std::uint32_t ifindex = 0;
  std::optional<IpAddress> v4;
  std::optional<IpAddress> v6;
  std::set<Cidr> networks;
};

struct EgressInput {
  const std::map<model::ObjectKey, model::EgressGateway>& gateways;
  const std::map<IdentityId, Identity>& identities;
  std::map<std::string, LabelMap> namespaces;  // labels, those of namespaces without an object may be missing
  std::map<std::string, EgressNode> nodes;     // by name
  // Which node has taken an address that EgressGateways ask for; those that nobody has are absent.
  std::map<IpAddress, std::string> holders;
  std::map<IpAddress, std::string> refused;  // that this node must not have: why, as the end of a sentence
  std::set<IpAddress> addresses;             // this node has
  std::vector<EgressUplink> uplinks;         // the first is the one that others know it by
  std::size_t room = WEFT_EGRESS_ROWS / 2;   // for rows: the new ones stand beside those that give way to them
};

// A node that may be a gateway, in order of preference.
struct EgressCandidate {
  std::string node;
  std::optional<IpAddress> v4;  // what it translates to; absent: not of this family, or not known here
  std::optional<IpAddress> v6;
  bool used_v4 = false;  // for new flows, of some pod
  bool used_v6 = false;
  std::string why_not;  // it is not used; empty: it is, or the ones before it are
  auto operator<=>(const EgressCandidate&) const = default;
};

struct EgressStatus {
  std::vector<EgressCandidate> candidates;
  std::set<IdentityId> identities;  // selected
  std::string problem;              // why nothing, or not everything, leaves by it; empty: it does
  auto operator<=>(const EgressStatus&) const = default;
};

// An address that this node is to have for as long as it is the gateway.
struct EgressAddress {
  IpAddress address;
  std::string device;
  auto operator<=>(const EgressAddress&) const = default;
};

struct EgressPrefix {
  IdentityId identity = 0;
  Cidr destination;
  auto operator<=>(const EgressPrefix&) const = default;
};

struct EgressRow {
  weft_egress row{};
  model::ObjectKey gateway;  // the EgressGateway that says so; of an excluded prefix none
};

struct EgressPlan {
  std::map<EgressPrefix, EgressRow> rows;
  std::set<std::string> nodes;        // other ones, among their gateways
  std::set<IpAddress> claims;         // this node is to have: free ones, and those it has
  std::set<EgressAddress> addresses;  // of these, those it has
  std::map<model::ObjectKey, EgressStatus> gateways;
  // The row that decides; null: none does.
  [[nodiscard]] const EgressRow* find(IdentityId identity, const IpAddress& destination) const;
};

EgressPlan plan_egress(const EgressInput& input);

// The gateways, of one row, that a pod's new flows take: numbers as in the row; nothing: there is none.
std::optional<std::uint16_t> egress_gateway_of(const weft_egress& row, const IpAddress& pod);

}  // namespace weft::control
