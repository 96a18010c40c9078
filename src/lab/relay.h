// A node's link as a bad wire: frames between the node's port and the switch go by way of a process, which holds each
// for a time, loses some, or loses those of one service. For kernels without netem, and the same on all.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace weft::lab {

struct Wire {
  std::chrono::microseconds delay{0};
  std::uint32_t loss_ppm = 0;
  std::uint16_t cut_tcp_port = 0;  // TCP from or to this port is lost; 0: none
};

// One direction of a wire. Pure.
class WireQueue {
 public:
  using Clock = std::chrono::steady_clock;
  using Frame = std::vector<std::byte>;

  WireQueue(const Wire& wire, std::uint64_t seed) : wire_(wire), random_(seed) {}

  // A frame with the virtio header the kernel puts before it.
  void put(std::span<const std::byte> frame, Clock::time_point now);
  // The next frame that has come through by now.
  std::optional<Frame> take(Clock::time_point now);
  [[nodiscard]] std::optional<Clock::time_point> due() const;

 private:
  struct Held {
    Clock::time_point due;
    Frame frame;
  };
  Wire wire_;
  std::mt19937_64 random_;
  std::deque<Held> held_;
  std::size_t bytes_ = 0;
};

// Bytes before each frame: struct virtio_net_hdr, which tells of checksums and segments still to be made. (Its header
// is not C++.)
inline constexpr std::size_t wire_header = 10;

// Makes the TAP device that stands for the port at the switch, in the namespace behind `netns`; present is success. It
// stays until it is deleted.
Result<void> ensure_tap(int netns, const std::string& name);

// Runs between `port` and `tap` of this namespace until SIGTERM. Returns the exit code.
int run_relay(const std::string& port, const std::string& tap, const Wire& wire);

}  // namespace weft::lab
