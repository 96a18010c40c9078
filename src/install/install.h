// `weft install`: Weft's objects on a cluster, made or brought to this version.
#pragma once

#include <chrono>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "install/cluster.h"
#include "install/rollout.h"

namespace weft::install {

struct InstallOptions {
  std::vector<std::string> set;  // KEY=VALUE
  bool reset_values = false;     // what earlier installs were given counts no more
  bool force = false;            // whatever the survey finds
  bool force_conflicts = false;  // fields that others have changed are ours again
  bool wait = true;
  std::chrono::seconds timeout{300};
};

// Values for this cluster: the defaults, what it says of itself, what earlier installs were given, what is given now.
struct Plan {
  nlohmann::json values;
  std::map<std::string, std::string> given;  // kept for the next install: KEY to VALUE
  std::vector<std::string> notes;            // where a value that was not given now comes from
};
Result<Plan> make_plan(Cluster& cluster, const InstallOptions& options);

// What earlier installs were given, from the ConfigMap; empty where there was none.
Outcome<std::map<std::string, std::string>> kept_values(Cluster& cluster);

Result<void> install(Cluster& cluster, const InstallOptions& options, const Progress& progress);

// An error with what was being done to which object, and what to do about rights and conflicts.
Error explain(const kubernetes::Failure& failure, const std::string& doing);

}  // namespace weft::install
