// Requests to the API server over libcurl, driven by the owner's loop: HTTP/1.1 and 2, TLS, connections kept. One of
// the servers is used until it fails, be it with 5xx; then the next.
//
// Threading: everything, handlers included, happens on the owner thread, which runs the loop. A handler never runs
// inside the call that was given it, and may start and cancel requests and destroy the client. (libcurl resolves names
// on a thread of its own; API servers are mostly named by address.)
//
// Errors: a request that could not be sent is tried on the other servers at once. All else is told: what may be
// repeated is the caller's knowledge. A token that is refused is read again, and the request repeated once.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sources/kubernetes/failure.h"
#include "sources/kubernetes/kubeconfig.h"

namespace asio {
class io_context;
}

namespace weft::kubernetes {

struct Request {
  std::string method = "GET";
  std::string target;        // path and query, escaped: "/api/v1/pods?limit=500"
  std::string content_type;  // of `body`
  std::string accept;        // empty: JSON
  std::string body;
  // Until the whole answer is here; of a stream, until its head is.
  std::chrono::milliseconds timeout{30000};
  // The answer's body is handed over as it comes, if its status is 200, and then `idle` and `lifetime` count.
  bool stream = false;
  std::chrono::milliseconds idle{0};      // without a byte; 0: any
  std::chrono::milliseconds lifetime{0};  // from start to end; 0: any
  // Not on a connection that is there already: that one is suspected to be dead.
  bool fresh = false;
};

struct Answer {
  int status = 0;
  std::string body;                           // empty of what was handed over as a stream
  std::string server;                         // whose answer it is
  std::chrono::milliseconds retry_after{-1};  // -1: not said
  [[nodiscard]] bool good() const { return status >= 200 && status < 300; }
};

struct RequestHandlers {
  // Once the head of a stream is here with status 200.
  std::function<void()> opened;
  // Never empty.
  std::function<void(std::string_view bytes)> bytes;
  // Exactly once, unless cancelled. Any status is an answer; a Failure means that there is none, or a part.
  std::function<void(Outcome<Answer>)> done;
};

// A request in progress; destroying it cancels it, and no handler runs after that.
class Transfer {
 public:
  virtual ~Transfer() = default;
};

class Http {
 public:
  virtual ~Http() = default;
  [[nodiscard]] virtual std::unique_ptr<Transfer> start(Request request, RequestHandlers handlers) = 0;
  // From the next try on, in this order; the one in use stays so if it is among them. None are no news. As Access has
  // them.
  virtual void use_servers(std::vector<std::string> servers) = 0;
};

struct HttpOptions {
  std::size_t most_body = 16UL << 20;  // of an answer that is not a stream
  std::chrono::milliseconds connect_timeout{5000};
  // A connection on which the server's kernel answers nothing ends after this long.
  std::chrono::seconds dead_after{6};
  std::string user_agent = "weft";
};

// `loop` must outlive the client.
Result<std::unique_ptr<Http>> make_http(asio::io_context& loop, Access access, HttpOptions options);

// For a part of a path or the value of a query's parameter.
std::string escape(std::string_view text);

}  // namespace weft::kubernetes
