// What other networks of Kubernetes have left on this node, or still do there: configuration lists, devices, BPF
// programs, kube-proxy's rules. It is named, with what to do, and left alone. Looked for now and then; on the agent's
// thread.
#pragma once

#include <string>
#include <vector>

#include "agent/faults.h"
#include "agent/node.h"
#include "config/agent/config.h"
#include "sys/netlink.h"
#include "sys/other_programs.h"

namespace weft::agent {

struct OtherNetworks {
  std::vector<Fault> harmful;  // pods do not get to Weft, or not with all of it
  std::vector<Fault> left;     // in the way of nobody now
  bool operator==(const OtherNetworks&) const = default;
};

struct NamedText {
  std::string name;
  std::string text;
};

// What is found, taken apart from where it is read. `lists`: the files beside Weft's own, which is `own`.
OtherNetworks judge_lists(const std::string& directory, const std::string& own, const std::vector<NamedText>& lists);
std::vector<Fault> judge_devices(const std::vector<std::string>& devices);
std::vector<Fault> judge_programs(const std::string& uplink, const std::vector<std::string>& programs);
std::vector<Fault> judge_rules(const std::vector<sys::FilterChain>& chains);

// All of it. Reads the kernel and cni_conf_dir.
OtherNetworks find_other_networks(sys::Netlink& netlink, const Config& config, const Node& node);

}  // namespace weft::agent
