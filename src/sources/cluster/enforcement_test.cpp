#include "sources/cluster/enforcement.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sources/cluster/enforcement_view.h"

namespace weft::cluster {
namespace {

using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Verdict = EnforcementView::Verdict;

EnforcedPolicy enforced(const std::string& name, std::uint64_t generation, const std::string& uid = "u") {
  return {.namespace_ = "shop", .name = name, .uid = uid, .version = {generation, {}}, .reason = {}, .kept = {}};
}

TEST(EnforcementValue, IsReadAsItWasWritten) {
  const Enforcement none{.boot_id = "b", .seen = 7, .policies = {}};
  EXPECT_EQ(decode_enforcement("k", encode(none)).value(), none);
  auto failed = enforced("b", 4);
  failed.reason = "the map is full";
  failed.kept = {3, {}};
  auto by_digest = enforced("c", 0, "");
  by_digest.version = {0, "00000000000000a1"};
  const Enforcement all{.boot_id = "b", .seen = 0, .policies = {enforced("a", 1), failed, by_digest}, .omitted = 2};
  EXPECT_EQ(decode_enforcement("k", encode(all)).value(), all);
  EXPECT_THAT(encode(all), HasSubstr(R"("enforced":2)"));
  EXPECT_THAT(encode(all), HasSubstr(R"("failed":1)"));
}

// Whoever writes it, what is read is what would be told.
TEST(EnforcementValue, AReasonHasAnEndBetweenTwoCharactersAndAVersionIsOne) {
  auto failed = enforced("a", 4);
  for (int i = 0; i < 1000; ++i) failed.reason += "é";
  failed.reason.insert(0, "x");
  const auto read = decode_enforcement("k", encode({.boot_id = "b", .seen = 1, .policies = {failed}})).value();
  EXPECT_EQ(read.policies.front().reason, failed.reason.substr(0, 511));
  EXPECT_EQ(decode_enforcement("k", encode(read)).value(), read);
  const auto both =
      decode_enforcement(
          "k", R"({"version": 1, "boot_id": "b", "seen": 1, "policies": [{"namespace": "s", "name": "a", "uid": "u",
               "state": "failed", "reason": ")" +
                   failed.reason + R"(", "generation": 2, "digest": "d",
               "kept_generation": 1, "kept_digest": "e"}]})")
          .value();
  EXPECT_EQ(both.policies.front().version, (PolicyVersion{2, {}}));
  EXPECT_EQ(both.policies.front().kept, (PolicyVersion{1, {}}));
  EXPECT_EQ(both.policies.front().reason.size(), 511U);
}

TEST(EnforcementValue, WhatMakesNoSenseIsRefused) {
  const auto wrong = [](const std::string& policies) {
    const auto read = decode_enforcement(
        "k", fmt::format(R"({{"version": 1, "boot_id": "b", "seen": 1, "policies": [{}]}})", policies));
    return read ? std::string("read") : read.error().message;
  };
  EXPECT_EQ(wrong(""), "read");
  const std::string a = R"("namespace": "s", "name": "a", "uid": "u")";
  EXPECT_EQ(wrong("{" + a + R"(, "generation": 1, "state": "enforced", "later": 1})"), "read");
  EXPECT_THAT(wrong("{" + a + R"(, "state": "enforced"})"), HasSubstr("\"generation\""));
  EXPECT_THAT(wrong("{" + a + R"(, "generation": 0, "state": "enforced"})"), HasSubstr("\"generation\""));
  EXPECT_THAT(wrong("{" + a + R"(, "generation": 1, "state": "well"})"), HasSubstr("neither enforced nor failed"));
  EXPECT_THAT(wrong(R"({"namespace": "s", "name": "../a", "uid": "u", "generation": 1, "state": "enforced"})"),
              HasSubstr("is not a name"));
  const auto one = "{" + a + R"(, "generation": 1, "state": "enforced"})";
  EXPECT_THAT(wrong(one + "," + one), HasSubstr("not in the order"));
}

