#include "sys/ping_socket.h"

#include <fmt/format.h>
#include <linux/icmp.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

namespace weft::sys {
namespace {

constexpr std::size_t header = 8;  // of both kinds of echo

std::uint16_t checksum(std::span<const std::uint8_t> bytes) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) sum += static_cast<std::uint32_t>(bytes[i]) << (i % 2 == 0 ? 8 : 0);
  while ((sum >> 16) != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum);
}

void put(std::span<std::uint8_t> at, std::uint16_t value) {
  at[0] = static_cast<std::uint8_t>(value >> 8);
  at[1] = static_cast<std::uint8_t>(value);
}

std::uint16_t get(std::span<const std::uint8_t> at) { return static_cast<std::uint16_t>(at[0] << 8 | at[1]); }

// The kernel drops all but answers before they are copied.
void filter_answers(int fd, Family family) {
  if (family == Family::v4) {
    icmp_filter filter{};
    filter.data = ~(1U << ICMP_ECHOREPLY);
    (void)::setsockopt(fd, SOL_RAW, ICMP_FILTER, &filter, sizeof filter);
    return;
  }
  icmp6_filter filter{};
  ICMP6_FILTER_SETBLOCKALL(&filter);
  ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &filter);
  (void)::setsockopt(fd, IPPROTO_ICMPV6, ICMP6_FILTER, &filter, sizeof filter);
}

}  // namespace

Result<PingSocket> PingSocket::open(Family family) {
  const bool v4 = family == Family::v4;
  const int protocol = v4 ? static_cast<int>(IPPROTO_ICMP) : static_cast<int>(IPPROTO_ICMPV6);
  Fd fd(::socket(v4 ? AF_INET : AF_INET6, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol));
  if (!fd.valid()) return fail(errno_error("opening a socket for echo requests", errno));
  filter_answers(fd.get(), family);
  // Not what an earlier packet found out about the way: each finds out by itself.
  const int probe = v4 ? IP_PMTUDISC_PROBE : IPV6_PMTUDISC_PROBE;
  if (::setsockopt(fd.get(), v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_MTU_DISCOVER : IPV6_MTU_DISCOVER, &probe,
                   sizeof probe) != 0)
    return fail(errno_error("asking for unfragmented echo requests", errno));
  return PingSocket(std::move(fd), family);
}

Result<void> PingSocket::send(const IpAddress& to, std::uint16_t identifier, std::uint16_t sequence,
                              std::uint32_t size) const {
  const bool v4 = family_ == Family::v4;
  const std::uint32_t ip = v4 ? 20 : 40;
  std::vector<std::uint8_t> message(std::max<std::size_t>(header, size > ip ? size - ip : 0));
  message[0] = v4 ? ICMP_ECHO : ICMP6_ECHO_REQUEST;
  put(std::span(message).subspan(4), identifier);
  put(std::span(message).subspan(6), sequence);
  if (v4) put(std::span(message).subspan(2), checksum(message));  // of ICMPv6 the kernel makes it
  sockaddr_storage address{};
  socklen_t length = sizeof(sockaddr_in);
  if (v4) {
    auto& in = reinterpret_cast<sockaddr_in&>(address);  // NOLINT: what sockaddr_storage is for
    in.sin_family = AF_INET;
    std::copy_n(to.bytes().begin() + 12, 4, reinterpret_cast<std::uint8_t*>(&in.sin_addr));  // NOLINT
  } else {
    auto& in = reinterpret_cast<sockaddr_in6&>(address);  // NOLINT
    in.sin6_family = AF_INET6;
    std::copy_n(to.bytes().begin(), 16, in.sin6_addr.s6_addr);
    length = sizeof(sockaddr_in6);
  }
  if (::sendto(fd_.get(), message.data(), message.size(), 0, reinterpret_cast<const sockaddr*>(&address),  // NOLINT
               length) >= 0)
    return {};
  const int error = errno;
  auto result = errno_error(fmt::format("echo request of {} bytes to {}", size, to.to_string()), error);
  result.code = error == EMSGSIZE ? ErrorCode::invalid : ErrorCode::unavailable;
  return fail(std::move(result));
}

std::optional<EchoReply> parse_echo_reply(Family family, std::span<const std::uint8_t> message, const IpAddress& from) {
  std::size_t skip = 0;
  if (family == Family::v4) {
    if (message.size() < sizeof(iphdr)) return {};
    skip = static_cast<std::size_t>(message[0] & 0x0f) * 4;
  }
  if (message.size() < skip + header) return {};
  const auto icmp = message.subspan(skip);
  if (icmp[0] != (family == Family::v4 ? ICMP_ECHOREPLY : ICMP6_ECHO_REPLY) || icmp[1] != 0) return {};
  return EchoReply{from, get(icmp.subspan(4)), get(icmp.subspan(6))};
}

std::optional<EchoReply> PingSocket::receive() const {
  std::array<std::uint8_t, 128> buffer{};  // the rest of a large one says nothing
  for (;;) {
    sockaddr_storage address{};
    socklen_t length = sizeof address;
    const auto got = ::recvfrom(fd_.get(), buffer.data(), buffer.size(), MSG_TRUNC,
                                reinterpret_cast<sockaddr*>(&address), &length);  // NOLINT
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return {};
    IpAddress::Bytes from{};
    if (address.ss_family == AF_INET) {
      from[10] = from[11] = 0xff;
      std::memcpy(from.data() + 12, &reinterpret_cast<const sockaddr_in&>(address).sin_addr, 4);  // NOLINT
    } else if (address.ss_family == AF_INET6) {
      std::memcpy(from.data(), &reinterpret_cast<const sockaddr_in6&>(address).sin6_addr, 16);  // NOLINT
    }
    const auto size = std::min(static_cast<std::size_t>(got), buffer.size());
    if (auto reply = parse_echo_reply(family_, std::span(buffer).first(size), IpAddress(from))) return reply;
  }
}

}  // namespace weft::sys
