#include "control/services/slots.h"

#include <iterator>

namespace weft::control::services {

void SlotSpace::add_gap(std::uint32_t first, std::uint32_t length) {
  gaps_.emplace(first, length);
  by_length_.emplace(length, first);
}

SlotSpace::Gaps::iterator SlotSpace::remove_gap(Gaps::iterator gap) {
  by_length_.erase({gap->second, gap->first});
  return gaps_.erase(gap);
}

std::optional<std::uint32_t> SlotSpace::allocate(std::uint32_t length) {
  const auto gap = by_length_.lower_bound({length, 0});
  if (gap == by_length_.end()) return std::nullopt;
  const auto first = gap->second;
  claim(first, length);
  return first;
}

bool SlotSpace::claim(std::uint32_t first, std::uint32_t length) {
  auto gap = gaps_.upper_bound(first);
  if (gap == gaps_.begin()) return false;
  --gap;
  const auto [gap_first, gap_length] = *gap;
  const std::uint32_t before = first - gap_first;
  if (before > gap_length || gap_length - before < length) return false;
  const std::uint32_t after = gap_length - before - length;
  remove_gap(gap);
  if (before != 0) add_gap(gap_first, before);
  if (after != 0) add_gap(first + length, after);
  free_ -= length;
  return true;
}

void SlotSpace::release(std::uint32_t first, std::uint32_t length) {
  free_ += length;
  auto next = gaps_.lower_bound(first);
  if (next != gaps_.begin()) {
    const auto previous = std::prev(next);
    if (previous->first + previous->second == first) {
      first = previous->first;
      length += previous->second;
      next = remove_gap(previous);
    }
  }
  if (next != gaps_.end() && first + length == next->first) {
    length += next->second;
    remove_gap(next);
  }
  add_gap(first, length);
}

}  // namespace weft::control::services
