// `weft doctor`: what is wrong with this node and its ways to others, each with what to do. Facts are gathered first,
// of the machine and of the agent's answers; what follows from them is pure.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace weft::cli {

struct Finding {
  enum class State { good, warning, problem };
  std::string area;  // "kernel", "node node2"
  State state = State::good;
  std::string what;
  std::string remedy;  // of warnings and problems; may be empty where `what` says it
  bool operator==(const Finding&) const = default;
};

// The machine itself. What could not be found out is taken for good.
struct HostFacts {
  std::string release;       // of the kernel
  bool btf = true;           // /sys/kernel/btf/vmlinux
  bool bpffs = true;         // a BPF file system is mounted
  bool cgroup2 = true;       // so is the unified hierarchy
  bool forwards_v4 = true;   // net.ipv4.ip_forward
  bool forwards_v6 = true;   // net.ipv6.conf.all.forwarding
  bool plugin = true;        // weft-cni is where runtimes look for plugins
  bool network_list = true;  // /etc/cni/net.d has a network of type weft-cni
};
HostFacts read_host_facts();

// What the agent says; absent where it gave no answer.
struct AgentFacts {
  std::optional<Error> unreachable;
  nlohmann::json status;  // docs/api.md
  nlohmann::json nodes;   // items of node.list; null where the node is by itself
  nlohmann::json health;  // items of node.health; likewise
};

// `of_host`: the machine is the node, as it is not for a node of a lab.
std::vector<Finding> diagnose(const HostFacts& host, const AgentFacts& agent, bool of_host);

std::string_view to_string(Finding::State state);

}  // namespace weft::cli
