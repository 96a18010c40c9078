#include "agent/elsewhere.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/parse.h"

namespace weft::agent {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

constexpr control::IdentityId kClient = 300;
constexpr control::IdentityId kWeb = 301;
constexpr control::IdentityId kOther = 302;

control::PolicyEndpoint pod(const std::string& name, control::IdentityId identity, const std::string& address) {
  return {.pod = {"shop", name},
          .identity = identity,
          .labels = {{"app", name.substr(0, name.find('-'))}},
          .ports = {},
          .addresses = {IpAddress::parse(address).value()}};
}

class ElsewhereTest : public ::testing::Test {
 protected:
  ElsewhereTest() {
    const auto parsed = model::parse_manifests("p.yaml", R"(
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: shop}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress:
  - {from: [{podSelector: {matchLabels: {app: client}}}], ports: [{port: 80}]}
  - {from: [{ipBlock: {cidr: 192.0.2.0/24}}]}
)");
    EXPECT_TRUE(parsed.problems.empty());
    here.namespaces["shop"] = {};
    here.policies.edit()[{"shop", "web"}] = std::get<model::NetworkPolicy>(parsed.documents.front().object);
    here.revisions.edit()[{"shop", "web"}] = 1;
    here.endpoints = {pod("client-1", kClient, "10.244.1.5"), pod("other-1", kOther, "10.244.1.6")};
    auto peer = pod("web-1", kWeb, "10.244.2.5");
    peer.pod.name.clear();
    here.peers = {peer};
    // As this node has compiled it: nobody here is selected.
    control::PolicyCompiler compiler(rules, cidrs);
    compiled = compiler.compile(here);
  }
  control::ExplainSide side(const control::PolicyEndpoint& of) const {
    return {.pod = of.pod,
            .address = of.addresses.front(),
            .identity = of.identity,
            .cidr_identity = cidrs.narrowest(of.addresses.front()),
            .labels = of.labels};
  }
  control::Explanation ask(control::ExplainSide from, bool translated = false) const {
    const auto there = compile_elsewhere({web}, here, rules, cidrs);
    const auto query = seen_elsewhere({.from = std::move(from), .to = side(web), .port = 80}, there, true, translated);
    return control::explain(query, there.policy, there.input, there.rules);
  }

  const control::PolicyEndpoint web = pod("web-1", kWeb, "10.244.2.5");
  control::PolicyInput here;
  control::RuleTable rules;
  control::CidrIdentities cidrs;
  control::CompiledPolicy compiled;
};

TEST_F(ElsewhereTest, APodOfAnotherNodeIsJudgedByThePoliciesThatSelectIt) {
  const control::ExplainQuery plain{.from = side(here.endpoints[1]), .to = side(web), .port = 80};
  EXPECT_TRUE(control::explain(plain, compiled, here, rules).allowed) << "this node enforces nothing for it";
  const auto denied = ask(side(here.endpoints[1]));
  EXPECT_FALSE(denied.allowed);
  EXPECT_TRUE(denied.ingress.enforced);
  EXPECT_EQ(denied.ingress.rule.to_string(), "default deny ingress by shop/web");
  const auto allowed = ask(side(here.endpoints[0]));
  EXPECT_TRUE(allowed.allowed);
  EXPECT_EQ(allowed.ingress.rule.to_string(), "shop/web ingress rule 0");
}

TEST_F(ElsewhereTest, AClientOutsideIsSeenAsItsBlockUnlessThisNodeStandsInItsPlace) {
  control::ExplainSide outside{
      .pod = {}, .address = IpAddress::parse("192.0.2.1").value(), .identity = WEFT_IDENTITY_WORLD};
  EXPECT_TRUE(ask(outside).allowed);
  EXPECT_FALSE(ask(outside, true).allowed);
  outside.address = IpAddress::parse("198.51.100.1").value();
  EXPECT_FALSE(ask(outside).allowed);
}

TEST_F(ElsewhereTest, ThisNodeIsAnotherOneThere) {
  const control::ExplainSide host{
      .pod = {}, .address = IpAddress::parse("192.168.1.10").value(), .identity = WEFT_IDENTITY_HOST, .is_host = true};
  EXPECT_FALSE(ask(host).allowed);
}

}  // namespace
}  // namespace weft::agent
