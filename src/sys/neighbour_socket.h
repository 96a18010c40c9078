// What the neighbours on a device say of addresses: the ARP and neighbour discovery packets that come in by it, before
// tc and the stack see them. Receives only; packet_socket.h sends.
#pragma once

#include <cstdint>
#include <span>

#include "base/fd.h"
#include "base/ip.h"
#include "base/result.h"

namespace weft::sys {

class NeighbourSocket {
 public:
  // In the network namespace of the calling thread; needs CAP_NET_RAW.
  static Result<NeighbourSocket> open(std::uint32_t ifindex);
  // Readable while a frame waits.
  [[nodiscard]] int fd() const { return fd_.get(); }
  // The next frame, from its destination address on, in `buffer`; empty when none waits. `unavailable`: the device
  // went down, which ends nothing.
  Result<std::span<const std::uint8_t>> receive(std::span<std::uint8_t> buffer) const;
  // Whether the device takes in what is sent to this group (an Ethernet address).
  Result<void> join(const MacAddress& group, bool joined) const;

 private:
  NeighbourSocket(Fd fd, std::uint32_t ifindex) : fd_(std::move(fd)), ifindex_(ifindex) {}
  Fd fd_;
  std::uint32_t ifindex_;
};

}  // namespace weft::sys
