// The server. TCP: a line "who" is answered by "NAME PEER PEERPORT", "stream" starts a checked
// stream: everything after it must be the pattern, and the count of good bytes is sent back (eight
// bytes, host order) after each read; all ones when a byte was wrong. UDP: "who N" and any padding
// in the pattern is answered by "NAME PEER PEERPORT SIZE ok|damaged", padded with the pattern to N bytes.
#include <fmt/format.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "sockets.h"

namespace weft::labtool {
namespace {

int open_socket(int type, int port) {
  const int fd = ::socket(AF_INET6, type | SOCK_CLOEXEC, 0);
  const int off = 0;
  const int on = 1;
  if (fd < 0) die("socket");
  ::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (type == SOCK_DGRAM) {
    // Answer from the address asked, as a server with several addresses must.
    ::setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on);
  }
  const Address any = parse_address("::", port);
  if (::bind(fd, any.get(), any.size) != 0) die("bind");
  if (type == SOCK_STREAM && ::listen(fd, 4096) != 0) die("listen");
  return fd;
}

void check_stream(int fd) {
  std::string buffer(256 * 1024, 0);
  std::uint64_t good = 0;
  while (true) {
    const ssize_t n = ::recv(fd, buffer.data(), buffer.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    const auto size = static_cast<std::size_t>(n);
    const bool fine = is_pattern({buffer.data(), size}, good);
    good = fine ? good + size : ~0ULL;
    write_all(fd, {reinterpret_cast<const char*>(&good), sizeof good});
    if (!fine) return;
  }
}

void answer_connection(int fd, const Address& peer, const std::string& name) {
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  std::string line;
  while (read_line(fd, line)) {
    if (line == "stream") {
      check_stream(fd);
      break;
    }
    write_all(fd, fmt::format("{} {}\n", name, peer.to_string()));
  }
  ::close(fd);
}

void answer_datagrams(int fd, const std::string& name) {
  std::string buffer(70'000, 0);
  std::string control(512, 0);
  while (true) {
    Address peer;
    iovec part{buffer.data(), buffer.size()};
    msghdr message{};
    message.msg_name = peer.get();
    message.msg_namelen = peer.size;
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t n = ::recvmsg(fd, &message, 0);
    if (n < 0) continue;  // an ICMP error about an earlier answer
    peer.size = message.msg_namelen;
    const std::string_view request(buffer.data(), static_cast<std::size_t>(n));
    const auto end = request.find('\n');
    const auto padding = end == std::string_view::npos ? std::string_view() : request.substr(end + 1);
    std::string answer = fmt::format("{} {} {} {}\n", name, peer.to_string(), n,
                                     is_pattern({padding.data(), padding.size()}, 0) ? "ok" : "damaged");
    const long wanted = request.starts_with("who ") ? std::strtol(buffer.data() + 4, nullptr, 10) : 0;
    const auto head = answer.size();
    if (wanted > 0 && static_cast<std::size_t>(wanted) > head) {
      answer.resize(static_cast<std::size_t>(wanted));
      fill_pattern({answer.data() + head, answer.size() - head}, 0);
    }
    part = {answer.data(), answer.size()};
    // The control message received names the local address: sent back, it is the source.
    if (::sendmsg(fd, &message, 0) < 0) fmt::print(stderr, "lab_traffic: an answer was not sent: {}\n", errno);
  }
}

// The file below /run/netns that is this process's namespace, without the lab's part: "default.web-0".
std::string namespace_name() {
  struct stat own {};
  ::stat("/proc/self/ns/net", &own);
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/run/netns", error)) {
    struct stat other {};
    if (::stat(entry.path().c_str(), &other) != 0 || other.st_ino != own.st_ino || other.st_dev != own.st_dev) continue;
    const std::string name = entry.path().filename();
    return name.substr(name.find('.') + 1);
  }
  return "server";
}

}  // namespace

int serve(const Arguments& arguments) {
  const int port = std::atoi(arguments.positional[0].c_str());
  const std::string name = arguments.text("name", namespace_name());
  const int listener = open_socket(SOCK_STREAM, port);
  const int datagrams = open_socket(SOCK_DGRAM, port);
  std::thread([datagrams, name] { answer_datagrams(datagrams, name); }).detach();
  fmt::print("ready\n");
  while (true) {
    // Asked later, a connection that was reset has no peer any more.
    Address peer;
    const int fd = ::accept4(listener, peer.get(), &peer.size, SOCK_CLOEXEC);
    if (fd >= 0) std::thread([fd, peer, name] { answer_connection(fd, peer, name); }).detach();
  }
}

}  // namespace weft::labtool
