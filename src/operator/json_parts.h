// Parts of objects that somebody else wrote, which may be missing or something else.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

namespace weft::op {

// What is there under the key, if it is of the fallback's type.
inline nlohmann::json part(const nlohmann::json& outer, const char* key,
                           nlohmann::json fallback = nlohmann::json::object()) {
  if (!outer.is_object()) return fallback;
  const auto found = outer.find(key);
  return found == outer.end() || found->type() != fallback.type() ? fallback : *found;
}

inline std::string text(const nlohmann::json& outer, const char* key) {
  return part(outer, key, "").get<std::string>();
}

inline std::int64_t generation_of(const nlohmann::json& metadata) {
  if (!metadata.is_object()) return 0;
  const auto found = metadata.find("generation");
  return found != metadata.end() && found->is_number_integer() ? found->get<std::int64_t>() : 0;
}

}  // namespace weft::op
