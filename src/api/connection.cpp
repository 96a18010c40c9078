#include "api/connection.h"

#include <fmt/format.h>
#include <malloc.h>
#include <poll.h>

#include <array>
#include <asio/buffer.hpp>
#include <asio/write.hpp>

#include "api/request.h"

namespace weft::api {
namespace {

constexpr std::size_t read_bytes = 16 << 10;
constexpr std::size_t batch_bytes = 64 << 10;
constexpr std::size_t large_bytes = 1 << 20;

// Both directions are shut: the other process has closed its end, not merely finished writing.
bool hung_up(int fd) {
  pollfd state{fd, 0, 0};
  return ::poll(&state, 1, 0) == 1 && (state.revents & (POLLHUP | POLLERR)) != 0;
}

Answer unknown_method(const std::string& method, const std::map<std::string, std::shared_ptr<const Route>>& routes) {
  std::vector<std::string> names;
  for (const auto& [name, route] : routes) names.push_back(name);
  const auto near = nearest(method, names);
  const auto& shown = near.empty() ? names : near;
  std::string list;
  for (const auto& name : shown) list += (list.empty() ? "" : ", ") + name;
  return fail(ApiError(Error{ErrorCode::not_found, fmt::format("method \"{}\" is not known", method.substr(0, 100)),
                             (near.empty() ? "the methods are " : "did you mean ") + list},
                       {{"suggestions", near}}));
}

// Runs a handler; what third-party code throws ends here.
template <class Call>
Answer guarded(const std::string& method, Call&& call) {
  try {
    return call();
  } catch (const nlohmann::json::exception& error) {
    return fail(ErrorCode::invalid, fmt::format("{}: params: {}", method, error.what()));
  } catch (const std::exception& error) {
    return fail(ErrorCode::internal, fmt::format("{}: {}", method, error.what()));
  }
}

}  // namespace

Connection::Connection(std::shared_ptr<Server::Core> core, asio::local::stream_protocol::socket socket)
    : core_(std::move(core)), socket_(std::move(socket)) {
  core_->connections_.insert(this);
}

Connection::~Connection() {
  core_->connections_.erase(this);
  // The last operation may end without close(), when the loop is destroyed.
  close();
}

void Connection::start() {
  watch_hangup();
  read();
}

void Connection::close() {
  if (closed_) return;
  closed_ = true;
  asio::error_code ignored;
  socket_.close(ignored);
  if (auto exchange = exchange_.lock()) exchange->abandon();
}

void Connection::watch_hangup() {
  socket_.async_wait(asio::socket_base::wait_error, [self = shared_from_this()](asio::error_code error) {
    if (error || self->closed_ || !hung_up(self->socket_.native_handle())) return;
    // Other requests may be waiting in the socket (a client that does not stay for the answer); a
    // stream is of no use to anybody now.
    if (auto exchange = self->exchange_.lock(); exchange && exchange->is_stream()) self->close();
  });
}

void Connection::read() {
  if (reading_ || busy_ || closed_ || end_of_input_) return;
  reading_ = true;
  const auto used = input_.size();
  input_.resize(used + read_bytes);
  socket_.async_read_some(asio::buffer(input_.data() + used, read_bytes),
                          [self = shared_from_this(), used](asio::error_code error, std::size_t count) {
                            self->reading_ = false;
                            if (self->closed_) return;
                            self->input_.resize(used + count);
                            if (error) self->end_of_input_ = true;
                            self->process();
                          });
}

void Connection::process() {
  if (processing_) return;
  processing_ = true;
  while (!busy_ && !closed_) {
    const auto newline = input_.find('\n', scanned_);
    if (newline == std::string::npos) {
      scanned_ = input_.size();
      break;
    }
    const std::string line = input_.substr(0, newline);
    input_.erase(0, newline + 1);
    scanned_ = 0;
    if (line.find_first_not_of(" \t\r") != std::string::npos) dispatch(line);
  }
  processing_ = false;
  if (closed_ || busy_) return;
  if (input_.size() > max_line_bytes) {
    push(to_line(
             {{"id", nullptr},
              {"error", error_to_json(Error{
                            ErrorCode::invalid, fmt::format("request: longer than {} bytes", max_line_bytes), {}})}}),
         false);
    input_ = {};
    end_of_input_ = true;
  }
  if (input_.empty() && input_.capacity() > 4 * read_bytes) input_ = {};
  if (end_of_input_)
    close_when_idle();
  else
    read();
}

void Connection::dispatch(std::string_view line) {
  auto request = decode_request(line);
  if (!request) {
    complete(request.error().id, fail(std::move(request.error().error)));
    return;
  }
  auto found = core_->routes_.find(request->method);
  if (found == core_->routes_.end()) {
    complete(request->id, unknown_method(request->method, core_->routes_));
    return;
  }
  const auto route = found->second;  // keeps the handler alive while it runs
  const bool stream = std::holds_alternative<Server::StreamHandler>(*route);
  auto exchange = std::make_shared<Exchange>(shared_from_this(), request->id, request->method, stream);
  busy_ = true;
  exchange_ = exchange;
  if (stream) {
    stream_id_ = request->id;
    if (hung_up(socket_.native_handle())) {
      close();
      return;
    }
  }
  run(*route, request->method, std::move(request->params), exchange);
}

void Connection::run(const Route& route, const std::string& method, nlohmann::json params,
                     const std::shared_ptr<Exchange>& exchange) {
  if (const auto* handler = std::get_if<Server::Handler>(&route)) {
    exchange->answer(guarded(method, [&] { return (*handler)(params); }));
    return;
  }
  auto outcome = guarded(method, [&]() -> Answer {
    if (const auto* async = std::get_if<Server::AsyncHandler>(&route))
      (*async)(std::move(params), Responder(exchange));
    else if (const auto* streaming = std::get_if<Server::StreamHandler>(&route))
      (*streaming)(std::move(params), Stream(exchange));
    return nlohmann::json();
  });
  if (!outcome) exchange->answer(outcome);
}

void Connection::complete(const nlohmann::json& id, const Answer& answer) {
  nlohmann::json message{{"id", id}};
  if (answer)
    message["result"] = *answer;
  else
    message["error"] = error_to_json(answer.error());
  busy_ = false;
  exchange_.reset();
  push(to_line(message), false);
  process();
}

bool Connection::event(const nlohmann::json& id, const nlohmann::json& event) {
  if (closed_) return false;
  push(to_line({{"id", id}, {"event", event}}), true);
  return true;
}

void Connection::push(std::string text, bool event) {
  if (closed_) return;
  text += '\n';
  if (event) {
    ++events_;
    event_bytes_ += text.size();
  }
  output_.push_back(Line{std::move(text), event});
  if (event) drop_oldest_events();
  write();
}

void Connection::drop_oldest_events() {
  const auto& options = core_->options_;
  auto oldest = output_.begin();
  while (events_ > 1 && (events_ > options.stream_queue || event_bytes_ > options.stream_queue_bytes)) {
    while (oldest != output_.end() && !oldest->event) ++oldest;
    if (oldest == output_.end()) return;
    --events_;
    event_bytes_ -= oldest->text.size();
    ++lost_;
    oldest = output_.erase(oldest);
  }
}

void Connection::write() {
  if (writing_ || closed_) return;
  if (output_.empty()) {
    close_when_idle();
    return;
  }
  batch_.clear();
  while (!output_.empty() && batch_.size() < batch_bytes) {
    auto& line = output_.front();
    if (line.event) {
      --events_;
      event_bytes_ -= line.text.size();
    }
    if (lost_ > 0 && (line.event || events_ == 0)) {
      batch_ += to_line({{"id", stream_id_}, {"event", {{"lost", lost_}}}}) + '\n';
      lost_ = 0;
    }
    if (batch_.empty())
      batch_ = std::move(line.text);
    else
      batch_ += line.text;
    output_.pop_front();
  }
  writing_ = true;
  asio::async_write(socket_, asio::buffer(batch_), [self = shared_from_this()](asio::error_code error, std::size_t) {
    self->writing_ = false;
    // The allocator would keep what the answer took, and what it was made of, for the next one.
    if (self->batch_.capacity() > large_bytes) {
      self->batch_ = {};
      ::malloc_trim(0);
    }
    if (error) {
      // Nobody reads any more, but requests already received still count.
      self->output_.clear();
      self->events_ = self->event_bytes_ = 0;
      if (auto exchange = self->exchange_.lock(); exchange && exchange->is_stream()) self->close();
    }
    self->write();
    auto exchange = self->exchange_.lock();
    if (exchange && exchange->on_drain && self->events_ <= self->core_->options_.stream_queue / 2) {
      const auto drained = exchange->on_drain;  // it may replace itself
      drained();
    }
  });
}

void Connection::close_when_idle() {
  if (end_of_input_ && !busy_ && !processing_ && !writing_ && output_.empty()) close();
}

Exchange::~Exchange() {
  if (!done_) answer(fail(ErrorCode::internal, "the request was dropped without an answer"));
}

void Exchange::answer(const Answer& answer) {
  if (done_) return;
  done_ = true;
  on_close = nullptr;
  on_drain = nullptr;
  std::exchange(connection_, nullptr)->complete(id_, answer);
}

bool Exchange::send(const nlohmann::json& event) { return !done_ && connection_->event(id_, event); }

void Exchange::abandon() {
  if (done_) return;
  done_ = true;
  on_drain = nullptr;
  const auto connection = std::exchange(connection_, nullptr);
  if (auto callback = std::exchange(on_close, nullptr)) callback();
}

std::size_t Exchange::queued() const { return connection_ ? connection_->queued_events() : 0; }

void Responder::answer(const Answer& answer) const { exchange_->answer(answer); }
void Responder::answer_by(const std::function<Answer()>& handler) const {
  exchange_->answer(guarded(exchange_->method(), handler));
}
bool Responder::closed() const { return exchange_->done(); }

bool Stream::send(const nlohmann::json& event) const { return exchange_->send(event); }
void Stream::finish() const { exchange_->answer(nlohmann::json::object()); }
void Stream::fail(ApiError error) const { exchange_->answer(weft::fail(std::move(error))); }
bool Stream::closed() const { return exchange_->done(); }
std::size_t Stream::queued() const { return exchange_->queued(); }
void Stream::on_close(std::function<void()> callback) const {
  if (!exchange_->done()) exchange_->on_close = std::move(callback);
}
void Stream::on_drain(std::function<void()> callback) const {
  if (!exchange_->done()) exchange_->on_drain = std::move(callback);
}

}  // namespace weft::api
