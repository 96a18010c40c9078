#include "control/policy/explain.h"

#include <fmt/format.h>

#include <algorithm>

#include "control/policy/describe.h"
#include "control/policy/match.h"
#include "control/policy/suggest.h"

namespace weft::control {
namespace {

using namespace policy_internal;  // NOLINT: this room itself

const PolicyEndpoint* endpoint_of(const ExplainSide& side, const PolicyInput& input) {
  if (!side.pod) return nullptr;
  const auto found = std::ranges::lower_bound(input.endpoints, *side.pod, {}, &PolicyEndpoint::pod);
  return found != input.endpoints.end() && found->pod == *side.pod ? &*found : nullptr;
}

bool same_pod(const ExplainQuery& query) { return query.from.pod && query.to.pod && *query.from.pod == *query.to.pod; }

std::string describe_names(const std::vector<model::ObjectKey>& keys) {
  std::vector<std::string> texts;
  for (const auto& key : keys) texts.push_back(key.to_string());
  return fmt::format("{}", fmt::join(texts, ", "));
}

std::string with_labels(const ExplainSide& side) {
  std::vector<std::string> details;
  if ((side.pod || side.is_host) && side.address) details.push_back(side.address->to_string());
  if (side.pod) details.push_back(side.labels.empty() ? "no labels" : to_string(side.labels));
  return details.empty() ? describe(side) : fmt::format("{} ({})", describe(side), fmt::join(details, "; "));
}

// One question and everything it is answered from.
class Explainer {
 public:
  Explainer(const ExplainQuery& query, const CompiledPolicy& compiled, const PolicyInput& input, const RuleTable& rules)
      : query_(query), compiled_(compiled), input_(input), rules_(rules) {}

  Explanation run();

 private:
  [[nodiscard]] const ExplainSide& subject(weft_direction direction) const {
    return direction == WEFT_EGRESS ? query_.from : query_.to;
  }
  [[nodiscard]] const ExplainSide& peer(weft_direction direction) const {
    return direction == WEFT_EGRESS ? query_.to : query_.from;
  }
  [[nodiscard]] ExplainAnswer answer(weft_direction direction) const;
  void tell(weft_direction direction, const ExplainAnswer& answer);
  void tell_allowing_rule(weft_direction direction, const ExplainAnswer& answer);
  void tell_denial(weft_direction direction, const ExplainAnswer& answer);
  void tell_rules(const model::ObjectKey& key, Denial& denial);
  [[nodiscard]] std::string mismatch(const RuleMatch& match, weft_direction direction) const;
  [[nodiscard]] std::string who_the_peer_is(const model::PolicyRule& rule, const ExplainSide& peer) const;
  [[nodiscard]] std::string name_note(const model::PolicyRule& rule) const;
  [[nodiscard]] bool is_peer(const model::PolicyPeer& listed, const std::string& namespace_,
                             const ExplainSide& peer) const;
  [[nodiscard]] bool is_port(const model::PolicyPort& listed) const;
  void suggest(const Denial& denial);
  void line(std::string text) { result_.text.push_back(std::move(text)); }

