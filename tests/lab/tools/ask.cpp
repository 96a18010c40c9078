// One question to a server, and one line about the answer: "ok LINE from ADDRESS PORT", where the
// address is getpeername's for TCP and the datagram's source for UDP; or "refused", "timeout",
// "unreachable", "damaged". Exit code 0 only for ok.
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "sockets.h"

namespace weft::labtool {
namespace {

using std::chrono::milliseconds;

int report(int error) {
  fmt::print("{}\n", word_for(error));
  return 1;
}

int open_client(int type, const Address& to, const Arguments& arguments) {
  const int fd = ::socket(to.family(), type | SOCK_CLOEXEC, 0);
  if (fd < 0) die("socket");
  const auto timeout = arguments.number("timeout", 2000);
  const timeval limit{timeout / 1000, timeout % 1000 * 1000};
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  const int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  ::setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof on);
  if (arguments.has("source-port") || arguments.has("source")) {
    const Address from = parse_address(arguments.text("source", to.family() == AF_INET ? "0.0.0.0" : "::"),
                                       static_cast<int>(arguments.number("source-port", 0)));
    if (::bind(fd, from.get(), from.size) != 0) die("bind");
  }
  return fd;
}

int ask_tcp(const Address& to, const Arguments& arguments) {
  const int fd = open_client(SOCK_STREAM, to, arguments);
  if (::connect(fd, to.get(), to.size) != 0) return report(errno);
  std::string line;
  for (long i = 0; i < arguments.number("count", 1); ++i) {
    if (i > 0) std::this_thread::sleep_for(milliseconds(arguments.number("interval", 100)));
    write_all(fd, std::string_view("who\n"));
    errno = ECONNRESET;
    if (!read_line(fd, line)) return report(errno == 0 ? ECONNRESET : errno);
  }
  fmt::print("ok {} from {}\n", line, peer_address(fd).to_string());
  ::close(fd);
  return 0;
}

std::string question(const Arguments& arguments) {
  std::string text = fmt::format("who {}\n", arguments.number("reply", 0));
  const auto wanted = static_cast<std::size_t>(arguments.number("size", 0));
  const auto head = text.size();
  if (wanted > head) {
    text.resize(wanted);
    fill_pattern({text.data() + head, wanted - head}, 0);
  }
  return text;
}

int ask_udp(const Address& to, const Arguments& arguments) {
  const int fd = open_client(SOCK_DGRAM, to, arguments);
  const bool connected = !arguments.has("unconnected");
  if (connected && ::connect(fd, to.get(), to.size) != 0) return report(errno);
  const std::string text = question(arguments);
  std::string buffer(70'000, 0);
  std::string seen;
  for (long i = 0; i < arguments.number("count", 1); ++i) {
    if (i > 0) std::this_thread::sleep_for(milliseconds(arguments.number("interval", 100)));
    const auto sent = connected ? ::send(fd, text.data(), text.size(), 0)
                                : ::sendto(fd, text.data(), text.size(), 0, to.get(), to.size);
    if (sent < 0) return report(errno);
    Address from;
    const ssize_t n = ::recvfrom(fd, buffer.data(), buffer.size(), 0, from.get(), &from.size);
    if (n < 0) return report(errno);
    const std::string_view answer(buffer.data(), static_cast<std::size_t>(n));
    const auto end = answer.find('\n');
    const auto padding = end == std::string_view::npos ? std::string_view() : answer.substr(end + 1);
    const bool whole = n >= arguments.number("reply", 0);
    if (!whole || !is_pattern({padding.data(), padding.size()}, 0)) {
      fmt::print("damaged: {} bytes\n", n);
      return 1;
    }
    seen = fmt::format("ok {} from {}", answer.substr(0, end), from.to_string());
  }
  fmt::print("{}\n", seen);
  ::close(fd);
  return 0;
}

}  // namespace

int ask(const Arguments& arguments) {
  const Address to = parse_address(arguments.positional[1], std::atoi(arguments.positional[2].c_str()));
  return arguments.positional[0] == "udp" ? ask_udp(to, arguments) : ask_tcp(to, arguments);
}

}  // namespace weft::labtool
