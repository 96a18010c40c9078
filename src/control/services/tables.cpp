// What the compiler is told, and which Services and host ports depend on it.
#include <algorithm>
#include <utility>

#include "control/services/impl.h"

namespace weft::control {

using services::hash_of;
using services::Labels;
using services::Name;

namespace {
constexpr std::string_view service_name_label = "kubernetes.io/service-name";
// Looking for a rare label of a selector stops at this many.
constexpr unsigned many = 16;

using NodePorts = std::map<std::pair<std::uint16_t, Protocol>, std::uint16_t>;

// The node ports as they are held, by the numbers the ports have now: as with Kubernetes a port keeps its node port
// while it has its name, else while it has its number.
NodePorts follow_names(const NodePorts& held, const services::ServiceRecord& before, const model::Service& now) {
  if (held.empty()) return held;
  NodePorts result;
  for (const auto& port : now.ports) {
    const auto named = [&](const services::RecordPort& known) {
      return known.name.text() == port.name && known.protocol == port.protocol;
    };
    const auto known_by_name = [&](const services::RecordPort& known) {
      return std::ranges::any_of(now.ports, [&](const model::ServicePort& other) {
        return known.name.text() == other.name && known.protocol == other.protocol;
      });
    };
    auto old = std::ranges::find_if(before.ports, named);
    if (old == before.ports.end())
      old = std::ranges::find_if(before.ports, [&](const services::RecordPort& known) {
        return known.port == port.port && known.protocol == port.protocol && !known_by_name(known);
      });
    if (old == before.ports.end()) continue;
    auto node_port = held.find({old->port, old->protocol});
    if (node_port == held.end()) node_port = held.find({port.port, port.protocol});  // it follows already
    if (node_port != held.end()) result[{port.port, port.protocol}] = node_port->second;
  }
  return result;
}

}  // namespace

ServiceCompiler::Impl::Impl(ServiceOptions options, ServiceAssignments restored)
    : options_(std::move(options)),
      assigner_(options_),
      service_ids_(options_.max_services),
      backend_ids_(options_.max_backends),
      slot_space_(options_.max_slots),
      port_words_(options_.lb_port_min, options_.lb_port_max) {
  for (auto& [key, assignment] : restored) {
    if (assignment.empty()) continue;
    auto& entry = entry_of(intern(key));
    assigner_.replace(entry.key, {}, assignment);
    entry.held.set(std::move(assignment));
  }
}

services::Key ServiceCompiler::Impl::intern(const model::ObjectKey& key) {
  return {names_.intern(key.namespace_), names_.intern(key.name)};
}

std::optional<services::Key> ServiceCompiler::Impl::find_key(const model::ObjectKey& key) const {
  auto namespace_ = names_.find(key.namespace_);
  auto name = names_.find(key.name);
  if (!namespace_ || !name) return std::nullopt;
  return Key{std::move(*namespace_), std::move(*name)};
}

services::ServiceEntry& ServiceCompiler::Impl::entry_of(const Key& key) {
  const auto [found, is_new] = services_.try_emplace(key);
  auto& entry = found->second;
  if (!is_new) return entry;
  entry.key = key;
  if (free_service_indexes_.empty()) {
    entry.index = static_cast<std::uint32_t>(services_by_index_.size());
    services_by_index_.push_back(&entry);
  } else {
    entry.index = free_service_indexes_.back();
    free_service_indexes_.pop_back();
    services_by_index_[entry.index] = &entry;
  }
  return entry;
}

const services::ServiceEntry* ServiceCompiler::Impl::entry_of(const model::ObjectKey& key) const {
  const auto known = find_key(key);
  if (!known) return nullptr;
  const auto found = services_.find(*known);
  return found == services_.end() ? nullptr : &found->second;
}

void ServiceCompiler::Impl::touch(Owner& owner) {
  if (owner.dirty) return;
  owner.dirty = true;
  dirty_.push_back(&owner);
}

// By what it says itself: it is left out no longer without somebody being told.
void ServiceCompiler::Impl::touch_changed(Owner& owner) {
  if (const auto left = left_out_.find(&owner); left != left_out_.end()) left->second.changed = true;
  touch(owner);
}

void ServiceCompiler::Impl::touch_address(const IpAddress& address) {
  services_by_address_.visit(hash_of(address), [&](std::uint32_t index) {
    touch(*services_by_index_[index]);
    return true;
  });
  const auto [first, last] = pods_by_address_.equal_range(address);
  for (auto at = first; at != last; ++at) {
    auto& pod = *at->second;
    if (!pod.record.host_ports.empty()) touch(pod);
    touch_selecting(pod.key, pod.record.labels);
  }
}

// The Services whose selector, or whose redirect, selects these labels.
void ServiceCompiler::Impl::touch_selecting(const Key& pod, const Labels& labels) {
  for (const auto& pair : labels)
    services_by_label_.visit(hash_of(pod.namespace_, pair), [&](std::uint32_t index) {
      auto& entry = *services_by_index_[index];
      if (entry.record == nullptr || !(entry.key.namespace_ == pod.namespace_)) return true;
      const auto& record = *entry.record;
      if ((entry.slices == nullptr && selects(record.selector, labels)) ||
          (record.extras != nullptr && selects(record.extras->redirect, labels)))
        touch(entry);
      return true;
    });
}

bool ServiceCompiler::Impl::any_selects(const std::string& namespace_, const LabelMap& labels) {
  const auto space = names_.intern(namespace_);
  const auto pairs = services::intern(names_, labels);
  bool selected = false;
  for (const auto& pair : pairs)
    services_by_label_.visit(hash_of(space, pair), [&](std::uint32_t index) {
      const auto& entry = *services_by_index_[index];
      if (entry.record == nullptr || !(entry.key.namespace_ == space)) return true;
      const auto& record = *entry.record;
      selected = services::selects(record.selector, pairs) ||
                 (record.extras != nullptr && services::selects(record.extras->redirect, pairs));
      return !selected;
    });
  return selected;
}

// --- Assignments ----------------------------------------------------------------------------------

void ServiceCompiler::Impl::remember_assignment(ServiceEntry& entry, const ServiceAssignment& assignment) {
  entry.held.set(assignment);
  touch_changed(entry);
}

std::vector<IpAddress> ServiceCompiler::Impl::own_status(const model::Service& service) {
  return service.ingress.empty() ? std::vector<IpAddress>() : assigner_.own_status(service, intern(service.meta.key()));
}

Result<ServiceAssignment> ServiceCompiler::Impl::assign(const model::Service& service,
                                                        const std::vector<IpAddress>& preferred) {
  auto& entry = entry_of(intern(service.meta.key()));
  const auto held = entry.held.get();
  ServiceAssignment keep;
  keep.load_balancer_ips = preferred;
  keep.node_ports = entry.record == nullptr ? held.node_ports : follow_names(held.node_ports, *entry.record, service);
  auto assignment = assigner_.assign(service, entry.key, held, keep);
  if (!assignment) {
    touch(entry);  // it may be an empty one
    return assignment;
  }
  if (*assignment != held || entry.record == nullptr) remember_assignment(entry, *assignment);
  return assignment;
}

void ServiceCompiler::Impl::speak_for(const std::vector<const model::Service*>& services) {
  std::unordered_set<IpAddress> addresses;
  std::unordered_set<std::uint16_t> ports;
  for (const auto* service : services) {
    addresses.insert(service->cluster_ips.begin(), service->cluster_ips.end());
    addresses.insert(service->load_balancer_ips.begin(), service->load_balancer_ips.end());
    if (service->health_check_node_port != 0) ports.insert(service->health_check_node_port);
    for (const auto& port : service->ports)
      if (port.node_port != 0) ports.insert(port.node_port);
  }
  assigner_.speak_for(addresses, ports);
}

void ServiceCompiler::Impl::forget(const model::ObjectKey& service) {
  const auto key = find_key(service);
  const auto found = key ? services_.find(*key) : services_.end();
  if (found == services_.end()) return;
  assigner_.forget(*key, found->second.held.get());
  remember_assignment(found->second, {});
}

void ServiceCompiler::Impl::restore(const model::ObjectKey& service, const ServiceAssignment& assignment) {
  auto& entry = entry_of(intern(service));
  assigner_.replace(entry.key, entry.held.get(), assignment);
  assigner_.undo_wish(entry.key, assignment);
  remember_assignment(entry, assignment);
}

ServiceAssignment ServiceCompiler::Impl::held(const model::ObjectKey& service) const {
  const auto* entry = entry_of(service);
  return entry == nullptr ? ServiceAssignment() : entry->held.get();
}

const ServiceAssignments& ServiceCompiler::Impl::assignments() const {
  assignments_.clear();
  for (const auto& [key, entry] : services_)
    if (!entry.held.empty()) assignments_.emplace(key.object(), entry.held.get());
  return assignments_;
}

std::string ServiceCompiler::Impl::pending_reason(const model::ObjectKey& service) const {
  const auto key = find_key(service);
  return key ? assigner_.pending_reason(*key) : std::string();
}

std::map<model::ObjectKey, std::string> ServiceCompiler::Impl::pending() const {
  std::map<model::ObjectKey, std::string> reasons;
  for (const auto& [key, reason] : assigner_.pending()) reasons.emplace(key.object(), reason);
  return reasons;
}

void ServiceCompiler::Impl::keep_waiting(const model::ObjectKey& service, const ServiceAssignment& assignment,
                                         const std::string& reason) {
  restore(service, assignment);
  assigner_.set_pending_reason(intern(service), reason);
}

std::vector<ServiceCompiler::Impl::Reassigned> ServiceCompiler::Impl::reassign() {
  std::vector<Reassigned> changed;
  for (const auto& key : assigner_.candidates()) {
    auto& entry = entry_of(key);
    auto held = entry.held.get();
    const auto next = assigner_.reassign(key, held);
    if (next == held) continue;
    remember_assignment(entry, next);
    changed.push_back({key.object(), std::move(held)});
  }
  return changed;
}

std::vector<model::ObjectKey> ServiceCompiler::Impl::assign_pending() {
  std::vector<model::ObjectKey> changed;
  for (auto& one : reassign()) changed.push_back(std::move(one.service));
  return changed;
}

ServiceAssignments ServiceCompiler::Impl::plan_pending() {
  const auto changed = reassign();
  ServiceAssignments planned;
  for (const auto& one : changed) planned.emplace(one.service, held(one.service));
  for (const auto& one : changed) restore(one.service, one.before);
  return planned;
}

// --- Services and slices --------------------------------------------------------------------------

// Under the pair fewest others are filed under, as far as that is soon found out.
services::HashIndex::Handle ServiceCompiler::Impl::file_selector(ServiceEntry& entry, const Labels& selector) {
  if (selector.empty()) return services::HashIndex::none;
  std::uint32_t best = 0;
  unsigned fewest = many + 1;
  for (const auto& pair : selector) {
    const auto hash = hash_of(entry.key.namespace_, pair);
    const auto count = services_by_label_.count(hash, many);
    if (count >= fewest) continue;
    fewest = count;
    best = hash;
  }
  return services_by_label_.insert(best, entry.index);
}

void ServiceCompiler::Impl::index_selectors(ServiceEntry& entry) {
  services_by_label_.erase(std::exchange(entry.by_selector, services::HashIndex::none));
  services_by_label_.erase(std::exchange(entry.by_redirect, services::HashIndex::none));
  if (entry.record == nullptr) return;
  entry.by_selector = file_selector(entry, entry.record->selector);
  if (entry.record->extras != nullptr) entry.by_redirect = file_selector(entry, entry.record->extras->redirect);
}

void ServiceCompiler::Impl::upsert(const model::Service& service) {
  auto& entry = entry_of(intern(service.meta.key()));
  assigner_.know(service, entry.key, entry.held.get());
  auto record = record_of(names_, service, options_);
  if (entry.record != nullptr && *entry.record == record) return;
  entry.record = std::make_unique<ServiceRecord>(std::move(record));
  index_selectors(entry);
  touch_changed(entry);
}

void ServiceCompiler::Impl::erase_service(const model::ObjectKey& key) {
  const auto known = find_key(key);
  const auto found = known ? services_.find(*known) : services_.end();
  if (found == services_.end() || found->second.record == nullptr) return;
  found->second.record.reset();
  index_selectors(found->second);
  touch_changed(found->second);
}

void ServiceCompiler::Impl::detach(SliceNode& node) {
  auto& [key, slice] = node;
  for (auto& endpoint : slice.endpoints)
    services_by_address_.erase(std::exchange(endpoint.by_address, services::HashIndex::none));
  auto& entry = entry_of(Key{key.namespace_, slice.service});
  auto** link = &entry.slices;
  while (*link != &node) link = &(*link)->second.next;
  *link = slice.next;
  touch_changed(entry);
}

void ServiceCompiler::Impl::upsert(const model::EndpointSlice& slice) {
  const auto label = slice.meta.labels.find(std::string(service_name_label));
  if (label == slice.meta.labels.end() || label->second.empty()) return drop_slice(slice.meta.key());
  auto record = record_of(names_, slice, names_.intern(label->second));
  const auto [found, is_new] = slices_.try_emplace(intern(slice.meta.key()));
  auto& known = found->second;
  if (!is_new) {
    if (known == record) return;
    detach(*found);
  }
  known = std::move(record);
  auto& entry = entry_of(Key{found->first.namespace_, known.service});
  for (auto& endpoint : known.endpoints)
    endpoint.by_address = services_by_address_.insert(hash_of(endpoint.address), entry.index);
  known.next = std::exchange(entry.slices, &*found);
  touch_changed(entry);
}

void ServiceCompiler::Impl::drop_slice(const model::ObjectKey& key) {
  const auto known = find_key(key);
  const auto found = known ? slices_.find(*known) : slices_.end();
  if (found == slices_.end()) return;
  detach(*found);
  slices_.erase(found);
}

void ServiceCompiler::Impl::erase_slice(const model::ObjectKey& key) { drop_slice(key); }

// --- Pods, the node, health -----------------------------------------------------------------------

void ServiceCompiler::Impl::index_pod(PodEntry& pod) {
  for (const auto& pair : pod.record.labels)
    pod.by_label.push_back(pods_by_label_.insert(hash_of(pod.key.namespace_, pair), pod.index));
  for (const auto& address : pod.record.addresses) pods_by_address_.emplace(address, &pod);
  touch_selecting(pod.key, pod.record.labels);
}

void ServiceCompiler::Impl::unindex_pod(PodEntry& pod) {
  touch_selecting(pod.key, pod.record.labels);
  for (const auto handle : pod.by_label) pods_by_label_.erase(handle);
  pod.by_label.clear();
  for (const auto& address : pod.record.addresses) {
    const auto [first, last] = pods_by_address_.equal_range(address);
    const auto at = std::find_if(first, last, [&](const auto& item) { return item.second == &pod; });
    if (at != last) pods_by_address_.erase(at);
  }
}

void ServiceCompiler::Impl::upsert(const ServicePod& pod) {
  auto record = record_of(names_, pod);
  const auto [found, is_new] = pods_.try_emplace(intern(pod.key));
  auto& entry = found->second;
  if (is_new) {
    entry.key = found->first;
    entry.is_pod = true;
    if (free_pod_indexes_.empty()) {
      entry.index = static_cast<std::uint32_t>(pods_by_index_.size());
      pods_by_index_.push_back(nullptr);
    } else {
      entry.index = free_pod_indexes_.back();
      free_pod_indexes_.pop_back();
    }
    pods_by_index_[entry.index] = &entry;
  } else if (entry.present && entry.record == record) {
    return;
  }
  const auto before = entry.present ? entry.record.addresses : std::vector<IpAddress>();
  if (entry.present) unindex_pod(entry);
  if (!entry.record.host_ports.empty() || !record.host_ports.empty()) touch(entry);
  entry.record = std::move(record);
  entry.present = true;
  index_pod(entry);
  if (before == entry.record.addresses) return;
  // Endpoints of slices at these addresses are local now, or no more.
  for (const auto& address : before) touch_address(address);
  for (const auto& address : entry.record.addresses) touch_address(address);
}

void ServiceCompiler::Impl::erase_pod(const model::ObjectKey& key) {
  const auto known = find_key(key);
  const auto found = known ? pods_.find(*known) : pods_.end();
  if (found == pods_.end() || !found->second.present) return;
  auto& pod = found->second;
  unindex_pod(pod);
  const auto addresses = std::move(pod.record.addresses);
  pod.record = {};
  pod.present = false;
  touch(pod);
  for (const auto& address : addresses) touch_address(address);
}

void ServiceCompiler::Impl::set_node(const ServiceNode& node) {
  if (node == node_) return;
  const bool moved = node.name != node_.name || node.zone != node_.zone;
  const bool withholds =
      node.withheld != node_.withheld || node.withheld_ranges != node_.withheld_ranges || node.taken != node_.taken;
  std::unordered_set<IpAddress> addresses(node.addresses.begin(), node.addresses.end());
  for (const auto& address : addresses)
    if (!node_addresses_.contains(address)) touch_address(address);
  for (const auto& address : node_addresses_)
    if (!addresses.contains(address)) touch_address(address);
  node_addresses_ = std::move(addresses);
  auto kept_out = node_addresses_;
  kept_out.insert(node.taken.begin(), node.taken.end());
  assigner_.keep_out(kept_out);
  node_name_ = names_.intern(node.name);
  zone_ = names_.intern(node.zone);
  withheld_ = {node.withheld.begin(), node.withheld.end()};
  withheld_.insert(node.taken.begin(), node.taken.end());
  node_ = node;
  if (!moved && !withholds) return;
  const auto has_external = [](const ServiceEntry& entry) {
    return entry.record != nullptr && entry.record->extras != nullptr &&
           !(entry.record->extras->external_ips.empty() && entry.record->extras->ingress.empty());
  };
  for (auto& [key, entry] : services_)
    if ((moved && entry.slices != nullptr) || (withholds && has_external(entry))) touch(entry);
}

void ServiceCompiler::Impl::set_unheard(std::unordered_set<IpAddress> addresses) {
  const auto of_before = std::exchange(unheard_, std::move(addresses));
  if (of_before.empty()) return;
  const auto kept = [&](const PortState& port) {
    return std::ranges::any_of(port.backends, [&](const auto& backend) { return of_before.contains(backend.address); });
  };
  for (auto* entry : services_by_index_)
    if (entry != nullptr && std::ranges::any_of(entry->ports, kept)) touch(*entry);
}

void ServiceCompiler::Impl::set_healthy(const IpAddress& address, std::uint16_t port, Protocol protocol, bool healthy) {
  if (healthy == is_healthy(address, port, protocol)) return;
  if (healthy) {
    auto& ports = unhealthy_.at(address);
    std::erase(ports, std::pair(port, protocol));
    if (ports.empty()) unhealthy_.erase(address);
  } else {
    unhealthy_[address].emplace_back(port, protocol);
  }
  touch_address(address);
}

}  // namespace weft::control
