// Which Service has which cluster IP. Within a range the first address is never used, the second
// (by custom the API server's own Service) only on request, and the IPv4 broadcast address never.
#pragma once

#include <map>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "control/services/names.h"
#include "model/objects.h"

namespace weft::control::services {

class ClusterIps {
 public:
  explicit ClusterIps(std::vector<Cidr> ranges) : ranges_(std::move(ranges)) {}

  // The addresses the Service shall have, given those it has. Nothing changes until `claim`. None when there is
  // no range at all and the Service is reached by other addresses (a balancer for plain hosts).
  [[nodiscard]] Result<std::vector<IpAddress>> choose(const model::Service& service, const Key& key,
                                                      const std::vector<IpAddress>& held) const;
  // Given to those only who ask for them, until it is called again.
  void speak_for(std::unordered_set<IpAddress> addresses) { spoken_for_ = std::move(addresses); }
  // Without a check: what `choose` gave, what the Service held a moment ago or before a restart. Addresses outside
  // the ranges are kept as long as their Service is.
  void claim(const Key& service, const std::vector<IpAddress>& addresses);
  void release(const Key& service, const std::vector<IpAddress>& addresses);

 private:
  [[nodiscard]] const Cidr* range(Family family) const;
  [[nodiscard]] Result<std::vector<Family>> families_of(const model::Service& service) const;
  [[nodiscard]] Result<void> check_requested(const Key& service, const IpAddress& address) const;
  [[nodiscard]] Result<IpAddress> next_free(const Cidr& range, const Key& service) const;

  std::vector<Cidr> ranges_;
  std::unordered_map<IpAddress, Key> owner_of_;
  std::unordered_set<IpAddress> spoken_for_;
  std::map<Family, IpAddress> cursor_;  // the last one claimed anew, so that reuse is late
};

}  // namespace weft::control::services
