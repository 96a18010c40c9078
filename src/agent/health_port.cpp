#include "agent/health_port.h"

#include <fmt/format.h>

#include <array>
#include <asio/ip/tcp.hpp>
#include <asio/ip/v6_only.hpp>
#include <asio/steady_timer.hpp>
#include <asio/write.hpp>
#include <list>
#include <nlohmann/json.hpp>

#include "agent/health_http.h"

namespace weft::agent {
namespace {

using asio::ip::tcp;

constexpr auto accept_again = std::chrono::milliseconds(200);  // after "too many open files" and the like

std::string response(std::string_view status, std::string_view more_headers, const std::string& body, bool with_body) {
  return fmt::format(
      "HTTP/1.1 {}\r\nContent-Type: application/json\r\nX-Content-Type-Options: nosniff\r\n{}"
      "Content-Length: {}\r\nConnection: close\r\n\r\n{}",
      status, more_headers, body.size(), with_body ? body : "");
}

}  // namespace

// One port: an acceptor for each family and the connections it has.
class HealthPorts::Listener : public std::enable_shared_from_this<Listener> {
 public:
  Listener(asio::io_context& loop, std::function<bool()> proxy_healthy, const Options& options)
      : options_(options), proxy_healthy_(std::move(proxy_healthy)) {
    for (int i = 0; i < 2; ++i) ears_.emplace_back(loop);
  }

  // An error when the port is taken in a family; a family the node does not have is none.
  Result<void> open(std::uint16_t port) {
    bool any = false;
    std::error_code last;
    for (auto& ear : ears_) {
      const auto protocol = &ear == &ears_.front() ? tcp::v4() : tcp::v6();
      last = listen(ear, tcp::endpoint(protocol, port));
      if (last == asio::error::address_in_use)
        return fail(ErrorCode::exists, "another program has the port", "stop it, or give the Service another one");
      any = any || !last;
    }
    if (!any) return fail(ErrorCode::io, last.message());
    for (auto& ear : ears_)
      if (ear.acceptor.is_open()) accept(ear);
    return {};
  }

  void answer_with(const control::ServiceCompiler::HealthPort& answer) { answer_ = answer; }
  void close();
  [[nodiscard]] std::string answer_to(const HttpRequestHead& request) const;
  [[nodiscard]] const Options& options() const { return options_; }
  std::list<std::weak_ptr<Session>> sessions;

 private:
  struct Ear {
    explicit Ear(asio::io_context& loop) : acceptor(loop), again(loop) {}
    tcp::acceptor acceptor;
    asio::steady_timer again;
  };

  static std::error_code listen(Ear& ear, const tcp::endpoint& endpoint) {
    std::error_code error;
    ear.acceptor.open(endpoint.protocol(), error);
    if (!error) ear.acceptor.set_option(asio::socket_base::reuse_address(true), error);
    if (!error && endpoint.protocol() == tcp::v6()) ear.acceptor.set_option(asio::ip::v6_only(true), error);
    if (!error) ear.acceptor.bind(endpoint, error);
    if (!error) ear.acceptor.listen(asio::socket_base::max_listen_connections, error);
    if (error) {
      std::error_code ignored;
      ear.acceptor.close(ignored);
    }
    return error;
  }

  void accept(Ear& ear);

