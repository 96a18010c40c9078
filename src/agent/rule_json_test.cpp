#include "agent/rule_json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace weft::agent {
namespace {

using control::RuleDescription;
using Kind = RuleDescription::Kind;

std::vector<RuleDescription> every_kind() {
  RuleDescription rule{Kind::rule, WEFT_EGRESS, {"shop", "allow-web"}, 3, {}};
  RuleDescription deny{Kind::default_deny, WEFT_INGRESS, {}, 0, {{"shop", "a"}, {"shop", "b"}}};
  return {{Kind::no_policy, WEFT_INGRESS, {}, 0, {}},
          rule,
          deny,
          {Kind::host_allowed, WEFT_INGRESS, {}, 0, {}},
          {Kind::reply, WEFT_EGRESS, {}, 0, {}}};
}

TEST(RuleJson, TheStoreGivesBackWhatItGot) {
  for (const auto& rule : every_kind()) {
    const auto back = rule_from_store(rule_to_store(rule));
    ASSERT_TRUE(back) << rule.to_string();
    EXPECT_EQ(*back, rule) << rule.to_string();
  }
}

TEST(RuleJson, DamagedTextIsAnError) {
  for (const auto* text :
       {"", "{", "[]", "{}", "3", R"({"kind":1})", R"({"kind":"rule"})",
        R"({"kind":"rule","direction":"egress","policy":[1,2]})", R"({"kind":"rule","direction":"egress","policy":{}})",
        R"({"kind":"odd","direction":"egress"})", R"({"kind":"default_deny","direction":"egress","isolating":[[1]]})"})
    EXPECT_FALSE(rule_from_store(text)) << text;
}

TEST(RuleJson, TheApiNamesPolicyIndexAndPlace) {
  const auto json = rule_to_json(17, every_kind()[1], model::SourceLocation{"web.yaml", 12});
  EXPECT_EQ(json["id"], 17);
  EXPECT_EQ(json["kind"], "rule");
  EXPECT_EQ(json["direction"], "egress");
  EXPECT_EQ(json["policy"], "shop/allow-web");
  EXPECT_EQ(json["index"], 3);
  EXPECT_EQ(json["location"]["file"], "web.yaml");
  EXPECT_EQ(json["location"]["line"], 12);
  EXPECT_EQ(json["text"], every_kind()[1].to_string());
  const auto deny = rule_to_json(18, every_kind()[2], {});
  EXPECT_TRUE(deny["policy"].is_null());
  EXPECT_TRUE(deny["index"].is_null());
  EXPECT_TRUE(deny["location"].is_null());
  EXPECT_EQ(deny["isolating"], nlohmann::json({"shop/a", "shop/b"}));
}

}  // namespace
}  // namespace weft::agent
