#include "agent/own_reason.h"

#include <fmt/format.h>

#include <set>

#include "base/endpoint_host.h"

namespace weft::agent {
namespace {

std::string devices_with(sys::Netlink& netlink, const IpAddress& address) {
  std::set<std::string> names;
  if (const auto all = netlink.addresses())
    for (const auto& each : *all)
      if (each.address == address)
        if (const auto device = netlink.device(each.index)) names.insert(device->name);
  std::string text;
  for (const auto& name : names) text += (text.empty() ? "" : " and ") + name;
  return text;
}

std::string reason_of(sys::Netlink& netlink, const IpAddress& address) {
  const auto way = netlink.way_to(address);
  if (!way) return {};
  const auto text = address.to_string();
  switch (way->kind) {
    case sys::WayTo::Kind::here: {
      const auto devices = devices_with(netlink, address);
      return devices.empty() ? fmt::format("a route of this machine says that {} is the machine itself", text)
                             : fmt::format("{} is an address of this machine itself, on {}", text, devices);
    }
    case sys::WayTo::Kind::none:
      return fmt::format("this machine has no route to {} ({})", text, way->why);
    case sys::WayTo::Kind::out:
      break;
  }
  const auto device = netlink.device(way->device);
  if (!device || (device->up && device->running)) return {};
  return fmt::format("{} is sent to by {}, which {}", text, device->name, device->up ? "has no carrier" : "is down");
}

// Where a server of this machine is mostly meant: control planes have it so.
bool is_loopback(const IpAddress& address) {
  static const auto v4 = *Cidr::parse("127.0.0.0/8");
  static const auto v6 = *IpAddress::parse("::1");
  return v4.contains(address) || address == v6;
}

}  // namespace

std::string own_reason(sys::Netlink& netlink, const std::vector<std::string>& servers) {
  std::set<IpAddress> seen;
  std::string all;
  for (const auto& server : servers) {
    const auto address = endpoint_host(server);
    if (!address || is_loopback(*address) || !seen.insert(*address).second) continue;
    const auto reason = reason_of(netlink, *address);
    if (!reason.empty()) all += (all.empty() ? "" : ", ") + reason;
  }
  return all;
}

}  // namespace weft::agent
