// The numbers a compiled port needs: its id, its backends' ids, its runs of slots. What it has it keeps.
#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "control/services/impl.h"
#include "control/services/weights.h"

namespace weft::control {

using services::Backend;
using services::Member;

namespace {

std::uint32_t weight_of(const Backend& backend) { return std::max<std::uint32_t>(backend.weight, 1); }

// The members of that run were these, with these weights. Both are in the order of address and port.
bool stand_there(const std::vector<Backend>& backends, std::uint16_t bit, const std::vector<Member>& members) {
  std::size_t next = 0;
  for (const auto& backend : backends) {
    if (!backend.has(bit)) continue;
    if (next == members.size() || members[next].id != backend.id || members[next].weight != weight_of(backend))
      return false;
    ++next;
  }
  return next == members.size();
}

}  // namespace

std::string ServiceCompiler::Impl::where(const Owner& owner, const PortState& state) const {
  return fmt::format("{} {} {}{}/{}", owner.is_pod ? "pod" : "service", owner.key.to_string(),
                     owner.is_pod ? "host port " : "port ", state.port, to_string(state.protocol));
}

// A port is known by its name, as to kube-proxy: with another number it keeps its id, and with it its backends' ids,
// their connections and counters, and what affinity remembers. One that got another name keeps them by its number,
// unless that has gone to a port of the record that is known by name.
const services::PortState* ServiceCompiler::Impl::counterpart(const Owner& owner, const PortState& state) {
  const PortState* by_number = nullptr;
  const PortState* by_name = nullptr;
  bool ambiguous = false;
  for (const auto& old : owner.ports) {
    const bool named = old.name == state.name && old.protocol == state.protocol && old.family == state.family;
    if (old.same_port(state)) by_number = &old;
    if (by_number == &old && named) return &old;
    ambiguous = ambiguous || (named && by_name != nullptr);
    if (named) by_name = &old;
  }
  if (owner.is_pod) return by_number;
  const auto ports_named = [&](const services::Name& name) {
    const auto is_it = [&](const auto& port) { return port.name == name && port.protocol == state.protocol; };
    return std::ranges::count_if(static_cast<const ServiceEntry&>(owner).record->ports, is_it);
  };
  if (by_name != nullptr && !ambiguous && ports_named(state.name) == 1) return by_name;
  return by_number != nullptr && ports_named(by_number->name) == 0 ? by_number : nullptr;
}

// What it was before: of the last compile, or in the maps since the last run. `runs`: those it may go on using.
const services::PortState* ServiceCompiler::Impl::previous_of(const Owner& owner, PortState& state,
                                                              Transaction& transaction, std::vector<Run>& runs) {
  if (const auto* known = counterpart(owner, state); known != nullptr) {
    for (const auto& run : {known->cluster, known->local, known->redirect})
      if (run.count != 0) runs.push_back(run);
    return known;
  }
  if (adopted_ == nullptr) return nullptr;
  for (const auto& frontend : state.frontends) {
    const auto found = adopted_->frontends.find(key_of(frontend, state.protocol));
    if (found == adopted_->frontends.end()) continue;
    const auto service = adopted_->services.find(found->second);
    if (service == adopted_->services.end() || service->second.taken) continue;
    service->second.taken = true;
    transaction.taken_from_maps.push_back(found->second);
    runs = service->second.runs;
    return &service->second.state;
  }
  return nullptr;
}

Result<void> ServiceCompiler::Impl::identify(Transaction& transaction, const Owner& owner, PortState& state,
                                             const PortState* previous) {
  if (previous != nullptr) {
    state.id = previous->id;
  } else {
    const auto id = service_ids_.allocate();
    transaction.lacks = services::Table::services;
    if (!id)
      return fail(
          ErrorCode::exhausted,
          fmt::format("{}: no service id is left: of {} {} are in use and {} wait for the last flows of deleted "
                      "Services",
                      where(owner, state), service_ids_.limit() - 1, service_ids_.used(), service_ids_.waiting()),
          "raise service_table_entries in the configuration, or delete Services");
    state.id = *id;
    transaction.new_services.push_back(*id);
  }
  static const std::vector<Backend> none;
  const auto& old = previous == nullptr ? none : previous->backends;
  auto at = old.begin();
  for (auto& backend : state.backends) {
    while (at != old.end() && std::tie(at->address, at->port) < std::tie(backend.address, backend.port)) ++at;
    if (at != old.end() && at->address == backend.address && at->port == backend.port) {
      backend.id = at->id;
      continue;
    }
    const auto id = backend_ids_.allocate();
    transaction.lacks = services::Table::backends;
    if (!id)
      return fail(ErrorCode::exhausted,
                  fmt::format("{}: no room for its {} backends: of {} {} are in use and {} wait for the last flows to "
                              "them",
                              where(owner, state), state.backends.size(), backend_ids_.limit() - 1, backend_ids_.used(),
                              backend_ids_.waiting()),
                  "raise backend_table_entries in the configuration, or give the Service fewer");
    backend.id = *id;
    transaction.new_backends.push_back(*id);
  }
  return {};
}

Result<services::Run> ServiceCompiler::Impl::place_run(Transaction& transaction, const Owner& owner,
                                                       const PortState& state, const PortState* previous,
                                                       const std::vector<Run>& runs, std::uint16_t bit,
                                                       std::uint32_t table_size) {
  std::vector<Member> members;
  for (const auto& backend : state.backends)
    if (backend.has(bit)) members.push_back({backend.id, weight_of(backend), backend.address, backend.port});
  if (members.empty()) return Run{};
  const bool table = state.algorithm == model::Algorithm::maglev || state.algorithm == model::Algorithm::source_hash;
  const auto old = previous == nullptr                   ? Run{}
                   : bit == services::backend_in_cluster ? previous->cluster
                   : bit == services::backend_in_local   ? previous->local
                                                         : previous->redirect;
  // The same members make the same run: nothing to compute.
  if (old.count != 0 && previous->algorithm == state.algorithm &&
      (!table || members.size() == 1 || old.count == table_size)) {
    if (stand_there(previous->backends, bit, members)) return old;
  }
  auto content = services::slots_of(members, state.protocol, state.algorithm, table_size, options_.hash_seed);
  ++work_.runs;
  if (table && members.size() > 1) ++work_.tables;
  for (const auto& run : runs)
    if (run.count == content.size() && std::equal(content.begin(), content.end(), slots_.begin() + run.first))
      return run;
  const auto length = static_cast<std::uint32_t>(content.size());
  const auto first = slot_space_.allocate(length);
  transaction.lacks = services::Table::slots;
  if (!first)
    return fail(
        ErrorCode::exhausted,
        fmt::format("{}: no room for its {} slots: of {} slots {} are free, the longest run of them is {}",
                    where(owner, state), length, slot_space_.total(), slot_space_.free(), slot_space_.longest()),
        table ? "raise slot_table_entries in the configuration, or choose a smaller weft.io/maglev-table-size"
              : "raise slot_table_entries in the configuration, or give the Service fewer backends");
  transaction.new_runs.push_back({*first, std::move(content)});
  return Run{*first, length};
}

Result<void> ServiceCompiler::Impl::place(Transaction& transaction, const Owner& owner, PortState& state,
                                          const PortState* previous, const std::vector<Run>& runs,
                                          std::uint32_t table_size) {
  const auto same_members = [&](std::uint16_t a, std::uint16_t b) {
    return std::ranges::all_of(state.backends,
                               [&](const Backend& backend) { return backend.has(a) == backend.has(b); });
  };
  WEFT_TRY(state.cluster,
           place_run(transaction, owner, state, previous, runs, services::backend_in_cluster, table_size));
  if (same_members(services::backend_in_local, services::backend_in_cluster)) {
    state.local = state.cluster;
  } else {
    WEFT_TRY(state.local, place_run(transaction, owner, state, previous, runs, services::backend_in_local, table_size));
  }
  WEFT_TRY(state.redirect,
           place_run(transaction, owner, state, previous, runs, services::backend_in_redirect, table_size));
  return {};
}

ServiceCompiler::Impl::Mark ServiceCompiler::Impl::mark_of(const Transaction& transaction) {
  return {transaction.new_services.size(), transaction.new_backends.size(), transaction.taken_from_maps.size(),
          transaction.new_runs.size()};
}

// What was taken since goes back.
void ServiceCompiler::Impl::roll_back(Transaction& transaction, const Mark& mark) {
  const auto each_since = [](auto& list, std::size_t size, const auto& undo) {
    for (auto i = size; i < list.size(); ++i) undo(list[i]);
    list.resize(size);
  };
  each_since(transaction.new_services, mark.services, [&](std::uint32_t id) { service_ids_.take_back(id); });
  each_since(transaction.new_backends, mark.backends, [&](std::uint32_t id) { backend_ids_.take_back(id); });
  each_since(transaction.new_runs, mark.runs, [&](const SlotRun& run) {
    slot_space_.release(run.first, static_cast<std::uint32_t>(run.backends.size()));
  });
  each_since(transaction.taken_from_maps, mark.taken,
             [&](std::uint32_t id) { adopted_->services.at(id).taken = false; });
}

}  // namespace weft::control
