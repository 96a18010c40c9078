// Which LoadBalancer Services of a cluster shall have which addresses of its LoadBalancerPools, all of them at once,
// from what they have. For who writes it somewhere else than a node does: nothing is remembered between two plans, so
// what was written is all there is to know. The choice itself is that of the service compiler (address_pools.h).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/ip.h"
#include "model/objects.h"

namespace weft::control {

// A Service that has, or shall have, addresses of a load balancer.
struct BalancedService {
  model::ObjectKey key;
  // Null: one that another program serves, or that is not understood. What it has is its own, and it gets nothing.
  const model::Service* service = nullptr;
  std::string created;  // in a form that sorts; who was first keeps what two have
  std::vector<IpAddress> held;
};

struct BalancerInput {
  std::vector<BalancedService> services;
  std::vector<const model::LoadBalancerPool*> pools;
  std::vector<IpAddress> kept_out;  // on nodes' networks: given to those only who ask for them
};

struct BalancerDecision {
  std::vector<IpAddress> addresses;
  std::string reason;  // where there are none
  bool operator==(const BalancerDecision&) const = default;
};

// Of every Service that is not another program's. An address that somebody else has to lose first is not given yet: a
// plan after that has it.
std::map<model::ObjectKey, BalancerDecision> plan_balancers(const BalancerInput& input);

}  // namespace weft::control
