// Which endpoints of a port new flows may get: kube-proxy's choice (CategorizeEndpoints), made on bits.
#pragma once

#include <span>

#include "control/services/records.h"

namespace weft::control::services {

// Sets backend_in_cluster and backend_in_local, each when that policy is in use, on the ordinary backends.
// Unhealthy ones and those of weight 0 are as though they were neither ready nor serving.
void choose_endpoints(std::span<Backend> backends, bool use_cluster, bool use_local);

// May be chosen as a ready endpoint.
bool is_usable(const Backend& backend);

}  // namespace weft::control::services
