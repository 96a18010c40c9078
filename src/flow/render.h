// A flow as the JSON of docs/api.md.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "flow/flow.h"

namespace weft::flow {

// `node` is the name of this node.
nlohmann::json to_json(const Flow& flow, const std::string& node);

// The Rule of docs/api.md, also for policy.explain.
nlohmann::json to_json(std::uint32_t id, const RuleInfo& rule);

// "SYN,ACK"
std::string tcp_flags_text(std::uint8_t flags);

}  // namespace weft::flow
