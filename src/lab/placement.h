// Which node of a lab a pod is on. Decided once for each pod and remembered in a file, so that neither a
// restarted supervisor nor a second `up` moves one.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "lab/layout.h"
#include "lab/pod_plan.h"

namespace weft::lab {

// Pods and their nodes as the file has them, "ns/pod" -> "node2"; empty when there is none. Lines are a
// pod and its node, of which the last about a pod counts; "-" is no node.
std::map<std::string, std::string> read_placement(const std::string& path);

// Used by the supervisor only, in its loop's thread.
class Placement {
 public:
  // Reads what an earlier one decided and writes it anew without what no longer counts.
  explicit Placement(std::string path);

  // The node that spec.nodeName names (not_found when the lab has no such), else the one the pod is on, else of `nodes`
  // the one with the fewest pods of its workload, of those with the fewest pods, and of those the first.
  Result<std::string> place(const PodPlan& pod, const std::vector<NodeLayout>& nodes);
  void forget(const std::string& pod);
  [[nodiscard]] const std::map<std::string, std::string>& nodes() const { return nodes_; }

 private:
  [[nodiscard]] std::string choose(const PodPlan& pod, const std::vector<NodeLayout>& nodes) const;
  void note(const std::string& pod, std::string_view node) const;

  const std::string path_;
  std::map<std::string, std::string> nodes_;
  std::map<std::string, std::string> workloads_;  // of placed pods seen by this supervisor
};

}  // namespace weft::lab
