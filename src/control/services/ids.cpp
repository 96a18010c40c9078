#include "control/services/ids.h"

#include <algorithm>

namespace weft::control::services {
namespace {
// So many rest before the first is used again, while there are others.
constexpr std::size_t rest = 256;
}  // namespace

void IdSpace::mark(std::uint32_t id, bool taken) {
  if (id >= taken_.size()) taken_.resize(id + 1);
  taken_[id] = taken;
  taken_count_ += taken ? 1U : -1U;
}

std::optional<std::uint32_t> IdSpace::allocate() {
  // Some of the free ones may have been claimed since.
  while (!free_.empty() && taken_[free_.front()]) free_.pop_front();
  std::uint32_t id = 0;
  if (free_.size() > rest || (next_ >= limit_ && !free_.empty())) {
    id = free_.front();
    free_.pop_front();
  } else if (next_ < limit_) {
    id = next_++;
  } else {
    return std::nullopt;
  }
  mark(id, true);
  return id;
}

void IdSpace::take_back(std::uint32_t id) {
  mark(id, false);
  free_.push_front(id);
}

bool IdSpace::claim(std::uint32_t id) {
  if (id == 0 || id >= limit_ || (id < taken_.size() && taken_[id])) return false;
  if (id >= taken_.size()) taken_.resize(id + 1);
  while (next_ <= id) {
    if (next_ != id) free_.push_back(next_);
    ++next_;
  }
  mark(id, true);
  return true;
}

void IdSpace::settle() {
  waiting_.insert(waiting_.end(), fresh_.begin(), fresh_.end());
  fresh_.clear();
}

void IdSpace::release(const std::function<bool(std::uint32_t)>& in_use) {
  std::erase_if(waiting_, [&](std::uint32_t id) {
    if (in_use(id)) return false;
    mark(id, false);
    free_.push_back(id);
    return true;
  });
}

}  // namespace weft::control::services
