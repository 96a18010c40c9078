// A lease kept alive, and the keys that live with it: what a node says about itself for as long as it is
// there. When the lease is lost (etcd forgot it, or was away for longer than it lasts) the session takes a
// new one and writes every key again; the old one is revoked only after that, so no key is missing
// in between if the old lease was alive after all.
//
// Owner thread only; a handler may destroy the Session. Destroying it leaves lease and keys to expire;
// close() ends them at once. `client` and `scheduler` must outlive it.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "sources/etcd/backoff.h"
#include "sources/etcd/client.h"
#include "sources/etcd/scheduler.h"

namespace weft::etcd {

struct SessionOptions {
  std::chrono::seconds ttl{30};
  BackoffOptions backoff{};
};

struct SessionHandlers {
  // The lease stands and every bound key has been written under it.
  std::function<void(LeaseId lease)> established;
  // It may be gone: until `established` others may see this node as away. Whoever acted because it held
  // the lease (a leader) must have stopped.
  std::function<void(const Failure& why)> lost;
  // A try failed that will be repeated; for the log.
  std::function<void(const Failure& why)> trouble;
};

class Session {
 public:
  // Takes its lease at once.
  Session(Client& client, Scheduler& scheduler, Random random, SessionOptions options, SessionHandlers handlers);
  ~Session() = default;
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Writes the key under the lease, now and after every loss. Replaces what was bound to the key.
  void bind(std::string key, std::string value);
  // Erases it. When etcd is away, the key ends with the lease at the latest.
  void unbind(const std::string& key);
  // Revokes the lease and stops. `done` is told when etcd has answered, or at its deadline.
  void close(Done<void> done);

  // 0 while there is none that can be relied on.
  [[nodiscard]] LeaseId lease() const { return established_ ? lease_ : 0; }
  // How long etcd lets the lease, or the last one, live without a sign of life.
  [[nodiscard]] std::chrono::seconds ttl() const { return std::max(ttl_, options_.ttl); }
  // Everything bound has been written.
  [[nodiscard]] bool settled() const;

 private:
  struct Bound {
    std::string value;
    bool written = false;
    std::uint64_t change = 0;  // counts binds: an old answer says nothing about a newer value
  };

  void establish();
  void granted(const LeaseGrant& grant, Scheduler::Time asked);
  // One write at a time, so that the last one wins.
  void work();
  void put(const std::string& key, const Bound& bound);
  void erase(const std::string& key);
  void worked(const std::optional<Failure>& failure);
  void all_written();
  void keep_alive();
  void kept(const Outcome<std::chrono::seconds>& outcome, Scheduler::Time asked);
  void schedule_keep_alive();
  void lose(const Failure& why);
  void trouble(const Failure& why);
  void begin_epoch();

  Client* client_;
  Scheduler* scheduler_;
  Random random_;
  SessionOptions options_;
  SessionHandlers handlers_;
  Backoff backoff_;
  Backoff keepalive_backoff_;
  std::map<std::string, Bound> bound_;
  std::set<std::string> unbound_;  // to be erased
  std::uint64_t changes_ = 0;
  bool working_ = false;

  LeaseId lease_ = 0;
  LeaseId old_lease_ = 0;  // to be revoked once the new one holds everything
  std::chrono::seconds ttl_{0};
  bool established_ = false;
  bool closed_ = false;
  Scheduler::Time valid_until_{};  // by our clock, from when the last keepalive was sent
  Timer keepalive_;
  Timer expiry_;
  Timer retry_;
  // Answers to requests of an earlier lease are of no interest: each begins an epoch.
  std::shared_ptr<bool> epoch_ = std::make_shared<bool>(true);
};

}  // namespace weft::etcd
