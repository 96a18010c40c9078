#include "install/probe.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "base/fd.h"

namespace weft::install {

using nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

constexpr milliseconds one_try{1000};
constexpr milliseconds between_tries{500};

struct Seen {
  bool answered = false;
  std::string what;
};

struct FreeAddresses {
  void operator()(addrinfo* list) const { ::freeaddrinfo(list); }
};
using Addresses = std::unique_ptr<addrinfo, FreeAddresses>;

// Waits for `events`; false when the time is over.
bool ready(int fd, short events, steady_clock::time_point until) {
  while (true) {
    const auto left = std::chrono::duration_cast<milliseconds>(until - steady_clock::now()).count();
    if (left <= 0) return false;
    pollfd wanted{.fd = fd, .events = events, .revents = 0};
    const int count = ::poll(&wanted, 1, static_cast<int>(left));
    if (count > 0) return true;
    if (count == 0 || errno != EINTR) return false;
  }
}

Seen no_answer() { return {false, fmt::format("no answer within {} ms", one_try.count())}; }
Seen error_text(int number) { return {false, std::strerror(number)}; }

Seen answer_of(int fd, steady_clock::time_point begun) {
  const auto until = begun + one_try;
  std::array<char, 256> bytes{};
  std::string text;
  while (true) {
    if (!ready(fd, POLLIN, until)) return text.empty() ? no_answer() : Seen{true, text};
    const ssize_t size = ::recv(fd, bytes.data(), bytes.size(), 0);
    if (size < 0) return error_text(errno);
    text.append(bytes.data(), static_cast<std::size_t>(size));
    if (size == 0 || text.find('\n') != std::string::npos) break;
  }
  text = text.substr(0, text.find('\n'));
  if (text.empty()) return {false, "the connection was closed without an answer"};
  const std::chrono::duration<double, std::milli> took = steady_clock::now() - begun;
  return {true, fmt::format("{} in {:.1f} ms", text, took.count())};
}

Seen ask(const Probe& probe, const addrinfo& address) {
  const auto begun = steady_clock::now();
  const bool udp = probe.kind == "udp";
  const Fd fd(::socket(address.ai_family, (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return error_text(errno);
  if (::connect(fd.get(), address.ai_addr, address.ai_addrlen) != 0 && errno != EINPROGRESS) return error_text(errno);
  if (udp) {
    if (::send(fd.get(), "?\n", 2, MSG_NOSIGNAL) < 0) return error_text(errno);
    return answer_of(fd.get(), begun);
  }
  if (!ready(fd.get(), POLLOUT, begun + one_try))
    return {false, fmt::format("no connection within {} ms", one_try.count())};
  int error = 0;
  socklen_t size = sizeof error;
  ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) return error_text(error);
  if (probe.kind == "connect") return {true, "connected"};
  return answer_of(fd.get(), begun);
}

Seen once(const Probe& probe) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int failed = ::getaddrinfo(probe.to.c_str(), std::to_string(probe.port).c_str(), &hints, &found);
  const Addresses addresses(found);
  if (failed != 0) return {false, fmt::format("{} has no address: {}", probe.to, ::gai_strerror(failed))};
  if (probe.kind != "lookup") return ask(probe, *addresses);
  std::array<char, NI_MAXHOST> text{};
  ::getnameinfo(addresses->ai_addr, addresses->ai_addrlen, text.data(), text.size(), nullptr, 0, NI_NUMERICHOST);
  return {true, text.data()};
}

ProbeResult run(const Probe& probe, milliseconds limit) {
  const auto until = steady_clock::now() + limit;
  int in_a_row = 0;
  while (true) {
    const auto seen = once(probe);
    if (seen.answered == probe.answers) {
      if (probe.answers || ++in_a_row == 2) return {true, seen.what};
      std::this_thread::sleep_for(milliseconds(1000));
      continue;
    }
    in_a_row = 0;
    if (steady_clock::now() + between_tries >= until) return {false, seen.what};
    std::this_thread::sleep_for(between_tries);
  }
}

// On all addresses of both families, or of IPv4 where there is no IPv6.
Result<Fd> listen_at(int type, std::uint16_t port) {
  const auto what = fmt::format("port {}/{}", port, type == SOCK_DGRAM ? "UDP" : "TCP");
  Fd fd(::socket(AF_INET6, type | SOCK_CLOEXEC, 0));
  const int off = 0;
  const int on = 1;
  sockaddr_in6 six{};
  six.sin6_family = AF_INET6;
  six.sin6_port = htons(port);
  sockaddr_in four{};
  four.sin_family = AF_INET;
  four.sin_port = htons(port);
  bool bound = false;
  if (fd.valid()) {
    ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    bound = ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&six), sizeof six) == 0;
  }
  if (!bound) {
    fd = Fd(::socket(AF_INET, type | SOCK_CLOEXEC, 0));
    ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&four), sizeof four) != 0)
      return fail(errno_error(what, errno));
  }
  if (type == SOCK_STREAM && ::listen(fd.get(), 128) != 0) return fail(errno_error(what, errno));
  return fd;
}

