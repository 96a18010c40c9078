// compile() + evaluate() against the oracle on random worlds and random edits of them.
// WEFT_ORACLE_SEED sets the first seed, WEFT_ORACLE_ROUNDS the number of worlds.
#include "control/policy/oracle.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "control/policy/explain.h"
#include "control/policy/random_world.h"

namespace weft::control {
namespace {

using oracle::Party;
using oracle::RandomWorld;

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

constexpr int edits_per_world = 5;

std::string describe(const model::PolicyPeer& peer) {
  std::string text;
  if (peer.pod_selector) text += fmt::format(" pods {}", peer.pod_selector->to_string());
  if (peer.namespace_selector) text += fmt::format(" namespaces {}", peer.namespace_selector->to_string());
  if (peer.ip_block) {
    text += fmt::format(" block {}", peer.ip_block->cidr.to_string());
    for (const auto& except : peer.ip_block->except) text += fmt::format(" except {}", except.to_string());
  }
  return text;
}

std::string describe(const model::PolicyPort& port) {
  std::string text = " any";
  if (port.port && std::holds_alternative<std::string>(*port.port))
    text = " " + std::get<std::string>(*port.port);
  else if (port.port)
    text = fmt::format(" {}-{}", std::get<std::uint16_t>(*port.port), port.end_port);
  return text + "/" + to_string(port.protocol);
}

std::string describe(const PolicyInput& world) {
  std::string text;
  for (const auto& [name, labels] : world.namespaces) text += fmt::format("namespace {} {}\n", name, to_string(labels));
  for (const auto& pod : world.endpoints) {
    text += fmt::format("pod {} {} identity {}", pod.pod.to_string(), to_string(pod.labels), pod.identity);
    for (const auto& address : pod.addresses) text += " " + address.to_string();
    for (const auto& port : pod.ports) text += fmt::format(" {}={}/{}", port.name, port.port, to_string(port.protocol));
    text += "\n";
  }
  for (const auto& [key, policy] : *world.policies) {
    text += fmt::format("policy {} selects {}\n", key.to_string(), policy.pod_selector.to_string());
    const auto rules = [&](const char* direction, bool applies, const std::vector<model::PolicyRule>& list) {
      if (!applies) return;
      text += fmt::format("  {}\n", direction);
      for (const auto& rule : list) {
        text += "    -";
        for (const auto& peer : rule.peers) text += describe(peer) + ";";
        for (const auto& port : rule.ports) text += describe(port);
        text += "\n";
      }
    };
    rules("ingress", policy.applies_ingress, policy.ingress);
    rules("egress", policy.applies_egress, policy.egress);
  }
  return text;
}

// One world, its compiler and the comparison.
class Trial {
 public:
  explicit Trial(std::uint64_t seed) : world_(seed) {}

  // The first difference in words; empty when there is none.
  std::string run();
  [[nodiscard]] std::uint64_t questions() const { return questions_; }
  [[nodiscard]] std::uint64_t allowed() const { return allowed_; }  // by a rule
  [[nodiscard]] std::uint64_t denied() const { return denied_; }

 private:
  std::string compare();
  std::string compare(weft_direction direction, const PolicyEndpoint& subject, const Party& peer);
  std::string check_classes(const std::map<std::string, std::uint32_t>& before) const;
  std::string compare_explanations();
  std::string compare_explanation(const ExplainQuery& query, bool expected) const;
  std::string check_suggestions(const ExplainQuery& query, const Explanation& explanation) const;
  ExplainSide side(const Party& party) const;
  IdentityId identity_of(const Party& party) const;
  std::vector<Party> parties() const;
  std::string check_rule(const oracle::Verdict& expected, const PolicyAnswer& answer, weft_direction direction) const;

