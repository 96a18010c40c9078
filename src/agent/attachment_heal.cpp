// The host side of attachments that are there already: compared with what it should be, and put right.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "agent/attachment.h"

namespace weft::agent {

using store::EndpointState;

namespace {

bool is_attached(const store::EndpointRecord& record) {
  return record.state == EndpointState::ready && record.ifindex != 0;
}

std::string name_of(const store::EndpointRecord& record) { return record.namespace_ + "/" + record.pod; }

}  // namespace

Result<Attachment::HostSide> Attachment::read_host_side() {
  HostSide host;
  WEFT_TRY(const auto devices, netlink_.devices());
  for (const auto& device : devices) host.devices.emplace(device.index, device);
  WEFT_TRY(const auto routes, netlink_.routes());
  for (const auto& route : routes) host.routes.emplace(std::pair(route.device, route.destination), route);
  WEFT_TRY(const auto neighbours, netlink_.neighbours());
  for (const auto& entry : neighbours) host.neighbours.emplace(std::pair(entry.device, entry.address), entry.mac);
  return host;
}

std::string Attachment::host_fault(const HostSide& host, const store::EndpointRecord& record) const {
  const auto index = static_cast<int>(record.ifindex);
  const auto device = host.devices.find(index);
  if (device == host.devices.end()) return {};  // a lost device, which is another matter
  if (!device->second.up) return fmt::format("device {} is down", record.device);
  for (const auto& address : record.addresses) {
    const auto neighbour = host.neighbours.find({index, address});
    if (neighbour == host.neighbours.end() || neighbour->second != record.mac)
      return fmt::format("device {} has lost its neighbour {}", record.device, address.to_string());
    const auto route = host.routes.find({index, Cidr(address, address.is_v4() ? 32 : 128)});
    if (route == host.routes.end() || route->second.gateway || route->second.source != ipam_.gateway(address.family()))
      return fmt::format("the route to {} on device {} is gone", address.to_string(), record.device);
  }
  return {};
}

// A runtime that could not make the rest of a sandbox may forget it, with its network namespace, and never call DEL.
std::vector<store::EndpointKey> Attachment::abandoned(
    const std::function<bool(const store::EndpointRecord& record)>& gone) const {
  std::vector<store::EndpointKey> keys;
  for (const auto& [key, record] : records_) {
    if (record.state != EndpointState::ready || record.ifindex != 0) continue;
    const auto replaces = [&](const auto& entry) {
      const auto& other = entry.second;
      return is_attached(other) && other.key.ifname == key.ifname && other.namespace_ == record.namespace_ &&
             other.pod == record.pod && other.created >= record.created;
    };
    if (std::ranges::any_of(records_, replaces) || gone(record)) keys.push_back(key);
  }
  return keys;
}

Attachment::Healing Attachment::heal_hosts() {
  Healing healing;
  const auto host = read_host_side();
  if (!host) {
    healing.failed["*"] = "reading the pods' devices and routes: " + host.error().message;
    return healing;
  }
  for (const auto& [key, record] : records_) {
    if (record.state == EndpointState::ready && record.ifindex == 0)
      healing.failed[key.owner()] =
          fmt::format("{}: its interface was removed, it has no network; call CNI DEL and ADD (create the pod again)",
                      name_of(record));
    if (!is_attached(record)) continue;
    if (const auto failed = program_faults_.find(key); failed != program_faults_.end())
      healing.failed[key.owner()] = fmt::format("{}: {}", name_of(record), failed->second);
    const auto wrong = host_fault(*host, record);
    if (wrong.empty()) continue;
    if (auto configured = configure_host(record); !configured)
      healing.failed[key.owner()] = fmt::format("{}: {}: {}", name_of(record), wrong, configured.error().message);
    else
      healing.repaired.push_back(fmt::format("{}: {}", name_of(record), wrong));
  }
  return healing;
}

std::vector<std::string> Attachment::heal_programs(std::size_t most) {
  std::vector<std::string> repaired;
  std::erase_if(program_faults_, [&](const auto& entry) {
    const auto record = records_.find(entry.first);
    return record == records_.end() || !is_attached(record->second);
  });
  auto next = records_.upper_bound(last_healed_);
  for (auto left = std::min(most, records_.size()); left > 0; --left) {
    if (next == records_.end()) next = records_.begin();
    const auto& [key, record] = *next++;
    last_healed_ = key;
    if (!is_attached(record)) continue;
    const auto attached = pods_.programs_attached(record.ifindex);
    if (attached && *attached) {
      program_faults_.erase(key);
      continue;
    }
    if (!device_alive(record)) continue;
    if (auto again = pods_.attach_programs(record.ifindex); !again) {
      program_faults_[key] = again.error().message;
      continue;
    }
    program_faults_.erase(key);
    repaired.push_back(
        fmt::format("{}: the programs of device {} were gone and are attached again", name_of(record), record.device));
  }
  return repaired;
}

}  // namespace weft::agent
