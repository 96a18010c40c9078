#include "agent/service_duties.h"

#include <spdlog/spdlog.h>

namespace weft::agent {
CheckTargets check_targets(const std::map<model::ObjectKey, model::HealthCheck>& checks,
                           const control::ServiceCompiler& services) {
  CheckTargets targets;
  for (const auto& [key, check] : checks)
    for (const auto* port : services.ports_of(key)) {
      // Probes speak TCP: datagram ports need a port of their own for it.
      if (check.port == 0 && port->protocol != Protocol::tcp) continue;
      for (const auto& backend : port->backends) {
        CheckTarget target{backend.address, check.port, check};
        if (target.port == 0) target.port = backend.port;
        target.check.port = 0;
        targets[target].insert({backend.address, backend.port, port->protocol});
      }
    }
  return targets;
}

ServiceDuties::ServiceDuties(asio::io_context& loop, Publisher& publisher, std::function<bool()> proxy_healthy,
                             Note note)
    : publisher_(publisher),
      note_(std::move(note)),
      health_ports_(loop, std::move(proxy_healthy), {}),
      checker_(loop,
               [this](const CheckedBackend& backend, bool healthy) {
                 spdlog::info("backend {} port {}/{} is {}", backend.address.to_string(), backend.port,
                              weft::to_string(backend.protocol), healthy ? "healthy" : "not healthy");
                 auto published = publisher_.set_healthy(backend.address, backend.port, backend.protocol, healthy);
                 if (!published) note_("publishing what a health check found: " + published.error().message);
               },
               {}),
      announcer_(loop,
                 [this](std::uint32_t ifindex, std::span<const std::uint8_t> frame) { return send(ifindex, frame); }) {}

Result<void> ServiceDuties::send(std::uint32_t ifindex, std::span<const std::uint8_t> frame) {
  if (!socket_) {
    WEFT_TRY(auto socket, sys::PacketSocket::open());
    socket_.emplace(std::move(socket));
  }
  return socket_->send(ifindex, frame);
}

void ServiceDuties::refresh() {
  const bool changed = seen_ != publisher_.service_revision();
  seen_ = publisher_.service_revision();
  if (changed || !health_ports_.settled()) {
    const auto before = health_ports_.problems();
    health_ports_.want(publisher_.services().health_ports());
    const auto now = health_ports_.problems();  // told by problems() while they last
    for (const auto& problem : now)
      if (std::ranges::find(before, problem) == before.end()) spdlog::warn("{}", problem);
    for (const auto& problem : before)
      if (std::ranges::find(now, problem) == now.end()) spdlog::info("over: {}", problem);
  }
  if (!changed) return;
  const auto& checks = publisher_.service_facts().health_checks();
  if (!checks.empty() || checker_.targets() != 0) checker_.want(check_targets(checks, publisher_.services()));
  announcer_.want(publisher_.announced());
}

std::vector<std::string> ServiceDuties::problems() const {
  auto problems = health_ports_.problems();
  if (!announcer_.last_error().empty()) problems.push_back("announcing addresses: " + announcer_.last_error());
  return problems;
}

}  // namespace weft::agent
