// What would have to change for a denied connection to be allowed. Internal to this room.
#pragma once

#include <string>
#include <vector>

#include "control/policy/explain.h"

namespace weft::control::policy_internal {

// How the one rule stands to one connection.
struct RuleMatch {
  model::ObjectKey policy;
  int index = 0;
  const model::PolicyRule* rule = nullptr;
  bool peer = false;
  bool port = false;
};

// One denied direction: the pod it isolates, who it talks with, and how its rules stand.
struct Denial {
  weft_direction direction = WEFT_INGRESS;
  const ExplainSide* subject = nullptr;
  const ExplainSide* peer = nullptr;
  Protocol protocol = Protocol::tcp;
  std::uint16_t port = 0;
  std::vector<model::ObjectKey> isolating;
  std::vector<RuleMatch> matches;
};

// The smallest edit of the present policies, one line.
std::string smallest_edit(const Denial& denial);
// A policy that, added, allows it, and isolates nobody anew.
model::NetworkPolicy additional_policy(const Denial& denial, const CompiledPolicy& compiled, const PolicyInput& input);

}  // namespace weft::control::policy_internal
