// What a lab has to do for one pod, read from the pod as the node API gives it.
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "lab/responder.h"

namespace weft::lab {

inline constexpr const char* run_annotation = "weft.dev/run";

struct CommandPlan {
  std::string container;
  std::vector<std::string> arguments;
  std::map<std::string, std::string> environment;
  auto operator<=>(const CommandPlan&) const = default;
};

struct PodPlan {
  std::string namespace_;
  std::string name;
  std::string uid;
  std::string workload;   // the owning Deployment; may be empty
  std::string node_name;  // spec.nodeName; may be empty
  std::string node;       // where the lab has placed it; of an Inventory only
  bool host_network = false;
  std::vector<IpAddress> addresses;       // status.podIPs: empty before the pod is attached
  std::vector<ResponderPort> ports;       // declared, sorted, without repetition
  std::vector<ResponderPort> responders;  // those of containers that do not run a command
  std::vector<CommandPlan> commands;
  [[nodiscard]] std::string key() const { return namespace_ + "/" + name; }
  // Whether a running pod of plan `other` would have to listen or run something else.
  [[nodiscard]] bool same_work(const PodPlan& other) const {
    return responders == other.responders && commands == other.commands && host_network == other.host_network;
  }
};

// Tolerates what it does not need; only a missing name is an error.
Result<PodPlan> pod_plan_from_json(const nlohmann::json& pod);

}  // namespace weft::lab
