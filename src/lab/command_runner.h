// Runs pods' own commands (annotation weft.dev/run) inside their namespaces.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "lab/pod_plan.h"

namespace asio {
class io_context;
}

namespace weft::lab {

// Used from the loop's thread only; `loop` must outlive it.
class CommandRunner {
 public:
  // Output goes to <log_dir>/<namespace>.<pod>.<container>.log.
  CommandRunner(asio::io_context& loop, std::string log_dir);
  ~CommandRunner();
  CommandRunner(const CommandRunner&) = delete;
  CommandRunner& operator=(const CommandRunner&) = delete;

  // Replaces what the pod had. Commands that end with something else than 0 are started again, with
  // pauses growing to 10 seconds; the processes die with the supervisor.
  // `cgroup` is the directory of the node's; empty: the supervisor's own.
  void start(const PodPlan& plan, const std::string& netns_path, const std::string& cgroup);
  void stop(const std::string& key);
  // One line for each command of the pod that does not run as it should.
  [[nodiscard]] std::vector<std::string> problems(const std::string& key) const;

 private:
  class Command;
  asio::io_context& loop_;
  const std::string log_dir_;
  std::map<std::string, std::list<std::shared_ptr<Command>>> commands_;
};

}  // namespace weft::lab
