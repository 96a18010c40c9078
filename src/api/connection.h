// Private to this room: one client of the server and the request it has in progress.
#pragma once

#include <asio/local/stream_protocol.hpp>
#include <asio/steady_timer.hpp>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <variant>

#include "api/answer.h"
#include "api/server.h"

namespace weft::api {

class Connection;

using Route = std::variant<Server::Handler, Server::AsyncHandler, Server::StreamHandler>;

// What the server and its connections share.
class Server::Core {
 public:
  explicit Core(asio::io_context& loop, ServerOptions options)
      : options_(std::move(options)), acceptor_(loop), retry_(loop) {}
  ~Core() { stop(); }
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;

  Result<void> open();
  static void accept(const std::shared_ptr<Core>& core);
  void stop();

  ServerOptions options_;
  asio::local::stream_protocol::acceptor acceptor_;
  std::map<std::string, std::shared_ptr<const Route>> routes_;
  std::set<Connection*> connections_;  // each removes itself

 private:
  Result<void> admit(asio::local::stream_protocol::socket& socket) const;
  asio::steady_timer retry_;
  bool listening_ = false;
  std::uint64_t socket_inode_ = 0;
};

// One request in progress; Responder and Stream are handles of it.
class Exchange {
 public:
  Exchange(std::shared_ptr<Connection> connection, nlohmann::json id, std::string method, bool stream)
      : connection_(std::move(connection)), id_(std::move(id)), method_(std::move(method)), stream_(stream) {}
  ~Exchange();
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  void answer(const Answer& answer);
  bool send(const nlohmann::json& event);
  // The client has gone: on_close is called, nothing can be answered any more.
  void abandon();

  [[nodiscard]] bool done() const { return done_; }
  [[nodiscard]] bool is_stream() const { return stream_; }
  [[nodiscard]] const nlohmann::json& id() const { return id_; }
  [[nodiscard]] const std::string& method() const { return method_; }
  [[nodiscard]] std::size_t queued() const;

  std::function<void()> on_close;
  std::function<void()> on_drain;

 private:
  std::shared_ptr<Connection> connection_;  // until done: an unanswered request keeps its connection
  nlohmann::json id_;
  std::string method_;
  bool stream_;
  bool done_ = false;
};

// Reads lines, runs one request after the other, writes answers. Kept alive by its pending
// operations on the socket and by the request in progress.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(std::shared_ptr<Server::Core> core, asio::local::stream_protocol::socket socket);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void start();
  void close();

  // From the exchange in progress.
  void complete(const nlohmann::json& id, const Answer& answer);
  bool event(const nlohmann::json& id, const nlohmann::json& event);
  [[nodiscard]] std::size_t queued_events() const { return events_; }

 private:
  struct Line {
    std::string text;
    bool event = false;
  };

  void watch_hangup();
  void read();
  void process();
  void dispatch(std::string_view line);
  void run(const Route& route, const std::string& method, nlohmann::json params,
           const std::shared_ptr<Exchange>& exchange);
  void push(std::string text, bool event);
  void drop_oldest_events();
  void write();
  void close_when_idle();

  std::shared_ptr<Server::Core> core_;
  asio::local::stream_protocol::socket socket_;
  std::weak_ptr<Exchange> exchange_;  // the request in progress, while busy_
  bool busy_ = false;
  bool processing_ = false;
  bool reading_ = false;
  bool writing_ = false;
  bool end_of_input_ = false;
  bool closed_ = false;

  std::string input_;
  std::size_t scanned_ = 0;  // bytes of input_ known to hold no newline

  std::deque<Line> output_;
  std::string batch_;  // being written
  std::size_t events_ = 0;
  std::size_t event_bytes_ = 0;
  std::uint64_t lost_ = 0;
  nlohmann::json stream_id_;
};

}  // namespace weft::api
