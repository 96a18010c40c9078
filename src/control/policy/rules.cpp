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
  if (added) {
    by_id_.emplace(next_++, description);
    ++revision_;
  }
  in_use_.insert(entry->second);
  return entry->second;
}

void RuleTable::settle(Time now) {
  for (const auto& [id, description] : by_id_) {
    if (in_use_.contains(id))
      unused_since_.erase(id);
    else
      unused_since_.try_emplace(id, now);
  }
}

std::size_t RuleTable::forget_unused(Time since) {
  return std::erase_if(unused_since_, [&](const auto& unused) {
    const auto [id, when] = unused;
    // In use by a compile that has not settled yet: perhaps soon in the maps.
    if (when > since || id + 1 == next_ || in_use_.contains(id)) return false;
    const auto entry = by_id_.find(id);
    by_description_.erase(entry->second);
    by_id_.erase(entry);
    ++revision_;
    return true;
  });
}

const RuleDescription* RuleTable::find(RuleId id) const {
  if (id == 0) return &no_policy_rule;
  if (id == host_allowed) return &host_allowed_rule;
  if (id == reply) return &reply_rule;
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : &found->second;
}

}  // namespace weft::control
