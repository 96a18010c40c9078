// One instance among others on the same machine: at most one agent writes an instance's maps, and
// only one instance's programs belong on a device. Private to this room.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace weft::datapath {

// Holds the pin directory until the descriptor is closed; waits a moment for an agent that is ending.
Result<Fd> lock_instance(const std::string& pin_root);
std::vector<std::string> find_strangers(std::uint32_t ifindex, const std::string& pin_root);

}  // namespace weft::datapath
