// From hashes to small numbers, several of them under one hash, in eight bytes each. What comes back may be somebody
// else's: the caller compares.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace weft::cluster {

class HashSlots {
 public:
  // `value` is below 2^32 - 1. The same pair may be filed more than once.
  void insert(std::uint32_t hash, std::uint32_t value) {
    if ((size_ + 1) * 4 > entries_.size() * 3) resize(entries_.empty() ? 64 : entries_.size() * 2);
    place({hash, value});
    ++size_;
  }

  // One of such pairs, if there is any.
  void erase(std::uint32_t hash, std::uint32_t value) {
    if (entries_.empty()) return;
    auto at = home(hash);
    while (entries_[at].value != none && !(entries_[at].hash == hash && entries_[at].value == value)) at = next(at);
    if (entries_[at].value == none) return;
    close_gap(at);
    if (--size_ * 8 < entries_.size() && entries_.size() > 64) resize(entries_.size() / 2);
  }

  // `visit(value)` of each pair filed under the hash. It must not change the table.
  template <class Visit>
  void visit(std::uint32_t hash, Visit&& visit) const {
    if (entries_.empty()) return;
    for (auto at = home(hash); entries_[at].value != none; at = next(at))
      if (entries_[at].hash == hash) visit(entries_[at].value);
  }

  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  static constexpr std::uint32_t none = 0xffff'ffff;
  struct Entry {
    std::uint32_t hash = 0;
    std::uint32_t value = none;
  };

  [[nodiscard]] std::size_t home(std::uint32_t hash) const { return hash & (entries_.size() - 1); }
  [[nodiscard]] std::size_t next(std::size_t at) const { return (at + 1) & (entries_.size() - 1); }

  void place(Entry entry) {
    auto at = home(entry.hash);
    while (entries_[at].value != none) at = next(at);
    entries_[at] = entry;
  }

  // Entries behind the gap that would not be found across it move into it.
  void close_gap(std::size_t gap) {
    for (auto at = next(gap); entries_[at].value != none; at = next(at)) {
      const auto from_home = (at - home(entries_[at].hash)) & (entries_.size() - 1);
      if (from_home < ((at - gap) & (entries_.size() - 1))) continue;
      entries_[gap] = entries_[at];
      gap = at;
    }
    entries_[gap] = {};
  }

  void resize(std::size_t size) {
    const auto old = std::exchange(entries_, std::vector<Entry>(size));
    for (const auto& entry : old)
      if (entry.value != none) place(entry);
  }

  std::vector<Entry> entries_;  // a power of two, linear probing
  std::size_t size_ = 0;
};

}  // namespace weft::cluster
