// What Services hold, as text for the store.
#pragma once

#include <string>

#include "base/result.h"
#include "control/services/services.h"

namespace weft::control {

// {"clusterIPs":["10.96.0.2"],"nodePorts":{"80/TCP":30080},"healthCheckNodePort":0,"loadBalancerIPs":[]}
std::string assignment_to_text(const ServiceAssignment& assignment);
// Errors say which member is not as expected; unknown members are left alone.
Result<ServiceAssignment> assignment_from_text(const std::string& text);

}  // namespace weft::control
