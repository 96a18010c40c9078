#include "cni/agent_connection.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace weft::cni {
namespace {

constexpr std::size_t longest_line = 16U << 20U;  // docs/api.md

std::string line_of(int id, const std::string& method, const Json& params) {
  const Json request = {{"id", id}, {"method", method}, {"params", params}};
  return request.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string text_of(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

Result<Json> read_answer(const std::string& line) {
  Json answer = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!answer.is_object()) return fail(ErrorCode::internal, "weftd answered with something that is not a JSON object");
  if (const auto error = answer.find("error"); error != answer.end() && error->is_object())
    return fail(error_code_from(text_of(*error, "code")), text_of(*error, "message"), text_of(*error, "hint"));
  if (const auto result = answer.find("result"); result != answer.end()) return std::move(*result);
  return fail(ErrorCode::internal, "weftd answered with neither a result nor an error");
}

}  // namespace

AgentConnection::AgentConnection(std::string socket, std::chrono::milliseconds timeout)
    : socket_(std::move(socket)), timeout_(timeout), deadline_(std::chrono::steady_clock::now() + timeout) {}

std::unexpected<Error> AgentConnection::away(const std::string& why) const {
  return fail(ErrorCode::unavailable, "weftd does not answer on " + socket_ + ": " + why,
              "is weftd running? The runtime will ask again");
}

// It is there: what it waits for it says itself, unless that takes longer than it knows of.
std::unexpected<Error> AgentConnection::late() const {
  if (!asked_) return away("it took no request in time");
  return fail(ErrorCode::unavailable,
              "weftd took the request on " + socket_ + " and has not answered it within " +
                  std::to_string(timeout_.count()) + " ms",
              "weft status says what is wrong; the runtime will ask again");
}

Result<void> AgentConnection::connect() {
  if (fd_.valid()) return {};
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_.size() >= sizeof address.sun_path) return fail(ErrorCode::invalid, "socket: the path is too long");
  std::memcpy(static_cast<char*>(address.sun_path), socket_.data(), socket_.size());
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return fail(errno_error("socket", errno));
  // Not blocking, so a full backlog answers EAGAIN at once: an agent that does not accept is away.
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return away(std::strerror(errno));
  fd_ = std::move(fd);
  return {};
}

Result<void> AgentConnection::wait_for(short events) {
  while (true) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline_ - std::chrono::steady_clock::now());
    if (left.count() <= 0) return late();
    pollfd watched{fd_.get(), events, 0};
    const int ready = ::poll(&watched, 1, static_cast<int>(left.count()) + 1);
    if (ready > 0) return {};
    if (ready < 0 && errno != EINTR) return fail(errno_error("poll", errno));
  }
}

Result<void> AgentConnection::send_line(const std::string& line) {
  std::size_t sent = 0;
  while (sent < line.size()) {
    const ssize_t n = ::send(fd_.get(), line.data() + sent, line.size() - sent, MSG_NOSIGNAL);
    if (n >= 0) {
      sent += static_cast<std::size_t>(n);
    } else if (errno == EAGAIN) {
      WEFT_CHECK(wait_for(POLLOUT));
    } else if (errno != EINTR) {
      return away(std::strerror(errno));
    }
  }
  return {};
}

Result<std::string> AgentConnection::read_line() {
  std::size_t searched = 0;
  while (true) {
    if (const auto end = received_.find('\n', searched); end != std::string::npos) {
      std::string line = received_.substr(0, end);
      received_.erase(0, end + 1);
      return line;
    }
    searched = received_.size();
    if (received_.size() > longest_line) return fail(ErrorCode::internal, "weftd's answer is longer than 16 MiB");
    std::array<char, 16384> chunk;  // NOLINT: filled by recv
    const ssize_t n = ::recv(fd_.get(), chunk.data(), chunk.size(), 0);
    if (n > 0) {
      received_.append(chunk.data(), static_cast<std::size_t>(n));
    } else if (n == 0) {
      return away("it closed the connection before it had answered");
    } else if (errno == EAGAIN) {
      WEFT_CHECK(wait_for(POLLIN));
    } else if (errno != EINTR) {
      return away(std::strerror(errno));
    }
  }
}

Result<Json> AgentConnection::call(const std::string& method, const Json& params) {
  WEFT_CHECK(connect());
  WEFT_CHECK(send_line(line_of(++last_id_, method, params)));
  asked_ = true;
  WEFT_TRY(const std::string line, read_line());
  return read_answer(line);
}

void AgentConnection::notify(const std::string& method, const Json& params) {
  if (!connect()) return;
  if (const auto sent = send_line(line_of(++last_id_, method, params)); !sent) return;
}

}  // namespace weft::cni
