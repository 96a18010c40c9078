#include "sys/neighbour_socket.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>

#include <fmt/format.h>

namespace weft::sys {
namespace {

constexpr std::uint32_t next_header_at = ETH_HLEN + 6;
constexpr std::uint32_t icmp_type_at = ETH_HLEN + 40;

constexpr sock_filter statement(unsigned code, std::uint32_t value) {
  return {static_cast<std::uint16_t>(code), 0, 0, value};
}
constexpr sock_filter jump(std::uint32_t value, std::uint8_t yes, std::uint8_t no) {
  return {BPF_JMP | BPF_JEQ | BPF_K, yes, no, value};
}

// Of all frames the kernel hands only these over, so a busy device costs a filter's run for each packet and no more.
constexpr std::array program{
    statement(BPF_LD | BPF_H | BPF_ABS, 2 * ETH_ALEN),    // the type
    jump(ETHERTYPE_ARP, 6, 0),                            //
    jump(ETHERTYPE_IPV6, 0, 6),                           //
    statement(BPF_LD | BPF_B | BPF_ABS, next_header_at),  //
    jump(IPPROTO_ICMPV6, 0, 4),                           //
    statement(BPF_LD | BPF_B | BPF_ABS, icmp_type_at),    //
    jump(ND_NEIGHBOR_SOLICIT, 1, 0),                      //
    jump(ND_NEIGHBOR_ADVERT, 0, 1),                       //
    statement(BPF_RET | BPF_K, 0xffff),                   // taken
    statement(BPF_RET | BPF_K, 0),                        // not
};

Result<void> set_option(const Fd& fd, int level, int option, const void* value, std::size_t size, const char* what) {
  if (::setsockopt(fd.get(), level, option, value, static_cast<socklen_t>(size)) == 0) return {};
  return fail(errno_error(what, errno));
}

}  // namespace

Result<NeighbourSocket> NeighbourSocket::open(std::uint32_t ifindex) {
  // Protocol 0 until the filter stands: nothing else is to be received.
  Fd fd(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return fail(errno_error("opening a packet socket", errno));
  auto filter = program;
  const sock_fprog code{filter.size(), filter.data()};
  WEFT_CHECK(set_option(fd, SOL_SOCKET, SO_ATTACH_FILTER, &code, sizeof code, "filtering a packet socket"));
  // Else every packet sent would be copied to ask the filter.
  const int on = 1;
  WEFT_CHECK(set_option(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on, "setting up a packet socket"));
  sockaddr_ll at{};
  at.sll_family = AF_PACKET;
  // All protocols: those of one protocol come after tc, whose answers to questions end the packet.
  at.sll_protocol = htons(ETH_P_ALL);
  at.sll_ifindex = static_cast<int>(ifindex);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0)
    return fail(errno_error(fmt::format("listening to the neighbours on device {}", ifindex), errno));
  return NeighbourSocket(std::move(fd), ifindex);
}

Result<std::span<const std::uint8_t>> NeighbourSocket::receive(std::span<std::uint8_t> buffer) const {
  for (;;) {
    const auto size = ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
    if (size >= 0) return std::span<const std::uint8_t>(buffer.first(static_cast<std::size_t>(size)));
    const int error = errno;
    if (error == EINTR) continue;
    if (error == EAGAIN) return std::span<const std::uint8_t>();
    auto result = errno_error(fmt::format("listening to the neighbours on device {}", ifindex_), error);
    if (error == ENETDOWN) result.code = ErrorCode::unavailable;
    return fail(std::move(result));
  }
}

Result<void> NeighbourSocket::join(const MacAddress& group, bool joined) const {
  packet_mreq request{};
  request.mr_ifindex = static_cast<int>(ifindex_);
  request.mr_type = PACKET_MR_MULTICAST;
  request.mr_alen = ETH_ALEN;
  std::ranges::copy(group.bytes, request.mr_address);
  return set_option(fd_, SOL_PACKET, joined ? PACKET_ADD_MEMBERSHIP : PACKET_DROP_MEMBERSHIP, &request, sizeof request,
                    "joining a group of neighbours");
}

}  // namespace weft::sys
