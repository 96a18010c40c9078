// The client of a checked stream: sends numbered bytes, reads the counts the server found good.
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "sockets.h"

namespace weft::labtool {
namespace {

using std::chrono::milliseconds;

volatile std::sig_atomic_t stop_requested = 0;

class Stream {
 public:
  Stream(int fd, std::string server, const Arguments& arguments)
      : fd_(fd),
        server_(std::move(server)),
        limit_(static_cast<std::uint64_t>(arguments.number("bytes", 0))),
        rate_(static_cast<std::uint64_t>(arguments.number("rate", 0))),
        progress_file_(arguments.text("progress", "")),
        buffer_(128 * 1024, 0) {}

  int run() {
    start_ = last_progress_ = Clock::now();
    while (error_.empty() && !done()) {
      pollfd entry{fd_, static_cast<short>(POLLIN | (may_send() ? POLLOUT : 0)), 0};
      ::poll(&entry, 1, 10);
      if ((entry.revents & POLLOUT) != 0) send_some();
      if ((entry.revents & (POLLIN | POLLHUP | POLLERR)) != 0) receive();
      note();
    }
    note();
    write_progress();
    const std::chrono::duration<double> elapsed = Clock::now() - start_;
    fmt::print(
        "{{\"server\":\"{}\",\"sent\":{},\"good\":{},\"longest_stall_ms\":{},\"seconds\":{:.3f},\"error\":\"{}\"}}\n",
        server_, sent_, good_, longest_.count(), elapsed.count(), error_);
    return error_.empty() && good_ == sent_ ? 0 : 1;
  }

 private:
  [[nodiscard]] bool sending_over() const { return stop_requested != 0 || (limit_ != 0 && sent_ >= limit_); }
  [[nodiscard]] bool done() const { return sending_over() && good_ == sent_; }

  [[nodiscard]] bool may_send() const {
    if (sending_over()) return false;
    if (rate_ == 0) return true;
    const std::chrono::duration<double> elapsed = Clock::now() - start_;
    return static_cast<double>(sent_) < elapsed.count() * static_cast<double>(rate_);
  }

  void send_some() {
    auto size = buffer_.size();
    if (limit_ != 0) size = std::min<std::uint64_t>(size, limit_ - sent_);
    if (rate_ != 0) size = std::min<std::uint64_t>(size, std::max<std::uint64_t>(rate_ / 100, 1));
    fill_pattern({buffer_.data(), size}, sent_);
    const ssize_t n = ::send(fd_, buffer_.data(), size, MSG_NOSIGNAL);
    if (n > 0) {
      if (good_ == sent_) last_progress_ = Clock::now();  // nothing was outstanding: no stall before now
      sent_ += static_cast<std::uint64_t>(n);
    } else if (n < 0 && errno != EAGAIN && errno != EINTR) {
      error_ = std::strerror(errno);
    }
  }

  void receive() {
    const ssize_t n = ::recv(fd_, count_.data() + have_, count_.size() - have_, 0);
    if (n == 0) error_ = "the server closed the connection";
    if (n < 0 && errno != EAGAIN && errno != EINTR) error_ = std::strerror(errno);
    if (n <= 0) return;
    have_ += static_cast<std::size_t>(n);
    std::size_t at = 0;
    for (; have_ - at >= sizeof good_; at += sizeof good_) std::memcpy(&good_, count_.data() + at, sizeof good_);
    std::memmove(count_.data(), count_.data() + at, have_ - at);
    have_ -= at;
    if (good_ > sent_) error_ = "a byte arrived changed";
    longest_ = std::max(longest_, since_progress());
    last_progress_ = Clock::now();
  }

  [[nodiscard]] milliseconds since_progress() const {
    return std::chrono::duration_cast<milliseconds>(Clock::now() - last_progress_);
  }

  void note() {
    if (good_ != sent_) longest_ = std::max(longest_, since_progress());
    if (Clock::now() - last_note_ > milliseconds(20)) write_progress();
    if (stop_requested != 0 && good_ != sent_ && since_progress() > milliseconds(5000)) error_ = "stalled";
  }

  void write_progress() {
    last_note_ = Clock::now();
    if (progress_file_.empty()) return;
    const int file = ::open(progress_file_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    const auto text = fmt::format("{:020} {:010} {}\n", good_, longest_.count(), server_);
    if (file < 0 || ::pwrite(file, text.data(), text.size(), 0) < 0) die(progress_file_);
    ::close(file);
  }

  const int fd_;
  const std::string server_;
  const std::uint64_t limit_;
  const std::uint64_t rate_;
  const std::string progress_file_;
  std::string buffer_;
  std::string count_ = std::string(64 * 1024, 0);
  std::size_t have_ = 0;
  std::uint64_t sent_ = 0;
  std::uint64_t good_ = 0;
  milliseconds longest_{0};
  Clock::time_point start_;
  Clock::time_point last_progress_;
  Clock::time_point last_note_;
  std::string error_;
};

}  // namespace

int stream(const Arguments& arguments) {
  std::signal(SIGTERM, [](int) { stop_requested = 1; });
  const Address to = parse_address(arguments.positional[0], std::atoi(arguments.positional[1].c_str()));
  const int fd = ::socket(to.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) die("socket");
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  const timeval limit{3, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  if (::connect(fd, to.get(), to.size) != 0) die("connect to " + to.to_string());
  std::string server;
  write_all(fd, std::string_view("who\n"));
  if (!read_line(fd, server)) die("the server's name");
  write_all(fd, std::string_view("stream\n"));
  ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
  return Stream(fd, server.substr(0, server.find(' ')), arguments).run();
}

}  // namespace weft::labtool
