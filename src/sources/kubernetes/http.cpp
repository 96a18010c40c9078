#include "sources/kubernetes/http.h"

#include <curl/curl.h>
#include <fmt/format.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <system_error>
#include <utility>
#include <vector>

#include "sources/etcd/scheduler.h"
#include "sources/kubernetes/curl_loop.h"
#include "sources/kubernetes/token.h"

namespace weft::kubernetes {
namespace {

using Time = etcd::Scheduler::Time;
using std::chrono::milliseconds;

struct Lines {
  curl_slist* list = nullptr;
  Lines() = default;
  ~Lines() { curl_slist_free_all(list); }
  Lines(const Lines&) = delete;
  Lines& operator=(const Lines&) = delete;
  void clear() { curl_slist_free_all(std::exchange(list, nullptr)); }
  void add(const std::string& line) { list = curl_slist_append(list, line.c_str()); }
};

struct Exchange {
  std::uint64_t id = 0;
  Request request;
  RequestHandlers handlers;
  CURL* easy = nullptr;
  bool running = false;  // on the multi handle
  std::string server;
  std::set<std::string> tried;  // servers that it was not sent to
  bool token_renewed = false;
  std::string token;
  Lines headers;
  Lines connect_to;
  std::array<char, CURL_ERROR_SIZE> error_text{};

  std::size_t most_body = 0;
  std::string body;     // of an answer that is told at its end
  std::string pending;  // of a stream, to be handed over
  bool head = false;
  bool opened = false;  // head of a stream with 200
  bool told_opened = false;
  bool too_large = false;
  std::optional<CURLcode> result;
  Time started{};
  Time last_byte{};
  etcd::Timer timer;
  bool over = false;  // told, or cancelled
};

int of_status(CURL* easy) {
  long status = 0;
  curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
  return static_cast<int>(status);
}

// The failure of a connection, before anything of the request was sent.
bool not_sent(CURLcode code, CURL* easy) {
  switch (code) {
    case CURLE_COULDNT_CONNECT:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
      return true;
    case CURLE_OPERATION_TIMEDOUT: {
      double pretransfer = 0;
      curl_easy_getinfo(easy, CURLINFO_PRETRANSFER_TIME, &pretransfer);
      return pretransfer == 0;
    }
    default:
      return false;
  }
}

// A peer that is gone without a word: the kernel ends the connection after `dead_after`, be it that something was sent
// or that nothing was. While all is quiet it asks the peer's kernel after half of that time, which costs no request.
int prepare_socket(void* options, curl_socket_t fd, curlsocktype /*purpose*/) {
  const auto after = static_cast<HttpOptions*>(options)->dead_after;
  const auto dead_after = static_cast<unsigned>(std::chrono::milliseconds(after).count());
  const int probes = 3;
  // Where the kernel refuses, its defaults stay.
  static_cast<void>(setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &dead_after, sizeof dead_after));
  static_cast<void>(setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes));
  return CURL_SOCKOPT_OK;
}

void set_blob(CURL* easy, CURLoption option, const std::string& pem) {
  if (pem.empty()) return;
  curl_blob blob{.data = const_cast<char*>(pem.data()), .len = pem.size(), .flags = CURL_BLOB_NOCOPY};
  curl_easy_setopt(easy, option, &blob);
}

bool curl_ready() {
  static const bool ready = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
  return ready;
}

class CurlHttp final : public Http {
 public:
  CurlHttp(asio::io_context& loop, Access access, HttpOptions options)
      : scheduler_(loop),
        access_(std::move(access)),
        options_(std::move(options)),
        token_(access_.token, access_.token_file),
        curl_(loop, [this] { turned(); }) {}
  ~CurlHttp() override {
    alive_.reset();
    for (auto& [id, exchange] : exchanges_) release(*exchange);
  }
  CurlHttp(const CurlHttp&) = delete;
  CurlHttp& operator=(const CurlHttp&) = delete;

  std::unique_ptr<Transfer> start(Request request, RequestHandlers handlers) override;
  void use_servers(std::vector<std::string> servers) override;
  void cancel(std::uint64_t id);

