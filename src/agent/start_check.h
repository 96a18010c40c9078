// What a start would refuse for the configuration alone: weftd --check and the start say the same.
#pragma once

#include "agent/config.h"
#include "base/result.h"

namespace weft::agent {

// Beside what load_config refuses: names in the cluster, how etcd is reached, the files that are named for it.
Result<void> check_start(const Config& config);

}  // namespace weft::agent
