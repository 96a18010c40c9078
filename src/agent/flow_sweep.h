// Ends flows that fell silent: their entries leave the table and their counters become an event.
// TCP flows normally end themselves (FIN, RST); datagrams and echoes never say goodbye.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "abi/event.h"
#include "abi/flow.h"
#include "abi/service.h"
#include "bpfrt/map.h"

namespace weft::agent {

// Seconds without a packet in either direction after which a flow is over; where the numbers come
// from: docs/datapath.md.
struct IdleTimes {
  unsigned tcp = 7500;
  unsigned tcp_opening = 60;  // nothing but SYNs came from the client
  unsigned tcp_closed = 10;
  unsigned tcp_reset = 240;  // by somebody outside, who may be anybody
  unsigned datagram = 120;
  unsigned echo = 30;
};

// The kernel's tick counter now, and its rate; flow entries carry ticks.
struct Ticks {
  std::uint64_t now = 0;
  std::uint64_t per_second = 0;  // 0: unknown on this kernel
};
// `timer_list`: the content of /proc/timer_list, read at `monotonic` nanoseconds.
std::uint64_t tick_rate(const std::string& timer_list, std::uint64_t monotonic);
// jiffies_64 as linux/jiffies.h starts it: five minutes before the 32-bit wrap.
std::uint64_t ticks_at(std::uint64_t monotonic, std::uint64_t per_second);

// What flow tables say about the services behind their flows.
struct FlowUse {
  struct Ended {
    std::uint64_t packets = 0;  // both directions
    std::uint64_t bytes = 0;
    std::uint32_t flows = 0;  // of those in `active`
  };
  std::unordered_map<std::uint32_t, std::uint32_t> open;  // backend id -> flows that should stand in its `active`
  std::unordered_map<std::uint32_t, Ended> ended;         // flows this sweep ended, not in `open` any more
  std::unordered_set<std::uint32_t> backends;             // named by any entry that is left
  std::unordered_set<std::uint32_t> services;
};

// One pass over a flow table of either family: deletes what is over and returns the events of the
// flows among it that did not end by themselves. Adds to `use`.
std::vector<weft_event> sweep_v4(bpfrt::RawMap& flows, const Ticks& ticks, const IdleTimes& idle, FlowUse& use);
std::vector<weft_event> sweep_v6(bpfrt::RawMap& flows, const Ticks& ticks, const IdleTimes& idle, FlowUse& use);

// Keeps weft_bstat_v1 right where the datapath cannot: flows that fell silent, entries the table evicted.
class BackendAccounts {
 public:
  static Result<BackendAccounts> open(bpfrt::RawMap& stats);  // outlives the accounts

  // Open flows per backend as counted; those of none are left out.
  using Active = std::unordered_map<std::uint32_t, std::uint32_t>;
  [[nodiscard]] Active active() const;
  // Adds what the sweep ended, as the datapath does at a flow's end.
  void end(const std::unordered_map<std::uint32_t, FlowUse::Ended>& ended);
  // `before` and `after`: active() around the sweep that found `open`. Between them flows came and went, so only what
  // lies outside both is a drift, and only what the sweep before has found too is corrected.
  void correct(const Active& before, const Active& open, const Active& after);

 private:
  BackendAccounts(bpfrt::RawMap& stats, bpfrt::ArrayRows<weft_backend_stats> rows) : stats_(&stats), rows_(rows) {}
  void change_active(std::uint32_t backend, std::int64_t by) const;

  bpfrt::RawMap* stats_;
  bpfrt::ArrayRows<weft_backend_stats> rows_;
  std::unordered_map<std::uint32_t, std::int64_t> drift_;  // counted too many (above zero) or too few, last time
};

// Says when a freed id may be given out again: two sweeps in a row saw nothing of it, the first of them when it
// had been freed already. (A flow may have named it behind one sweep's back.)
class ReleaseGate {
 public:
  // Between begin and the next begin: `in_use` for each id that waits.
  void begin(const std::unordered_set<std::uint32_t>& seen);
  bool in_use(std::uint32_t id);

 private:
  std::unordered_set<std::uint32_t> seen_;
  std::unordered_set<std::uint32_t> unseen_before_;  // asked about last time, and not seen
  std::unordered_set<std::uint32_t> unseen_;
};

// Sweeps both tables on a thread of its own every half minute, and sooner when somebody waits for what it finds.
class FlowSweeper {
 public:
  struct Report {
    std::vector<weft_event> events;
    FlowUse use;
  };
  using Swept = std::function<void(Report)>;  // called on the sweeper's thread, after each sweep
  // The maps must outlive the sweeper; `stats` may be null.
  FlowSweeper(bpfrt::RawMap& v4, bpfrt::RawMap& v6, bpfrt::RawMap* stats, Swept swept);
  ~FlowSweeper();
  FlowSweeper(const FlowSweeper&) = delete;
  FlowSweeper& operator=(const FlowSweeper&) = delete;

  // The next few sweeps follow each other within a second: as many as free an id that no flow names. Asked again while
  // they are under way or just over, it changes nothing, so that large tables are not walked all the time.
  void hurry();

 private:
  void run();
  [[nodiscard]] bool wait(std::unique_lock<std::mutex>& lock);  // for the next sweep; false: it is to stop
  Report sweep(const Ticks& ticks);

  bpfrt::RawMap& v4_;
  bpfrt::RawMap& v6_;
  std::optional<BackendAccounts> accounts_;
  Swept swept_;
  std::mutex mutex_;
  std::condition_variable stop_;
  bool stopping_ = false;  // guarded by mutex_, as what follows
  unsigned hurried_ = 0;   // sweeps that do not wait
  std::chrono::steady_clock::time_point may_hurry_;
  std::thread thread_;
};

}  // namespace weft::agent
