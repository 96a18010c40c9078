// What is timed at the agent and at CNI plugins: their start, their answers, a policy's effect.
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "netbench/netbench.h"

namespace netbench {
namespace {

int connect_api(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) return fd;
  ::close(fd);
  return -1;
}

std::string read_line(int fd) {
  std::string line;
  std::array<char, 4096> buffer{};
  while (!line.ends_with('\n')) {
    const auto got = ::read(fd, buffer.data(), buffer.size());
    if (got <= 0) break;
    line.append(buffer.data(), static_cast<std::size_t>(got));
  }
  return line;
}

void send_call(int api, const std::string& method, const std::string& manifest) {
  const auto line =
      fmt::format("{{\"id\":1,\"method\":\"{}\",\"params\":{{\"documents\":[{{\"file\":\"bench\",\"text\":{}}}]}}}}\n",
                  method, json_text(manifest));
  check(::write(api, line.data(), line.size()) == static_cast<ssize_t>(line.size()), "write to the agent");
}

// One datagram to the echo server; true when it comes back within `timeout_us`.
bool ping(int fd, std::uint32_t number, int timeout_us) {
  if (::send(fd, &number, sizeof number, 0) < 0) return false;
  const auto end = now_ns() + static_cast<std::uint64_t>(timeout_us) * 1000;
  for (;;) {
    pollfd entry{fd, POLLIN, 0};
    const auto now = now_ns();
    if (now >= end) return false;
    timespec left{0, static_cast<long>(end - now)};
    if (::ppoll(&entry, 1, &left, nullptr) <= 0) return false;
    std::uint32_t answer = 0;
    // Answers to earlier, given up datagrams are read away.
    if (::recv(fd, &answer, sizeof answer, MSG_DONTWAIT) == sizeof answer && answer == number) return true;
  }
}

bool wait_for_ping(int fd, std::uint32_t& number, double seconds) {
  const auto end = now_ns() + static_cast<std::uint64_t>(seconds * 1e9);
  while (now_ns() < end)
    if (ping(fd, ++number, 2000)) return true;
  return false;
}

// Milliseconds from the call to the first datagram that was lost for good.
double time_denial(int ping_fd, std::uint32_t& number, std::uint64_t begin) {
  std::uint64_t first_lost = 0;
  for (;;) {
    const auto sent = now_ns();
    errno = 0;
    check(sent - begin < 5'000'000'000, "the policy was not enforced within five seconds");
    if (ping(ping_fd, ++number, 2000)) {
      first_lost = 0;
    } else {
      if (first_lost == 0) first_lost = sent;
      if (now_ns() - first_lost > 20'000'000) return static_cast<double>(first_lost - begin) / 1e6;
    }
  }
}

struct Call {
  double milliseconds = 0;
  int status = -1;
  std::string output;
};

Call call_plugin(const std::string& plugin, const std::string& configuration,
                 const std::vector<std::string>& environment) {
  std::array<int, 2> in{};
  std::array<int, 2> out{};
  check(::pipe2(in.data(), O_CLOEXEC) == 0 && ::pipe2(out.data(), O_CLOEXEC) == 0, "pipe2");
  std::vector<char*> variables;
  variables.reserve(environment.size() + 1);
  for (const auto& variable : environment) variables.push_back(const_cast<char*>(variable.c_str()));
  variables.push_back(nullptr);
  std::array<char*, 2> arguments{const_cast<char*>(plugin.c_str()), nullptr};
  const auto begin = now_ns();
  const pid_t child = ::vfork();
  if (child == 0) {
    ::dup2(in[0], 0);
    ::dup2(out[1], 1);
    ::execve(plugin.c_str(), arguments.data(), variables.data());
    ::_exit(127);
  }
  ::close(in[0]);
  ::close(out[1]);
  check(::write(in[1], configuration.data(), configuration.size()) == static_cast<ssize_t>(configuration.size()),
        "write to the plugin");
  ::close(in[1]);
  Call call;
  std::array<char, 4096> buffer{};
  for (ssize_t got = 0; (got = ::read(out[0], buffer.data(), buffer.size())) > 0;)
    call.output.append(buffer.data(), static_cast<std::size_t>(got));
  ::close(out[0]);
  int status = 0;
  check(::waitpid(child, &status, 0) == child, "waitpid");
  call.milliseconds = static_cast<double>(now_ns() - begin) / 1e6;
  call.status = WIFEXITED(status) ? WEXITSTATUS(status) : 255;
  return call;
}

// Makes a network namespace and binds it at `path`; the caller stays where it is.
void make_netns(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
  check(file >= 0, path);
  ::close(file);
  const pid_t child = ::fork();
  if (child == 0) {
    const bool good =
        ::unshare(CLONE_NEWNET) == 0 && ::mount("/proc/self/ns/net", path.c_str(), nullptr, MS_BIND, nullptr) == 0;
    ::_exit(good ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  errno = 0;
  check(status == 0, "cannot make the namespace " + path);
}

}  // namespace

// --netns --address --port --socket --manifest FILE --rounds N: the manifest denies the datagrams.
int run_policy(const Options& options) {
  const auto manifest = read_file(options.text("manifest"));
  const int api = connect_api(options.text("socket"));
  check(api >= 0, "connect to the agent");
  enter_netns(options.text("netns", ""));
  pin(static_cast<int>(options.number("cpu", -1)));
  const int fd = connect_to(options.text("address"), static_cast<int>(options.number("port", 7000)), SOCK_DGRAM);
  check(fd >= 0, "connect");
  std::vector<double> times;
  std::uint32_t number = 0;
  for (int round = 0; round < static_cast<int>(options.number("rounds", 50)); ++round) {
    errno = 0;
    check(wait_for_ping(fd, number, 5), "no answer before the policy");
    const auto begin = now_ns();
    send_call(api, "apply", manifest);
    times.push_back(time_denial(fd, number, begin));
    const auto applied = read_line(api);
    check(applied.find("\"error\"") == std::string::npos, applied);
    send_call(api, "delete", manifest);
    const auto deleted = read_line(api);
    check(deleted.find("\"error\"") == std::string::npos, deleted);
  }
  const auto p50 = percentile(times, 50);
  fmt::print("{{\"p50_ms\":{:.3f},\"p99_ms\":{:.3f},\"rounds\":{}}}\n", p50, percentile(times, 99), times.size());
  return 0;
}

// --plugin PATH --config FILE --cni-path DIRS --rounds N --prefix NAME [--args TEXT] [--host-netns PATH]
int run_plugin(const Options& options) {
  const auto plugin = options.text("plugin");
  const auto configuration = read_file(options.text("config"));
  const auto prefix = options.text("prefix");
  std::vector<double> add;
  std::vector<double> del;
  enter_netns(options.text("host-netns", ""));
  for (int round = 0; round < static_cast<int>(options.number("rounds", 20)); ++round) {
    const auto name = fmt::format("{}-{}", prefix, round);
    const auto netns = "/run/netns/" + name;
    make_netns(netns);
    std::vector<std::string> environment{
        "CNI_CONTAINERID=" + name,
        "CNI_NETNS=" + netns,
        "CNI_IFNAME=eth0",
        "CNI_PATH=" + options.text("cni-path"),
        "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
        fmt::format("CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={}", name),
        "CNI_COMMAND=ADD"};
    const auto added = call_plugin(plugin, configuration, environment);
    environment.back() = "CNI_COMMAND=DEL";
    const auto deleted = call_plugin(plugin, configuration, environment);
    ::umount2(netns.c_str(), MNT_DETACH);
    ::unlink(netns.c_str());
    errno = 0;
    check(added.status == 0, "ADD: " + added.output);
    check(deleted.status == 0, "DEL: " + deleted.output);
    add.push_back(added.milliseconds);
    del.push_back(deleted.milliseconds);
  }
  const auto add50 = percentile(add, 50);
  const auto del50 = percentile(del, 50);
  fmt::print(
      "{{\"add_p50_ms\":{:.3f},\"add_p99_ms\":{:.3f},\"del_p50_ms\":{:.3f},\"del_p99_ms\":{:.3f},\"rounds\":{}}}\n",
      add50, percentile(add, 99), del50, percentile(del, 99), add.size());
  return 0;
}

// --plugin PATH --config FILE --cni-path DIRS --host-netns PATH --namespace NAME --first N --count N --at-once N: ADD
// of the pods pod-N and those after it, so many at once, as a kubelet has it.
int run_plugin_burst(const Options& options) {
  const auto plugin = options.text("plugin");
  const auto configuration = read_file(options.text("config"));
  const auto space = options.text("namespace");
  const auto first = static_cast<int>(options.number("first", 0));
  const auto count = static_cast<int>(options.number("count", 10));
  const auto at_once = static_cast<int>(options.number("at-once", 1));
  enter_netns(options.text("host-netns", ""));
  const auto name_of = [](int pod) { return fmt::format("pod-{}", pod); };
  const auto netns_of = [](int pod) { return fmt::format("/run/netns/k8s-pod-{}", pod); };
  for (int pod = first; pod < first + count; ++pod) make_netns(netns_of(pod));
  std::vector<double> times(static_cast<std::size_t>(count));
  std::vector<Call> calls(static_cast<std::size_t>(count));
  for (int begin = 0; begin < count; begin += at_once) {
    std::vector<std::jthread> callers;
    for (int i = begin; i < std::min(count, begin + at_once); ++i)
      callers.emplace_back([&, i] {
        const std::vector<std::string> environment{
            "CNI_CONTAINERID=bench-" + name_of(first + i),
            "CNI_NETNS=" + netns_of(first + i),
            "CNI_IFNAME=eth0",
            "CNI_PATH=" + options.text("cni-path"),
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
            fmt::format("CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE={};K8S_POD_NAME={}", space, name_of(first + i)),
            "CNI_COMMAND=ADD"};
        calls[static_cast<std::size_t>(i)] = call_plugin(plugin, configuration, environment);
      });
  }
  for (std::size_t i = 0; i < calls.size(); ++i) {
    errno = 0;
    check(calls[i].status == 0, "ADD: " + calls[i].output);
    times[i] = calls[i].milliseconds;
  }
  const auto p50 = percentile(times, 50);
  fmt::print("{{\"add_p50_ms\":{:.3f},\"add_p99_ms\":{:.3f},\"pods\":{}}}\n", p50, percentile(times, 99), times.size());
  return 0;
}

// --binary weftd --config FILE --socket PATH [--netns PATH]: seconds from exec to the first status.
int run_start(const Options& options) {
  enter_netns(options.text("netns", ""));
  const auto binary = options.text("binary");
  const auto config = options.text("config");
  const auto socket = options.text("socket");
  const auto begin = now_ns();
  const pid_t child = ::fork();
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    ::dup2(null, 1);
    ::dup2(null, 2);
    ::execl(binary.c_str(), binary.c_str(), "--config", config.c_str(), nullptr);
    ::_exit(127);
  }
  for (;;) {
    errno = 0;
    check(now_ns() - begin < 30'000'000'000, "the agent does not serve");
    check(::waitpid(child, nullptr, WNOHANG) == 0, "the agent ended");
    const int api = connect_api(socket);
    if (api >= 0) {
      const std::string call = "{\"id\":1,\"method\":\"status\",\"params\":{}}\n";
      const bool sent = ::write(api, call.data(), call.size()) == static_cast<ssize_t>(call.size());
      const auto answer = sent ? read_line(api) : "";
      ::close(api);
      if (answer.find("\"result\"") != std::string::npos) break;
    }
    ::usleep(2000);
  }
  const auto seconds = static_cast<double>(now_ns() - begin) / 1e9;
  ::kill(child, SIGTERM);
  ::waitpid(child, nullptr, 0);
  fmt::print("{{\"seconds\":{:.4f}}}\n", seconds);
  return 0;
}

}  // namespace netbench