 private:
  using Shared = std::shared_ptr<Exchange>;

  void perform(const Shared& exchange);
  void set_address(Exchange& exchange);
  void set_tls(CURL* easy) const;
  void set_request(Exchange& exchange);
  void arm(const Shared& exchange);
  void look_at_time(const Shared& exchange);
  void turned();
  void deliver(const Shared& exchange);
  void finished(const Shared& exchange);
  void answered(const Shared& exchange);
  void end(const Shared& exchange, Outcome<Answer> outcome);
  void release(Exchange& exchange);
  void leave_server(const std::string& server);
  [[nodiscard]] std::optional<std::string> next_server(const Exchange& exchange) const;
  [[nodiscard]] std::string place(const Exchange& exchange) const;

  static std::size_t write(char* bytes, std::size_t size, std::size_t count, void* exchange);
  static std::size_t header(char* bytes, std::size_t size, std::size_t count, void* exchange);

  etcd::AsioScheduler scheduler_;
  Access access_;
  HttpOptions options_;
  Token token_;
  CurlLoop curl_;
  std::size_t current_ = 0;  // the server in use
  std::uint64_t last_id_ = 0;
  std::map<std::uint64_t, Shared> exchanges_;
  // What handles know this by.
  std::shared_ptr<CurlHttp*> alive_ = std::make_shared<CurlHttp*>(this);
};

class Handle final : public Transfer {
 public:
  Handle(std::weak_ptr<CurlHttp*> http, std::uint64_t id) : http_(std::move(http)), id_(id) {}
  ~Handle() override {
    if (const auto http = http_.lock()) (*http)->cancel(id_);
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

 private:
  std::weak_ptr<CurlHttp*> http_;
  std::uint64_t id_;
};

std::unique_ptr<Transfer> CurlHttp::start(Request request, RequestHandlers handlers) {
  auto exchange = std::make_shared<Exchange>();
  exchange->id = ++last_id_;
  exchange->request = std::move(request);
  exchange->handlers = std::move(handlers);
  exchange->most_body = options_.most_body;
  exchange->server = access_.servers[current_];
  exchange->started = scheduler_.now();
  exchanges_.emplace(exchange->id, exchange);
  perform(exchange);
  arm(exchange);
  return std::make_unique<Handle>(alive_, exchange->id);
}

void CurlHttp::cancel(std::uint64_t id) {
  const auto found = exchanges_.find(id);
  if (found == exchanges_.end()) return;
  const auto exchange = found->second;
  exchanges_.erase(found);
  exchange->over = true;
  exchange->timer.cancel();
  release(*exchange);
}

void CurlHttp::release(Exchange& exchange) {
  if (exchange.easy == nullptr) return;
  if (exchange.running) curl_multi_remove_handle(curl_.multi(), exchange.easy);
  exchange.running = false;
  curl_easy_cleanup(std::exchange(exchange.easy, nullptr));
}

void CurlHttp::perform(const Shared& exchange) {
  release(*exchange);
  auto& e = *exchange;
  e.result.reset();
  e.head = e.opened = e.too_large = false;
  e.body.clear();
  e.pending.clear();
  e.error_text.front() = '\0';
  e.easy = curl_easy_init();
  curl_easy_setopt(e.easy, CURLOPT_PRIVATE, &e);
  curl_easy_setopt(e.easy, CURLOPT_ERRORBUFFER, e.error_text.data());
  curl_easy_setopt(e.easy, CURLOPT_WRITEFUNCTION, &CurlHttp::write);
  curl_easy_setopt(e.easy, CURLOPT_WRITEDATA, &e);
  curl_easy_setopt(e.easy, CURLOPT_HEADERFUNCTION, &CurlHttp::header);
  curl_easy_setopt(e.easy, CURLOPT_HEADERDATA, &e);
  set_address(e);
  set_tls(e.easy);
  set_request(e);
  const auto added = curl_multi_add_handle(curl_.multi(), e.easy);
  e.running = added == CURLM_OK;
  if (e.running) return;
  e.result = CURLE_FAILED_INIT;
  scheduler_.post([this, alive = std::weak_ptr(alive_), exchange] {
    if (!alive.expired() && !exchange->over) finished(exchange);
  });
}

void CurlHttp::set_address(Exchange& e) {
  CURL* easy = e.easy;
  std::string url = e.server;
  e.connect_to.clear();
  if (!access_.tls_server_name.empty() && url.starts_with("https://")) {
    // The name of the certificate goes to the URL, the address to where the connection is made.
    const std::string rest = url.substr(8);
    const std::string address = rest.substr(0, rest.find('/'));
    const auto colon = address.rfind(':');
    const bool has_port = colon != std::string::npos && address.find(']', colon) == std::string::npos;
    const std::string port = has_port ? address.substr(colon + 1) : "443";
    e.connect_to.add(fmt::format("{}:{}:{}:{}", access_.tls_server_name, port,
                                 address.substr(0, has_port ? colon : std::string::npos), port));
    curl_easy_setopt(easy, CURLOPT_CONNECT_TO, e.connect_to.list);
    url = fmt::format("https://{}:{}{}", access_.tls_server_name, port, rest.substr(address.size()));
  }
  curl_easy_setopt(easy, CURLOPT_URL, (url + e.request.target).c_str());
  curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "https,http");
  curl_easy_setopt(easy, CURLOPT_PROXY, "");  // whatever the environment says
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(options_.connect_timeout.count()));
  curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt(easy, CURLOPT_TCP_KEEPIDLE, std::max(1L, static_cast<long>(options_.dead_after.count() / 2)));
  curl_easy_setopt(easy, CURLOPT_TCP_KEEPINTVL, 1L);
  curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, &prepare_socket);
  curl_easy_setopt(easy, CURLOPT_SOCKOPTDATA, &options_);
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_2TLS));
  if (e.request.fresh)
    curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
  else if (url.starts_with("https://"))
    // Until it is known whether the connection carries many streams. Without TLS it never does, and none would go on.
    curl_easy_setopt(easy, CURLOPT_PIPEWAIT, 1L);
}

