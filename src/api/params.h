// Typed access to a request's parameters: errors name the parameter and what was expected.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "base/result.h"

namespace weft::api {

// `invalid` when the parameter is missing or empty.
Result<std::string> required_text(const nlohmann::json& params, const char* name);
// Absent or null: `fallback`.
Result<std::string> optional_text(const nlohmann::json& params, const char* name, std::string fallback = {});
Result<bool> optional_bool(const nlohmann::json& params, const char* name, bool fallback);
Result<std::uint64_t> optional_number(const nlohmann::json& params, const char* name, std::uint64_t fallback);
// An array of text, or one text; absent: empty.
Result<std::vector<std::string>> optional_texts(const nlohmann::json& params, const char* name);

}  // namespace weft::api
