// Why a connection is allowed or denied, in words, from the very rows the datapath holds, and what
// would have to change. Pure; JSON is made by the caller.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "control/policy/policy.h"

namespace weft::control {

// One end of a connection. Everything but `labels` decides; labels (plain pod labels) are for words.
struct ExplainSide {
  std::optional<model::ObjectKey> pod;  // absent: the node or an address outside
  std::optional<IpAddress> address;
  IdentityId identity = 0;
  IdentityId cidr_identity = 0;
  bool is_host = false;
  LabelMap labels;
};

// The Service the destination was reached by; ExplainQuery.port is already the backend's.
struct ExplainService {
  model::ObjectKey key;
  std::uint16_t port = 0;
};

struct ExplainQuery {
  ExplainSide from;
  ExplainSide to;
  Protocol protocol = Protocol::tcp;
  std::uint16_t port = 0;
  std::optional<ExplainService> service;
};

struct ExplainAnswer {
  bool enforced = false;  // a policy selects the pod in this direction
  bool allowed = true;
  RuleId id = 0;
  RuleDescription rule;
};

struct Explanation {
  bool allowed = true;
  ExplainAnswer egress;
  ExplainAnswer ingress;
  // Denied: the first direction that denies. Allowed: the last one a rule decided, else ingress.
  weft_direction deciding = WEFT_INGRESS;
  std::vector<std::string> text;
  // Empty when allowed. What to change in words, then `suggestions` as YAML, one line each.
  std::vector<std::string> change;
  // Empty when allowed. Policies, one for each direction that denies, that allow the connection when
  // added to the present ones; they isolate no pod that is not isolated already.
  std::vector<model::NetworkPolicy> suggestions;

  [[nodiscard]] const ExplainAnswer& decisive() const { return deciding == WEFT_EGRESS ? egress : ingress; }
};

// Semantics of the datapath: egress of the source if it is a pod, then ingress of the destination if
// it is a pod. The node may always reach its pods, a pod always itself. A pod that the compiled
// policy does not know is not enforced.
Explanation explain(const ExplainQuery& query, const CompiledPolicy& compiled, const PolicyInput& input,
                    const RuleTable& rules);

// Where a rule is written: the rule's own line, or the policy's when the line is unknown. For a
// default deny its first policy. Nothing when the policy is gone or was not read from a file.
std::optional<model::SourceLocation> location_of(const RuleDescription& rule, const PolicyInput& input);

}  // namespace weft::control
