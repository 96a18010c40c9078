#include "control/policy/explain.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "control/policy/describe.h"
#include "control/policy/test_world.h"
#include "model/parse.h"

namespace weft::control {
namespace {

using namespace test;  // NOLINT: the builders are this test's vocabulary
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const LabelMap web{{"app", "web"}};
const LabelMap db{{"app", "db"}};

struct Shop : World {
  Shop() {
    pod("shop/web-0", web, "10.1.0.2");
    pod("shop/db-0", db, "10.1.0.3", {{"redis", 6379, Protocol::tcp}});
    pod("dev/web-0", web, "10.1.0.4");
  }
  Explanation ask(std::string_view from, std::string_view to, std::uint16_t number, Protocol protocol = Protocol::tcp) {
    return explain({.from = side(from), .to = side(to), .protocol = protocol, .port = number}, compiled, input, rules);
  }
  // Applies the suggestions and compiles again.
  void apply(const Explanation& explanation) {
    for (const auto& suggestion : explanation.suggestions) {
      policy(suggestion.meta.namespace_ + "/" + suggestion.meta.name) = suggestion;
    }
    compile();
  }
};

std::string joined(const std::vector<std::string>& lines, std::size_t from = 0) {
  std::string text;
  for (std::size_t i = from; i < lines.size(); ++i) text += lines[i] + "\n";
  return text;
}

TEST(Explain, WithoutPoliciesEverythingIsAllowed) {
  Shop world;
  world.compile();
  const auto answer = world.ask("shop/web-0", "shop/db-0", 6379);
  EXPECT_TRUE(answer.allowed);
  EXPECT_EQ(answer.deciding, WEFT_INGRESS);
  EXPECT_EQ(answer.decisive().rule.kind, RuleDescription::Kind::no_policy);
  EXPECT_THAT(answer.text,
              ElementsAre("shop/web-0 (10.1.0.2; app=web) to shop/db-0 (10.1.0.3; app=db) on 6379/TCP: allowed",
                          "egress of shop/web-0: allowed, no policy selects it for egress",
                          "ingress of shop/db-0: allowed, no policy selects it for ingress"));
  EXPECT_THAT(answer.change, IsEmpty());
  EXPECT_THAT(answer.suggestions, IsEmpty());
}

TEST(Explain, NamesTheRuleThatAllows) {
  Shop world;
  world.policy("shop/to-db", db).ingress = {{.peers = {pods(web)}, .ports = {named("redis")}}};
  world.compile();
  const auto answer = world.ask("shop/web-0", "shop/db-0", 6379);
  EXPECT_TRUE(answer.allowed);
  EXPECT_EQ(answer.ingress.rule.to_string(), "shop/to-db ingress rule 0");
  EXPECT_EQ(answer.text.back(),
            "ingress of shop/db-0: allowed by rule 0 of shop/to-db: from pods app=web in namespace shop on "
            "port redis/TCP");
}

TEST(Explain, SaysThatOnlyThePortIsMissing) {
  Shop world;
  world.policy("shop/deny");
  world.policy("shop/to-db", db).ingress = {{.peers = {pods({{"app", "front"}})}},
                                            {.peers = {pods(web)}, .ports = {named("redis"), port(80)}}};
  world.compile();
  const auto answer = world.ask("shop/web-0", "shop/db-0", 443);
  EXPECT_FALSE(answer.allowed);
  EXPECT_EQ(answer.deciding, WEFT_INGRESS);
  EXPECT_EQ(answer.decisive().rule.to_string(), "default deny ingress by shop/deny, shop/to-db");
  EXPECT_THAT(answer.text,
              ElementsAre(HasSubstr("on 443/TCP: denied"), HasSubstr("egress of shop/web-0: allowed"),
                          "ingress of shop/db-0: denied, selected by shop/deny, shop/to-db and no rule allows it",
                          "  shop/deny has no ingress rules: it allows nothing",
                          "  rule 0 of shop/to-db matches the port but not the peer: it allows only pods app=front in "
                          "namespace shop; the peer's labels are app=web, it is in namespace shop",
                          "  rule 1 of shop/to-db matches the peer but not the port: it allows port redis/TCP or "
                          "80/TCP (redis is 6379 on shop/db-0)"));
  EXPECT_EQ(answer.change.front(), "add port 443/TCP to ingress rule 1 of shop/to-db");
}

TEST(Explain, SuggestsAPolicyThatWorksAsItStands) {
  Shop world;
  world.policy("shop/deny");
  auto& outgoing = world.policy("dev/deny");
  outgoing.applies_ingress = false;
  outgoing.applies_egress = true;
  world.compile();
  const auto answer = world.ask("dev/web-0", "shop/db-0", 6379);
  EXPECT_FALSE(answer.egress.allowed);
  EXPECT_FALSE(answer.ingress.allowed);
  EXPECT_EQ(answer.deciding, WEFT_EGRESS);
  EXPECT_EQ(answer.change[0],
            "add to dev/deny, which selects dev/web-0, an egress rule to pods app=db in namespaces "
            "kubernetes.io/metadata.name=shop on port 6379/TCP");
  EXPECT_EQ(joined(answer.change, 2),
            R"(or apply these policies, which only add to the present ones:
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: allow-web-0-to-db-0-6379-tcp-egress
  namespace: dev
spec:
  podSelector:
    matchLabels:
      app: web
  policyTypes:
  - Egress
  egress:
  - to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: shop
      podSelector:
        matchLabels:
          app: db
    ports:
    - protocol: TCP
      port: 6379
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: allow-web-0-to-db-0-6379-tcp-ingress
  namespace: shop
spec:
  podSelector:
    matchLabels:
      app: db
  policyTypes:
  - Ingress
  ingress:
  - from:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: dev
      podSelector:
        matchLabels:
          app: web
    ports:
    - protocol: TCP
      port: 6379
)");
  const auto parsed = model::parse_manifests("change.yaml", joined(answer.change, 3));
  EXPECT_THAT(parsed.problems, IsEmpty());
  ASSERT_EQ(parsed.documents.size(), 2U);
  for (const auto& document : parsed.documents) {
    const auto& policy = std::get<model::NetworkPolicy>(document.object);
    world.input.policies.edit()[policy.meta.key()] = policy;
  }
  world.compile();
  EXPECT_TRUE(world.ask("dev/web-0", "shop/db-0", 6379).allowed);
  EXPECT_FALSE(world.ask("dev/web-0", "shop/db-0", 6380).allowed);
}

TEST(Explain, SuggestionsIsolateNobodyAnew) {
  Shop world;
  world.pod("shop/db-1", {{"app", "db"}, {"role", "replica"}}, "10.1.0.6");
  auto& isolating = world.policy("shop/primary", db);
  isolating.pod_selector.requirements.push_back({"role", model::LabelRequirement::Operator::does_not_exist, {}});
  world.compile();
  const auto answer = world.ask("shop/web-0", "shop/db-0", 80);
  ASSERT_EQ(answer.suggestions.size(), 1U);
  EXPECT_EQ(answer.suggestions[0].pod_selector, isolating.pod_selector);
  world.apply(answer);
  EXPECT_TRUE(world.ask("shop/web-0", "shop/db-0", 80).allowed);
  EXPECT_FALSE(world.ask("shop/web-0", "shop/db-1", 80).ingress.enforced);
}

TEST(Explain, IcmpNeedsARuleWithoutPorts) {
  Shop world;
  world.policy("shop/to-db", db).ingress = {{.peers = {pods(web)}, .ports = {port(80)}}};
  world.compile();
  const auto answer = world.ask("shop/web-0", "shop/db-0", 0, Protocol::icmp);
  EXPECT_FALSE(answer.allowed);
  EXPECT_THAT(answer.text[0], HasSubstr("on ICMP: denied"));
  EXPECT_EQ(answer.change[0], "remove the ports of ingress rule 0 of shop/to-db: a rule with ports never allows ICMP");
  EXPECT_TRUE(answer.suggestions[0].ingress[0].ports.empty());
  world.apply(answer);
  EXPECT_TRUE(world.ask("shop/web-0", "shop/db-0", 0, Protocol::icmp).allowed);
}

TEST(Explain, NodeSelfAndOutside) {
  Shop world;
  auto& deny = world.policy("shop/deny");
  deny.applies_egress = true;
  deny.ingress = {{.peers = {block("192.0.2.0/24", {"192.0.2.128/25"})}}};
  world.compile();
  const auto node = world.ask("host", "shop/db-0", 22);
  EXPECT_TRUE(node.allowed);
  EXPECT_EQ(node.ingress.id, RuleTable::host_allowed);
  EXPECT_THAT(node.text, Contains("ingress of shop/db-0: allowed, the node may always reach its pods"));
  const auto self = world.ask("shop/db-0", "shop/db-0", 22);
  EXPECT_TRUE(self.allowed);
  EXPECT_TRUE(self.ingress.enforced);
  EXPECT_TRUE(world.ask("192.0.2.1", "shop/db-0", 22).allowed);

  const auto to_node = world.ask("shop/db-0", "host", 22);
  EXPECT_FALSE(to_node.allowed) << "egress to the node is policed";
  EXPECT_THAT(to_node.text, Contains("ingress of the node: not enforced, the node is no pod"));

  const auto excepted = world.ask("192.0.2.200", "shop/db-0", 22);
  EXPECT_FALSE(excepted.allowed);
  EXPECT_THAT(excepted.text,
              Contains("  rule 0 of shop/deny matches the port but not the peer: it allows only addresses in "
                       "192.0.2.0/24 except 192.0.2.128/25; the peer is 192.0.2.200, no pod"));
  EXPECT_EQ(excepted.change[0], "add addresses in 192.0.2.200/32 to the peers of ingress rule 0 of shop/deny");
  world.apply(excepted);
  EXPECT_TRUE(world.ask("192.0.2.200", "shop/db-0", 22).allowed);
  EXPECT_FALSE(world.ask("192.0.2.201", "shop/db-0", 22).allowed);
}

TEST(Explain, MentionsTheServiceAndTheMissingPortName) {
  Shop world;
  world.policy("shop/to-db", db).ingress = {{.peers = {pods(web)}, .ports = {named("mysql")}}};
  world.compile();
  const auto answer = explain({.from = world.side("shop/web-0"),
                               .to = world.side("shop/db-0"),
                               .port = 6379,
                               .service = ExplainService{{"shop", "db"}, 80}},
                              world.compiled, world.input, world.rules);
  EXPECT_THAT(answer.text[0], HasSubstr("on 6379/TCP, reached by service shop/db port 80: denied"));
  EXPECT_THAT(answer.text.back(), HasSubstr("it allows port mysql/TCP (shop/db-0 has no port named mysql)"));
}

TEST(Explain, LocatesRules) {
  Shop world;
  auto& policy = world.policy("shop/to-db", db);
  policy.ingress = {{.ports = {port(80)}, .line = 12}, {.ports = {port(81)}}};
  RuleDescription rule{.kind = RuleDescription::Kind::rule, .policy = {"shop", "to-db"}};
  EXPECT_EQ(location_of(rule, world.input), std::nullopt) << "not read from a file";
  policy.meta.location = {"db.yaml", 3};
  EXPECT_EQ(location_of(rule, world.input), (model::SourceLocation{"db.yaml", 12}));
  rule.index = 1;
  EXPECT_EQ(location_of(rule, world.input), (model::SourceLocation{"db.yaml", 3}));
  const RuleDescription deny{.kind = RuleDescription::Kind::default_deny, .isolating = {{"shop", "to-db"}}};
  EXPECT_EQ(location_of(deny, world.input), (model::SourceLocation{"db.yaml", 3}));
  rule.policy.name = "gone";
  EXPECT_EQ(location_of(rule, world.input), std::nullopt);
}

TEST(PolicyYaml, QuotesWhatIsNoPlainString) {
  model::NetworkPolicy policy;
  policy.meta.name = "p";
  policy.meta.namespace_ = "on";
  using Operator = model::LabelRequirement::Operator;
  policy.pod_selector.requirements = {{"a", Operator::in, {"true"}},
                                      {"b", Operator::in, {"1"}},
                                      {"c", Operator::in, {""}},
                                      {"d.e/f", Operator::in, {"x_1"}},
                                      {"g", Operator::not_in, {"null", "x"}},
                                      {"y", Operator::exists, {}}};
  policy.ingress = {{}, {.peers = {block("::/0", {"fd00::/8"})}, .ports = {port(1, Protocol::sctp, 9), named("http")}}};
  const auto text = joined(policy_internal::to_yaml(policy));
  const auto parsed = model::parse_manifests("p.yaml", text);
  ASSERT_THAT(parsed.problems, IsEmpty()) << text;
  const auto& back = std::get<model::NetworkPolicy>(parsed.documents.at(0).object);
  EXPECT_EQ(back.pod_selector.to_string(), policy.pod_selector.to_string()) << text;
  ASSERT_EQ(back.ingress.size(), 2U);
  EXPECT_TRUE(back.ingress[0].peers.empty());
  EXPECT_EQ(back.ingress[1].peers[0].ip_block->except, (std::vector{cidr("fd00::/8")}));
  EXPECT_EQ(back.ingress[1].ports[0].end_port, 9);
  EXPECT_EQ(std::get<std::string>(*back.ingress[1].ports[1].port), "http");
}

}  // namespace
}  // namespace weft::control
