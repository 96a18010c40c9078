// Many short connections, or datagrams, and who answered them: for balance, disruption, and nothing
// lost while something changes. Prints one JSON object; exit code 0 when nothing failed.
#include <fmt/format.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <map>
#include <mutex>
#include <thread>

#include "sockets.h"

namespace weft::labtool {
namespace {

using std::chrono::milliseconds;

volatile std::sig_atomic_t stop_requested = 0;

// What all threads together saw.
struct Tally {
  std::mutex mutex;
  std::uint64_t good = 0;
  std::map<std::string, std::uint64_t> servers;
  std::map<std::string, std::uint64_t> errors;
  std::map<long, std::string> by_number;
  std::vector<int> held;
  milliseconds longest{0};
};

class Load {
 public:
  explicit Load(const Arguments& arguments)
      : udp_(arguments.positional[0] == "udp"),
        to_(parse_address(arguments.positional[1], std::atoi(arguments.positional[2].c_str()))),
        count_(arguments.number("count", 0)),
        seconds_(arguments.number("seconds", count_ == 0 ? 1 : 0)),
        first_port_(arguments.number("first-port", 0)),
        timeout_(arguments.number("timeout", 3000)),
        pause_(arguments.number("pause", 0)),
        hold_(arguments.has("hold")),
        source_(arguments.text("source", "")) {}

  void run(long threads) {
    end_ = Clock::now() + std::chrono::seconds(seconds_);
    std::vector<std::thread> workers;
    for (long i = 0; i < threads; ++i) workers.emplace_back([this] { work(); });
    for (auto& worker : workers) worker.join();
  }

  [[nodiscard]] Tally& tally() { return tally_; }

 private:
  void work() {
    while (stop_requested == 0) {
      const long number = next_++;
      if (count_ != 0 && number >= count_) return;
      if (seconds_ != 0 && Clock::now() >= end_) return;
      const auto start = Clock::now();
      std::string line;
      const int error = once(number, line);
      const auto took = std::chrono::duration_cast<milliseconds>(Clock::now() - start);
      const auto name = line.substr(0, line.find(' '));
      {
        const std::scoped_lock lock(tally_.mutex);
        tally_.longest = std::max(tally_.longest, took);
        if (error == 0) {
          ++tally_.good;
          ++tally_.servers[name];
        } else {
          ++tally_.errors[word_for(error)];
        }
        if (first_port_ != 0) tally_.by_number[first_port_ + number] = error == 0 ? name : word_for(error);
      }
      if (pause_ != 0) std::this_thread::sleep_for(milliseconds(pause_));
    }
  }

  // One question; an errno when it was not answered.
  int once(long number, std::string& line) {
    const int fd = ::socket(to_.family(), (udp_ ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
    if (fd < 0) return errno;
    const timeval limit{timeout_ / 1000, timeout_ % 1000 * 1000};
    ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    const int error = talk(fd, number, line);
    if (error == 0 && hold_) {
      const std::scoped_lock lock(tally_.mutex);
      tally_.held.push_back(fd);
      return 0;
    }
    // A reset: the port is free again at once, for the next round of the same numbers.
    const linger at_once{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    ::close(fd);
    return error;
  }

  int talk(int fd, long number, std::string& line) {
    // Not for datagrams: two sockets that let each other reuse it may be given one port at once.
    if (const int on = 1; !udp_) ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (first_port_ != 0 || !source_.empty()) {
      const auto any = to_.family() == AF_INET ? "0.0.0.0" : "::";
      const Address from =
          parse_address(source_.empty() ? any : source_, first_port_ == 0 ? 0 : static_cast<int>(first_port_ + number));
      if (::bind(fd, from.get(), from.size) != 0) return errno;
    }
    if (::connect(fd, to_.get(), to_.size) != 0) return errno == EINPROGRESS ? ETIMEDOUT : errno;
    if (::send(fd, "who\n", 4, MSG_NOSIGNAL) != 4) return errno;
    std::array<char, 512> buffer;  // NOLINT: filled by recv
    while (line.find('\n') == std::string::npos) {
      const ssize_t n = ::recv(fd, buffer.data(), buffer.size(), 0);
      if (n == 0) return ECONNRESET;
      if (n < 0) return errno == EAGAIN ? ETIMEDOUT : errno;
      line.append(buffer.data(), static_cast<std::size_t>(n));
    }
    return 0;
  }

  const bool udp_;
  const Address to_;
  const long count_;
  const long seconds_;
  const long first_port_;
  const long timeout_;
  const long pause_;
  const bool hold_;
  const std::string source_;
  Clock::time_point end_;
  std::atomic<long> next_{0};
  Tally tally_;
};

std::string object(const std::map<std::string, std::uint64_t>& counts) {
  std::string text;
  for (const auto& [name, count] : counts) text += fmt::format("{}\"{}\":{}", text.empty() ? "" : ",", name, count);
  return "{" + text + "}";
}

}  // namespace

int load(const Arguments& arguments) {
  std::signal(SIGTERM, [](int) { stop_requested = 1; });
  Load load(arguments);
  const auto start = Clock::now();
  load.run(arguments.number("threads", 4));
  const std::chrono::duration<double> elapsed = Clock::now() - start;
  const Tally& tally = load.tally();
  std::uint64_t failed = 0;
  for (const auto& [word, count] : tally.errors) failed += count;
  std::string numbers;
  for (const auto& [port, server] : tally.by_number)
    numbers += fmt::format("{}\"{}\":\"{}\"", numbers.empty() ? "" : ",", port, server);
  fmt::print(
      "{{\"good\":{},\"failed\":{},\"longest_ms\":{},\"seconds\":{:.3f},\"servers\":{},\"errors\":{},\"ports\":{{{}}}}}"
      "\n",
      tally.good, failed, tally.longest.count(), elapsed.count(), object(tally.servers), object(tally.errors), numbers);
  std::fflush(stdout);
  if (arguments.has("hold"))
    while (stop_requested == 0) ::pause();
  return failed == 0 && tally.good > 0 ? 0 : 1;
}

}  // namespace weft::labtool
