#include "packet.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "abi/hash.h"

namespace weft::test {
namespace {

constexpr std::uint8_t kProtocolFragment = 44;

void put16(Octets& out, std::size_t value) {
  out.push_back(static_cast<std::uint8_t>(value >> 8));
  out.push_back(static_cast<std::uint8_t>(value));
}

void put32(Octets& out, std::uint32_t value) {
  put16(out, value >> 16);
  put16(out, value & 0xffff);
}

void set16(Octets& out, std::size_t offset, std::uint16_t value) {
  out[offset] = static_cast<std::uint8_t>(value >> 8);
  out[offset + 1] = static_cast<std::uint8_t>(value);
}

void append(Octets& out, const Octets& more) { out.insert(out.end(), more.begin(), more.end()); }

void put_address(Octets& out, const IpAddress& address) {
  const auto& bytes = address.bytes();
  out.insert(out.end(), bytes.begin() + (address.is_v4() ? 12 : 0), bytes.end());
}

std::uint16_t internet_checksum(const Octets& bytes) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) sum += static_cast<std::uint32_t>(bytes[i]) << (i % 2 ? 0 : 8);
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum);
}

std::uint16_t with_pseudo_header(const Packet& packet, const Octets& transport) {
  Octets summed;
  if (packet.protocol != 1) {
    put_address(summed, packet.source);
    put_address(summed, packet.destination);
    put32(summed, static_cast<std::uint32_t>(transport.size()));
    put32(summed, packet.protocol);
  }
  append(summed, transport);
  return internet_checksum(summed);
}

std::size_t checksum_offset(std::uint8_t protocol) {
  switch (protocol) {
    case 6:
      return 16;
    case 17:
      return 6;
    case 1:
    case 58:
      return 2;
    default:
      return 0;
  }
}

}  // namespace

Octets Packet::icmp() const {
  Octets out{icmp_type, icmp_code, 0, 0};
  put16(out, icmp_id);
  put16(out, icmp_mtu);
  if (!quoted) {
    append(out, payload);
    return out;
  }
  const auto inner = quoted->l3_bytes();
  const auto header = quoted->is_v4() ? 20 + quoted->ip_options.size() : 40;
  out.insert(out.end(), inner.begin(),
             inner.begin() + static_cast<std::ptrdiff_t>(std::min(inner.size(), header + quoted_bytes)));
  return out;
}

Octets Packet::transport() const {
  Octets out;
  if (fragment && *fragment) return payload;
  switch (protocol) {
    case 6:
      put16(out, source_port);
      put16(out, destination_port);
      put32(out, tcp_sequence);
      put32(out, tcp_acknowledged);
      out.push_back(0x50);
      out.push_back(tcp_flags);
      put16(out, tcp_window);
      put32(out, 0);
      append(out, payload);
      break;
    case 17:
      put16(out, source_port);
      put16(out, destination_port);
      put16(out, 8 + payload.size());
      put16(out, 0);
      append(out, payload);
      break;
    case 132:
      put16(out, source_port);
      put16(out, destination_port);
      put32(out, 7);
      put32(out, sctp_crc);
      append(out, payload);
      break;
    case 1:
    case 58:
      out = icmp();
      break;
    default:
      return payload;
  }
  if (const auto offset = checksum_offset(protocol)) {
    auto value = checksum.value_or(with_pseudo_header(*this, out));
    if (protocol == 17 && value == 0 && !checksum) value = 0xffff;
    set16(out, offset, value);
  }
  return out;
}

std::uint16_t Packet::transport_checksum() const {
  const auto out = transport();
  const auto offset = checksum_offset(protocol);
  return static_cast<std::uint16_t>(out.at(offset) << 8 | out.at(offset + 1));
}

