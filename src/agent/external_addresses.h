// Which addresses a Service may take from outside by naming them: not those that pods, cluster IPs, node ports or
// pools have. Without it whoever may write a Service has the traffic of everybody else.
#pragma once

#include <vector>

#include "agent/config.h"
#include "agent/node.h"
#include "base/result.h"
#include "model/objects.h"

namespace weft::agent {

// Of spec.externalIPs and of the addresses in its status. The error begins with the field.
Result<void> check_external_addresses(const model::Service& service, const Config& config, const Node& node,
                                      const std::vector<const model::LoadBalancerPool*>& pools);

}  // namespace weft::agent
