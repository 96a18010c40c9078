// How fast a pod may start flows.
#pragma once

#include <algorithm>
#include <cstdint>

namespace weft::agent {

// In a second on one CPU: far above what one pod needs. It does not grow with the flow table, so that a larger one
// takes longer to be turned over and keeps idle flows for as long.
inline std::uint32_t new_flow_rate(unsigned cpus) {
  constexpr std::uint32_t of_node = 160000;
  return std::clamp<std::uint32_t>(of_node / std::max(cpus, 1U), 8000, 20000);
}

}  // namespace weft::agent