Octets Packet::l3_bytes() const {
  if (raw) return *raw;
  const auto body = transport();
  Octets out;
  if (is_v4()) {
    const auto header = 20 + ip_options.size();
    out.push_back(static_cast<std::uint8_t>(0x40 | header / 4));
    out.push_back(traffic_class);
    put16(out, header + body.size());
    put16(out, fragment ? fragment_id : id);
    put16(out, (fragment.value_or(0) / 8u) | (more_fragments ? 0x2000u : 0u) | (dont_fragment ? 0x4000u : 0u));
    out.push_back(hop_limit);
    out.push_back(protocol);
    put16(out, 0);
    put_address(out, source);
    put_address(out, destination);
    append(out, ip_options);
    set16(out, 10, internet_checksum(out));
  } else {
    auto headers = extensions;
    auto types = extension_types;
    if (fragment) {
      Octets header{0, 0};
      put16(header, (*fragment & 0xfff8u) | (more_fragments ? 1u : 0u));
      put32(header, fragment_id);
      headers.push_back(header);
      types.push_back(kProtocolFragment);
    }
    types.push_back(protocol);
    std::size_t length = body.size();
    for (std::size_t i = 0; i < headers.size(); ++i) {
      headers[i][0] = types[i + 1];
      length += headers[i].size();
    }
    put32(out, 0x60000000 | static_cast<std::uint32_t>(traffic_class) << 20);
    put16(out, length);
    out.push_back(types[0]);
    out.push_back(hop_limit);
    put_address(out, source);
    put_address(out, destination);
    for (const auto& header : headers) append(out, header);
  }
  append(out, body);
  if (truncate) out.resize(std::min(*truncate, out.size()));
  return out;
}

Octets Packet::bytes() const {
  Octets out;
  out.insert(out.end(), to_mac.begin(), to_mac.end());
  out.insert(out.end(), from_mac.begin(), from_mac.end());
  put16(out, ether_type ? ether_type : is_v4() ? 0x0800 : 0x86dd);
  append(out, l3_bytes());
  return out;
}

Packet Packet::from(const IpAddress& address, std::uint16_t port) const {
  auto copy = *this;
  copy.source = address;
  copy.source_port = port;
  return copy;
}

Packet Packet::to(const IpAddress& address, std::uint16_t port) const {
  auto copy = *this;
  copy.destination = address;
  copy.destination_port = port;
  return copy;
}

Packet Packet::with_echo_id(std::uint16_t value) const {
  auto copy = *this;
  copy.icmp_id = value;
  return copy;
}

Packet Packet::with_flags(std::uint8_t flags) const {
  auto copy = *this;
  copy.tcp_flags = flags;
  return copy;
}

Packet Packet::with_hop_limit(std::uint8_t value) const {
  auto copy = *this;
  copy.hop_limit = value;
  return copy;
}

Packet Packet::with_traffic_class(std::uint8_t value) const {
  auto copy = *this;
  copy.traffic_class = value;
  return copy;
}

Packet Packet::with_payload(std::size_t length) const {
  auto copy = *this;
  copy.payload.assign(length, 0x5a);
  return copy;
}

Packet Packet::with_options(Octets options) const {
  auto copy = *this;
  copy.ip_options = std::move(options);
  return copy;
}

Packet Packet::with_extension(std::uint8_t type, Octets header) const {
  auto copy = *this;
  copy.extensions.push_back(std::move(header));
  copy.extension_types.push_back(type);
  return copy;
}

Packet Packet::with_checksum(std::uint16_t value) const {
  auto copy = *this;
  copy.checksum = value;
  return copy;
}

Packet Packet::with_macs(std::array<std::uint8_t, 6> destination_mac, std::array<std::uint8_t, 6> source_mac) const {
  auto copy = *this;
  copy.to_mac = destination_mac;
  copy.from_mac = source_mac;
  return copy;
}

Packet Packet::cut(std::size_t l3_length) const {
  auto copy = *this;
  copy.truncate = l3_length;
  return copy;
}

Packet Packet::as_reset() const {
  auto copy = *this;
  copy.payload.clear();
  copy.checksum.reset();
  copy.tcp_flags = kRst;
  copy.tcp_acknowledged = 0;
  copy.tcp_window = 0;
  copy.id = 0;
  copy.dont_fragment = true;
  copy.hop_limit = 64;
  return copy;
}

