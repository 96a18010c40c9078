// Session affinity is the kernel's memory of who went where; a backend that left its service must
// be forgotten there.
#pragma once

#include "bpfrt/map.h"
#include "control/services/services.h"

namespace weft::agent {

// Erases the entries whose backend is none of their service's any more. No work without affinity.
void forget_stale_affinity(bpfrt::RawMap& affinity, const control::CompiledServices& services);

}  // namespace weft::agent
