#include "control/policy/suggest.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "control/policy/describe.h"
#include "control/policy/match.h"

namespace weft::control::policy_internal {
namespace {

// Labels that controllers give single pods or revisions: no policy should select by them.
constexpr std::array per_pod_labels{"pod-template-hash",
                                    "controller-revision-hash",
                                    "pod-template-generation",
                                    "statefulset.kubernetes.io/pod-name",
                                    "apps.kubernetes.io/pod-index",
                                    "batch.kubernetes.io/job-completion-index"};

model::LabelSelector exactly(const LabelMap& labels) {
  model::LabelSelector selector;
  for (const auto& [key, value] : labels)
    if (std::ranges::find(per_pod_labels, key) == per_pod_labels.end())
      selector.requirements.push_back({key, model::LabelRequirement::Operator::in, {value}});
  return selector;
}

std::vector<model::PolicyPeer> peers_for(const Denial& denial) {
  const auto& peer = *denial.peer;
  model::PolicyPeer result;
  if (peer.pod) {
    result.pod_selector = exactly(peer.labels);
    if (peer.pod->namespace_ != denial.subject->pod->namespace_)
      result.namespace_selector = exactly({{"kubernetes.io/metadata.name", peer.pod->namespace_}});
    return {result};
  }
  if (peer.address) {
    result.ip_block = model::IpBlock{host_cidr(*peer.address), {}};
    return {result};
  }
  const Cidr everything_v4(IpAddress::v4(0), 0);
  return {{.ip_block = model::IpBlock{everything_v4, {}}}, {.ip_block = model::IpBlock{Cidr{}, {}}}};
}

// All pods the selector selects in the subject's namespace are isolated in this direction already.
bool isolates_nobody_anew(const model::LabelSelector& selector, const Denial& denial, const CompiledPolicy& compiled,
                          const PolicyInput& input) {
  return std::ranges::all_of(input.endpoints, [&](const PolicyEndpoint& endpoint) {
    if (endpoint.pod.namespace_ != denial.subject->pod->namespace_ || !selector.matches(endpoint.labels)) return true;
    const auto stand = compiled.endpoints.find(endpoint.pod);
    return stand != compiled.endpoints.end() && stand->second.enforced[denial.direction];
  });
}

std::string name_part(const ExplainSide& side) {
  std::string text = side.pod ? side.pod->name : side.address ? side.address->to_string() : "world";
  std::ranges::replace(text, '.', '-');
  std::ranges::replace(text, ':', '-');
  constexpr std::size_t longest = 60;  // two of them and the rest stay well below 253
  if (text.size() > longest) text.resize(longest);
  return text;
}

std::string free_name(const Denial& denial, const PolicyInput& input) {
  const bool outgoing = denial.direction == WEFT_EGRESS;
  auto protocol = to_string(denial.protocol);
  std::ranges::transform(protocol, protocol.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
  const auto port = has_ports(denial.protocol) ? fmt::format("{}-{}", denial.port, protocol) : protocol;
  const auto base = fmt::format("allow-{}-to-{}-{}-{}", name_part(outgoing ? *denial.subject : *denial.peer),
                                name_part(outgoing ? *denial.peer : *denial.subject), port, name_of(denial.direction));
  auto name = base;
  for (int i = 2; input.policies->contains({denial.subject->pod->namespace_, name}); ++i)
    name = fmt::format("{}-{}", base, i);
  return name;
}

}  // namespace

std::string smallest_edit(const Denial& denial) {
  const auto direction = name_of(denial.direction);
  const auto port = describe_port(denial.protocol, denial.port);
  std::vector<std::string> peer_texts;
  for (const auto& peer : peers_for(denial)) peer_texts.push_back(describe(peer, denial.subject->pod->namespace_));
  const auto peers = fmt::format("{}", fmt::join(peer_texts, " and "));
  for (const auto& match : denial.matches) {
    if (!match.peer) continue;
    if (!has_ports(denial.protocol))
      return fmt::format("remove the ports of {} rule {} of {}: a rule with ports never allows {}", direction,
                         match.index, match.policy.to_string(), port);
    return fmt::format("add port {} to {} rule {} of {}", port, direction, match.index, match.policy.to_string());
  }
  for (const auto& match : denial.matches)
    if (match.port)
      return fmt::format("add {} to the peers of {} rule {} of {}", peers, direction, match.index,
                         match.policy.to_string());
  return fmt::format("add to {}, which selects {}, an {} rule {} {} {}", denial.isolating.front().to_string(),
                     denial.subject->pod->to_string(), direction, denial.direction == WEFT_EGRESS ? "to" : "from",
                     peers,
                     has_ports(denial.protocol) ? fmt::format("on port {}", port)
                                                : fmt::format("without ports, so that it allows {}", port));
}

model::NetworkPolicy additional_policy(const Denial& denial, const CompiledPolicy& compiled, const PolicyInput& input) {
  model::NetworkPolicy policy;
  policy.meta.namespace_ = denial.subject->pod->namespace_;
  policy.meta.name = free_name(denial, input);
  policy.applies_ingress = denial.direction == WEFT_INGRESS;
  policy.applies_egress = denial.direction == WEFT_EGRESS;
  policy.pod_selector = exactly(denial.subject->labels);
  if (policy.pod_selector.empty() || !isolates_nobody_anew(policy.pod_selector, denial, compiled, input))
    if (const auto isolating = input.policies->find(denial.isolating.front()); isolating != input.policies->end())
      policy.pod_selector = isolating->second.pod_selector;
  model::PolicyRule rule{.peers = peers_for(denial)};
  if (has_ports(denial.protocol)) rule.ports = {{.protocol = denial.protocol, .port = denial.port}};
  (denial.direction == WEFT_EGRESS ? policy.egress : policy.ingress).push_back(std::move(rule));
  return policy;
}

}  // namespace weft::control::policy_internal
