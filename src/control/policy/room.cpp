#include "control/policy/room.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace weft::control::policy_internal {
namespace {

struct Claims {
  std::size_t total = 0;
  std::vector<std::pair<std::size_t, model::ObjectKey>> each;
};

}  // namespace

std::set<model::ObjectKey> without_room(const std::map<model::ObjectKey, std::size_t>& claims, std::size_t room) {
  std::map<std::string, Claims> by_namespace;
  std::size_t total = 0;
  for (const auto& [key, claim] : claims) {
    auto& theirs = by_namespace[key.namespace_];
    theirs.total += claim;
    theirs.each.emplace_back(claim, key);
    total += claim;
  }
  std::set<model::ObjectKey> without;
  if (total <= room) return without;
  std::vector<Claims*> modest;
  for (auto& [name, theirs] : by_namespace) modest.push_back(&theirs);
  std::ranges::stable_sort(modest, {}, &Claims::total);
  std::vector<std::pair<std::size_t, model::ObjectKey>> waiting;
  std::size_t shared = room;
  for (std::size_t i = 0; i < modest.size(); ++i) {
    const std::size_t share = shared / (modest.size() - i);
    shared -= std::min(share, modest[i]->total);
    std::ranges::sort(modest[i]->each);
    std::size_t used = 0;
    for (const auto& entry : modest[i]->each) {
      if (entry.first > share - used)
        waiting.push_back(entry);
      else
        used += entry.first;
    }
    room -= used;
  }
  // What is left is too little for somebody's next one, and may do for another's.
  std::ranges::sort(waiting);
  for (const auto& [claim, key] : waiting) {
    if (claim > room)
      without.insert(key);
    else
      room -= claim;
  }
  return without;
}

}  // namespace weft::control::policy_internal
