// The kernel's WireGuard in messages of generic netlink (linux/wireguard.h), apart from the socket they go over.
#pragma once

#include <linux/netlink.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "wireguard/device.h"

namespace weft::wireguard {

using Message = std::vector<std::byte>;  // a netlink message, its header first

// Sends a message and hands every answer but the closing one to `visit`.
class Transport {
 public:
  using Visit = std::function<Result<void>(const nlmsghdr* message)>;
  virtual ~Transport() = default;
  virtual Result<void> transact(Message& message, const Visit& visit) = 0;
};
Result<std::unique_ptr<Transport>> open_transport();

// The number that the kernel gave to WireGuard's messages. `unsupported`: it has no WireGuard.
Result<std::uint16_t> find_family(Transport& transport);

// A change as one message for the device and one for each peer, of a peer with many addresses several.
std::vector<Message> kernel_set(std::uint16_t family, std::uint32_t ifindex, const DeviceChange& change);
Message kernel_get(std::uint16_t family, std::uint32_t ifindex);
// One of the answers to that; a peer that did not fit goes on in the next.
Result<void> read_kernel(const nlmsghdr* message, DeviceState& state);

std::unique_ptr<Device> kernel_device(std::unique_ptr<Transport> transport, std::uint16_t family,
                                      std::uint32_t ifindex);

}  // namespace weft::wireguard
