// Who has no room in the maps: how much of it is served all the same, and when it is tried again.
#include <algorithm>
#include <iterator>
#include <ranges>
#include <tuple>

#include "control/services/impl.h"

namespace weft::control {

using services::Backend;
using services::Frontend;

Result<ServiceDelta> ServiceCompiler::Impl::compile(Fit fit) {
  if (!dirty_.empty()) turns_ = 0;
  // The rows of the last compile are in the maps by now, so nothing reads the runs it replaced.
  if (!hold_ && !retiring_.empty()) {
    for (const auto& run : retiring_) slot_space_.release(run.first, run.count);
    retiring_.clear();
    ++freed_;
  }
  // Numbers that an owner finds no room for are known when it is built; frontends and source ranges only when all are.
  // Each round leaves less of some, so there are few.
  NoRooms rejected;
  for (const auto& [owner, room] : giving_way_)
    if (is_present(*owner)) rejected.emplace(owner, room);
  while (true) {
    Transaction transaction;
    transaction.fit = fit;
    transaction.freed = freed_;
    transaction.left_out = rejected;
    const auto planned = plan(transaction);
    if (planned && transaction.rejected.empty()) return commit(transaction);
    roll_back(transaction, {});
    if (!planned) return fail(planned.error());
    for (auto& [owner, room] : transaction.rejected) {
      const auto before = rejected.find(owner);
      if (before != rejected.end()) room.lacks = before->second.lacks;
      rejected.insert_or_assign(owner, std::move(room));
    }
  }
}

// One that was left out before is no reason to refuse what others change.
bool ServiceCompiler::Impl::may_leave_out(const Transaction& transaction, Owner& owner) const {
  if (transaction.fit == Fit::what_fits) return true;
  const auto left = left_out_.find(&owner);
  return left != left_out_.end() && !left->second.changed;
}

ServiceCompiler::Impl::Extent ServiceCompiler::Impl::less_than(Extent extent, const Owner& owner) const {
  const bool has_something = !owner.ports.empty() || adopted_ != nullptr;
  if (owner.is_pod || extent == Extent::bare || extent == Extent::inside) return Extent::none;
  if (!has_something) return Extent::inside;
  return extent == Extent::all ? Extent::known : Extent::bare;
}

// Those to whom others give way come first. Then those that are served already: their changes are small, and what is
// gone behind them has to go. Last those that were left out, in the order in which they were.
std::vector<services::Owner*> ServiceCompiler::Impl::to_build(Fit fit) const {
  auto owners = dirty_;
  if (fit == Fit::all && left_out_.empty()) return owners;
  if (freed_ != (awaited_ == 0 ? tried_ : tried_awaited_)) {
    std::vector<std::pair<std::uint64_t, Owner*>> left;
    for (const auto& [owner, one] : left_out_)
      if (!owner->dirty && (awaited_ == 0 || one.awaited) && !giving_way_.contains(owner))
        left.emplace_back(one.since, owner);
    std::ranges::sort(left);
    std::ranges::copy(std::views::values(left), std::back_inserter(owners));
  }
  const auto place = [&](Owner* owner) {
    if (goes_first(*owner)) return 0;
    const auto left = left_out_.find(owner);
    if (left != left_out_.end() && left->second.awaited) return 1;
    return owner->ports.empty() ? 3 : 2;
  };
  std::ranges::stable_sort(owners, {}, place);
  return owners;
}

// Of its frontends those that are its own already. False: it needs more than it has.
bool ServiceCompiler::Impl::keep_known(const Owner& owner, const PortState* previous, PortState& state) const {
  if (previous == nullptr) return false;
  const auto known = [&](const Frontend& frontend) {
    const auto key = key_of(frontend, state.protocol);
    if (!owner.ports.empty())
      return std::ranges::any_of(previous->frontends, [&](const Frontend& old) {
        return ServiceKeyEqual()(key_of(old, previous->protocol), key);
      });
    if (adopted_ == nullptr) return false;
    const auto adopted = adopted_->frontends.find(key);
    return adopted != adopted_->frontends.end() && adopted->second == previous->id;
  };
  std::erase_if(state.frontends, [&](const Frontend& frontend) { return !known(frontend); });
  if (state.frontends.empty()) return false;
  if (state.source_ranges == nullptr) return true;
  const auto& before = previous->source_ranges;
  return before != nullptr && std::ranges::includes(*before, *state.source_ranges);
}

// Both are in the order of address and port.
void ServiceCompiler::Impl::keep_known_backends(const PortState& previous, PortState& state) {
  const auto order = [](const Backend& backend) { return std::tie(backend.address, backend.port); };
  std::erase_if(state.backends, [&](const Backend& backend) {
    return !std::ranges::binary_search(previous.backends, order(backend), {}, order);
  });
}

void ServiceCompiler::Impl::note_left_out(Transaction& transaction) {
  for (const auto& plan : transaction.plans) {
    const auto room = transaction.left_out.find(plan.owner);
    if (room == transaction.left_out.end()) {
      left_out_.erase(plan.owner);
      continue;
    }
    auto& left = left_out_[plan.owner];
    if (left.since == 0) left.since = ++ever_left_out_;
    left.error = std::move(room->second.error);
    left.changed = false;
    left.lacks = room->second.lacks;
    left.claim = ask_of(*plan.owner);
  }
  (awaited_ == 0 ? tried_ : tried_awaited_) = transaction.freed;
}

bool ServiceCompiler::Impl::may_fit_more() const {
  return !left_out_.empty() && !hold_ &&
         (!retiring_.empty() || !giving_way_.empty() || freed_ != (awaited_ == 0 ? tried_ : tried_awaited_));
}

bool ServiceCompiler::Impl::waits_for_numbers() const {
  return !left_out_.empty() && service_ids_.waiting() + backend_ids_.waiting() != 0;
}

std::vector<ServiceCompiler::LeftOut> ServiceCompiler::Impl::left_out() const {
  std::vector<LeftOut> result;
  for (const auto& [owner, left] : left_out_) result.push_back({owner->key.object(), owner->is_pod, left.error});
  std::ranges::sort(result, {}, [](const LeftOut& one) { return std::tie(one.owner, one.is_pod); });
  return result;
}

}  // namespace weft::control
