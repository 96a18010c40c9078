#include "api/server.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <asio/io_context.hpp>
#include <cerrno>
#include <cstring>

#include "api/connection.h"
#include "api/request.h"
#include "base/fd.h"

namespace weft::api {
namespace {

Result<sockaddr_un> socket_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path))
    return fail(ErrorCode::invalid,
                fmt::format("socket \"{}\": the path must have 1 to {} bytes", path, sizeof(address.sun_path) - 1));
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

const sockaddr* generic(const sockaddr_un& address) {
  return reinterpret_cast<const sockaddr*>(&address);  // NOLINT: what the socket calls want
}

// Removes the socket file nobody listens on.
Result<void> clear_stale(const sockaddr_un& address, const std::string& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) return {};
  if (!S_ISSOCK(status.st_mode))
    return fail(ErrorCode::exists, fmt::format("socket {}: a file that is no socket stands there", path),
                "remove it or choose another path");
  const Fd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe.valid()) return fail(errno_error("socket", errno));
  if (::connect(probe.get(), generic(address), sizeof(address)) == 0 || errno == EAGAIN)
    return fail(ErrorCode::exists, fmt::format("socket {}: another process answers there", path),
                "stop the other agent or choose another socket");
  if (errno != ECONNREFUSED) return fail(errno_error(fmt::format("socket {}", path), errno));
  if (::unlink(path.c_str()) != 0 && errno != ENOENT)
    return fail(errno_error(fmt::format("remove stale socket {}", path), errno));
  return {};
}

}  // namespace

Result<void> Server::Core::open() {
  WEFT_TRY(const sockaddr_un address, socket_address(options_.path));
  WEFT_CHECK(clear_stale(address, options_.path));
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.valid()) return fail(errno_error("socket", errno));
  // The mode of the descriptor becomes that of the file: there is no moment with a wider one.
  if (::fchmod(socket.get(), 0600) != 0) return fail(errno_error("fchmod socket", errno));
  if (::bind(socket.get(), generic(address), sizeof(address)) != 0) {
    const int error = errno;
    return fail(error == EADDRINUSE ? Error{ErrorCode::exists, fmt::format("socket {}: is in use", options_.path), {}}
                                    : errno_error(fmt::format("bind socket {}", options_.path), error));
  }
  struct stat status {};
  if (::stat(options_.path.c_str(), &status) == 0) socket_inode_ = status.st_ino;
  if (::listen(socket.get(), 128) != 0) return fail(errno_error(fmt::format("listen on {}", options_.path), errno));
  asio::error_code error;
  acceptor_.assign(asio::local::stream_protocol(), socket.get(), error);
  if (error) return fail(ErrorCode::io, fmt::format("socket {}: {}", options_.path, error.message()));
  (void)socket.release();
  listening_ = true;
  return {};
}

void Server::Core::accept(const std::shared_ptr<Core>& core) {
  core->acceptor_.async_accept([core](asio::error_code error, asio::local::stream_protocol::socket socket) {
    if (!core->listening_) return;
    if (!error) {
      if (auto admitted = core->admit(socket); admitted) {
        std::make_shared<Connection>(core, std::move(socket))->start();
      } else {
        const auto line = to_line({{"id", nullptr}, {"error", error_to_json(admitted.error())}}) + '\n';
        (void)::send(socket.native_handle(), line.data(), line.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      }
    }
    if (!error) {
      accept(core);
      return;
    }
    // Out of descriptors, most likely: the client stays in the backlog until some are free.
    core->retry_.expires_after(std::chrono::milliseconds(100));
    core->retry_.async_wait([core](asio::error_code) {
      if (core->listening_) accept(core);
    });
  });
}

Result<void> Server::Core::admit(asio::local::stream_protocol::socket& socket) const {
  ucred peer{};
  socklen_t length = sizeof(peer);
  if (::getsockopt(socket.native_handle(), SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0)
    return fail(errno_error("SO_PEERCRED", errno));
  if (peer.uid != 0 && peer.uid != ::geteuid())
    return fail(ErrorCode::denied, fmt::format("user {} may not use this socket", peer.uid), "run as root");
  if (connections_.size() >= options_.max_connections)
    return fail(ErrorCode::exhausted, fmt::format("{} connections are open already", connections_.size()),
                "close some and try again");
  asio::error_code error;
  socket.non_blocking(true, error);
  if (error) return fail(ErrorCode::io, error.message());
  return {};
}

void Server::Core::stop() {
  if (!listening_) return;
  listening_ = false;
  asio::error_code ignored;
  acceptor_.close(ignored);
  retry_.cancel();
  struct stat status {};
  if (::lstat(options_.path.c_str(), &status) == 0 && status.st_ino == socket_inode_) ::unlink(options_.path.c_str());
  const auto open = connections_;
  for (auto* connection : open)
    if (connections_.contains(connection)) connection->close();
}

Result<std::unique_ptr<Server>> Server::listen(asio::io_context& loop, ServerOptions options) {
  auto core = std::make_shared<Core>(loop, std::move(options));
  WEFT_CHECK(core->open());
  Core::accept(core);
  return std::unique_ptr<Server>(new Server(std::move(core)));
}

Server::Server(std::shared_ptr<Core> core) : core_(std::move(core)) {}
Server::~Server() { stop(); }

void Server::handle(const std::string& method, Handler handler) {
  core_->routes_[method] = std::make_shared<const Route>(std::in_place_type<Handler>, std::move(handler));
}

void Server::handle_async(const std::string& method, AsyncHandler handler) {
  core_->routes_[method] = std::make_shared<const Route>(std::in_place_type<AsyncHandler>, std::move(handler));
}

void Server::handle_stream(const std::string& method, StreamHandler handler) {
  core_->routes_[method] = std::make_shared<const Route>(std::in_place_type<StreamHandler>, std::move(handler));
}

void Server::stop() { core_->stop(); }
std::size_t Server::connections() const { return core_->connections_.size(); }

}  // namespace weft::api
