#include <algorithm>
#include <bit>
#include <tuple>

#include "control/policy/policy.h"

namespace weft::control {
namespace {

constexpr unsigned port_bits = 16;

auto order_of(const weft_policy_key& key) {
  return std::tuple(key.policy_class, key.direction_prefix >> 7, key.identity, key.direction_prefix, key.port,
                    key.protocol);
}

std::uint16_t prefix_of(std::uint16_t port, unsigned length) {
  return static_cast<std::uint16_t>(port & ~((1U << (port_bits - length)) - 1));
}

}  // namespace

bool PolicyKeyLess::operator()(const weft_policy_key& a, const weft_policy_key& b) const {
  return order_of(a) < order_of(b);
}

PolicyAnswer evaluate(const PolicyRows& rows, const EndpointPolicy& endpoint, weft_direction direction, IdentityId peer,
                      IdentityId peer_cidr, Protocol protocol, std::uint16_t port) {
  if (!endpoint.enforced[direction]) return {.allowed = true, .rule = 0};
  weft_policy_key key{.policy_class = endpoint.policy_class};
  const auto look_up = [&](unsigned length, Protocol with) -> const weft_policy_entry* {
    key.port = prefix_of(port, length);
    key.protocol = static_cast<std::uint8_t>(with);
    key.direction_prefix = static_cast<std::uint8_t>(direction << 7 | length);
    const auto found = rows.find(key);
    return found == rows.end() ? nullptr : &found->second;
  };
  for (const IdentityId identity : {peer, peer_cidr, IdentityId{WEFT_IDENTITY_ANY}}) {
    key.identity = identity;
    for (int length = port_bits; length >= 0; --length) {
      const auto bits = static_cast<unsigned>(length);
      if ((endpoint.prefix_mask[direction] >> bits & 1U) == 0) continue;
      const auto* entry = look_up(bits, protocol);
      if (entry == nullptr && bits == 0) entry = look_up(0, Protocol::any);
      if (entry != nullptr) return {.allowed = entry->verdict == WEFT_POLICY_ALLOW, .rule = entry->rule};
    }
  }
  return {.allowed = false, .rule = endpoint.default_rule[direction]};
}

std::vector<std::pair<std::uint16_t, unsigned>> port_prefixes(std::uint16_t first, std::uint16_t last) {
  std::vector<std::pair<std::uint16_t, unsigned>> prefixes;
  std::uint32_t next = first;
  while (next <= last) {
    // The largest aligned block that starts here and does not reach beyond `last`.
    const auto aligned = next == 0 ? port_bits : static_cast<unsigned>(std::countr_zero(next));
    const auto fitting = static_cast<unsigned>(std::bit_width(last - next + 1U)) - 1;
    const unsigned free_bits = std::min({aligned, fitting, port_bits});
    prefixes.emplace_back(static_cast<std::uint16_t>(next), port_bits - free_bits);
    next += 1U << free_bits;
  }
  return prefixes;
}

}  // namespace weft::control
