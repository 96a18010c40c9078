// Probes backends, by TCP or HTTP, as Services ask for it by annotation (weft.io/health-check). All on the
// caller's loop: a timer for the next probes due and as many sockets as are under way.
#pragma once

#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>

#include "base/ip.h"
#include "model/objects.h"

namespace weft::agent {

// What is probed and how: two ports of a Service that share one health port are one target.
struct CheckTarget {
  IpAddress address;
  std::uint16_t port = 0;
  model::HealthCheck check;  // its port is not looked at
  bool operator<(const CheckTarget& other) const;
};

// What the outcome counts for.
struct CheckedBackend {
  IpAddress address;
  std::uint16_t port = 0;
  Protocol protocol = Protocol::tcp;
  auto operator<=>(const CheckedBackend&) const = default;
};

using CheckTargets = std::map<CheckTarget, std::set<CheckedBackend>>;

class Checker {
 public:
  // Of one target; a backend nobody has found out about is healthy.
  struct State {
    bool healthy = true;
    std::uint64_t probes = 0;
    unsigned successes = 0;  // in a row
    unsigned failures = 0;
    std::string last_error;  // of the last probe; empty: it succeeded
  };
  // The verdict on a backend changed. A backend with several targets is healthy while all of them are; one that is no
  // longer checked is healthy again. Called from the loop, never from within a call of want().
  using Report = std::function<void(const CheckedBackend& backend, bool healthy)>;
  struct Options {
    std::size_t in_flight = 256;  // probes at a time; those beyond wait
    std::uint64_t seed = 0;       // of the jitter; 0: random
  };

  Checker(asio::io_context& loop, Report report, Options options);
  ~Checker();
  Checker(const Checker&) = delete;
  Checker& operator=(const Checker&) = delete;

  // What is to be probed from now on. Targets that stay keep their state and their time.
  void want(const CheckTargets& targets);
  // The worst state among the backend's targets; nothing when it is not checked.
  [[nodiscard]] std::optional<State> state(const CheckedBackend& backend) const;
  [[nodiscard]] std::size_t targets() const { return entries_.size(); }

 private:
  class Probe;
  using Time = std::chrono::steady_clock::time_point;
  struct Entry {
    State state;
    std::set<CheckedBackend> backends;
    std::optional<Time> due;       // nothing: a probe is under way
    std::shared_ptr<Probe> probe;  // shared with the handlers of its socket only
  };
  using Entries = std::map<CheckTarget, Entry>;

  void schedule(Entries::value_type& entry, Time due);
  void arm();
  void start_due();
  void start(Entries::value_type& entry);
  void finished(const CheckTarget& target, const std::string& error);
  void forget(Entries::iterator entry);
  void settle(const CheckedBackend& backend);
  [[nodiscard]] std::chrono::nanoseconds jittered(std::chrono::milliseconds interval);

  asio::io_context& loop_;
  Report report_;
  Options options_;
  asio::steady_timer timer_;
  Entries entries_;
  std::multimap<Time, CheckTarget> due_;
  std::map<CheckedBackend, std::set<CheckTarget>> by_backend_;
  std::set<CheckedBackend> unhealthy_;  // as reported
  std::size_t in_flight_ = 0;
  std::mt19937_64 random_;
  std::shared_ptr<Checker*> alive_;  // what posted work asks whether we are still there
};

}  // namespace weft::agent
