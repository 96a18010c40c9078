// What an owner takes of each table, so that namespaces can share them.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "control/services/records.h"

namespace weft::control::services {

enum Table : std::uint8_t { frontends, services, backends, slots, ranges };
using Claim = std::array<std::uint64_t, 5>;

Claim claim_of(const std::vector<PortState>& ports);

}  // namespace weft::control::services
