#if defined(__clang__)  // this asio recognises only g++'s coroutines by itself; clang-tidy reads the file too
#define ASIO_HAS_CO_AWAIT 1
#define ASIO_HAS_STD_COROUTINE 1
#endif

#include "lab/responder.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <asio/awaitable.hpp>
#include <asio/buffer.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/read.hpp>
#include <asio/read_until.hpp>
#include <asio/redirect_error.hpp>
#include <asio/steady_timer.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/write.hpp>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <list>

#include "base/fd.h"
#include "lab/http.h"
#include "sys/netns.h"

namespace weft::lab {
namespace {

using asio::awaitable;
using asio::ip::tcp;

constexpr std::size_t largest_http_head = 65536;

// A listening or receiving socket for both families, or IPv4 alone where the kernel has no IPv6.
struct OpenSocket {
  Fd fd;
  int family = AF_INET6;
};

Result<OpenSocket> open_socket(const ResponderPort& port) {
  const bool datagrams = port.protocol == Protocol::udp;
  const int type = (datagrams ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC | SOCK_NONBLOCK;
  const int protocol = static_cast<int>(port.protocol);
  OpenSocket opened{Fd(::socket(AF_INET6, type, protocol)), AF_INET6};
  if (!opened.fd.valid() && errno == EAFNOSUPPORT) opened = {Fd(::socket(AF_INET, type, protocol)), AF_INET};
  if (!opened.fd.valid()) return fail(errno_error("socket", errno));
  const int off = 0;
  const int on = 1;
  const int fd = opened.fd.get();
  ::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (datagrams) {
    ::setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on);
    ::setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof on);
  }
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(port.port);
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_port = htons(port.port);
  const bool six = opened.family == AF_INET6;
  const auto* address = six ? reinterpret_cast<const sockaddr*>(&v6) : reinterpret_cast<const sockaddr*>(&v4);
  if (::bind(fd, address, six ? sizeof v6 : sizeof v4) < 0) return fail(errno_error("bind", errno));
  if (!datagrams && ::listen(fd, 256) < 0) return fail(errno_error("listen", errno));
  return opened;
}

// Receives one datagram and answers it with `text` from the address it was sent to: the routing
// table would choose another one on a host with several. False when there was none.
bool answer_datagram(int fd, const std::string& text) {
  std::array<char, 65536> data;  // NOLINT: filled by recvmsg
  alignas(cmsghdr) std::array<char, 256> control{};
  sockaddr_storage peer{};
  iovec received{data.data(), data.size()};
  msghdr message{};
  message.msg_name = &peer;
  message.msg_namelen = sizeof peer;
  message.msg_iov = &received;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  if (::recvmsg(fd, &message, 0) < 0) return errno != EAGAIN;
  // What came back is sent again: PKTINFO names the local address in both directions.
  for (cmsghdr* item = CMSG_FIRSTHDR(&message); item != nullptr; item = CMSG_NXTHDR(&message, item)) {
    if (item->cmsg_level == IPPROTO_IPV6 && item->cmsg_type == IPV6_PKTINFO) {
      in6_pktinfo info{};
      std::memcpy(&info, CMSG_DATA(item), sizeof info);
      if (IN6_IS_ADDR_V4MAPPED(&info.ipi6_addr)) info.ipi6_ifindex = 0;
      std::memcpy(CMSG_DATA(item), &info, sizeof info);
    } else if (item->cmsg_level == IPPROTO_IP && item->cmsg_type == IP_PKTINFO) {
      in_pktinfo info{};
      std::memcpy(&info, CMSG_DATA(item), sizeof info);
      info.ipi_spec_dst = info.ipi_addr;
      info.ipi_ifindex = 0;
      std::memcpy(CMSG_DATA(item), &info, sizeof info);
    }
  }
  iovec answer{const_cast<char*>(text.data()), text.size()};
  message.msg_iov = &answer;
  message.msg_flags = 0;
  ::sendmsg(fd, &message, MSG_NOSIGNAL);
  return true;
}

}  // namespace

bool speaks_http(std::string_view port_name, std::uint16_t port, Protocol protocol) {
  if (protocol != Protocol::tcp) return false;
  return port_name == "http" || port_name.starts_with("http-") || port == 80 || port == 8080;
}

// The sockets of one pod. Its coroutines share it, so that it lives until the last has ended.
class Responders::Group : public std::enable_shared_from_this<Responders::Group> {
 public:
  Group(asio::io_context& loop, std::string name) : loop_(loop), line_(name + "\n"), name_(std::move(name)) {}

  void add(OpenSocket opened, const ResponderPort& port) {
    if (port.protocol == Protocol::udp) {
      auto& socket = datagrams_.emplace_back(loop_, opened.fd.release());
      asio::co_spawn(loop_, serve_datagrams(shared_from_this(), socket), asio::detached);
    } else {
      auto& acceptor = acceptors_.emplace_back(loop_);
      acceptor.assign(opened.family == AF_INET6 ? tcp::v6() : tcp::v4(), opened.fd.release());
      asio::co_spawn(loop_, accept(shared_from_this(), acceptor, port.http), asio::detached);
    }
  }

  void close() {
    closed_ = true;
    asio::error_code ignored;
    for (auto& acceptor : acceptors_) acceptor.close(ignored);
    for (auto& socket : datagrams_) socket.close(ignored);
    for (auto& socket : connections_) socket.close(ignored);
  }

 private:
  using Self = std::shared_ptr<Group>;
  using Connections = std::list<tcp::socket>;

