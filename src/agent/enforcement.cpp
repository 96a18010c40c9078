#include "agent/enforcement.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "model/digest.h"
#include "sources/cluster/keys.h"

namespace weft::agent {
namespace {

constexpr auto too_large =
    "it needs more rows than there is room for: it allows nothing to the pods it selects here; make it smaller";

bool selects(const model::NetworkPolicy& policy, const std::vector<LiveEndpoint>& endpoints) {
  return std::ranges::any_of(endpoints, [&](const LiveEndpoint& endpoint) {
    return endpoint.record.namespace_ == policy.meta.namespace_ && policy.pod_selector.matches(endpoint.pod_labels);
  });
}

std::uint64_t revision_of(const std::map<model::ObjectKey, std::uint64_t>& revisions, const model::ObjectKey& key) {
  const auto found = revisions.find(key);
  return found == revisions.end() ? 0 : found->second;
}

// Nobody could read a list with a name in it that is none.
bool can_be_told(const model::ObjectKey& key) {
  return cluster::check_name("namespace", key.namespace_) && cluster::check_name("policy", key.name);
}

}  // namespace

cluster::PolicyVersion policy_version(const model::NetworkPolicy& policy) {
  if (policy.meta.generation != 0) return {.generation = policy.meta.generation, .digest = {}};
  return {.generation = 0, .digest = model::digest_of(policy)};
}

// Of many policies few change: what is the same is not reckoned again.
cluster::PolicyVersion EnforcementReport::version_of(const model::NetworkPolicy& policy, std::uint64_t revision) {
  if (policy.meta.generation != 0) return policy_version(policy);
  auto& known = digests_[policy.meta.key()];
  if (known.text.empty() || known.revision != revision) known = {revision, model::digest_of(policy)};
  return {.generation = 0, .digest = known.text};
}

cluster::Enforcement EnforcementReport::make(const Objects& objects, const Compiled& compiled, State state) {
  cluster::Enforcement report{.boot_id = {}, .seen = state.seen, .policies = {}};
  const auto& input = compiled.policy_input;
  const auto& now = compiled.policy;
  const auto before = std::exchange(written_, state.written ? decltype(written_)() : written_);
  std::erase_if(digests_, [&](const auto& one) { return !objects.policies().contains(one.first); });
  for (const auto& [key, policy] : objects.policies()) {
    const auto revision = revision_of(objects.policy_revisions(), key);
    const bool is_compiled = input.policies->contains(key) && revision_of(*input.revisions, key) == revision;
    const bool concerns = now.concerning.contains(key);
    // What could not be compiled again is in the kernel as it was.
    if (const auto was = before.find(key); state.written && !is_compiled && was != before.end()) written_.insert(*was);
    // One that could not be compiled may select others than the one before it.
    if (!concerns && (is_compiled || !selects(policy, compiled.endpoints))) continue;
    if (!can_be_told(key)) continue;
    cluster::EnforcedPolicy told{.namespace_ = key.namespace_, .name = key.name, .uid = policy.meta.uid};
    told.version = version_of(policy, revision);
    const Written as_known{told.uid, told.version};
    const bool closed = now.closed.contains(key);
    if (state.written && is_compiled && !closed) written_.insert_or_assign(key, as_known);
    const auto in_kernel = written_.find(key);
    if (in_kernel != written_.end()) told.kept = in_kernel->second.version;
    if (const auto misread = state.misread.find(key); misread != state.misread.end())
      told.reason = misread->second;
    else if (is_compiled && closed)
      told.reason = too_large;
    else if (in_kernel == written_.end() || in_kernel->second != as_known)
      told.reason = fmt::format("{}: {}", is_compiled ? "it is not in the kernel yet" : "it could not be compiled",
                                state.trouble.empty() ? "it is tried again" : state.trouble);
    if (told.enforced()) told.kept = {};
    report.policies.push_back(std::move(told));
  }
  last_ = std::move(state);
  return report;
}

}  // namespace weft::agent