void CurlHttp::set_tls(CURL* easy) const {
  set_blob(easy, CURLOPT_CAINFO_BLOB, access_.ca_pem);
  set_blob(easy, CURLOPT_SSLCERT_BLOB, access_.certificate_pem);
  set_blob(easy, CURLOPT_SSLKEY_BLOB, access_.key_pem);
  curl_easy_setopt(easy, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, access_.insecure ? 0L : 1L);
  curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, access_.insecure ? 0L : 2L);
}

void CurlHttp::set_request(Exchange& e) {
  const auto& request = e.request;
  e.headers.clear();
  e.headers.add("Accept: " + (request.accept.empty() ? "application/json" : request.accept));
  e.headers.add("Expect:");
  e.token = token_.current(scheduler_.now());
  if (!e.token.empty()) e.headers.add("Authorization: Bearer " + e.token);
  if (!request.content_type.empty()) e.headers.add("Content-Type: " + request.content_type);
  if (!request.body.empty()) {
    curl_easy_setopt(e.easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
    curl_easy_setopt(e.easy, CURLOPT_POSTFIELDS, request.body.data());
  }
  if (request.method != "GET" || !request.body.empty())
    curl_easy_setopt(e.easy, CURLOPT_CUSTOMREQUEST, request.method.c_str());
  curl_easy_setopt(e.easy, CURLOPT_HTTPHEADER, e.headers.list);
  curl_easy_setopt(e.easy, CURLOPT_USERAGENT, options_.user_agent.c_str());
}

std::size_t CurlHttp::header(char* bytes, std::size_t size, std::size_t count, void* exchange) {
  auto& e = *static_cast<Exchange*>(exchange);
  const std::string_view line(bytes, size * count);
  // The empty line ends a head; one of a status below 200 is followed by another.
  if (line == "\r\n" && !e.head && of_status(e.easy) >= 200) {
    e.head = true;
    e.opened = e.request.stream && of_status(e.easy) == 200;
  }
  return line.size();
}

std::size_t CurlHttp::write(char* bytes, std::size_t size, std::size_t count, void* exchange) {
  auto& e = *static_cast<Exchange*>(exchange);
  const std::string_view data(bytes, size * count);
  if (e.opened) {
    e.pending += data;
    return data.size();
  }
  if (e.body.size() + data.size() > e.most_body) {
    e.too_large = true;
    return 0;
  }
  e.body += data;
  return data.size();
}

// After libcurl has worked: what has happened is told.
void CurlHttp::turned() {
  const auto alive = std::weak_ptr(alive_);
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(curl_.multi(), &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    Exchange* exchange = nullptr;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &exchange);
    exchange->result = message->data.result;
  }
  // Streams are few; to look at each is cheaper than to keep account.
  std::vector<Shared> those;
  for (const auto& [id, exchange] : exchanges_)
    if (exchange->result || !exchange->pending.empty() || (exchange->opened && !exchange->told_opened))
      those.push_back(exchange);
  for (const auto& exchange : those) {
    if (!exchange->over) deliver(exchange);
    if (alive.expired()) return;
  }
}

