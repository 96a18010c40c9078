#include "sources/cluster/enforcement_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <tuple>

#include "sources/cluster/spread.h"

namespace weft::cluster {
namespace {

// Digests are 16 hex digits. What is something else is told from others all the same.
std::uint64_t number_of(const std::string& digest) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(digest.data(), digest.data() + digest.size(), value, 16);
  const bool whole = error == std::errc() && end == digest.data() + digest.size() && digest.size() == 16;
  return whole ? value : spread(digest);
}

template <class List>
auto place_of(List& list, std::uint32_t node) {
  return std::ranges::lower_bound(list, node, {}, [](const auto& told) { return told.node; });
}

}  // namespace

// How one node stands to a policy: how bad it is, and what is to be said of it.
struct EnforcementView::Weighed {
  bool selected = false;
  bool joining = false;
  Verdict verdict = Verdict::enforced;
  Behind behind;
};

EnforcementView::Node& EnforcementView::node(const std::string& name) {
  const auto [entry, added] = nodes_.try_emplace(name);
  if (added) entry->second.index = next_index_++;
  return entry->second;
}

void EnforcementView::drop_if_unknown(const std::string& name) {
  const auto found = nodes_.find(name);
  if (found != nodes_.end() && !found->second.alive && !found->second.tells) nodes_.erase(found);
}

EnforcementView::Told EnforcementView::told_of(NodeIndex node, const EnforcedPolicy& policy) {
  const bool digest = policy.version.generation == 0;
  return {.node = node,
          .failed = !policy.enforced(),
          .digest = digest,
          .version = digest ? number_of(policy.version.digest) : policy.version.generation,
          .uid = spread(policy.uid)};
}

PolicyVersion EnforcementView::version_of(const Told& told) {
  if (told.digest) return {.digest = fmt::format("{:016x}", told.version)};
  return {.generation = told.version, .digest = {}};
}

void EnforcementView::set_alive(const std::string& name, const std::optional<std::string>& boot_id, Time now) {
  auto& one = node(name);
  if (boot_id && one.alive != boot_id) one.silent_since = now;
  one.alive = boot_id;
  drop_if_unknown(name);
}

std::vector<PolicyName> EnforcementView::set(const std::string& name, const std::optional<Enforcement>& told,
                                             Time now) {
  auto& one = node(name);
  std::map<PolicyName, std::pair<Told, Failed>> before;
  for (auto* policy : one.policies) {
    auto& list = policy->second;
    const auto at = place_of(list, one.index);
    const auto failed = one.failed.find(policy->first);
    before.emplace(policy->first, std::pair(*at, failed == one.failed.end() ? Failed{} : failed->second));
    list.erase(at);
  }
  const auto emptied = std::exchange(one.policies, {});
  one.failed.clear();
  if (one.tells && !told) one.silent_since = now;
  one.tells = told.has_value();
  std::vector<PolicyName> changed;
  if (told) {
    one.boot_id = told->boot_id;
    one.seen = told->seen;
    one.omitted = told->omitted;
    for (const auto& policy : told->policies) {
      const PolicyName key{policy.namespace_, policy.name};
      const auto now_told = told_of(one.index, policy);
      const auto entry = policies_.try_emplace(key).first;
      entry->second.insert(place_of(entry->second, one.index), now_told);
      one.policies.push_back(&*entry);
      Failed failed{.reason = policy.reason, .kept = policy.kept};
      const auto old = before.find(key);
      if (old == before.end() || old->second != std::pair(now_told, failed)) changed.push_back(key);
      if (old != before.end()) before.erase(old);
      if (!policy.enforced()) one.failed.emplace(key, std::move(failed));
    }
  }
  for (const auto& [key, was] : before) changed.push_back(key);
  for (const auto* policy : emptied)
    if (policy->second.empty()) policies_.erase(policies_.find(policy->first));
  drop_if_unknown(name);
  return changed;
}

