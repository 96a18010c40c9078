// The datapath's per-CPU counters, summed and named.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "bpfrt/map.h"

namespace weft::agent {

// [{reason, meaning, packets, bytes}] of those that are not zero.
nlohmann::json drop_counters(const bpfrt::RawMap* drops);
// [{name, meaning, value}], all of them.
nlohmann::json stat_counters(const bpfrt::RawMap* stats);

}  // namespace weft::agent
