// Values held against a schema: that of the chart's values (JSON Schema), and those of custom resources (OpenAPI as
// apiextensions.k8s.io has it), as far as the files of deploy/kubernetes use them: type, enum, pattern, format, bounds,
// required, properties, items, anyOf, not, $ref. What a schema does not name is a problem, too, unless it allows for
// it: the API server would drop it. Rules in CEL are the server's alone.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace weft::chart {

// "spec.cidrs[0].cidr: expected ..." for all that does not fit; none: it fits.
std::vector<std::string> check_schema(const nlohmann::json& schema, const nlohmann::json& value);

}  // namespace weft::chart
