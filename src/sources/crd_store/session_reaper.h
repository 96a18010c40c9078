// Ends the sessions of whoever is gone: a session's Lease that has not changed for as long as it says, by our own
// clock, is deleted on condition of its revision, so that a renewal in time wins, and its claims after it. Each write
// of a claim looks for the Lease afterwards, so none is missed. One of a cluster does this: whoever leads by an
// Election (kubernetes/lease.h).
//
// Whom the server did not answer could not renew: while nothing is heard of it no time counts, and when it is back
// every session has its whole time again. What an earlier reaper left is looked for each `sweep`: claims whose session
// has no Lease.
//
// Owner thread only; a handler may not destroy it. `http` and `scheduler` must outlive it.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "sources/crd_store/calls.h"
#include "sources/etcd/backoff.h"
#include "sources/etcd/scheduler.h"
#include "sources/kubernetes/reflector.h"

namespace weft::crd {

struct ReaperOptions {
  std::string cluster = "default";
  std::string namespace_name = "weft-system";
  std::chrono::milliseconds timeout{5000};
  std::chrono::milliseconds sweep{60000};
};

struct ReaperHandlers {
  // Of which node or operator, as its Lease says.
  std::function<void(const std::string& holder)> ended;
  std::function<void(const Error& error)> trouble;
};

class SessionReaper {
 public:
  static Result<std::unique_ptr<SessionReaper>> make(kubernetes::Http& http, etcd::Scheduler& scheduler,
                                                     etcd::Random random, ReaperOptions options,
                                                     ReaperHandlers handlers);
  ~SessionReaper() = default;
  SessionReaper(const SessionReaper&) = delete;
  SessionReaper& operator=(const SessionReaper&) = delete;

  [[nodiscard]] std::uint64_t ended() const { return ended_; }    // sessions
  [[nodiscard]] std::uint64_t erased() const { return erased_; }  // claims

 private:
  struct Session {
    etcd::LeaseId id = 0;
    std::string holder;
    std::chrono::seconds duration{0};
  };
  struct Seen {
    Session session;
    etcd::Revision revision = 0;
    etcd::Scheduler::Time since{};  // it has been this way, and we heard of all changes
  };

  SessionReaper(kubernetes::Http& http, etcd::Scheduler& scheduler, etcd::Random random, ReaperOptions options,
                ReaperHandlers handlers, cluster::Keyspace keys);
  void changed(const kubernetes::Change& change);
  void state();
  void look();
  void arm();
  Task<kubernetes::Outcome<bool>> end(Seen seen);
  Task<kubernetes::Outcome<bool>> erase_claims(std::string selector, bool of_ended);
  void trouble(const kubernetes::Failure& why);

  etcd::Scheduler* scheduler_;
  ReaperOptions options_;
  ReaperHandlers handlers_;
  Codec codec_;
  std::map<std::string, Seen> sessions_;  // by the Lease's name
  bool live_ = false;
  bool busy_ = false;
  etcd::Scheduler::Time next_sweep_{};
  std::uint64_t ended_ = 0;
  std::uint64_t erased_ = 0;
  etcd::Timer timer_;
  Running running_;
  Calls calls_;
  kubernetes::Reflector leases_;
};

}  // namespace weft::crd
