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
#include <vector>

#include "abi/event.h"
#include "abi/flow.h"
#include "bpfrt/map.h"

namespace weft::agent {

// Seconds without a packet in either direction after which a flow is over; where the numbers come
// from: docs/datapath.md.
struct IdleTimes {
  unsigned tcp = 7500;
  unsigned tcp_opening = 60;  // nobody has answered the SYN
  unsigned tcp_closed = 10;
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

// One pass over a flow table of either family: deletes what is over and returns the events of the
// flows among it that did not end by themselves.
std::vector<weft_event> sweep_v4(bpfrt::RawMap& flows, const Ticks& ticks, const IdleTimes& idle);
std::vector<weft_event> sweep_v6(bpfrt::RawMap& flows, const Ticks& ticks, const IdleTimes& idle);

// Sweeps both tables on a thread of its own every half minute.
class FlowSweeper {
 public:
  using Ended = std::function<void(std::vector<weft_event>)>;  // called on the sweeper's thread
  // Both maps must outlive the sweeper; nobody else may iterate them through these objects.
  FlowSweeper(bpfrt::RawMap& v4, bpfrt::RawMap& v6, Ended ended);
  ~FlowSweeper();
  FlowSweeper(const FlowSweeper&) = delete;
  FlowSweeper& operator=(const FlowSweeper&) = delete;

 private:
  void run();

  bpfrt::RawMap& v4_;
  bpfrt::RawMap& v6_;
  Ended ended_;
  std::mutex mutex_;
  std::condition_variable stop_;
  bool stopping_ = false;  // guarded by mutex_
  std::thread thread_;
};

}  // namespace weft::agent
