#include "control/encryption/encryption.h"

#include <algorithm>

namespace weft::control {
namespace {

constexpr Generation last_generation = 0x7fffffff;

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

}  // namespace

KeyPlan plan_keys(const OwnKeys& own, const std::map<std::string, OfferedKeys>& others, const Sessions& sessions,
                  bool rotate) {
  KeyPlan plan;
  plan.hold = own.held;
  plan.settled = own.settled;
  const Generation newest = own.held.empty() ? 0 : *own.held.rbegin();
  bool all_settled = true;
  for (const auto& [name, offered] : others) {
    if (offered.keys.empty()) continue;
    const auto key = choose(own, offered, sessions);
    if (key) plan.send.emplace(name, *key);
    // Whoever has come anew and is without an earlier key has settled as soon as it is sent to.
    const bool here = key && key->generation == newest;
    if (!here || offered.settled < newest) plan.waits_for.insert(name);
    all_settled = all_settled && here;
  }
  if (all_settled) plan.settled = newest;

  const bool at_rest = own.held.size() == 1 && all_settled && plan.waits_for.empty();
  Generation wanted = newest;
  for (const auto& [name, offered] : others)
    for (const auto& key : offered.keys)
      if (key.generation <= last_generation) wanted = std::max(wanted, key.generation);
  if (wanted == 0) wanted = 1;
  if (rotate && at_rest && wanted == newest && newest < last_generation) ++wanted;
  plan.hold.insert(wanted);
  if (all_settled && plan.waits_for.empty() && wanted == newest) plan.hold = {newest};
  // Two at most, and of these two no two in one place (an odd and an even one).
  while (plan.hold.size() > 2) plan.hold.erase(plan.hold.begin());
  if (plan.hold.size() == 2 && (*plan.hold.begin() - *plan.hold.rbegin()) % 2 == 0) plan.hold.erase(plan.hold.begin());
  return plan;
}

}  // namespace weft::control
