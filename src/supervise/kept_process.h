// Keeps one program running: adopts it, restarts it, remembers it in a pid file.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "supervise/process.h"

namespace asio {
class io_context;
}

namespace weft::supervise {

struct KeptProgram {
  std::string what;   // for the log: "weftd of node2"
  std::string netns;  // name below /run/netns; empty: the caller's own
  std::string pid_file;
  std::string log_file;
  std::string cgroup;  // path of its directory; empty: the supervisor's
  // Makes the files it needs and says how it is called, before each start.
  std::function<Result<std::vector<std::string>>()> prepare;
  std::map<std::string, std::string> environment;    // added to the caller's own
  std::vector<BoundDirectory> bound;                 // as in SpawnRequest
  std::function<void(const std::string& line)> log;  // what was done and what went wrong
};

// Starts it once, beside whoever keeps it.
Result<ProcessId> start_program(const KeptProgram& program);

// Used from the loop's thread only; `loop` must outlive it.
class KeptProcess {
 public:
  // `changed` is called after the state below changed.
  KeptProcess(asio::io_context& loop, KeptProgram program, std::function<void()> changed);
  ~KeptProcess();
  KeptProcess(const KeptProcess&) = delete;
  KeptProcess& operator=(const KeptProcess&) = delete;

  // Adopts one that an earlier supervisor left running, or starts one. From then on one that
  // ends is started again: at once the first time, later with growing pauses up to two seconds.
  // Nothing when it is kept already.
  void start();
  // Tells several to end before waiting for each.
  void signal(int number) const;
  // No more restarts until `start`; ends it with `signal`, SIGKILL when that takes too long, and waits until it
  // has ended.
  void stop(int signal);

  [[nodiscard]] int pid() const { return process_.pid; }  // 0 when not running
  [[nodiscard]] int restarts() const { return restarts_; }
  // How often it ended, or could not be started, since it last served.
  [[nodiscard]] int failures() const { return failures_; }
  void served() { failures_ = 0; }
  [[nodiscard]] const std::string& problem() const { return problem_; }

 private:
  struct Timers;
  void log(const std::string& line) const;
  void launch();
  void watch();
  void ended();
  void launch_later();

  const KeptProgram program_;
  const std::function<void()> changed_;
  std::shared_ptr<Timers> timers_;  // shared with nobody: handlers see by it whether this is there still
  ProcessId process_;
  std::chrono::steady_clock::time_point started_;
  std::chrono::milliseconds pause_{0};
  int restarts_ = 0;
  int failures_ = 0;
  bool stopping_ = true;
  std::string problem_;
};

}  // namespace weft::supervise
