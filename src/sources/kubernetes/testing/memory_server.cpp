#include "sources/kubernetes/testing/memory_server.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace weft::kubernetes::testing {

using std::chrono::milliseconds;

namespace {

constexpr const char* name = "memory";
constexpr auto bookmark_every = std::chrono::seconds(30);

std::unexpected<Failure> gone(const Request& request, bool unsure) {
  return std::unexpected(
      Failure{.reason = Reason::unavailable,
              .message = fmt::format("{} {} of {}: the connection broke", request.method, request.target, name),
              .unsure = unsure && request.method != "GET"});
}

}  // namespace

class MemoryTransfer final : public Transfer {
 public:
  explicit MemoryTransfer(std::function<void()> cancel) : cancel_(std::move(cancel)) {}
  ~MemoryTransfer() override { cancel_(); }
  MemoryTransfer(const MemoryTransfer&) = delete;
  MemoryTransfer& operator=(const MemoryTransfer&) = delete;

 private:
  std::function<void()> cancel_;
};

class MemoryHttp final : public Http {
 public:
  explicit MemoryHttp(MemoryServer& server) : server_(&server) {}
  std::unique_ptr<Transfer> start(Request request, RequestHandlers handlers) override {
    auto exchange = std::make_shared<MemoryServer::Exchange>();
    exchange->cut = cut_;
    exchange->parsed.method = request.method;
    exchange->parsed.body = request.body;
    exchange->parsed.headers = {{"content-type", request.content_type}, {"accept", request.accept}};
    read_target(request.target, exchange->parsed);
    exchange->request = std::move(request);
    exchange->handlers = std::move(handlers);
    auto* server = server_;
    std::erase_if(server->exchanges_, [](const auto& weak) { return weak.expired(); });
    server->exchanges_.push_back(exchange);
    exchange->timer = server->scheduler_->after(server->delay(), [server, exchange] { server->arrive(exchange); });
    return std::make_unique<MemoryTransfer>([server, exchange] {
      exchange->over = true;
      exchange->handlers = {};
      server->streams_.remove(exchange);
    });
  }

  void use_servers(std::vector<std::string> /*servers*/) override {}
  void cut(bool cut) { *cut_ = cut; }
  [[nodiscard]] const bool* flag() const { return cut_.get(); }

 private:
  MemoryServer* server_;
  std::shared_ptr<bool> cut_ = std::make_shared<bool>(false);
};

MemoryServer::~MemoryServer() {
  for (const auto& weak : exchanges_)
    if (const auto exchange = weak.lock()) {
      exchange->timer.cancel();
      exchange->timeout.cancel();
      exchange->handlers = {};
    }
}

void MemoryServer::cut(Http& http, bool cut) {
  auto& client = dynamic_cast<MemoryHttp&>(http);
  client.cut(cut);
  const auto streams = streams_;
  for (const auto& stream : streams)
    if (cut && stream->cut.get() == client.flag())
      scheduler_->post([this, stream] { end(stream, gone(stream->request, false)); });
}

std::unique_ptr<Http> MemoryServer::connect() { return std::make_unique<MemoryHttp>(*this); }

bool MemoryServer::is_like(const Exchange& exchange, const std::string& method, const std::string& part) {
  return (method.empty() || method == exchange.request.method) &&
         exchange.request.target.find(part) != std::string::npos;
}

void MemoryServer::lose_answers(int count, std::string target_contains) {
  lost_answers_ = count;
  lost_target_ = std::move(target_contains);
}

void MemoryServer::before(std::string method, std::string target_contains, std::function<void()> what) {
  hooks_.push_back({std::move(method), std::move(target_contains), std::move(what)});
}

void MemoryServer::set_available(bool available) {
  available_ = available;
  if (!available) break_watches();
}

void MemoryServer::break_watches() {
  const auto streams = streams_;
  for (const auto& stream : streams) scheduler_->post([this, stream] { end(stream, gone(stream->request, false)); });
}

void MemoryServer::arrive(const Shared& exchange) {
  // What was sent comes, whether or not somebody waits for the answer.
  if (exchange->over) {
    const auto path = parse_path(exchange->parsed.path);
    if (available_ && path && exchange->request.method != "GET")
      static_cast<void>(carry_out(store_, exchange->parsed, *path));
    changed();
    return exchange->timer.cancel();
  }
  requests_.push_back(exchange->request.method + " " + exchange->request.target);
  for (auto hook = hooks_.begin(); hook != hooks_.end(); ++hook) {
    if (!is_like(*exchange, hook->method, hook->target_contains)) continue;
    const auto what = std::move(hook->what);
    hooks_.erase(hook);
    what();
    break;
  }
  if (!available_ || *exchange->cut) return answer(exchange, gone(exchange->request, false));
  for (auto fault = faults_.begin(); fault != faults_.end(); ++fault) {
    if (!is_like(*exchange, fault->method, fault->target_contains)) continue;
    Answer said{.status = fault->status, .body = fault->body, .server = name, .retry_after = fault->retry_after};
    if (--fault->times <= 0) faults_.erase(fault);
    return answer(exchange, std::move(said));
  }
  carry(exchange);
}

