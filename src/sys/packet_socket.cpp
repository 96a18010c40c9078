#include "sys/packet_socket.h"

#include <fmt/format.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

namespace weft::sys {

Result<PacketSocket> PacketSocket::open() {
  // Protocol 0: nothing is received.
  Fd fd(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return fail(errno_error("opening a packet socket", errno));
  return PacketSocket(std::move(fd));
}

Result<void> PacketSocket::send(std::uint32_t ifindex, std::span<const std::uint8_t> frame) const {
  if (frame.size() < sizeof(ether_header)) return fail(ErrorCode::invalid, "a frame needs its Ethernet header");
  sockaddr_ll to{};
  to.sll_family = AF_PACKET;
  to.sll_ifindex = static_cast<int>(ifindex);
  to.sll_halen = ETHER_ADDR_LEN;
  std::copy_n(frame.begin(), ETHER_ADDR_LEN, to.sll_addr);
  if (::sendto(fd_.get(), frame.data(), frame.size(), 0, reinterpret_cast<const sockaddr*>(&to), sizeof to) >= 0)
    return {};
  const int error = errno;
  auto result = errno_error(fmt::format("sending a frame out of device {}", ifindex), error);
  if (error == ENETDOWN || error == ENOBUFS || error == EAGAIN) result.code = ErrorCode::unavailable;
  return fail(std::move(result));
}

}  // namespace weft::sys
