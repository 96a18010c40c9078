#include <fmt/format.h>

#include "control/policy/describe.h"
#include "control/policy/policy.h"

namespace weft::control {
namespace {

using Kind = RuleDescription::Kind;
using policy_internal::name_of;

const RuleDescription no_policy_rule{.kind = Kind::no_policy};
const RuleDescription host_allowed_rule{.kind = Kind::host_allowed};
const RuleDescription reply_rule{.kind = Kind::reply};

}  // namespace

std::string RuleDescription::to_string() const {
  switch (kind) {
    case Kind::no_policy:
      return "no policy";
    case Kind::rule:
      return fmt::format("{} {} rule {}", policy.to_string(), name_of(direction), index);
    case Kind::default_deny: {
      std::string names;
      for (const auto& key : isolating) names += (names.empty() ? "" : ", ") + key.to_string();
      return fmt::format("default deny {} by {}", name_of(direction), names);
    }
    case Kind::host_allowed:
      return "the node may always reach its pods";
    case Kind::reply:
      return "reply of an allowed flow";
  }
  return "unknown rule";
}

RuleTable::RuleTable(std::map<RuleId, RuleDescription> restored) {
  for (auto& [id, description] : restored) {
    if (id < first || !by_description_.try_emplace(description, id).second) continue;
    next_ = id + 1;
    by_id_.emplace(id, std::move(description));
  }
}

RuleId RuleTable::id(const RuleDescription& description) {
  if (description.kind == Kind::no_policy) return 0;
  if (description.kind == Kind::host_allowed) return host_allowed;
  if (description.kind == Kind::reply) return reply;
  const auto [entry, added] = by_description_.try_emplace(description, next_);
  if (added) by_id_.emplace(next_++, description);
  return entry->second;
}

const RuleDescription* RuleTable::find(RuleId id) const {
  if (id == 0) return &no_policy_rule;
  if (id == host_allowed) return &host_allowed_rule;
  if (id == reply) return &reply_rule;
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : &found->second;
}

}  // namespace weft::control
