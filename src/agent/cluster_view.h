// What this node knows of the others of its cluster, as the compilers take it. A value.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/labels.h"
#include "control/identity/identity.h"
#include "control/nodes/nodes.h"
#include "model/objects.h"

namespace weft::agent {

struct RemotePod {
  model::ObjectKey key;
  std::string node;
  std::uint32_t node_number = 0;  // of weft_node_v1
  control::IdentityId identity = 0;
  std::vector<IpAddress> addresses;
  std::vector<model::ContainerPort> ports;
  bool host_network = false;  // its addresses are the node's
  bool ready = true;
  bool terminating = false;
  std::uint32_t weight = 1;
};

// A node as selectors and elections see it.
struct ClusterNode {
  LabelMap labels;
  std::vector<IpAddress> underlay;
  bool alive = false;   // its lease stands
  bool answers = true;  // this node's probes, as far as they tell
  bool self = false;
};

struct ClusterView {
  bool clustered = false;
  // Heard of whole, once. Until then what an earlier agent wrote of other nodes stays in the maps.
  bool known = false;
  std::uint64_t revision = 0;                       // grows with every change
  std::map<std::string, ClusterNode> nodes;         // by name, this one among them
  std::map<IpAddress, std::string> egress_holders;  // which node has an address that EgressGateways ask for
  control::NodePlan plan;
  std::vector<RemotePod> pods;  // by key; one that two nodes tell is twice in it
  std::uint32_t overlay_ifindex = 0;
  std::vector<std::uint32_t> wireguard;  // this node's devices
};

}  // namespace weft::agent
