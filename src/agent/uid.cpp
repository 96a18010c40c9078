#include "agent/uid.h"

#include <fmt/format.h>
#include <sys/random.h>

#include <array>
#include <cstdint>
#include <random>

namespace weft::agent {
namespace {

std::string format(std::uint64_t high, std::uint64_t low, std::uint64_t version) {
  high = (high & ~std::uint64_t{0xf000}) | version << 12;
  low = (low & ~(std::uint64_t{3} << 62)) | std::uint64_t{2} << 62;
  return fmt::format("{:08x}-{:04x}-{:04x}-{:04x}-{:012x}", high >> 32, (high >> 16) & 0xffff, high & 0xffff, low >> 48,
                     low & 0xffff'ffff'ffff);
}

// FNV-1a with a final mix; what is stored depends on it, so it is not std::hash.
std::uint64_t mixed(std::string_view text, std::uint64_t start) {
  std::uint64_t value = start;
  for (const char letter : text) value = (value ^ static_cast<unsigned char>(letter)) * 0x100000001b3;
  value = (value ^ (value >> 33)) * 0xff51afd7ed558ccd;
  return value ^ (value >> 33);
}

}  // namespace

std::string random_uid() {
  // A device of its own for each, or a word at a time from the processor, costs more than the rest of an apply.
  std::array<std::uint64_t, 2> words{};
  if (::getrandom(words.data(), sizeof words, 0) != static_cast<ssize_t>(sizeof words)) {
    std::random_device device;
    for (auto& word : words) word = std::uint64_t{device()} << 32 | device();
  }
  return format(words[0], words[1], 4);
}

std::string derived_uid(std::string_view text) {
  return format(mixed(text, 0xcbf29ce484222325), mixed(text, 0x84222325cbf29ce4), 8);
}

}  // namespace weft::agent
