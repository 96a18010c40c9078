// What the agent itself needs to know of Services, beside what the service compiler holds. Few have any of it.
#pragma once

#include <map>
#include <vector>

#include "base/ip.h"
#include "base/labels.h"
#include "model/objects.h"

namespace weft::agent {

class ServiceFacts {
 public:
  // `service`: as it is now; null: it is gone.
  void changed(const model::ObjectKey& key, const model::Service* service);

  // Of those the agent probes the backends of.
  [[nodiscard]] const std::map<model::ObjectKey, model::HealthCheck>& health_checks() const { return health_checks_; }
  // Labels of those that may have load balancer or external addresses.
  [[nodiscard]] const std::map<model::ObjectKey, LabelMap>& announceable() const { return announceable_; }
  // Addresses that they ask for, and that the status of load balancers names; of those that have any.
  [[nodiscard]] const std::map<model::ObjectKey, std::vector<IpAddress>>& external_ips() const { return external_ips_; }
  [[nodiscard]] const std::map<model::ObjectKey, std::vector<IpAddress>>& status_ips() const { return status_ips_; }

 private:
  std::map<model::ObjectKey, model::HealthCheck> health_checks_;
  std::map<model::ObjectKey, LabelMap> announceable_;
  std::map<model::ObjectKey, std::vector<IpAddress>> external_ips_;
  std::map<model::ObjectKey, std::vector<IpAddress>> status_ips_;
};

}  // namespace weft::agent
