// Real sockets in network namespaces, and programs on the devices of one.
#pragma once

#include <arpa/inet.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <future>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "base/ip.h"

namespace weft::test {

inline void shell(const std::string& command) {
  if (std::system(command.c_str()) != 0) throw std::runtime_error("failed: " + command);
}

// A named network namespace, for as long as this lives.
class Namespace {
 public:
  explicit Namespace(const std::string& role) : name_(fmt::format("weft-traffic-{}-{}", role, getpid())) {
    shell("ip netns add " + name_);
  }
  ~Namespace() {
    if (std::system(("ip netns del " + name_).c_str()) != 0) perror(name_.c_str());
  }
  Namespace(const Namespace&) = delete;
  Namespace& operator=(const Namespace&) = delete;
  [[nodiscard]] const std::string& name() const { return name_; }

  // Lines for ip(8), all of which must be taken.
  void ip(const std::string& lines) const {
    FILE* batch = popen(("ip -n " + name_ + " -batch -").c_str(), "w");
    if (batch == nullptr) throw std::runtime_error("cannot start ip");
    std::fwrite(lines.data(), 1, lines.size(), batch);
    if (pclose(batch) != 0) throw std::runtime_error("ip did not take:\n" + lines);
  }

  // Runs `work` on a thread inside.
  template <class Work>
  auto run(Work work) const {
    return std::async(std::launch::async, [name = name_, work] {
      const int fd = open(("/run/netns/" + name).c_str(), O_RDONLY | O_CLOEXEC);
      const int error = fd < 0 ? -1 : setns(fd, CLONE_NEWNET);
      if (fd >= 0) close(fd);
      if (error != 0) throw std::runtime_error("cannot enter " + name);
      return work();
    });
  }

 private:
  std::string name_;
};

class Hooks {
 public:
  // A program that is negative is none.
  Hooks(std::uint32_t device, int ingress, int egress) {
    hook_.sz = sizeof hook_;
    hook_.ifindex = static_cast<int>(device);
    hook_.attach_point = static_cast<bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS);
    if (bpf_tc_hook_create(&hook_) != 0) throw std::runtime_error("cannot make the clsact qdisc");
    for (const auto& [point, program] : {std::pair(BPF_TC_INGRESS, ingress), std::pair(BPF_TC_EGRESS, egress)}) {
      if (program < 0) continue;
      bpf_tc_hook one = hook_;
      one.attach_point = point;
      LIBBPF_OPTS(bpf_tc_opts, options);
      options.prog_fd = program;
      if (bpf_tc_attach(&one, &options) != 0) throw std::runtime_error("cannot attach");
    }
  }
  ~Hooks() { bpf_tc_hook_destroy(&hook_); }
  Hooks(const Hooks&) = delete;
  Hooks& operator=(const Hooks&) = delete;

 private:
  bpf_tc_hook hook_{};
};

struct Address {
  sockaddr_storage storage{};
  socklen_t length = 0;
  Address(const IpAddress& address, std::uint16_t port) {
    if (address.is_v4()) {
      sockaddr_in in{};
      in.sin_family = AF_INET;
      in.sin_port = htons(port);
      in.sin_addr.s_addr = htonl(address.to_v4());
      std::memcpy(&storage, &in, sizeof in);
      length = sizeof in;
    } else {
      sockaddr_in6 in{};
      in.sin6_family = AF_INET6;
      in.sin6_port = htons(port);
      std::memcpy(&in.sin6_addr, address.bytes().data(), 16);
      std::memcpy(&storage, &in, sizeof in);
      length = sizeof in;
    }
  }
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

class Endpoint {
 public:
  Endpoint(const IpAddress& like, int type) : fd_(socket(like.is_v4() ? AF_INET : AF_INET6, type | SOCK_CLOEXEC, 0)) {
    set_limit();
  }
  explicit Endpoint(int fd) : fd_(fd) { set_limit(); }
  Endpoint(Endpoint&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  ~Endpoint() {
    if (fd_ >= 0) close(fd_);
  }
  int connect_to(const IpAddress& address, std::uint16_t port) {
    const Address to(address, port);
    return connect(fd_, to.get(), to.length) == 0 ? 0 : errno;
  }
  void serve(const IpAddress& address, std::uint16_t port, bool stream) {
    const Address at(address, port);
    const int on = 1;
    setsockopt(fd_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd_, at.get(), at.length) != 0 || (stream && listen(fd_, 8) != 0))
      throw std::runtime_error(fmt::format("cannot listen: {}", std::strerror(errno)));
  }
  // And who it is from.
  Endpoint take(std::string& peer) {
    sockaddr_storage from{};
    socklen_t length = sizeof from;
    const int fd = accept(fd_, reinterpret_cast<sockaddr*>(&from), &length);
    std::array<char, 64> text{};
    if (from.ss_family == AF_INET)
      inet_ntop(AF_INET, &reinterpret_cast<sockaddr_in*>(&from)->sin_addr, text.data(), text.size());
    else
      inet_ntop(AF_INET6, &reinterpret_cast<sockaddr_in6*>(&from)->sin6_addr, text.data(), text.size());
    peer = text.data();
    return Endpoint(fd);
  }
  void never_fragment(bool v4) const {
    const int on = IP_PMTUDISC_DO;  // IPv6 calls it the same
    if (v4)
      setsockopt(fd_, IPPROTO_IP, IP_MTU_DISCOVER, &on, sizeof on);
    else
      setsockopt(fd_, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &on, sizeof on);
  }
  // What the network says of what was sent, within five seconds; 0: nothing.
  [[nodiscard]] int told() const {
    pollfd error{.fd = fd_, .events = 0, .revents = 0};
    int value = 0;
    socklen_t length = sizeof value;
    if (poll(&error, 1, 5000) == 1) getsockopt(fd_, SOL_SOCKET, SO_ERROR, &value, &length);
    return value;
  }
  int say(const std::string& text) {
    std::size_t sent = 0;
    while (sent < text.size()) {
      const auto size = send(fd_, text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
      if (size < 0) return errno;
      sent += static_cast<std::size_t>(size);
    }
    return 0;
  }
  // Bytes read until the end, an error, or `most`; the error.
  int hear(std::size_t& total, std::size_t most) {
    std::vector<char> buffer(65536);
    total = 0;
    while (total < most) {
      const auto size = recv(fd_, buffer.data(), buffer.size(), 0);
      if (size < 0) return errno;
      if (size == 0) return 0;
      total += static_cast<std::size_t>(size);
    }
    return 0;
  }

 private:
  void set_limit() const {
    const timeval limit{.tv_sec = 5, .tv_usec = 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  }
  int fd_;
};

}  // namespace weft::test
