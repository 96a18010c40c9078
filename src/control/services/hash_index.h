// From a hash to everything filed under it, in sixteen bytes an entry: filing and unfiling take constant
// time, however many share a hash. What comes back may be somebody else's: the caller compares.
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

namespace weft::control::services {

class HashIndex {
 public:
  using Handle = std::uint32_t;
  static constexpr Handle none = 0xffff'ffff;

  Handle insert(std::uint32_t hash, std::uint32_t value) {
    if (size_ + 1 > heads_.size()) grow();
    Handle handle = free_;
    if (handle == none) {
      handle = static_cast<Handle>(links_.size());
      links_.emplace_back();
    } else {
      free_ = links_[handle].next;
    }
    links_[handle] = {hash, value, none, none};
    chain(handle);
    ++size_;
    return handle;
  }

  void erase(Handle handle) {
    if (handle == none) return;
    auto& link = links_[handle];
    if (link.previous == none)
      heads_[bucket(link.hash)] = link.next;
    else
      links_[link.previous].next = link.next;
    if (link.next != none) links_[link.next].previous = link.previous;
    link.next = free_;
    free_ = handle;
    --size_;
  }

  // `visit(value)` of each entry filed under the hash, until it returns false. It must not change the index.
  template <class Visit>
  void visit(std::uint32_t hash, Visit&& visit) const {
    if (heads_.empty()) return;
    for (auto at = heads_[bucket(hash)]; at != none; at = links_[at].next)
      if (links_[at].hash == hash && !visit(links_[at].value)) return;
  }

  // At most `limit`.
  [[nodiscard]] unsigned count(std::uint32_t hash, unsigned limit) const {
    unsigned found = 0;
    visit(hash, [&](std::uint32_t) { return ++found < limit; });
    return found;
  }

  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  struct Link {
    std::uint32_t hash = 0;
    std::uint32_t value = 0;
    Handle next = none;
    Handle previous = none;
  };

  [[nodiscard]] std::size_t bucket(std::uint32_t hash) const { return hash & (heads_.size() - 1); }
  void chain(Handle handle) {
    auto& link = links_[handle];
    auto& head = heads_[bucket(link.hash)];
    link.previous = none;
    link.next = head;
    if (head != none) links_[head].previous = handle;
    head = handle;
  }
  void grow() {
    const auto old = std::move(heads_);
    heads_.assign(old.empty() ? 64 : old.size() * 2, none);
    for (auto at : old)
      while (at != none) {
        const auto next = links_[at].next;
        chain(at);
        at = next;
      }
  }

  std::vector<Link> links_;
  std::vector<Handle> heads_;  // a power of two
  Handle free_ = none;
  std::size_t size_ = 0;
};

}  // namespace weft::control::services
