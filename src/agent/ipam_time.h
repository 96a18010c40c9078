// The time by which addresses rest.
#pragma once

#include <chrono>
#include <utility>

#include "control/ipam/ipam.h"

namespace weft::agent {

// That of the clock at the agent's start and what has passed since: whoever sets the clock, forth or back, neither ends
// quarantines nor prolongs them. Any thread.
inline control::IpamTime ipam_now() {
  using std::chrono::steady_clock;
  using std::chrono::system_clock;
  static const std::pair begun(system_clock::now(), steady_clock::now());
  const auto passed = std::chrono::duration_cast<system_clock::duration>(steady_clock::now() - begun.second);
  return std::chrono::floor<std::chrono::seconds>(begun.first + passed);
}

}  // namespace weft::agent
