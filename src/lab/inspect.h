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
  std::string socket;   // of its agent's API
  std::string address;  // on the underlay; empty: it has none of the family
  std::string address_v6;
  // serving; starting: its agent does not serve (yet); down: its agent, by wish; crashed: all of it; stopped: no
  // supervisor.
  std::string state = "stopped";
  std::vector<std::string> pods;  // "ns/pod"
  std::size_t pods_ready = 0;
};

// A member of etcd or an operator.
struct BesideInfo {
  std::string name;
  std::string address;            // of a member
  std::string state = "stopped";  // running; starting: it does not run (yet); down: by wish; stopped: no supervisor
};

struct LabInfo {
  std::string name;
  // running: all is as it should be; starting: pods are missing still; degraded: a weftd does not
  // serve, is down by wish, or a pod failed; stopped: no supervisor, `up` or `down` is due.
  std::string state;
  int supervisor_pid = 0;  // 0: none
  std::vector<NodeInfo> nodes;
  std::size_t pods_ready = 0;
  std::size_t pods_total = 0;
  Settings settings;
  std::vector<BesideInfo> members;  // of its etcd
  std::vector<BesideInfo> operators;
  std::string etcd;  // its state, running, degraded (members are missing) or starting; empty: the lab has none
};

std::vector<LabInfo> list_labs(const Machine& machine);
std::string labs_to_json(const std::vector<LabInfo>& labs);
std::string lab_to_json(const Layout& layout);  // as one of those

// The named network namespace behind "ns/pod", "ns/workload" (its first pod), "pod" (of namespace
// default), a node's name, "host" (the first node), "world", "host1".
struct Place {
  std::string netns;
  const NodeLayout* node = nullptr;  // none: outside
};
Result<Place> find_place(const Layout& layout, const std::string& target);

// Enters the target's network namespace and, where its node has one, the node's cgroup, nothing else, and becomes the
// command; returns only on failure. A command that is not there is not_found.
Error execute(const Layout& layout, const std::string& target, const std::vector<std::string>& command);

}  // namespace weft::lab
