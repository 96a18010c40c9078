#include "agent/rule_json.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

namespace weft::agent {
namespace {

using control::RuleDescription;
using Kind = RuleDescription::Kind;

struct KindName {
  Kind kind;
  std::string_view word;
};
constexpr std::array kinds{
    KindName{Kind::no_policy, "no_policy"},
    KindName{Kind::rule, "rule"},
    KindName{Kind::default_deny, "default_deny"},
    KindName{Kind::host_allowed, "host_allowed"},
    KindName{Kind::reply, "reply"},
};

std::string_view direction_word(weft_direction direction) { return direction == WEFT_EGRESS ? "egress" : "ingress"; }

}  // namespace

std::string_view to_string(Kind kind) {
  for (const auto& known : kinds)
    if (known.kind == kind) return known.word;
  return "rule";
}

std::string rule_to_store(const RuleDescription& rule) {
  nlohmann::json json{{"kind", to_string(rule.kind)}, {"direction", direction_word(rule.direction)}};
  if (rule.kind == Kind::rule) json["policy"] = {rule.policy.namespace_, rule.policy.name, rule.index};
  for (const auto& policy : rule.isolating) json["isolating"].push_back({policy.namespace_, policy.name});
  return json.dump();
}

Result<RuleDescription> rule_from_store(const std::string& text) {
  RuleDescription rule;
  try {
    const auto json = nlohmann::json::parse(text);
    const auto word = json.at("kind").get<std::string>();
    const auto* kind = std::ranges::find(kinds, std::string_view(word), &KindName::word);
    if (kind == kinds.end()) return weft::fail(ErrorCode::invalid, "stored rule: unknown kind \"" + word + "\"");
    rule.kind = kind->kind;
    rule.direction = json.at("direction") == "egress" ? WEFT_EGRESS : WEFT_INGRESS;
    if (json.contains("policy")) {
      const auto& policy = json["policy"];
      rule.policy = {policy.at(0), policy.at(1)};
      rule.index = policy.at(2);
    }
    if (json.contains("isolating"))
      for (const auto& policy : json["isolating"]) rule.isolating.push_back({policy.at(0), policy.at(1)});
  } catch (const nlohmann::json::exception& exception) {
    return weft::fail(ErrorCode::invalid, std::string("stored rule: ") + exception.what());
  }
  return rule;
}

nlohmann::json rule_to_json(control::RuleId id, const RuleDescription& rule,
                            const std::optional<model::SourceLocation>& location) {
  nlohmann::json json{{"id", id},
                      {"kind", to_string(rule.kind)},
                      {"direction", direction_word(rule.direction)},
                      {"policy", nullptr},
                      {"index", nullptr},
                      {"isolating", nlohmann::json::array()},
                      {"location", nullptr},
                      {"text", rule.to_string()}};
  if (rule.kind == Kind::rule) {
    json["policy"] = rule.policy.to_string();
    json["index"] = rule.index;
  }
  for (const auto& policy : rule.isolating) json["isolating"].push_back(policy.to_string());
  if (location) json["location"] = {{"file", location->file}, {"line", location->line}};
  return json;
}

}  // namespace weft::agent
