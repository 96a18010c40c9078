// What tunnels to other nodes need of this node's devices: the VXLAN device, and the program at the host device that
// sends the node's own packets into a tunnel. On the agent's thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "agent/faults.h"
#include "agent/node.h"
#include "config/agent/config.h"
#include "datapath/datapath.h"
#include "sys/netlink.h"

namespace weft::agent {

inline constexpr const char* overlay_device = "weft-vxlan";

// What a device needs out of which other nodes' packets come: it is up, the stack's filters let them pass, and nobody
// speaks there but pods.
Result<void> make_inlet(sys::Netlink& netlink, const sys::Device& device);

class Overlay {
 public:
  Overlay(sys::Netlink& netlink, datapath::Datapath& datapath, const Config& config, Faults& faults)
      : netlink_(netlink), datapath_(datapath), config_(config), faults_(faults) {}

  // Makes the device where the tunnel is VXLAN, takes it away where it is not.
  void prepare(const Node& node);
  // The programs; after the first publish.
  void attach();
  // Puts right what somebody else undid; what was, in words.
  std::vector<std::string> heal(const Node& node);
  // 0: there is no such device.
  [[nodiscard]] std::uint32_t ifindex() const { return ifindex_; }
  [[nodiscard]] std::uint32_t host_ifindex() const { return host_ifindex_; }

 private:
  Result<void> make(const Node& node);
  Result<void> attach_all();

  sys::Netlink& netlink_;
  datapath::Datapath& datapath_;
  const Config& config_;
  Faults& faults_;
  std::uint32_t ifindex_ = 0;
  std::uint32_t host_ifindex_ = 0;
};

}  // namespace weft::agent