  Options options_;
  std::function<bool()> proxy_healthy_;
  control::ServiceCompiler::HealthPort answer_;
  std::list<Ear> ears_;
};

// One connection: reads the head of a request, answers, closes; whatever happens, within the time allowed.
class HealthPorts::Session : public std::enable_shared_from_this<Session> {
 public:
  Session(tcp::socket socket, std::shared_ptr<Listener> listener)
      : socket_(std::move(socket)), deadline_(socket_.get_executor()), listener_(std::move(listener)) {}
  ~Session() {
    std::erase_if(listener_->sessions, [](const auto& session) { return session.expired(); });
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void start() {
    deadline_.expires_after(listener_->options().timeout);
    deadline_.async_wait([weak = weak_from_this()](const std::error_code& error) {
      if (const auto self = weak.lock(); self && !error) self->close();
    });
    read();
  }

  void close() {
    std::error_code ignored;
    deadline_.cancel();
    socket_.close(ignored);
  }

 private:
  void read() {
    socket_.async_read_some(asio::buffer(buffer_),
                            [self = shared_from_this()](const std::error_code& error, std::size_t size) {
                              if (error) return self->close();
                              self->received({self->buffer_.data(), size});
                            });
  }

  void received(std::string_view bytes) {
    switch (head_.feed(bytes)) {
      case HttpProgress::more:
        return read();
      case HttpProgress::malformed:
        return write(response("400 Bad Request", "", R"({"error":"this is no HTTP/1 request"})", true));
      case HttpProgress::done:
        return write(listener_->answer_to(head_));
    }
  }

  void write(std::string text) {
    answer_ = std::move(text);
    asio::async_write(socket_, asio::buffer(answer_),
                      [self = shared_from_this()](const std::error_code& error, std::size_t) {
                        if (error) return self->close();
                        // The client closes first, so that a body it still sends does not reset the answer.
                        std::error_code ignored;
                        self->socket_.shutdown(tcp::socket::shutdown_send, ignored);
                        self->drain();
                      });
  }

  void drain() {
    socket_.async_read_some(asio::buffer(buffer_),
                            [self = shared_from_this()](const std::error_code& error, std::size_t) {
                              error ? self->close() : self->drain();
                            });
  }

  tcp::socket socket_;
  asio::steady_timer deadline_;
  std::shared_ptr<Listener> listener_;
  std::array<char, 1024> buffer_{};
  HttpRequestHead head_;
  std::string answer_;
};

void HealthPorts::Listener::accept(Ear& ear) {
  ear.acceptor.async_accept([self = shared_from_this(), &ear](const std::error_code& error, tcp::socket socket) {
    if (!ear.acceptor.is_open()) return;
    if (error) {
      ear.again.expires_after(accept_again);
      ear.again.async_wait([self, &ear](const std::error_code& cancelled) {
        if (!cancelled && ear.acceptor.is_open()) self->accept(ear);
      });
      return;
    }
    std::erase_if(self->sessions, [](const auto& session) { return session.expired(); });
    // Slow clients make room for new ones.
    if (self->sessions.size() >= self->options_.connections) {
      if (const auto oldest = self->sessions.front().lock()) oldest->close();
      self->sessions.pop_front();
    }
    const auto session = std::make_shared<Session>(std::move(socket), self);
    self->sessions.push_back(session);
    session->start();
    self->accept(ear);
  });
}

void HealthPorts::Listener::close() {
  for (auto& ear : ears_) {
    std::error_code ignored;
    ear.acceptor.close(ignored);
    ear.again.cancel();
  }
  for (const auto& weak : std::list(sessions))
    if (const auto session = weak.lock()) session->close();
}

std::string HealthPorts::Listener::answer_to(const HttpRequestHead& request) const {
  const bool healthy = proxy_healthy_();
  const nlohmann::ordered_json body{
      {"service", {{"namespace", answer_.service.namespace_}, {"name", answer_.service.name}}},
      {"localEndpoints", answer_.local_endpoints},
      {"serviceProxyHealthy", healthy}};
  return response(healthy && answer_.local_endpoints != 0 ? "200 OK" : "503 Service Unavailable",
                  fmt::format("X-Load-Balancing-Endpoint-Weight: {}\r\n", answer_.local_endpoints), body.dump(),
                  request.method() != "HEAD");
}

HealthPorts::HealthPorts(asio::io_context& loop, std::function<bool()> proxy_healthy, Options options)
    : loop_(loop), proxy_healthy_(std::move(proxy_healthy)), options_(options) {}

HealthPorts::~HealthPorts() { want({}); }

void HealthPorts::want(const Wanted& ports) {
  for (auto at = listeners_.begin(); at != listeners_.end();) {
    const auto listener = at++;
    if (ports.contains(listener->first)) continue;
    listener->second->close();
    listeners_.erase(listener);
  }
  std::erase_if(failed_, [&](const auto& entry) { return !ports.contains(entry.first); });
  for (const auto& [port, answer] : ports) {
    if (const auto known = listeners_.find(port); known != listeners_.end())
      known->second->answer_with(answer);
    else
      open(port, answer);
  }
}

void HealthPorts::open(std::uint16_t port, const control::ServiceCompiler::HealthPort& answer) {
  auto listener = std::make_shared<Listener>(loop_, proxy_healthy_, options_);
  listener->answer_with(answer);
  if (auto opened = listener->open(port); !opened) {
    listener->close();
    failed_[port] = fmt::format("healthCheckNodePort {} of Service {}: {}", port, answer.service.to_string(),
                                opened.error().message);
    return;
  }
  failed_.erase(port);
  listeners_.emplace(port, std::move(listener));
}

std::vector<std::string> HealthPorts::problems() const {
  std::vector<std::string> texts;
  for (const auto& [port, text] : failed_) texts.push_back(text);
  return texts;
}

}  // namespace weft::agent
