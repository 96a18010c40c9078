// Pools of addresses for pods: which there are, and of which one a pod's addresses are. "default" is pod_cidrs, the
// others are objects (PodAddressPool). Pure.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "agent/attachment.h"
#include "agent/cluster_view.h"
#include "agent/node.h"
#include "agent/objects.h"
#include "base/result.h"
#include "config/agent/config.h"
#include "control/ipam/ipam.h"
#include "sources/cluster/pools.h"

namespace weft::agent {

// pod_cidrs as the pool that they are; without ranges where there are none.
cluster::Pool default_pool(const Config& config);
cluster::Pool shared_pool(const model::PodAddressPool& pool);

// "default" first, if it has any addresses, then the others by name. One that overlaps what comes before it, or what
// this node's configuration gives to something else, is left out, and said in `problems`: it was applied when that was
// not so yet.
std::vector<cluster::Pool> address_pools(const Config& config, const Objects& objects,
                                         std::vector<std::string>* problems = nullptr);
// The CIDRs of all but "default".
std::vector<Cidr> further_cidrs(const Config& config, const Objects& objects);

// What a pod asks for, and why.
struct AddressChoice {
  control::AddressRequest request;
  std::string ambiguity;  // other pools select the pod too; empty: none does
};
// In this order: addresses by name (the runtime's, else the pod's annotation), the pool that the pod's annotation or
// its Namespace's names, the first pool by name whose selectors match, "default". A pod's annotation does not get it
// addresses of a pool whose namespaceSelector is for other namespaces. The error does not name the pod.
Result<AddressChoice> choose_addresses(const AttachRequest& request, const std::vector<cluster::Pool>& pools,
                                       const Objects& objects);

// What a pool must not overlap, or do.
struct PoolRules {
  const Config& config;
  const Node& node;
  const ClusterView& cluster;
  std::vector<cluster::Pool> others;                      // as they will be
  std::vector<const model::LoadBalancerPool*> balancers;  // likewise
  const model::PodAddressPool* before = nullptr;          // of the same name
  std::string users;                                      // of that; empty: nobody
};
// The error begins with the field.
Result<void> check_address_pool(const model::PodAddressPool& pool, const PoolRules& rules);

}  // namespace weft::agent
