// A Service, or a pod with host ports, as it should be: its frontends and who stands behind them.
#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <tuple>

#include "control/services/endpoint_choice.h"
#include "control/services/impl.h"

namespace weft::control {

using services::Backend;
using services::Frontend;
using services::hash_of;
using services::Labels;
using services::Name;
using services::RecordPort;

namespace {

// Looking for a rare label of a selector stops at this many pods.
constexpr unsigned many = 64;

void set_bit(Backend& backend, std::uint16_t bit, bool on) {
  if (on) backend.bits |= bit;
}

// 0 when the pod has no port of that name and protocol.
std::uint16_t target_port(const RecordPort& port, const services::PodRecord& pod) {
  if (port.target_name.empty()) return port.target;
  const auto found = std::ranges::find_if(pod.ports, [&](const services::PodPortRecord& candidate) {
    return candidate.name == port.target_name && candidate.protocol == port.protocol;
  });
  return found == pod.ports.end() ? std::uint16_t{0} : found->port;
}

// Of several entries for one address and port the local, ready, serving one stays.
void remove_duplicates(std::vector<Backend>& backends) {
  if (backends.size() < 2) return;
  const auto order = [](const Backend& backend) {
    return std::tuple(backend.address, backend.port, !backend.has(services::backend_local),
                      !backend.has(services::backend_ready), !backend.has(services::backend_serving),
                      backend.has(services::backend_terminating), ~backend.weight, backend.pod.text(),
                      backend.node.text());
  };
  std::ranges::sort(backends, [&](const Backend& a, const Backend& b) {
    if (a.address != b.address || a.port != b.port) return std::tie(a.address, a.port) < std::tie(b.address, b.port);
    return order(a) < order(b);
  });
  const auto rest = std::ranges::unique(
      backends, [](const Backend& a, const Backend& b) { return a.address == b.address && a.port == b.port; });
  backends.erase(rest.begin(), rest.end());
}

}  // namespace

bool ServiceCompiler::Impl::is_healthy(const IpAddress& address, std::uint16_t port, Protocol protocol) const {
  if (unhealthy_.empty()) return true;
  const auto found = unhealthy_.find(address);
  return found == unhealthy_.end() ||
         std::ranges::find(found->second, std::pair(port, protocol)) == found->second.end();
}

std::uint16_t ServiceCompiler::Impl::locality(const IpAddress& address, const Name& node) const {
  if (node_addresses_.contains(address)) return services::backend_local | services::backend_of_node;
  const auto [first, last] = pods_by_address_.equal_range(address);
  const bool here = std::any_of(first, last, [](const auto& entry) { return entry.second->record.node.empty(); });
  return here || (!node.empty() && node == node_name_) ? services::backend_local : 0;
}

// The present pods with an address that a selector of the namespace selects.
std::vector<const services::PodEntry*> ServiceCompiler::Impl::selected(const Key& service,
                                                                       const Labels& selector) const {
  std::vector<const PodEntry*> result;
  std::uint32_t best = 0;
  unsigned fewest = many + 1;
  for (const auto& pair : selector) {
    const auto hash = hash_of(service.namespace_, pair);
    const auto count = pods_by_label_.count(hash, many);
    if (count >= fewest) continue;
    fewest = count;
    best = hash;
  }
  if (selector.empty() || fewest == 0) return result;
  pods_by_label_.visit(best, [&](std::uint32_t index) {
    const auto* pod = pods_by_index_[index];
    if (pod->key.namespace_ == service.namespace_ && !pod->record.addresses.empty() &&
        selects(selector, pod->record.labels))
      result.push_back(pod);
    return true;
  });
  return result;
}

Backend ServiceCompiler::Impl::backend_of(const PodEntry& pod, const IpAddress& address, std::uint16_t port) const {
  Backend backend;
  backend.address = address;
  backend.port = port;
  backend.pod = pod.key.name;
  const bool here = pod.record.node.empty();
  backend.node = here ? node_name_ : pod.record.node;
  backend.weight = pod.record.weight;
  backend.bits = services::backend_healthy;
  set_bit(backend, services::backend_local, here);
  set_bit(backend, services::backend_of_node, node_addresses_.contains(address));
  set_bit(backend, services::backend_ready, pod.record.ready && !pod.record.terminating);
  set_bit(backend, services::backend_serving, pod.record.ready);
  set_bit(backend, services::backend_terminating, pod.record.terminating);
  return backend;
}

void ServiceCompiler::Impl::collect_slices(const ServiceEntry& entry, const RecordPort& port, PortState& state) const {
  const auto names = [](const std::vector<Name>& hints, const Name& here) {
    return !here.empty() && std::ranges::find(hints, here) != hints.end();
  };
  for (const auto* node = entry.slices; node != nullptr; node = node->second.next) {
    const auto* slice = &node->second;
    const auto found = std::ranges::find_if(slice->ports, [&](const services::SlicePortRecord& candidate) {
      return candidate.name == port.name && candidate.protocol == port.protocol;
    });
    if (found == slice->ports.end()) continue;
    for (const auto& endpoint : slice->endpoints) {
      if (endpoint.address.family() != state.family) continue;
      auto& backend = state.backends.emplace_back();
      backend.address = endpoint.address;
      backend.port = found->port;
      backend.pod = endpoint.pod;
      backend.node = endpoint.node;
      backend.weight = endpoint.weight;
      backend.bits = services::backend_ordinary | endpoint.conditions | locality(endpoint.address, endpoint.node);
      set_bit(backend, services::backend_ready, entry.record->publish_not_ready);
      set_bit(backend, services::backend_healthy, is_healthy(endpoint.address, found->port, port.protocol));
      if (endpoint.hints == nullptr) continue;
      set_bit(backend, services::backend_hints_zone, !endpoint.hints->zones.empty());
      set_bit(backend, services::backend_this_zone, names(endpoint.hints->zones, zone_));
      set_bit(backend, services::backend_hints_node, !endpoint.hints->nodes.empty());
      set_bit(backend, services::backend_this_node, names(endpoint.hints->nodes, node_name_));
    }
  }
}

// Everybody behind the port, by address and port, the redirect's own pods included; none is chosen yet.
void ServiceCompiler::Impl::collect(const ServiceEntry& entry, const RecordPort& port,
                                    const std::vector<const PodEntry*>& pods,
                                    const std::vector<const PodEntry*>& redirect, PortState& state) {
  const auto from_pods = [&](const std::vector<const PodEntry*>& from, std::vector<Backend>& to) {
    for (const auto* pod : from) {
      const auto number = target_port(port, pod->record);
      const auto address = std::ranges::find(pod->record.addresses, state.family, &IpAddress::family);
      if (number == 0 || address == pod->record.addresses.end()) continue;
      auto& backend = to.emplace_back(backend_of(*pod, *address, number));
      if (!is_healthy(*address, number, port.protocol)) backend.bits &= ~services::backend_healthy;
    }
  };
  if (entry.slices != nullptr) {
    collect_slices(entry, port, state);
  } else {
    from_pods(pods, state.backends);
    for (auto& backend : state.backends) {
      backend.bits |= services::backend_ordinary;
      set_bit(backend, services::backend_ready, entry.record->publish_not_ready);
    }
  }
  remove_duplicates(state.backends);
  if (redirect.empty()) return;
  std::vector<Backend> own;
  from_pods(redirect, own);
  remove_duplicates(own);
  for (auto& backend : own) {
    set_bit(backend, services::backend_in_redirect,
            backend.has(services::backend_ready | services::backend_healthy) && backend.weight != 0);
    const auto same = std::ranges::find_if(state.backends, [&](const Backend& other) {
      return other.address == backend.address && other.port == backend.port;
    });
    if (same == state.backends.end())
      state.backends.push_back(std::move(backend));
    else
      same->bits |= backend.bits & services::backend_in_redirect;
  }
  std::ranges::sort(state.backends, {}, [](const Backend& backend) { return std::tie(backend.address, backend.port); });
}

// What stood behind it and is not heard of yet stays, with what is known of it.
void ServiceCompiler::Impl::keep_unheard(PortState& state, const PortState* previous) const {
  if (unheard_.empty() || previous == nullptr) return;
  const auto heard = [&](const Backend& old) {
    return std::ranges::any_of(state.backends, [&](const Backend& backend) {
      return backend.address == old.address && backend.port == old.port;
    });
  };
  std::vector<Backend> kept;
  for (const auto& old : previous->backends) {
    if (!unheard_.contains(old.address) || heard(old)) continue;
    auto& backend = kept.emplace_back(old);
    backend.bits = (old.bits & services::backend_ready) | services::backend_ordinary | services::backend_healthy |
                   locality(old.address, old.node);
  }
  if (kept.empty()) return;
  std::ranges::move(kept, std::back_inserter(state.backends));
  std::ranges::sort(state.backends, {}, [](const Backend& backend) { return std::tie(backend.address, backend.port); });
}

// Its cluster IPs tell the families; where there is no range for these, its other addresses do.
std::vector<Family> ServiceCompiler::Impl::families_of(const ServiceRecord& record,
                                                       const ServiceAssignment& held) const {
  std::set<Family> families;
  for (const auto& address : held.cluster_ips) families.insert(address.family());
  if (families.empty() && options_.cluster_cidrs.empty()) {
    if (record.asks_v4) families.insert(Family::v4);
    if (record.asks_v6) families.insert(Family::v6);
    if (families.empty()) {
      for (const auto& address : held.load_balancer_ips) families.insert(address.family());
      if (record.extras != nullptr)
        for (const auto* addresses : {&record.extras->external_ips, &record.extras->ingress})
          for (const auto& address : *addresses) families.insert(address.family());
      if (!held.node_ports.empty()) families.insert(Family::v4);
    }
  }
  return {families.begin(), families.end()};
}

std::vector<Frontend> ServiceCompiler::Impl::frontends_of(const ServiceEntry& entry, const ServiceAssignment& held,
                                                          const RecordPort& port, Family family) const {
  std::vector<Frontend> frontends;
  std::set<std::pair<IpAddress, std::uint16_t>> seen;
  const auto add = [&](FrontendKind kind, const IpAddress& address, std::uint16_t number) {
    if (address.family() == family && number != 0 && seen.emplace(address, number).second)
      frontends.push_back({address, number, kind, false});
  };
  using Type = model::Service::Type;
  const auto& record = *entry.record;
  // Who writes a Service, or its status, must not have what is said to pods and other Services.
  const auto of_others = [&](const IpAddress& address) {
    return std::ranges::any_of(node_.withheld_ranges, [&](const Cidr& range) { return range.contains(address); });
  };
  for (const auto& address : held.cluster_ips) add(FrontendKind::cluster_ip, address, port.port);
  // An address that is both is the load balancer's: its source ranges hold.
  if (record.type == Type::load_balancer) {
    const bool given = record.extras != nullptr && record.extras->ingress_given;
    for (const auto& address : given ? record.extras->ingress : held.load_balancer_ips)
      if (!of_others(address)) add(FrontendKind::load_balancer, address, port.port);
  }
  if (record.extras != nullptr)
    for (const auto& address : record.extras->external_ips)
      if (!withheld_.contains(address) && !of_others(address)) add(FrontendKind::external_ip, address, port.port);
  const auto node_port = held.node_ports.find({port.port, port.protocol});
  if (node_port != held.node_ports.end() && (record.type == Type::node_port || record.type == Type::load_balancer))
    add(FrontendKind::node_port, family == Family::v4 ? IpAddress::v4(0) : IpAddress(), node_port->second);
  std::ranges::stable_sort(frontends, {}, &Frontend::kind);
  return frontends;
}

Result<void> ServiceCompiler::Impl::build_service(Transaction& transaction, ServiceEntry& entry, Plan& plan) {
  const auto& record = *entry.record;
  const auto held = entry.held.get();
  std::vector<const PodEntry*> pods;
  if (entry.slices == nullptr) pods = selected(entry.key, record.selector);
  std::vector<const PodEntry*> redirect;
  if (record.extras != nullptr) redirect = selected(entry.key, record.extras->redirect);
  std::erase_if(redirect, [](const PodEntry* pod) { return !pod->record.node.empty(); });
  std::set<IpAddress> local[2];
  bool redirected = false;
  for (const auto family : families_of(record, held))
    for (const auto& port : record.ports) {
      PortState state;
      state.frontends = frontends_of(entry, held, port, family);
      if (plan.extent == Extent::inside)
        std::erase_if(state.frontends, [](const auto& frontend) { return frontend.kind != FrontendKind::cluster_ip; });
      if (state.frontends.empty()) continue;
      state.port = port.port;
      state.protocol = port.protocol;
      state.family = family;
      state.name = port.name;
      state.algorithm = record.algorithm;
      state.forwarding = record.forwarding;
      state.affinity_seconds = record.affinity_seconds;
      state.internal_local = record.internal_local;
      state.external_local = record.external_local;
      if (record.extras != nullptr && state.frontends.back().kind == FrontendKind::load_balancer) {
        std::vector<Cidr> ranges;
        std::ranges::copy_if(record.extras->source_ranges, std::back_inserter(ranges),
                             [&](const Cidr& cidr) { return cidr.family() == family; });
        std::ranges::sort(ranges);
        ranges.erase(std::unique(ranges.begin(), ranges.end()), ranges.end());
        if (!ranges.empty()) state.source_ranges = std::make_unique<std::vector<Cidr>>(std::move(ranges));
      }
      std::vector<Run> runs;
      const auto* previous = previous_of(entry, state, transaction, runs);
      const bool less = plan.extent == Extent::known || plan.extent == Extent::bare;
      if (less && !keep_known(entry, previous, state)) continue;
      collect(entry, port, pods, redirect, state);
      if (entry.slices == nullptr) keep_unheard(state, previous);
      if (less) keep_known_backends(*previous, state);
      work_.backends += state.backends.size();
      const bool inside = state.frontends.front().kind == FrontendKind::cluster_ip;
      const bool outside = state.frontends.back().kind != FrontendKind::cluster_ip;
      services::choose_endpoints(state.backends, outside || !record.internal_local,
                                 (inside && record.internal_local) || (outside && record.external_local));
      for (const auto& backend : state.backends) {
        redirected = redirected || backend.has(services::backend_in_redirect);
        if (backend.has(services::backend_local | services::backend_ordinary) && services::is_usable(backend))
          local[family == Family::v6].insert(backend.address);
      }
      if (plan.measured) {
        measure(entry, state, record.table_size);
        plan.ports.push_back(std::move(state));
        continue;
      }
      WEFT_CHECK(identify(transaction, entry, state, previous));
      if (plan.extent != Extent::bare) WEFT_CHECK(place(transaction, entry, state, previous, runs, record.table_size));
      state.backends.shrink_to_fit();
      state.frontends.shrink_to_fit();
      plan.ports.push_back(std::move(state));
    }
  plan.ports.shrink_to_fit();
  plan.local_ready = static_cast<std::uint32_t>(std::max(local[0].size(), local[1].size()));
  if (redirected)
    for (const auto* pod : redirect) plan.redirect_pods.push_back(pod->key.name);
  return {};
}

Result<void> ServiceCompiler::Impl::build_host_ports(Transaction& transaction, PodEntry& pod, Plan& plan) {
  for (const auto& host_port : pod.record.host_ports)
    for (const auto& address : pod.record.addresses) {
      const auto family = address.family();
      if (host_port.host_port == 0 || (host_port.host_ip && host_port.host_ip->family() != family)) continue;
      PortState state;
      state.port = host_port.host_port;
      state.container_port = host_port.container_port;
      state.protocol = host_port.protocol;
      state.family = family;
      const auto any = family == Family::v4 ? IpAddress::v4(0) : IpAddress();
      const Frontend frontend{host_port.host_ip.value_or(any), host_port.host_port, FrontendKind::host_port, false};
      const auto same =
          std::ranges::find_if(plan.ports, [&](const PortState& other) { return other.same_port(state); });
      if (same != plan.ports.end()) {
        if (std::ranges::find(same->frontends, frontend) == same->frontends.end()) same->frontends.push_back(frontend);
        continue;
      }
      state.frontends.push_back(frontend);
      // As a port mapping does: it leads to the pod whatever the pod says of itself.
      auto backend = backend_of(pod, address, host_port.container_port);
      backend.bits |= services::backend_ordinary | services::backend_in_cluster;
      state.backends.push_back(std::move(backend));
      plan.ports.push_back(std::move(state));
    }
  for (auto& state : plan.ports) {
    if (plan.measured) {
      measure(pod, state, 0);
      continue;
    }
    std::vector<Run> runs;
    const auto* previous = previous_of(pod, state, transaction, runs);
    WEFT_CHECK(identify(transaction, pod, state, previous));
    WEFT_CHECK(place(transaction, pod, state, previous, runs, 0));
  }
  return {};
}

Result<void> ServiceCompiler::Impl::build_plan(Transaction& transaction, Owner& owner, Plan& plan) {
  if (plan.extent == Extent::none) return {};
  if (owner.is_pod) {
    auto& pod = static_cast<PodEntry&>(owner);
    if (pod.present) return build_host_ports(transaction, pod, plan);
  } else {
    auto& entry = static_cast<ServiceEntry&>(owner);
    if (entry.record != nullptr && entry.record->served) return build_service(transaction, entry, plan);
  }
  return {};
}

// With less of it where there is no room and it may be left out.
Result<void> ServiceCompiler::Impl::build(Transaction& transaction, Owner& owner) {
  if (!transaction.planned.try_emplace(&owner, transaction.plans.size()).second) return {};
  ++work_.owners;
  const auto left = transaction.left_out.find(&owner);
  auto extent = left == transaction.left_out.end() ? Extent::all : left->second.extent;
  if (extent == Extent::all && must_wait(transaction, owner)) {
    extent = less_than(extent, owner);
    const auto before = left_out_.find(&owner);
    auto room = before != left_out_.end()
                    ? NoRoom{extent, before->second.error, before->second.lacks}
                    : NoRoom{extent,
                             {ErrorCode::exhausted,
                              fmt::format("{} {}: its namespace has its share of the tables, and others found no room",
                                          owner.is_pod ? "pod" : "service", owner.key.to_string()),
                              "raise the sizes of the tables in the configuration, or delete Services"},
                             std::nullopt};
    transaction.left_out.emplace(&owner, std::move(room));
  }
  while (true) {
    const auto mark = mark_of(transaction);
    Plan plan;
    plan.owner = &owner;
    plan.extent = extent;
    auto built = build_plan(transaction, owner, plan);
    // It has nothing to keep, as one that is new at a start.
    if (built && extent == Extent::known && plan.ports.empty() && is_present(owner) && !owner.is_pod) {
      roll_back(transaction, mark);
      extent = transaction.left_out.at(&owner).extent = Extent::inside;
      continue;
    }
    if (built) {
      transaction.plans.push_back(std::move(plan));
      return {};
    }
    if (built.error().code != ErrorCode::exhausted || !may_leave_out(transaction, owner)) return built;
    roll_back(transaction, mark);
    extent = less_than(extent, owner);
    transaction.left_out.try_emplace(&owner, NoRoom{extent, std::move(built.error()), transaction.lacks})
        .first->second.extent = extent;
  }
}

}  // namespace weft::control
