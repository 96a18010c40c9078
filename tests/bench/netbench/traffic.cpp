// Traffic between two namespaces. The server answers on three things: TCP `port` echoes, TCP
// `port + 1` swallows, UDP `port` echoes.
#include <fmt/format.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <initializer_list>

#include "bpfrt/link.h"
#include "netbench/netbench.h"

namespace netbench {
namespace {

enum class Role : std::uint32_t { echo_listener, sink_listener, echo, sink, datagram };

void watch(int epoll, int fd, Role role) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = static_cast<std::uint64_t>(role) << 32 | static_cast<std::uint32_t>(fd);
  check(::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0, "epoll_ctl");
}

void accept_all(int epoll, int listener, Role role) {
  for (;;) {
    const int fd = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    watch(epoll, fd, role);
  }
}

void serve_datagrams(int fd, std::array<char, 262144>& buffer) {
  sockaddr_storage from{};
  socklen_t size = sizeof from;
  for (;;) {
    const auto got = ::recvfrom(fd, buffer.data(), buffer.size(), 0, reinterpret_cast<sockaddr*>(&from), &size);
    if (got < 0) return;
    ::sendto(fd, buffer.data(), static_cast<std::size_t>(got), 0, reinterpret_cast<sockaddr*>(&from), size);
  }
}

void serve_stream(int fd, Role role, std::array<char, 262144>& buffer) {
  const auto got = ::read(fd, buffer.data(), buffer.size());
  if (got > 0) {
    if (role == Role::echo && ::write(fd, buffer.data(), static_cast<std::size_t>(got)) != got) ::close(fd);
    return;
  }
  if (got < 0 && errno == EAGAIN) return;
  ::close(fd);
}

void set_features(const std::string& device, std::initializer_list<std::uint32_t> what, std::uint32_t on) {
  const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  check(fd >= 0, "socket");
  for (const std::uint32_t command : what) {
    ethtool_value value{};
    value.cmd = command;
    value.data = on;
    ifreq request{};
    std::strncpy(request.ifr_name, device.c_str(), IFNAMSIZ - 1);
    request.ifr_data = reinterpret_cast<char*>(&value);
    check(::ioctl(fd, SIOCETHTOOL, &request) == 0, "ethtool " + device);
  }
  ::close(fd);
}

// Segments leave the sender one by one: what a packet costs, not what segmentation saves.
void switch_offloads_off(const std::string& device) { set_features(device, {ETHTOOL_STSO, ETHTOOL_SGSO}, 0); }

struct Target {
  std::string address;
  int port = 0;
  std::uint64_t duration_ns = 0;
};

Target prepare(const Options& options) {
  enter_netns(options.text("netns", ""));
  pin(static_cast<int>(options.number("cpu", -1)));
  return {options.text("address"), static_cast<int>(options.number("port", 7000)),
          static_cast<std::uint64_t>(options.number("seconds", 1) * 1e9)};
}

bool one_byte_there_and_back(int fd) {
  char byte = 'x';
  return ::write(fd, &byte, 1) == 1 && ::read(fd, &byte, 1) == 1;
}

}  // namespace

// --netns --device NAME: frames leave a veth as they would arrive from a network card, with their checksums
// made, and what XDP sends back to it is taken.
int run_wire(const Options& options) {
  enter_netns(options.text("netns", ""));
  set_features(options.text("device"), {ETHTOOL_STXCSUM, ETHTOOL_STSO}, 0);
  // A veth takes what XDP sends it only where its own end has a program.
  const auto attached =
      weft::bpfrt::attach_pass_through(static_cast<int>(::if_nametoindex(options.text("device").c_str())));
  if (!attached) fmt::print(stderr, "netbench wire: {}\n", attached.error().message);
  return attached ? 0 : 1;
}

