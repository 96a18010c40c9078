#include "supervise/kept_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <utility>

#include "sys/netns.h"

namespace weft::supervise {
namespace {

using namespace std::chrono_literals;

constexpr auto longest_pause = 2000ms;
constexpr auto long_enough = 5s;  // one that lived this long starts the pauses over
constexpr auto grace = 5s;

bool is_readable(int descriptor) {
  pollfd wanted{.fd = descriptor, .events = POLLIN, .revents = 0};
  return ::poll(&wanted, 1, 0) == 1;
}

}  // namespace

struct KeptProcess::Timers {
  explicit Timers(asio::io_context& loop) : pidfd(loop), restart(loop) {}
  // Whatever is waited for from now on: what was on its way before is about another process.
  std::uint64_t begin() { return ++waiting_for; }
  std::uint64_t waiting_for = 0;
  asio::posix::stream_descriptor pidfd;
  asio::steady_timer restart;
};

Result<ProcessId> start_program(const KeptProgram& program) {
  WEFT_TRY(auto arguments, program.prepare());
  Fd netns;
  if (!program.netns.empty()) {
    WEFT_TRY(netns, sys::open_netns(sys::named_netns_path(program.netns)));
  }
  const Fd log(::open(program.log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  if (!log.valid()) return fail(errno_error("open " + program.log_file, errno));
  SpawnRequest request;
  request.arguments = std::move(arguments);
  request.environment = program.environment;
  request.bound = program.bound;
  request.netns = netns.get();
  request.standard_output = log.get();
  request.standard_error = log.get();
  request.new_session = true;
  request.cgroup = program.cgroup;
  WEFT_TRY(const ProcessId process, spawn(request));
  if (auto written = write_pid_file(program.pid_file, process); !written) {
    terminate({process}, grace);
    return fail(std::move(written.error()));
  }
  return process;
}

KeptProcess::KeptProcess(asio::io_context& loop, KeptProgram program, std::function<void()> changed)
    : program_(std::move(program)), changed_(std::move(changed)), timers_(std::make_shared<Timers>(loop)) {}

KeptProcess::~KeptProcess() = default;

void KeptProcess::log(const std::string& line) const {
  if (program_.log) program_.log(line);
}

void KeptProcess::start() {
  if (!std::exchange(stopping_, false)) return;
  pause_ = 0ms;
  if (const auto running = read_pid_file(program_.pid_file)) {
    process_ = *running;
    log(fmt::format("adopted {}, process {}", program_.what, process_.pid));
    watch();
    changed_();
  } else {
    launch();
  }
}

void KeptProcess::launch() {
  if (stopping_) return;
  started_ = std::chrono::steady_clock::now();
  const auto process = start_program(program_);
  if (!process) {
    problem_ = process.error().message;
    log(fmt::format("{} cannot be started: {}", program_.what, problem_));
    launch_later();
  } else {
    problem_.clear();
    process_ = *process;
    log(fmt::format("started {}, process {}", program_.what, process_.pid));
    watch();
  }
  changed_();
}

void KeptProcess::watch() {
  auto pidfd = open_pidfd(process_);
  if (!pidfd) return ended();
  timers_->pidfd.close();
  timers_->pidfd.assign(pidfd->release());
  timers_->pidfd.async_wait(
      asio::posix::descriptor_base::wait_read,
      [this, there = std::weak_ptr(timers_), begun = timers_->begin()](const asio::error_code& error) {
        const auto timers = there.lock();
        if (error || !timers || timers->waiting_for != begun) return;
        // A loop may tell of a new descriptor what it had heard of the one before.
        is_readable(timers->pidfd.native_handle()) ? ended() : watch();
      });
}

void KeptProcess::ended() {
  int status = 0;
  const bool child = ::waitpid(process_.pid, &status, WNOHANG) == process_.pid;
  problem_ = child ? fmt::format("{}, process {}, ended with {}", program_.what, process_.pid, exit_code_of(status))
                   : fmt::format("{}, process {}, ended", program_.what, process_.pid);
  log(problem_);
  process_ = {};
  ++restarts_;
  if (std::chrono::steady_clock::now() - started_ >= long_enough) pause_ = 0ms;
  launch_later();
  changed_();
}

void KeptProcess::launch_later() {
  ++failures_;
  timers_->restart.expires_after(pause_);
  timers_->restart.async_wait(
      [this, there = std::weak_ptr(timers_), begun = timers_->begin()](const asio::error_code& error) {
        if (const auto timers = there.lock(); !error && timers && timers->waiting_for == begun) launch();
      });
  pause_ = std::clamp<std::chrono::milliseconds>(pause_ * 2, 50ms, longest_pause);
}

void KeptProcess::signal(int number) const {
  if (process_.pid == 0) return;
  if (const auto pidfd = open_pidfd(process_)) ::syscall(SYS_pidfd_send_signal, pidfd->get(), number, nullptr, 0);
}

void KeptProcess::stop(int signal) {
  stopping_ = true;
  timers_->begin();
  timers_->restart.cancel();
  if (timers_->pidfd.is_open()) timers_->pidfd.cancel();
  if (process_.pid == 0) return;
  terminate({process_}, grace, signal);
  ::waitpid(process_.pid, nullptr, WNOHANG);
  log(fmt::format("stopped {}, process {}", program_.what, process_.pid));
  process_ = {};
}

}  // namespace weft::supervise
