#include "agent/recent_drops.h"

#include <utility>

namespace weft::agent {
namespace {

constexpr auto between_readings = std::chrono::seconds(30);

std::uint64_t count_of(const RecentDrops::Packets& packets, const std::string& reason) {
  const auto found = packets.find(reason);
  return found == packets.end() ? 0 : found->second;
}

}  // namespace

void RecentDrops::take(const Packets& packets, Clock::time_point now, std::chrono::system_clock::time_point time) {
  if (!readings_.empty())
    for (const auto& [reason, count] : packets)
      if (count > count_of(latest_.packets, reason)) last_[reason] = time;
  latest_ = {now, packets};
  if (readings_.empty() || now - readings_.back().at >= between_readings) readings_.push_back(latest_);
  while (readings_.size() > 1 && now - readings_[1].at >= window) readings_.pop_front();
}

RecentDrops::Recent RecentDrops::of(const std::string& reason) const {
  if (readings_.empty()) return {};
  const auto now = count_of(latest_.packets, reason);
  const auto before = count_of(readings_.front().packets, reason);
  const auto last = last_.find(reason);
  // Where the counters began anew, all of it is of late.
  return {.packets = now >= before ? now - before : now,
          .last = last == last_.end() ? std::nullopt : std::optional(last->second)};
}

std::chrono::seconds RecentDrops::covered() const {
  if (readings_.empty()) return {};
  return std::chrono::duration_cast<std::chrono::seconds>(latest_.at - readings_.front().at);
}

}  // namespace weft::agent
