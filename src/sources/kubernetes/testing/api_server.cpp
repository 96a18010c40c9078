#include "sources/kubernetes/testing/api_server.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/tcp.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <sys/socket.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <stdexcept>
#include <utility>

#include "sources/kubernetes/testing/api_requests.h"

namespace weft::kubernetes::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// How soon a watch that waits sees that its client has gone, or that it has been told to do something.
constexpr milliseconds look_around{50};
constexpr std::size_t most_requests = 10000;

X509* read_certificate(const std::string& pem) {
  BIO* memory = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
  X509* certificate = PEM_read_bio_X509(memory, nullptr, nullptr, nullptr);
  BIO_free(memory);
  if (certificate == nullptr) throw std::runtime_error("this is no certificate");
  return certificate;
}

SSL_CTX* make_tls(const Certificate& own, const std::string& client_ca_pem) {
  SSL_CTX* context = SSL_CTX_new(TLS_server_method());
  X509* certificate = read_certificate(own.certificate_pem);
  SSL_CTX_use_certificate(context, certificate);
  X509_free(certificate);
  BIO* memory = BIO_new_mem_buf(own.key_pem.data(), static_cast<int>(own.key_pem.size()));
  EVP_PKEY* key = PEM_read_bio_PrivateKey(memory, nullptr, nullptr, nullptr);
  BIO_free(memory);
  SSL_CTX_use_PrivateKey(context, key);
  EVP_PKEY_free(key);
  if (!client_ca_pem.empty()) {
    X509* authority = read_certificate(client_ca_pem);
    X509_STORE_add_cert(SSL_CTX_get_cert_store(context), authority);
    X509_free(authority);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  }
  return context;
}

}  // namespace

ApiServer::ApiServer(ApiServerOptions options, std::shared_ptr<ApiStore> store)
    : options_(std::move(options)), store_(std::move(store)), port_(options_.port), token_(options_.token) {
  if (options_.tls) tls_ = make_tls(*options_.tls, options_.client_ca_pem);
  start();
}

ApiServer::~ApiServer() {
  stop();
  SSL_CTX_free(tls_);
}

std::string ApiServer::url() const {
  return fmt::format("{}://{}:{}", options_.tls ? "https" : "http", options_.address, port_);
}

Access ApiServer::access() const {
  const std::scoped_lock lock(mutex_);
  return {.servers = {url()},
          .ca_pem = options_.tls ? options_.tls->certificate_pem : std::string(),
          .token = token_,
          .origin = "the API server of a test"};
}

void ApiServer::listen() {
  listener_ = Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  ::setsockopt(listener_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{.sin_family = AF_INET, .sin_port = htons(port_)};
  ::inet_pton(AF_INET, options_.address.c_str(), &address.sin_addr);
  if (::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(listener_.get(), 1024) != 0)
    throw std::runtime_error(fmt::format("{}:{} cannot be listened at", options_.address, port_));
  socklen_t size = sizeof address;
  ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size);
  port_ = ntohs(address.sin_port);
}

void ApiServer::start() {
  if (acceptor_.joinable()) return;
  stopping_ = false;
  listen();
  acceptor_ = std::thread([this] { accept_all(); });
}

void ApiServer::stop() {
  if (!acceptor_.joinable()) return;
  stopping_ = true;
  ::shutdown(listener_.get(), SHUT_RDWR);
  acceptor_.join();
  listener_.reset();
  {
    const std::scoped_lock lock(mutex_);
    for (const auto& served : served_)
      if (served.fd.valid()) ::shutdown(served.fd.get(), SHUT_RDWR);
  }
  store_->notify();
  for (auto& served : served_) served.thread.join();
  served_.clear();
}

void ApiServer::accept_all() {
  while (!stopping_) {
    Fd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!fd.valid()) continue;
    const int on = 1;
    ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    ++connections_made_;
    const std::scoped_lock lock(mutex_);
    for (auto served = served_.begin(); served != served_.end();) {
      const auto next = std::next(served);
      if (served->over) {
        served->thread.join();
        served_.erase(served);
      }
      served = next;
    }
    auto& served = served_.emplace_back(std::move(fd));
    served.thread = std::thread([this, &served] { serve(served); });
  }
}

void ApiServer::serve(Served& served) {
  // OpenSSL writes without MSG_NOSIGNAL.
  sigset_t pipe;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
  {
    Connection connection(Fd(::dup(served.fd.get())), tls_);
    while (!stopping_) {
      const auto request = connection.read();
      if (!request || !answered(connection, *request)) break;
    }
  }
  const std::scoped_lock lock(mutex_);
  served.fd.reset();
  served.over = true;
}

bool ApiServer::answered(Connection& connection, const HttpRequest& request) {
  try {
    return answer(connection, request);
  } catch (const json::exception& wrong) {
    return connection.answer(422, status_answer(422, "Invalid", wrong.what()).text);
  }
}

