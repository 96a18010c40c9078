// Small numbers that index an array of the kernel: service ids, backend ids. A freed one waits until no flow
// names it any more, and is then given out as late as is sensible.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <vector>

namespace weft::control::services {

class IdSpace {
 public:
  // 1 .. limit - 1; 0 is nobody's.
  explicit IdSpace(std::uint32_t limit) : limit_(limit) {}

  std::optional<std::uint32_t> allocate();
  // What allocate gave a moment ago and nobody has seen.
  void take_back(std::uint32_t id);
  // Exactly this one; false when it is taken or outside.
  bool claim(std::uint32_t id);
  // Waits from now on.
  void retire(std::uint32_t id) { fresh_.push_back(id); }
  // What was retired before now may go when it is not in use.
  void settle();
  void release(const std::function<bool(std::uint32_t)>& in_use);

  [[nodiscard]] std::uint32_t used() const { return taken_count_ - waiting(); }
  [[nodiscard]] std::uint32_t waiting() const { return static_cast<std::uint32_t>(waiting_.size() + fresh_.size()); }
  [[nodiscard]] std::uint32_t limit() const { return limit_; }

 private:
  void mark(std::uint32_t id, bool taken);

  std::uint32_t limit_;
  std::uint32_t next_ = 1;  // above every id that was ever given out or claimed
  std::uint32_t taken_count_ = 0;
  std::vector<bool> taken_;
  std::deque<std::uint32_t> free_;  // below next_
  std::vector<std::uint32_t> waiting_;
  std::vector<std::uint32_t> fresh_;  // the last compile's
};

}  // namespace weft::control::services
