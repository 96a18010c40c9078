#include "agent/l2.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace weft::agent {
namespace {

using Frame = std::vector<std::uint8_t>;

constexpr unsigned times = 3;

void put(Frame& frame, std::initializer_list<unsigned> bytes) {
  for (const auto byte : bytes) frame.push_back(static_cast<std::uint8_t>(byte));
}

template <class Bytes>
void put_all(Frame& frame, const Bytes& bytes) {
  frame.insert(frame.end(), std::begin(bytes), std::end(bytes));
}

Frame arp_frame(const IpAddress& address, const MacAddress& mac) {
  const std::span<const std::uint8_t> v4(address.bytes().data() + 12, 4);
  Frame frame;
  put(frame, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff});
  put_all(frame, mac.bytes);
  put(frame, {0x08, 0x06});                    // ARP
  put(frame, {0, 1, 0x08, 0x00, 6, 4, 0, 1});  // Ethernet, IPv4, request
  put_all(frame, mac.bytes);
  put_all(frame, v4);
  put(frame, {0, 0, 0, 0, 0, 0});
  put_all(frame, v4);
  return frame;
}

// Of the pseudo header and the message (RFC 4443, 2.3).
std::uint16_t icmp_checksum(std::span<const std::uint8_t> source, std::span<const std::uint8_t> destination,
                            std::span<const std::uint8_t> message) {
  std::uint32_t sum = static_cast<std::uint32_t>(message.size()) + 58;
  const auto add = [&](std::span<const std::uint8_t> bytes) {
    for (std::size_t i = 0; i + 1 < bytes.size(); i += 2)
      sum += static_cast<std::uint32_t>(bytes[i] << 8 | bytes[i + 1]);
  };
  add(source);
  add(destination);
  add(message);
  while ((sum >> 16) != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum);
}

Frame advertisement_frame(const IpAddress& address, const MacAddress& mac) {
  constexpr std::array<std::uint8_t, 16> all_nodes{0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  Frame message;
  put(message, {136, 0, 0, 0, 0x20, 0, 0, 0});  // neighbour advertisement, override
  put_all(message, address.bytes());
  put(message, {2, 1});  // option: target link-layer address, 8 bytes
  put_all(message, mac.bytes);
  const auto checksum = icmp_checksum(address.bytes(), all_nodes, message);
  message[2] = static_cast<std::uint8_t>(checksum >> 8);
  message[3] = static_cast<std::uint8_t>(checksum & 0xff);
  Frame frame;
  put(frame, {0x33, 0x33, 0, 0, 0, 1});
  put_all(frame, mac.bytes);
  put(frame, {0x86, 0xdd, 0x60, 0, 0, 0, 0, static_cast<unsigned>(message.size()), 58, 255});
  put_all(frame, address.bytes());
  put_all(frame, all_nodes);
  put_all(frame, message);
  return frame;
}

bool same(const weft_l2& a, const weft_l2& b) { return std::memcmp(a.mac, b.mac, sizeof a.mac) == 0; }

}  // namespace

std::vector<std::uint8_t> announcement_frame(const IpAddress& address, const MacAddress& mac) {
  return address.is_v4() ? arp_frame(address, mac) : advertisement_frame(address, mac);
}

L2Announcer::L2Announcer(asio::io_context& loop, Send send, std::chrono::milliseconds interval)
    : send_(std::move(send)), interval_(interval), timer_(loop), alive_(std::make_shared<L2Announcer*>(this)) {}

void L2Announcer::want(const Announced& rows) {
  const auto now = std::chrono::steady_clock::now();
  const auto stands = [&](const weft_l2_key& key, const weft_l2& row) {
    const auto found = rows.find(key);
    return found != rows.end() && same(found->second, row);
  };
  std::erase_if(due_, [&](const auto& entry) { return !stands(entry.second.key, entry.second.row); });
  for (const auto& [key, row] : rows) {
    const auto known = rows_.find(key);
    if (known == rows_.end() || !same(known->second, row)) due_.emplace(now, Due{key, row, times});
  }
  rows_ = rows;
  send_due();
}

void L2Announcer::send_due() {
  const auto now = std::chrono::steady_clock::now();
  while (!due_.empty() && due_.begin()->first <= now) {
    auto due = due_.begin()->second;
    due_.erase(due_.begin());
    MacAddress mac;
    std::ranges::copy(due.row.mac, mac.bytes.begin());
    const auto sent = send_(due.key.ifindex, announcement_frame(datapath::from_abi(due.key.addr), mac));
    last_error_ = sent ? std::string() : sent.error().message;
    if (--due.left != 0) due_.emplace(now + interval_, due);
  }
  arm();
}

void L2Announcer::arm() {
  if (due_.empty()) {
    timer_.cancel();
    return;
  }
  timer_.expires_at(due_.begin()->first);
  timer_.async_wait([alive = std::weak_ptr(alive_)](const std::error_code& error) {
    if (const auto announcer = alive.lock(); announcer && !error) (*announcer)->send_due();
  });
}

}  // namespace weft::agent
