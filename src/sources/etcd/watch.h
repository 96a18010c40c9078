// A watch that comes back: the events of some keys from a revision on, each exactly once and in order,
// over as many streams as it takes.
//
// A lost stream is opened again after the last event with backoff. Before it is, etcd is asked (by a
// majority) what it had at the last revision that was told: a cluster that was wiped or restored has another history,
// whether it is behind us still or has passed us, and its id need not be another.
// A stream that is silent is asked for a sign of life and given up when there is none.
//
// Owner thread only; a handler may destroy the Watch. `client` and `scheduler` must outlive it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "sources/etcd/backoff.h"
#include "sources/etcd/client.h"
#include "sources/etcd/scheduler.h"

namespace weft::etcd {

struct WatchOptions {
  BackoffOptions backoff{};
  // A stream silent for this long is asked for a sign of life; after three questions without an
  // answer it is opened anew.
  std::chrono::milliseconds sign_of_life{10000};
};

// By what a history is recognized: what was told of it.
struct Known {
  std::int64_t count = 0;      // of the keys
  std::vector<KeyValue> some;  // of them; values do not matter
};

struct WatchEvents {
  // Never empty; all events of a revision are in one call. Up to `revision` nothing is missing.
  std::function<void(const std::vector<Event>& events, Revision revision)> events;
  // The stream stands, says something, or (with why) is lost and will be tried again.
  std::function<void()> alive;
  std::function<void(const Failure& why)> interrupted;
  // The end: why.needs_list(). Nothing else ends it.
  std::function<void(const Failure& why)> ended;
  // What there is by the events told, and what was there before them. Empty: only the revision is compared.
  std::function<Known()> known;
};

class Watch {
 public:
  // `from`: the first revision wanted, 1 or more.
  Watch(Client& client, Scheduler& scheduler, Random random, Keys keys, Revision from, WatchOptions options,
        WatchEvents handlers);
  ~Watch() = default;
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  // Everything before this revision has been told.
  [[nodiscard]] Revision next_revision() const { return next_; }
  [[nodiscard]] bool standing() const { return standing_; }

 private:
  void open();
  void received(WatchBatch batch);
  void arm_sign_of_life();
  void lost(const Failure& why);
  void check_history();
  void history_answered(const Known& known, const Outcome<TxnResult>& then);
  void end(const Failure& why);

  Client* client_;
  Scheduler* scheduler_;
  Keys keys_;
  WatchOptions options_;
  WatchEvents handlers_;
  Backoff backoff_;
  Revision next_;
  std::optional<std::uint64_t> cluster_id_;
  bool standing_ = false;
  int unanswered_ = 0;
  std::unique_ptr<WatchStream> stream_;
  Timer timer_;  // of the next try, or of the next sign of life
  // Requests in progress hold a weak reference.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace weft::etcd
