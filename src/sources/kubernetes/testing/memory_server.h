// The same API server without a network and without threads, on a clock that a test turns: requests are carried out
// when the scheduler comes to them, and fail on demand. For what is built on Http and tried in many orders.
#pragma once

#include <chrono>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "sources/etcd/scheduler.h"
#include "sources/kubernetes/http.h"
#include "sources/kubernetes/testing/api_requests.h"
#include "sources/kubernetes/testing/api_store.h"

namespace weft::kubernetes::testing {

// Outlives its clients.
class MemoryServer {
 public:
  using Delay = std::function<std::chrono::milliseconds()>;

  explicit MemoryServer(etcd::Scheduler& scheduler) : scheduler_(&scheduler) {}
  ~MemoryServer();
  MemoryServer(const MemoryServer&) = delete;
  MemoryServer& operator=(const MemoryServer&) = delete;

  ApiStore& store() { return store_; }
  std::unique_ptr<Http> connect();
  // After the store was changed by hand: watches are told.
  void changed();

  // --- what goes wrong; each until changed back ---
  void set_available(bool available);
  // The next requests whose method and target are like that are answered so and not carried out.
  struct Fault {
    std::string method;           // empty: any
    std::string target_contains;  // empty: any
    int status = 500;
    std::string body;
    std::chrono::milliseconds retry_after{-1};
    int times = 1;
  };
  void fail(Fault fault) { faults_.push_back(std::move(fault)); }
  // The next writes like that are carried out, and their answers lost.
  void lose_answers(int count, std::string target_contains = {});
  // Nothing of this client's gets through, in either direction.
  void cut(Http& http, bool cut);
  // How long each request is on its way, and each answer.
  void set_delay(Delay delay) { delay_ = std::move(delay); }
  void break_watches();
  // Its etcd is at its quota: what is deleted is, nothing else is written.
  void set_full(bool full) { full_ = full; }
  // Runs before a request like that is carried out, once: what happens in between.
  void before(std::string method, std::string target_contains, std::function<void()> what);

  [[nodiscard]] std::size_t watches() const { return streams_.size(); }
  [[nodiscard]] const std::vector<std::string>& requests() const { return requests_; }
  void forget_requests() { requests_.clear(); }

 private:
  friend class MemoryHttp;
  struct Exchange {
    std::shared_ptr<const bool> cut;  // of its client
    Request request;
    RequestHandlers handlers;
    HttpRequest parsed;
    ObjectPath path;
    bool over = false;
    bool watching = false;
    bool opened = false;
    std::int64_t from = 0;
    etcd::Timer timer;
    etcd::Timer timeout;
  };
  using Shared = std::shared_ptr<Exchange>;
  struct Hook {
    std::string method;
    std::string target_contains;
    std::function<void()> what;
  };

  void arrive(const Shared& exchange);
  void carry(const Shared& exchange);
  void answer(const Shared& exchange, Outcome<Answer> outcome);
  void watch(const Shared& exchange);
  void pump(const Shared& exchange);
  void bookmark(const Shared& exchange);
  void end(const Shared& exchange, Outcome<Answer> outcome);
  [[nodiscard]] std::chrono::milliseconds delay() const { return delay_ ? delay_() : std::chrono::milliseconds(0); }
  static bool is_like(const Exchange& exchange, const std::string& method, const std::string& part);

  etcd::Scheduler* scheduler_;
  ApiStore store_;
  bool available_ = true;
  bool full_ = false;
  Delay delay_;
  std::vector<Fault> faults_;
  std::vector<Hook> hooks_;
  int lost_answers_ = 0;
  std::string lost_target_;
  std::list<Shared> streams_;
  // An exchange waits by a timer of its own that holds it: what never ends is let go with the server.
  std::vector<std::weak_ptr<Exchange>> exchanges_;
  std::vector<std::string> requests_;
};

}  // namespace weft::kubernetes::testing
