#include "lab/lifecycle.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "api/answer.h"
#include "api/client.h"
#include "lab/inventory.h"
#include "lab/programs.h"
#include "lab/readiness.h"
#include "lab/world.h"
#include "supervise/process.h"
#include "sys/netns.h"
#include "sys/system.h"

namespace weft::lab {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr auto supervisor_grace = 15s;  // it waits for weftd itself
constexpr auto process_grace = 500ms;
constexpr auto retry_pause = 25ms;

std::string seconds_since(Clock::time_point start) {
  return fmt::format("{:.2f} s", std::chrono::duration<double>(Clock::now() - start).count());
}

Result<void> check_binaries(const Machine& machine, const Layout& layout) {
  std::vector<std::string> names{"weftd", "weft-cni"};
  if (!layout.operators().empty()) names.emplace_back("weft-operator");
  for (const auto& name : names) {
    const auto path = find_program(machine.binary_directory, name);
    if (::access(path.c_str(), X_OK) != 0)
      return fail(errno_error(path, errno).in("a lab needs weftd and weft-cni beside weft").code,
                  fmt::format("{} is not there or cannot be run", path),
                  "build or install it, or name the directory of Weft's programs in WEFT_BIN_DIR");
  }
  return {};
}

// The first line the supervisor says: "ready", or what went wrong; empty when it died without a word.
std::string read_line(const Fd& fd) {
  std::string line;
  std::array<char, 512> chunk;  // NOLINT: filled by read
  while (line.find('\n') == std::string::npos) {
    const ssize_t n = ::read(fd.get(), chunk.data(), chunk.size());
    if (n > 0)
      line.append(chunk.data(), static_cast<std::size_t>(n));
    else if (n == 0 || errno != EINTR)
      break;
  }
  return line.substr(0, line.find('\n'));
}

Result<void> start_supervisor(const Machine& machine, const Layout& layout) {
  const Fd log(::open(layout.supervisor_log().c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  if (!log.valid()) return fail(errno_error("open " + layout.supervisor_log(), errno));
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) < 0) return fail(errno_error("pipe", errno));
  const Fd reader(ends[0]);
  Fd writer(ends[1]);
  supervise::SpawnRequest request;
  request.arguments = machine.supervisor_command;
  request.arguments.push_back(layout.name());
  request.environment["WEFT_BIN_DIR"] = machine.binary_directory;
  request.standard_output = writer.get();
  request.standard_error = log.get();
  request.new_session = true;
  WEFT_TRY(const supervise::ProcessId process, supervise::spawn(request));
  writer.reset();
  const auto line = read_line(reader);
  if (line == "ready") return {};
  return fail(ErrorCode::unavailable,
              fmt::format("the lab's supervisor (process {}) did not start: {}", process.pid,
                          line.empty() ? "it ended without a word" : line),
              "its log is " + layout.supervisor_log());
}

// One that runs already takes up the nodes that were added.
Result<void> reload_supervisor(const Layout& layout) {
  if (layout.nodes().size() == 1) return {};
  WEFT_TRY(auto client, api::Client::connect(layout.supervisor_socket()));
  const auto answer = client.call("lab.reload", json::object());
  return answer ? Result<void>() : fail(answer.error().error.in("the lab's supervisor"));
}

// A supervisor that was killed or asked to end is there until its last thread is, but answers no more.
// True when this one is such and has ended by the deadline: another can take its place.
bool await_ending(const supervise::ProcessId& supervisor, const Layout& layout, Deadline deadline) {
  if (supervisor_answers(layout)) return false;
  const auto ended = supervise::open_pidfd(supervisor);
  return ended ? supervise::wait_readable(*ended, deadline) : !supervise::is_alive(supervisor);
}

Result<void> build(const Machine& machine, const Layout& layout, Deadline deadline, const Progress& progress) {
  const auto start = Clock::now();
  WEFT_CHECK(sys::ensure_bpffs("/sys/fs/bpf"));
  // First, so that whoever finds what a crash leaves knows how many nodes it had.
  WEFT_CHECK(sys::make_directories(layout.state_dir(), 0755));
  WEFT_CHECK(save_settings(layout.settings_file(), layout.settings()));
  WEFT_CHECK(build_world(layout));
  for (const auto& node : layout.nodes()) {
    WEFT_CHECK(sys::make_directories(node.run_dir, 0755));
    WEFT_CHECK(sys::make_directories(node.state_dir, 0700));
  }
  if (!supervise::read_pid_file(layout.supervisor_pid_file()))
    WEFT_CHECK(start_supervisor(machine, layout));
  else
    WEFT_CHECK(reload_supervisor(layout));
  WEFT_CHECK(wait_for_agents(layout, deadline));
  const auto where = layout.nodes().size() == 1 ? "namespace " + layout.node().netns
                                                : fmt::format("each of its {} nodes", layout.nodes().size());
  progress(fmt::format("lab {}: weftd serves in {} after {}", layout.name(), where, seconds_since(start)));
  return {};
}

// An agent that was just killed may be away for a moment, not without a supervisor to start it again;
// applying twice does no harm.
Result<void> apply_files(const Layout& layout, const std::vector<ManifestFile>& files, Deadline deadline,
                         const Progress& progress) {
  if (files.empty()) return {};
  auto applied = apply_manifests(layout, files);
  while (!applied && applied.error().code == ErrorCode::unavailable && Clock::now() < deadline &&
         supervise::read_pid_file(layout.supervisor_pid_file())) {
    std::this_thread::sleep_for(retry_pause);
    applied = apply_manifests(layout, files);
  }
  WEFT_TRY(const auto summary, std::move(applied));
  for (const auto& warning : summary.warnings) progress("warning: " + warning);
  progress(summary.to_string());
  return {};
}

// All of `up`, once; `applied` says whether the manifests were taken.
Result<void> raise(const Machine& machine, const Layout& layout, const std::vector<ManifestFile>& files,
                   Deadline deadline, bool& applied, const Progress& progress) {
  WEFT_CHECK(build(machine, layout, deadline, progress));
  WEFT_CHECK(apply_files(layout, files, deadline, progress));
  applied = true;
  return wait_for_pods(layout, deadline, progress, {.added = pods_in(files)});
}

bool exists(const Layout& layout) { return static_cast<bool>(check_lab_exists(layout)); }

// Whether it was ever built, not only looked for: its settings stay then.
bool is_made(const Layout& layout) {
  return ::access(layout.settings_file().c_str(), F_OK) == 0 || ::access(layout.node().state_dir.c_str(), F_OK) == 0;
}

// Which nodes the lab has after this `up`.
Result<Layout> layout_after(const Machine& machine, const UpOptions& options) {
  const Layout present = machine.layout(options.name);
  WEFT_TRY(const auto settings, settle(options.settings, present.settings(), is_made(present)));
  Layout layout(options.name, machine.roots, settings);
  WEFT_CHECK(check_etcd(layout));
  return layout;
}

Result<Layout> layout_for(const Machine& machine, const std::string& name) {
  WEFT_CHECK(check_root());
  WEFT_CHECK(check_lab_name(name));
  return machine.layout(name);
}

Result<void> remove_tree(const std::string& path) {
  std::error_code error;
  std::filesystem::remove_all(path, error);
  if (error) return fail(errno_error("remove " + path, error.value()));
  return {};
}

// Ours to remove only while nobody else has anything in it.
void remove_if_empty(const std::string& path) { ::rmdir(path.c_str()); }

void end_processes(const Layout& layout) {
  if (const auto supervisor = supervise::read_pid_file(layout.supervisor_pid_file()))
    supervise::terminate({*supervisor}, supervisor_grace);
  // Together, so that twenty take no longer than one.
  std::vector<supervise::ProcessId> programs;
  for (const auto& node : layout.nodes())
    if (const auto agent = supervise::read_pid_file(node.pid_file())) programs.push_back(*agent);
  for (const auto& each : layout.operators())
    if (const auto program = supervise::read_pid_file(each.pid_file)) programs.push_back(*program);
  for (const auto& member : layout.etcd())
    if (const auto etcd = supervise::read_pid_file(member.pid_file)) programs.push_back(*etcd);
  supervise::terminate(programs, 5s);
  std::vector<supervise::ProcessId> others;
  for (const auto& name : namespaces_of(layout.name()))
    for (const auto& process : supervise::processes_in_named_netns(name)) others.push_back(process);
  supervise::terminate(others, process_grace);
}

Result<void> take_down(const Layout& layout) {
  end_processes(layout);
  for (const auto& pins : pins_of(layout.roots(), layout.name())) WEFT_CHECK(remove_tree(pins));
  for (const auto& name : namespaces_of(layout.name())) WEFT_CHECK(sys::delete_named_netns(name));
  WEFT_CHECK(remove_cgroups(layout.name()));
  WEFT_CHECK(remove_tree(layout.state_dir()));
  WEFT_CHECK(remove_tree(layout.run_dir()));
  for (const auto& root : {layout.roots().run, layout.roots().state, layout.roots().bpffs}) {
    remove_if_empty(root);
    remove_if_empty(std::filesystem::path(root).parent_path());
  }
  return {};
}

}  // namespace

