#include "control/services/node_ports.h"

#include <fmt/format.h>

#include <set>

namespace weft::control::services {
namespace {

using Type = model::Service::Type;

// Without allocation a LoadBalancer still has the node ports it asks for by number.
bool allocates(const model::Service& service) {
  return service.type == Type::node_port || (service.type == Type::load_balancer && service.allocate_node_ports);
}

}  // namespace

// The ports one Service is being given: free ones, not yet claimed.
class NodePorts::Choice {
 public:
  Choice(const NodePorts& ports, const Key& service) : ports_(ports), service_(service) {}

  Result<std::uint16_t> requested(std::uint16_t number, std::string_view field) {
    if (auto checked = ports_.check_requested(service_, number); !checked) return fail(checked.error().in(field));
    taken_.insert(number);
    return number;
  }
  [[nodiscard]] bool is_free(std::uint16_t number) const {
    if (taken_.contains(number)) return false;
    const auto owner = ports_.owner_of_.find(number);
    return owner == ports_.owner_of_.end() || owner->second == service_;
  }
  void take(std::uint16_t number) { taken_.insert(number); }
  Result<std::uint16_t> next_free(const ServiceAssignment& held) {
    const unsigned count = ports_.first_ == 0 || ports_.last_ < ports_.first_ ? 0U : ports_.last_ - ports_.first_ + 1U;
    std::uint16_t candidate = ports_.in_range(ports_.cursor_) ? ports_.cursor_ : ports_.last_;
    for (unsigned tried = 0; tried < count; ++tried) {
      candidate = candidate >= ports_.last_ ? ports_.first_ : static_cast<std::uint16_t>(candidate + 1);
      if (!taken_.contains(candidate) && !ports_.owner_of_.contains(candidate) &&
          !ports_.spoken_for_.contains(candidate)) {
        taken_.insert(candidate);
        return candidate;
      }
    }
    // What this very Service gives up is better than nothing.
    for (const auto& [port, number] : held.node_ports)
      if (ports_.in_range(number) && is_free(number)) {
        taken_.insert(number);
        return number;
      }
    return fail(ErrorCode::exhausted,
                fmt::format("service {}: no node port is free: all {} of {}-{} are taken", service_.to_string(), count,
                            ports_.first_, ports_.last_),
                "delete Services of type NodePort or LoadBalancer, set allocateLoadBalancerNodePorts: false, or "
                "configure a wider range");
  }

 private:
  const NodePorts& ports_;
  const Key& service_;
  std::set<std::uint16_t> taken_;
};

Result<void> NodePorts::check_requested(const Key& service, std::uint16_t port) const {
  const auto owner = owner_of_.find(port);
  if (owner != owner_of_.end() && !(owner->second == service))
    return fail(ErrorCode::exists, fmt::format("service {}: node port {} belongs to service {}", service.to_string(),
                                               port, owner->second.to_string()));
  if (owner == owner_of_.end() && !in_range(port))
    return fail(ErrorCode::invalid, fmt::format("service {}: node port {} is outside the range {}-{}",
                                                service.to_string(), port, first_, last_));
  return {};
}

Result<void> NodePorts::choose(const model::Service& service, const Key& key, const ServiceAssignment& held,
                               ServiceAssignment& chosen) const {
  if (service.type != Type::node_port && service.type != Type::load_balancer) return {};
  Choice choice(*this, key);
  for (std::size_t i = 0; i < service.ports.size(); ++i) {
    const auto& port = service.ports[i];
    if (port.node_port == 0) continue;
    const auto field = fmt::format("spec.ports[{}].nodePort", i);
    for (const auto& [other, number] : chosen.node_ports)
      if (number == port.node_port && other.second == port.protocol)
        return fail(ErrorCode::invalid,
                    fmt::format("{}: service {}: ports {} and {} ask for the same node port {}/{}", field,
                                key.to_string(), other.first, port.port, number, to_string(port.protocol)));
    WEFT_TRY(chosen.node_ports[std::pair(port.port, port.protocol)], choice.requested(port.node_port, field));
  }
  const bool health = service.type == Type::load_balancer && service.external_local;
  if (health && service.health_check_node_port != 0) {
    if (!choice.is_free(service.health_check_node_port) && !chosen.node_ports.empty())
      for (const auto& [other, number] : chosen.node_ports)
        if (number == service.health_check_node_port)
          return fail(ErrorCode::invalid,
                      fmt::format("spec.healthCheckNodePort: service {}: healthCheckNodePort {} is also the node port "
                                  "of {}",
                                  key.to_string(), number, other.first));
    WEFT_TRY(chosen.health_check_port, choice.requested(service.health_check_node_port, "spec.healthCheckNodePort"));
  }
  const auto fill = [&](const auto& keep) {  // ports that have none yet, from what `keep` names
    for (const auto& port : service.ports) {
      const std::pair slot(port.port, port.protocol);
      const auto number = keep(slot);
      if (chosen.node_ports.contains(slot) || number == 0) continue;
      chosen.node_ports[slot] = number;
      choice.take(number);
    }
  };
  if (allocates(service)) {
    fill([&](const auto& slot) {
      const auto present = held.node_ports.find(slot);
      return present != held.node_ports.end() && choice.is_free(present->second) ? present->second : std::uint16_t{0};
    });
    for (const auto& port : service.ports) {
      const std::pair slot(port.port, port.protocol);
      if (port.port == 0 || chosen.node_ports.contains(slot)) continue;
      const auto same = chosen.node_ports.lower_bound({port.port, Protocol{}});  // the port in another protocol
      if (same != chosen.node_ports.end() && same->first.first == port.port) {
        const auto number = same->second;
        chosen.node_ports[slot] = number;
        continue;
      }
      WEFT_TRY(chosen.node_ports[slot], choice.next_free(held));
    }
  }
  if (health && chosen.health_check_port == 0) {
    if (held.health_check_port != 0 && choice.is_free(held.health_check_port)) {
      chosen.health_check_port = held.health_check_port;
    } else {
      WEFT_TRY(chosen.health_check_port, choice.next_free(held));
    }
  }
  return {};
}

void NodePorts::claim(const Key& service, const ServiceAssignment& assignment) {
  const auto one = [&](std::uint16_t number) {
    if (number == 0) return;
    owner_of_.insert_or_assign(number, service);
    if (in_range(number)) cursor_ = number;
  };
  for (const auto& [port, number] : assignment.node_ports) one(number);
  one(assignment.health_check_port);
}

void NodePorts::release(const Key& service, const ServiceAssignment& assignment) {
  const auto one = [&](std::uint16_t number) {
    const auto owner = owner_of_.find(number);
    if (owner != owner_of_.end() && owner->second == service) owner_of_.erase(owner);
  };
  for (const auto& [port, number] : assignment.node_ports) one(number);
  one(assignment.health_check_port);
}

}  // namespace weft::control::services
