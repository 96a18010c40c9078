// What policies say of pods of other nodes: each node enforces them for its own, of the same objects and label sets, so
// what is decided there can be told here. Pure.
#pragma once

#include <vector>

#include "control/identity/identity.h"
#include "control/policy/explain.h"
#include "control/policy/policy.h"

namespace weft::agent {

// Compiled as the nodes of these pods do it. Rule and CIDR numbers are a node's own: those of here, and further ones.
struct Elsewhere {
  control::PolicyInput input;
  control::RuleTable rules;
  control::CidrIdentities cidrs;
  control::CompiledPolicy policy;
};
// `here`: this node's input, whose endpoints and peers are the peers there; `rules` and `cidrs` are copied.
Elsewhere compile_elsewhere(const std::vector<control::PolicyEndpoint>& pods, const control::PolicyInput& here,
                            const control::RuleTable& rules, const control::CidrIdentities& cidrs);

// The query with the sides as those policies see them: a block's number is that of `elsewhere`, and this node itself is
// another one there. `translated`: the destination sees this node in the place of a client outside.
control::ExplainQuery seen_elsewhere(control::ExplainQuery query, const Elsewhere& elsewhere, bool target_elsewhere,
                                     bool translated);

}  // namespace weft::agent
