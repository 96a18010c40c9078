// What a table of Kubernetes objects shows of each kind.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "cli/output.h"

namespace weft::cli {

// The columns for `members`, objects of one kind. A column nothing is known for, such as AGE, is left out.
std::vector<Column> object_columns(const std::string& kind, const nlohmann::json& members);

}  // namespace weft::cli