Packet Packet::refused() const {
  auto copy = reversed().as_reset();
  copy.tcp_sequence = 0;
  if ((tcp_flags & kAck) != 0) {
    copy.tcp_sequence = tcp_acknowledged;
  } else {
    copy.tcp_flags |= kAck;
    copy.tcp_acknowledged =
        tcp_sequence + static_cast<std::uint32_t>(payload.size()) + ((tcp_flags & (kSyn | kFin)) != 0 ? 1 : 0);
  }
  return copy;
}

Packet Packet::broken_off() const { return as_reset(); }

Packet Packet::unreachable_port() const {
  auto error = unreachable(destination, source, *this);
  error.to_mac = to_mac;
  error.from_mac = from_mac;
  error.icmp_code = is_v4() ? 3 : 4;
  error.id = 0;
  error.dont_fragment = true;
  error.quoted_bytes = protocol == 6 ? 20 : protocol == 132 ? 12 : 8;
  return error;
}

Packet Packet::too_big(std::uint16_t mtu) const {
  auto error = unreachable_port();
  error.icmp_type = is_v4() ? 3 : 2;
  error.icmp_code = is_v4() ? 4 : 0;
  error.icmp_mtu = mtu;
  return error;
}

Packet Packet::with_gso(std::uint32_t segment) const {
  auto copy = *this;
  copy.gso_size = segment;
  return copy;
}

Packet Packet::first_fragment(std::uint32_t fragment_number) const {
  auto copy = *this;
  copy.fragment = 0;
  copy.more_fragments = true;
  copy.fragment_id = fragment_number;
  return copy;
}

Packet Packet::later_fragment(std::uint32_t fragment_number, std::uint16_t offset) const {
  auto copy = *this;
  copy.fragment = offset;
  copy.more_fragments = false;
  copy.fragment_id = fragment_number;
  return copy;
}

Packet Packet::reversed() const {
  auto copy = *this;
  std::swap(copy.source, copy.destination);
  std::swap(copy.source_port, copy.destination_port);
  return copy;
}

namespace {

Packet transport_packet(std::uint8_t protocol, const IpAddress& from, std::uint16_t from_port, const IpAddress& to,
                        std::uint16_t to_port) {
  Packet packet;
  packet.protocol = protocol;
  packet.source = from;
  packet.source_port = from_port;
  packet.destination = to;
  packet.destination_port = to_port;
  return packet;
}

}  // namespace

Packet tcp(const IpAddress& from, std::uint16_t from_port, const IpAddress& to, std::uint16_t to_port,
           std::uint8_t flags) {
  return transport_packet(6, from, from_port, to, to_port).with_flags(flags);
}

Packet udp(const IpAddress& from, std::uint16_t from_port, const IpAddress& to, std::uint16_t to_port) {
  return transport_packet(17, from, from_port, to, to_port);
}

Packet sctp(const IpAddress& from, std::uint16_t from_port, const IpAddress& to, std::uint16_t to_port) {
  return transport_packet(132, from, from_port, to, to_port);
}

Packet icmp_message(const IpAddress& from, const IpAddress& to, std::uint8_t type, std::uint8_t code) {
  auto packet = transport_packet(from.is_v4() ? 1 : 58, from, 0, to, 0);
  packet.icmp_type = type;
  packet.icmp_code = code;
  return packet;
}

Packet echo_request(const IpAddress& from, const IpAddress& to, std::uint16_t id) {
  return icmp_message(from, to, from.is_v4() ? 8 : 128, 0).with_echo_id(id);
}

Packet echo_reply(const IpAddress& from, const IpAddress& to, std::uint16_t id) {
  return icmp_message(from, to, from.is_v4() ? 0 : 129, 0).with_echo_id(id);
}

Packet unreachable(const IpAddress& from, const IpAddress& to, const Packet& quoted) {
  auto packet = icmp_message(from, to, from.is_v4() ? 3 : 1, from.is_v4() ? 3 : 4);
  packet.quoted = std::make_shared<Packet>(quoted);
  return packet;
}

Packet raw_frame(std::uint16_t ether_type, Octets content) {
  Packet packet;
  packet.ether_type = ether_type;
  packet.raw = std::move(content);
  return packet;
}

