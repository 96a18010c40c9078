#include "agent/service_facts.h"

namespace weft::agent {

void ServiceFacts::changed(const model::ObjectKey& key, const model::Service* service) {
  if (service != nullptr && service->health_check.kind != model::HealthCheck::Kind::none)
    health_checks_.insert_or_assign(key, service->health_check);
  else
    health_checks_.erase(key);
  if (service != nullptr && (service->type == model::Service::Type::load_balancer || !service->external_ips.empty()))
    announceable_.insert_or_assign(key, service->meta.labels);
  else
    announceable_.erase(key);
  if (service != nullptr && !service->external_ips.empty())
    external_ips_.insert_or_assign(key, service->external_ips);
  else
    external_ips_.erase(key);
  if (service != nullptr && service->type == model::Service::Type::load_balancer && !service->ingress.empty()) {
    auto& addresses = status_ips_[key];
    addresses.clear();
    for (const auto& ingress : service->ingress) addresses.push_back(ingress.address);
  } else {
    status_ips_.erase(key);
  }
}

}  // namespace weft::agent
