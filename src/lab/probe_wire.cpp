// The prober's sockets: everything pending at once, one epoll, no threads.
#include <fmt/format.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <map>
#include <string_view>

#include "base/fd.h"
#include "lab/probe.h"
#include "sys/netns.h"

namespace weft::lab {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr std::string_view question = "GET / HTTP/1.1\r\nHost: weft-lab\r\nConnection: close\r\n\r\n";
constexpr int most_datagrams = 3;  // sent until one is answered

struct Attempt {
  enum class State { connecting, reading, done };
  std::size_t index = 0;
  Fd fd;
  State state = State::connecting;
  Clock::time_point start;
  Clock::time_point deadline;
  Clock::time_point resend;  // datagrams only
  int sent = 0;
  std::string received;
};

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

SocketAddress socket_address(const IpAddress& address, std::uint16_t port) {
  SocketAddress result;
  if (address.is_v4()) {
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    v4.sin_addr.s_addr = htonl(address.to_v4());
    std::memcpy(&result.storage, &v4, sizeof v4);
    result.size = sizeof v4;
  } else {
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    std::memcpy(&v6.sin6_addr, address.bytes().data(), 16);
    std::memcpy(&result.storage, &v6, sizeof v6);
    result.size = sizeof v6;
  }
  return result;
}

bool is_icmp(Protocol protocol) { return protocol == Protocol::icmp || protocol == Protocol::icmpv6; }
bool is_datagram(Protocol protocol) { return protocol == Protocol::udp || is_icmp(protocol); }

int socket_type(Protocol protocol) {
  if (is_icmp(protocol)) return SOCK_RAW;
  return protocol == Protocol::udp ? SOCK_DGRAM : SOCK_STREAM;
}

// Header of an echo request or reply; the layouts of both families agree.
struct Echo {
  std::uint8_t type = 0;
  std::uint8_t code = 0;
  std::uint16_t checksum = 0;
  std::uint16_t id = 0;
  std::uint16_t sequence = 0;
};
static_assert(sizeof(Echo) == 8);

Echo echo_request(const Attempt& attempt, bool v6) {
  Echo echo;
  echo.type = v6 ? ICMP6_ECHO_REQUEST : ICMP_ECHO;
  // Different for every probe of this process: raw sockets see each other's answers.
  echo.id = static_cast<std::uint16_t>(static_cast<std::size_t>(::getpid()) * 31 + attempt.index);
  echo.sequence = static_cast<std::uint16_t>(attempt.index >> 8U);
  std::uint32_t sum = 0;
  for (const auto word : std::bit_cast<std::array<std::uint16_t, 4>>(echo)) sum += word;
  sum = (sum & 0xffffU) + (sum >> 16U);
  echo.checksum = static_cast<std::uint16_t>(~(sum + (sum >> 16U)));  // for IPv6 the kernel writes its own
  return echo;
}

// "web-0\n..." of the echo responder, or the body's first line of an HTTP response; empty while incomplete.
std::string name_in(std::string_view received) {
  if (received.starts_with("HTTP/")) {
    const auto head = received.find("\r\n\r\n");
    if (head == std::string_view::npos) return {};
    received.remove_prefix(head + 4);
  } else if (std::string_view("HTTP/").starts_with(received.substr(0, 5)) && received.size() < 5) {
    return {};
  }
  const auto end = received.find('\n');
  return end == std::string_view::npos ? std::string() : std::string(received.substr(0, end));
}

class Prober {
 public:
  Prober(const std::vector<Probe>& probes, std::vector<WireOutcome>& outcomes, milliseconds timeout)
      : probes_(probes), outcomes_(outcomes), timeout_(timeout), epoll_(::epoll_create1(EPOLL_CLOEXEC)) {}

  // Probes of one slice at once; `indices` are of one slice.
  void run(const std::vector<std::size_t>& indices) {
    attempts_.clear();
    attempts_.reserve(indices.size());
    std::map<std::string, std::vector<std::size_t>> by_namespace;
    for (const auto index : indices) by_namespace[probes_[index].from_netns].push_back(index);
    for (const auto& [name, members] : by_namespace) start_in(name, members);
    wait();
  }

 private:
  void start_in(const std::string& name, const std::vector<std::size_t>& indices) {
    const auto netns = sys::open_netns(sys::named_netns_path(name));
    auto scope = netns ? sys::NetnsScope::enter(netns->get()) : Result<sys::NetnsScope>(fail(netns.error()));
    for (const auto index : indices) {
      if (!scope)
        outcomes_[index].error = scope.error().message;
      else if (!probes_[index].address)
        outcomes_[index].error = "the target has no address of this family";
      else
        start(index);
    }
  }