void MemoryServer::carry(const Shared& exchange) {
  const auto& parsed = exchange->parsed;
  if (parsed.path == "/version") return answer(exchange, Answer{.status = 200, .body = R"({"gitVersion":"v1.32.0"})"});
  const auto path = parse_path(parsed.path);
  if (!path || !store_.type_of(path->resource)) {
    const auto said = status_answer(404, "NotFound", "the server could not find the requested resource");
    return answer(exchange, Answer{.status = said.code, .body = said.text, .server = name});
  }
  exchange->path = *path;
  if (full_ && parsed.method != "GET" && parsed.method != "DELETE") {
    const auto said = status_answer(500, "InternalError", "etcdserver: mvcc: database space exceeded");
    return answer(exchange, Answer{.status = said.code, .body = said.text, .server = name});
  }
  if (parsed.method == "GET" && !parsed.query_value("watch").empty()) return watch(exchange);
  const auto said = carry_out(store_, parsed, *path);
  changed();
  const bool writes = parsed.method != "GET";
  if (writes && lost_answers_ > 0 && is_like(*exchange, {}, lost_target_)) {
    --lost_answers_;
    return answer(exchange, gone(exchange->request, true));
  }
  answer(exchange, Answer{.status = said.code, .body = said.text, .server = name});
}

void MemoryServer::answer(const Shared& exchange, Outcome<Answer> outcome) {
  exchange->timer = scheduler_->after(delay(), [this, exchange, outcome = std::move(outcome)] {
    if (exchange->over) return exchange->timer.cancel();
    if (*exchange->cut && outcome) return end(exchange, gone(exchange->request, true));
    const bool streamed = exchange->request.stream && outcome && outcome->status == 200;
    if (!streamed) return end(exchange, outcome);
    if (exchange->handlers.opened) exchange->handlers.opened();
    if (!exchange->over && exchange->handlers.bytes) exchange->handlers.bytes(outcome->body);
    auto rest = *outcome;
    rest.body.clear();
    if (!exchange->over) end(exchange, std::move(rest));
  });
}

void MemoryServer::end(const Shared& exchange, Outcome<Answer> outcome) {
  if (exchange->over) return;
  exchange->over = true;
  streams_.remove(exchange);
  exchange->timer.cancel();
  const auto handlers = std::exchange(exchange->handlers, {});
  if (handlers.done) handlers.done(std::move(outcome));
}

void MemoryServer::watch(const Shared& exchange) {
  exchange->from = std::atoll(exchange->parsed.query_value("resourceVersion").c_str());
  if (const auto may = store_.may_watch(exchange->from); may.code != 200)
    return answer(exchange, Answer{.status = may.code, .body = may.text, .server = name});
  exchange->watching = true;
  streams_.push_back(exchange);
  const auto seconds = std::atoll(exchange->parsed.query_value("timeoutSeconds").c_str());
  if (seconds > 0)
    exchange->timeout = scheduler_->after(std::chrono::seconds(seconds), [this, weak = std::weak_ptr(exchange)] {
      if (const auto live = weak.lock()) end(live, Answer{.status = 200, .server = name});
    });
  pump(exchange);
}

void MemoryServer::bookmark(const Shared& exchange) {
  exchange->timer = scheduler_->after(bookmark_every, [this, weak = std::weak_ptr(exchange)] {
    const auto live = weak.lock();
    if (!live || live->over) return;
    live->handlers.bytes(store_.bookmark(live->from, live->path.resource));
    if (!live->over) bookmark(live);
  });
}

void MemoryServer::pump(const Shared& exchange) {
  scheduler_->post([this, weak = std::weak_ptr(exchange)] {
    const auto live = weak.lock();
    if (!live || live->over) return;
    if (!std::exchange(live->opened, true)) {
      live->handlers.opened();
      if (!live->over) bookmark(live);
    }
    if (live->over) return;
    const auto lines = store_.events_after(live->from, live->path, selector_of(live->parsed, live->path));
    if (!lines) {
      const auto expired = status_answer(410, "Expired", "too old resource version");
      live->handlers.bytes(fmt::format(R"({{"type":"ERROR","object":{}}})", expired.text) + "\n");
      return end(live, Answer{.status = 200, .server = name});
    }
    if (!lines->empty()) live->handlers.bytes(*lines);
  });
}

void MemoryServer::changed() {
  const auto streams = streams_;
  for (const auto& stream : streams) pump(stream);
}

}  // namespace weft::kubernetes::testing
