#include "agent/host_ports.h"

#include <fmt/format.h>

#include <algorithm>

namespace weft::agent {
namespace {

// Absent stands for all addresses, all zero for those of its family.
bool overlap(const std::optional<IpAddress>& a, const std::optional<IpAddress>& b) {
  const auto every = [](const IpAddress& address) {
    return address.is_unspecified() || (address.is_v4() && address.to_v4() == 0);
  };
  if (!a || !b || *a == *b) return true;
  return a->family() == b->family() && (every(*a) || every(*b));
}

std::string text_of(const store::PortMapping& mapping) {
  const auto port = PortProtocol{mapping.host_port, mapping.protocol}.to_string();
  return mapping.host_ip ? fmt::format("{} of {}", port, mapping.host_ip->to_string()) : port;
}

std::unexpected<Error> taken(const store::PortMapping& mapping, const std::string& by) {
  return weft::fail(ErrorCode::exhausted, fmt::format("host port {} is taken by {}", text_of(mapping), by),
                    "give the container another host port, or remove what has this one");
}

// What the kernel's maps lead elsewhere.
const control::ServicePort* other_frontend(const model::ObjectKey& pod, const store::PortMapping& mapping,
                                           const control::ServiceCompiler& services) {
  std::vector<IpAddress> addresses;
  if (mapping.host_ip)
    addresses = {*mapping.host_ip};
  else
    addresses = {IpAddress::v4(0), IpAddress()};
  for (const auto& address : addresses) {
    const auto* port = services.find(address, mapping.host_port, mapping.protocol);
    if (port == nullptr || port->frontends.empty()) continue;
    if (port->frontends.front().kind == control::FrontendKind::host_port && port->service == pod) continue;
    return port;
  }
  return nullptr;
}

}  // namespace

void add_port_mappings(const std::vector<store::PortMapping>& mappings, std::vector<control::HostPort>& host_ports) {
  for (const auto& mapping : mappings)
    if (std::ranges::none_of(host_ports, [&](const control::HostPort& known) {
          return known.host_port == mapping.host_port && known.protocol == mapping.protocol &&
                 overlap(known.host_ip, mapping.host_ip);
        }))
      host_ports.push_back({mapping.host_ip, mapping.host_port, mapping.container_port, mapping.protocol});
}

Result<void> admit_port_mappings(const AttachRequest& request,
                                 const std::map<store::EndpointKey, store::EndpointRecord>& records,
                                 const control::ServiceCompiler& services) {
  const auto clash = [](const store::PortMapping& a, const store::PortMapping& b) {
    return a.host_port == b.host_port && a.protocol == b.protocol && overlap(a.host_ip, b.host_ip);
  };
  for (std::size_t i = 0; i < request.port_mappings.size(); ++i) {
    const auto& mapping = request.port_mappings[i];
    for (std::size_t j = 0; j < i; ++j)
      if (clash(mapping, request.port_mappings[j]))
        return fail(ErrorCode::invalid,
                    fmt::format("runtimeConfig.portMappings: host port {} is asked for twice", text_of(mapping)));
    for (const auto& [key, record] : records) {
      if (key == request.key || record.state == store::EndpointState::deleting) continue;
      for (const auto& other : record.port_mappings)
        if (clash(mapping, other)) return taken(mapping, fmt::format("pod {}/{}", record.namespace_, record.pod));
    }
    const auto* port = other_frontend({request.namespace_, request.pod}, mapping, services);
    if (port == nullptr) continue;
    auto kind = port->frontends.front().kind;
    for (const auto& frontend : port->frontends)
      if (frontend.port == mapping.host_port && frontend.kind != control::FrontendKind::cluster_ip)
        kind = frontend.kind;
    return taken(mapping, kind == control::FrontendKind::host_port
                              ? "pod " + port->service.to_string()
                              : fmt::format("Service {} ({})", port->service.to_string(), control::to_string(kind)));
  }
  return {};
}

}  // namespace weft::agent
