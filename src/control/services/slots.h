// Runs of consecutive slots in the service slot map: first fit, neighbours of a freed run are joined.
#pragma once

#include <cstdint>
#include <map>
#include <optional>

namespace weft::control {

class SlotSpace {
 public:
  explicit SlotSpace(std::uint32_t slots) : total_(slots) {
    if (slots != 0) free_.emplace(0, slots);
  }

  // The first slot of a run of `length` (above 0) that was free; nothing when no gap is long enough.
  std::optional<std::uint32_t> allocate(std::uint32_t length);
  // Takes exactly this run; false when part of it is taken or outside.
  bool claim(std::uint32_t first, std::uint32_t length);
  // A run that `allocate` or `claim` gave.
  void release(std::uint32_t first, std::uint32_t length);

  [[nodiscard]] std::uint32_t total() const { return total_; }
  [[nodiscard]] std::uint32_t free() const;
  [[nodiscard]] std::uint32_t longest() const;
  [[nodiscard]] std::size_t gaps() const { return free_.size(); }

 private:
  std::uint32_t total_;
  std::map<std::uint32_t, std::uint32_t> free_;  // first slot -> length; never adjacent
};

}  // namespace weft::control
