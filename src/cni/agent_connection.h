// The plugin's side of docs/api.md: blocking, one request at a time, one deadline for everything.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "cni/invocation.h"

namespace weft::cni {

// What the plugin needs of the agent, so that its logic is tested without one.
class Agent {
 public:
  virtual ~Agent() = default;
  // The answer's `result`. Errors are the agent's own; `unavailable` also when it is not there, goes
  // away before it has answered, or does not answer in time.
  virtual Result<Json> call(const std::string& method, const Json& params) = 0;
  // Sends and does not wait for the answer; failing is not worth a word.
  virtual void notify(const std::string& method, const Json& params) = 0;
};

// Connects on the first use.
class AgentConnection : public Agent {
 public:
  AgentConnection(std::string socket, std::chrono::milliseconds timeout);

  Result<Json> call(const std::string& method, const Json& params) override;
  void notify(const std::string& method, const Json& params) override;

 private:
  Result<void> connect();
  Result<void> wait_for(short events);
  Result<void> send_line(const std::string& line);
  Result<std::string> read_line();
  [[nodiscard]] std::unexpected<Error> away(const std::string& why) const;
  [[nodiscard]] std::unexpected<Error> late() const;

  const std::string socket_;
  const std::chrono::milliseconds timeout_;
  const std::chrono::steady_clock::time_point deadline_;
  Fd fd_;
  std::string received_;
  int last_id_ = 0;
  bool asked_ = false;  // it has the whole request
};

}  // namespace weft::cni
