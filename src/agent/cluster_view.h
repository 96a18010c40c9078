// What this node knows of the others of its cluster, as the compilers take it. Their pods are in a cluster::PodTable,
// which is asked for those that have changed.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/labels.h"
#include "control/nodes/nodes.h"
#include "model/objects.h"

namespace weft::agent {

// A node as selectors and elections see it.
struct ClusterNode {
  LabelMap labels;
  std::vector<IpAddress> underlay;
  std::vector<std::string> uplinks;  // names; empty: it tells none
  bool alive = false;                // its lease stands
  bool answers = true;               // this node's probes, as far as they tell
  bool gone = false;  // its lease does not stand, as far as is known, and its pods' network does not answer either
  bool self = false;
  bool operator==(const ClusterNode&) const = default;
};

// A value.
struct ClusterView {
  bool clustered = false;
  // Heard of whole, once. Until then what an earlier agent wrote of other nodes stays in the maps.
  bool known = false;
  std::map<std::string, ClusterNode> nodes;         // by name, this one among them
  std::map<IpAddress, std::string> egress_holders;  // which node has an address that EgressGateways ask for
  control::NodePlan plan;
  std::uint32_t overlay_ifindex = 0;
  std::vector<std::uint32_t> wireguard;  // this node's devices

  [[nodiscard]] bool gone(const std::string& node) const {
    const auto found = nodes.find(node);
    return found != nodes.end() && found->second.gone;
  }
};

// What is to be looked at again of other nodes' pods. Too much costs time only.
struct OthersChange {
  bool all = false;
  bool peers = false;  // identities they have, or what these mean: policies may have other peers
  std::set<IpAddress> addresses;
  std::set<model::ObjectKey> pods;

  void merge(OthersChange other) {
    all = all || other.all;
    peers = peers || other.peers;
    addresses.merge(other.addresses);
    pods.merge(other.pods);
  }
};

}  // namespace weft::agent
