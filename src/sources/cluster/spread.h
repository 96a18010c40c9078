// A number by a text, the same on every node and in every version of Weft.
#pragma once

#include <cstdint>
#include <string_view>

namespace weft::cluster {

// FNV-1a with a final mix. It only spreads nodes over a pool and labels over numbers; nothing depends on it.
inline std::uint64_t spread(std::string_view text) {
  std::uint64_t value = 0xcbf29ce484222325;
  for (const char letter : text) value = (value ^ static_cast<unsigned char>(letter)) * 0x100000001b3;
  value = (value ^ (value >> 33)) * 0xff51afd7ed558ccd;
  return value ^ (value >> 33);
}

}  // namespace weft::cluster
