// The pods of all nodes, this one's among them, as the nodes themselves tell them.
//
// A node's pods count for as long as its key is there, also while the node is away: whoever cannot reach etcd, or has
// an agent that is being replaced, still serves its pods, and the cluster goes on sending to them; whether they answer
// is for checks to find out. They go when the collector has found the node gone and erases the key. Only when another
// run of the node is alive are they known to be dead before: a machine that booted has none of the pods it had.
//
// A node's pods are in one key, or in slices (endpoint_publisher.h), which count only where its record says that it
// knows of them: what an agent that does not took no notice of is nobody's. A change that moves pods from one key to
// another is told as one.
//
// A key that cannot be read leaves what was read there before. What counts is in a PodTable, and nowhere else.
//
// Owner thread only; a handler must not destroy the table.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "sources/cluster/context.h"
#include "sources/cluster/node_registry.h"
#include "sources/cluster/pod_table.h"
#include "sources/cluster/shared_endpoints.h"

namespace weft::cluster {

struct EndpointDifference {
  std::map<std::string, PodsDifference> nodes;
};

struct EndpointHandlers {
  std::function<void(const EndpointDifference& difference)> changed;  // never empty; the table has it already
  // A node's key was set or erased (revision 0), in the view of `at`.
  std::function<void(const EndpointsKey& key, etcd::Revision revision, etcd::Revision at)> seen;
  Trouble trouble;
};

class EndpointTable {
 public:
  EndpointTable(Context context, const NodeRegistry& registry, EndpointHandlers handlers);
  ~EndpointTable() = default;
  EndpointTable(const EndpointTable&) = delete;
  EndpointTable& operator=(const EndpointTable&) = delete;

  // Those that count. The same pod may be on two nodes for a while: one writes that it has gone later than the other
  // that it has come.
  [[nodiscard]] const PodTable& pods() const { return pods_; }
  void believe(PodTable::Owns owns) { pods_.believe(std::move(owns)); }
  [[nodiscard]] SharedEndpoints pods_of(const std::string& node) const { return pods_.pods_of(node); }
  [[nodiscard]] bool synced() const { return mirror_.synced(); }
  // The registry told a difference.
  void nodes_changed(const NodeDifference& difference);

 private:
  struct List {
    std::string boot_id;
    std::optional<SharedEndpoints> set_aside;  // those that do not count
  };

  void mirror_changed(const etcd::Change& change);
  // What one change says of a node.
  struct Touched {
    std::vector<const etcd::KeyValue*> set;
    std::vector<unsigned> erased;  // slices
  };

  void take(const std::string& node, const std::vector<PodTable::Slice>& slices, EndpointDifference& difference);
  [[nodiscard]] std::vector<PodTable::Slice> read(const std::string& node, const Touched& touched);
  [[nodiscard]] bool counts(const std::string& node, unsigned slice, const std::string& boot_id) const;
  void tell(const EndpointDifference& difference) const;

  Context context_;
  const NodeRegistry* registry_;
  EndpointHandlers handlers_;
  std::map<std::string, std::map<unsigned, List>> lists_;  // as last read, by node and slice
  PodTable pods_;
  etcd::Mirror mirror_;
};

}  // namespace weft::cluster
