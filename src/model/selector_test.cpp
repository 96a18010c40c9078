#include "model/selector.h"

#include <gtest/gtest.h>

namespace weft::model {
namespace {

using Operator = LabelRequirement::Operator;

struct Case {
  const char* name;
  LabelSelector selector;
  LabelMap labels;
  bool matches;
};

class Matches : public testing::TestWithParam<Case> {};

TEST_P(Matches, AsKubernetesSays) { EXPECT_EQ(GetParam().selector.matches(GetParam().labels), GetParam().matches); }

const Case cases[] = {
    {"empty_matches_all", {}, {{"app", "web"}}, true},
    {"empty_matches_no_labels", {}, {}, true},
    {"in_hit", {{{"app", Operator::in, {"api", "web"}}}}, {{"app", "web"}}, true},
    {"in_miss", {{{"app", Operator::in, {"api", "web"}}}}, {{"app", "db"}}, false},
    {"in_without_key", {{{"app", Operator::in, {"web"}}}}, {}, false},
    {"not_in_hit", {{{"app", Operator::not_in, {"web"}}}}, {{"app", "db"}}, true},
    {"not_in_miss", {{{"app", Operator::not_in, {"db", "web"}}}}, {{"app", "db"}}, false},
    {"not_in_without_key", {{{"app", Operator::not_in, {"web"}}}}, {}, true},
    {"exists", {{{"app", Operator::exists, {}}}}, {{"app", ""}}, true},
    {"exists_without_key", {{{"app", Operator::exists, {}}}}, {}, false},
    {"does_not_exist", {{{"app", Operator::does_not_exist, {}}}}, {{"tier", "x"}}, true},
    {"does_not_exist_with_key", {{{"app", Operator::does_not_exist, {}}}}, {{"app", "x"}}, false},
    {"all_must_hold", {{{"a", Operator::in, {"1"}}, {"b", Operator::in, {"2"}}}}, {{"a", "1"}, {"b", "3"}}, false},
    {"empty_value", {{{"a", Operator::in, {""}}}}, {{"a", ""}}, true},
    {"same_key_twice", {{{"a", Operator::in, {"1"}}, {"a", Operator::not_in, {"1"}}}}, {{"a", "1"}}, false},
};

INSTANTIATE_TEST_SUITE_P(Selector, Matches, testing::ValuesIn(cases),
                         [](const auto& parameter) { return std::string(parameter.param.name); });

TEST(Selector, Text) {
  EXPECT_EQ(LabelSelector{}.to_string(), "(all)");
  const LabelSelector selector{{{"app", Operator::in, {"web"}},
                                {"tier", Operator::in, {"a", "b"}},
                                {"env", Operator::not_in, {"dev"}},
                                {"zone", Operator::not_in, {"x", "y"}},
                                {"team", Operator::exists, {}},
                                {"canary", Operator::does_not_exist, {}}}};
  EXPECT_EQ(selector.to_string(), "app=web,tier in (a,b),env!=dev,zone notin (x,y),team,!canary");
}

}  // namespace
}  // namespace weft::model
