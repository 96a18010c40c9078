// What the programs would say of the configuration that they are to be given, before they are given it.
#pragma once

#include <nlohmann/json.hpp>
#include <vector>

#include "base/result.h"

namespace weft::install {

// The ConfigMap's files, read as weftd and weft-operator read them. A refusal names the value of the chart that it is
// about.
Result<void> check_settings(const std::vector<nlohmann::json>& objects);

}  // namespace weft::install
