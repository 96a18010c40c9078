#include "supervise/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "sys/netns.h"
#include "sys/system.h"

extern char** environ;  // NOLINT

namespace weft::supervise {
namespace {

using Clock = std::chrono::steady_clock;

int left_until(Clock::time_point deadline) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
  return static_cast<int>(std::clamp<long>(left, 0, 3'600'000));
}

std::vector<std::string> environment_of(const SpawnRequest& request) {
  std::map<std::string, std::string> variables = request.environment;
  if (request.inherit_environment)
    for (char** entry = environ; *entry != nullptr; ++entry)
      if (const char* equals = std::strchr(*entry, '='); equals != nullptr)
        variables.emplace(std::string(*entry, static_cast<std::size_t>(equals - *entry)), equals + 1);
  std::vector<std::string> list;
  for (const auto& [name, value] : variables) list.push_back(fmt::format("{}={}", name, value));
  return list;
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> list;
  for (auto& string : strings) list.push_back(string.data());
  list.push_back(nullptr);
  return list;
}

// Runs in the child of a process that may have threads: only async-signal-safe calls from here.
[[noreturn]] void become(const SpawnRequest& request, char* const* arguments, char* const* variables, pid_t parent,
                         int null, int cgroup, int report) {
  const auto report_and_exit = [report] {
    const int error = errno;
    if (::write(report, &error, sizeof error) < 0) ::_exit(126);
    ::_exit(127);
  };
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  for (const int signal : {SIGPIPE, SIGINT, SIGTERM, SIGHUP, SIGCHLD}) ::signal(signal, SIG_DFL);
  if (cgroup >= 0 && ::write(cgroup, "0", 1) != 1) report_and_exit();
  if (request.new_session) ::setsid();
  if (!request.bound.empty() &&
      (::unshare(CLONE_NEWNS) != 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) != 0))
    report_and_exit();
  for (const auto& bound : request.bound)
    if (::mount(bound.directory.c_str(), bound.over.c_str(), nullptr, MS_BIND, nullptr) != 0) report_and_exit();
  if (request.die_with_parent) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(127);
  }
  const std::array<int, 3> wanted = {request.standard_input, request.standard_output, request.standard_error};
  for (int target = 0; target < 3; ++target) {
    const int source = wanted[static_cast<std::size_t>(target)] < 0 ? null : wanted[static_cast<std::size_t>(target)];
    // dup2 onto itself would leave the descriptor close-on-exec.
    if (source == target ? ::fcntl(target, F_SETFD, 0) < 0 : ::dup2(source, target) < 0) report_and_exit();
  }
  // Locks and sockets of this process are not for a child that may outlive it; the report goes on until execve.
  if (::close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) < 0 && errno != ENOSYS) report_and_exit();
  ::execvpe(arguments[0], arguments, variables);
  report_and_exit();
  ::_exit(127);
}

// Field 22 of /proc/<pid>/stat; the command's name before it may hold anything, even ')'.
std::optional<ProcessId> parse_stat(pid_t pid, const std::string& stat) {
  const auto end_of_name = stat.rfind(')');
  if (end_of_name == std::string::npos || end_of_name + 2 >= stat.size()) return std::nullopt;
  if (const char state = stat[end_of_name + 2]; state == 'Z' || state == 'X') return std::nullopt;
  std::size_t at = end_of_name + 2;
  for (int field = 3; field < 22; ++field) {
    at = stat.find(' ', at);
    if (at == std::string::npos) return std::nullopt;
    ++at;
  }
  ProcessId process{pid, 0};
  if (std::from_chars(stat.data() + at, stat.data() + stat.size(), process.start_time).ec != std::errc())
    return std::nullopt;
  return process;
}

Result<std::array<Fd, 2>> make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) < 0) return fail(errno_error("pipe", errno));
  return std::array<Fd, 2>{Fd(ends[0]), Fd(ends[1])};
}

int reap(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return exit_code_of(status);
}

// Writes `input` and reads until the other side closes; false when the deadline came first.
bool exchange(Fd writer, const Fd& reader, std::string_view input, std::string& output, Clock::time_point deadline) {
  ::fcntl(writer.get(), F_SETFL, O_NONBLOCK);
  if (input.empty()) writer.reset();
  while (true) {
    std::array<pollfd, 2> watched = {pollfd{reader.get(), POLLIN, 0}, pollfd{writer.get(), POLLOUT, 0}};
    const int ready = ::poll(watched.data(), 2, left_until(deadline));
    if (ready == 0) return false;
    if (ready < 0 && errno != EINTR) return false;
    if (watched[1].revents != 0) {
      const ssize_t n = ::write(writer.get(), input.data(), input.size());
      if (n > 0) input.remove_prefix(static_cast<std::size_t>(n));
      if (input.empty() || (n < 0 && errno != EAGAIN && errno != EINTR)) writer.reset();
    }
    if (watched[0].revents != 0) {
      std::array<char, 16384> chunk;  // NOLINT: filled by read
      const ssize_t n = ::read(reader.get(), chunk.data(), chunk.size());
      if (n > 0)
        output.append(chunk.data(), static_cast<std::size_t>(n));
      else if (n == 0)
        return true;
    }
  }
}

}  // namespace

int exit_code_of(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status); }