TEST(EnforcementValue, WhatDoesNotFitIsCounted) {
  Enforcement all{.boot_id = "b", .seen = 1, .policies = {}};
  for (int i = 0; i < 1000; ++i) all.policies.push_back(enforced(fmt::format("p-{:04}", i), 1));
  const auto text = encode_within(all, 20000);
  EXPECT_LE(text.size(), 20000U);
  const auto read = decode_enforcement("k", text).value();
  EXPECT_GT(read.policies.size(), 100U);
  EXPECT_EQ(read.policies.size() + read.omitted, 1000U);
  EXPECT_FALSE(read.omits("shop", "p-0000"));
  EXPECT_TRUE(read.omits("shop", "p-0999"));
  EXPECT_NE(read.find("shop", "p-0001"), nullptr);
  EXPECT_EQ(read.find("shop", "p-0999"), nullptr);
  EXPECT_EQ(encode_within(read, 1 << 20), encode(read));
}

class EnforcementViewTest : public ::testing::Test {
 protected:
  void tells(const std::string& node, std::uint64_t seen, std::vector<EnforcedPolicy> policies,
             const std::string& boot = "boot") {
    changed_ = view_.set(node, Enforcement{.boot_id = boot, .seen = seen, .policies = std::move(policies)}, now_);
  }
  void alive(const std::string& node, const std::optional<std::string>& boot = "boot") {
    view_.set_alive(node, boot, now_);
  }
  // "waiting 1/2: b at 1, c at none"
  std::string judged(const EnforcementView::Policy& policy) {
    const auto judgement = view_.judge(policy, now_);
    static constexpr std::array<const char*, 5> words{"enforced", "no pods", "waiting", "failed", "away"};
    auto text = fmt::format("{} {}/{}", words.at(static_cast<std::size_t>(judgement.verdict)), judgement.enforcing,
                            judgement.selected);
    for (const auto& one : judgement.behind) text += fmt::format(" {} at {}", one.node, one.version.to_string());
    for (const auto& node : judgement.joining) text += " (" + node + ")";
    return text;
  }
  std::string judged(std::uint64_t generation, std::uint64_t revision, const std::string& uid = "u") {
    return judged({.name = {"shop", "web"}, .uid = uid, .version = {generation, {}}, .revision = revision});
  }

  EnforcementView view_;
  std::vector<PolicyName> changed_;
  EnforcementView::Time now_{seconds(1000)};
};

TEST_F(EnforcementViewTest, APolicyIsInForceOnceEveryNodeHasSaidSo) {
  for (const auto* node : {"a", "b", "c"}) alive(node);
  tells("a", 10, {enforced("web", 1)});
  tells("b", 10, {enforced("web", 1), enforced("x", 1)});
  tells("c", 10, {});
  EXPECT_EQ(judged(1, 10), "enforced 2/2");
  // It changed a moment ago.
  EXPECT_EQ(judged(2, 11), "waiting 0/2 a at 1 b at 1 c at none");
  tells("a", 11, {enforced("web", 2)});
  EXPECT_THAT(changed_, ElementsAre(PolicyName("shop", "web")));
  EXPECT_EQ(judged(2, 11), "waiting 1/2 b at 1 c at none");
  tells("b", 11, {enforced("web", 2), enforced("x", 1)});
  EXPECT_EQ(judged(2, 11), "waiting 2/2 c at none") << "it may select pods of c now";
  tells("c", 11, {});
  EXPECT_THAT(changed_, IsEmpty());
  EXPECT_EQ(judged(2, 11), "enforced 2/2");
  // It is another one of that name.
  EXPECT_EQ(judged(2, 11, "v"), "waiting 0/2 a at 2 b at 2");
}

