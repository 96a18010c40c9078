#include "speaker/conversation.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace weft::speaker {

using Clock = std::chrono::steady_clock;

Result<Conversation> Conversation::connect(const std::string& path, std::chrono::milliseconds timeout) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    return fail(ErrorCode::invalid,
                fmt::format("{}: a socket's path has at most {} characters", path, sizeof address.sun_path - 1));
  path.copy(address.sun_path, path.size());
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return fail(errno_error("socket", errno));
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0) {  // NOLINT
    if (errno == ECONNREFUSED) return fail(ErrorCode::not_found, path + ": nobody listens there");
    return fail(errno_error("connect to " + path, errno));
  }
  return Conversation(path, std::move(fd), Clock::now() + timeout);
}

Result<void> Conversation::wait(short events) const {
  while (true) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline_ - Clock::now()).count();
    pollfd watched{fd_.get(), events, 0};
    const int ready = ::poll(&watched, 1, static_cast<int>(std::clamp<long>(left, 0, 600'000)));
    if (ready > 0) return {};
    if (ready == 0) return fail(ErrorCode::unavailable, path_ + ": no answer in time");
    if (errno != EINTR) return fail(errno_error("poll " + path_, errno));
  }
}

Result<void> Conversation::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const auto sent = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN) {
      WEFT_CHECK(wait(POLLOUT));
    } else if (errno != EINTR) {
      return fail(errno_error("write to " + path_, errno));
    }
  }
  return {};
}

Result<std::string> Conversation::receive() {
  std::array<char, 16384> chunk;  // NOLINT: filled by recv
  while (true) {
    WEFT_CHECK(wait(POLLIN));
    const auto got = ::recv(fd_.get(), chunk.data(), chunk.size(), 0);
    if (got > 0) return std::string(chunk.data(), static_cast<std::size_t>(got));
    if (got == 0) return fail(ErrorCode::unavailable, path_ + ": the other side closed");
    if (errno != EAGAIN && errno != EINTR) return fail(errno_error("read from " + path_, errno));
  }
}

Result<supervise::ProcessId> Conversation::listener() const {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(fd_.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
    return fail(errno_error("SO_PEERCRED of " + path_, errno));
  return supervise::identify(peer.pid);
}

void end_listener(const std::string& path, int signal) {
  const auto conversation = Conversation::connect(path, std::chrono::seconds(1));
  if (!conversation) return;
  if (const auto process = conversation->listener(); process && process->pid != ::getpid())
    supervise::terminate({*process}, std::chrono::seconds(5), signal);
}

}  // namespace weft::speaker
