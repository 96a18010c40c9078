#include "lab/command_runner.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/wait.h>

#include <algorithm>
#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <utility>

#include "lab/log.h"
#include "supervise/process.h"
#include "sys/netns.h"
#include "sys/system.h"

namespace weft::lab {
namespace {

using namespace std::chrono_literals;

constexpr auto longest_pause = 10'000ms;

}  // namespace

// Kept alive by its pending waits; `stop` ends them.
class CommandRunner::Command : public std::enable_shared_from_this<CommandRunner::Command> {
 public:
  Command(asio::io_context& loop, CommandPlan plan, std::string pod, std::string netns_path, std::string cgroup,
          std::string log_file)
      : plan_(std::move(plan)),
        pod_(std::move(pod)),
        netns_path_(std::move(netns_path)),
        cgroup_(std::move(cgroup)),
        log_file_(std::move(log_file)),
        pidfd_(loop),
        restart_(loop) {}

  void launch() {
    if (stopped_) return;
    const auto process = spawn_command();
    if (!process) {
      problem_ = process.error().message;
      log_line("{}: {}: {}", pod_, plan_.container, problem_);
      return launch_later();
    }
    process_ = *process;
    auto pidfd = supervise::open_pidfd(process_);
    if (!pidfd) return ended();
    pidfd_.close();
    pidfd_.assign(pidfd->release());
    pidfd_.async_wait(asio::posix::descriptor_base::wait_read,
                      [self = shared_from_this()](const asio::error_code& error) {
                        if (!error && !self->stopped_) self->ended();
                      });
  }

  void stop() {
    stopped_ = true;
    restart_.cancel();
    if (pidfd_.is_open()) pidfd_.cancel();
    if (process_.pid <= 0) return;
    ::kill(-process_.pid, SIGKILL);  // its whole session's group
    ::waitpid(process_.pid, nullptr, 0);
    process_ = {};
  }

  [[nodiscard]] const std::string& problem() const { return problem_; }

 private:
  Result<supervise::ProcessId> spawn_command() {
    WEFT_TRY(const auto netns, sys::open_netns(netns_path_));
    const Fd log(::open(log_file_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
    if (!log.valid()) return fail(errno_error("open " + log_file_, errno));
    supervise::SpawnRequest request;
    request.arguments = plan_.arguments;
    request.environment = plan_.environment;
    request.netns = netns.get();
    request.cgroup = cgroup_;
    request.standard_output = log.get();
    request.standard_error = log.get();
    request.new_session = true;
    request.die_with_parent = true;
    return supervise::spawn(request);
  }

  void ended() {
    int status = 0;
    if (::waitpid(process_.pid, &status, WNOHANG) != process_.pid) status = 0;
    process_ = {};
    const int code = supervise::exit_code_of(status);
    log_line("{}: {} ended with {}", pod_, plan_.container, code);
    problem_ = code == 0 ? "" : fmt::format("{} ended with {}; its output is in {}", plan_.container, code, log_file_);
    if (code != 0) launch_later();
  }

  void launch_later() {
    restart_.expires_after(pause_);
    restart_.async_wait([self = shared_from_this()](const asio::error_code& error) {
      if (!error) self->launch();
    });
    pause_ = std::min<std::chrono::milliseconds>(pause_ * 2, longest_pause);
  }

  const CommandPlan plan_;
  const std::string pod_;
  const std::string netns_path_;
  const std::string cgroup_;
  const std::string log_file_;
  asio::posix::stream_descriptor pidfd_;
  asio::steady_timer restart_;
  supervise::ProcessId process_;
  std::chrono::milliseconds pause_{200};
  bool stopped_ = false;
  std::string problem_;
};

CommandRunner::CommandRunner(asio::io_context& loop, std::string log_dir) : loop_(loop), log_dir_(std::move(log_dir)) {}

CommandRunner::~CommandRunner() {
  while (!commands_.empty()) stop(std::string(commands_.begin()->first));
}

void CommandRunner::start(const PodPlan& plan, const std::string& netns_path, const std::string& cgroup) {
  stop(plan.key());
  if (plan.commands.empty()) return;
  if (const auto made = sys::make_directories(log_dir_, 0755); !made) log_line("{}", made.error().message);
  for (const auto& command : plan.commands) {
    const std::string log = fmt::format("{}/{}.{}.{}.log", log_dir_, plan.namespace_, plan.name, command.container);
    auto& added = commands_[plan.key()].emplace_back(
        std::make_shared<Command>(loop_, command, plan.key(), netns_path, cgroup, log));
    added->launch();
  }
}

void CommandRunner::stop(const std::string& key) {
  const auto found = commands_.find(key);
  if (found == commands_.end()) return;
  for (const auto& command : found->second) command->stop();
  commands_.erase(found);
}

std::vector<std::string> CommandRunner::problems(const std::string& key) const {
  std::vector<std::string> list;
  if (const auto found = commands_.find(key); found != commands_.end())
    for (const auto& command : found->second)
      if (!command->problem().empty()) list.push_back(command->problem());
  return list;
}

}  // namespace weft::lab