  void start(std::size_t index) {
    const Probe& probe = probes_[index];
    WireOutcome& outcome = outcomes_[index];
    Attempt attempt;
    attempt.index = index;
    attempt.fd =
        Fd(::socket(probe.address->is_v4() ? AF_INET : AF_INET6,
                    socket_type(probe.protocol) | SOCK_NONBLOCK | SOCK_CLOEXEC, static_cast<int>(probe.protocol)));
    if (!attempt.fd.valid()) {
      outcome.error =
          fmt::format("this kernel opens no {} socket: {}", to_string(probe.protocol), std::strerror(errno));
      return;
    }
    attempt.start = Clock::now();
    attempt.deadline = attempt.start + timeout_;
    attempt.resend = attempt.start + timeout_ / most_datagrams;
    const auto address = socket_address(*probe.address, is_icmp(probe.protocol) ? std::uint16_t{0} : probe.port);
    if (::connect(attempt.fd.get(), address.get(), address.size) != 0 && errno != EINPROGRESS)
      return record_error(index, errno);
    if (is_datagram(probe.protocol)) {
      attempt.state = Attempt::State::reading;
      if (const int error = send_datagram(attempt); error != 0) return record_error(index, error);
    }
    epoll_event event{};
    event.events = is_datagram(probe.protocol) ? EPOLLIN : EPOLLOUT;
    event.data.u64 = attempts_.size();
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, attempt.fd.get(), &event);
    attempts_.push_back(std::move(attempt));
    ++pending_;
  }

  int send_datagram(Attempt& attempt) {
    const Probe& probe = probes_[attempt.index];
    ++attempt.sent;
    ssize_t n = 0;
    if (is_icmp(probe.protocol)) {
      const Echo echo = echo_request(attempt, probe.protocol == Protocol::icmpv6);
      n = ::send(attempt.fd.get(), &echo, sizeof echo, MSG_NOSIGNAL);
    } else {
      static constexpr std::string_view text = "weft lab probe\n";
      n = ::send(attempt.fd.get(), text.data(), text.size(), MSG_NOSIGNAL);
    }
    return n < 0 && errno != EAGAIN ? errno : 0;
  }