void ApiServer::fail(Fault fault) {
  const std::scoped_lock lock(mutex_);
  faults_.push_back(std::move(fault));
}

void ApiServer::set_token(std::string token) {
  const std::scoped_lock lock(mutex_);
  token_ = std::move(token);
}

void ApiServer::deny(std::string verb_and_resource) {
  const std::scoped_lock lock(mutex_);
  denied_.insert(std::move(verb_and_resource));
}

// https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/self-subject-access-review-v1/
bool ApiServer::review(Connection& connection, const HttpRequest& request) {
  auto body = parse_body(request);
  const json::json_pointer asked("/spec/resourceAttributes");
  if (!body.is_object() || !body.contains(asked))
    return connection.answer(422, status_answer(422, "Invalid", "expected a review").text);
  const auto verb = body[asked].value("verb", "");
  const auto resource = body[asked].value("resource", "");
  {
    const std::scoped_lock lock(mutex_);
    body["status"]["allowed"] = verb == "*" ? denied_.empty() : !denied_.contains(verb + " " + resource);
  }
  return connection.answer(201, body.dump());
}

void ApiServer::watch_order(WatchOrder order) {
  {
    const std::scoped_lock lock(mutex_);
    order_ = order;
    ++orders_;
  }
  store_->notify();
}

void ApiServer::inject(std::string line) {
  {
    const std::scoped_lock lock(mutex_);
    line_ = std::move(line);
  }
  watch_order(WatchOrder::inject);
}

void ApiServer::hush(bool on) {
  const std::scoped_lock lock(mutex_);
  hushed_ = on;
}

void ApiServer::slow_lists(std::size_t bytes, milliseconds between) {
  const std::scoped_lock lock(mutex_);
  slow_bytes_ = bytes;
  slow_between_ = between;
}

std::vector<std::string> ApiServer::requests() const {
  const std::scoped_lock lock(mutex_);
  return {requests_.begin(), requests_.end()};
}

std::optional<Fault> ApiServer::fault_for(const HttpRequest& request) {
  const std::scoped_lock lock(mutex_);
  std::string target = request.path;
  for (const auto& [name, value] : request.query)
    target += fmt::format("{}{}={}", target.find('?') == std::string::npos ? '?' : '&', name, value);
  requests_.push_back(request.method + " " + target);
  if (requests_.size() > most_requests) requests_.pop_front();
  for (auto fault = faults_.begin(); fault != faults_.end(); ++fault) {
    if (!fault->method.empty() && fault->method != request.method) continue;
    if (target.find(fault->path_contains) == std::string::npos) continue;
    Fault found = *fault;
    if (--fault->times <= 0) faults_.erase(fault);
    return found;
  }
  if (!token_.empty() && request.header("authorization") != "Bearer " + token_) return Fault{.status = 401};
  return std::nullopt;
}

bool ApiServer::control(Connection& connection, const HttpRequest& request) {
  const auto wanted = parse_body(request);
  if (wanted.is_null()) return connection.answer(400, "expected an object in JSON\n");
  if (const auto order = wanted.value("watches", ""); order == "end")
    end_watches();
  else if (order == "break")
    break_watches();
  else if (order == "cut")
    cut_next_event();
  if (wanted.contains("hush")) hush(wanted["hush"].get<bool>());
  if (wanted.value("compact", false)) store_->compact();
  if (wanted.contains("token")) set_token(wanted["token"].get<std::string>());
  if (wanted.contains("inject")) inject(wanted["inject"].get<std::string>());
  if (const auto slow = wanted.find("slow"); slow != wanted.end())
    slow_lists(slow->value("bytes", 0U), milliseconds(slow->value("milliseconds", 0)));
  if (const auto fault = wanted.find("fail"); fault != wanted.end())
    fail({.method = fault->value("method", ""),
          .path_contains = fault->value("path", ""),
          .status = fault->value("status", 500),
          .retry_after = fault->value("retry_after", 0),
          .times = fault->value("times", 1)});
  return connection.answer(200, "{}\n");
}

bool ApiServer::answer(Connection& connection, const HttpRequest& request) {
  // Before any fault, or none could be taken back.
  if (request.path == "/weft-test/faults" && request.method == "POST") return control(connection, request);
  if (const auto fault = fault_for(request)) {
    const auto* reason = fault->status == 401   ? "Unauthorized"
                         : fault->status == 403 ? "Forbidden"
                         : fault->status == 410 ? "Expired"
                         : fault->status == 429 ? "TooManyRequests"
                                                : "InternalError";
    return connection.answer(fault->status, status_answer(fault->status, reason, "a fault of this test").text,
                             fault->retry_after > 0 ? fmt::format("Retry-After: {}\r\n", fault->retry_after) : "");
  }
  if (request.path == "/readyz" || request.path == "/livez" || request.path == "/healthz")
    return connection.answer(200, "ok");
  if (request.path == "/version")
    return connection.answer(
        200, fmt::format(R"({{"major":"1","minor":"{0}","gitVersion":"v1.{0}.0-weft-test"}})", minor_.load()));
  if (request.method == "POST" && request.path == "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews")
    return review(connection, request);
  const auto path = parse_path(request.path);
  if (!path || !store_->type_of(path->resource))
    return connection.answer(404,
                             status_answer(404, "NotFound", "the server could not find the requested resource").text);
  return dispatch(connection, request, *path);
}

