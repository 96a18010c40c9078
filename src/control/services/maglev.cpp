#include "control/services/maglev.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>

#include "control/services/hash.h"

namespace weft::control::services {
namespace {

// The second of the two hashes is made with another seed.
constexpr std::uint32_t second_seed = 0x9747b28c;

std::uint32_t hash_of(const Member& member, Protocol protocol, std::uint32_t seed) {
  weft_addr address{};
  static_assert(sizeof address == sizeof(IpAddress::Bytes));
  std::memcpy(&address, member.address.bytes().data(), sizeof address);
  return weft_hash_flow(seed, &address, htons(member.port), static_cast<std::uint8_t>(protocol));
}

// The next place of a backend's permutation of 0 .. size - 1.
struct Walk {
  std::uint32_t place = 0;
  std::uint32_t skip = 1;
  std::uint32_t credit = 0;  // of turns, in units of the largest weight
};

}  // namespace

std::uint32_t prime_from(std::uint32_t number) {
  const auto is_prime = [](std::uint32_t candidate) {
    for (std::uint32_t divisor = 3; divisor <= candidate / divisor; divisor += 2)
      if (candidate % divisor == 0) return false;
    return true;
  };
  number = std::max(number | 1U, 3U);
  while (!is_prime(number)) number += 2;
  return number;
}

std::vector<std::uint32_t> maglev_table(std::span<const Member> members, Protocol protocol, std::uint32_t size,
                                        std::uint32_t seed) {
  if (members.empty()) return {};
  std::vector<Walk> walks;
  walks.reserve(members.size());
  std::uint32_t heaviest = 1;
  for (const auto& member : members) {
    walks.push_back(
        {hash_of(member, protocol, seed) % size, hash_of(member, protocol, seed ^ second_seed) % (size - 1) + 1, 0});
    heaviest = std::max(heaviest, member.weight);
  }
  std::vector<std::uint32_t> table(size);
  std::vector<bool> filled(size);  // small enough for the cache, which the table is not
  for (std::uint32_t left = size; left != 0;)
    for (std::size_t i = 0; i < walks.size() && left != 0; ++i) {
      auto& walk = walks[i];
      walk.credit += members[i].weight;
      if (walk.credit < heaviest) continue;
      walk.credit -= heaviest;
      const auto step = [&] {
        const std::uint64_t next = std::uint64_t{walk.place} + walk.skip;
        return static_cast<std::uint32_t>(next >= size ? next - size : next);
      };
      while (filled[walk.place]) walk.place = step();
      filled[walk.place] = true;
      table[walk.place] = members[i].id;
      walk.place = step();
      --left;
    }
  return table;
}

}  // namespace weft::control::services
