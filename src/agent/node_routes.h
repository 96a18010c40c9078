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
  // Puts back what somebody else took away since; says what.
  std::vector<std::string> heal(const Node& node);

 private:
  // Those among them that were there as they are wanted, so that somebody took them away.
  std::vector<control::NodeRoute> set_missing(const std::vector<sys::Route>& present, const Node& node);
  sys::Netlink& netlink_;
  Faults& faults_;
  std::set<control::NodeRoute> wanted_;
  // As they were in the kernel last: what is to be otherwise now, by another device say, nobody else has changed.
  std::map<control::NodeRoute, sys::Route> settled_;
  std::vector<control::NodeRoute> gone_;  // that add() put back, to be told by heal()
  std::vector<sys::Route> left_over_;     // since the last add()
};

}  // namespace weft::agent
