// What a host needs to be a backend of direct server return where the kernel has neither IP-in-IP nor
// Geneve: raw sockets and a UDP socket that take packets out of others and hand them to the stack by a TUN
// device. The answers leave by the ordinary routes, from the address the client asked.
#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/if_tun.h>
#include <linux/udp.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "sockets.h"

namespace weft::labtool {
namespace {

constexpr int geneve_port = 6081;

int open_tun(const std::string& name) {
  const int fd = ::open("/dev/net/tun", O_RDWR | O_CLOEXEC);
  if (fd < 0) die("/dev/net/tun");
  ifreq request{};
  name.copy(request.ifr_name, sizeof request.ifr_name - 1);
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  if (::ioctl(fd, TUNSETIFF, &request) != 0) die("make " + name);
  const int control = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  request.ifr_flags = IFF_UP;
  if (control < 0 || ::ioctl(control, SIOCSIFFLAGS, &request) != 0) die("set up " + name);
  ::close(control);
  return fd;
}

int open_raw(int family, int protocol) {
  const int fd = ::socket(family, SOCK_RAW | SOCK_CLOEXEC, protocol);
  if (fd < 0) die("a raw socket");
  return fd;
}

int open_geneve() {
  const int fd = ::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const Address any = parse_address("::", geneve_port);
  const int on = 1;
  // A tunnel's packets need no checksum over IPv6 (RFC 6935); its receiver has to agree.
  ::setsockopt(fd, IPPROTO_UDP, UDP_NO_CHECK6_RX, &on, sizeof on);
  if (fd < 0 || ::bind(fd, any.get(), any.size) != 0) die("the Geneve port");
  return fd;
}

// How many bytes stand before the packet inside; all of them when it is not understood.
std::size_t before_inner(std::span<const unsigned char> bytes, int kind) {
  if (kind == IPPROTO_IPV6 || bytes.empty()) return 0;  // an IPv6 raw socket gives no header
  if (kind == IPPROTO_IPIP) return (bytes[0] & 0xfU) * 4U;
  if (bytes.size() < 8) return bytes.size();
  const unsigned type = (unsigned{bytes[2]} << 8U) | bytes[3];
  return type == 0x0800 || type == 0x86dd ? 8 + (bytes[0] & 0x3fU) * 4U : bytes.size();
}

}  // namespace

int decapsulate(const Arguments& arguments) {
  const int tun = open_tun(arguments.positional[0]);
  std::array<pollfd, 3> sources{{{open_raw(AF_INET, IPPROTO_IPIP), POLLIN, 0},
                                 {open_raw(AF_INET6, IPPROTO_IPV6), POLLIN, 0},
                                 {open_geneve(), POLLIN, 0}}};
  constexpr std::array<int, 3> kinds = {IPPROTO_IPIP, IPPROTO_IPV6, IPPROTO_UDP};
  fmt::print("ready\n");
  std::array<unsigned char, 70'000> buffer;  // NOLINT: filled by recv
  while (true) {
    if (::poll(sources.data(), sources.size(), -1) < 0 && errno != EINTR) die("poll");
    for (std::size_t i = 0; i < sources.size(); ++i) {
      if ((sources[i].revents & POLLIN) == 0) continue;
      const ssize_t n = ::recv(sources[i].fd, buffer.data(), buffer.size(), 0);
      if (n <= 0) continue;
      const std::span<const unsigned char> bytes(buffer.data(), static_cast<std::size_t>(n));
      const auto inner = bytes.subspan(std::min(before_inner(bytes, kinds[i]), bytes.size()));
      if (inner.empty()) continue;
      if (::write(tun, inner.data(), inner.size()) < 0) fmt::print(stderr, "not handed on: {}\n", std::strerror(errno));
    }
  }
}

}  // namespace weft::labtool
