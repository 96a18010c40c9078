#include "control/services/address_pools.h"

#include <fmt/format.h>

#include <algorithm>

namespace weft::control::services {
namespace {

bool contains(const model::LoadBalancerPool& pool, const IpAddress& address) {
  return std::ranges::any_of(pool.ranges, [&](const model::AddressRange& range) {
    return range.first.family() == address.family() && range.first <= address && address <= range.last;
  });
}

bool has_family(const model::LoadBalancerPool& pool, Family family) {
  return std::ranges::any_of(pool.ranges,
                             [&](const model::AddressRange& range) { return range.first.family() == family; });
}

}  // namespace

bool wants_pool_addresses(const model::Service& service) {
  return service.type == model::Service::Type::load_balancer && service.ingress.empty() && service.proxy_name.empty() &&
         (service.load_balancer_class.empty() || service.load_balancer_class == "weft.io/load-balancer");
}

AddressWish address_wish(const model::Service& service, const std::vector<IpAddress>& cluster_ips, bool ranges) {
  AddressWish wish;
  wish.labels = service.meta.labels;
  wish.requested = service.load_balancer_ips;
  wish.sharing_key = service.sharing_key;
  wish.external_local = service.external_local;
  for (const auto& port : service.ports) wish.ports.emplace_back(port.port, port.protocol);
  for (const auto& address : cluster_ips) wish.families.push_back(address.family());
  if (wish.families.empty()) wish.families = service.families;
  if (wish.families.empty()) wish.families.push_back(Family::v4);
  const bool dual = service.family_policy != model::Service::FamilyPolicy::single_stack;
  if (!ranges && dual && wish.families.size() == 1)
    wish.families.push_back(wish.families[0] == Family::v4 ? Family::v6 : Family::v4);
  return wish;
}

void AddressPools::upsert(const model::LoadBalancerPool& pool) { pools_.insert_or_assign(pool.meta.name, pool); }
void AddressPools::keep_out(const std::unordered_set<IpAddress>& addresses) {
  kept_out_ = {addresses.begin(), addresses.end()};
  lowest_free_.clear();
}
void AddressPools::speak_for(std::unordered_set<IpAddress> addresses) {
  if (addresses.empty() && spoken_for_.empty()) return;
  spoken_for_ = std::move(addresses);
  lowest_free_.clear();  // what was passed over is free again
}
void AddressPools::erase(const std::string& name) { pools_.erase(name); }

bool AddressPools::serves(const model::LoadBalancerPool& pool, const Key& service, const AddressWish& wish) {
  if (!pool.namespaces.empty() &&
      std::ranges::find(pool.namespaces, service.namespace_.text()) == pool.namespaces.end())
    return false;
  return !pool.service_selector || pool.service_selector->matches(wish.labels);
}

bool AddressPools::in_pool(const Key& service, const AddressWish& wish, const IpAddress& address) const {
  return std::ranges::any_of(pools_, [&](const auto& entry) {
    return contains(entry.second, address) && serves(entry.second, service, wish);
  });
}

const Key* AddressPools::conflict(const Key& service, const AddressWish& wish, const IpAddress& address) const {
  const auto users = users_.find(address);
  if (users == users_.end()) return nullptr;
  for (const auto& user : users->second) {
    if (user == service) continue;
    const auto* other = wish_of(user);
    const bool agree = other != nullptr && user.namespace_ == service.namespace_ && !wish.sharing_key.empty() &&
                       wish.sharing_key == other->sharing_key && wish.external_local == other->external_local;
    const auto is_taken = [&](const auto& port) { return std::ranges::find(other->ports, port) != other->ports.end(); };
    if (!agree || std::ranges::any_of(wish.ports, is_taken)) return &user;
  }
  return nullptr;
}

const IpAddress* AddressPools::shared(const Key& service, const AddressWish& wish, Family family) const {
  if (wish.sharing_key.empty()) return nullptr;
  const auto group = sharers_.find(wish.sharing_key);
  if (group == sharers_.end()) return nullptr;
  const IpAddress* lowest = nullptr;
  for (const auto& [user, address] : group->second)
    if (address.family() == family && (lowest == nullptr || address < *lowest) && may_have(service, wish, address))
      lowest = &address;
  return lowest;
}

// Adds a free address of the family to `chosen`, or says why not.
std::string AddressPools::search(const Key& service, const AddressWish& wish, Family family,
                                 std::vector<IpAddress>& chosen) const {
  const auto* name = family == Family::v4 ? "IPv4" : "IPv6";
  std::string full;
  bool manual = false;
  for (const auto& [pool_name, pool] : pools_) {
    if (!has_family(pool, family) || !serves(pool, service, wish)) continue;
    if (!pool.auto_assign) {
      manual = true;
      continue;
    }
    for (const auto& range : pool.ranges) {
      if (range.first.family() != family) continue;
      // The taken ones are sorted: the first that does not follow its predecessor leaves a gap.
      auto& candidate = lowest_free_.try_emplace({range.first, range.last}, range.first).first->second;
      for (auto user = users_.lower_bound(candidate); candidate <= range.last; candidate = candidate.plus(1)) {
        if (user != users_.end() && user->first == candidate)
          ++user;
        else if (!kept_out_.contains(candidate) && !spoken_for_.contains(candidate))
          break;
      }
      if (candidate > range.last) continue;
      chosen.push_back(candidate);
      return {};
    }
    full += (full.empty() ? "" : ", ") + pool_name;
  }
  if (!full.empty()) return fmt::format("every {} address of LoadBalancerPool {} is taken", name, full);
  if (manual) return fmt::format("the LoadBalancerPools for it give {} addresses only on request", name);
  return fmt::format("no LoadBalancerPool has {} addresses for it", name);
}

Result<std::vector<IpAddress>> AddressPools::choose(const Key& service, const AddressWish& wish,
                                                    const std::vector<IpAddress>& held, std::string& reason) const {
  std::vector<IpAddress> chosen;
  for (const auto& address : wish.requested) {
    if (!in_pool(service, wish, address))
      return fail(ErrorCode::invalid,
                  fmt::format("spec.loadBalancerIP: service {}: load balancer address {} is in no LoadBalancerPool for "
                              "it",
                              service.to_string(), address.to_string()),
                  "apply a LoadBalancerPool with that address, or ask for another");
    if (const auto* owner = conflict(service, wish, address))
      return fail(ErrorCode::exists,
                  fmt::format("spec.loadBalancerIP: service {}: load balancer address {} belongs to service {}",
                              service.to_string(), address.to_string(), owner->to_string()),
                  "to share it both need the same weft.io/sharing-key and externalTrafficPolicy, and different ports");
    chosen.push_back(address);
  }
  if (!chosen.empty()) return chosen;
  std::string reasons;
  for (const auto family : wish.families) {
    const auto present = std::ranges::find(held, family, &IpAddress::family);
    if (present != held.end() && may_have(service, wish, *present)) {
      chosen.push_back(*present);
    } else if (const auto* other = shared(service, wish, family)) {
      chosen.push_back(*other);
    } else if (const auto why = search(service, wish, family, chosen); !why.empty()) {
      reasons += (reasons.empty() ? "" : "; ") + why;
    }
  }
  if (chosen.empty()) reason = reasons.empty() ? "it has no address family" : reasons;
  return chosen;
}

void AddressPools::claim(const Key& service, const std::vector<IpAddress>& addresses) {
  const auto* wish = wish_of(service);
  for (const auto& address : addresses) {
    auto& users = users_[address];
    if (std::ranges::find(users, service) == users.end()) users.push_back(service);
    if (wish == nullptr || wish->sharing_key.empty()) continue;
    auto& group = sharers_[wish->sharing_key];
    const std::pair entry(service, address);
    if (std::ranges::find(group, entry) == group.end()) group.push_back(entry);
  }
}

void AddressPools::release(const Key& service, const std::vector<IpAddress>& addresses) {
  const auto* wish = wish_of(service);
  for (const auto& address : addresses) {
    const auto users = users_.find(address);
    if (users != users_.end()) {
      std::erase(users->second, service);
      if (users->second.empty()) {
        users_.erase(users);
        for (auto& [range, lowest] : lowest_free_)
          if (range.first <= address && address < lowest) lowest = address;
      }
    }
    if (wish == nullptr || wish->sharing_key.empty()) continue;
    const auto group = sharers_.find(wish->sharing_key);
    if (group == sharers_.end()) continue;
    std::erase(group->second, std::pair(service, address));
    if (group->second.empty()) sharers_.erase(group);
  }
}

void AddressPools::know(const Key& service, AddressWish wish) { wishes_.insert_or_assign(service, std::move(wish)); }

void AddressPools::forget(const Key& service) { wishes_.erase(service); }

const AddressWish* AddressPools::wish_of(const Key& service) const {
  const auto found = wishes_.find(service);
  return found == wishes_.end() ? nullptr : &found->second;
}

}  // namespace weft::control::services
