// The agent's side of the node API (docs/api.md): a unix socket, one JSON line a request.
//
// Threading: everything, handlers and callbacks included, runs on the io_context's one thread;
// Responder and Stream may be used on that thread only (post to the loop from others).
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "base/result.h"

namespace asio {
class io_context;
}

namespace weft::api {

class Answer;
struct ApiError;
class Exchange;  // one request in progress

struct ServerOptions {
  std::string path;
  std::size_t max_connections = 256;
  std::size_t stream_queue = 4096;                        // events waiting for a slow reader of a stream
  std::size_t stream_queue_bytes = std::size_t{8} << 20;  // and their bytes
};

// Answers one request later, exactly once; further answers are ignored. Copies share the request.
// When the last copy goes without an answer the client is told `internal`.
class Responder {
 public:
  explicit Responder(std::shared_ptr<Exchange> exchange) : exchange_(std::move(exchange)) {}
  void answer(const Answer& answer) const;
  // With what `handler` returns; what it throws is answered as by Server::handle.
  void answer_by(const std::function<Answer()>& handler) const;
  [[nodiscard]] bool closed() const;  // answered, or nobody is there to read it

 private:
  std::shared_ptr<Exchange> exchange_;
};

// A request answered by any number of events. Copies share it; dropping the last one without
// finish or fail tells the client `internal`.
class Stream {
 public:
  explicit Stream(std::shared_ptr<Exchange> exchange) : exchange_(std::move(exchange)) {}
  // Queues an event; false once closed. When the reader is slower than the queue is long, the
  // oldest event gives way and the reader sees {"lost": N} in its place.
  bool send(const nlohmann::json& event) const;
  void finish() const;
  void fail(ApiError error) const;
  [[nodiscard]] bool closed() const;
  // Events not yet written, for producers that would rather wait (see on_drain) than lose.
  [[nodiscard]] std::size_t queued() const;
  // Called once, when the client has gone or the server stops; not after finish or fail.
  void on_close(std::function<void()> callback) const;
  // Called whenever a write left the queue at most half full. Pass {} to end it.
  void on_drain(std::function<void()> callback) const;

 private:
  std::shared_ptr<Exchange> exchange_;
};

class Server {
 public:
  using Handler = std::function<Answer(const nlohmann::json& params)>;
  using AsyncHandler = std::function<void(nlohmann::json params, Responder)>;
  using StreamHandler = std::function<void(nlohmann::json params, Stream)>;

  // Binds and listens (mode 0600); serves as soon as the loop runs. Replaces the socket file of a
  // dead process; `exists` when a live one answers there or the path is no socket. Only root and
  // the process's own user are served. `loop` must outlive the server.
  static Result<std::unique_ptr<Server>> listen(asio::io_context& loop, ServerOptions options);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Exceptions of the JSON library thrown by a handler are answered as `invalid` (a parameter of
  // the wrong type), others as `internal`.
  void handle(const std::string& method, Handler handler);
  void handle_async(const std::string& method, AsyncHandler handler);
  void handle_stream(const std::string& method, StreamHandler handler);

  // Closes the socket, its file and every connection; pending requests are not answered.
  void stop();
  [[nodiscard]] std::size_t connections() const;

 private:
  class Core;
  friend class Connection;
  explicit Server(std::shared_ptr<Core> core);
  std::shared_ptr<Core> core_;
};

}  // namespace weft::api
