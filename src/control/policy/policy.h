// The policy compiler: NetworkPolicies and the world they apply to in, map rows out. Pure.
// The same rows fill the kernel's maps and answer `weft policy explain`.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "abi/endpoint.h"
#include "abi/policy.h"
#include "base/ip.h"
#include "base/shared_value.h"
#include "control/identity/identity.h"
#include "model/objects.h"

namespace weft::control {

using RuleId = std::uint32_t;

// What a rule id means; ids are stable for the same description (RuleTable), 0 is "no policy applies".
struct RuleDescription {
  enum class Kind {
    no_policy,     // no policy selects the endpoint in this direction
    rule,          // rule `index` of `policy`
    default_deny,  // selected by `isolating` policies, none of which allows
    host_allowed,  // the node may always reach its pods
    reply,         // part of an allowed flow
  };
  Kind kind = Kind::no_policy;
  weft_direction direction = WEFT_INGRESS;
  model::ObjectKey policy;                  // kind rule
  int index = 0;                            // position in spec.ingress / spec.egress
  std::vector<model::ObjectKey> isolating;  // kind default_deny, sorted
  auto operator<=>(const RuleDescription&) const = default;

  // "shop/allow-web ingress rule 0", "default deny ingress by shop/deny-all, shop/db", "no policy", ...
  [[nodiscard]] std::string to_string() const;
};

// Rule ids, never given to another rule; restored from the store so that flow entries written before a
// restart still name theirs. What a rule meant is forgotten once no flow entry can name it any more:
// the owner says when a compile's rows took effect (`settle`) and how long ago is long enough
// (`forget_unused`). So the table holds the rules in use and those that fell out of use since then.
class RuleTable {
 public:
  using Time = std::chrono::steady_clock::time_point;

  RuleTable() = default;
  explicit RuleTable(std::map<RuleId, RuleDescription> restored);
  RuleId id(const RuleDescription& description);
  [[nodiscard]] const RuleDescription* find(RuleId id) const;  // 0 gives no_policy
  [[nodiscard]] const std::map<RuleId, RuleDescription>& all() const { return by_id_; }
  // Grows with every change of all().
  [[nodiscard]] std::uint64_t revision() const { return revision_; }

  // A compile begins: the rules in use are those it asks for.
  void begin_use() { in_use_.clear(); }
  // The rows of that compile are in the maps: the rules it did not ask for are unused from now on.
  void settle(Time now);
  // Forgets the rules that have been unused since `since` or longer; how many. The latest id stays
  // known, so that a restart does not begin to count below it.
  std::size_t forget_unused(Time since);

  static constexpr RuleId host_allowed = 1;  // fixed, the datapath writes it
  static constexpr RuleId reply = 2;         // fixed
  static constexpr RuleId first = 16;

