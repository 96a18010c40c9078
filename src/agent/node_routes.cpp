#include "agent/node_routes.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <iterator>
#include <utility>

namespace weft::agent {
namespace {

// The uplink whose network the next hop is on.
int device_towards(const IpAddress& next_hop, const Node& node) {
  for (const auto& [index, uplink] : node.uplinks)
    if (std::ranges::any_of(uplink.subnets, [&](const Cidr& subnet) { return subnet.contains(next_hop); }))
      return static_cast<int>(index);
  return 0;
}

bool same(const sys::Route& a, const sys::Route& b) {
  return a.destination == b.destination && a.gateway == b.gateway && a.device == b.device && a.source == b.source;
}

}  // namespace

void NodeRoutes::add(const std::set<control::NodeRoute>& wanted, const Node& node) {
  left_over_.clear();
  const auto present = netlink_.routes();
  if (!present) return faults_.set("node routes", "reading the routes: " + present.error().message);
  const auto host = netlink_.device(host_device);
  std::map<std::string, std::string> failed;
  for (const auto& each : wanted) {
    sys::Route route;
    route.destination = each.destination;
    route.gateway = each.gateway;
    route.source = each.source;
    route.protocol = sys::route_protocol_weft;
    route.device = each.gateway ? device_towards(*each.gateway, node) : host ? host->index : 0;
    route.scope_link = !each.gateway;
    const auto about = "node route " + each.destination.to_string();
    if (route.device == 0) {
      failed[about] = fmt::format("no device leads to {}, where the pods of {} are",
                                  each.gateway ? each.gateway->to_string() : host_device, each.destination.to_string());
      continue;
    }
    const auto same_way = [&](const sys::Route& other) { return same(other, route); };
    if (std::ranges::any_of(*present, same_way)) continue;
    if (auto set = netlink_.replace_route(route); !set) failed[about] = set.error().message;
  }
  std::ranges::copy_if(*present, std::back_inserter(left_over_), [&](const sys::Route& route) {
    const auto leads_there = [&](const auto& each) { return each.destination == route.destination; };
    return route.protocol == sys::route_protocol_weft && std::ranges::none_of(wanted, leads_there);
  });
  faults_.clear("node routes");
  faults_.replace("node route ", failed);
}

void NodeRoutes::prune() {
  for (const auto& route : std::exchange(left_over_, {}))
    if (auto deleted = netlink_.delete_route(route); !deleted)
      spdlog::warn("route {}: {}", route.destination.to_string(), deleted.error().message);
}

}  // namespace weft::agent
