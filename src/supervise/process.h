// Processes: started in a network namespace, remembered in pid files, ended for sure.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace weft::supervise {

// A pid alone may be reused; with its start time (clock ticks since boot) it names one process.
struct ProcessId {
  pid_t pid = 0;
  std::uint64_t start_time = 0;
};

// A directory seen in another's place.
struct BoundDirectory {
  std::string directory;
  std::string over;  // both exist
};

struct SpawnRequest {
  std::vector<std::string> arguments;  // arguments[0] is looked up in PATH unless it has a '/'
  std::map<std::string, std::string> environment;
  bool inherit_environment = true;  // `environment` is added to this process's own
  int netns = -1;                   // namespace to run in; -1: this thread's
  std::string cgroup;               // directory of the cgroup to run in; empty: this process's own
  // In a mount namespace of its own, which hears of later mounts and tells of none; empty: in this process's.
  std::vector<BoundDirectory> bound;
  int standard_input = -1;   // -1: /dev/null
  int standard_output = -1;  // -1: /dev/null
  int standard_error = -1;
  bool new_session = false;
  // SIGKILL when the thread that spawns ends: for processes that must not outlive the supervisor.
  bool die_with_parent = false;
};

// not_found and denied as execve says. The child is the caller's to reap.
Result<ProcessId> spawn(const SpawnRequest& request);

struct Finished {
  int exit_code = 0;  // 128 + signal when killed
  std::string output;
};
// Runs to its end with `input` on stdin and takes its stdout; kills it after `timeout` (unavailable).
Result<Finished> run(SpawnRequest request, const std::string& input, std::chrono::milliseconds timeout);

Result<ProcessId> identify(pid_t pid);  // not_found when there is none, or only a zombie
bool is_alive(const ProcessId& process);
// Readable when the process has ended, child or not. not_found when it is gone already.
Result<Fd> open_pidfd(const ProcessId& process);
// False when the deadline came first.
bool wait_readable(const Fd& fd, std::chrono::steady_clock::time_point deadline);

// The pid file's process if it is that process still; nothing otherwise.
std::optional<ProcessId> read_pid_file(const std::string& path);
Result<void> write_pid_file(const std::string& path, const ProcessId& process);

// `signal`, SIGKILL after `grace`; returns when all have ended. Never signals this process.
void terminate(const std::vector<ProcessId>& processes, std::chrono::milliseconds grace, int signal = SIGTERM);
// Everything that runs in a named namespace; nothing when the namespace is not there.
std::vector<ProcessId> processes_in_named_netns(const std::string& name);

// Exit code of a status of waitpid.
int exit_code_of(int status);

}  // namespace weft::supervise
