// The compile itself: plans for what changed, the contest for frontends, and the difference to the maps.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <tuple>

#include "control/services/impl.h"

namespace weft::control {

using services::Backend;
using services::Frontend;

namespace {

const Frontend* find_frontend(const services::PortState& state, const weft_service_key& key) {
  const ServiceKeyEqual equal;
  for (const auto& frontend : state.frontends)
    if (equal(key_of(frontend, state.protocol), key)) return &frontend;
  return nullptr;
}

template <class States>
auto find_id(States& states, std::uint32_t id) -> decltype(&*states.begin()) {
  const auto found = std::ranges::find_if(states, [&](const auto& state) { return state.id == id; });
  return found == states.end() ? nullptr : &*found;
}

bool same_row(const weft_service& a, const weft_service& b) { return std::memcmp(&a, &b, sizeof a) == 0; }
bool same_row(const weft_backend& a, const weft_backend& b) { return std::memcmp(&a, &b, sizeof a) == 0; }

}  // namespace

// --- Planning -------------------------------------------------------------------------------------

// And the Services that waited for what is released.
std::vector<services::Owner*> ServiceCompiler::Impl::find_released(Transaction& transaction, const Plan& plan) const {
  std::vector<Owner*> waiters;
  for (const auto& old : plan.owner->ports) {
    const auto* now = find_id(plan.ports, old.id);
    for (const auto& frontend : old.frontends) {
      const auto key = key_of(frontend, old.protocol);
      if (!frontend.won || (now != nullptr && find_frontend(*now, key) != nullptr)) continue;
      transaction.released.emplace(key, old.id);
      if (const auto waiting = waiting_.find(key); waiting != waiting_.end())
        for (const auto id : waiting->second) waiters.push_back(owner_by_id(id));
    }
  }
  return waiters;
}

// Who had a frontend keeps it; who waited for one that is free now gets it, in the order they came; then the new.
Result<void> ServiceCompiler::Impl::contend(Transaction& transaction) {
  for (const auto& [key, id] : transaction.released) {
    const auto waiting = waiting_.find(key);
    if (waiting == waiting_.end()) continue;
    for (const auto waiter : waiting->second) {
      const auto& plan = transaction.plans[transaction.planned.at(owner_by_id(waiter))];
      const auto* state = find_id(plan.ports, waiter);
      if (state == nullptr || find_frontend(*state, key) == nullptr) continue;
      transaction.won.emplace(key, waiter);
      break;
    }
  }
  keep_adopted_frontends(transaction);
  std::size_t count = adopted_ == nullptr ? frontends_.size() : transaction.won.size();
  for (auto& plan : transaction.plans) {
    const auto before = count;
    auto contended = contend(transaction, plan, count);
    if (contended) continue;
    if (!may_leave_out(transaction, *plan.owner)) return contended;
    count = before;
    transaction.rejected.emplace(plan.owner, NoRoom{less_than(plan.extent, *plan.owner), std::move(contended.error()),
                                                    services::Table::frontends});
  }
  return {};
}

// At a start: who had a frontend in the run before has it before anybody else.
void ServiceCompiler::Impl::keep_adopted_frontends(Transaction& transaction) const {
  if (adopted_ == nullptr) return;
  for (const auto& plan : transaction.plans)
    for (const auto& state : plan.ports)
      for (const auto& frontend : state.frontends) {
        const auto key = key_of(frontend, state.protocol);
        const auto adopted = adopted_->frontends.find(key);
        if (transaction.won.size() == options_.max_frontends) return;
        if (adopted != adopted_->frontends.end() && adopted->second == state.id) transaction.won.emplace(key, state.id);
      }
}

// `count`: how many frontends there are with those of the plans before.
Result<void> ServiceCompiler::Impl::contend(Transaction& transaction, Plan& plan, std::size_t& count) const {
  for (auto& state : plan.ports)
    for (auto& frontend : state.frontends) {
      const auto key = key_of(frontend, state.protocol);
      const auto known = frontends_.find(key);
      if (known != frontends_.end() && !transaction.released.contains(key)) {
        frontend.won = known->second == state.id;
        continue;
      }
      const auto [winner, taken] = transaction.won.try_emplace(key, state.id);
      frontend.won = winner->second == state.id;
      if (!taken || known != frontends_.end()) continue;  // it is counted
      if (++count > options_.max_frontends)
        return fail(
            ErrorCode::exhausted,
            fmt::format("{}: no room for its frontend {}:{}: all {} of the map are taken", where(*plan.owner, state),
                        frontend.address.to_string(), frontend.port, options_.max_frontends),
            "raise service_table_entries in the configuration, or delete Services");
    }
  return {};
}

Result<void> ServiceCompiler::Impl::check_ranges(Transaction& transaction) const {
  std::size_t count = source_ranges_;
  for (const auto& plan : transaction.plans)
    for (const auto& state : plan.ports) {
      if (state.source_ranges == nullptr) continue;
      const auto* old = find_id(plan.owner->ports, state.id);
      const auto before = count;
      for (const auto& range : *state.source_ranges)
        if (old == nullptr || old->source_ranges == nullptr || !std::ranges::binary_search(*old->source_ranges, range))
          ++count;
      if (count <= options_.max_source_ranges) continue;
      count = before;
      Error error{ErrorCode::exhausted,
                  fmt::format("{}: no room for its {} source ranges: {} of {} are in use", where(*plan.owner, state),
                              state.source_ranges->size(), source_ranges_, options_.max_source_ranges),
                  "give the Service fewer, or delete Services that have some"};
      if (!may_leave_out(transaction, *plan.owner)) return fail(std::move(error));
      transaction.rejected.try_emplace(
          plan.owner, NoRoom{less_than(plan.extent, *plan.owner), std::move(error), services::Table::ranges});
    }
  return {};
}

Result<void> ServiceCompiler::Impl::plan(Transaction& transaction) {
  const auto owners = to_build(transaction.fit);
  transaction.plans.reserve(owners.size());
  for (auto* owner : owners) WEFT_CHECK(build(transaction, *owner));
  for (auto& [owner, room] : giving_way_) WEFT_CHECK(build(transaction, *owner));
  // Who waits for what is given up is looked at as well.
  for (std::size_t i = 0; i < transaction.plans.size(); ++i)
    for (auto* waiter : find_released(transaction, transaction.plans[i])) WEFT_CHECK(build(transaction, *waiter));
  WEFT_CHECK(contend(transaction));
  return check_ranges(transaction);
}

void ServiceCompiler::Impl::release_ids(const std::function<bool(std::uint32_t)>& backend_in_use,
                                        const std::function<bool(std::uint32_t)>& service_in_use) {
  const auto waiting = backend_ids_.waiting() + service_ids_.waiting();
  if (!hold_) {
    service_ids_.settle();
    backend_ids_.settle();
  }
  backend_ids_.release(backend_in_use);
  service_ids_.release(service_in_use);
  if (backend_ids_.waiting() + service_ids_.waiting() == waiting) return;
  ++freed_;
  turns_ = 0;
}

// --- Committing -----------------------------------------------------------------------------------

ServiceDelta ServiceCompiler::Impl::commit(Transaction& transaction) {
  ServiceDelta delta;
  delta.whole = !std::exchange(compiled_, true);
  if (!std::exchange(hold_, false)) {
    service_ids_.settle();
    backend_ids_.settle();
  }
  views_.clear();
  for (const auto& run : transaction.new_runs) {
    const auto end = run.first + run.backends.size();
    if (end > slots_.size()) slots_.resize(end);
    std::ranges::copy(run.backends, slots_.begin() + run.first);
  }
  delta.slots = std::move(transaction.new_runs);
  if (delta.whole) delta.slots.clear();  // all runs in use are told, the adopted ones too
  delta.services_new = std::move(transaction.new_services);
  delta.backends_new = std::move(transaction.new_backends);
  for (auto& plan : transaction.plans) commit_plan(plan, delta);
  commit_frontends(transaction, delta);
  if (delta.whole) finish_adoption(delta);
  delta.port_words = port_words_.take_changes(delta.whole);
  note_left_out(transaction);
  collect_garbage();
  share();
  return delta;
}

void ServiceCompiler::Impl::commit_plan(Plan& plan, ServiceDelta& delta) {
  auto& owner = *plan.owner;
  retire_runs(plan);
  for (const auto& old : owner.ports) {
    account(old, false);
    if (find_id(plan.ports, old.id) == nullptr) commit_port(&old, nullptr, delta);
  }
  for (const auto& now : plan.ports) {
    account(now, true);
    commit_port(find_id(owner.ports, now.id), &now, delta);
    if (now.id >= owner_of_service_.size()) owner_of_service_.resize(now.id + 1);
    owner_of_service_[now.id] = &owner;
    for (const auto& backend : now.backends) {
      if (backend.id >= service_of_backend_.size()) service_of_backend_.resize(backend.id + 1);
      service_of_backend_[backend.id] = now.id;
    }
    if (!delta.whole) continue;
    std::vector<Run> told;
    for (const auto& run : {now.cluster, now.local, now.redirect}) {
      if (run.count == 0 || std::ranges::find(told, run) != told.end()) continue;
      told.push_back(run);
      delta.slots.push_back({run.first, this->run(run.first, run.count)});
    }
  }
  account_owner(plan);
  account_use(owner, false);
  owner.ports = std::move(plan.ports);
  account_use(owner, true);
  owner.dirty = false;
}

void ServiceCompiler::Impl::commit_port(const PortState* old, const PortState* now, ServiceDelta& delta) {
  commit_backends(old, now, delta);
  commit_ranges(old, now, delta);
  commit_waiting(old, now);
  if (now == nullptr) {
    service_ids_.retire(old->id);
    owner_of_service_[old->id] = nullptr;
    return;
  }
  for (const auto& frontend : now->frontends) {
    if (!frontend.won) continue;
    const auto key = key_of(frontend, now->protocol);
    const auto row = row_of(*now, frontend.kind);
    const auto* before = old == nullptr ? nullptr : find_frontend(*old, key);
    if (before == nullptr || !before->won || !same_row(row_of(*old, before->kind), row))
      delta.frontends.emplace_back(key, row);
  }
}

// Both lists are in the order of address and port.
void ServiceCompiler::Impl::commit_backends(const PortState* old, const PortState* now, ServiceDelta& delta) {
  static const std::vector<Backend> none;
  const auto& before = old == nullptr ? none : old->backends;
  const auto& after = now == nullptr ? none : now->backends;
  const auto order = [](const Backend& backend) { return std::tie(backend.address, backend.port); };
  auto at = before.begin();
  const auto gone_until = [&](const Backend* next) {
    for (; at != before.end() && (next == nullptr || order(*at) < order(*next)); ++at) {
      delta.backends_gone.push_back(at->id);
      backend_ids_.retire(at->id);
      service_of_backend_[at->id] = 0;
    }
  };
  for (const auto& backend : after) {
    gone_until(&backend);
    const auto row = row_of(*now, backend);
    const bool known = at != before.end() && order(*at) == order(backend);
    if (!known || !same_row(row_of(*old, *at), row)) delta.backends.emplace_back(backend.id, row);
    if (known) ++at;
  }
  gone_until(nullptr);
}

void ServiceCompiler::Impl::commit_ranges(const PortState* old, const PortState* now, ServiceDelta& delta) {
  static const std::vector<Cidr> none;
  const auto& before = old == nullptr || old->source_ranges == nullptr ? none : *old->source_ranges;
  const auto& after = now == nullptr || now->source_ranges == nullptr ? none : *now->source_ranges;
  for (const auto& range : after) {
    if (std::ranges::binary_search(before, range)) continue;
    delta.source_ranges.push_back(services::range_key_of(now->id, range));
    ++source_ranges_;
  }
  for (const auto& range : before) {
    if (std::ranges::binary_search(after, range)) continue;
    delta.source_ranges_gone.push_back(services::range_key_of(old->id, range));
    --source_ranges_;
    ++freed_;
  }
}

// The queues for frontends somebody else has.
void ServiceCompiler::Impl::commit_waiting(const PortState* old, const PortState* now) {
  if (old != nullptr)
    for (const auto& frontend : old->frontends) {
      if (frontend.won) continue;
      const auto key = key_of(frontend, old->protocol);
      const auto* after = now == nullptr ? nullptr : find_frontend(*now, key);
      if (after != nullptr && !after->won) continue;
      const auto queue = waiting_.find(key);
      std::erase(queue->second, old->id);
      if (queue->second.empty()) waiting_.erase(queue);
    }
  if (now != nullptr)
    for (const auto& frontend : now->frontends) {
      if (frontend.won) continue;
      const auto key = key_of(frontend, now->protocol);
      const auto* before = old == nullptr ? nullptr : find_frontend(*old, key);
      if (before == nullptr || before->won) waiting_[key].push_back(now->id);
    }
}

void ServiceCompiler::Impl::commit_frontends(const Transaction& transaction, ServiceDelta& delta) {
  for (const auto& [key, id] : transaction.released) {
    if (transaction.won.contains(key)) continue;
    delta.frontends_gone.push_back(key);
    frontends_.erase(key);
    ++freed_;
  }
  for (const auto& [key, id] : transaction.won) frontends_.insert_or_assign(key, id);
}

void ServiceCompiler::Impl::retire_runs(const Plan& plan) {
  const auto stays = [&](const Run& run) {
    return std::ranges::any_of(plan.ports, [&](const PortState& state) {
      return state.cluster == run || state.local == run || state.redirect == run;
    });
  };
  for (const auto& old : plan.owner->ports) {
    if (old.cluster.count != 0 && !stays(old.cluster)) retiring_.push_back(old.cluster);
    if (old.local.count != 0 && old.local != old.cluster && !stays(old.local)) retiring_.push_back(old.local);
    if (old.redirect.count != 0 && old.redirect != old.cluster && old.redirect != old.local && !stays(old.redirect))
      retiring_.push_back(old.redirect);
  }
}

// What the whole of the configuration is told.
void ServiceCompiler::Impl::account(const PortState& state, bool add) {
  const auto count = [&](std::uint32_t& number, std::uint32_t by) { number += add ? by : 0U - by; };
  const auto bit = [&](weft_port_set set, std::uint16_t port) {
    if (add)
      port_words_.add(set, state.protocol, port);
    else
      port_words_.remove(set, state.protocol, port);
  };
  for (const auto& frontend : state.frontends) {
    if (!frontend.won || frontend.kind == FrontendKind::cluster_ip) continue;
    if (frontend.address == IpAddress() || frontend.address == IpAddress::v4(0)) bit(WEFT_PORTS_NODE, frontend.port);
    bit(WEFT_PORTS_DEVICE, frontend.port);
    count(external_frontends_, 1);
  }
  if (!state.has_external()) return;
  for (const auto& backend : state.backends)
    if (backend.has(services::backend_of_node)) count(host_backends_, 1);
}

void ServiceCompiler::Impl::account_owner(const Plan& plan) {
  const auto* owner = plan.owner;
  if (const auto port = health_port_of_.find(owner); port != health_port_of_.end()) {
    const auto known = health_ports_.find(port->second);
    if (known != health_ports_.end() && known->second.service == owner->key.object()) health_ports_.erase(known);
    health_port_of_.erase(port);
  }
  if (const auto pods = redirect_pods_.find(owner); pods != redirect_pods_.end()) {
    for (const auto& pod : pods->second) {
      const auto target = redirect_targets_.find({owner->key.namespace_.str(), pod.str()});
      if (--target->second == 0) redirect_targets_.erase(target);
    }
    redirect_pods_.erase(pods);
  }
  if (owner->is_pod) return;
  for (const auto& pod : plan.redirect_pods) ++redirect_targets_[{owner->key.namespace_.str(), pod.str()}];
  if (!plan.redirect_pods.empty()) redirect_pods_[owner] = plan.redirect_pods;
  const auto& entry = static_cast<const ServiceEntry&>(*owner);
  if (entry.record == nullptr || !entry.record->served || !entry.record->external_local ||
      entry.record->type != model::Service::Type::load_balancer)
    return;
  const auto port = entry.held.get().health_check_port;
  if (port == 0) return;
  health_ports_[port] = {owner->key.object(), plan.local_ready};
  health_port_of_[owner] = port;
}

// Entries that say nothing any more.
void ServiceCompiler::Impl::collect_garbage() {
  for (auto* owner : dirty_) {
    owner->dirty = false;
    if (!owner->ports.empty()) continue;
    const auto key = owner->key;
    if (owner->is_pod) {
      const auto& pod = static_cast<const PodEntry&>(*owner);
      if (pod.present) continue;
      pods_by_index_[pod.index] = nullptr;
      free_pod_indexes_.push_back(pod.index);
      pods_.erase(key);
    } else {
      const auto& entry = static_cast<const ServiceEntry&>(*owner);
      if (entry.record != nullptr || entry.slices != nullptr || !entry.held.empty()) continue;
      services_by_index_[entry.index] = nullptr;
      free_service_indexes_.push_back(entry.index);
      services_.erase(key);
    }
  }
  if (dirty_.capacity() > 1024)
    dirty_ = {};  // the first compile's
  else
    dirty_.clear();
}

}  // namespace weft::control
