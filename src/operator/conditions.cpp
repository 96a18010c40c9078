#include "operator/conditions.h"

#include <algorithm>

#include "base/utc_text.h"

namespace weft::op {
namespace {

using nlohmann::json;

// The API takes 32768 bytes; nobody reads that much.
constexpr std::size_t longest_message = 1024;

bool is_of(const json& item, const std::string& type) {
  const auto found = item.is_object() ? item.find("type") : item.end();
  return item.is_object() && found != item.end() && *found == type;
}

}  // namespace

const json* find_condition(const json& list, const std::string& type) {
  if (!list.is_array()) return nullptr;
  const auto found = std::ranges::find_if(list, [&](const json& item) { return is_of(item, type); });
  return found == list.end() ? nullptr : &*found;
}

std::optional<json> with_condition(const json& list, const Condition& condition,
                                   std::chrono::system_clock::time_point now) {
  json made{{"type", condition.type},
            {"status", condition.unknown  ? "Unknown"
                       : condition.status ? "True"
                                          : "False"},
            {"reason", condition.reason},
            {"message", condition.message.substr(0, longest_message)},
            {"lastTransitionTime", utc_text(now)}};
  if (condition.generation != 0) made["observedGeneration"] = condition.generation;
  auto all = list.is_array() ? list : json::array();
  const auto* before = find_condition(all, condition.type);
  if (before == nullptr) {
    all.push_back(std::move(made));
    return all;
  }
  if (before->value("status", json()) == made["status"])
    made["lastTransitionTime"] = before->value("lastTransitionTime", made["lastTransitionTime"]);
  if (*before == made) return std::nullopt;
  *std::ranges::find_if(all, [&](const json& item) { return is_of(item, condition.type); }) = std::move(made);
  return all;
}

std::optional<json> without_condition(const json& list, const std::string& type) {
  if (find_condition(list, type) == nullptr) return std::nullopt;
  auto all = json::array();
  for (const auto& item : list)
    if (!is_of(item, type)) all.push_back(item);
  return all;
}

}  // namespace weft::op