  void wait() {
    std::array<epoll_event, 256> events;  // NOLINT: filled by epoll_wait
    while (pending_ > 0) {
      const int ready = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), next_timeout());
      for (int i = 0; i < ready; ++i) advance(attempts_[events[static_cast<std::size_t>(i)].data.u64]);
      // Only when nothing is waiting to be read has somebody not answered: this process may have
      // been late, not the network.
      if (ready == 0) expire();
    }
  }

  [[nodiscard]] int next_timeout() const {
    auto next = Clock::time_point::max();
    for (const auto& attempt : attempts_)
      if (attempt.state != Attempt::State::done)
        next = std::min({next, attempt.deadline, may_resend(attempt) ? attempt.resend : attempt.deadline});
    const auto left = std::chrono::ceil<milliseconds>(next - Clock::now()).count();
    return static_cast<int>(std::clamp<long>(left, 0, 60'000));
  }

  [[nodiscard]] bool may_resend(const Attempt& attempt) const {
    return is_datagram(probes_[attempt.index].protocol) && attempt.sent < most_datagrams;
  }

  void expire() {
    const auto now = Clock::now();
    for (auto& attempt : attempts_) {
      if (attempt.state == Attempt::State::done) continue;
      if (now >= attempt.deadline) {
        expired(attempt);
      } else if (may_resend(attempt) && now >= attempt.resend) {
        attempt.resend += timeout_ / most_datagrams;
        if (const int error = send_datagram(attempt); error != 0) finish_with_error(attempt, error);
      }
    }
  }

  void expired(Attempt& attempt) {
    WireOutcome& outcome = outcomes_[attempt.index];
    const bool connected = outcome.reachable == true;
    if (!connected) outcome.reachable = false;
    outcome.error =
        fmt::format("{} within {} ms", connected ? "connected, but no name came" : "no answer", timeout_.count());
    finish(attempt);
  }

  void advance(Attempt& attempt) {
    if (attempt.state == Attempt::State::connecting)
      connected(attempt);
    else if (attempt.state == Attempt::State::reading)
      readable(attempt);
  }

  void connected(Attempt& attempt) {
    int error = 0;
    socklen_t size = sizeof error;
    ::getsockopt(attempt.fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) return finish_with_error(attempt, error);
    reached(attempt);
    if (!probes_[attempt.index].greets) return finish(attempt);
    // A socket that has just connected takes a few bytes.
    if (::send(attempt.fd.get(), question.data(), question.size(), MSG_NOSIGNAL) < 0)
      return finish_with_error(attempt, errno);
    attempt.state = Attempt::State::reading;
    attempt.deadline = Clock::now() + timeout_;
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = static_cast<std::uint64_t>(&attempt - attempts_.data());
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, attempt.fd.get(), &event);
  }

  void reached(const Attempt& attempt) {
    outcomes_[attempt.index].reachable = true;
    outcomes_[attempt.index].latency_us =
        std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - attempt.start).count();
  }

  void readable(Attempt& attempt) {
    const Probe& probe = probes_[attempt.index];
    std::array<char, 4096> data;  // NOLINT: filled by recv
    const ssize_t n = ::recv(attempt.fd.get(), data.data(), data.size(), 0);
    if (n < 0) {
      if (errno != EAGAIN) finish_with_error(attempt, errno);
      return;
    }
    const std::string_view received(data.data(), static_cast<std::size_t>(n));
    WireOutcome& outcome = outcomes_[attempt.index];
    if (is_icmp(probe.protocol)) {
      if (!is_own_reply(attempt, received)) return;
      reached(attempt);
      return finish(attempt);
    }
    if (probe.protocol == Protocol::udp) {
      reached(attempt);
      if (probe.greets) outcome.answered_by = name_in(received);
      return finish(attempt);
    }
    attempt.received += received;
    outcome.answered_by = name_in(attempt.received);
    if (outcome.answered_by.empty() && n > 0) return;
    if (outcome.answered_by.empty()) outcome.error = "connected, but it closed without a name";
    finish(attempt);
  }

  [[nodiscard]] bool is_own_reply(const Attempt& attempt, std::string_view packet) const {
    const bool v6 = probes_[attempt.index].protocol == Protocol::icmpv6;
    if (!v6) {  // raw IPv4 sockets see the IP header
      if (packet.empty()) return false;
      const std::size_t header = static_cast<std::size_t>(static_cast<unsigned char>(packet[0]) & 0x0fU) * 4;
      packet.remove_prefix(std::min(header, packet.size()));
    }
    Echo echo;
    if (packet.size() < sizeof echo) return false;
    std::memcpy(&echo, packet.data(), sizeof echo);
    const Echo own = echo_request(attempt, v6);
    return echo.type == (v6 ? ICMP6_ECHO_REPLY : ICMP_ECHOREPLY) && echo.id == own.id && echo.sequence == own.sequence;
  }

  void record_error(std::size_t index, int error) {
    WireOutcome& outcome = outcomes_[index];
    // A connection that was made was made, whatever became of it.
    if (outcome.reachable != true) outcome.reachable = false;
    outcome.refused = error == ECONNREFUSED;
    outcome.error = std::strerror(error);
  }

  void finish_with_error(Attempt& attempt, int error) {
    record_error(attempt.index, error);
    finish(attempt);
  }

  void finish(Attempt& attempt) {
    attempt.state = Attempt::State::done;
    attempt.fd.reset();
    --pending_;
  }

  const std::vector<Probe>& probes_;
  std::vector<WireOutcome>& outcomes_;
  const milliseconds timeout_;
  const Fd epoll_;
  std::vector<Attempt> attempts_;  // never grows while waiting: epoll holds their positions
  std::size_t pending_ = 0;
};

// How many sockets may be open at once, after asking for as many as are allowed.
std::size_t sockets_at_once() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 512;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  ::getrlimit(RLIMIT_NOFILE, &limit);
  return std::clamp<std::size_t>(limit.rlim_cur, 128, 8192 + 64) - 64;
}

}  // namespace

std::vector<WireOutcome> try_probes(const std::vector<Probe>& probes, std::chrono::milliseconds timeout) {
  std::vector<WireOutcome> outcomes(probes.size());
  Prober prober(probes, outcomes, timeout);
  const std::size_t slice = sockets_at_once();
  for (std::size_t first = 0; first < probes.size(); first += slice) {
    std::vector<std::size_t> indices;
    for (std::size_t i = first; i < std::min(probes.size(), first + slice); ++i) indices.push_back(i);
    prober.run(indices);
  }
  return outcomes;
}

}  // namespace weft::lab
