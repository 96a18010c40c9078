// The kernel's routes to other nodes' pods. Ours are known by their protocol number, so that those of an earlier run
// are found again; others' are left alone. On the agent's thread.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "agent/faults.h"
#include "agent/node.h"
#include "control/nodes/nodes.h"
#include "sys/netlink.h"

namespace weft::agent {

class NodeRoutes {
 public:
  NodeRoutes(sys::Netlink& netlink, Faults& faults) : netlink_(netlink), faults_(faults) {}

  // Two steps, so that a flow that is decided between finds its way: those that are missing come before the maps lead
  // there, those that `add` found and nobody needs go after.
  void add(const std::set<control::NodeRoute>& wanted, const Node& node);
  void prune();

 private:
  sys::Netlink& netlink_;
  Faults& faults_;
  std::vector<sys::Route> left_over_;  // since the last add()
};

}  // namespace weft::agent
