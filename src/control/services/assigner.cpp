#include "control/services/assigner.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace weft::control::services {
namespace {

bool has_addresses(const model::Service& service) {
  return !service.headless && service.type != model::Service::Type::external_name;
}

}  // namespace

Assigner::Assigner(const ServiceOptions& options)
    : has_ranges_(!options.cluster_cidrs.empty()),
      unasked_(options.unasked),
      cluster_ips_(options.cluster_cidrs),
      node_ports_(options.node_port_min, options.node_port_max) {}

// The addresses stand under the sharing key of the wish, so they are filed anew with it.
void Assigner::set_wish(const Key& key, bool wanted, AddressWish wish, const std::vector<IpAddress>& held) {
  const auto* known = pools_.wish_of(key);
  if (wanted ? known != nullptr && *known == wish : known == nullptr) return;
  known_.try_emplace(key, known == nullptr ? std::nullopt : std::optional(*known));
  pools_.release(key, held);
  if (wanted)
    pools_.know(key, std::move(wish));
  else
    pools_.forget(key);
  pools_.claim(key, held);
}

std::vector<IpAddress> Assigner::own_status(const model::Service& service, const Key& key) const {
  auto asked = service;
  asked.ingress.clear();
  if (!has_addresses(asked) || !wants_pool_addresses(asked)) return {};
  const auto wish = address_wish(asked, {}, has_ranges_);
  std::vector<IpAddress> addresses;
  for (const auto& ingress : service.ingress) {
    if (ingress.proxy || !pools_.in_pool(key, wish, ingress.address)) return {};
    addresses.push_back(ingress.address);
  }
  return addresses;
}

Result<ServiceAssignment> Assigner::assign(const model::Service& service, const Key& key, const ServiceAssignment& held,
                                           const ServiceAssignment& keep) {
  ServiceAssignment chosen;
  AddressWish wish;
  std::string reason;
  const bool wanted = has_addresses(service) && wants_pool_addresses(service);
  if (has_addresses(service)) {
    WEFT_TRY(chosen.cluster_ips, cluster_ips_.choose(service, key, held.cluster_ips));
    auto ports_held = held;
    ports_held.node_ports = keep.node_ports;
    WEFT_CHECK(node_ports_.choose(service, key, ports_held, chosen));
    if (wanted) {
      wish = address_wish(service, chosen.cluster_ips, has_ranges_);
      const auto& had = held.load_balancer_ips.empty() ? keep.load_balancer_ips : held.load_balancer_ips;
      WEFT_TRY(chosen.load_balancer_ips, pools_.choose(key, wish, had, reason));
    }
  }
  set_wish(key, wanted, std::move(wish), held.load_balancer_ips);
  replace(key, held, chosen);
  if (wanted && chosen.load_balancer_ips.empty())
    pending_.insert_or_assign(key, reason);
  else
    pending_.erase(key);
  return chosen;
}

void Assigner::replace(const Key& key, const ServiceAssignment& held, const ServiceAssignment& assignment) {
  if (held.cluster_ips != assignment.cluster_ips) {
    cluster_ips_.release(key, held.cluster_ips);
    cluster_ips_.claim(key, assignment.cluster_ips);
  }
  if (held.node_ports != assignment.node_ports || held.health_check_port != assignment.health_check_port) {
    node_ports_.release(key, held);
    node_ports_.claim(key, assignment);
  }
  if (held.load_balancer_ips != assignment.load_balancer_ips) {
    pools_.release(key, held.load_balancer_ips);
    pools_.claim(key, assignment.load_balancer_ips);
  }
}

void Assigner::know(const model::Service& service, const Key& key, const ServiceAssignment& held) {
  const bool wanted = has_addresses(service) && wants_pool_addresses(service);
  set_wish(key, wanted, wanted ? address_wish(service, held.cluster_ips, has_ranges_) : AddressWish(),
           held.load_balancer_ips);
  if (wanted && held.load_balancer_ips.empty())
    pending_.try_emplace(key, unasked_);
  else
    pending_.erase(key);
  known_.erase(key);
}

void Assigner::undo_wish(const Key& key, const ServiceAssignment& held) {
  const auto before = known_.find(key);
  if (before != known_.end()) {
    auto wish = std::move(before->second);
    const bool wanted = wish.has_value();
    set_wish(key, wanted, wanted ? std::move(*wish) : AddressWish(), held.load_balancer_ips);
    known_.erase(key);
  }
  if (pools_.wish_of(key) != nullptr && held.load_balancer_ips.empty())
    pending_.try_emplace(key, unasked_);
  else
    pending_.erase(key);
}

void Assigner::forget(const Key& key, const ServiceAssignment& held) {
  set_wish(key, false, {}, held.load_balancer_ips);
  replace(key, held, {});
  pending_.erase(key);
}

void Assigner::upsert(const model::LoadBalancerPool& pool) {
  pools_.upsert(pool);
  pools_changed_ = true;
}

void Assigner::speak_for(const std::unordered_set<IpAddress>& addresses,
                         const std::unordered_set<std::uint16_t>& ports) {
  cluster_ips_.speak_for(addresses);
  pools_.speak_for(addresses);
  node_ports_.speak_for(ports);
}

void Assigner::erase_pool(const std::string& name) {
  pools_.erase(name);
  pools_changed_ = true;
}

std::vector<Key> Assigner::candidates() {
  std::vector<Key> keys;
  if (std::exchange(pools_changed_, false))
    for (const auto& [key, wish] : pools_.wishes()) keys.push_back(key);
  else
    for (const auto& [key, reason] : pending_) keys.push_back(key);
  // Those who have addresses first: they keep them if they may.
  std::ranges::sort(keys, [&](const Key& a, const Key& b) {
    return std::tuple(pending_.contains(a), a.namespace_.text(), a.name.text()) <
           std::tuple(pending_.contains(b), b.namespace_.text(), b.name.text());
  });
  return keys;
}

ServiceAssignment Assigner::reassign(const Key& key, const ServiceAssignment& held) {
  const auto* wish = pools_.wish_of(key);
  if (wish == nullptr) return held;
  auto next = held;
  std::string reason;
  auto chosen = pools_.choose(key, *wish, held.load_balancer_ips, reason);
  next.load_balancer_ips = chosen ? std::move(*chosen) : std::vector<IpAddress>();
  if (!chosen) reason = chosen.error().message;
  replace(key, held, next);
  if (next.load_balancer_ips.empty())
    pending_.insert_or_assign(key, reason);
  else
    pending_.erase(key);
  return next;
}

void Assigner::set_pending_reason(const Key& key, std::string reason) {
  if (const auto found = pending_.find(key); found != pending_.end()) found->second = std::move(reason);
}

std::string Assigner::pending_reason(const Key& key) const {
  const auto found = pending_.find(key);
  return found == pending_.end() ? std::string() : found->second;
}

}  // namespace weft::control::services
