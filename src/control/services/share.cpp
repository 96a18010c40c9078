// Each namespace has a share of each table: one that takes more gives way to those that take less and find no room.
#include "control/services/share.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <ranges>
#include <set>
#include <tuple>

#include "control/services/impl.h"
#include "control/services/weights.h"

namespace weft::control {

using services::Backend;
using services::Claim;
using services::Member;
using services::Run;
using services::Table;

namespace {

constexpr std::string_view table_names[] = {"frontends", "service ids", "backends", "slots", "source ranges"};

// Owners that contend for one frontend ask for more or less of the table as the others come and go, so that giving way
// could go round and round: after so many times it waits until something else changes.
constexpr unsigned most_turns = 3;

void add(Claim& sum, const Claim& other) {
  for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += other[i];
}
void subtract(Claim& sum, const Claim& other) {
  for (std::size_t i = 0; i < sum.size(); ++i) sum[i] -= other[i];
}

}  // namespace

Claim services::claim_of(const std::vector<PortState>& ports) {
  Claim claim{};
  for (const auto& state : ports) {
    claim[Table::frontends] += static_cast<std::uint64_t>(std::ranges::count_if(state.frontends, &Frontend::won));
    claim[Table::services] += 1;
    claim[Table::backends] += state.backends.size();
    claim[Table::slots] += state.cluster.count;
    if (state.local != state.cluster) claim[Table::slots] += state.local.count;
    if (state.redirect != state.cluster && state.redirect != state.local) claim[Table::slots] += state.redirect.count;
    if (state.source_ranges != nullptr) claim[Table::ranges] += state.source_ranges->size();
  }
  return claim;
}

bool ServiceCompiler::Impl::goes_first(const Owner& owner) {
  return !owner.is_pod && owner.key.namespace_.text() == "default" && owner.key.name.text() == "kubernetes";
}

bool ServiceCompiler::Impl::is_present(const Owner& owner) {
  if (owner.is_pod) return static_cast<const PodEntry&>(owner).present;
  const auto& entry = static_cast<const ServiceEntry&>(owner);
  return entry.record != nullptr && entry.record->served;
}

// In place of `identify` and `place`: what it would take.
void ServiceCompiler::Impl::measure(const Owner& owner, PortState& state, std::uint32_t table_size) const {
  for (auto& frontend : state.frontends) {
    const auto known = frontends_.find(key_of(frontend, state.protocol));
    frontend.won = known == frontends_.end() || owner_by_id(known->second) == &owner;
  }
  const bool table = state.algorithm == model::Algorithm::maglev || state.algorithm == model::Algorithm::source_hash;
  std::uint32_t first = 0;
  const auto run = [&](std::uint16_t bit) {
    std::vector<Member> members;
    for (const auto& backend : state.backends)
      if (backend.has(bit))
        members.push_back({0, std::max<std::uint32_t>(backend.weight, 1), backend.address, backend.port});
    const auto count = table && members.size() > 1 ? table_size : services::weighted_sequence(members).size();
    return Run{first++, static_cast<std::uint32_t>(count)};
  };
  const bool same = std::ranges::all_of(state.backends, [](const Backend& backend) {
    return backend.has(services::backend_in_local) == backend.has(services::backend_in_cluster);
  });
  state.cluster = run(services::backend_in_cluster);
  state.local = same ? state.cluster : run(services::backend_in_local);
  state.redirect = run(services::backend_in_redirect);
}

Claim ServiceCompiler::Impl::ask_of(Owner& owner) {
  Transaction nothing;
  Plan plan;
  plan.owner = &owner;
  plan.measured = true;
  (void)build_plan(nothing, owner, plan);  // takes nothing, so it lacks nothing
  return services::claim_of(plan.ports);
}

void ServiceCompiler::Impl::account_use(const Owner& owner, bool taken) {
  if (owner.ports.empty()) return;
  auto& use = use_[owner.key.namespace_];
  const auto claim = services::claim_of(owner.ports);
  taken ? add(use, claim) : subtract(use, claim);
  if (use == Claim{}) use_.erase(owner.key.namespace_);
}

Claim ServiceCompiler::Impl::sizes() const {
  return {options_.max_frontends, options_.max_services - 1, options_.max_backends - 1, options_.max_slots,
          options_.max_source_ranges};
}

// What is free, or will be without anybody giving way.
Claim ServiceCompiler::Impl::room() const {
  std::uint64_t retiring = 0;
  for (const auto& run : retiring_) retiring += run.count;
  const auto left = [](std::uint64_t size, std::uint64_t used) { return size - std::min(size, used); };
  const auto size = sizes();
  return {left(size[Table::frontends], frontends_.size()), left(size[Table::services], service_ids_.used()),
          left(size[Table::backends], backend_ids_.used()), slot_space_.free() + retiring,
          left(size[Table::ranges], source_ranges_)};
}

bool ServiceCompiler::Impl::must_wait(const Transaction& transaction, Owner& owner) const {
  if (awaited_ == 0 || !is_present(owner) || goes_first(owner) || !may_leave_out(transaction, owner)) return false;
  if (const auto left = left_out_.find(&owner); left != left_out_.end() && left->second.awaited) return false;
  const auto use = use_.find(owner.key.namespace_);
  if (use == use_.end()) return false;
  for (std::size_t i = 0; i < shares_.size(); ++i)
    if (use->second[i] >= shares_[i]) return true;
  return false;
}

// After a compile: for whom others have to give way, and who does so in the next one.
void ServiceCompiler::Impl::share() {
  giving_way_.clear();
  awaited_ = 0;
  if (left_out_.empty()) return;
  if (turns_ == most_turns) {
    for (auto& [owner, left] : left_out_) left.awaited = false;
    return;
  }
  std::set<std::string_view> spaces;
  for (const auto& [name, use] : use_) spaces.insert(name.text());
  for (const auto& [owner, left] : left_out_) spaces.insert(owner->key.namespace_.text());
  shares_ = sizes();
  for (auto& share : shares_) share /= spaces.size();
  std::vector<std::pair<std::uint64_t, Owner*>> order;
  for (const auto& [owner, left] : left_out_) order.emplace_back(left.since, owner);
  std::ranges::sort(order);
  auto use = use_;
  for (const auto table : {Table::frontends, Table::services, Table::backends, Table::slots, Table::ranges}) {
    std::uint64_t needed = 0;
    std::uint64_t least = ~std::uint64_t{0};  // what any of them may take is as much as its share
    std::vector<Left*> entitled;
    for (auto* owner : std::views::values(order)) {
      auto& left = left_out_.at(owner);
      if (left.lacks != table) continue;
      const auto own = services::claim_of(owner->ports)[table];
      auto& used = use[owner->key.namespace_][table];
      const auto first = goes_first(*owner);
      if (!first && used - own + left.claim[table] > shares_[table]) {
        left.awaited = false;
        continue;
      }
      used += left.claim[table] - std::min(own, left.claim[table]);
      // The old and the new are there at once.
      needed += table == Table::slots ? left.claim[table] : left.claim[table] - std::min(own, left.claim[table]);
      least = std::min(least, first ? 0 : shares_[table]);
      entitled.push_back(&left);
    }
    if (entitled.empty()) continue;
    const auto free = room()[table];
    // Enough, but in pieces.
    if (table == Table::slots && needed <= free && retiring_.empty()) needed += free;
    const bool some = needed > free && give_way(table, needed - free, least);
    for (auto* left : entitled) {
      left->awaited = left->awaited || some;
      awaited_ += left->awaited ? 1 : 0;
    }
  }
  if (!giving_way_.empty()) ++turns_;
}

// Of the namespace that has most, again and again: the smallest that is enough by itself, or else the largest.
bool ServiceCompiler::Impl::give_way(Table table, std::uint64_t needed, std::uint64_t least) {
  struct Giver {
    std::uint64_t claim = 0;
    std::string name;
    Owner* owner = nullptr;
  };
  std::map<std::string_view, std::vector<Giver>> givers;
  for (const auto& [name, use] : use_)
    if (use[table] > least) givers[name.text()];
  if (givers.empty()) return false;
  const auto consider = [&](Owner& owner) {
    const auto found = givers.find(owner.key.namespace_.text());
    if (found == givers.end() || goes_first(owner) || !is_present(owner)) return;
    const auto claim = services::claim_of(owner.ports)[table];
    if (claim != 0) found->second.push_back({claim, owner.key.name.str(), &owner});
  };
  for (auto& [key, entry] : services_) consider(entry);
  for (auto& [key, pod] : pods_) consider(pod);
  std::map<std::string_view, std::uint64_t> use;
  for (auto& [name, list] : givers) {
    std::ranges::sort(list, {}, [](const Giver& giver) { return std::tie(giver.claim, giver.name); });
    use[name] = use_.at(*names_.find(name))[table];
  }
  bool some = false;
  while (needed != 0) {
    const auto most = std::ranges::max_element(use, {}, [](const auto& one) { return one.second; });
    if (most == use.end() || most->second <= least) break;
    auto& list = givers.at(most->first);
    if (list.empty()) {
      use.erase(most);
      continue;
    }
    auto chosen = std::ranges::lower_bound(list, needed, {}, &Giver::claim);
    if (chosen == list.end()) --chosen;
    auto* owner = chosen->owner;
    const auto [extent, freed] = less_of(*owner, table, chosen->claim);
    list.erase(chosen);
    Error error{ErrorCode::exhausted,
                fmt::format("{} {}: gives way: its namespace has {} of {} {}, which is more than its share of {}, and "
                            "others found no room",
                            owner->is_pod ? "pod" : "service", owner->key.to_string(), most->second, sizes()[table],
                            table_names[table], shares_[table]),
                "raise the size of the table in the configuration, or delete Services of that namespace"};
    giving_way_.insert_or_assign(owner, NoRoom{extent, std::move(error), table});
    most->second -= std::min(most->second, freed);
    needed -= std::min(needed, freed);
    some = true;
  }
  return some;
}

// Where its ClusterIPs can stay they do. And how much that frees.
std::pair<ServiceCompiler::Impl::Extent, std::uint64_t> ServiceCompiler::Impl::less_of(const Owner& owner, Table table,
                                                                                       std::uint64_t claim) {
  std::uint64_t inside = 0;
  for (const auto& state : owner.ports)
    inside += static_cast<std::uint64_t>(std::ranges::count_if(state.frontends, [](const services::Frontend& frontend) {
      return frontend.won && frontend.kind == FrontendKind::cluster_ip;
    }));
  if (inside == 0) return {Extent::none, claim};
  if (table == Table::ranges) return {Extent::inside, claim};
  if (table == Table::frontends && inside < claim) return {Extent::inside, claim - inside};
  return {Extent::none, claim};
}

}  // namespace weft::control
