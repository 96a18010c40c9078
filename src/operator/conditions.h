// Conditions of an object's status, as https://pkg.go.dev/k8s.io/apimachinery/pkg/apis/meta/v1#Condition has them.
// Those of other types are somebody else's, and stay.
#pragma once

#include <chrono>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace weft::op {

struct Condition {
  std::string type;  // "Accepted"
  bool status = false;
  bool unknown = false;  // neither
  std::string reason;    // one word
  std::string message;
  std::int64_t generation = 0;  // of the object it was decided for; 0: it has none
};

// The list with this condition instead of the one of its type; nothing: it says so already.
std::optional<nlohmann::json> with_condition(const nlohmann::json& list, const Condition& condition,
                                             std::chrono::system_clock::time_point now);
// The list without that type; nothing: it is not there.
std::optional<nlohmann::json> without_condition(const nlohmann::json& list, const std::string& type);
// The condition of that type; null: there is none.
const nlohmann::json* find_condition(const nlohmann::json& list, const std::string& type);

}  // namespace weft::op
