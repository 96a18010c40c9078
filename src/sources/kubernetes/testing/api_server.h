// An API server for tests and labs: HTTP/1.1, plain or TLS, in front of an ApiStore, with faults on demand. It answers
// get, list (pages, selectors, versions), watch (bookmarks, versions, selectors), create, update, merge patch, apply,
// delete, the status subresource, and dry runs of create. It knows nothing of schemas, admission, RBAC and field
// ownership.
//
// A lab that runs it as a program (main/lab_api_server.cpp) makes faults by POST /weft-test/faults, with any of
// {"watches": "end" | "break" | "cut", "hush": BOOL, "compact": true, "token": TEXT, "inject": TEXT,
//  "slow": {"bytes": N, "milliseconds": N}, "fail": {"method", "path", "status", "retry_after", "times"}}.
//
// Its own threads; every function may be called from any.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/fd.h"
#include "sources/kubernetes/kubeconfig.h"
#include "sources/kubernetes/testing/api_store.h"
#include "sources/kubernetes/testing/certificate.h"
#include "sources/kubernetes/testing/connection.h"

namespace weft::kubernetes::testing {

struct ApiServerOptions {
  std::string address = "127.0.0.1";
  std::uint16_t port = 0;  // 0: one that is free
  std::optional<Certificate> tls;
  std::string client_ca_pem;                      // with tls: clients need a certificate of this authority
  std::string token;                              // clients need it; empty: they do not
  std::chrono::milliseconds bookmark_every{500};  // about a minute at a real one
  bool gone_as_event = true;                      // a watch from too long ago: 200 and an ERROR event, or 410
};

// What is answered instead of what is asked for.
struct Fault {
  std::string method;         // empty: any
  std::string path_contains;  // of path and query; empty: any
  int status = 500;
  int retry_after = 0;  // seconds; 0: not said
  int times = 1;
};

class ApiServer {
 public:
  // Listens; throws std::runtime_error where it cannot.
  explicit ApiServer(ApiServerOptions options = {}, std::shared_ptr<ApiStore> store = std::make_shared<ApiStore>());
  ~ApiServer();
  ApiServer(const ApiServer&) = delete;
  ApiServer& operator=(const ApiServer&) = delete;

  ApiStore& store() { return *store_; }
  [[nodiscard]] std::string url() const;
  // As a client needs it.
  [[nodiscard]] Access access() const;

  // Away, with every connection; and back under the same address.
  void stop();
  void start();

  void fail(Fault fault);
  void set_token(std::string token);
  // SelfSubjectAccessReviews say no to this, "create daemonsets"; of all else yes. Requests are not refused by it.
  void deny(std::string verb_and_resource);
  // It says that it is Kubernetes 1.MINOR.
  void set_minor(int minor) { minor_ = minor; }
  // Every stream of a watch: ends as its time were over; is reset; sends half of the next event and is reset then.
  void end_watches() { watch_order(WatchOrder::end); }
  void break_watches() { watch_order(WatchOrder::reset); }
  void cut_next_event() { watch_order(WatchOrder::cut); }
  // Watches stand and say nothing, not even bookmarks.
  void hush(bool on);
  // This line, to every watch that stands.
  void inject(std::string line);
  // Lists come in pieces of so many bytes, with so much time between; 0: at once.
  void slow_lists(std::size_t bytes, std::chrono::milliseconds between);

  [[nodiscard]] int watches() const { return watches_; }               // that stand
  [[nodiscard]] int connections() const { return connections_made_; }  // that were made
  // "GET /api/v1/pods?limit=500" of the last requests, the oldest first.
  [[nodiscard]] std::vector<std::string> requests() const;

 private:
  enum class WatchOrder : std::uint8_t { none, end, reset, cut, inject };
  struct Served {
    explicit Served(Fd accepted) : fd(std::move(accepted)) {}
    Fd fd;  // the connection's, to be shut down from outside
    std::thread thread;
    std::atomic<bool> over{false};
  };

  void accept_all();
  void serve(Served& served);
  bool answered(Connection& connection, const HttpRequest& request);
  bool answer(Connection& connection, const HttpRequest& request);
  bool control(Connection& connection, const HttpRequest& request);
  bool review(Connection& connection, const HttpRequest& request);
  bool dispatch(Connection& connection, const HttpRequest& request, const ObjectPath& path);
  bool list(Connection& connection, const HttpRequest& request, const ObjectPath& path);
  bool watch(Connection& connection, const HttpRequest& request, const ObjectPath& path);
  struct Stream {
    std::int64_t from = 0;
    std::chrono::steady_clock::time_point until;
    bool bookmarks = false;
    std::uint64_t orders = 0;  // given before it stood
  };
  bool stream(Connection& connection, const ObjectPath& path, const Selector& selector, Stream stream);
  [[nodiscard]] std::uint64_t orders_now() const;
  std::optional<Fault> fault_for(const HttpRequest& request);
  void watch_order(WatchOrder order);
  void listen();

  ApiServerOptions options_;
  std::shared_ptr<ApiStore> store_;
  SSL_CTX* tls_ = nullptr;
  Fd listener_;
  std::uint16_t port_ = 0;
  std::thread acceptor_;
  std::atomic<bool> stopping_{false};
  std::atomic<int> watches_{0};
  std::atomic<int> connections_made_{0};

  mutable std::mutex mutex_;  // of what follows
  std::list<Served> served_;
  std::vector<Fault> faults_;
  std::deque<std::string> requests_;  // the last of them
  std::atomic<int> minor_{32};
  std::set<std::string> denied_;
  std::string token_;
  std::string line_;
  WatchOrder order_ = WatchOrder::none;
  std::uint64_t orders_ = 0;  // counts them: each watch carries out each once
  bool hushed_ = false;
  std::size_t slow_bytes_ = 0;
  std::chrono::milliseconds slow_between_{0};
};

}  // namespace weft::kubernetes::testing