  static awaitable<void> accept(Self self, tcp::acceptor& acceptor, bool http) {
    asio::error_code error;
    while (!self->closed_) {
      auto socket = co_await acceptor.async_accept(asio::redirect_error(asio::use_awaitable, error));
      if (self->closed_) co_return;
      if (error) {  // out of descriptors, most likely: let some connections end
        asio::steady_timer pause(self->loop_, std::chrono::milliseconds(50));
        co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, error));
        continue;
      }
      socket.set_option(tcp::no_delay(true), error);  // not on SCTP, which does not matter
      const auto connection = self->connections_.insert(self->connections_.end(), std::move(socket));
      asio::co_spawn(self->loop_, serve(self, connection, http), asio::detached);
    }
  }

  static awaitable<void> serve(Self self, Connections::iterator connection, bool http) {
    if (http)
      co_await serve_http(*self, *connection);
    else
      co_await serve_echo(*self, *connection);
    self->connections_.erase(connection);
  }

  static awaitable<void> serve_echo(Group& self, tcp::socket& socket) {
    asio::error_code error;
    co_await asio::async_write(socket, asio::buffer(self.line_), asio::redirect_error(asio::use_awaitable, error));
    std::array<char, 16384> data;  // NOLINT: filled by reading
    while (!error) {
      const auto n =
          co_await socket.async_read_some(asio::buffer(data), asio::redirect_error(asio::use_awaitable, error));
      if (error) break;
      co_await asio::async_write(socket, asio::buffer(data.data(), n),
                                 asio::redirect_error(asio::use_awaitable, error));
    }
  }

  static awaitable<void> serve_http(Group& self, tcp::socket& socket) {
    asio::error_code error;
    std::string input;
    bool keep_alive = true;
    while (keep_alive) {
      const auto size = co_await asio::async_read_until(socket, asio::dynamic_buffer(input, largest_http_head),
                                                        "\r\n\r\n", asio::redirect_error(asio::use_awaitable, error));
      if (error == asio::error::eof || self.closed_) co_return;
      const auto request = error ? std::nullopt : parse_http_head(std::string_view(input).substr(0, size));
      if (!request) {
        const auto refusal = http_bad_request();
        co_await asio::async_write(socket, asio::buffer(refusal), asio::redirect_error(asio::use_awaitable, error));
        co_return;
      }
      input.erase(0, size);
      if (request->expects_continue) {
        static constexpr std::string_view go_on = "HTTP/1.1 100 Continue\r\n\r\n";
        co_await asio::async_write(socket, asio::buffer(go_on), asio::redirect_error(asio::use_awaitable, error));
      }
      if (!co_await skip_body(socket, input, request->content_length)) co_return;
      const auto response = http_response(*request, self.name_);
      co_await asio::async_write(socket, asio::buffer(response), asio::redirect_error(asio::use_awaitable, error));
      // The next request would begin somewhere in a chunked body.
      keep_alive = !error && request->keep_alive && !request->chunked;
    }
    socket.shutdown(tcp::socket::shutdown_send, error);
  }

  static awaitable<bool> skip_body(tcp::socket& socket, std::string& input, std::size_t length) {
    asio::error_code error;
    std::array<char, 16384> data;  // NOLINT: filled by reading
    const auto buffered = std::min(length, input.size());
    input.erase(0, buffered);
    length -= buffered;
    while (length > 0) {
      const auto n = co_await socket.async_read_some(asio::buffer(data.data(), std::min(length, data.size())),
                                                     asio::redirect_error(asio::use_awaitable, error));
      if (error) co_return false;
      length -= n;
    }
    co_return true;
  }

  static awaitable<void> serve_datagrams(Self self, asio::posix::stream_descriptor& socket) {
    asio::error_code error;
    while (!self->closed_) {
      co_await socket.async_wait(asio::posix::descriptor_base::wait_read,
                                 asio::redirect_error(asio::use_awaitable, error));
      if (self->closed_) co_return;
      // A bounded burst, then the other pods have their turn.
      for (int i = 0; i < 64 && answer_datagram(socket.native_handle(), self->line_); ++i) {
      }
    }
  }

  asio::io_context& loop_;
  const std::string line_;
  const std::string name_;
  bool closed_ = false;
  std::list<tcp::acceptor> acceptors_;
  std::list<asio::posix::stream_descriptor> datagrams_;
  Connections connections_;
};

Responders::Responders(asio::io_context& loop) : loop_(loop) {}

Responders::~Responders() {
  for (auto& [key, group] : groups_) group->close();
}

std::vector<ListeningPort> Responders::open(const std::string& key, int netns, const std::string& name,
                                            const std::vector<ResponderPort>& ports) {
  close(key);
  std::vector<ListeningPort> listening;
  const auto group = std::make_shared<Group>(loop_, name);
  std::vector<OpenSocket> sockets;
  {
    const auto scope = sys::NetnsScope::enter(netns);
    for (const auto& port : ports) {
      auto socket = scope ? open_socket(port) : Result<OpenSocket>(fail(scope.error()));
      listening.push_back({port, socket ? "" : socket.error().message});
      sockets.push_back(socket ? std::move(*socket) : OpenSocket{});
    }
  }
  for (std::size_t i = 0; i < ports.size(); ++i)
    if (sockets[i].fd.valid()) group->add(std::move(sockets[i]), ports[i]);
  groups_[key] = group;
  return listening;
}

void Responders::close(const std::string& key) {
  const auto found = groups_.find(key);
  if (found == groups_.end()) return;
  found->second->close();
  groups_.erase(found);
}

}  // namespace weft::lab
