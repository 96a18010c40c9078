// Which of the datapath's drops are of late: its counters count for as long as the machine runs. Pure.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>

namespace weft::agent {

class RecentDrops {
 public:
  using Clock = std::chrono::steady_clock;
  using Packets = std::map<std::string, std::uint64_t>;  // by reason, since ever
  static constexpr std::chrono::minutes window{10};

  struct Recent {
    std::uint64_t packets = 0;                                  // within the window
    std::optional<std::chrono::system_clock::time_point> last;  // when they were seen to be more; absent: not yet
  };

  // To be called every few seconds: how exact `last` is. What the first reading has is of before.
  void take(const Packets& packets, Clock::time_point now, std::chrono::system_clock::time_point time);
  [[nodiscard]] Recent of(const std::string& reason) const;
  // What `packets` cover: the window, or less where the first reading is younger.
  [[nodiscard]] std::chrono::seconds covered() const;

 private:
  struct Reading {
    Clock::time_point at;
    Packets packets;
  };
  std::deque<Reading> readings_;  // one in half a minute, of which the first is the one at the window's begin
  Reading latest_;
  std::map<std::string, std::chrono::system_clock::time_point> last_;
};

}  // namespace weft::agent
