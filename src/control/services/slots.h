// Runs of consecutive slots in the service slot map: the smallest gap that fits, neighbours of a freed run
// are joined.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>

namespace weft::control::services {

class SlotSpace {
 public:
  explicit SlotSpace(std::uint32_t slots) : total_(slots), free_(slots) {
    if (slots != 0) add_gap(0, slots);
  }

  // The first slot of a run of `length` (above 0) that was free; nothing when no gap is long enough.
  std::optional<std::uint32_t> allocate(std::uint32_t length);
  // Takes exactly this run; false when part of it is taken or outside.
  bool claim(std::uint32_t first, std::uint32_t length);
  // A run that `allocate` or `claim` gave.
  void release(std::uint32_t first, std::uint32_t length);

  [[nodiscard]] std::uint32_t total() const { return total_; }
  [[nodiscard]] std::uint32_t free() const { return free_; }
  [[nodiscard]] std::uint32_t longest() const { return by_length_.empty() ? 0 : by_length_.rbegin()->first; }
  [[nodiscard]] std::size_t gaps() const { return gaps_.size(); }

 private:
  using Gaps = std::map<std::uint32_t, std::uint32_t>;
  void add_gap(std::uint32_t first, std::uint32_t length);
  Gaps::iterator remove_gap(Gaps::iterator gap);

  std::uint32_t total_;
  std::uint32_t free_;
  Gaps gaps_;                                                    // first slot -> length; never adjacent
  std::set<std::pair<std::uint32_t, std::uint32_t>> by_length_;  // the same: length, first slot
};

}  // namespace weft::control::services
