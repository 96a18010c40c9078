// Addresses as values. Every address is held as 16 bytes in network byte order; an IPv4 address
// is IPv4-mapped (::ffff:a.b.c.d, RFC 4291 2.5.5.2), which is also its form as a BPF map key.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace weft {

enum class Family : std::uint8_t { v4 = 4, v6 = 6 };

class IpAddress {
 public:
  using Bytes = std::array<std::uint8_t, 16>;

  IpAddress() = default;  // ::
  explicit IpAddress(const Bytes& bytes) : bytes_(bytes) {}
  // `host_order` 0x0a000001 is 10.0.0.1.
  static IpAddress v4(std::uint32_t host_order);
  // Strict: dotted quad or RFC 4291 text, no zone, no leading zeros, no surrounding space.
  static Result<IpAddress> parse(std::string_view text);

  [[nodiscard]] bool is_v4() const;
  [[nodiscard]] bool is_v6() const { return !is_v4(); }
  [[nodiscard]] Family family() const { return is_v4() ? Family::v4 : Family::v6; }
  [[nodiscard]] const Bytes& bytes() const { return bytes_; }
  // Host byte order; meaningful for IPv4 only.
  [[nodiscard]] std::uint32_t to_v4() const;
  [[nodiscard]] bool is_unspecified() const;
  [[nodiscard]] bool is_multicast() const;
  [[nodiscard]] bool is_loopback() const;
  [[nodiscard]] std::string to_string() const;  // RFC 5952 for IPv6, dotted quad for IPv4
  // The address `offset` further on, wrapping inside 128 bits.
  [[nodiscard]] IpAddress plus(std::uint64_t offset) const;

  auto operator<=>(const IpAddress&) const = default;

 private:
  Bytes bytes_{};
};

class Cidr {
 public:
  Cidr() = default;  // ::/0
  // `length` counts bits of the family: 0..32 for IPv4, 0..128 for IPv6. Host bits are cleared.
  Cidr(const IpAddress& address, unsigned length);
  // "10.0.0.0/8" or "fd00::/8". Host bits may be set ("10.1.2.3/8"); they are cleared.
  static Result<Cidr> parse(std::string_view text);

  [[nodiscard]] const IpAddress& address() const { return address_; }
  [[nodiscard]] unsigned length() const { return length_; }
  [[nodiscard]] unsigned mapped_length() const { return is_v4() ? length_ + 96 : length_; }
  [[nodiscard]] bool is_v4() const { return v4_; }
  [[nodiscard]] Family family() const { return v4_ ? Family::v4 : Family::v6; }
  [[nodiscard]] bool contains(const IpAddress& address) const;
  [[nodiscard]] bool contains(const Cidr& other) const;
  // Number of addresses, saturating at 2^63.
  [[nodiscard]] std::uint64_t size() const;
  [[nodiscard]] std::string to_string() const;

  auto operator<=>(const Cidr&) const = default;

 private:
  IpAddress address_{};
  unsigned length_ = 0;
  bool v4_ = false;
};

struct MacAddress {
  std::array<std::uint8_t, 6> bytes{};
  static Result<MacAddress> parse(std::string_view text);
  [[nodiscard]] std::string to_string() const;  // lower case, colons
  auto operator<=>(const MacAddress&) const = default;
};

// IANA protocol numbers.
enum class Protocol : std::uint8_t { any = 0, icmp = 1, tcp = 6, udp = 17, icmpv6 = 58, sctp = 132 };
// "TCP", "UDP", "SCTP", "ICMP", "ICMPv6", "ANY"; otherwise the number.
std::string to_string(Protocol protocol);
// Any case; also a decimal number below 256.
Result<Protocol> parse_protocol(std::string_view text);

struct PortProtocol {
  std::uint16_t port = 0;  // host byte order
  Protocol protocol = Protocol::tcp;
  // "80/TCP", "53/udp", "80" (TCP).
  static Result<PortProtocol> parse(std::string_view text);
  [[nodiscard]] std::string to_string() const;
  auto operator<=>(const PortProtocol&) const = default;
};

}  // namespace weft

template <>
struct std::hash<weft::IpAddress> {
  std::size_t operator()(const weft::IpAddress& address) const noexcept;
};
