#include "control/services/services.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <tuple>
#include <unordered_set>

#include "control/services/endpoints.h"

namespace weft::control {
namespace {

bool has_cluster_ip(const model::Service& service) {
  return !service.headless && service.type != model::Service::Type::external_name;
}

weft_addr addr_of(const IpAddress& address) {
  weft_addr result{};
  static_assert(sizeof result.word == sizeof(IpAddress::Bytes));
  std::memcpy(result.word, address.bytes().data(), sizeof result.word);
  return result;
}

// In order of number, a port and protocol at most once.
std::vector<const model::ServicePort*> ports_of(const model::Service& service) {
  std::vector<const model::ServicePort*> ports;
  for (const auto& port : service.ports)
    if (port.port != 0) ports.push_back(&port);
  const auto order = [](const model::ServicePort* port) { return std::tuple(port->port, port->protocol); };
  std::ranges::stable_sort(ports, {}, order);
  const auto rest = std::ranges::unique(ports, {}, order);
  ports.erase(rest.begin(), rest.end());
  return ports;
}

}  // namespace

bool ServiceKeyLess::operator()(const weft_service_key& a, const weft_service_key& b) const {
  return std::memcmp(&a, &b, sizeof a) < 0;
}

ServiceCompiler::ServiceCompiler(ServiceOptions options, ServiceState restored)
    : state_(std::move(restored)),
      cluster_ips_(std::move(options.cluster_cidrs), state_.cluster_ips),
      backends_(state_.backend_ids),
      slots_(options.max_slots) {
  for (const auto& [key, id] : state_.service_ids) next_service_ = std::max(next_service_, id + 1);
}

Result<std::vector<IpAddress>> ServiceCompiler::assign(const model::Service& service) {
  const auto key = service.meta.key();
  if (!has_cluster_ip(service)) {
    forget(key);
    return std::vector<IpAddress>();
  }
  const auto held = state_.cluster_ips.find(key);
  WEFT_TRY(auto addresses,
           cluster_ips_.assign(service, held == state_.cluster_ips.end() ? std::vector<IpAddress>() : held->second));
  state_.cluster_ips[key] = addresses;
  return addresses;
}

void ServiceCompiler::forget(const model::ObjectKey& service) {
  const auto held = state_.cluster_ips.find(service);
  if (held == state_.cluster_ips.end()) return;
  cluster_ips_.release(service, held->second);
  state_.cluster_ips.erase(held);
}

void ServiceCompiler::restore(const model::ObjectKey& service, const std::vector<IpAddress>& addresses) {
  forget(service);
  if (addresses.empty()) return;
  cluster_ips_.claim(service, addresses);
  state_.cluster_ips[service] = addresses;
}

void ServiceCompiler::adopt(const std::map<weft_service_key, weft_service, ServiceKeyLess>& frontend_rows,
                            const std::map<std::uint32_t, std::uint32_t>& slot_rows) {
  for (const auto& [key, row] : frontend_rows) {
    next_service_ = std::max(next_service_, row.service_id + 1);
    if (row.slot_count == 0 || runs_.contains(row.service_id)) continue;
    if (!slots_.claim(row.first_slot, row.slot_count)) continue;
    auto& run = runs_[row.service_id];
    run.first = row.first_slot;
    for (std::uint32_t i = 0; i < row.slot_count; ++i) {
      const auto slot = slot_rows.find(row.first_slot + i);
      run.backends.push_back(slot == slot_rows.end() ? 0 : slot->second);
    }
  }
  for (const auto& [slot, backend] : slot_rows) backends_.reserve_up_to(backend);
}

Result<CompiledServices> ServiceCompiler::compile(const ServiceInput& input) {
  // The rows of the last compile are in the maps by now, so nothing reads the runs it replaced.
  if (!std::exchange(hold_replaced_, false)) {
    for (const auto& run : retiring_) slots_.release(run.first, static_cast<std::uint32_t>(run.backends.size()));
    retiring_.clear();
  }
  backends_.begin_round();

  WEFT_CHECK(assign_missing(input));
  auto frontends = resolve(input);
  WEFT_CHECK(place(frontends));
  forget_unused(frontends);
  return rows_of(std::move(frontends));
}

// Services that were stored before their family or range was known.
Result<void> ServiceCompiler::assign_missing(const ServiceInput& input) {
  for (const auto& [key, service] : input.services)
    if (has_cluster_ip(service) && !state_.cluster_ips.contains(key)) WEFT_CHECK(assign(service));
  return {};
}

std::uint32_t ServiceCompiler::service_id(const model::ObjectKey& service, const model::ServicePort& port,
                                          Family family) {
  const auto text = fmt::format("{}/{}:{}/{}@{}", service.namespace_, service.name, port.port, to_string(port.protocol),
                                family == Family::v4 ? "v4" : "v6");
  const auto [entry, is_new] = state_.service_ids.try_emplace(text, next_service_);
  if (is_new) ++next_service_;
  return entry->second;
}

std::vector<ServiceFrontend> ServiceCompiler::resolve(const ServiceInput& input) {
  const EndpointFinder finder(input);
  std::vector<ServiceFrontend> frontends;
  frontends.reserve(input.services.size());
  for (const auto& [key, service] : input.services) {
    const auto held = state_.cluster_ips.find(key);
    if (!has_cluster_ip(service) || held == state_.cluster_ips.end()) continue;
    auto addresses = held->second;
    std::ranges::sort(addresses);
    const auto pods = finder.selected(service);
    for (const auto* port : ports_of(service)) {
      for (const auto& address : addresses) {
        auto& frontend = frontends.emplace_back();
        frontend.id = service_id(key, *port, address.family());
        frontend.service = key;
        frontend.port_name = port->name;
        frontend.address = address;
        frontend.port = port->port;
        frontend.protocol = port->protocol;
        frontend.affinity_seconds = service.affinity_seconds;
        for (auto& choice : finder.usable(service, *port, address.family(), pods)) {
          const auto id = backends_.use(choice.address, choice.port, port->protocol, state_.backend_ids);
          frontend.backends.push_back(
              {id, choice.address, choice.port, port->protocol, std::move(choice.pod), choice.ready});
        }
        std::ranges::sort(frontend.backends, {}, &ServiceBackend::id);
      }
    }
  }
  return frontends;
}

// Gives every frontend its run of slots. On an error all runs are as before.
Result<void> ServiceCompiler::place(const std::vector<ServiceFrontend>& frontends) {
  std::vector<std::pair<std::uint32_t, Run>> replaced;
  std::vector<std::uint32_t> wanted;
  for (const auto& frontend : frontends) {
    wanted.clear();
    for (const auto& backend : frontend.backends) wanted.push_back(backend.id);
    auto& run = runs_[frontend.id];
    if (run.backends == wanted) continue;
    const auto length = static_cast<std::uint32_t>(wanted.size());
    const auto first = wanted.empty() ? std::optional<std::uint32_t>(0) : slots_.allocate(length);
    if (!first) {
      auto error = fail(ErrorCode::exhausted,
                        fmt::format("service {} port {}/{}: no room for its {} backends: of {} slots {} are free, the "
                                    "longest run of them is {}",
                                    frontend.service.to_string(), frontend.port, to_string(frontend.protocol), length,
                                    slots_.total(), slots_.free(), slots_.longest()),
                        "raise the number of service slots, or give the Service fewer backends");
      for (auto& [id, old] : replaced) {
        auto& fresh = runs_[id];
        if (!fresh.backends.empty()) slots_.release(fresh.first, static_cast<std::uint32_t>(fresh.backends.size()));
        fresh = std::move(old);
      }
      return error;
    }
    replaced.emplace_back(frontend.id, std::exchange(run, Run{*first, wanted}));
  }
  for (auto& [id, old] : replaced) retire(std::move(old));
  return {};
}

void ServiceCompiler::retire(Run run) {
  if (!run.backends.empty()) retiring_.push_back(std::move(run));
}

void ServiceCompiler::forget_unused(const std::vector<ServiceFrontend>& frontends) {
  std::unordered_set<std::uint32_t> live;
  live.reserve(frontends.size());
  for (const auto& frontend : frontends) live.insert(frontend.id);
  std::erase_if(runs_, [&](auto& entry) {
    if (live.contains(entry.first)) return false;
    retire(std::move(entry.second));
    return true;
  });
  std::erase_if(state_.service_ids, [&](const auto& entry) { return !live.contains(entry.second); });
  backends_.forget_unused(state_.backend_ids);
}

CompiledServices ServiceCompiler::rows_of(std::vector<ServiceFrontend> frontends) const {
  CompiledServices compiled;
  const auto add_slots = [&](const Run& run) {
    for (std::uint32_t i = 0; i < run.backends.size(); ++i) compiled.slot_rows.emplace(run.first + i, run.backends[i]);
  };
  for (const auto& run : retiring_) add_slots(run);
  for (const auto& frontend : frontends) {
    const auto& run = runs_.at(frontend.id);
    weft_service_key key{};
    key.addr = addr_of(frontend.address);
    key.port = htons(frontend.port);
    key.protocol = static_cast<std::uint8_t>(frontend.protocol);
    weft_service row{};
    row.service_id = frontend.id;
    row.first_slot = run.first;
    row.slot_count = static_cast<std::uint32_t>(run.backends.size());
    row.affinity_seconds = frontend.affinity_seconds;
    compiled.frontend_rows.emplace(key, row);
    add_slots(run);
    for (const auto& backend : frontend.backends) {
      auto [entry, is_new] = compiled.backend_rows.try_emplace(backend.id);
      if (!is_new) continue;
      entry->second.addr = addr_of(backend.address);
      entry->second.port = htons(backend.port);
      entry->second.protocol = static_cast<std::uint8_t>(backend.protocol);
    }
  }
  compiled.frontends = std::move(frontends);
  return compiled;
}

}  // namespace weft::control
