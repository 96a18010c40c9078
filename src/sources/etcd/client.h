// One etcd cluster, seen from one thread.
//
// Threading: everything, callbacks included, happens on the owner thread of the Scheduler the client
// was made with. A callback never runs inside the call that was given it, runs exactly once unless the
// client is destroyed first, and may destroy the client or start new requests.
//
// Errors: a request that fails with Failure::unsure may have been applied; all others were not. What
// only reads, and what is known not to have been applied, is tried again on other endpoints until the
// deadline; what writes never is once it may have been applied.
#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "sources/etcd/types.h"

namespace weft::etcd {

template <class T>
using Done = std::function<void(Outcome<T>)>;

struct CallOptions {
  std::chrono::milliseconds timeout{0};  // 0: the client's own
};

// One stream of a watch. It does not come back by itself: Watch (watch.h) does that. Destroying it
// cancels it; no callback runs after that.
class WatchStream {
 public:
  virtual ~WatchStream() = default;
  // Asks for a sign of life, told as WatchBatch::Kind::alive. A server that is still sending old events
  // may not answer.
  virtual void request_progress() = 0;
};

struct WatchHandlers {
  std::function<void(WatchBatch)> batch;
  // Once, after which nothing comes. `compacted` carries the revision when the start is gone.
  std::function<void(Failure)> ended;
};

class Client {
 public:
  virtual ~Client() = default;

  virtual void range(RangeRequest request, CallOptions options, Done<RangeResult> done) = 0;
  virtual void put(PutRequest request, CallOptions options, Done<PutResult> done) = 0;
  virtual void erase(EraseRequest request, CallOptions options, Done<EraseResult> done) = 0;
  virtual void txn(Txn request, CallOptions options, Done<TxnResult> done) = 0;
  // Drops history up to `revision`: older states cannot be read or watched any more.
  virtual void compact(Revision revision, CallOptions options, Done<void> done) = 0;

  // id 0: etcd chooses.
  virtual void grant(std::chrono::seconds ttl, LeaseId id, CallOptions options, Done<LeaseGrant> done) = 0;
  // The lease lives for the returned time from when etcd got this; `lease_not_found` once it has ended.
  virtual void keep_alive(LeaseId id, CallOptions options, Done<std::chrono::seconds> done) = 0;
  // Ends the lease and erases every key put with it.
  virtual void revoke(LeaseId id, CallOptions options, Done<void> done) = 0;

  virtual void status(CallOptions options, Done<Status> done) = 0;

  // The longest value that it takes for sure.
  [[nodiscard]] virtual std::size_t largest_value() const { return 1500000; }
  // Who changes one element of a long list sends all of the value to everyone who watches: so many of them are kept in
  // one value. 0: all.
  [[nodiscard]] virtual std::size_t slice_of_list() const { return 0; }
  // By what it is asked whether its history is the one that was told (watch.h).
  struct HistoryCheck {
    std::size_t keys = 16;
    bool count = true;
  };
  [[nodiscard]] virtual HistoryCheck history_check() const { return {}; }

  [[nodiscard]] virtual std::unique_ptr<WatchStream> watch(WatchRequest request, WatchHandlers handlers) = 0;
};

}  // namespace weft::etcd
