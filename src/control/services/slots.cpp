#include "control/services/slots.h"

#include <algorithm>
#include <iterator>

namespace weft::control {

std::optional<std::uint32_t> SlotSpace::allocate(std::uint32_t length) {
  const auto gap = std::ranges::find_if(free_, [&](const auto& entry) { return entry.second >= length; });
  if (gap == free_.end()) return std::nullopt;
  const auto first = gap->first;
  claim(first, length);
  return first;
}

bool SlotSpace::claim(std::uint32_t first, std::uint32_t length) {
  auto gap = free_.upper_bound(first);
  if (gap == free_.begin()) return false;
  --gap;
  const auto [gap_first, gap_length] = *gap;
  const std::uint32_t before = first - gap_first;
  if (before > gap_length || gap_length - before < length) return false;
  const std::uint32_t after = gap_length - before - length;
  if (before == 0)
    free_.erase(gap);
  else
    gap->second = before;
  if (after != 0) free_.emplace(first + length, after);
  return true;
}

void SlotSpace::release(std::uint32_t first, std::uint32_t length) {
  auto next = free_.lower_bound(first);
  if (next != free_.begin()) {
    const auto previous = std::prev(next);
    if (previous->first + previous->second == first) {
      first = previous->first;
      length += previous->second;
      free_.erase(previous);
    }
  }
  if (next != free_.end() && first + length == next->first) {
    length += next->second;
    free_.erase(next);
  }
  free_.emplace(first, length);
}

std::uint32_t SlotSpace::free() const {
  std::uint32_t sum = 0;
  for (const auto& [first, length] : free_) sum += length;
  return sum;
}

std::uint32_t SlotSpace::longest() const {
  std::uint32_t longest = 0;
  for (const auto& [first, length] : free_) longest = std::max(longest, length);
  return longest;
}

}  // namespace weft::control