Result<LabLock> LabLock::take(const Layout& layout, const Progress& progress) {
  while (true) {
    WEFT_CHECK(sys::make_directories(layout.run_dir(), 0755));
    Fd directory(::open(layout.run_dir().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!directory.valid()) {
      if (errno == ENOENT) continue;  // a `down` was faster
      return fail(errno_error("open " + layout.run_dir(), errno));
    }
    if (::flock(directory.get(), LOCK_EX | LOCK_NB) != 0) {
      progress(fmt::format("lab {}: waiting for another weft lab command", layout.name()));
      if (::flock(directory.get(), LOCK_EX) != 0) return fail(errno_error("lock " + layout.run_dir(), errno));
    }
    struct stat locked {};
    struct stat present {};
    if (::fstat(directory.get(), &locked) == 0 && ::stat(layout.run_dir().c_str(), &present) == 0 &&
        locked.st_ino == present.st_ino)
      return LabLock(std::move(directory));
  }
}

Result<void> up(const Machine& machine, const UpOptions& options, const Progress& progress) {
  const auto deadline = Clock::now() + options.timeout;
  WEFT_TRY(const Layout present, layout_for(machine, options.name));
  WEFT_TRY(const auto files, read_manifests(options.files));
  WEFT_TRY(const Layout wanted, layout_after(machine, options));
  WEFT_CHECK(check_manifests(wanted, files));
  WEFT_CHECK(check_binaries(machine, wanted));
  const bool existed = exists(present);
  WEFT_TRY(const auto lock, LabLock::take(present, progress));
  // Another `up` may have been faster.
  WEFT_TRY(const Layout layout, layout_after(machine, options));
  while (true) {
    const auto taken_over = supervise::read_pid_file(layout.supervisor_pid_file());
    bool applied = false;
    auto done = raise(machine, layout, files, deadline, applied, progress);
    if (done) return {};
    // `io`: it was killed in the middle of an answer.
    const auto code = done.error().code;
    if ((code == ErrorCode::unavailable || code == ErrorCode::io) && taken_over &&
        await_ending(*taken_over, layout, deadline))
      continue;
    if (!applied && !existed)
      if (const auto gone = take_down(layout); !gone) progress(gone.error().message);
    return done;
  }
}

Result<void> apply(const Machine& machine, const UpOptions& options, const Progress& progress) {
  WEFT_TRY(const Layout layout, layout_for(machine, options.name));
  WEFT_TRY(const auto files, read_manifests(options.files));
  WEFT_CHECK(check_lab_exists(layout));
  WEFT_CHECK(check_manifests(layout, files));
  const auto deadline = Clock::now() + options.timeout;
  WEFT_CHECK(apply_files(layout, files, deadline, progress));
  return wait_for_pods(layout, deadline, progress, {.added = pods_in(files)});
}

Result<void> remove(const Machine& machine, const UpOptions& options, const Progress& progress) {
  WEFT_TRY(const Layout layout, layout_for(machine, options.name));
  WEFT_TRY(const auto files, read_manifests(options.files));
  WEFT_CHECK(check_lab_exists(layout));
  WEFT_TRY(const auto deleted, delete_manifests(layout, files));
  for (const auto& object : deleted) progress("deleted " + object);
  return wait_for_pods(layout, Clock::now() + options.timeout, progress, {.removed = pods_in(files)});
}

Result<bool> down(const Machine& machine, const std::string& name, const Progress& progress) {
  WEFT_TRY(const Layout layout, layout_for(machine, name));
  if (!exists(layout)) return false;
  WEFT_TRY(const auto lock, LabLock::take(layout, progress));
  WEFT_CHECK(take_down(layout));
  return true;
}

}  // namespace weft::lab
