// Rule descriptions as JSON, for the store and for the API.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "control/policy/explain.h"
#include "control/policy/policy.h"

namespace weft::agent {

std::string_view to_string(control::RuleDescription::Kind kind);
std::string rule_to_store(const control::RuleDescription& rule);
Result<control::RuleDescription> rule_from_store(const std::string& text);

// The Rule of docs/api.md.
nlohmann::json rule_to_json(control::RuleId id, const control::RuleDescription& rule,
                            const std::optional<model::SourceLocation>& location);

}  // namespace weft::agent
