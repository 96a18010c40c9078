// ICMP and ICMPv6 echo requests out of this node, and their answers. Never fragmented: what does not fit the way is
// lost, or refused at once where this node knows it. One owner thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "base/fd.h"
#include "base/ip.h"
#include "base/result.h"

namespace weft::sys {

struct EchoReply {
  IpAddress from;
  std::uint16_t identifier = 0;
  std::uint16_t sequence = 0;
};

class PingSocket {
 public:
  // In the network namespace of the calling thread; needs CAP_NET_RAW.
  static Result<PingSocket> open(Family family);
  // Becomes readable when something may have been answered.
  [[nodiscard]] int fd() const { return fd_.get(); }
  // An echo request whose packet has `size` bytes from its IP header on; as small as can be where it is less.
  // `invalid`: larger than the way takes, as far as this node knows.
  Result<void> send(const IpAddress& to, std::uint16_t identifier, std::uint16_t sequence, std::uint32_t size) const;
  // The next answer to anybody's request; nothing: there is none now.
  [[nodiscard]] std::optional<EchoReply> receive() const;

 private:
  PingSocket(Fd fd, Family family) : fd_(std::move(fd)), family_(family) {}
  Fd fd_;
  Family family_;
};

// A message as a raw socket gives it: of IPv4 with its header (raw(7)), of IPv6 without (RFC 3542 3.1). Nothing when it
// is no whole echo reply.
std::optional<EchoReply> parse_echo_reply(Family family, std::span<const std::uint8_t> message, const IpAddress& from);

}  // namespace weft::sys
