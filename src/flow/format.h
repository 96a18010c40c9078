// Flows for people, from the JSON of docs/api.md. Missing or odd members print as empty.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace weft::flow {

// "shop/web-0:34567", "10.0.0.1:80", "world 1.1.1.1:53", "[fd00::1]:80"
std::string source_text(const nlohmann::json& flow);
// Who received it, with the service it was asked through: "shop/db-0:6379 via svc/shop/db".
std::string destination_text(const nlohmann::json& flow);
// Why: the drop reason and the deciding rule, the rules that allowed, or the counters of a closed flow.
std::string detail_text(const nlohmann::json& flow);

// "12:00:01.123 shop/web-0:34567 -> shop/db-0:6379 TCP  DROPPED policy-denied  default deny ingress by shop/db";
// {"lost": N} prints as "             ... 5 events lost".
std::string compact_line(const nlohmann::json& flow, bool colour);

// Columns of `weft observe -o table`, and one flow's cells.
const std::vector<std::string>& flow_columns();
std::vector<std::string> flow_cells(const nlohmann::json& flow);

// "1.5 KB"
std::string bytes_text(unsigned long long bytes);

}  // namespace weft::flow
