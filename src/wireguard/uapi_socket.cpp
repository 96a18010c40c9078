#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "base/fd.h"
#include "wireguard/uapi.h"

namespace weft::wireguard {
namespace {

using Clock = std::chrono::steady_clock;

// A program that hangs is as good as gone.
constexpr auto patience = std::chrono::seconds(2);
constexpr std::size_t largest_answer = 64UL << 20;

Result<void> wait_for(const Fd& socket, short events, Clock::time_point deadline) {
  pollfd watched{socket.get(), events, 0};
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
  const int ready = ::poll(&watched, 1, static_cast<int>(std::max<long>(left, 0)));
  if (ready < 0 && errno != EINTR) return fail(errno_error("WireGuard's socket", errno));
  if (ready == 0) return fail(ErrorCode::unavailable, "wireguard-go does not answer");
  return {};
}

// Each exchange has a connection of its own: one that is kept says nothing of a program that was replaced.
class UapiDevice : public Device {
 public:
  explicit UapiDevice(std::string path) : path_(std::move(path)) {}

  Result<DeviceState> read() override {
    WEFT_TRY(const auto answer, exchange("get=1\n\n"));
    return parse_uapi(answer);
  }

  Result<void> write(const DeviceChange& change) override {
    WEFT_TRY(const auto answer, exchange(uapi_set(change)));
    if (auto parsed = parse_uapi(answer); !parsed) return fail(parsed.error());
    return {};
  }

 private:
  [[nodiscard]] Result<Fd> connect() const {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path_.size() >= sizeof address.sun_path)
      return fail(
          ErrorCode::invalid,
          fmt::format("{}: longer than the {} characters a socket's path may have", path_, sizeof address.sun_path - 1),
          "choose a shorter run_dir");
    std::memcpy(address.sun_path, path_.data(), path_.size());
    Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket.valid()) return fail(errno_error("WireGuard's socket", errno));
    if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
      auto error = errno_error("connect to " + path_, errno);
      error.code = ErrorCode::unavailable;
      return fail(std::move(error));
    }
    return socket;
  }

  [[nodiscard]] Result<std::string> exchange(std::string_view request) const {
    WEFT_TRY(const Fd socket, connect());
    const auto deadline = Clock::now() + patience;
    while (!request.empty()) {
      const auto sent = ::send(socket.get(), request.data(), request.size(), MSG_NOSIGNAL);
      if (sent > 0) {
        request.remove_prefix(static_cast<std::size_t>(sent));
      } else if (errno == EAGAIN) {
        WEFT_CHECK(wait_for(socket, POLLOUT, deadline));
      } else if (errno != EINTR) {
        return fail(unanswered(errno));
      }
    }
    std::string answer;
    while (!answer.ends_with("\n\n")) {
      char chunk[16384];  // NOLINT: filled by recv
      const auto got = ::recv(socket.get(), chunk, sizeof chunk, 0);
      if (got > 0)
        answer.append(chunk, static_cast<std::size_t>(got));
      else if (got == 0)
        return fail(unanswered(ECONNRESET));
      else if (errno == EAGAIN)
        WEFT_CHECK(wait_for(socket, POLLIN, deadline));
      else if (errno != EINTR)
        return fail(unanswered(errno));
      if (answer.size() > largest_answer) return fail(ErrorCode::invalid, "WireGuard's answer is too long");
    }
    return answer;
  }

  static Error unanswered(int number) {
    auto error = errno_error("wireguard-go ended before it answered", number);
    error.code = ErrorCode::unavailable;
    return error;
  }

  const std::string path_;
};

}  // namespace

std::unique_ptr<Device> open_uapi(const std::string& socket_path) { return std::make_unique<UapiDevice>(socket_path); }

}  // namespace weft::wireguard
