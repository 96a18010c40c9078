// Maglev's table (Eisenbud et al., NSDI 2016): every backend fills the places of its own permutation in turns.
// The same backends and seed make the same table on every node, and one backend more or less moves few others.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/ip.h"

namespace weft::control::services {

// A backend of a run. Runs are made of members in the order of address and port, which is the same everywhere;
// ids are this node's own.
struct Member {
  std::uint32_t id = 0;
  std::uint32_t weight = 1;  // above 0
  IpAddress address;
  std::uint16_t port = 0;
};

// `size` is a prime. Backend ids; empty without members.
std::vector<std::uint32_t> maglev_table(std::span<const Member> members, Protocol protocol, std::uint32_t size,
                                        std::uint32_t seed);
// `number` itself when it is a prime, else the next one above; 3 at least.
std::uint32_t prime_from(std::uint32_t number);

}  // namespace weft::control::services
