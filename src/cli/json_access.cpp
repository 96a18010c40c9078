#include "cli/json_access.h"

#include <nlohmann/json.hpp>

namespace weft::cli {

using nlohmann::json;

const json& member(const json& object, std::string_view path) {
  static const json none;
  const json* at = &object;
  while (!path.empty()) {
    const auto slash = path.find('/');
    if (!at->is_object()) return none;
    const auto found = at->find(std::string(path.substr(0, slash)));
    if (found == at->end()) return none;
    at = &*found;
    path = slash == std::string_view::npos ? std::string_view() : path.substr(slash + 1);
  }
  return *at;
}

std::string text(const json& object, std::string_view path) {
  const auto& value = member(object, path);
  return value.is_string() ? value.get<std::string>() : std::string();
}

std::uint64_t number(const json& object, std::string_view path) {
  const auto& value = member(object, path);
  if (value.is_number_unsigned()) return value.get<std::uint64_t>();
  if (value.is_number_integer()) return value.get<std::int64_t>() > 0 ? value.get<std::uint64_t>() : 0;
  return value.is_number_float() && value.get<double>() > 0 ? static_cast<std::uint64_t>(value.get<double>()) : 0;
}

bool flag(const json& object, std::string_view path) {
  const auto& value = member(object, path);
  return value.is_boolean() && value.get<bool>();
}

std::string cell(const json& value) {
  if (value.is_null()) return "-";
  if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
  if (value.is_string()) return value.get_ref<const std::string&>().empty() ? "-" : value.get<std::string>();
  if (value.is_array()) {
    std::string joined;
    for (const auto& item : value) joined += (joined.empty() ? "" : ",") + cell(item);
    return joined.empty() ? "-" : joined;
  }
  if (value.is_object() && value.empty()) return "-";
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string cell(const json& object, std::string_view path) { return cell(member(object, path)); }

}  // namespace weft::cli
