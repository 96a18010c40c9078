// Which addresses other nodes have. Every node can write what it likes into the cluster's etcd, and others send traffic
// where it says: so what a node tells of addresses counts only where the cluster's claims of blocks bear it out.
//
// - A block is its node's by its key in etcd, if it is a block of one of the cluster's pools as they are known here:
//   pools do not overlap and are all cut alike, so no address is two nodes'.
// - A gateway lies in a block of the node, a pod's address too.
// - An address of the node itself lies outside all pools and Services' ranges, and is not this node's; so does that of
//   a pod in the node's own network, which moreover is no other node's.
//
// News come in any order: what is not borne out yet counts once it is. A value. Owner thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/ip.h"
#include "config/agent/config.h"
#include "sources/cluster/block_allocator.h"
#include "sources/cluster/pod_table.h"

namespace weft::agent {

// What counts of what a node tells.
struct OtherNode {
  std::vector<IpAddress> underlay;
  std::vector<IpAddress> gateways;
  std::vector<Cidr> blocks;
  bool operator==(const OtherNode&) const = default;
};

// Named by number once there are many: whoever writes them must not fill logs.
class FewNames {
 public:
  void add(const std::function<std::string()>& name);
  [[nodiscard]] bool empty() const { return count_ == 0; }
  [[nodiscard]] std::string text() const;  // "a, b, c and 17 more"

 private:
  static constexpr std::size_t most = 3;
  std::vector<std::string> names_;
  std::size_t count_ = 0;
};

class OtherNodes {
 public:
  explicit OtherNodes(const Config& config) : config_(config) {}

  struct Told {
    const std::map<std::string, cluster::Node>& nodes;  // this one among them
    const cluster::BlockOwners& owners;
    const std::vector<cluster::Pool>& pools;  // that this node knows
  };
  // Nodes whose addresses are others than before.
  std::set<std::string> take(const Told& told);
  // Those that have told of themselves.
  [[nodiscard]] const std::map<std::string, OtherNode>& all() const { return nodes_; }
  // As cluster::PodTable asks.
  [[nodiscard]] bool owns(const std::string& node, const IpAddress& address, bool host_network);

  // What a node tells that does not count, apart from pods: "block 10.9.0.0/24 of pool blue, ..."; empty: nothing.
  [[nodiscard]] std::string left_out(const std::string& node) const;
  // The same of its pods.
  [[nodiscard]] std::string pods_left_out(const std::string& node, const cluster::PodTable& pods) const;

 private:
  void take_blocks(const Told& told);
  void take_record(const std::string& name, const cluster::NodeRecord& record);
  void leave_out(const std::string& node, const std::function<std::string()>& what);
  [[nodiscard]] const std::string* owner_of(const IpAddress& address) const;
  [[nodiscard]] std::string why_not_outside(const IpAddress& address) const;
  [[nodiscard]] std::string whose(const IpAddress& address) const;

  const Config& config_;
  std::map<std::string, OtherNode> nodes_;
  std::map<Cidr, std::string> blocks_;   // to their nodes, this one among them; none overlap
  std::map<IpAddress, std::string> at_;  // nodes' own addresses, likewise
  std::set<std::string> lent_;           // nodes whose pods have addresses that are nobody's, as far as is known
  std::vector<cluster::Pool> pools_;
  std::map<std::string, FewNames> left_out_;
};

}  // namespace weft::agent
