// Which addresses a Service may take from outside by naming them: not those that pods, cluster IPs, node ports or
// pools have. Without it whoever may write a Service has the traffic of everybody else.
#pragma once

#include <vector>

#include "agent/node.h"
#include "base/result.h"
#include "config/agent/config.h"
#include "control/services/services.h"
#include "model/objects.h"

namespace weft::agent {

// Why no Service may have the address, as the end of a sentence; empty: one may.
// `pools`: of addresses for pods, beside pod_cidrs.
std::string taken_by(const IpAddress& address, const Config& config, const Node& node,
                     const std::vector<Cidr>& pools = {});

// The same of ranges only: those of pods and of cluster IPs.
std::string in_range(const IpAddress& address, const Config& config, const std::vector<Cidr>& pools);

// Those of them that are single: others on the node's networks have them.
std::vector<IpAddress> taken_addresses(const Node& node);

// The addresses it would give. The error begins with the field.
Result<void> check_pool(const model::LoadBalancerPool& pool, const Config& config, const Node& node,
                        const std::vector<Cidr>& pod_pools = {});

// Of spec.externalIPs, of the addresses in its status and of those it asks the pools for. The error begins with the
// field.
Result<void> check_external_addresses(const model::Service& service, const Config& config, const Node& node,
                                      const std::vector<const model::LoadBalancerPool*>& pools,
                                      const std::vector<Cidr>& pod_pools = {});

// Why the network is not to be told that a frontend of the Service is here, as the end of a sentence; empty: it may be.
// Who writes a Service must not draw the traffic of others: of its router, say.
std::string not_to_be_told(const model::ObjectKey& service, const control::ServiceFrontend& frontend,
                           const control::ServiceCompiler& services, const Config& config, const Node& node,
                           const std::vector<Cidr>& pod_pools);

}  // namespace weft::agent