std::vector<PolicyName> EnforcementView::policies_of(const std::string& name) const {
  std::vector<PolicyName> names;
  if (const auto found = nodes_.find(name); found != nodes_.end())
    for (const auto* policy : found->second.policies) names.push_back(policy->first);
  return names;
}

// Nothing: it has no pods of the policy.
std::optional<EnforcementView::Weighed> EnforcementView::weigh(const Policy& policy, const std::string& name,
                                                               const Node& node, const Told* told, Time now) const {
  const bool told_by_this_run = node.is_told_by_this_run();
  // A run that booted has none of the pods that the one before told of.
  const bool counts = told != nullptr && (told_by_this_run || !node.alive);
  if (!counts) {
    const auto unheard = [&](std::string reason) {
      return Weighed{
          .selected = false, .joining = false, .verdict = Verdict::waiting, .behind = {name, {}, std::move(reason)}};
    };
    if (node.alive && !told_by_this_run) {
      if (now - node.silent_since > grace_) return unheard("it does not tell what it enforces");
      auto joining = unheard({});
      joining.joining = true;
      return joining;
    }
    const bool omits = node.omitted != 0 && (node.policies.empty() || node.policies.back()->first < policy.name);
    if (omits) return unheard("it enforces more policies than it has room to tell of");
    if (node.seen >= policy.revision) return std::nullopt;
    if (!node.alive) return unheard("it is away, and does not know of this generation");
    return unheard("it has not told yet that it knows of this generation");
  }
  const auto version = version_of(*told);
  const bool same = version == policy.version && (policy.uid.empty() || told->uid == spread(policy.uid));
  Weighed weighed{.selected = true, .joining = false, .verdict = Verdict::enforced, .behind = {name, version, {}}};
  const auto failed = node.failed.find(policy.name);
  if (told->failed && failed != node.failed.end()) {
    weighed.behind.version = failed->second.kept;
    if (same || node.alive) {
      weighed.verdict = Verdict::failed;
      weighed.behind.reason = failed->second.reason;
      return weighed;
    }
  }
  if (!node.alive) {
    weighed.verdict = Verdict::away;
    weighed.behind.reason = "its agent is away, and its datapath goes on with what it had";
  } else if (!same) {
    weighed.verdict = Verdict::waiting;
    weighed.behind.reason = "it has not told yet that it enforces this generation";
  }
  return weighed;
}

EnforcementView::Judgement EnforcementView::judge(const Policy& policy, Time now) const {
  static const std::vector<Told> nobody;
  const auto found = policies_.find(policy.name);
  const auto& tolds = found == policies_.end() ? nobody : found->second;
  Judgement judgement;
  std::vector<std::pair<Verdict, Behind>> behind;
  for (const auto& [name, node] : nodes_) {
    const auto at = place_of(tolds, node.index);
    const auto* told = at == tolds.end() || at->node != node.index ? nullptr : &*at;
    auto weighed = weigh(policy, name, node, told, now);
    if (!weighed) continue;
    if (weighed->joining) {
      judgement.joining.push_back(name);
      continue;
    }
    if (weighed->selected) ++judgement.selected;
    if (weighed->verdict == Verdict::enforced)
      ++judgement.enforcing;
    else
      behind.emplace_back(weighed->verdict, std::move(weighed->behind));
  }
  // A node that fails needs somebody; of those that are away more is known than of those that have not told.
  const auto weight = [](Verdict verdict) { return verdict == Verdict::failed ? 0 : verdict == Verdict::away ? 1 : 2; };
  std::ranges::sort(behind, {}, [&](const auto& one) { return std::tuple(weight(one.first), one.second.node); });
  if (!behind.empty())
    judgement.verdict = behind.front().first;
  else if (judgement.selected == 0)
    judgement.verdict = Verdict::no_pods;
  for (auto& [verdict, one] : behind) judgement.behind.push_back(std::move(one));
  return judgement;
}

}  // namespace weft::cluster
