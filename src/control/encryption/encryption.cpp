#include "control/encryption/encryption.h"

#include <algorithm>

namespace weft::control {
namespace {

constexpr Generation furthest_step = 1U << 16U;

const OfferedKey* find(const OfferedKeys& offered, Generation generation) {
  const auto found = std::ranges::find(offered.keys, generation, &OfferedKey::generation);
  return found == offered.keys.end() ? nullptr : &*found;
}

// The latest that has a session, else the earliest that both have: the one in use, if any is. Never back to one that
// this node has said to have left.
std::optional<OfferedKey> choose(const OwnKeys& own, const OfferedKeys& offered, const Sessions& sessions) {
  std::optional<OfferedKey> chosen;
  for (const auto generation : own.held) {
    const auto* key = find(offered, generation);
    if (key == nullptr) continue;
    if (!chosen || chosen->generation < own.settled || sessions.contains({generation, key->public_key})) chosen = *key;
  }
  return chosen;
}

bool have_one_in_common(const OwnKeys& own, const OfferedKeys& offered) {
  return std::ranges::any_of(offered.keys, [&](const auto& key) { return own.held.contains(key.generation); });
}

// The generation to be at. A step at a time, as keys change, and only when the step before has been made by all:
// whoever counts on alone is not followed. Further, or back, only to where more of the nodes are than have a key in
// common with this one, itself counted on its way back: who was away comes to the others and not the others to it. So
// no single record takes all nodes to the last generation, from which keys cannot change.
Generation generation_to_be_at(const OwnKeys& own, const std::map<std::string, OfferedKeys>& others, bool at_rest) {
  const Generation newest = own.held.empty() ? 0 : *own.held.rbegin();
  std::map<Generation, std::size_t> holders;
  std::size_t friends = 0;
  for (const auto& [name, offered] : others) {
    friends += have_one_in_common(own, offered) ? 1 : 0;
    for (const auto& key : offered.keys)
      if (key.generation != 0 && key.generation <= last_generation) ++holders[key.generation];
  }
  if (newest != 0 && holders.contains(newest + 1)) return at_rest ? newest + 1 : newest;
  Generation best = newest;
  std::size_t most = 0;
  for (const auto& [generation, count] : holders) {
    if (own.held.contains(generation) || count < most) continue;
    if (count <= friends + (generation < newest ? 1 : 0)) continue;
    if (newest != 0 && generation > newest && generation - newest > furthest_step) continue;
    best = generation;
    most = count;
  }
  return std::max<Generation>(best, 1);
}

}  // namespace

KeyPlan plan_keys(const OwnKeys& own, const std::map<std::string, OfferedKeys>& others, const Sessions& sessions,
                  bool rotate) {
  KeyPlan plan;
  plan.hold = own.held;
  plan.settled = own.settled;
  const Generation newest = own.held.empty() ? 0 : *own.held.rbegin();
  bool all_settled = true;
  for (const auto& [name, offered] : others) {
    // Who has no key in common with this node uses none of its keys.
    if (!own.held.empty() && !have_one_in_common(own, offered)) continue;
    const auto key = choose(own, offered, sessions);
    if (key) plan.send.emplace(name, *key);
    // Whoever has come anew and is without an earlier key has settled as soon as it is sent to.
    const bool here = key && key->generation == newest;
    if (!here || offered.settled < newest) plan.waits_for.insert(name);
    all_settled = all_settled && here;
  }
  if (all_settled) plan.settled = newest;

  const bool at_rest = own.held.size() == 1 && all_settled && plan.waits_for.empty();
  auto wanted = generation_to_be_at(own, others, all_settled && plan.waits_for.empty());
  if (wanted < newest) plan.hold.clear();
  if (rotate && at_rest && wanted == newest && newest < last_generation) ++wanted;
  plan.hold.insert(wanted);
  if (all_settled && plan.waits_for.empty() && wanted == newest) plan.hold = {newest};
  // Two at most, and of these two no two in one place (an odd and an even one).
  while (plan.hold.size() > 2) plan.hold.erase(plan.hold.begin());
  if (plan.hold.size() == 2 && (*plan.hold.begin() - *plan.hold.rbegin()) % 2 == 0) plan.hold.erase(plan.hold.begin());
  return plan;
}

}  // namespace weft::control
