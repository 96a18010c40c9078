// One leader among many, by a Lease of coordination.k8s.io/v1, as client-go's leader election has it, and beside it:
// either keeps out of the other's way.
//
// No clock is compared with another's. A holder counts as alive for as long as the Lease says (leaseDurationSeconds)
// since *we* last saw it change, a minute at most; the times written in it are for people. The leader stops by its own
// clock: when its last renewal that succeeded was sent longer ago than `renew_within`, which is shorter than `duration`
// by what clocks' rates and a paused process may cost.
//
// Owner thread only; a handler may destroy the Election. Destroying it leaves the Lease to expire; release() ends it.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "sources/etcd/backoff.h"
#include "sources/etcd/scheduler.h"
#include "sources/kubernetes/writer.h"

namespace weft::kubernetes {

struct ElectionOptions {
  std::string namespace_name;
  std::string name;
  std::string identity;  // of this run, no other's: "node-a_4f1b1b0e"
  // client-go's numbers.
  std::chrono::milliseconds duration{15000};  // in whole seconds
  std::chrono::milliseconds renew_within{10000};
  std::chrono::milliseconds retry{2000};
  // A Lease that says more counts for this long, or for `duration` where that is longer: whoever may write it cannot
  // keep all others from acting.
  std::chrono::milliseconds most_trusted{60000};
  std::function<std::chrono::system_clock::time_point()> wall_clock = std::chrono::system_clock::now;
};

struct ElectionHandlers {
  std::function<void()> elected;
  // Another may be: whoever acted because it led must have stopped.
  std::function<void(const std::string& why)> lost;
  // A try failed that will be repeated; for the log.
  std::function<void(const Failure& why)> trouble;
};

class Election {
 public:
  // Tries at once. `http` and `scheduler` must outlive it.
  Election(Http& http, etcd::Scheduler& scheduler, etcd::Random random, ElectionOptions options,
           ElectionHandlers handlers);
  ~Election() = default;
  Election(const Election&) = delete;
  Election& operator=(const Election&) = delete;

  [[nodiscard]] bool leads() const { return leads_; }
  // Who has it, as far as is known; empty: nobody.
  [[nodiscard]] const std::string& holder() const { return seen_.holder; }
  // Stops; another may take over at once. `done` is told when the server has answered, or at the deadline.
  void release(std::function<void()> done);

 private:
  // What is known of the Lease.
  struct Seen {
    std::string json;  // empty: there is none, or none is known
    std::string holder;
    std::string resource_version;
    std::chrono::milliseconds duration{0};
    std::int64_t transitions = 0;
    std::string acquired;
    etcd::Scheduler::Time since{};  // it has been this way
  };
  void look();
  void looked(const Outcome<std::string>& lease);
  void see(const std::string& json);
  void hold();
  void held(const Outcome<std::string>& lease, etcd::Scheduler::Time sent);
  void write(const std::string& json, Written done);
  void lose(const std::string& why);
  void give_up();
  void try_after(std::chrono::milliseconds wait);
  void failed_try(const Failure& why);
  [[nodiscard]] std::string path() const;
  [[nodiscard]] std::string lease_text(const std::string& holder) const;

  Writer writer_;
  etcd::Scheduler* scheduler_;
  etcd::Random random_;
  ElectionOptions options_;
  ElectionHandlers handlers_;
  Seen seen_;
  bool leads_ = false;
  bool released_ = false;
  bool busy_ = false;   // a request is under way
  bool stale_ = false;  // the Lease may be another than seen_
  std::function<void()> release_done_;
  etcd::Timer next_;
  etcd::Timer end_;  // of what was held last, by our clock
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace weft::kubernetes
