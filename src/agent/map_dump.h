// Kernel map entries as JSON, read back from the kernel: what is there, not what was meant.
#pragma once

#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "base/result.h"
#include "control/policy/policy.h"
#include "control/services/services.h"
#include "datapath/datapath.h"

namespace weft::agent {

// The names `weft bpf <map> list` takes.
std::vector<std::string> dumpable_maps();

// At most `limit` entries (0: all) of one of them.
Result<nlohmann::json> dump_map(const datapath::Datapath& datapath, const std::string& name, std::size_t limit,
                                const control::RuleTable& rules, const control::ServiceCompiler& services);

}  // namespace weft::agent