  const ExplainQuery& query_;
  const CompiledPolicy& compiled_;
  const PolicyInput& input_;
  const RuleTable& rules_;
  Explanation result_;
};

Explanation Explainer::run() {
  result_.egress = answer(WEFT_EGRESS);
  result_.ingress = answer(WEFT_INGRESS);
  result_.allowed = result_.egress.allowed && result_.ingress.allowed;
  const bool egress_decides =
      result_.allowed ? result_.ingress.id == 0 && result_.egress.id != 0 : !result_.egress.allowed;
  result_.deciding = egress_decides ? WEFT_EGRESS : WEFT_INGRESS;

  const auto service = query_.service ? fmt::format(", reached by service {} port {}", query_.service->key.to_string(),
                                                    query_.service->port)
                                      : std::string{};
  line(fmt::format("{} to {} on {}{}: {}", with_labels(query_.from), with_labels(query_.to),
                   describe_port(query_.protocol, query_.port), service, result_.allowed ? "allowed" : "denied"));
  tell(WEFT_EGRESS, result_.egress);
  tell(WEFT_INGRESS, result_.ingress);
  if (!result_.suggestions.empty()) {
    result_.change.emplace_back(result_.suggestions.size() == 1
                                    ? "or apply this policy, which only adds to the present ones:"
                                    : "or apply these policies, which only add to the present ones:");
    for (std::size_t i = 0; i < result_.suggestions.size(); ++i) {
      if (i > 0) result_.change.emplace_back("---");
      std::ranges::move(to_yaml(result_.suggestions[i]), std::back_inserter(result_.change));
    }
  }
  return std::move(result_);
}

ExplainAnswer Explainer::answer(weft_direction direction) const {
  ExplainAnswer answer;
  answer.rule.direction = direction;
  const auto& pod = subject(direction).pod;
  if (!pod) return answer;
  const auto stand = compiled_.endpoints.find(*pod);
  if (stand == compiled_.endpoints.end()) return answer;
  answer.enforced = stand->second.enforced[direction];
  if (same_pod(query_)) return answer;
  if (direction == WEFT_INGRESS && query_.from.is_host) {
    answer.id = RuleTable::host_allowed;
  } else {
    const auto& other = peer(direction);
    const auto found = evaluate(compiled_.rows, stand->second, direction, other.identity, other.cidr_identity,
                                query_.protocol, query_.port);
    answer.allowed = found.allowed;
    answer.id = found.rule;
  }
  if (const auto* rule = rules_.find(answer.id); rule != nullptr && answer.id != 0) answer.rule = *rule;
  return answer;
}

void Explainer::tell(weft_direction direction, const ExplainAnswer& answer) {
  const auto& side = subject(direction);
  const auto prefix = fmt::format("{} of {}: ", name_of(direction), describe(side));
  if (!side.pod)
    return line(prefix + (side.is_host ? "not enforced, the node is no pod" : "not enforced, it is no pod"));
  if (same_pod(query_)) return line(prefix + "a pod may always reach itself");
  if (answer.id == RuleTable::host_allowed) return line(prefix + "allowed, the node may always reach its pods");
  if (!answer.enforced) return line(fmt::format("{}allowed, no policy selects it for {}", prefix, name_of(direction)));
  if (answer.allowed) return tell_allowing_rule(direction, answer);
  tell_denial(direction, answer);
}

void Explainer::tell_allowing_rule(weft_direction direction, const ExplainAnswer& answer) {
  const auto prefix = fmt::format("{} of {}: ", name_of(direction), describe(subject(direction)));
  const auto policy = input_.policies->find(answer.rule.policy);
  const auto index = static_cast<std::size_t>(answer.rule.index);
  if (policy == input_.policies->end() || rules_of(policy->second, direction).size() <= index)
    return line(fmt::format("{}allowed by {}", prefix, answer.rule.to_string()));
  const auto& rule = rules_of(policy->second, direction)[index];
  line(fmt::format("{}allowed by rule {} of {}: {} {} on {}", prefix, index, answer.rule.policy.to_string(),
                   direction == WEFT_EGRESS ? "to" : "from", describe_peers(rule, policy->first.namespace_),
                   describe_ports(rule)));
}

void Explainer::tell_denial(weft_direction direction, const ExplainAnswer& answer) {
  Denial denial{.direction = direction,
                .subject = &subject(direction),
                .peer = &peer(direction),
                .protocol = query_.protocol,
                .port = query_.port,
                .isolating = answer.rule.isolating};
  line(fmt::format("{} of {}: denied, selected by {} and no rule allows it", name_of(direction),
                   describe(*denial.subject), describe_names(denial.isolating)));
  for (const auto& key : denial.isolating) tell_rules(key, denial);
  if (!denial.isolating.empty()) suggest(denial);
}

void Explainer::tell_rules(const model::ObjectKey& key, Denial& denial) {
  const auto policy = input_.policies->find(key);
  if (policy == input_.policies->end()) return line(fmt::format("  {} is gone", key.to_string()));
  const auto& rules = rules_of(policy->second, denial.direction);
  if (rules.empty())
    return line(fmt::format("  {} has no {} rules: it allows nothing", key.to_string(), name_of(denial.direction)));
  for (std::size_t index = 0; index < rules.size(); ++index) {
    const auto& rule = rules[index];
    const auto peer_listed = [&](const auto& listed) { return is_peer(listed, key.namespace_, *denial.peer); };
    const RuleMatch match{.policy = key,
                          .index = static_cast<int>(index),
                          .rule = &rule,
                          .peer = rule.peers.empty() || std::ranges::any_of(rule.peers, peer_listed),
                          .port = rule.ports.empty() ||
                                  std::ranges::any_of(rule.ports, [&](const auto& listed) { return is_port(listed); })};
    line(fmt::format("  rule {} of {} {}", index, key.to_string(), mismatch(match, denial.direction)));
    denial.matches.push_back(match);
  }
}

std::string Explainer::mismatch(const RuleMatch& match, weft_direction direction) const {
  const auto& rule = *match.rule;
  const auto peers = describe_peers(rule, match.policy.namespace_);
  const auto ports = describe_ports(rule) + name_note(rule);
  if (match.peer && match.port) return "matches, but the compiled policy does not hold it yet: ask again";
  if (match.peer) return fmt::format("matches the peer but not the port: it allows {}", ports);
  const auto who = who_the_peer_is(rule, peer(direction));
  if (match.port) return fmt::format("matches the port but not the peer: it allows only {}; {}", peers, who);
  return fmt::format("matches neither peer nor port: it allows only {} on {}; {}", peers, ports, who);
}

std::string Explainer::who_the_peer_is(const model::PolicyRule& rule, const ExplainSide& peer) const {
  if (!peer.pod) return fmt::format("the peer is {}, no pod", describe(peer));
  std::vector<std::string> facts;
  const auto any_peer = [&](auto predicate) { return std::ranges::any_of(rule.peers, predicate); };
  if (any_peer([](const auto& each) { return each.pod_selector && !each.pod_selector->empty(); }))
    facts.push_back(peer.labels.empty() ? std::string("the peer has no labels")
                                        : fmt::format("the peer's labels are {}", to_string(peer.labels)));
  if (any_peer([](const auto& each) { return each.namespace_selector.has_value(); }))
    facts.push_back(fmt::format("its namespace {} has the labels {}", peer.pod->namespace_,
                                to_string(namespace_labels(input_, peer.pod->namespace_))));
  else if (any_peer([](const auto& each) { return each.pod_selector.has_value(); }))
    facts.push_back(fmt::format("it is in namespace {}", peer.pod->namespace_));
  if (peer.address && any_peer([](const auto& each) { return each.ip_block.has_value(); }))
    facts.push_back(fmt::format("the peer's address is {}", peer.address->to_string()));
  return fmt::format("{}", fmt::join(facts, ", "));
}

std::string Explainer::name_note(const model::PolicyRule& rule) const {
  std::vector<std::string> notes;
  const auto* destination = endpoint_of(query_.to, input_);
  for (const auto& port : rule.ports) {
    const auto* name = port_name(port);
    if (name == nullptr) continue;
    const auto numbers = destination == nullptr ? std::vector<std::uint16_t>{}
                                                : resolve_named_port(destination->ports, *name, port.protocol);
    notes.push_back(numbers.empty()
                        ? fmt::format("{} has no port named {}", describe(query_.to), *name)
                        : fmt::format("{} is {} on {}", *name, fmt::join(numbers, " and "), describe(query_.to)));
  }
  return notes.empty() ? std::string{} : fmt::format(" ({})", fmt::join(notes, "; "));
}

bool Explainer::is_peer(const model::PolicyPeer& listed, const std::string& namespace_, const ExplainSide& peer) const {
  if (listed.ip_block) return peer.address && block_holds(*listed.ip_block, host_cidr(*peer.address));
  if (!peer.pod || (!listed.pod_selector && !listed.namespace_selector)) return false;
  if (listed.namespace_selector) {
    if (!listed.namespace_selector->matches(namespace_labels(input_, peer.pod->namespace_))) return false;
  } else if (peer.pod->namespace_ != namespace_) {
    return false;
  }
  return !listed.pod_selector || listed.pod_selector->matches(peer.labels);
}

bool Explainer::is_port(const model::PolicyPort& listed) const {
  if (listed.protocol != query_.protocol) return false;
  if (!listed.port) return true;
  if (const auto* number = std::get_if<std::uint16_t>(&*listed.port))
    return query_.port >= *number && query_.port <= (listed.end_port == 0 ? *number : listed.end_port);
  const auto* destination = endpoint_of(query_.to, input_);
  if (destination == nullptr) return false;
  const auto numbers = resolve_named_port(destination->ports, *port_name(listed), listed.protocol);
  return std::ranges::find(numbers, query_.port) != numbers.end();
}

void Explainer::suggest(const Denial& denial) {
  result_.change.push_back(smallest_edit(denial));
  result_.suggestions.push_back(additional_policy(denial, compiled_, input_));
}

}  // namespace

Explanation explain(const ExplainQuery& query, const CompiledPolicy& compiled, const PolicyInput& input,
                    const RuleTable& rules) {
  return Explainer(query, compiled, input, rules).run();
}

std::optional<model::SourceLocation> location_of(const RuleDescription& rule, const PolicyInput& input) {
  using Kind = RuleDescription::Kind;
  const bool deny = rule.kind == Kind::default_deny && !rule.isolating.empty();
  if (rule.kind != Kind::rule && !deny) return std::nullopt;
  const auto policy = input.policies->find(deny ? rule.isolating.front() : rule.policy);
  if (policy == input.policies->end()) return std::nullopt;
  auto location = policy->second.meta.location;
  if (location.file.empty()) return std::nullopt;
  const auto& rules = rules_of(policy->second, rule.direction);
  const auto index = static_cast<std::size_t>(rule.index);
  if (!deny && index < rules.size() && rules[index].line != 0) location.line = rules[index].line;
  return location;
}

}  // namespace weft::control
