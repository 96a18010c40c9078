#include "base/ip.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace weft {
namespace {

constexpr std::array<std::uint8_t, 12> mapped_prefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

Result<unsigned> parse_number(std::string_view text, unsigned maximum) {
  unsigned value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value > maximum ||
      (text.size() > 1 && text.front() == '0'))
    return fail(ErrorCode::invalid, fmt::format("\"{}\" is not a number from 0 to {}", text, maximum));
  return value;
}

// The first `bits` bits of both are equal.
bool same_prefix(const IpAddress::Bytes& a, const IpAddress::Bytes& b, unsigned bits) {
  const unsigned whole = bits / 8;
  if (std::memcmp(a.data(), b.data(), whole) != 0) return false;
  if (bits % 8 == 0) return true;
  const auto mask = static_cast<std::uint8_t>(0xff00U >> (bits % 8));
  return (a[whole] & mask) == (b[whole] & mask);
}

std::string upper(std::string_view text) {
  std::string result(text);
  std::ranges::transform(result, result.begin(),
                         [](unsigned char c) { return c >= 'a' && c <= 'z' ? char(c - 32) : char(c); });
  return result;
}

}  // namespace

IpAddress IpAddress::v4(std::uint32_t host_order) {
  IpAddress result;
  std::ranges::copy(mapped_prefix, result.bytes_.begin());
  for (unsigned i = 0; i < 4; ++i) result.bytes_[12 + i] = static_cast<std::uint8_t>(host_order >> (24 - 8 * i));
  return result;
}

Result<IpAddress> IpAddress::parse(std::string_view text) {
  const std::string copy(text);
  if (copy.find('\0') == std::string::npos) {
    in_addr four{};
    if (::inet_pton(AF_INET, copy.c_str(), &four) == 1) return v4(ntohl(four.s_addr));
    Bytes six{};
    if (::inet_pton(AF_INET6, copy.c_str(), six.data()) == 1) return IpAddress(six);
  }
  return fail(ErrorCode::invalid, fmt::format("\"{}\" is not an IP address", text));
}

bool IpAddress::is_v4() const { return std::equal(mapped_prefix.begin(), mapped_prefix.end(), bytes_.begin()); }

std::uint32_t IpAddress::to_v4() const {
  std::uint32_t value = 0;
  for (unsigned i = 12; i < 16; ++i) value = value << 8 | bytes_[i];
  return value;
}

bool IpAddress::is_unspecified() const {
  return is_v4() ? to_v4() == 0 : std::ranges::all_of(bytes_, [](auto b) { return b == 0; });
}

bool IpAddress::is_multicast() const { return is_v4() ? bytes_[12] >> 4 == 0xe : bytes_[0] == 0xff; }

bool IpAddress::is_loopback() const { return is_v4() ? bytes_[12] == 127 : to_string() == "::1"; }

std::string IpAddress::to_string() const {
  std::array<char, INET6_ADDRSTRLEN> buffer{};
  if (is_v4())
    ::inet_ntop(AF_INET, bytes_.data() + 12, buffer.data(), buffer.size());
  else
    ::inet_ntop(AF_INET6, bytes_.data(), buffer.data(), buffer.size());
  return buffer.data();
}

IpAddress IpAddress::plus(std::uint64_t offset) const {
  IpAddress result = *this;
  std::uint64_t carry = offset;
  for (int i = 15; i >= 0 && carry != 0; --i) {
    auto& byte = result.bytes_[static_cast<std::size_t>(i)];
    const std::uint64_t sum = byte + (carry & 0xff);
    byte = static_cast<std::uint8_t>(sum);
    carry = (carry >> 8) + (sum >> 8);
  }
  return result;
}

Cidr::Cidr(const IpAddress& address, unsigned length) : length_(length), v4_(address.is_v4()) {
  length_ = std::min(length, v4_ ? 32U : 128U);
  auto bytes = address.bytes();
  for (unsigned bit = mapped_length(); bit < 128; ++bit)
    bytes[bit / 8] = static_cast<std::uint8_t>(bytes[bit / 8] & ~(0x80U >> (bit % 8)));
  address_ = IpAddress(bytes);
}

