// The programs of the node's uplinks: tc's on all of them always, XDP's where it is wanted, from when the first
// Service has clients outside on; it stays then, so that Services that come and go do not make a driver set its
// device up anew each time. On the agent's thread.
#pragma once

#include <string>
#include <vector>

#include "agent/faults.h"
#include "agent/node.h"
#include "config/agent/config.h"
#include "datapath/datapath.h"

namespace weft::agent {

class Uplinks {
 public:
  Uplinks(datapath::Datapath& datapath, const Config& config, Faults& faults)
      : datapath_(datapath), config_(config), faults_(faults) {}

  // What fails is tried again, and told, by heal().
  void attach(const Node& node);
  // Clients outside are served from now on.
  void serve_outside(const Node& node);
  // Attaches what somebody took off again. Faults say what cannot be. Returns what was put right.
  std::vector<std::string> heal(const Node& node);

 private:
  void attach_xdp(std::uint32_t ifindex, const Uplink& uplink);
  // Empty: as it should be.
  std::string heal_xdp(std::uint32_t ifindex, const Uplink& uplink, std::vector<std::string>& repaired);

  datapath::Datapath& datapath_;
  const Config& config_;
  Faults& faults_;
  bool serves_outside_ = false;
};

}  // namespace weft::agent