 private:
  std::map<RuleId, RuleDescription> by_id_;
  std::map<RuleDescription, RuleId> by_description_;
  std::set<RuleId> in_use_;
  std::map<RuleId, Time> unused_since_;
  RuleId next_ = first;
  std::uint64_t revision_ = 1;
};

// One policed endpoint: a pod with an address. Named ports resolve per pod. Endpoints of one
// identity should agree in namespace, labels and named ports (identity_labels sees to it); where
// they do not, a peer selector matches the identity only if it matches all of them. An identity
// below WEFT_IDENTITY_FIRST is never selected as a peer.
struct PolicyEndpoint {
  model::ObjectKey pod;
  IdentityId identity = 0;
  LabelMap labels;  // plain pod labels
  std::vector<model::ContainerPort> ports;
  std::vector<IpAddress> addresses;
};

// Whether the policy can tell peers of one identity apart, by their addresses: an egress rule names a port and a block.
bool knows_peers_by_address(const model::NetworkPolicy& policy);

struct PolicyInput {
  std::map<std::string, LabelMap> namespaces;  // name -> labels
  // Shared: a compile keeps what it was made of, and most compiles are of policies that have not changed.
  SharedValue<std::map<model::ObjectKey, model::NetworkPolicy>> policies;
  SharedValue<std::map<model::ObjectKey, std::uint64_t>> revisions;  // grows with every change of the policy
  std::vector<PolicyEndpoint> endpoints;                             // sorted by pod
  // Pods of other nodes, one for all of an identity: peers that nothing is enforced for here.
  std::vector<PolicyEndpoint> peers;
  // At most so many rows, and CIDRs named, as counted before what is twice in them is left out.
  std::size_t row_room = SIZE_MAX;
  std::size_t cidr_room = SIZE_MAX;
};

// How one endpoint stands to policy; becomes part of its weft_endpoint value.
struct EndpointPolicy {
  std::uint32_t policy_class = 0;
  bool enforced[2] = {false, false};  // by weft_direction
  std::uint32_t prefix_mask[2] = {0, 0};
  RuleId default_rule[2] = {0, 0};
  auto operator<=>(const EndpointPolicy&) const = default;
};

struct PolicyKeyLess {
  bool operator()(const weft_policy_key& a, const weft_policy_key& b) const;
};
using PolicyRows = std::map<weft_policy_key, weft_policy_entry, PolicyKeyLess>;

struct CompiledPolicy {
  PolicyRows rows;
  std::set<model::ObjectKey> concerning;  // policies that select somebody here
  // Policies that there is no room for, of those that select somebody here: they select, and allow nothing. Namespaces
  // share the room (room.h), so nobody closes others.
  std::set<model::ObjectKey> closed;
  std::map<model::ObjectKey, EndpointPolicy> endpoints;  // by pod
  // Every CIDR and exception named, sorted; and the addresses of the pods that an egress rule
  // reaches through an ipBlock on a named port, because only then the pod behind the address counts.
  std::vector<Cidr> cidrs;
};

// Compiler with the state that must be stable between runs: class numbers and CIDR numbers.
// A class is the set of (policy, revision) that select an endpoint plus what makes its rows differ
// (the pod's own resolution of the named ports they use): an edited policy gets a new class, so the
// datapath switches an endpoint over in one write; a peer that appears or disappears only adds or
// removes rows of the same class. The number of a class that is gone is given again only after a
// compile in which nobody had it. A writer that adds rows, then switches endpoints and addresses,
// then removes rows never shows a packet half a policy.
class PolicyCompiler {
 public:
  PolicyCompiler(RuleTable& rules, CidrIdentities& cidrs) : rules_(rules), cidrs_(cidrs) {}
  // After a restart: `classes` as `classes()` gave them, and new numbers only above `used`, the
  // highest class found in the pinned maps. Also when the rows of a compile were not written: the
  // numbers it gave up may still be in the maps, so none of them is given again.
  void restore(std::map<std::string, std::uint32_t> classes, std::uint32_t used);
  // Assigns CIDR identities for all policies of the input as a first step, and begins a use of the rules.
  CompiledPolicy compile(const PolicyInput& input);
  // The classes of the last compile, by a text that names their meaning.
  [[nodiscard]] const std::map<std::string, std::uint32_t>& classes() const { return classes_; }
  // Grows whenever classes() may have changed, and only then.
  [[nodiscard]] std::uint64_t class_revision() const { return class_revision_; }

 private:
  std::uint32_t allocate_class();
  void retire_classes(std::map<std::string, std::uint32_t> used);

  RuleTable& rules_;
  CidrIdentities& cidrs_;
  std::map<std::string, std::uint32_t> classes_;  // class key -> number
  std::uint64_t class_revision_ = 1;
  std::deque<std::uint32_t> free_classes_;  // unused in the last compile, oldest first
  std::uint32_t next_class_ = 1;
};

// The datapath's lookup in user space, bit for bit the order abi/policy.h states.
struct PolicyAnswer {
  bool allowed = false;
  RuleId rule = 0;
};
PolicyAnswer evaluate(const PolicyRows& rows, const EndpointPolicy& endpoint, weft_direction direction, IdentityId peer,
                      IdentityId peer_cidr, Protocol protocol, std::uint16_t port);

// Cuts an inclusive port range into (port, prefix length) pairs, at most 30.
std::vector<std::pair<std::uint16_t, unsigned>> port_prefixes(std::uint16_t first, std::uint16_t last);

}  // namespace weft::control
