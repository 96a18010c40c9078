#include "operator/waiting_services.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <utility>

#include "control/services/assignment_text.h"
#include "model/parse.h"

namespace weft::op {
namespace {

constexpr std::string_view service_kind = "Service";
constexpr std::string_view pool_kind = "LoadBalancerPool";

std::unique_ptr<control::ServiceCompiler> nothing_known() {
  return std::make_unique<control::ServiceCompiler>(control::ServiceOptions(), control::ServiceAssignments());
}

}  // namespace

WaitingServices::WaitingServices(const cluster::Context& context, const std::string& name, Handlers handlers)
    : handlers_(std::move(handlers)),
      services_(nothing_known()),
      shared_(context, name,
              {.changed = [this](const cluster::SharedDifference& difference) { take(difference); },
               .state = [this] { serve(); },
               .trouble = handlers_.trouble}) {}

void WaitingServices::keep_out(std::vector<IpAddress> addresses) {
  node_.taken = std::move(addresses);
  services_->set_node(node_);
  owed_ = true;
}

// What makes no sense is as the agents have it: without effect.
void WaitingServices::take_service(const cluster::ObjectKey& key, const std::string* text) {
  const model::ObjectKey name{key.namespace_, key.name};
  const auto object = text == nullptr ? Result<model::Object>(fail(ErrorCode::not_found, "it is gone"))
                                      : model::object_from_json(*text);
  const auto* service = object ? std::get_if<model::Service>(&*object) : nullptr;
  if (service != nullptr && service->type == model::Service::Type::load_balancer && service->meta.key() == name)
    services_->upsert(*service);
  else
    services_->erase_service(name);
}

void WaitingServices::take_pool(const cluster::ObjectKey& key, const std::string* text) {
  const auto object = text == nullptr ? Result<model::Object>(fail(ErrorCode::not_found, "it is gone"))
                                      : model::object_from_json(*text);
  const auto* pool = object ? std::get_if<model::LoadBalancerPool>(&*object) : nullptr;
  if (pool != nullptr && pool->meta.name == key.name) {
    pools_.insert_or_assign(key.name, *pool);
    services_->upsert(*pool);
  } else if (text == nullptr) {
    pools_.erase(key.name);
    services_->erase_pool({"", key.name});
  }
}

void WaitingServices::take(const cluster::SharedDifference& difference) {
  if (difference.whole) {
    services_ = nothing_known();
    pools_.clear();
    services_->set_node(node_);
  }
  // What one gives up another may have got.
  for (const auto& key : difference.assignments_gone) services_->forget({key.namespace_, key.name});
  for (const auto& [key, text] : difference.assignments) services_->forget({key.namespace_, key.name});
  for (const auto& [key, text] : difference.assignments) {
    auto held = control::assignment_from_text(text);
    if (held)
      services_->restore({key.namespace_, key.name}, *held);
    else if (handlers_.trouble)
      handlers_.trouble(held.error().in(fmt::format("what Service {}/{} holds", key.namespace_, key.name)));
  }
  const auto tell = [this](const cluster::ObjectKey& key, const std::string* text) {
    if (key.kind == pool_kind) take_pool(key, text);
    if (key.kind == service_kind) take_service(key, text);
  };
  for (const auto& key : difference.gone) tell(key, nullptr);
  for (const auto& [key, text] : difference.objects) tell(key, &text);
  owed_ = true;
  serve();
}

void WaitingServices::serve() {
  if (writing_ || !owed_ || !handlers_.acts() || !shared_.connected() ||
      shared_.state() != cluster::SharedObjects::State::following)
    return;
  owed_ = false;
  std::vector<cluster::SharedWrite> writes;
  std::uint64_t gives = 0;
  for (const auto& [service, assignment] : services_->plan_pending()) {
    cluster::ObjectKey key{std::string(service_kind), service.namespace_, service.name};
    if (!shared_.contains(key)) continue;
    const auto before = services_->held(service).load_balancer_ips.size();
    const auto now = assignment.load_balancer_ips.size();
    spdlog::info("Service {} {}", service.to_string(),
                 now > before ? "gets a load balancer address" : "loses or changes its load balancer address");
    if (now > before) ++gives;
    writes.push_back({.key = std::move(key),
                      .assignment = assignment.empty() ? std::string() : control::assignment_to_text(assignment),
                      .assignment_only = true});
  }
  if (writes.empty()) return;
  writing_ = true;
  shared_.write(std::move(writes), true,
                [this, gives](const cluster::WriteResult& result) { answered(result, gives); });
}

void WaitingServices::answered(const cluster::WriteResult& result, std::uint64_t gives) {
  writing_ = false;
  if (result.end == cluster::WriteResult::End::done) {
    served_ += gives;
  } else {
    if (result.error && handlers_.trouble) handlers_.trouble(*result.error);
    // All are looked at again, by the next check.
    for (const auto& [name, pool] : pools_) services_->upsert(pool);
    owed_ = true;
  }
  if (result.end != cluster::WriteResult::End::failed) serve();
}

}  // namespace weft::op