Result<ProcessId> spawn(const SpawnRequest& request) {
  std::vector<std::string> arguments = request.arguments;
  std::vector<std::string> variables = environment_of(request);
  const auto argument_list = pointers(arguments);
  const auto variable_list = pointers(variables);
  const Fd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null.valid()) return fail(errno_error("open /dev/null", errno));
  WEFT_TRY(auto report, make_pipe());
  Fd cgroup;
  if (!request.cgroup.empty()) {
    const std::string file = request.cgroup + "/cgroup.procs";
    cgroup = Fd(::open(file.c_str(), O_WRONLY | O_CLOEXEC));
    if (!cgroup.valid()) return fail(errno_error("open " + file, errno));
  }
  // The child inherits the namespace of the thread that forks.
  std::optional<sys::NetnsScope> scope;
  if (request.netns >= 0) {
    WEFT_TRY(auto entered, sys::NetnsScope::enter(request.netns));
    scope.emplace(std::move(entered));
  }
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid == 0)
    become(request, argument_list.data(), variable_list.data(), parent, null.get(), cgroup.get(), report[1].get());
  scope.reset();
  if (pid < 0) return fail(errno_error("fork", errno));
  report[1].reset();
  int error = 0;
  if (::read(report[0].get(), &error, sizeof error) == sizeof error) {
    reap(pid);
    return fail(errno_error("start " + request.arguments.front(), error));
  }
  // A child that ended at once is a zombie until it is reaped, and so still has its start time.
  const auto stat = sys::read_file(fmt::format("/proc/{}/stat", pid));
  ProcessId process{pid, 0};
  if (stat)
    if (const auto parsed = parse_stat(pid, *stat)) process = *parsed;
  return process;
}

Result<Finished> run(SpawnRequest request, const std::string& input, std::chrono::milliseconds timeout) {
  const auto deadline = Clock::now() + timeout;
  WEFT_TRY(auto in, make_pipe());
  WEFT_TRY(auto out, make_pipe());
  request.standard_input = in[0].get();
  request.standard_output = out[1].get();
  WEFT_TRY(const ProcessId process, spawn(request));
  in[0].reset();
  out[1].reset();
  Finished finished;
  const bool ended = exchange(std::move(in[1]), out[0], input, finished.output, deadline);
  if (!ended) ::kill(process.pid, SIGKILL);
  finished.exit_code = reap(process.pid);
  if (!ended)
    return fail(ErrorCode::unavailable,
                fmt::format("{} did not end within {} ms", request.arguments.front(), timeout.count()));
  return finished;
}

Result<ProcessId> identify(pid_t pid) {
  WEFT_TRY(const std::string stat, sys::read_file(fmt::format("/proc/{}/stat", pid)));
  if (const auto process = parse_stat(pid, stat)) return *process;
  return fail(ErrorCode::not_found, fmt::format("process {} has ended", pid));
}

bool is_alive(const ProcessId& process) {
  const auto found = identify(process.pid);
  return found && found->start_time == process.start_time;
}

Result<Fd> open_pidfd(const ProcessId& process) {
  Fd fd(static_cast<int>(::syscall(SYS_pidfd_open, process.pid, 0)));
  if (!fd.valid()) return fail(errno_error(fmt::format("pidfd_open {}", process.pid), errno));
  // The descriptor now pins whoever has the pid; is it still the one meant?
  if (!is_alive(process)) return fail(ErrorCode::not_found, fmt::format("process {} has ended", process.pid));
  return fd;
}

bool wait_readable(const Fd& fd, Clock::time_point deadline) {
  while (true) {
    pollfd watched{fd.get(), POLLIN, 0};
    const int ready = ::poll(&watched, 1, left_until(deadline));
    if (ready > 0) return true;
    if ((ready == 0 && Clock::now() >= deadline) || (ready < 0 && errno != EINTR)) return false;
  }
}

std::optional<ProcessId> read_pid_file(const std::string& path) {
  const auto text = sys::read_file(path);
  if (!text) return std::nullopt;
  ProcessId process;
  const char* end = text->data() + text->size();
  const auto pid = std::from_chars(text->data(), end, process.pid);
  if (pid.ec != std::errc() || pid.ptr == end || *pid.ptr != ' ') return std::nullopt;
  if (std::from_chars(pid.ptr + 1, end, process.start_time).ec != std::errc()) return std::nullopt;
  if (process.pid <= 1 || !is_alive(process)) return std::nullopt;
  return process;
}

Result<void> write_pid_file(const std::string& path, const ProcessId& process) {
  return sys::write_file_atomically(path, fmt::format("{} {}\n", process.pid, process.start_time), 0644);
}

void terminate(const std::vector<ProcessId>& processes, std::chrono::milliseconds grace, int signal) {
  std::vector<Fd> alive;
  for (const auto& process : processes) {
    if (process.pid == ::getpid() || process.pid <= 1) continue;
    if (auto fd = open_pidfd(process)) alive.push_back(std::move(*fd));
  }
  const auto signal_all = [&alive](int number) {
    for (const auto& fd : alive) ::syscall(SYS_pidfd_send_signal, fd.get(), number, nullptr, 0);
  };
  const auto wait_until = [&alive](Clock::time_point deadline) {
    while (!alive.empty()) {
      pollfd watched{alive.back().get(), POLLIN, 0};
      const int ready = ::poll(&watched, 1, left_until(deadline));
      if (ready > 0)
        alive.pop_back();
      else if (ready == 0)
        return;
    }
  };
  signal_all(signal);
  wait_until(Clock::now() + grace);
  signal_all(SIGKILL);
  wait_until(Clock::now() + std::chrono::seconds(10));  // the kernel takes what time it needs, not for ever
}

std::vector<ProcessId> processes_in_named_netns(const std::string& name) {
  const auto netns = sys::open_netns(sys::named_netns_path(name));
  if (!netns) return {};
  const auto inode = sys::netns_inode(netns->get());
  if (!inode) return {};
  std::vector<ProcessId> processes;
  for (const int pid : sys::processes_in_netns(*inode))
    if (const auto process = identify(pid)) processes.push_back(*process);
  return processes;
}

}  // namespace weft::supervise
