// Who has which external address and port. A Service that names one of another Service's is refused when it is
// applied, as one that names another's node port is: who came first would be forgotten with the next start of an agent,
// and nodes that heard of the two in different order would disagree.
#pragma once

#include <map>
#include <tuple>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "control/services/services.h"
#include "model/objects.h"

namespace weft::agent {

// Of the Services of one apply.
class ExternalClaims {
 public:
  // Both outlive it. `asking`: all that are applied; what one of them names no more another may have.
  ExternalClaims(const control::ServiceCompiler& services, const std::vector<const model::Service*>& asking);
  // `exists`, naming the field and the other Service. What is taken is not for those that come after.
  Result<void> take(const model::Service& service);

 private:
  using Claim = std::tuple<IpAddress, std::uint16_t, Protocol>;
  [[nodiscard]] std::vector<std::pair<Claim, const char*>> claims_of(const model::Service& service) const;
  [[nodiscard]] const model::ObjectKey* holder(const Claim& claim) const;

  const control::ServiceCompiler& services_;
  std::map<model::ObjectKey, const model::Service*> asking_;
  std::map<Claim, model::ObjectKey> taken_;
};

}  // namespace weft::agent