bool ApiServer::dispatch(Connection& connection, const HttpRequest& request, const ObjectPath& path) {
  const auto watching = request.query_value("watch");
  if (request.method == "GET" && (watching == "1" || watching == "true")) return watch(connection, request, path);
  if (request.method == "GET" && path.name.empty()) return list(connection, request, path);
  const auto said = carry_out(*store_, request, path);
  return connection.answer(said.code, said.text);
}

bool ApiServer::list(Connection& connection, const HttpRequest& request, const ObjectPath& path) {
  const auto said = carry_out(*store_, request, path);
  std::size_t piece = 0;
  milliseconds between{0};
  {
    const std::scoped_lock lock(mutex_);
    piece = slow_bytes_;
    between = slow_between_;
  }
  if (piece == 0 || said.code != 200) return connection.answer(said.code, said.text);
  if (!connection.begin_stream()) return false;
  for (std::size_t at = 0; at < said.text.size() && !stopping_; at += piece) {
    if (!connection.chunk(std::string_view(said.text).substr(at, piece))) return false;
    std::this_thread::sleep_for(between);
  }
  return connection.end_stream();
}

bool ApiServer::watch(Connection& connection, const HttpRequest& request, const ObjectPath& path) {
  const auto version_text = request.query_value("resourceVersion");
  std::int64_t from = std::atoll(version_text.c_str());
  const auto selector = selector_of(request, path);
  const auto may = store_->may_watch(from);
  if (may.code == 410 && options_.gone_as_event) {
    return connection.begin_stream() &&
           connection.chunk(fmt::format(R"({{"type":"ERROR","object":{}}})", may.text) + "\n") &&
           connection.end_stream();
  }
  if (may.code != 200) return connection.answer(may.code, may.text);
  const auto seconds = std::atoll(request.query_value("timeoutSeconds").c_str());
  const auto until = steady_clock::now() + (seconds > 0 ? std::chrono::seconds(seconds) : std::chrono::seconds(3600));
  const std::uint64_t orders = orders_now();
  if (!connection.begin_stream()) return false;
  if (from == 0 && !connection.chunk(store_->all_as_events(from, path, selector))) return false;
  const bool bookmarks = !request.query_value("allowWatchBookmarks").empty();
  ++watches_;
  const bool stays =
      stream(connection, path, selector, {.from = from, .until = until, .bookmarks = bookmarks, .orders = orders});
  --watches_;
  return stays;
}

std::uint64_t ApiServer::orders_now() const {
  const std::scoped_lock lock(mutex_);
  return orders_;
}

// False: the connection is of no use any more.
bool ApiServer::stream(Connection& connection, const ObjectPath& path, const Selector& selector, Stream stream) {
  auto next_bookmark = steady_clock::now() + options_.bookmark_every;
  bool cut = false;
  while (!stopping_ && steady_clock::now() < stream.until) {
    auto order = WatchOrder::none;
    std::string line;
    bool hushed = false;
    {
      const std::scoped_lock lock(mutex_);
      if (std::exchange(stream.orders, orders_) != orders_) order = order_;
      line = line_;
      hushed = hushed_;
    }
    if (connection.gone()) return false;
    if (order == WatchOrder::end) break;
    if (order == WatchOrder::reset) {
      connection.reset();
      return false;
    }
    cut = cut || order == WatchOrder::cut;
    if (order == WatchOrder::inject && !connection.chunk(line + "\n")) return false;
    if (!hushed) {
      const auto events = store_->events_after(stream.from, path, selector);
      if (!events) {
        const auto gone = status_answer(410, "Expired", "too old resource version");
        return connection.chunk(fmt::format(R"({{"type":"ERROR","object":{}}})", gone.text) + "\n") &&
               connection.end_stream();
      }
      if (cut && !events->empty()) {
        connection.chunk(std::string_view(*events).substr(0, events->size() / 2));
        return false;
      }
      if (!connection.chunk(*events)) return false;
      if (stream.bookmarks && steady_clock::now() >= next_bookmark) {
        if (!connection.chunk(store_->bookmark(stream.from, path.resource))) return false;
        next_bookmark = steady_clock::now() + options_.bookmark_every;
      }
    }
    store_->wait(hushed ? store_->version() : stream.from, look_around);
  }
  return !stopping_ && connection.end_stream();
}

}  // namespace weft::kubernetes::testing
