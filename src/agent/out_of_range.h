// What Services hold from before the configuration's ranges were changed: it is served as it was, and said.
#pragma once

#include <string>
#include <vector>

#include "config/agent/config.h"
#include "control/services/services.h"

namespace weft::agent {

// One sentence for each number and address outside the ranges, without its period.
std::vector<std::string> out_of_range(const control::ServiceAssignment& held, const Config& config);

}  // namespace weft::agent