  RandomWorld world_;
  RuleTable rules_;
  CidrIdentities cidrs_;
  PolicyCompiler compiler_{rules_, cidrs_};
  CompiledPolicy compiled_;
  std::uint64_t questions_ = 0;
  std::uint64_t allowed_ = 0;
  std::uint64_t denied_ = 0;
};

std::string Trial::run() {
  for (int step = 0; step <= edits_per_world; ++step) {
    if (step > 0) world_.edit();
    const auto before = compiler_.classes();
    compiled_ = compiler_.compile(world_.input);
    auto difference = check_classes(before);
    if (difference.empty()) difference = compare();
    if (difference.empty()) difference = compare_explanations();
    if (!difference.empty()) return fmt::format("after {} edits: {}\n{}", step, difference, describe(world_.input));
  }
  return {};
}

std::string Trial::check_classes(const std::map<std::string, std::uint32_t>& before) const {
  std::map<std::uint32_t, std::string> meaning;
  for (const auto& [key, number] : compiler_.classes())
    if (number == 0 || !meaning.emplace(number, key).second) return fmt::format("class {} has two meanings", number);
  for (const auto& [key, number] : before) {
    if (const auto now = compiler_.classes().find(key); now != compiler_.classes().end() && now->second != number)
      return fmt::format("class {} was renumbered to {}", number, now->second);
    if (const auto now = meaning.find(number); now != meaning.end() && now->second != key)
      return fmt::format("class {} changed its meaning at once", number);
  }
  for (const auto& [key, entry] : compiled_.rows)
    if (!meaning.contains(key.policy_class)) return fmt::format("rows of the unknown class {}", key.policy_class);
  return {};
}

std::vector<Party> Trial::parties() const {
  std::vector<Party> result;
  for (const auto& pod : world_.input.endpoints)
    for (const auto& address : pod.addresses) result.push_back({&pod, address});
  for (const auto& address : world_.outside) result.push_back({nullptr, address});
  return result;
}

std::string Trial::compare() {
  const auto peers = parties();
  for (const auto& subject : world_.input.endpoints)
    for (const auto& peer : peers)
      for (const auto direction : {WEFT_INGRESS, WEFT_EGRESS})
        if (auto difference = compare(direction, subject, peer); !difference.empty()) return difference;
  return {};
}

std::string Trial::compare(weft_direction direction, const PolicyEndpoint& subject, const Party& peer) {
  const auto identity = identity_of(peer);
  const auto cidr = cidrs_.narrowest(peer.address);
  const auto& stand = compiled_.endpoints.at(subject.pod);
  constexpr int questions_per_pair = 8;
  for (int i = 0; i < questions_per_pair; ++i) {
    ++questions_;
    const auto protocol = i == 0 ? Protocol::icmp : world_.any_protocol();
    const auto port = i == 0 ? std::uint16_t{0} : world_.any_port();
    const auto expected = oracle::judge(world_.input, direction, subject, peer, protocol, port);
    const auto answer = evaluate(compiled_.rows, stand, direction, identity, cidr, protocol, port);
    if (!expected.isolating.empty()) ++(expected.allowed() ? allowed_ : denied_);
    std::string problem;
    if (expected.allowed() != answer.allowed)
      problem = fmt::format("expected {}", expected.allowed() ? "allow" : "deny");
    else
      problem = check_rule(expected, answer, direction);
    if (!problem.empty())
      return fmt::format("{} of {} with {} ({}) on {}/{}: {}", direction == WEFT_EGRESS ? "egress" : "ingress",
                         subject.pod.to_string(), peer.pod != nullptr ? peer.pod->pod.to_string() : "no pod",
                         peer.address.to_string(), port, to_string(protocol), problem);
  }
  return {};
}

std::string Trial::check_rule(const oracle::Verdict& expected, const PolicyAnswer& answer,
                              weft_direction direction) const {
  using Kind = RuleDescription::Kind;
  const auto* rule = rules_.find(answer.rule);
  if (rule == nullptr) return fmt::format("rule {} is unknown", answer.rule);
  if (expected.isolating.empty()) return rule->kind == Kind::no_policy ? "" : "no policy selects the pod";
  if (rule->direction != direction) return "the rule is of the other direction";
  if (expected.matching.empty())
    return rule->kind == Kind::default_deny && rule->isolating == expected.isolating
               ? ""
               : fmt::format("wrong default deny: {}", rule->to_string());
  const auto named = std::pair(rule->policy, rule->index);
  const bool true_name =
      rule->kind == Kind::rule && std::ranges::find(expected.matching, named) != expected.matching.end();
  return true_name ? "" : fmt::format("named a rule that does not match: {}", rule->to_string());
}

IdentityId Trial::identity_of(const Party& party) const {
  if (party.pod != nullptr) return party.pod->identity;
  return party.address == world_.outside.front() ? WEFT_IDENTITY_HOST : WEFT_IDENTITY_WORLD;
}

ExplainSide Trial::side(const Party& party) const {
  ExplainSide side{.address = party.address,
                   .identity = identity_of(party),
                   .cidr_identity = cidrs_.narrowest(party.address),
                   .is_host = identity_of(party) == WEFT_IDENTITY_HOST};
  if (party.pod == nullptr) return side;
  side.pod = party.pod->pod;
  side.labels = party.pod->labels;
  return side;
}

std::string Trial::compare_explanations() {
  const auto all = parties();
  constexpr int explanations_per_world = 20;
  for (int i = 0; i < explanations_per_world; ++i) {
    const auto& from = world_.pick(all);
    const auto& to = world_.pick(all);
    const auto protocol = world_.chance(10) ? Protocol::icmp : world_.any_protocol();
    const auto port = protocol == Protocol::icmp ? std::uint16_t{0} : world_.any_port();
    const ExplainQuery query{.from = side(from), .to = side(to), .protocol = protocol, .port = port};
    bool expected = true;
    if (from.pod != nullptr && from.pod != to.pod)
      expected = oracle::judge(world_.input, WEFT_EGRESS, *from.pod, to, protocol, port).allowed();
    if (to.pod != nullptr && from.pod != to.pod && !query.from.is_host)
      expected = expected && oracle::judge(world_.input, WEFT_INGRESS, *to.pod, from, protocol, port).allowed();
    if (auto problem = compare_explanation(query, expected); !problem.empty()) return problem;
  }
  return {};
}

std::string Trial::compare_explanation(const ExplainQuery& query, bool expected) const {
  const auto explanation = explain(query, compiled_, world_.input, rules_);
  auto text = fmt::format("{}\n{}\n", fmt::join(explanation.text, "\n"), fmt::join(explanation.change, "\n"));
  if (explanation.allowed != expected) return fmt::format("explained wrongly, {} expected\n{}", expected, text);
  if (explanation.decisive().allowed != expected) return "the wrong direction decides\n" + text;
  if (explanation.suggestions.empty() != expected) return "suggestions where none are due, or none\n" + text;
  if (text.find("does not hold it yet") != std::string::npos) return "words and rows disagree\n" + text;
  if (auto problem = check_suggestions(query, explanation); !problem.empty()) return problem + "\n" + text;
  return {};
}

// The suggested policies allow the connection and isolate no pod that is not isolated already.
std::string Trial::check_suggestions(const ExplainQuery& query, const Explanation& explanation) const {
  if (explanation.suggestions.empty()) return {};
  auto input = world_.input;
  for (const auto& policy : explanation.suggestions)
    if (!input.policies.edit().emplace(policy.meta.key(), policy).second) return "a suggestion replaces a policy";
  RuleTable rules;
  CidrIdentities cidrs;
  const auto compiled = PolicyCompiler(rules, cidrs).compile(input);
  auto again = query;
  again.from.cidr_identity = cidrs.narrowest(*query.from.address);
  again.to.cidr_identity = cidrs.narrowest(*query.to.address);
  if (!explain(again, compiled, input, rules).allowed) return "the suggestion does not help";
  for (const auto& [pod, stand] : compiled.endpoints)
    for (const auto direction : {WEFT_INGRESS, WEFT_EGRESS})
      if (stand.enforced[direction] != compiled_.endpoints.at(pod).enforced[direction])
        return fmt::format("the suggestion isolates {}", pod.to_string());
  return {};
}

TEST(PolicyOracle, CompilerAgreesOnRandomWorlds) {
  const auto first = from_environment("WEFT_ORACLE_SEED", 1);
  const auto rounds = from_environment("WEFT_ORACLE_ROUNDS", 800);
  std::uint64_t questions = 0;
  std::uint64_t allowed = 0;
  std::uint64_t denied = 0;
  for (std::uint64_t seed = first; seed < first + rounds; ++seed) {
    Trial trial(seed);
    const auto difference = trial.run();
    ASSERT_EQ(difference, "") << "WEFT_ORACLE_SEED=" << seed << " WEFT_ORACLE_ROUNDS=1 shows this world again";
    questions += trial.questions();
    allowed += trial.allowed();
    denied += trial.denied();
  }
  fmt::print("seeds {} to {}: {} compiled worlds, {} questions, {} allowed by a rule, {} denied\n", first,
             first + rounds - 1, rounds * (edits_per_world + 1), questions, allowed, denied);
  if (rounds >= 100) {
    EXPECT_GT(allowed * 10, questions) << "the random worlds have gone stale: rules hardly ever allow";
    EXPECT_GT(denied * 10, questions) << "the random worlds have gone stale: hardly anything is denied";
  }
}

}  // namespace
}  // namespace weft::control
