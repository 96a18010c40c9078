// What the operator is told to be wrong with this node, each with what to do where the text does not say it.
#include <fmt/format.h>

#include <algorithm>

#include "agent/agent.h"
#include "agent/fold.h"
#include "agent/intake.h"

namespace weft::agent {

Agent::Findings Agent::findings() const {
  Findings found;
  const auto add = [&](const std::string& text, const std::string& remedy) {
    if (std::ranges::find(found.all, text, &Fault::text) == found.all.end()) found.all.push_back({text, remedy});
  };
  for (const auto& text : problems_) add(text, "weftd's log says more; it is said until weftd is started again");
  for (const auto& text : duties_->problems(node_)) add(text, {});
  const auto reconcile = datapath_->tables().status();
  if (!reconcile.last_error.empty()) add("datapath: " + reconcile.last_error, std::string(usual_remedy("publish")));
  const auto of_objects = [](std::string_view about) { return about.starts_with(misunderstood_group); };
  for (const auto& [about, text] : faults_.texts())
    if (!of_objects(about)) add(text, faults_.remedy(about));
  for (const auto& [text, remedy] : life_->others().harmful) add(text, remedy);
  // What tenants have written comes after what is wrong with the node: nobody's objects hide that.
  for (const auto& [about, text] : faults_.texts())
    if (of_objects(about)) add(text, faults_.remedy(about));
  for (const auto& text : closed_policies())
    add(text, "make it smaller: fewer, wider blocks, ranges of ports; a peer and a port make a row");
  found.degraded = reconcile.failed > 0 || !datapath_->features().socket_hook || !found.all.empty();
  // From here on what is wrong with objects, or was mended: the node does what it is to do.
  for (const auto& text : unserved()) add(text, "weft service get NAME says why");
  for (const auto& text : healer_->repairs()) add(text, "it is mended; find out what else on this node changes it");
  for (const auto& text : outside_ranges())
    add(text, "it goes on as it was; give the range back, or apply the Service without it");
  for (const auto& text : ambiguous_pools()) add(text, {});
  for (const auto& [text, remedy] : life_->others().left) add(text, remedy);
  // As a balancer for plain hosts is meant to be; without the key there would be ranges.
  if (config_.pod_cidrs.empty()) add("pod_cidrs is empty: this node attaches no pods", {});
  return found;
}

std::vector<std::string> Agent::closed_policies() const {
  const std::vector<model::ObjectKey> closed(compiled().policy.closed.begin(), compiled().policy.closed.end());
  std::vector<std::string_view> namespaces;
  for (const auto& policy : closed) namespaces.push_back(policy.namespace_);
  const auto folded = fold(namespaces);
  std::vector<std::string> texts;
  for (const auto place : folded.named)
    texts.push_back(
        fmt::format("NetworkPolicy {} needs more rows than there is room for beside the others (a namespace's "
                    "share of {} rows and {} CIDRs): it allows nothing to the pods it selects here",
                    closed[place].to_string(), WEFT_POLICY_ROWS / 2, WEFT_POLICY_CIDRS));
  for (const auto& rest : folded.rest)
    texts.push_back(
        fmt::format("NetworkPolicies, {}, need more rows than there is room for: they allow nothing to the pods they "
                    "select here",
                    rest));
  return texts;
}

}  // namespace weft::agent
