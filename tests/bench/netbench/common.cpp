#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>
#include <ctime>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

#include "netbench/netbench.h"

namespace netbench {

Options::Options(int argc, char** argv) {
  for (int i = 2; i < argc; i += 2) {
    const std::string key = argv[i];
    errno = 0;
    check(key.starts_with("--") && i + 1 < argc, fmt::format("expected --key value, found {}", key));
    values_[key.substr(2)] = argv[i + 1];
  }
}

std::string Options::text(const std::string& key) const {
  errno = 0;
  check(has(key), fmt::format("--{} is needed", key));
  return values_.at(key);
}

std::string Options::text(const std::string& key, const std::string& fallback) const {
  const auto found = values_.find(key);
  return found == values_.end() ? fallback : found->second;
}

double Options::number(const std::string& key, double fallback) const {
  const auto found = values_.find(key);
  return found == values_.end() ? fallback : std::strtod(found->second.c_str(), nullptr);
}

void die(const std::string& what) {
  fmt::print(stderr, "netbench: {}{}{}\n", what, errno != 0 ? ": " : "", errno != 0 ? std::strerror(errno) : "");
  std::exit(1);
}

void check(bool good, const std::string& what) {
  if (!good) die(what);
}

void enter_netns(const std::string& path) {
  if (path.empty()) return;
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  check(fd >= 0, path);
  check(::setns(fd, CLONE_NEWNET) == 0, "setns " + path);
  ::close(fd);
}

void pin(int cpu) {
  if (cpu < 0) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<unsigned>(cpu), &set);
  check(::sched_setaffinity(0, sizeof set, &set) == 0, "sched_setaffinity");
}

std::uint64_t now_ns() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(time.tv_nsec);
}

double percentile(std::vector<double>& values, double percent) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const auto rank = static_cast<std::size_t>(std::ceil(percent / 100 * static_cast<double>(values.size())));
  return values[std::clamp<std::size_t>(rank, 1, values.size()) - 1];
}

std::string read_file(const std::string& path) {
  std::ifstream file(path);
  check(file.good(), path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string json_text(const std::string& raw) {
  std::string quoted = "\"";
  for (const char c : raw) {
    if (c == '"' || c == '\\')
      quoted += {'\\', c};
    else if (c == '\n')
      quoted += "\\n";
    else
      quoted += c;
  }
  return quoted + '"';
}

namespace {

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
};

Address parse_address(const std::string& text, int port) {
  Address address;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&address.storage);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&address.storage);
  if (::inet_pton(AF_INET, text.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(static_cast<std::uint16_t>(port));
    address.size = sizeof *v4;
  } else {
    errno = 0;
    check(::inet_pton(AF_INET6, text.c_str(), &v6->sin6_addr) == 1, text + " is no address");
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(static_cast<std::uint16_t>(port));
    address.size = sizeof *v6;
  }
  return address;
}

}  // namespace

int listen_on(const std::string& address, int port, int type) {
  const auto where = parse_address(address, port);
  const int fd = ::socket(where.storage.ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  check(fd >= 0, "socket");
  const int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  check(::bind(fd, reinterpret_cast<const sockaddr*>(&where.storage), where.size) == 0,
        fmt::format("bind {} {}", address, port));
  if (type == SOCK_STREAM) check(::listen(fd, 4096) == 0, "listen");
  return fd;
}

int connect_to(const std::string& address, int port, int type) {
  const auto where = parse_address(address, port);
  const int fd = ::socket(where.storage.ss_family, type | SOCK_CLOEXEC, 0);
  check(fd >= 0, "socket");
  const int on = 1;
  if (type == SOCK_STREAM) ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&where.storage), where.size) == 0) return fd;
  const int reason = errno;
  ::close(fd);
  errno = reason;
  return -1;
}

int connect_patiently(const std::string& address, int port, int type) {
  const auto end = now_ns() + 5'000'000'000;
  for (;;) {
    const int fd = connect_to(address, port, type);
    if (fd >= 0) return fd;
    check(now_ns() < end, fmt::format("connect to {} {}", address, port));
    ::usleep(20'000);
  }
}

}  // namespace netbench
