// Addresses of LoadBalancer Services out of LoadBalancerPools (LB-IPAM).
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "control/services/names.h"
#include "model/objects.h"

namespace weft::control::services {

// What of a Service matters to its load balancer addresses.
struct AddressWish {
  LabelMap labels;
  std::vector<Family> families;
  std::vector<IpAddress> requested;
  std::string sharing_key;
  std::vector<std::pair<std::uint16_t, Protocol>> ports;
  bool external_local = false;
  bool operator==(const AddressWish&) const = default;
};

// Type LoadBalancer, of our class, and nobody else has given it addresses.
bool wants_pool_addresses(const model::Service& service);
// Its families are those of its cluster IPs; without any, those it names. `ranges`: all it may have are there.
AddressWish address_wish(const model::Service& service, const std::vector<IpAddress>& cluster_ips, bool ranges);

class AddressPools {
 public:
  void upsert(const model::LoadBalancerPool& pool);
  // The node's own, and those others on its networks have: of a pool that covers them they are given to those only
  // who ask for them.
  void keep_out(const std::unordered_set<IpAddress>& addresses);
  // Likewise, until it is called again.
  void speak_for(std::unordered_set<IpAddress> addresses);
  void erase(const std::string& name);

  // The addresses the Service shall have, given those it has. An error when a requested one is in no pool for it or
  // taken. None, and why in `reason`, when the pools have nothing for it. Nothing changes until `claim`.
  [[nodiscard]] Result<std::vector<IpAddress>> choose(const Key& service, const AddressWish& wish,
                                                      const std::vector<IpAddress>& held, std::string& reason) const;
  // `wish` tells who may share the addresses; before a Service is known again after a restart there is none, and
  // its addresses are its own.
  void claim(const Key& service, const std::vector<IpAddress>& addresses);
  void release(const Key& service, const std::vector<IpAddress>& addresses);
  void know(const Key& service, AddressWish wish);
  void forget(const Key& service);
  [[nodiscard]] const AddressWish* wish_of(const Key& service) const;
  // Whether a pool that serves the Service has the address.
  [[nodiscard]] bool in_pool(const Key& service, const AddressWish& wish, const IpAddress& address) const;
  // In a pool that serves it, and nobody is in its way there.
  [[nodiscard]] bool may_have(const Key& service, const AddressWish& wish, const IpAddress& address) const {
    return in_pool(service, wish, address) && conflict(service, wish, address) == nullptr;
  }
  [[nodiscard]] const std::unordered_map<Key, AddressWish, KeyHash>& wishes() const { return wishes_; }

 private:
  [[nodiscard]] static bool serves(const model::LoadBalancerPool& pool, const Key& service, const AddressWish& wish);
  // Another Service in whose way the wish is at this address; null: none.
  [[nodiscard]] const Key* conflict(const Key& service, const AddressWish& wish, const IpAddress& address) const;
  [[nodiscard]] const IpAddress* shared(const Key& service, const AddressWish& wish, Family family) const;
  [[nodiscard]] std::string search(const Key& service, const AddressWish& wish, Family family,
                                   std::vector<IpAddress>& chosen) const;

  std::map<std::string, model::LoadBalancerPool> pools_;
  std::map<IpAddress, std::vector<Key>> users_;
  std::set<IpAddress> kept_out_;
  std::unordered_set<IpAddress> spoken_for_;
  // Of a range (first, last): below this none is free. What a search has learnt.
  mutable std::map<std::pair<IpAddress, IpAddress>, IpAddress> lowest_free_;
  std::unordered_map<Key, AddressWish, KeyHash> wishes_;
  std::unordered_map<std::string, std::vector<std::pair<Key, IpAddress>>> sharers_;  // by sharing key
};

}  // namespace weft::control::services