int run_server(const Options& options) {
  enter_netns(options.text("netns", ""));
  pin(static_cast<int>(options.number("cpu", -1)));
  const auto address = options.text("address", "::");
  const int port = static_cast<int>(options.number("port", 7000));
  const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
  check(epoll >= 0, "epoll_create1");
  watch(epoll, listen_on(address, port, SOCK_STREAM), Role::echo_listener);
  watch(epoll, listen_on(address, port + 1, SOCK_STREAM), Role::sink_listener);
  watch(epoll, listen_on(address, port, SOCK_DGRAM), Role::datagram);
  fmt::print("ready\n");
  std::fflush(stdout);
  static std::array<char, 262144> buffer;
  std::array<epoll_event, 64> events{};
  for (;;) {
    const int count = ::epoll_wait(epoll, events.data(), events.size(), -1);
    if (count < 0 && errno == EINTR) continue;
    check(count >= 0, "epoll_wait");
    for (int i = 0; i < count; ++i) {
      const auto data = events[static_cast<std::size_t>(i)].data.u64;
      const auto role = static_cast<Role>(data >> 32);
      const auto fd = static_cast<int>(data & 0xffffffff);
      if (role == Role::echo_listener)
        accept_all(epoll, fd, Role::echo);
      else if (role == Role::sink_listener)
        accept_all(epoll, fd, Role::sink);
      else if (role == Role::datagram)
        serve_datagrams(fd, buffer);
      else
        serve_stream(fd, role, buffer);
    }
  }
}

int run_request_response(const Options& options) {
  const auto target = prepare(options);
  const int fd = connect_patiently(target.address, target.port, SOCK_STREAM);
  for (int i = 0; i < 200; ++i) check(one_byte_there_and_back(fd), "warm-up");
  std::vector<double> times;
  times.reserve(200'000);
  const auto begin = now_ns();
  auto last = begin;
  while (last - begin < target.duration_ns) {
    check(one_byte_there_and_back(fd), "request");
    const auto now = now_ns();
    times.push_back(static_cast<double>(now - last) / 1000);
    last = now;
  }
  const auto rate = static_cast<double>(times.size()) / (static_cast<double>(last - begin) / 1e9);
  const auto p50 = percentile(times, 50);
  fmt::print("{{\"p50_us\":{:.2f},\"p99_us\":{:.2f},\"per_second\":{:.0f}}}\n", p50, percentile(times, 99), rate);
  return 0;
}

int run_connections(const Options& options) {
  const auto target = prepare(options);
  ::close(connect_patiently(target.address, target.port, SOCK_STREAM));
  std::uint64_t count = 0;
  std::uint64_t refused = 0;
  const auto begin = now_ns();
  auto now = begin;
  while (now - begin < target.duration_ns) {
    const int fd = connect_to(target.address, target.port, SOCK_STREAM);
    if (fd >= 0 && one_byte_there_and_back(fd))
      ++count;
    else
      ++refused;
    if (fd >= 0) ::close(fd);
    now = now_ns();
  }
  fmt::print("{{\"per_second\":{:.0f},\"failed\":{}}}\n",
             static_cast<double>(count) / (static_cast<double>(now - begin) / 1e9), refused);
  return 0;
}

int run_stream(const Options& options) {
  const auto target = prepare(options);
  if (options.has("no-offload")) switch_offloads_off(options.text("no-offload"));
  const int fd = connect_patiently(target.address, target.port + 1, SOCK_STREAM);
  static std::array<char, 131072> buffer;
  std::uint64_t bytes = 0;
  const auto begin = now_ns();
  auto now = begin;
  while (now - begin < target.duration_ns) {
    const auto sent = ::write(fd, buffer.data(), buffer.size());
    check(sent > 0, "write");
    bytes += static_cast<std::uint64_t>(sent);
    now = now_ns();
  }
  fmt::print("{{\"gbit_per_second\":{:.3f}}}\n", static_cast<double>(bytes) * 8 / static_cast<double>(now - begin));
  return 0;
}

}  // namespace netbench
