// The blocking side of the node API, for the CLI, the CNI plugin and the lab.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"

namespace weft::api {

class Answer;

// One connection. Not thread safe. After a timeout or a broken line the connection is closed and
// every later call answers `unavailable`.
class Client {
 public:
  static constexpr std::chrono::milliseconds default_timeout{30'000};
  static constexpr std::string_view default_path = "/run/weft/weft.sock";

  // `unavailable` with a hint how to start the agent when nobody listens; `denied` when this user may not.
  static Result<Client> connect(const std::string& path);

  // The result, or the agent's error with its details; `unavailable` when no answer came in time.
  // `waiting` is told each second that there is none yet.
  using Waiting = std::function<void(std::chrono::seconds waited)>;
  Answer call(std::string_view method, const nlohmann::json& params,
              std::chrono::milliseconds timeout = default_timeout, const Waiting& waiting = {});
  // Sends a request and does not wait for its answer (cni.ack). No further calls on this client.
  Result<void> send(std::string_view method, const nlohmann::json& params);
  // Calls `on_event` for each event until the stream ends or on_event returns false, which closes the connection.
  // Waits `silence` at most for each of them, without limit when that is 0. An error of the agent is returned with its
  // details; the value is the stream's result (an empty object when on_event ended it).
  Answer stream(std::string_view method, const nlohmann::json& params,
                const std::function<bool(const nlohmann::json&)>& on_event,
                std::chrono::milliseconds silence = std::chrono::milliseconds(0));

  // Readable when the agent has something to say; for callers that wait on more than this.
  [[nodiscard]] int fd() const { return socket_.get(); }

 private:
  Client(Fd socket, std::string path) : socket_(std::move(socket)), path_(std::move(path)) {}
  using Deadline = std::chrono::steady_clock::time_point;
  Result<void> write_line(std::string line, Deadline deadline);
  Result<void> wait_for_input(Deadline deadline, const Waiting& waiting);
  Result<std::string> read_line(Deadline deadline);
  Result<nlohmann::json> read_message(Deadline deadline);
  [[nodiscard]] Error gone(std::string_view what) const;

  Fd socket_;
  std::string path_;
  std::string buffer_;
  std::size_t scanned_ = 0;
  std::uint64_t next_id_ = 0;
};

}  // namespace weft::api
