// What labs there are, and the way into them.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "lab/machine.h"

namespace weft::lab {

struct NodeInfo {
  std::string name;
  std::string netns;
  std::string socket;             // of its agent's API
  std::vector<std::string> pods;  // "ns/pod"
};

struct LabInfo {
  std::string name;
  // running: all is as it should be; starting: pods are missing still; degraded: weftd does not
  // serve or a pod failed; stopped: no supervisor, `up` or `down` is due.
  std::string state;
  int supervisor_pid = 0;  // 0: none
  std::vector<NodeInfo> nodes;
  std::size_t pods_ready = 0;
  std::size_t pods_total = 0;
};

std::vector<LabInfo> list_labs(const Machine& machine);
std::string labs_to_json(const std::vector<LabInfo>& labs);

// The named network namespace behind "ns/pod", "ns/workload" (its first pod), "pod" (of namespace
// default), "host" or the node's name, "world", "host1".
Result<std::string> find_netns(const Layout& layout, const std::string& target);

// Enters the target's network namespace, nothing else, and becomes the command; returns only on
// failure. A command that is not there is not_found.
Error execute(const Layout& layout, const std::string& target, const std::vector<std::string>& command);

}  // namespace weft::lab
