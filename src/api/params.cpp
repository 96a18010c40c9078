#include "api/params.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace weft::api {
namespace {

const nlohmann::json* member(const nlohmann::json& params, const char* name) {
  if (!params.is_object()) return nullptr;
  auto found = params.find(name);
  return found == params.end() || found->is_null() ? nullptr : &*found;
}

std::unexpected<Error> wrong(const char* name, const char* expected, const nlohmann::json& found) {
  return fail(ErrorCode::invalid, fmt::format("params.{}: expected {}, found {}", name, expected, found.type_name()));
}

}  // namespace

Result<std::string> required_text(const nlohmann::json& params, const char* name) {
  WEFT_TRY(std::string text, optional_text(params, name));
  if (text.empty()) return fail(ErrorCode::invalid, fmt::format("params.{}: is missing", name));
  return text;
}

Result<std::string> optional_text(const nlohmann::json& params, const char* name, std::string fallback) {
  const auto* value = member(params, name);
  if (value == nullptr) return fallback;
  if (!value->is_string()) return wrong(name, "text", *value);
  return value->get<std::string>();
}

Result<bool> optional_bool(const nlohmann::json& params, const char* name, bool fallback) {
  const auto* value = member(params, name);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) return wrong(name, "true or false", *value);
  return value->get<bool>();
}

Result<std::uint64_t> optional_number(const nlohmann::json& params, const char* name, std::uint64_t fallback) {
  const auto* value = member(params, name);
  if (value == nullptr) return fallback;
  if (!value->is_number_unsigned() && !(value->is_number_integer() && value->get<std::int64_t>() >= 0))
    return wrong(name, "a whole number of at least 0", *value);
  return value->get<std::uint64_t>();
}

Result<std::vector<std::string>> optional_texts(const nlohmann::json& params, const char* name) {
  const auto* value = member(params, name);
  std::vector<std::string> texts;
  if (value == nullptr) return texts;
  if (value->is_string()) {
    texts.push_back(value->get<std::string>());
    return texts;
  }
  if (!value->is_array()) return wrong(name, "an array of text", *value);
  for (const auto& item : *value) {
    if (!item.is_string()) return wrong(name, "an array of text", item);
    texts.push_back(item.get<std::string>());
  }
  return texts;
}

}  // namespace weft::api
