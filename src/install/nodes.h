// What Nodes say of their machines, as far as an installation goes by it.
#pragma once

#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "install/cluster.h"

namespace weft::install {

// Nodes with this label have no agent: deploy/kubernetes/chart/weft/templates/agent.yaml
inline constexpr const char* agent_label = "weft.io/agent";
inline constexpr const char* no_agent = "none";

// Its kubelet says nothing: what is to be done there waits until it comes back.
bool is_away(const nlohmann::json& node);
// Of Linux, and not left out.
bool has_agent(const nlohmann::json& node);

struct Machines {
  std::set<std::string> here;  // of Linux, those that are left out among them
  std::set<std::string> away;
};
Outcome<Machines> look_at_machines(Cluster& cluster);

// Nodes that tell the others of themselves by a WeftNode and have no Node any more: the machine may run on with what it
// has of Weft.
Outcome<std::set<std::string>> without_node(Cluster& cluster);

}  // namespace weft::install
