// What a Service is given when it is applied: cluster IPs, node ports, load balancer addresses. All of it or, on
// an error, nothing.
#pragma once

#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "control/services/address_pools.h"
#include "control/services/cluster_ips.h"
#include "control/services/node_ports.h"

namespace weft::control::services {

class Assigner {
 public:
  explicit Assigner(const ServiceOptions& options);

  // `held` is what the Service holds; it holds the result from now on. `keep`: the node ports of `held` by the numbers
  // its ports have now, and addresses of the pools it had elsewhere or earlier, to be had again where they are free.
  Result<ServiceAssignment> assign(const model::Service& service, const Key& key, const ServiceAssignment& held,
                                   const ServiceAssignment& keep);
  // As ServiceCompiler::own_status.
  [[nodiscard]] std::vector<IpAddress> own_status(const model::Service& service, const Key& key) const;
  // The Service holds `assignment` instead of `held`; both may be empty.
  void replace(const Key& key, const ServiceAssignment& held, const ServiceAssignment& assignment);
  // What it asks of the pools is again what it asked before the assigns and forgets since `know`.
  void undo_wish(const Key& key, const ServiceAssignment& held);
  // A Service as it is stored: what it asks of the pools, unless `held` says that it has it.
  void know(const model::Service& service, const Key& key, const ServiceAssignment& held);
  void forget(const Key& key, const ServiceAssignment& held);

  void upsert(const model::LoadBalancerPool& pool);
  void erase_pool(const std::string& name);
  // As ServiceCompiler::speak_for.
  void speak_for(const std::unordered_set<IpAddress>& addresses, const std::unordered_set<std::uint16_t>& ports);
  void keep_out(const std::unordered_set<IpAddress>& addresses) { pools_.keep_out(addresses); }
  // Services whose addresses may have to change: the pending ones, and all after a change of pools.
  [[nodiscard]] std::vector<Key> candidates();
  // The load balancer addresses it holds now; `held` when there is no change.
  ServiceAssignment reassign(const Key& key, const ServiceAssignment& held);
  [[nodiscard]] std::string pending_reason(const Key& key) const;
  void set_pending_reason(const Key& key, std::string reason);  // of one that is pending
  [[nodiscard]] const std::unordered_map<Key, std::string, KeyHash>& pending() const { return pending_; }

 private:
  void set_wish(const Key& key, bool wanted, AddressWish wish, const std::vector<IpAddress>& held);

  bool has_ranges_ = false;
  std::string unasked_;
  ClusterIps cluster_ips_;
  NodePorts node_ports_;
  AddressPools pools_;
  bool pools_changed_ = false;
  std::unordered_map<Key, std::optional<AddressWish>, KeyHash> known_;  // the stored ones of changed wishes
  std::unordered_map<Key, std::string, KeyHash> pending_;               // why
};

}  // namespace weft::control::services