void CurlHttp::deliver(const Shared& exchange) {
  const auto alive = std::weak_ptr(alive_);
  auto& e = *exchange;
  if (e.opened && !std::exchange(e.told_opened, true)) {
    e.last_byte = scheduler_.now();
    arm(exchange);
    if (e.handlers.opened) e.handlers.opened();
    if (alive.expired() || e.over) return;
  }
  if (!e.pending.empty()) {
    e.last_byte = scheduler_.now();
    const std::string bytes = std::exchange(e.pending, {});
    if (e.handlers.bytes) e.handlers.bytes(bytes);
    if (alive.expired() || e.over) return;
  }
  if (e.result) finished(exchange);
}

void CurlHttp::finished(const Shared& exchange) {
  auto& e = *exchange;
  if (e.running) curl_multi_remove_handle(curl_.multi(), e.easy);
  e.running = false;
  const CURLcode code = *std::exchange(e.result, std::nullopt);
  if (code == CURLE_OK) return answered(exchange);
  if (e.too_large)
    return end(exchange,
               failed(Reason::too_large, fmt::format("{}: the answer has more than {} bytes", place(e), e.most_body)));
  std::string text = e.error_text.front() != '\0' ? e.error_text.data() : curl_easy_strerror(code);
  const bool unsent = not_sent(code, e.easy);
  if (unsent) {
    // libcurl says "could not connect", the kernel whether it was refused or led nowhere.
    long error = 0;
    curl_easy_getinfo(e.easy, CURLINFO_OS_ERRNO, &error);
    if (code == CURLE_COULDNT_CONNECT && error != 0)
      text += fmt::format(" ({})", std::generic_category().message(static_cast<int>(error)));
    leave_server(e.server);
    e.tried.insert(e.server);
    if (auto next = next_server(e)) {
      e.server = std::move(*next);
      return perform(exchange);
    }
  }
  if (code == CURLE_PEER_FAILED_VERIFICATION)
    text +=
        "; is the certificate-authority the right one, and is the certificate for this address (tls-server-name "
        "names another)?";
  auto failure = failed(Reason::unavailable, fmt::format("{}: {}", place(e), text));
  failure.error().unsure = !unsent && e.request.method != "GET";
  end(exchange, std::move(failure));
}

void CurlHttp::answered(const Shared& exchange) {
  auto& e = *exchange;
  Answer answer{.status = of_status(e.easy), .server = e.server};
  if (answer.status == 401 && !std::exchange(e.token_renewed, true) && token_.refused(e.token, scheduler_.now()))
    return perform(exchange);
  // Another may do better, next time: what of this one is broken is not known.
  if (answer.status >= 500) leave_server(e.server);
  curl_off_t seconds = 0;
  curl_easy_getinfo(e.easy, CURLINFO_RETRY_AFTER, &seconds);
  // Nobody waits for longer than that because a server says so.
  if (seconds > 0) answer.retry_after = std::min(std::chrono::seconds(seconds), std::chrono::seconds(120));
  answer.body = std::move(e.body);
  end(exchange, std::move(answer));
}

