// A cluster in memory for tests of whatever is built on Client. It obeys etcd's rules (fake_store.h; the
// conformance tests run against both) and fails on demand. Its leases live on the scheduler's clock.
//
// A request is applied whole or not at all; what can go wrong is that the answer is late or lost.
// One thread: the scheduler's.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "sources/etcd/client.h"
#include "sources/etcd/fake_store.h"
#include "sources/etcd/scheduler.h"

namespace weft::etcd {

// Outlives its clients.
class FakeCluster {
 public:
  explicit FakeCluster(Scheduler& scheduler) : scheduler_(&scheduler) {}
  ~FakeCluster();
  FakeCluster(const FakeCluster&) = delete;
  FakeCluster& operator=(const FakeCluster&) = delete;

  std::unique_ptr<Client> connect();

  // --- what goes wrong; each until changed back ---
  // Nothing is applied, everything is answered `unavailable`, streams break. Leases go on expiring only
  // when it is back, as with an etcd that has no majority, and begin anew then.
  void set_available(bool available);
  // The next requests are not applied and get this answer.
  void fail_next(const Failure& failure, int count = 1);
  // The next requests are applied, but the answer is `unavailable` and unsure.
  void lose_answers(int count);
  // Answers come this late; `deadline` when that is later than the request's timeout (applied all the same).
  void set_latency(std::chrono::milliseconds latency) { latency_ = latency; }
  // Every stream ends with `unavailable`; they can be opened again.
  void break_watches();
  // Streams stand but are silent, signs of life included; what they missed comes afterwards.
  void silence_watches(bool silent);
  // Out of space: nothing is put and no lease granted, what is erased or kept alive is.
  void set_full(bool full) { full_ = full; }
  // All data and all history is gone, leases too; `same_cluster`: under the same cluster id.
  void wipe(bool same_cluster);

  // The state itself, for set-up and checks.
  FakeStore& store() { return store_; }
  // After changing the store by hand: watches are told.
  void changed();
  [[nodiscard]] std::size_t watches() const { return streams_.size(); }
  [[nodiscard]] std::uint64_t requests() const { return requests_; }

 private:
  friend class FakeClient;
  friend class FakeWatch;
  struct Stream;

  std::optional<Failure> refusal();
  void answer_later(std::chrono::milliseconds delay, Scheduler::Task answer);
  void keep_lease(LeaseId id, std::chrono::seconds ttl);
  void pump(const std::shared_ptr<Stream>& stream);
  void end(const std::shared_ptr<Stream>& stream, const Failure& why);

  Scheduler* scheduler_;
  FakeStore store_;
  std::uint64_t cluster_id_ = 1;
  bool available_ = true;
  bool silent_ = false;
  bool full_ = false;
  std::chrono::milliseconds latency_{0};
  std::list<Failure> failures_;
  int lost_answers_ = 0;
  std::uint64_t requests_ = 0;
  std::list<Timer> answers_;
  std::map<LeaseId, Timer> expiries_;
  std::list<std::shared_ptr<Stream>> streams_;
};

}  // namespace weft::etcd
