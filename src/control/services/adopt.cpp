// What the maps hold from the agent's last run: ids and slots stay where they are until the first compile has
// decided what of it goes on.
#include <arpa/inet.h>

#include <algorithm>
#include <cstring>
#include <tuple>

#include "control/services/impl.h"

namespace weft::control {

using services::Backend;

namespace {

IpAddress address_of(const weft_addr& addr) {
  IpAddress::Bytes bytes{};
  std::memcpy(bytes.data(), &addr, bytes.size());
  return IpAddress(bytes);
}

}  // namespace

void ServiceCompiler::Impl::adopt(const std::vector<std::pair<weft_service_key, weft_service>>& frontends,
                                  std::span<const weft_backend> backends, std::span<const std::uint32_t> slots) {
  if (compiled_ || adopted_ != nullptr) return;
  adopted_ = std::make_unique<Adopted>();
  for (const auto& [key, row] : frontends) {
    const bool known = adopted_->services.contains(row.service_id);
    if (!known && !service_ids_.claim(row.service_id)) continue;
    auto& service = adopted_->services[row.service_id];
    service.state.id = row.service_id;
    adopted_->frontends.emplace(key, row.service_id);
    for (const auto& run :
         {Run{row.first_slot, row.slot_count}, Run{row.external_first_slot, row.external_slot_count}}) {
      if (run.count == 0 || std::ranges::find(service.runs, run) != service.runs.end()) continue;
      // What overlaps or reaches outside is no run of ours.
      if (run.first > slots.size() || run.count > slots.size() - run.first || !slot_space_.claim(run.first, run.count))
        continue;
      service.runs.push_back(run);
      if (slots_.size() < run.first + run.count) slots_.resize(run.first + run.count);
      std::copy_n(slots.begin() + run.first, run.count, slots_.begin() + run.first);
    }
  }
  for (std::uint32_t id = 1; id < backends.size(); ++id) {
    const auto& row = backends[id];
    if (row.state == WEFT_BACKEND_GONE || !backend_ids_.claim(id)) continue;
    if (id >= service_of_backend_.size()) service_of_backend_.resize(id + 1);
    const auto service = adopted_->services.find(row.service_id);
    if (service == adopted_->services.end()) {
      adopted_->idle_backends.push_back(id);
      continue;
    }
    auto& backend = service->second.state.backends.emplace_back();
    backend.address = address_of(row.addr);
    backend.port = ntohs(row.port);
    backend.id = id;
    if (row.state == WEFT_BACKEND_ACTIVE) backend.bits = services::backend_ready;
  }
  for (auto& [id, service] : adopted_->services) {
    auto& list = service.state.backends;
    std::ranges::sort(list, {}, [](const Backend& backend) { return std::tie(backend.address, backend.port); });
    if (id >= owner_of_service_.size()) owner_of_service_.resize(id + 1);
  }
}

// After the first compile: what it did not take over is freed like anything a compile frees.
void ServiceCompiler::Impl::finish_adoption(ServiceDelta& delta) {
  if (adopted_ == nullptr) return;
  const auto gone = [&](std::uint32_t backend) {
    delta.backends_gone.push_back(backend);
    backend_ids_.retire(backend);
  };
  for (const auto& [key, id] : adopted_->frontends)
    if (!frontends_.contains(key)) delta.frontends_gone.push_back(key);
  for (const auto& [id, service] : adopted_->services) {
    const auto* now = service.taken ? state_of(id) : nullptr;
    for (const auto& run : service.runs)
      if (now == nullptr || (now->cluster != run && now->local != run && now->redirect != run))
        retiring_.push_back(run);
    for (const auto& backend : service.state.backends)
      if (now == nullptr || std::ranges::find(now->backends, backend.id, &Backend::id) == now->backends.end())
        gone(backend.id);
    if (now == nullptr) service_ids_.retire(id);
  }
  for (const auto id : adopted_->idle_backends) gone(id);
  adopted_.reset();
}

}  // namespace weft::control
