// Keeps one weftd running in its node's namespace.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "lab/layout.h"
#include "lab/process.h"

namespace asio {
class io_context;
}

namespace weft::lab {

// The agent's configuration file for a node of a lab.
std::string agent_config(const Layout& layout, const NodeLayout& node);

// Used from the loop's thread only; `loop` must outlive it.
class AgentProcess {
 public:
  // `changed` is called after the state below changed.
  AgentProcess(asio::io_context& loop, const Layout& layout, std::string binary, std::function<void()> changed);
  ~AgentProcess();
  AgentProcess(const AgentProcess&) = delete;
  AgentProcess& operator=(const AgentProcess&) = delete;

  // Adopts a weftd that an earlier supervisor left running, or starts one. From then on one that
  // ends is started again: at once the first time, later with growing pauses up to two seconds.
  void start();
  // No more restarts; ends it and waits until it has ended.
  void stop();

  [[nodiscard]] int pid() const { return process_.pid; }  // 0 when not running
  [[nodiscard]] int restarts() const { return restarts_; }
  // How often it ended, or could not be started, since it last served.
  [[nodiscard]] int failures() const { return failures_; }
  void served() { failures_ = 0; }
  [[nodiscard]] const std::string& problem() const { return problem_; }

 private:
  struct Timers;
  void launch();
  Result<ProcessId> spawn_agent();
  void watch();
  void ended();
  void launch_later();

  const Layout& layout_;
  const std::string binary_;
  const std::function<void()> changed_;
  std::unique_ptr<Timers> timers_;
  ProcessId process_;
  std::chrono::steady_clock::time_point started_;
  std::chrono::milliseconds pause_{0};
  int restarts_ = 0;
  int failures_ = 0;
  bool stopping_ = false;
  std::string problem_;
};

}  // namespace weft::lab
