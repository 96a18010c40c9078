// Whether the ranges that are to be installed can be those of a cluster: agents would refuse some of what is wrong with
// them, and others would cut nodes off.
#pragma once

#include <nlohmann/json.hpp>

#include "base/result.h"
#include "install/cluster.h"

namespace weft::install {

// Of the chart's values podCIDRs, serviceCIDRs and kubernetesServers, and of the addresses that Nodes say they have.
Result<void> check_ranges(Cluster& cluster, const nlohmann::json& values);

}  // namespace weft::install