void answer_one(int fd, bool stream, const std::string& text) {
  if (stream) {
    const Fd peer(::accept4(fd, nullptr, nullptr, SOCK_CLOEXEC));
    if (peer.valid()) ::send(peer.get(), text.data(), text.size(), MSG_NOSIGNAL);
    return;
  }
  sockaddr_storage from{};
  socklen_t size = sizeof from;
  std::array<char, 64> bytes{};
  if (::recvfrom(fd, bytes.data(), bytes.size(), 0, reinterpret_cast<sockaddr*>(&from), &size) >= 0)
    ::sendto(fd, text.data(), text.size(), MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&from), size);
}

Result<json> parse_list(const std::string& text) {
  auto list = json::parse(text, nullptr, false);
  if (list.is_array()) return list;
  return fail(ErrorCode::invalid, fmt::format("expected a list in JSON, found \"{}\"", text.substr(0, 200)));
}

}  // namespace

json to_json(const std::vector<Probe>& probes) {
  json list = json::array();
  for (const auto& [name, kind, to, port, answers] : probes)
    list.push_back({{"name", name}, {"kind", kind}, {"to", to}, {"port", port}, {"answers", answers}});
  return list;
}

json to_json(const std::vector<ProbeResult>& results) {
  json list = json::array();
  for (const auto& [good, saw] : results) list.push_back({{"good", good}, {"saw", saw}});
  return list;
}

Result<std::vector<Probe>> probes_from(const std::string& text) {
  WEFT_TRY(const auto list, parse_list(text));
  std::vector<Probe> probes;
  for (const auto& item : list)
    probes.push_back({item.value("name", ""), item.value("kind", ""), item.value("to", ""),
                      item.value("port", std::uint16_t{0}), item.value("answers", true)});
  return probes;
}

Result<std::vector<ProbeResult>> results_from(const std::string& text) {
  WEFT_TRY(const auto list, parse_list(text));
  std::vector<ProbeResult> results;
  for (const auto& item : list)
    if (item.is_object()) results.push_back({item.value("good", false), item.value("saw", "")});
  return results;
}

std::vector<ProbeResult> run_probes(const std::vector<Probe>& probes, milliseconds limit) {
  // Side by side: one that waits for its limit holds up nobody.
  std::vector<ProbeResult> results(probes.size());
  std::vector<std::jthread> threads;
  for (std::size_t i = 0; i < probes.size(); ++i) threads.emplace_back([&, i] { results[i] = run(probes[i], limit); });
  threads.clear();
  return results;
}

Error serve(const std::string& name, const std::vector<std::uint16_t>& ports) {
  std::vector<Fd> sockets;
  std::vector<pollfd> waited;
  for (const auto port : ports)
    for (const int type : {SOCK_STREAM, SOCK_DGRAM}) {
      auto fd = listen_at(type, port);
      if (!fd) return fd.error();
      waited.push_back({.fd = fd->get(), .events = POLLIN, .revents = 0});
      sockets.push_back(std::move(*fd));
    }
  while (true) {
    if (::poll(waited.data(), waited.size(), -1) < 0 && errno != EINTR) return errno_error("poll", errno);
    for (std::size_t i = 0; i < waited.size(); ++i)
      if ((waited[i].revents & POLLIN) != 0) answer_one(waited[i].fd, i % 2 == 0, name + "\n");
  }
}

}  // namespace weft::install
