#include "lab/agent_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/wait.h>

#include <algorithm>
#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>
#include <cerrno>
#include <utility>

#include "lab/log.h"
#include "sys/netns.h"
#include "sys/system.h"

namespace weft::lab {
namespace {

using namespace std::chrono_literals;

constexpr auto longest_pause = 2000ms;
constexpr auto long_enough = 5s;  // a weftd that lived this long starts the pauses over
constexpr auto grace = 5s;

}  // namespace

struct AgentProcess::Timers {
  explicit Timers(asio::io_context& loop) : pidfd(loop), restart(loop) {}
  asio::posix::stream_descriptor pidfd;
  asio::steady_timer restart;
};

std::string agent_config(const Layout& layout, const NodeLayout& node) {
  return fmt::format(
      "# Written by weft lab; a change here is lost.\n"
      "instance: {}\nnode: {}\nstate_dir: {}\nrun_dir: {}\nbpffs: {}\n"
      "pod_cidrs: [\"{}\"]\nservice_cidrs: [\"{}\"]\nmasquerade: true\nnative_cidrs: []\ndevices: [{}]\n"
      // Both ends of a lab's uplinks have receive loops.
      "xdp: native\n"
      // A lab's pods come and go fast, and nobody outside remembers their addresses.
      "quarantine_seconds: 5\n",
      node.instance, node.name, node.state_dir, node.run_dir, layout.roots().bpffs,
      fmt::join(addresses::pod_cidrs, "\", \""), fmt::join(addresses::service_cidrs, "\", \""), addresses::uplink);
}

AgentProcess::AgentProcess(asio::io_context& loop, const Layout& layout, std::string binary,
                           std::function<void()> changed)
    : layout_(layout),
      binary_(std::move(binary)),
      changed_(std::move(changed)),
      timers_(std::make_unique<Timers>(loop)) {}

AgentProcess::~AgentProcess() = default;

void AgentProcess::start() {
  if (const auto running = read_pid_file(layout_.node().pid_file())) {
    process_ = *running;
    log_line("adopted weftd {}", process_.pid);
    watch();
  } else {
    launch();
  }
}

Result<ProcessId> AgentProcess::spawn_agent() {
  const NodeLayout& node = layout_.node();
  WEFT_CHECK(sys::make_directories(node.run_dir, 0755));
  WEFT_CHECK(sys::make_directories(node.state_dir, 0700));
  WEFT_CHECK(sys::write_file_atomically(node.config_file(), agent_config(layout_, node), 0644));
  WEFT_TRY(const auto netns, sys::open_netns(sys::named_netns_path(node.netns)));
  const Fd log(::open(node.log_file().c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  if (!log.valid()) return fail(errno_error("open " + node.log_file(), errno));
  SpawnRequest request;
  request.arguments = {binary_, "--config", node.config_file()};
  request.netns = netns.get();
  request.standard_output = log.get();
  request.standard_error = log.get();
  request.new_session = true;
  WEFT_TRY(const ProcessId process, spawn(request));
  if (auto written = write_pid_file(node.pid_file(), process); !written) {
    terminate({process}, grace);
    return fail(std::move(written.error()));
  }
  return process;
}

void AgentProcess::launch() {
  if (stopping_) return;
  started_ = std::chrono::steady_clock::now();
  const auto process = spawn_agent();
  if (!process) {
    problem_ = process.error().message;
    log_line("weftd cannot be started: {}", problem_);
    launch_later();
  } else {
    problem_.clear();
    process_ = *process;
    log_line("started weftd {}", process_.pid);
    watch();
  }
  changed_();
}

void AgentProcess::watch() {
  auto pidfd = open_pidfd(process_);
  if (!pidfd) return ended();
  timers_->pidfd.close();
  timers_->pidfd.assign(pidfd->release());
  timers_->pidfd.async_wait(asio::posix::descriptor_base::wait_read, [this](const asio::error_code& error) {
    if (!error && !stopping_) ended();
  });
}

void AgentProcess::ended() {
  int status = 0;
  const bool child = ::waitpid(process_.pid, &status, WNOHANG) == process_.pid;
  problem_ = child ? fmt::format("weftd {} ended with {}", process_.pid, exit_code_of(status))
                   : fmt::format("weftd {} ended", process_.pid);
  log_line("{}", problem_);
  process_ = {};
  ++restarts_;
  if (std::chrono::steady_clock::now() - started_ >= long_enough) pause_ = 0ms;
  launch_later();
  changed_();
}

void AgentProcess::launch_later() {
  ++failures_;
  timers_->restart.expires_after(pause_);
  timers_->restart.async_wait([this](const asio::error_code& error) {
    if (!error) launch();
  });
  pause_ = std::clamp<std::chrono::milliseconds>(pause_ * 2, 50ms, longest_pause);
}

void AgentProcess::stop() {
  stopping_ = true;
  timers_->restart.cancel();
  if (timers_->pidfd.is_open()) timers_->pidfd.cancel();
  if (process_.pid == 0) return;
  terminate({process_}, grace);
  ::waitpid(process_.pid, nullptr, WNOHANG);
  log_line("stopped weftd {}", process_.pid);
  process_ = {};
}

}  // namespace weft::lab
