#include "control/services/services.h"

#include "control/services/impl.h"

namespace weft::control {

std::string_view to_string(FrontendKind kind) {
  switch (kind) {
    case FrontendKind::cluster_ip:
      return "ClusterIP";
    case FrontendKind::node_port:
      return "NodePort";
    case FrontendKind::external_ip:
      return "ExternalIP";
    case FrontendKind::load_balancer:
      return "LoadBalancer";
    case FrontendKind::host_port:
      return "HostPort";
  }
  return "?";
}

bool ServiceAssignment::empty() const { return *this == ServiceAssignment(); }

ServiceCompiler::ServiceCompiler(ServiceOptions options, ServiceAssignments restored)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(restored))) {}
ServiceCompiler::~ServiceCompiler() = default;

Result<ServiceAssignment> ServiceCompiler::assign(const model::Service& service,
                                                  const std::vector<IpAddress>& preferred) {
  return impl_->assign(service, preferred);
}
void ServiceCompiler::speak_for(const std::vector<const model::Service*>& services) { impl_->speak_for(services); }
std::vector<IpAddress> ServiceCompiler::own_status(const model::Service& service) const {
  return impl_->own_status(service);
}
void ServiceCompiler::forget(const model::ObjectKey& service) { impl_->forget(service); }
void ServiceCompiler::restore(const model::ObjectKey& service, const ServiceAssignment& assignment) {
  impl_->restore(service, assignment);
}
ServiceAssignment ServiceCompiler::held(const model::ObjectKey& service) const { return impl_->held(service); }
const ServiceAssignments& ServiceCompiler::assignments() const { return impl_->assignments(); }
std::string ServiceCompiler::pending_reason(const model::ObjectKey& service) const {
  return impl_->pending_reason(service);
}
std::map<model::ObjectKey, std::string> ServiceCompiler::pending() const { return impl_->pending(); }
void ServiceCompiler::keep_waiting(const model::ObjectKey& service, const ServiceAssignment& assignment,
                                   const std::string& reason) {
  impl_->keep_waiting(service, assignment, reason);
}
std::vector<model::ObjectKey> ServiceCompiler::assign_pending() { return impl_->assign_pending(); }
ServiceAssignments ServiceCompiler::plan_pending() { return impl_->plan_pending(); }

void ServiceCompiler::upsert(const model::Service& service) { impl_->upsert(service); }
void ServiceCompiler::upsert(const model::EndpointSlice& slice) { impl_->upsert(slice); }
void ServiceCompiler::upsert(const ServicePod& pod) { impl_->upsert(pod); }
void ServiceCompiler::upsert(const model::LoadBalancerPool& pool) { impl_->upsert_pool(pool); }
void ServiceCompiler::erase_service(const model::ObjectKey& key) { impl_->erase_service(key); }
void ServiceCompiler::erase_slice(const model::ObjectKey& key) { impl_->erase_slice(key); }
void ServiceCompiler::erase_pod(const model::ObjectKey& key) { impl_->erase_pod(key); }
void ServiceCompiler::erase_pool(const model::ObjectKey& key) { impl_->erase_pool(key.name); }
void ServiceCompiler::set_unheard(std::unordered_set<IpAddress> addresses) { impl_->set_unheard(std::move(addresses)); }
void ServiceCompiler::set_node(const ServiceNode& node) { impl_->set_node(node); }
bool ServiceCompiler::any_selects(const std::string& namespace_, const LabelMap& labels) {
  return impl_->any_selects(namespace_, labels);
}
void ServiceCompiler::set_healthy(const IpAddress& address, std::uint16_t port, Protocol protocol, bool healthy) {
  impl_->set_healthy(address, port, protocol, healthy);
}

void ServiceCompiler::adopt(const std::vector<std::pair<weft_service_key, weft_service>>& frontends,
                            std::span<const weft_backend> backends, std::span<const std::uint32_t> slots) {
  impl_->adopt(frontends, backends, slots);
}

Result<ServiceDelta> ServiceCompiler::compile(Fit fit) { return impl_->compile(fit); }
std::vector<ServiceCompiler::LeftOut> ServiceCompiler::left_out() const { return impl_->left_out(); }
bool ServiceCompiler::may_fit_more() const { return impl_->may_fit_more(); }
bool ServiceCompiler::waits_for_numbers() const { return impl_->waits_for_numbers(); }
void ServiceCompiler::hold_replaced() { impl_->hold_replaced(); }
void ServiceCompiler::release_ids(const std::function<bool(std::uint32_t backend_id)>& backend_in_use,
                                  const std::function<bool(std::uint32_t service_id)>& service_in_use) {
  impl_->release_ids(backend_in_use, service_in_use);
}

std::vector<const ServicePort*> ServiceCompiler::ports_of(const model::ObjectKey& service) const {
  return impl_->ports_of(service);
}
const ServicePort* ServiceCompiler::by_id(std::uint32_t service_id) const { return impl_->by_id(service_id); }
const ServicePort* ServiceCompiler::backend_owner(std::uint32_t backend_id) const {
  return impl_->backend_owner(backend_id);
}
const ServicePort* ServiceCompiler::find(const IpAddress& address, std::uint16_t port, Protocol protocol) const {
  return impl_->find(address, port, protocol);
}
std::vector<model::ObjectKey> ServiceCompiler::slices_of(const model::ObjectKey& service) const {
  return impl_->slices_of(service);
}
void ServiceCompiler::for_each(const std::function<void(const ServicePort&)>& visit) const { impl_->for_each(visit); }
std::vector<std::uint32_t> ServiceCompiler::run(std::uint32_t first, std::uint32_t count) const {
  return impl_->run(first, count);
}
std::map<std::uint16_t, ServiceCompiler::HealthPort> ServiceCompiler::health_ports() const {
  return impl_->health_ports();
}
const std::map<model::ObjectKey, std::uint32_t>& ServiceCompiler::redirect_targets() const {
  return impl_->redirect_targets();
}
std::vector<ServiceCompiler::Shadowed> ServiceCompiler::shadowed() const { return impl_->shadowed(); }
ServiceCompiler::Work ServiceCompiler::work() const { return impl_->work(); }
ServiceCompiler::Usage ServiceCompiler::usage() const { return impl_->usage(); }
bool ServiceCompiler::has_external() const { return impl_->has_external(); }
bool ServiceCompiler::has_host_backends() const { return impl_->has_host_backends(); }

}  // namespace weft::control
