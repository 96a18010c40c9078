// RFC 4648, section 4.
#include <array>
#include <cstdint>

#include "sources/kubernetes/kubeconfig.h"

namespace weft::kubernetes {
namespace {

constexpr std::string_view letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

}  // namespace

Result<std::string> decode_base64(std::string_view text) {
  static const auto values = [] {
    std::array<int, 256> table{};
    table.fill(-1);
    for (std::size_t i = 0; i < letters.size(); ++i)
      table[static_cast<unsigned char>(letters[i])] = static_cast<int>(i);
    return table;
  }();
  std::string bytes;
  bytes.reserve(text.size() / 4 * 3);
  std::uint32_t group = 0;
  int count = 0;
  int padding = 0;
  for (const char letter : text) {
    if (letter == '\n' || letter == '\r' || letter == ' ') continue;
    if (letter == '=') {
      ++padding;
      continue;
    }
    const int value = values[static_cast<unsigned char>(letter)];
    if (value < 0 || padding > 0) return fail(ErrorCode::invalid, "this is not base64");
    group = (group << 6) | static_cast<std::uint32_t>(value);
    if (++count < 4) continue;
    for (const int shift : {16, 8, 0}) bytes += static_cast<char>((group >> shift) & 0xff);
    group = 0;
    count = 0;
  }
  if (count == 1 || padding > 2 || (padding > 0 && count + padding != 4))
    return fail(ErrorCode::invalid, "this base64 is cut off");
  if (count >= 2) bytes += static_cast<char>((group >> (count == 2 ? 4 : 10)) & 0xff);
  if (count == 3) bytes += static_cast<char>((group >> 2) & 0xff);
  return bytes;
}

std::string encode_base64(std::string_view bytes) {
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const auto count = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 3; ++k)
      group = (group << 8) | (k < count ? static_cast<unsigned char>(bytes[i + k]) : 0U);
    for (std::size_t k = 0; k < 4; ++k) text += k > count ? '=' : letters[(group >> (18 - 6 * k)) & 63];
  }
  return text;
}

}  // namespace weft::kubernetes
