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

std::vector<control::NodeRoute> NodeRoutes::set_missing(const std::vector<sys::Route>& present, const Node& node) {
  const auto host = netlink_.device(host_device);
  std::multimap<Cidr, const sys::Route*> known;
  for (const auto& route : present) known.emplace(route.destination, &route);
  std::map<std::string, std::string> failed;
  std::vector<control::NodeRoute> taken_away;
  const auto settled = std::exchange(settled_, {});
  for (const auto& each : wanted_) {
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
    const auto [first, last] = known.equal_range(route.destination);
    if (std::any_of(first, last, [&](const auto& other) { return same(*other.second, route); })) {
      settled_.emplace(each, route);
      continue;
    }
    // The node's own network, say, which a block of pods' addresses must not be.
    if (std::any_of(first, last,
                    [](const auto& other) { return other.second->protocol != sys::route_protocol_weft; })) {
      failed[about] = "there is a route of somebody else's; delete it, or choose other pod_cidrs";
      continue;
    }
    if (auto done = netlink_.replace_route(route); !done) {
      failed[about] = done.error().message;
      continue;
    }
    if (const auto before = settled.find(each); before != settled.end() && same(before->second, route))
      taken_away.push_back(each);
    settled_.emplace(each, route);
  }
  faults_.replace("node route ", failed);
  return taken_away;
}

void NodeRoutes::add(const std::set<control::NodeRoute>& wanted, const Node& node) {
  left_over_.clear();
  wanted_ = wanted;
  const auto present = netlink_.routes();
  if (!present) return faults_.set("node routes", "reading the routes: " + present.error().message);
  std::ranges::move(set_missing(*present, node), std::back_inserter(gone_));
  std::set<Cidr> destinations;
  for (const auto& each : wanted) destinations.insert(each.destination);
  std::ranges::copy_if(*present, std::back_inserter(left_over_), [&](const sys::Route& route) {
    return route.protocol == sys::route_protocol_weft && !destinations.contains(route.destination);
  });
  faults_.clear("node routes");
}

std::vector<std::string> NodeRoutes::heal(const Node& node) {
  auto gone = std::exchange(gone_, {});
  if (!wanted_.empty())
    if (const auto present = netlink_.routes())
      std::ranges::move(set_missing(*present, node), std::back_inserter(gone));
  std::vector<std::string> repaired;
  for (const auto& each : gone)
    repaired.push_back(
        fmt::format("the route to other nodes' pods {} was gone or changed", each.destination.to_string()));
  return repaired;
}

void NodeRoutes::prune() {
  for (const auto& route : std::exchange(left_over_, {}))
    if (auto deleted = netlink_.delete_route(route); !deleted)
      spdlog::warn("route {}: {}", route.destination.to_string(), deleted.error().message);
}

}  // namespace weft::agent