void CurlHttp::end(const Shared& exchange, Outcome<Answer> outcome) {
  exchanges_.erase(exchange->id);
  exchange->over = true;
  exchange->timer.cancel();
  release(*exchange);
  const auto done = std::move(exchange->handlers.done);
  if (done) done(std::move(outcome));
}

void CurlHttp::leave_server(const std::string& server) {
  if (access_.servers[current_] == server) current_ = (current_ + 1) % access_.servers.size();
}

// From the one in use on.
std::optional<std::string> CurlHttp::next_server(const Exchange& exchange) const {
  for (std::size_t i = 0; i < access_.servers.size(); ++i) {
    const auto& server = access_.servers[(current_ + i) % access_.servers.size()];
    if (!exchange.tried.contains(server)) return server;
  }
  return std::nullopt;
}

void CurlHttp::use_servers(std::vector<std::string> servers) {
  if (servers.empty()) return;
  const auto same = std::ranges::find(servers, access_.servers[current_]);
  current_ = same == servers.end() ? 0 : static_cast<std::size_t>(same - servers.begin());
  access_.servers = std::move(servers);
}

std::string CurlHttp::place(const Exchange& exchange) const {
  const auto& request = exchange.request;
  return fmt::format("{} {} of {}", request.method, request.target.substr(0, request.target.find('?')),
                     exchange.server);
}

// One timer for whatever is due first.
void CurlHttp::arm(const Shared& exchange) {
  auto& e = *exchange;
  std::optional<Time> due;
  const auto consider = [&due](Time time) { due = due ? std::min(*due, time) : time; };
  if (!e.opened)
    consider(e.started + e.request.timeout);
  else if (e.request.idle.count() > 0)
    consider(e.last_byte + e.request.idle);
  if (e.request.lifetime.count() > 0) consider(e.started + e.request.lifetime);
  e.timer.cancel();
  if (!due) return;
  const auto wait = std::chrono::ceil<milliseconds>(*due - scheduler_.now());
  e.timer = scheduler_.after(std::max(wait, milliseconds(0)), [this, weak = std::weak_ptr(exchange)] {
    if (const auto still = weak.lock(); still && !still->over) look_at_time(still);
  });
}

void CurlHttp::look_at_time(const Shared& exchange) {
  auto& e = *exchange;
  const Time now = scheduler_.now();
  const auto& request = e.request;
  std::string what;
  if (!e.opened && now >= e.started + request.timeout) {
    what = fmt::format("no answer within {} ms", request.timeout.count());
    leave_server(e.server);
  } else if (e.opened && request.idle.count() > 0 && now >= e.last_byte + request.idle) {
    what = fmt::format("nothing was heard for {} ms", request.idle.count());
  } else if (request.lifetime.count() > 0 && now >= e.started + request.lifetime) {
    what = fmt::format("the stream did not end within {} ms", request.lifetime.count());
  } else {
    return arm(exchange);
  }
  auto failure = failed(Reason::deadline, fmt::format("{}: {}", place(e), what));
  failure.error().unsure = request.method != "GET";
  end(exchange, std::move(failure));
}

}  // namespace

Result<std::unique_ptr<Http>> make_http(asio::io_context& loop, Access access, HttpOptions options) {
  if (!curl_ready()) return fail(ErrorCode::internal, "libcurl could not be initialized");
  if (access.servers.empty()) return fail(ErrorCode::invalid, access.origin + ": there is no address of an API server");
  return std::make_unique<CurlHttp>(loop, std::move(access), std::move(options));
}

std::string escape(std::string_view text) {
  std::string escaped;
  for (const char byte : text) {
    const bool plain = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
                       std::string_view("-._~").find(byte) != std::string_view::npos;
    if (plain)
      escaped += byte;
    else
      escaped += fmt::format("%{:02X}", static_cast<unsigned char>(byte));
  }
  return escaped;
}

}  // namespace weft::kubernetes
