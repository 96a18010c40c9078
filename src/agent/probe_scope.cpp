#include "agent/probe_scope.h"

#include <fmt/format.h>

#include <algorithm>

#include "agent/spoken_for.h"

namespace weft::agent {
namespace {

bool any_contains(const std::vector<Cidr>& ranges, const IpAddress& address) {
  return std::ranges::any_of(ranges, [&](const Cidr& range) { return range.contains(address); });
}

}  // namespace

ProbeScope::ProbeScope(const Publisher& publisher)
    : publisher_(publisher),
      spoken_for_(addresses_spoken_for(publisher.config(), publisher.node(), publisher.cluster())) {
  for (const auto& live : publisher.compiled().endpoints)
    for (const auto& address : live.record.addresses) own_pods_.emplace(address, live.record.namespace_);
}

std::string ProbeScope::unchecked(const model::ObjectKey& service, const IpAddress& address, std::uint16_t port) const {
  if (const auto found = spoken_for_.find(address); found != spoken_for_.end()) return "the address " + found->second;
  if (publisher_.node().addresses.contains(address) || address.is_loopback()) return "the address is this node's";
  // The node's connection to a Service ends at whatever is behind that.
  if (any_contains(publisher_.config().service_cidrs, address) ||
      publisher_.services().find(address, port, Protocol::tcp) != nullptr)
    return "the address is a Service's";
  if (const auto own = own_pods_.find(address); own != own_pods_.end())
    return own->second == service.namespace_ ? "" : "the address is a pod's of another namespace";
  return publisher_.cluster().clustered ? of_other_nodes(service, address) : "";
}

// Another node lets its own probes through to its pods, whatever policies say, but not this one's.
std::string ProbeScope::of_other_nodes(const model::ObjectKey& service, const IpAddress& address) const {
  if (!publisher_.cluster().known || publisher_.others() == nullptr) return "what other nodes have is not known yet";
  for (const auto& pod : publisher_.others()->at(address)) {
    if (pod.name.namespace_ != service.namespace_) return "the address is a pod's of another namespace";
    if (selected(pod)) return "a NetworkPolicy selects it";
  }
  return {};
}

bool ProbeScope::selected(const cluster::ToldPod& pod) const {
  const auto* identity =
      pod.told.identity < WEFT_IDENTITY_FIRST ? nullptr : publisher_.compiler().identities().find(pod.told.identity);
  const auto& policies = *publisher_.compiled().policy_input.policies;
  for (auto at = policies.lower_bound({pod.name.namespace_, ""});
       at != policies.end() && at->first.namespace_ == pod.name.namespace_; ++at) {
    const auto& policy = at->second;
    if (!policy.applies_ingress) continue;
    // One whose labels are not known yet may be selected by any of them.
    if (identity == nullptr || policy.pod_selector.matches(control::pod_labels_of(identity->labels))) return true;
  }
  return false;
}

}  // namespace weft::agent
