// Which Service has which cluster IP. Within a range the first address is never used, the second
// (by custom the API server's own Service) only on request, and the IPv4 broadcast address never.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "model/objects.h"

namespace weft::control {

class ClusterIps {
 public:
  // Restored addresses outside the ranges are kept as long as their Service is.
  ClusterIps(std::vector<Cidr> ranges, const std::map<model::ObjectKey, std::vector<IpAddress>>& restored);

  // The addresses the Service shall have, given those it has; nothing changes on an error.
  Result<std::vector<IpAddress>> assign(const model::Service& service, const std::vector<IpAddress>& held);
  // Without a check: what the Service held a moment ago.
  void claim(const model::ObjectKey& service, const std::vector<IpAddress>& addresses);
  void release(const model::ObjectKey& service, const std::vector<IpAddress>& addresses);

 private:
  [[nodiscard]] const Cidr* range(Family family) const;
  [[nodiscard]] Result<std::vector<Family>> families_of(const model::Service& service) const;
  [[nodiscard]] Result<void> check_requested(const model::Service& service, const IpAddress& address) const;
  [[nodiscard]] Result<IpAddress> next_free(const Cidr& range, const model::ObjectKey& service) const;

  std::vector<Cidr> ranges_;
  std::map<IpAddress, model::ObjectKey> owner_of_;
  std::map<Family, IpAddress> cursor_;  // the last one handed out, so that reuse is late
};

}  // namespace weft::control
