#include "agent/withheld.h"

#include <fmt/format.h>

#include "agent/external_addresses.h"
#include "agent/spoken_for.h"

namespace weft::agent {
namespace {

// As they are now.
class Holders {
 public:
  explicit Holders(const Publisher& publisher) : publisher_(publisher), pools_(publisher.pod_pools()) {}

  std::string why(const IpAddress& address, bool of_status) {
    // A status may name a node's own address: who writes it is no user of Services.
    if (of_status) return in_range(address, publisher_.config(), pools_);
    if (!spoken_for_) spoken_for_ = addresses_spoken_for(publisher_.config(), publisher_.node(), publisher_.cluster());
    const auto found = spoken_for_->find(address);
    return found != spoken_for_->end() ? found->second
                                       : taken_by(address, publisher_.config(), publisher_.node(), pools_);
  }

  void add(std::vector<WithheldAddress>& all, const std::vector<IpAddress>& addresses, bool of_status) {
    for (const auto& address : addresses)
      if (auto reason = why(address, of_status); !reason.empty())
        all.push_back({.address = address, .why = std::move(reason), .of_status = of_status});
  }

 private:
  const Publisher& publisher_;
  std::vector<Cidr> pools_;
  std::optional<std::map<IpAddress, std::string>> spoken_for_;
};

}  // namespace

WithheldAddresses withheld_addresses(const Publisher& publisher) {
  WithheldAddresses all;
  const auto& facts = publisher.service_facts();
  Holders holders(publisher);
  for (const auto& [addresses, of_status] :
       {std::pair(&facts.external_ips(), false), std::pair(&facts.status_ips(), true)})
    for (const auto& [service, some] : *addresses) {
      std::vector<WithheldAddress> withheld;
      holders.add(withheld, some, of_status);
      if (withheld.empty()) continue;
      auto& of_service = all[service];
      of_service.insert(of_service.end(), withheld.begin(), withheld.end());
    }
  return all;
}

std::vector<WithheldAddress> withheld_addresses(const Publisher& publisher, const model::ObjectKey& service) {
  std::vector<WithheldAddress> all;
  const auto& facts = publisher.service_facts();
  Holders holders(publisher);
  if (const auto found = facts.external_ips().find(service); found != facts.external_ips().end())
    holders.add(all, found->second, false);
  if (const auto found = facts.status_ips().find(service); found != facts.status_ips().end())
    holders.add(all, found->second, true);
  return all;
}

std::string withheld_text(const model::ObjectKey& service, const WithheldAddress& one) {
  return fmt::format("{} of {} {}", one.address.to_string(), service.to_string(), one.why);
}

}  // namespace weft::agent