TEST_F(EnforcementViewTest, APolicyWithoutPods) {
  EXPECT_EQ(judged(1, 10), "no pods 0/0") << "there is no node";
  alive("a");
  tells("a", 9, {});
  EXPECT_EQ(judged(1, 10), "waiting 0/0 a at none");
  tells("a", 10, {});
  EXPECT_EQ(judged(1, 10), "no pods 0/0");
}

TEST_F(EnforcementViewTest, ANodeThatFailsIsNamedFirst) {
  for (const auto* node : {"a", "b"}) alive(node);
  tells("a", 10, {enforced("web", 1)});
  auto failed = enforced("web", 2);
  failed.reason = "the map is full";
  failed.kept = {1, {}};
  tells("b", 11, {failed});
  EXPECT_EQ(judged(2, 11), "failed 0/2 b at 1 a at 1");
  EXPECT_EQ(
      view_.judge({.name = {"shop", "web"}, .uid = "u", .version = {2, {}}, .revision = 11}, now_).behind[0].reason,
      "the map is full");
  failed.reason = "another";
  tells("b", 11, {failed});
  EXPECT_THAT(changed_, ElementsAre(PolicyName("shop", "web"))) << "the reason is told, too";
}

TEST_F(EnforcementViewTest, ANodeThatIsAwayIsNamedAndDoesNotCount) {
  for (const auto* node : {"a", "b"}) alive(node);
  tells("a", 10, {enforced("web", 1)});
  tells("b", 10, {enforced("web", 1)});
  alive("b", std::nullopt);
  EXPECT_EQ(judged(1, 10), "away 1/2 b at 1");
  tells("a", 11, {enforced("web", 2)});
  EXPECT_EQ(judged(2, 11), "away 1/2 b at 1");
  // Its pods may be of a policy that it does not know.
  EXPECT_EQ(view_.judge({.name = {"shop", "new"}, .uid = "n", .version = {1, {}}, .revision = 11}, now_).behind.size(),
            1U);
  // It booted, and has none of the pods it had.
  alive("b", "boot-2");
  EXPECT_EQ(judged(2, 11), "enforced 1/1 (b)");
  now_ += seconds(11);
  EXPECT_EQ(judged(2, 11), "waiting 1/1 b at none") << "by now it should have said something";
  tells("b", 11, {}, "boot-2");
  EXPECT_EQ(judged(2, 11), "enforced 1/1");
  // It was removed.
  alive("b", std::nullopt);
  EXPECT_THAT(view_.set("b", std::nullopt, now_), IsEmpty());
  EXPECT_EQ(judged(2, 11), "enforced 1/1");
  EXPECT_EQ(view_.nodes(), 1U);
}

TEST_F(EnforcementViewTest, ANodeWithTooManyPoliciesIsNotTakenAtItsSilence) {
  alive("a");
  changed_ =
      view_.set("a", Enforcement{.boot_id = "boot", .seen = 10, .policies = {enforced("m", 1)}, .omitted = 3}, now_);
  EXPECT_EQ(judged(1, 10), "waiting 0/0 a at none");
  EXPECT_EQ(judged({.name = {"shop", "a"}, .uid = "u", .version = {1, {}}, .revision = 10}), "no pods 0/0");
}

TEST_F(EnforcementViewTest, PoliciesWithoutGenerationsAreComparedByTheirDigest) {
  alive("a");
  EnforcedPolicy told = enforced("web", 0, "");
  told.version = {0, "00000000000000a1"};
  tells("a", 0, {told});
  EXPECT_EQ(judged({.name = {"shop", "web"}, .uid = {}, .version = {0, "00000000000000a1"}, .revision = 0}),
            "enforced 1/1");
  EXPECT_EQ(judged({.name = {"shop", "web"}, .uid = {}, .version = {0, "00000000000000a2"}, .revision = 0}),
            "waiting 0/1 a at 00000000000000a1");
}

}  // namespace
}  // namespace weft::cluster
