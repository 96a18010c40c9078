// `weft status --kubernetes`: what the API server says of Weft on a cluster, without asking any agent.
#pragma once

#include <nlohmann/json.hpp>

#include "install/cluster.h"

namespace weft::install {

// {"server", "version", "well",
//  "agents": {"ready", "wanted"}, "operators": {"ready", "wanted", "leader"},
//  "nodes": [{"node", "well", "agent", "version", "why"}], "definitions": [{"name", "well", "version", "why"}],
//  "reasons": [...]}; "installed": false and little else where Weft is not there.
Outcome<nlohmann::json> cluster_status(Cluster& cluster);

}  // namespace weft::install
