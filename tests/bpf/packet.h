// Packets for the fixtures: what to send and what to expect, from the same builder, so that every
// checksum of an expected packet is computed and not copied. All numbers in host byte order.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/ip.h"

namespace weft::test {

using Octets = std::vector<std::uint8_t>;

enum TcpFlag : std::uint8_t { kFin = 1, kSyn = 2, kRst = 4, kPsh = 8, kAck = 16 };

// A value with one field per header field; the with_* functions return changed copies.
struct Packet {
  std::array<std::uint8_t, 6> to_mac{2, 0, 0, 0, 0, 1};
  std::array<std::uint8_t, 6> from_mac{2, 0, 0, 0, 0, 2};
  std::uint16_t ether_type = 0;  // 0: by the family of `source`
  IpAddress source;
  IpAddress destination;
  std::uint8_t protocol = 0;
  std::uint8_t hop_limit = 64;
  std::uint8_t traffic_class = 0;  // type of service
  std::uint16_t id = 0x1234;
  bool dont_fragment = false;      // IPv4
  Octets ip_options;               // IPv4, a multiple of 4
  std::vector<Octets> extensions;  // IPv6: whole headers, the next-header byte filled in here
  std::vector<std::uint8_t> extension_types;
  std::optional<std::uint16_t> fragment;  // offset in bytes; unset: not fragmented
  bool more_fragments = false;
  std::uint32_t fragment_id = 0;
  std::uint16_t source_port = 0;
  std::uint16_t destination_port = 0;
  std::uint8_t tcp_flags = 0;
  std::uint32_t tcp_sequence = 1000;
  std::uint32_t tcp_acknowledged = 2000;
  std::uint16_t tcp_window = 65535;
  std::uint8_t icmp_type = 0;
  std::uint8_t icmp_code = 0;
  std::uint16_t icmp_id = 0;
  std::uint16_t icmp_mtu = 0;
  std::uint32_t sctp_crc = 0xfeedbeef;    // carried through, never recomputed
  std::optional<std::uint16_t> checksum;  // of the transport header; unset: the right one
  std::shared_ptr<Packet> quoted;         // ICMP errors: the packet they are about
  std::size_t quoted_bytes = 8;           // of its transport header
  Octets payload{'w', 'e', 'f', 't'};
  std::optional<Octets> raw;            // everything after Ethernet, verbatim
  std::optional<std::size_t> truncate;  // cut after this many bytes of L3
  std::uint32_t gso_size = 0;           // told to the kernel beside the packet

  [[nodiscard]] bool is_v4() const { return source.is_v4(); }
  [[nodiscard]] Octets bytes() const;     // with Ethernet
  [[nodiscard]] Octets l3_bytes() const;  // from the IP header on
  // The transport checksum the packet would carry.
  [[nodiscard]] std::uint16_t transport_checksum() const;

  [[nodiscard]] Packet from(const IpAddress& address, std::uint16_t port) const;
  [[nodiscard]] Packet to(const IpAddress& address, std::uint16_t port) const;
  [[nodiscard]] Packet with_echo_id(std::uint16_t value) const;
  [[nodiscard]] Packet with_flags(std::uint8_t flags) const;
  [[nodiscard]] Packet with_hop_limit(std::uint8_t value) const;
  [[nodiscard]] Packet with_traffic_class(std::uint8_t value) const;
  [[nodiscard]] Packet with_payload(std::size_t length) const;
  [[nodiscard]] Packet with_options(Octets options) const;
  [[nodiscard]] Packet with_extension(std::uint8_t type, Octets header) const;
  [[nodiscard]] Packet with_checksum(std::uint16_t value) const;
  [[nodiscard]] Packet with_macs(std::array<std::uint8_t, 6> destination_mac,
                                 std::array<std::uint8_t, 6> source_mac) const;
  [[nodiscard]] Packet cut(std::size_t l3_length) const;
  [[nodiscard]] Packet with_gso(std::uint32_t segment) const;
  [[nodiscard]] Packet first_fragment(std::uint32_t fragment_number) const;
  [[nodiscard]] Packet later_fragment(std::uint32_t fragment_number, std::uint16_t offset) const;
  // What Weft answers instead of dropping: a TCP reset to the sender, and one in the packet's own direction; an
  // ICMP port unreachable; an ICMP error that says how large a packet may be.
  [[nodiscard]] Packet refused() const;
  [[nodiscard]] Packet broken_off() const;
  [[nodiscard]] Packet unreachable_port() const;
  [[nodiscard]] Packet too_big(std::uint16_t mtu) const;
  // Source and destination exchanged.
  [[nodiscard]] Packet reversed() const;

 private:
  [[nodiscard]] Octets transport() const;
  [[nodiscard]] Octets icmp() const;
  [[nodiscard]] Packet as_reset() const;
};

Packet tcp(const IpAddress& from, std::uint16_t from_port, const IpAddress& to, std::uint16_t to_port,
           std::uint8_t flags = kAck);
Packet udp(const IpAddress& from, std::uint16_t from_port, const IpAddress& to, std::uint16_t to_port);
Packet sctp(const IpAddress& from, std::uint16_t from_port, const IpAddress& to, std::uint16_t to_port);
Packet echo_request(const IpAddress& from, const IpAddress& to, std::uint16_t id);
Packet echo_reply(const IpAddress& from, const IpAddress& to, std::uint16_t id);
Packet icmp_message(const IpAddress& from, const IpAddress& to, std::uint8_t type, std::uint8_t code);
// Destination (port) unreachable about `quoted`.
Packet unreachable(const IpAddress& from, const IpAddress& to, const Packet& quoted);
Packet arp(std::uint16_t operation, const std::array<std::uint8_t, 6>& sender_mac, const IpAddress& sender,
           const std::array<std::uint8_t, 6>& target_mac, const IpAddress& target);
// A neighbour solicitation (135) or advertisement (136) with its link-layer address option.
Packet neighbour_message(std::uint8_t type, const IpAddress& from, const IpAddress& to, const IpAddress& target,
                         std::uint8_t option, const std::array<std::uint8_t, 6>& mac);
Packet raw_frame(std::uint16_t ether_type, Octets content);

// What one node sends another with `inner` in it: the payload of its datagram (RFC 8926, one option that names the
// backend), and the IPv4 option with the frontend that `inner` goes to.
Octets geneve_payload(const Packet& inner, const IpAddress& backend, std::uint16_t port);
Octets frontend_option(const Packet& inner);
// `inner` in a tunnel between nodes: Geneve (the sender's identity as VNI) and IP-in-IP.
Packet geneve_tunnel(const IpAddress& from, const IpAddress& to, const Packet& inner, std::uint32_t vni);
Packet ipip_tunnel(const IpAddress& from, const IpAddress& to, const Packet& inner);

// Lines of 16 bytes in hex, for messages.
std::string dump(const Octets& bytes);

}  // namespace weft::test
