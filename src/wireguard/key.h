// Keys of WireGuard: 32 bytes, private or public (Curve25519, RFC 7748).
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace weft::wireguard {

class Key {
 public:
  using Bytes = std::array<std::uint8_t, 32>;

  Key() = default;
  explicit Key(const Bytes& bytes) : bytes_(bytes) {}
  // 44 characters, as WireGuard's tools write keys. A text that another key would be written as too is refused. The
  // error does not quote it: it may be a secret.
  static Result<Key> from_base64(std::string_view text);
  static Result<Key> from_hex(std::string_view text);  // 64 digits

  [[nodiscard]] const Bytes& bytes() const { return bytes_; }
  [[nodiscard]] std::string base64() const;
  [[nodiscard]] std::string hex() const;
  [[nodiscard]] bool empty() const { return bytes_ == Bytes{}; }
  auto operator<=>(const Key&) const = default;

 private:
  Bytes bytes_{};
};

Result<Key> generate_private_key();
Result<Key> public_key_of(const Key& private_key);

}  // namespace weft::wireguard
