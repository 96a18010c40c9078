// A unix socket as standard input and output: requests to the agent without a process for each.
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <span>

#include "sockets.h"

namespace weft::labtool {

int line(const Arguments& arguments) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  arguments.positional[0].copy(address.sun_path, sizeof address.sun_path - 1);
  if (fd < 0 || ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    die("connect to " + arguments.positional[0]);
  std::array<char, 65536> buffer;  // NOLINT: filled by read
  const auto pass = [&buffer](int from, int to) {
    const ssize_t n = ::read(from, buffer.data(), buffer.size());
    if (n <= 0) return false;
    std::span<const char> left(buffer.data(), static_cast<std::size_t>(n));
    while (!left.empty()) {
      const ssize_t written = ::write(to, left.data(), left.size());
      if (written < 0) return false;
      left = left.subspan(static_cast<std::size_t>(written));
    }
    return true;
  };
  while (true) {
    std::array<pollfd, 2> ends{{{STDIN_FILENO, POLLIN, 0}, {fd, POLLIN, 0}}};
    ::poll(ends.data(), ends.size(), -1);
    if (ends[0].revents != 0 && !pass(STDIN_FILENO, fd)) return 0;
    if (ends[1].revents != 0 && !pass(fd, STDOUT_FILENO)) return 0;
  }
}

}  // namespace weft::labtool
