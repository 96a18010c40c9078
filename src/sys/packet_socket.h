// Whole Ethernet frames out of a device, past routing and neighbour tables. Sends only.
#pragma once

#include <cstdint>
#include <span>

#include "base/fd.h"
#include "base/result.h"

namespace weft::sys {

class PacketSocket {
 public:
  // In the network namespace of the calling thread; needs CAP_NET_RAW.
  static Result<PacketSocket> open();
  // A frame from its destination address on, without checksum. `unavailable` while the device is down.
  Result<void> send(std::uint32_t ifindex, std::span<const std::uint8_t> frame) const;

 private:
  explicit PacketSocket(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

}  // namespace weft::sys
