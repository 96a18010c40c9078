// Answers probes over HTTP: /healthz for as long as the loop turns, /readyz while what it needs is heard. Nothing else
// is there to be asked for. On the loop's thread.
#pragma once

#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/result.h"

namespace weft::op {

class HealthServer {
 public:
  // Why it is not ready; empty: it is.
  using NotReady = std::function<std::string()>;

  // `address`: "127.0.0.1:9441", "[::]:9441". Port 0: one that is free.
  static Result<std::unique_ptr<HealthServer>> listen(asio::io_context& loop, const std::string& address,
                                                      NotReady not_ready);
  [[nodiscard]] std::uint16_t port() const { return acceptor_.local_endpoint().port(); }

 private:
  struct Connection;
  HealthServer(asio::io_context& loop, NotReady not_ready) : acceptor_(loop), not_ready_(std::move(not_ready)) {}
  void accept();
  [[nodiscard]] std::string answer(std::string_view request) const;

  asio::ip::tcp::acceptor acceptor_;
  NotReady not_ready_;
  std::shared_ptr<int> connections_ = std::make_shared<int>(0);
};

}  // namespace weft::op
