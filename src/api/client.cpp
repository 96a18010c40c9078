#include "api/client.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "api/answer.h"
#include "api/request.h"

namespace weft::api {
namespace {

using Clock = std::chrono::steady_clock;

// Answers may be larger than requests: `get all` of a full node. Guards against a peer that is no agent.
constexpr std::size_t max_answer_bytes = std::size_t{1} << 30;
constexpr auto forever = Clock::time_point::max();

// True when the socket is ready for `events`; false at the deadline.
Result<bool> wait_for(int fd, short events, Clock::time_point deadline) {
  for (;;) {
    int milliseconds = -1;
    if (deadline != forever) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
      if (left <= 0) return false;
      milliseconds = static_cast<int>(std::min<long long>(left, 3'600'000));
    }
    pollfd state{fd, events, 0};
    const int ready = ::poll(&state, 1, milliseconds);
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return fail(errno_error("poll", errno));
  }
}

Error absent(const std::string& path, std::string_view why) {
  return Error{ErrorCode::unavailable, fmt::format("the agent does not answer at {}: {}", path, why),
               "see whether weftd runs here (as a service, or in this node's pod of the DaemonSet weft), or name its "
               "socket with "
               "--socket or WEFT_SOCKET"};
}

// Unlike the agent's answers, a request is not repaired: what is sent is what the caller said.
Result<std::string> request_line(std::uint64_t id, std::string_view method, const nlohmann::json& params) {
  try {
    return nlohmann::json{{"id", id}, {"method", method}, {"params", params}}.dump();
  } catch (const nlohmann::json::exception& error) {
    return fail(ErrorCode::invalid, fmt::format("{}: the request holds text that is not UTF-8", method));
  }
}

}  // namespace

Result<Client> Client::connect(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path))
    return fail(ErrorCode::invalid,
                fmt::format("socket \"{}\": the path must have 1 to {} bytes", path, sizeof(address.sun_path) - 1));
  std::memcpy(address.sun_path, path.data(), path.size());
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return fail(errno_error("socket", errno));
  int outcome = 0;
  do {
    outcome = ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address));  // NOLINT
  } while (outcome != 0 && errno == EINTR);
  if (outcome == 0) return Client(std::move(socket), path);
  if (errno == ENOENT || errno == ENOTDIR) return fail(absent(path, "there is no such socket"));
  if (errno == ECONNREFUSED) return fail(absent(path, "nobody listens on the socket"));
  if (errno == EACCES || errno == EPERM)
    return fail(ErrorCode::denied, fmt::format("connect to {}: permission denied", path),
                "run as root or as the agent's user");
  return fail(errno_error(fmt::format("connect to {}", path), errno));
}

Error Client::gone(std::string_view what) const {
  return Error{ErrorCode::unavailable, fmt::format("the agent at {} {}", path_, what), "see the agent's log"};
}

Result<void> Client::write_line(std::string line, Deadline deadline) {
  if (!socket_.valid()) return fail(gone("is not connected any more"));
  line += '\n';
  if (line.size() > max_line_bytes)
    return fail(ErrorCode::invalid,
                fmt::format("the request has {} bytes, the agent takes {}", line.size(), max_line_bytes),
                "apply fewer documents at a time");
  std::size_t sent = 0;
  while (sent < line.size()) {
    const auto count = ::send(socket_.get(), line.data() + sent, line.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count >= 0) {
      sent += static_cast<std::size_t>(count);
      continue;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN) {
      // What it said before it closed (denied, exhausted) is still to be read.
      if (errno == EPIPE || errno == ECONNRESET) return {};
      return fail(errno_error("write to the agent", errno));
    }
    WEFT_TRY(const bool ready, wait_for(socket_.get(), POLLOUT, deadline));
    if (!ready) {
      socket_.reset();
      return fail(gone("did not take the request in time"));
    }
  }
  return {};
}

Result<std::string> Client::read_line(Deadline deadline) {
  for (;;) {
    if (const auto newline = buffer_.find('\n', scanned_); newline != std::string::npos) {
      std::string line = buffer_.substr(0, newline);
      buffer_.erase(0, newline + 1);
      scanned_ = 0;
      return line;
    }
    scanned_ = buffer_.size();
    if (buffer_.size() > max_answer_bytes) {
      socket_.reset();
      return fail(gone("sent a line without end"));
    }
    if (!socket_.valid()) return fail(gone("is not connected any more"));
    WEFT_TRY(const bool ready, wait_for(socket_.get(), POLLIN, deadline));
    if (!ready) {
      socket_.reset();  // a late answer would be taken for the next one's
      return fail(gone("did not answer in time"));
    }
    std::array<char, 32 << 10> chunk;  // NOLINT: filled by recv
    const auto count = ::recv(socket_.get(), chunk.data(), chunk.size(), 0);
    if (count < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (count <= 0) {
      socket_.reset();
      return fail(gone("closed the connection"));
    }
    buffer_.append(chunk.data(), static_cast<std::size_t>(count));
  }
}

Result<nlohmann::json> Client::read_message(Deadline deadline) {
  WEFT_TRY(const std::string line, read_line(deadline));
  auto message = parse_json(line);
  if (!message || !message->is_object()) {
    socket_.reset();
    return fail(ErrorCode::internal, fmt::format("the agent at {} sent a line that is no JSON object", path_));
  }
  return message;
}

// Until there is something to read, or the time is up: the reader says so then.
Result<void> Client::wait_for_input(Deadline deadline, const Waiting& waiting) {
  const auto begin = Clock::now();
  for (std::chrono::seconds waited(1); buffer_.empty() && begin + waited < deadline; ++waited) {
    WEFT_TRY(const bool ready, wait_for(socket_.get(), POLLIN, begin + waited));
    if (ready) break;
    waiting(waited);
  }
  return {};
}

Answer Client::call(std::string_view method, const nlohmann::json& params, std::chrono::milliseconds timeout,
                    const Waiting& waiting) {
  const auto deadline = Clock::now() + timeout;
  WEFT_TRY(auto line, request_line(++next_id_, method, params));
  WEFT_CHECK(write_line(std::move(line), deadline));
  if (waiting) WEFT_CHECK(wait_for_input(deadline, waiting));
  for (;;) {
    WEFT_TRY(auto message, read_message(deadline));
    if (auto error = message.find("error"); error != message.end()) return fail(error_from_json(*error));
    if (auto result = message.find("result"); result != message.end()) return Answer(std::move(*result));
  }
}

Result<void> Client::send(std::string_view method, const nlohmann::json& params) {
  WEFT_TRY(auto line, request_line(++next_id_, method, params));
  return write_line(std::move(line), Clock::now() + default_timeout);
}

Answer Client::stream(std::string_view method, const nlohmann::json& params,
                      const std::function<bool(const nlohmann::json&)>& on_event, std::chrono::milliseconds silence) {
  WEFT_TRY(auto line, request_line(++next_id_, method, params));
  WEFT_CHECK(write_line(std::move(line), Clock::now() + default_timeout));
  for (;;) {
    WEFT_TRY(auto message, read_message(silence.count() == 0 ? forever : Clock::now() + silence));
    if (auto error = message.find("error"); error != message.end()) return fail(error_from_json(*error));
    if (auto result = message.find("result"); result != message.end()) return Answer(std::move(*result));
    if (auto event = message.find("event"); event != message.end() && !on_event(*event)) {
      socket_.reset();
      return Answer(nlohmann::json::object());
    }
  }
}

}  // namespace weft::api
