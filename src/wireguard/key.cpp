#include "wireguard/key.h"

#include <openssl/evp.h>
#include <sys/random.h>

#include <cerrno>
#include <memory>

namespace weft::wireguard {
namespace {

constexpr std::string_view base64_digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::string_view hex_digits = "0123456789abcdef";

std::unexpected<Error> no_key() { return fail(ErrorCode::invalid, "this is no WireGuard key"); }

}  // namespace

Result<Key> Key::from_base64(std::string_view text) {
  // 32 bytes are 42 digits of 6 bits, one of 4 bits and the padding.
  if (text.size() != 44 || text.back() != '=') return no_key();
  Bytes bytes{};
  std::uint32_t bits = 0;
  unsigned count = 0;
  std::size_t at = 0;
  for (const char digit : text.substr(0, 43)) {
    const auto value = base64_digits.find(digit);
    if (value == std::string_view::npos) return no_key();
    bits = bits << 6 | static_cast<std::uint32_t>(value);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes.at(at++) = static_cast<std::uint8_t>(bits >> count);
  }
  if ((bits & 3U) != 0) return no_key();
  return Key(bytes);
}

Result<Key> Key::from_hex(std::string_view text) {
  if (text.size() != 64) return no_key();
  Bytes bytes{};
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto value = hex_digits.find(text[i]);
    if (value == std::string_view::npos) return no_key();
    bytes.at(i / 2) = static_cast<std::uint8_t>(bytes.at(i / 2) << 4 | value);
  }
  return Key(bytes);
}

std::string Key::base64() const {
  std::string text;
  std::uint32_t bits = 0;
  unsigned count = 0;
  for (const auto byte : bytes_) {
    bits = bits << 8 | byte;
    count += 8;
    while (count >= 6) {
      count -= 6;
      text += base64_digits[bits >> count & 63U];
    }
  }
  text += base64_digits[bits << (6 - count) & 63U];
  return text + "=";
}

std::string Key::hex() const {
  std::string text;
  for (const auto byte : bytes_) {
    text += hex_digits[byte >> 4];
    text += hex_digits[byte & 15U];
  }
  return text;
}

Result<Key> generate_private_key() {
  Key::Bytes bytes{};
  for (std::size_t filled = 0; filled < bytes.size();) {
    const auto got = ::getrandom(bytes.data() + filled, bytes.size() - filled, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(errno_error("random bytes for a key", errno));
    filled += static_cast<std::size_t>(got);
  }
  // RFC 7748, 5: so that a device that clamps says the same key as it was given.
  bytes.front() &= 248U;
  bytes.back() = static_cast<std::uint8_t>((bytes.back() & 127U) | 64U);
  return Key(bytes);
}

Result<Key> public_key_of(const Key& private_key) {
  const auto& secret = private_key.bytes();
  const std::unique_ptr<EVP_PKEY, decltype(&::EVP_PKEY_free)> pair(
      ::EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, nullptr, secret.data(), secret.size()), &::EVP_PKEY_free);
  Key::Bytes bytes{};
  std::size_t size = bytes.size();
  if (!pair || ::EVP_PKEY_get_raw_public_key(pair.get(), bytes.data(), &size) != 1 || size != bytes.size())
    return fail(ErrorCode::internal, "the public key cannot be computed: this libcrypto has no X25519");
  return Key(bytes);
}

}  // namespace weft::wireguard
