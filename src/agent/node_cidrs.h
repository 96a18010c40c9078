// Which blocks of pod_cidrs a node may take where Kubernetes says so (node_cidrs: kubernetes): those in its Node
// object's spec.podCIDRs, which whoever else routes by them knows, a cloud's route controller for one. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "config/agent/config.h"
#include "sources/cluster/keys.h"
#include "sources/cluster/pools.h"

namespace weft::agent {

// `unavailable` while the Node object has none, as far as it was heard of.
Result<void> check_node_cidrs_known(const Config& config);
// Of this pool and family; empty: all of it.
Result<std::vector<cluster::PoolRange>> parts_for_node(const Config& config, std::string_view pool, Family family);
// Had from a time when the node might: no address is given of it.
bool outside_node_cidrs(const Config& config, const cluster::Block& block);
// "10.244.1.0/24, fd00:10:244:1::/64"
std::string node_cidrs_text(const Config& config);

}  // namespace weft::agent