Packet arp(std::uint16_t operation, const std::array<std::uint8_t, 6>& sender_mac, const IpAddress& sender,
           const std::array<std::uint8_t, 6>& target_mac, const IpAddress& target) {
  Octets out{0, 1, 8, 0, 6, 4};
  put16(out, operation);
  out.insert(out.end(), sender_mac.begin(), sender_mac.end());
  put_address(out, sender);
  out.insert(out.end(), target_mac.begin(), target_mac.end());
  put_address(out, target);
  return raw_frame(0x0806, out);
}

Packet neighbour_message(std::uint8_t type, const IpAddress& from, const IpAddress& to, const IpAddress& target,
                         std::uint8_t option, const std::array<std::uint8_t, 6>& mac) {
  auto packet = icmp_message(from, to, type, 0).with_hop_limit(255);
  packet.icmp_id = type == 136 ? 0xe000 : 0;  // router, solicited, override
  packet.payload.clear();
  put_address(packet.payload, target);
  if (option) {
    packet.payload.push_back(option);
    packet.payload.push_back(1);
    packet.payload.insert(packet.payload.end(), mac.begin(), mac.end());
  }
  return packet;
}

Octets geneve_payload(const Packet& inner, const IpAddress& backend, std::uint16_t port) {
  Octets out{6, 0};  // six words of options
  put16(out, inner.is_v4() ? 0x0800 : 0x86dd);
  out.insert(out.end(), {0, 0, 0, 0, 0xff, 0xf7, 1, 5});  // no network; class, type, five words
  out.insert(out.end(), backend.bytes().begin(), backend.bytes().end());
  put16(out, port);
  put16(out, 0);
  const auto packet = inner.l3_bytes();
  out.insert(out.end(), packet.begin(), packet.end());
  return out;
}

namespace {

// As a node makes them.
Packet between_nodes(const IpAddress& from, const IpAddress& to, std::uint8_t protocol, Octets payload) {
  Packet packet;
  packet.source = from;
  packet.destination = to;
  packet.protocol = protocol;
  packet.id = 0;
  packet.dont_fragment = true;
  packet.payload = std::move(payload);
  return packet;
}

std::uint32_t last_word(const IpAddress& address) {
  std::uint32_t word = 0;
  std::memcpy(&word, address.bytes().data() + 12, sizeof word);
  return word;
}

}  // namespace

Packet geneve_tunnel(const IpAddress& from, const IpAddress& to, const Packet& inner, std::uint32_t vni) {
  const auto inside = inner.l3_bytes();
  Octets out{0, 0};
  put16(out, inner.is_v4() ? 0x0800 : 0x86dd);
  put32(out, vni << 8);
  append(out, inside);
  auto packet = between_nodes(from, to, 17, std::move(out));
  std::uint32_t ports = 0;
  std::memcpy(&ports, inside.data() + (inner.is_v4() ? 20 : 40), sizeof ports);
  packet.source_port = static_cast<std::uint16_t>(
      0xc000 |
      (weft_hash_final(weft_hash_word(weft_hash_word(last_word(inner.source), last_word(inner.destination)), ports)) &
       0x3fff));
  packet.destination_port = 6081;
  packet.traffic_class = inner.traffic_class & 0xfc;
  return packet.with_checksum(0).with_macs(inner.to_mac, inner.from_mac);
}

Packet ipip_tunnel(const IpAddress& from, const IpAddress& to, const Packet& inner) {
  auto packet = between_nodes(from, to, inner.is_v4() ? 4 : 41, inner.l3_bytes());
  packet.traffic_class = inner.traffic_class & 0xfc;
  return packet.with_macs(inner.to_mac, inner.from_mac);
}

Octets frontend_option(const Packet& inner) {
  Octets out{0x9a, 8};
  put16(out, inner.destination_port);
  put_address(out, inner.destination);
  return out;
}

std::string dump(const Octets& bytes) {
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); ++i)
    text += fmt::format("{}{:02x}", i % 16 ? " " : i ? "\n" : "", bytes[i]);
  return text;
}

}  // namespace weft::test
