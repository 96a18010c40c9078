#include "agent/l2_frames.h"

#include <algorithm>
#include <array>

namespace weft::agent {
namespace {

using Frame = std::vector<std::uint8_t>;
using Bytes = std::span<const std::uint8_t>;

constexpr std::size_t ethernet = 14;
constexpr std::size_t arp_size = 28;
constexpr std::size_t ipv6_size = 40;
constexpr std::size_t message_size = 24;  // without options
constexpr unsigned solicitation = 135;
constexpr unsigned advertisement = 136;
constexpr unsigned target_option = 2;

constexpr std::array<std::uint8_t, 16> all_nodes{0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
constexpr std::array<std::uint8_t, 16> unspecified{};

void put(Frame& frame, std::initializer_list<unsigned> bytes) {
  for (const auto byte : bytes) frame.push_back(static_cast<std::uint8_t>(byte));
}

template <class Range>
void put_all(Frame& frame, const Range& bytes) {
  frame.insert(frame.end(), std::begin(bytes), std::end(bytes));
}

// A request to all: of `sender`, for `target`.
Frame arp_request(const MacAddress& mac, const IpAddress& sender, const IpAddress& target) {
  const auto v4 = [](const IpAddress& address) { return Bytes(address.bytes()).last(4); };
  Frame frame;
  put(frame, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff});
  put_all(frame, mac.bytes);
  put(frame, {0x08, 0x06});                    // ARP
  put(frame, {0, 1, 0x08, 0x00, 6, 4, 0, 1});  // Ethernet, IPv4, request
  put_all(frame, mac.bytes);
  put_all(frame, v4(sender));
  put(frame, {0, 0, 0, 0, 0, 0});
  put_all(frame, v4(target));
  return frame;
}

// Of the pseudo header and the message (RFC 4443, 2.3).
std::uint16_t icmp_checksum(Bytes source, Bytes destination, Bytes message) {
  std::uint32_t sum = static_cast<std::uint32_t>(message.size()) + 58;
  const auto add = [&](Bytes bytes) {
    for (std::size_t i = 0; i + 1 < bytes.size(); i += 2)
      sum += static_cast<std::uint32_t>(bytes[i] << 8 | bytes[i + 1]);
  };
  add(source);
  add(destination);
  add(message);
  while ((sum >> 16) != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum);
}

Frame icmpv6_frame(const MacAddress& mac, const MacAddress& to, Bytes source, Bytes destination, Frame message) {
  const auto checksum = icmp_checksum(source, destination, message);
  message[2] = static_cast<std::uint8_t>(checksum >> 8);
  message[3] = static_cast<std::uint8_t>(checksum & 0xff);
  Frame frame;
  put_all(frame, to.bytes);
  put_all(frame, mac.bytes);
  put(frame, {0x86, 0xdd, 0x60, 0, 0, 0, 0, static_cast<unsigned>(message.size()), 58, 255});
  put_all(frame, source);
  put_all(frame, destination);
  put_all(frame, message);
  return frame;
}

Frame advertisement_frame(const IpAddress& address, const MacAddress& mac) {
  Frame message;
  put(message, {advertisement, 0, 0, 0, 0x20, 0, 0, 0});  // override
  put_all(message, address.bytes());
  put(message, {target_option, 1});  // 8 bytes
  put_all(message, mac.bytes);
  return icmpv6_frame(mac, {{0x33, 0x33, 0, 0, 0, 1}}, address.bytes(), all_nodes, std::move(message));
}

Frame solicitation_frame(const IpAddress& address, const MacAddress& mac) {
  const auto& bytes = address.bytes();
  const std::array<std::uint8_t, 16> group{0xff, 0x02, 0, 0,    0,    0,         0,         0,
                                           0,    0,    0, 0x01, 0xff, bytes[13], bytes[14], bytes[15]};
  Frame message;
  put(message, {solicitation, 0, 0, 0, 0, 0, 0, 0});
  put_all(message, bytes);
  return icmpv6_frame(mac, solicited_group(address), unspecified, group, std::move(message));
}

MacAddress mac_at(Bytes frame, std::size_t at) {
  MacAddress mac;
  std::ranges::copy(frame.subspan(at, 6), mac.bytes.begin());
  return mac;
}

IpAddress v4_at(Bytes frame, std::size_t at) {
  return IpAddress::v4(static_cast<std::uint32_t>(frame[at]) << 24U | static_cast<std::uint32_t>(frame[at + 1]) << 16U |
                       static_cast<std::uint32_t>(frame[at + 2]) << 8U | frame[at + 3]);
}

IpAddress v6_at(Bytes frame, std::size_t at) {
  IpAddress::Bytes bytes{};
  std::ranges::copy(frame.subspan(at, 16), bytes.begin());
  return IpAddress(bytes);
}

std::optional<Heard> heard_arp(Bytes frame) {
  constexpr std::array<std::uint8_t, 6> ethernet_ipv4{0, 1, 0x08, 0x00, 6, 4};
  if (frame.size() < ethernet + arp_size || !std::ranges::equal(frame.subspan(ethernet, 6), ethernet_ipv4)) return {};
  const auto operation = static_cast<unsigned>(frame[20] << 8 | frame[21]);
  if (operation != 1 && operation != 2) return {};
  const auto sender = v4_at(frame, 28);
  if (sender != IpAddress::v4(0)) return Heard{Heard::Kind::claim, sender, mac_at(frame, 22)};
  if (operation != 1) return {};
  return Heard{Heard::Kind::probe, v4_at(frame, 38), mac_at(frame, 22)};
}

// The link-layer address an option gives, else the one the frame came from.
MacAddress advertised_mac(Bytes frame, std::size_t end) {
  for (auto at = ethernet + ipv6_size + message_size; at + 8 <= end; at += std::size_t{frame[at + 1]} * 8) {
    if (frame[at + 1] == 0) break;
    if (frame[at] == target_option && frame[at + 1] == 1) return mac_at(frame, at + 2);
  }
  return mac_at(frame, 6);
}

std::optional<Heard> heard_neighbour(Bytes frame) {
  constexpr auto message = ethernet + ipv6_size;
  if (frame.size() < message + message_size) return {};
  const auto end = message + static_cast<std::size_t>(frame[18] << 8 | frame[19]);
  // A hop limit below 255 came through a router: not from this link.
  if (end < message + message_size || end > frame.size() || frame[20] != 58 || frame[21] != 255) return {};
  const auto target = v6_at(frame, message + 8);
  if (target.is_multicast() || target.is_v4()) return {};  // of IPv4 only ARP tells
  if (frame[message] == advertisement) return Heard{Heard::Kind::claim, target, advertised_mac(frame, end)};
  const bool nobody = v6_at(frame, ethernet + 8).is_unspecified();
  if (frame[message] != solicitation || !nobody) return {};
  return Heard{Heard::Kind::probe, target, mac_at(frame, 6)};
}

}  // namespace

std::vector<std::uint8_t> announcement_frame(const IpAddress& address, const MacAddress& mac) {
  return address.is_v4() ? arp_request(mac, address, address) : advertisement_frame(address, mac);
}

std::vector<std::uint8_t> probe_frame(const IpAddress& address, const MacAddress& mac) {
  return address.is_v4() ? arp_request(mac, IpAddress::v4(0), address) : solicitation_frame(address, mac);
}

MacAddress solicited_group(const IpAddress& address) {
  const auto& bytes = address.bytes();
  return {{0x33, 0x33, 0xff, bytes[13], bytes[14], bytes[15]}};
}

std::optional<Heard> heard(std::span<const std::uint8_t> frame) {
  if (frame.size() < ethernet) return {};
  const auto type = static_cast<unsigned>(frame[12] << 8 | frame[13]);
  if (type == 0x0806) return heard_arp(frame);
  return type == 0x86dd ? heard_neighbour(frame) : std::nullopt;
}

}  // namespace weft::agent
