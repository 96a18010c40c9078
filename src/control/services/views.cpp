// What is compiled, as others ask for it.
#include <arpa/inet.h>

#include <algorithm>
#include <cstring>
#include <string_view>

#include "control/services/impl.h"

namespace weft::control {

std::size_t ServiceKeyHash::operator()(const weft_service_key& key) const noexcept {
  return std::hash<std::string_view>{}({reinterpret_cast<const char*>(&key), sizeof key});
}

bool ServiceKeyEqual::operator()(const weft_service_key& a, const weft_service_key& b) const noexcept {
  return std::memcmp(&a, &b, sizeof a) == 0;
}

services::Owner* ServiceCompiler::Impl::owner_by_id(std::uint32_t service_id) const {
  return service_id < owner_of_service_.size() ? owner_of_service_[service_id] : nullptr;
}

const services::PortState* ServiceCompiler::Impl::state_of(std::uint32_t service_id) const {
  const auto* owner = owner_by_id(service_id);
  if (owner == nullptr) return nullptr;
  const auto found = std::ranges::find(owner->ports, service_id, &PortState::id);
  return found == owner->ports.end() ? nullptr : &*found;
}

ServicePort ServiceCompiler::Impl::view_of(const Owner& owner, const PortState& state) const {
  ServicePort view;
  view.id = state.id;
  view.service = owner.key.object();
  if (!owner.is_pod) {
    const auto& record = static_cast<const ServiceEntry&>(owner).record;
    view.type = record == nullptr ? model::Service::Type::cluster_ip : record->type;
  }
  view.external_local = state.external_local;
  view.internal_local = state.internal_local;
  view.port_name = state.name.str();
  view.family = state.family;
  view.protocol = state.protocol;
  view.port = state.port;
  bool inside = false;
  bool outside = false;
  for (const auto& frontend : state.frontends) {
    if (!frontend.won) continue;
    if (view.frontends.empty()) view.row = row_of(state, frontend.kind);
    view.frontends.push_back({frontend.kind, frontend.address, frontend.port});
    (frontend.kind == FrontendKind::cluster_ip ? inside : outside) = true;
  }
  if (view.frontends.empty()) view.row = row_of(state, state.frontends.front().kind);
  const auto ordinary = state.internal_local ? services::backend_in_local : services::backend_in_cluster;
  const auto from_outside = state.external_local ? services::backend_in_local : services::backend_in_cluster;
  for (const auto& backend : state.backends) {
    auto& added = view.backends.emplace_back();
    added.id = backend.id;
    added.address = backend.address;
    added.port = backend.port;
    if (!backend.pod.empty()) added.pod = {owner.key.namespace_.str(), backend.pod.str()};
    added.node = backend.node.str();
    added.ready = backend.has(services::backend_ready);
    added.serving = backend.has(services::backend_serving);
    added.terminating = backend.has(services::backend_terminating);
    added.local = backend.has(services::backend_local);
    added.healthy = backend.has(services::backend_healthy);
    added.internal = (inside && backend.has(state.redirect.count != 0 ? services::backend_in_redirect : ordinary)) ||
                     (outside && backend.has(services::backend_in_cluster));
    added.external = outside && backend.has(from_outside);
    added.weight = backend.weight;
  }
  std::ranges::sort(view.backends, {}, &ServiceBackend::id);
  return view;
}

const ServicePort* ServiceCompiler::Impl::by_id(std::uint32_t service_id) const {
  const auto* state = state_of(service_id);
  if (state == nullptr) return nullptr;
  auto& view = views_[service_id];
  if (view == nullptr) view = std::make_unique<ServicePort>(view_of(*owner_by_id(service_id), *state));
  return view.get();
}

const ServicePort* ServiceCompiler::Impl::backend_owner(std::uint32_t backend_id) const {
  return backend_id < service_of_backend_.size() ? by_id(service_of_backend_[backend_id]) : nullptr;
}

std::vector<const ServicePort*> ServiceCompiler::Impl::ports_of(const model::ObjectKey& service) const {
  std::vector<const ServicePort*> result;
  if (const auto* entry = entry_of(service))
    for (const auto& state : entry->ports) result.push_back(by_id(state.id));
  return result;
}

const ServicePort* ServiceCompiler::Impl::find(const IpAddress& address, std::uint16_t port, Protocol protocol) const {
  const auto look = [&](const IpAddress& at) -> const ServicePort* {
    const auto found = frontends_.find(services::key_of({at, port, FrontendKind::cluster_ip, true}, protocol));
    return found == frontends_.end() ? nullptr : by_id(found->second);
  };
  if (const auto* exact = look(address)) return exact;
  if (!address.is_loopback() && !node_addresses_.contains(address)) return nullptr;
  return look(address.is_v4() ? IpAddress::v4(0) : IpAddress());
}

void ServiceCompiler::Impl::for_each(const std::function<void(const ServicePort&)>& visit) const {
  for (std::uint32_t id = 0; id < owner_of_service_.size(); ++id)
    if (const auto* state = state_of(id)) visit(view_of(*owner_of_service_[id], *state));
}

std::vector<model::ObjectKey> ServiceCompiler::Impl::slices_of(const model::ObjectKey& service) const {
  std::vector<model::ObjectKey> keys;
  if (const auto* entry = entry_of(service))
    for (const auto* node = entry->slices; node != nullptr; node = node->second.next)
      keys.push_back(node->first.object());
  return keys;
}

std::vector<std::uint32_t> ServiceCompiler::Impl::run(std::uint32_t first, std::uint32_t count) const {
  if (first > slots_.size() || count > slots_.size() - first) return {};
  return {slots_.begin() + first, slots_.begin() + first + count};
}

std::vector<ServiceCompiler::Shadowed> ServiceCompiler::Impl::shadowed() const {
  std::vector<Shadowed> result;
  for (const auto& [key, ids] : waiting_)
    for (const auto id : ids) {
      const auto* state = state_of(id);
      if (state == nullptr) continue;
      for (const auto& frontend : state->frontends)
        if (ServiceKeyEqual()(key_of(frontend, state->protocol), key))
          result.push_back({owner_by_id(id)->key.object(),
                            {frontend.kind, frontend.address, frontend.port},
                            state->protocol,
                            owner_by_id(frontends_.at(key))->key.object()});
    }
  return result;
}

ServiceCompiler::Usage ServiceCompiler::Impl::usage() const {
  return {service_ids_.used(), static_cast<std::uint32_t>(frontends_.size()), backend_ids_.used(),
          slot_space_.total() - slot_space_.free(), source_ranges_};
}

}  // namespace weft::control
