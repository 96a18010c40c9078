#include "operator/health_server.h"

#include <fmt/format.h>

#include <asio/read_until.hpp>
#include <asio/steady_timer.hpp>
#include <asio/streambuf.hpp>
#include <asio/write.hpp>
#include <utility>

#include "config/operator/config.h"

namespace weft::op {
namespace {

using asio::ip::tcp;

constexpr std::size_t longest_request = 4096;
constexpr int most_connections = 16;
constexpr auto patience = std::chrono::seconds(5);

}  // namespace

// Lives for as long as one of its handlers waits.
struct HealthServer::Connection {
  explicit Connection(tcp::socket accepted, std::shared_ptr<int> all)
      : socket(std::move(accepted)), timer(socket.get_executor()), count(std::move(all)) {
    ++*count;
  }
  ~Connection() { --*count; }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  tcp::socket socket;
  asio::steady_timer timer;
  asio::streambuf buffer{longest_request};
  std::string answer;
  std::shared_ptr<int> count;
};

Result<std::unique_ptr<HealthServer>> HealthServer::listen(asio::io_context& loop, const std::string& address,
                                                           NotReady not_ready) {
  WEFT_TRY(const auto parsed, parse_health_address(address));
  const tcp::endpoint endpoint(asio::ip::make_address(parsed.address.to_string()), parsed.port);
  std::unique_ptr<HealthServer> server(new HealthServer(loop, std::move(not_ready)));
  std::error_code error;
  auto& acceptor = server->acceptor_;
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (error)
    return fail(ErrorCode::io, fmt::format("health_address: {}: {}", address, error.message()),
                "choose an address of this host and a port that nobody has, or leave it out");
  server->accept();
  return server;
}

void HealthServer::accept() {
  acceptor_.async_accept([this](const std::error_code& error, tcp::socket socket) {
    if (error == asio::error::operation_aborted) return;
    accept();
    if (error || *connections_ >= most_connections) return;
    const auto connection = std::make_shared<Connection>(std::move(socket), connections_);
    connection->timer.expires_after(patience);
    connection->timer.async_wait([weak = std::weak_ptr(connection)](const std::error_code& cancelled) {
      const auto late = weak.lock();
      std::error_code ignored;
      if (late && !cancelled) late->socket.close(ignored);
    });
    asio::async_read_until(connection->socket, connection->buffer, "\r\n\r\n",
                           [this, connection](const std::error_code& broken, std::size_t size) {
                             if (broken) return;
                             const std::string head(static_cast<const char*>(connection->buffer.data().data()), size);
                             connection->answer = answer(head);
                             asio::async_write(connection->socket, asio::buffer(connection->answer),
                                               [connection](const std::error_code&, std::size_t) {
                                                 std::error_code ignored;
                                                 connection->socket.shutdown(tcp::socket::shutdown_both, ignored);
                                                 connection->timer.cancel();
                                               });
                           });
  });
}

std::string HealthServer::answer(std::string_view request) const {
  const auto line = request.substr(0, request.find("\r\n"));
  const bool reads = line.starts_with("GET ") || line.starts_with("HEAD ");
  auto path = line.substr(std::min(line.size(), line.find(' ') + 1));
  path = path.substr(0, path.find_first_of(" ?"));
  std::string status = "404 Not Found";
  std::string text = "there are /healthz and /readyz";
  if (reads && path == "/healthz") {
    status = "200 OK";
    text = "ok";
  } else if (reads && path == "/readyz") {
    text = not_ready_();
    status = text.empty() ? "200 OK" : "503 Service Unavailable";
    if (text.empty()) text = "ok";
  }
  const bool head = line.starts_with("HEAD ");
  return fmt::format(
      "HTTP/1.1 {}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{}",
      status, text.size() + 1, head ? "" : text + "\n");
}

}  // namespace weft::op
