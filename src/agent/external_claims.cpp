#include "agent/external_claims.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace weft::agent {

ExternalClaims::ExternalClaims(const control::ServiceCompiler& services,
                               const std::vector<const model::Service*>& asking)
    : services_(services) {
  for (const auto* service : asking) asking_[service->meta.key()] = service;
}

std::vector<std::pair<ExternalClaims::Claim, const char*>> ExternalClaims::claims_of(
    const model::Service& service) const {
  std::vector<std::pair<Claim, const char*>> claims;
  if (!service.proxy_name.empty()) return claims;
  for (const auto& port : service.ports) {
    for (const auto& address : service.external_ips)
      claims.push_back({{address, port.port, port.protocol}, "spec.externalIPs"});
    for (const auto& ingress : service.ingress)
      if (!ingress.proxy)
        claims.push_back({{ingress.address, port.port, port.protocol}, "status.loadBalancer.ingress"});
  }
  return claims;
}

const model::ObjectKey* ExternalClaims::holder(const Claim& claim) const {
  const auto& [address, port, protocol] = claim;
  const auto* found = services_.find(address, port, protocol);
  if (found == nullptr) return nullptr;
  const bool external = std::ranges::any_of(found->frontends, [&](const control::ServiceFrontend& frontend) {
    return frontend.address == address && frontend.port == port &&
           (frontend.kind == control::FrontendKind::external_ip ||
            frontend.kind == control::FrontendKind::load_balancer);
  });
  return external ? &found->service : nullptr;
}

Result<void> ExternalClaims::take(const model::Service& service) {
  const auto key = service.meta.key();
  const auto claims = claims_of(service);
  for (const auto& [claim, field] : claims) {
    const auto taken = taken_.find(claim);
    const auto* other = taken != taken_.end() ? &taken->second : holder(claim);
    if (other == nullptr || *other == key) continue;
    if (const auto also = asking_.find(*other); taken == taken_.end() && also != asking_.end()) {
      const auto wanted = claims_of(*also->second);
      if (std::ranges::none_of(wanted, [&](const auto& one) { return one.first == claim; })) continue;
    }
    const auto& [address, port, protocol] = claim;
    return fail(ErrorCode::exists,
                fmt::format("{}: {} port {}/{} is Service {}'s", field, address.to_string(), port, to_string(protocol),
                            other->to_string()),
                "name another address or port, or take it from that Service first");
  }
  for (const auto& [claim, field] : claims) taken_.emplace(claim, key);
  return {};
}

}  // namespace weft::agent