Result<Cidr> Cidr::parse(std::string_view text) {
  const auto slash = text.find('/');
  if (slash == std::string_view::npos)
    return fail(ErrorCode::invalid, fmt::format("\"{}\" is not a CIDR: the prefix length is missing", text));
  auto address = IpAddress::parse(text.substr(0, slash));
  if (!address) return fail(ErrorCode::invalid, fmt::format("\"{}\" is not a CIDR", text));
  auto length = parse_number(text.substr(slash + 1), address->is_v4() ? 32 : 128);
  if (!length) return fail(length.error().in(fmt::format("\"{}\" is not a CIDR", text)));
  return Cidr(*address, *length);
}

bool Cidr::contains(const IpAddress& address) const {
  return address.is_v4() == v4_ && same_prefix(address_.bytes(), address.bytes(), mapped_length());
}

bool Cidr::contains(const Cidr& other) const {
  return other.length_ >= length_ && other.v4_ == v4_ && contains(other.address_);
}

std::uint64_t Cidr::size() const {
  const unsigned host_bits = 128 - mapped_length();
  return host_bits >= 63 ? std::uint64_t{1} << 63 : std::uint64_t{1} << host_bits;
}

std::string Cidr::to_string() const { return fmt::format("{}/{}", address_.to_string(), length_); }

Result<MacAddress> MacAddress::parse(std::string_view text) {
  MacAddress result;
  const bool shape = text.size() == 17;
  for (std::size_t i = 0; shape && i < 6; ++i) {
    const char* first = text.data() + i * 3;
    auto [end, error] = std::from_chars(first, first + 2, result.bytes[i], 16);
    if (error != std::errc{} || end != first + 2 || (i < 5 && first[2] != ':'))
      return fail(ErrorCode::invalid, fmt::format("\"{}\" is not a MAC address", text));
  }
  if (!shape) return fail(ErrorCode::invalid, fmt::format("\"{}\" is not a MAC address", text));
  return result;
}

std::string MacAddress::to_string() const {
  return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", bytes[0], bytes[1], bytes[2], bytes[3], bytes[4],
                     bytes[5]);
}

std::string to_string(Protocol protocol) {
  switch (protocol) {
    case Protocol::any:
      return "ANY";
    case Protocol::icmp:
      return "ICMP";
    case Protocol::tcp:
      return "TCP";
    case Protocol::udp:
      return "UDP";
    case Protocol::icmpv6:
      return "ICMPv6";
    case Protocol::sctp:
      return "SCTP";
  }
  return std::to_string(static_cast<unsigned>(protocol));
}

Result<Protocol> parse_protocol(std::string_view text) {
  const auto name = upper(text);
  for (const auto known :
       {Protocol::any, Protocol::icmp, Protocol::tcp, Protocol::udp, Protocol::icmpv6, Protocol::sctp})
    if (upper(to_string(known)) == name) return known;
  if (auto number = parse_number(text, 255)) return static_cast<Protocol>(*number);
  return fail(ErrorCode::invalid, fmt::format("\"{}\" is not a protocol", text), "use TCP, UDP, SCTP or ICMP");
}

Result<PortProtocol> PortProtocol::parse(std::string_view text) {
  const auto slash = text.find('/');
  auto port = parse_number(text.substr(0, slash), 65535);
  if (!port) return fail(ErrorCode::invalid, fmt::format("\"{}\" is not a port like 80/TCP", text));
  auto protocol =
      slash == std::string_view::npos ? Result<Protocol>(Protocol::tcp) : parse_protocol(text.substr(slash + 1));
  if (!protocol) return fail(protocol.error());
  return PortProtocol{static_cast<std::uint16_t>(*port), *protocol};
}

std::string PortProtocol::to_string() const { return fmt::format("{}/{}", port, weft::to_string(protocol)); }

}  // namespace weft

std::size_t std::hash<weft::IpAddress>::operator()(const weft::IpAddress& address) const noexcept {
  std::uint64_t high = 0;
  std::uint64_t low = 0;
  std::memcpy(&high, address.bytes().data(), 8);
  std::memcpy(&low, address.bytes().data() + 8, 8);
  return std::hash<std::uint64_t>{}(high * 0x9e3779b97f4a7c15ULL ^ low);
}
