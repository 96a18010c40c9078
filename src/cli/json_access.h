// Reading the agent's answers for display: a member that is absent or of another type is empty.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace weft::cli {

// Null when `object` is no object or has no such member. `path` may name nested members: "status/podIP".
const nlohmann::json& member(const nlohmann::json& object, std::string_view path);
std::string text(const nlohmann::json& object, std::string_view path);
std::uint64_t number(const nlohmann::json& object, std::string_view path);
bool flag(const nlohmann::json& object, std::string_view path);

// Any value as a table's cell: text as it is, yes/no, "-" for null and empty, arrays joined by commas.
std::string cell(const nlohmann::json& value);
std::string cell(const nlohmann::json& object, std::string_view path);

}  // namespace weft::cli
