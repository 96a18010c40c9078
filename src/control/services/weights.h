// Weighted choice by repetition: a run of slots in which a backend stands as often as its weight says.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "control/services/maglev.h"
#include "model/objects.h"

namespace weft::control::services {

// More slots than this a weighted run takes only when it has more backends.
constexpr std::uint32_t weighted_run_limit = 512;

// How often each member stands in the run: its weight divided by the greatest common divisor of all, scaled
// down to the limit; 1 at least.
std::vector<std::uint32_t> repetitions(std::span<const Member> members);
// Backend ids, each as often as its weight says and as far apart as can be.
std::vector<std::uint32_t> weighted_sequence(std::span<const Member> members);

// The slots of a service. A table of one backend is a single slot, which chooses the same.
std::vector<std::uint32_t> slots_of(std::span<const Member> members, Protocol protocol, model::Algorithm algorithm,
                                    std::uint32_t table_size, std::uint32_t seed);

}  // namespace weft::control::services
