// What a start would refuse for the configuration alone: weftd --check and the start say the same.
#pragma once

#include "agent/node.h"
#include "base/result.h"
#include "config/agent/config.h"

namespace weft::agent {

// Beside what load_config refuses: names in the cluster, how etcd is reached, the files that are named for it.
Result<void> check_start(const Config& config);

// And for this machine: pods' addresses are none of those by which it is on a network, or has the routers it sends by.
// What is given out there, the gateways first of all, would cut the node off.
Result<void> check_machine(const Config& config, const Node& node);

}  // namespace weft::agent
