// API: Services as they are balanced, and where a client would be sent.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <tuple>

#include "agent/agent.h"
#include "agent/memory.h"
#include "agent/out_of_range.h"
#include "agent/probe_scope.h"
#include "agent/service_text.h"
#include "agent/service_trace.h"
#include "agent/target_ports.h"
#include "agent/withheld.h"
#include "api/params.h"

namespace weft::agent {
namespace {

using nlohmann::json;

std::string_view type_text(const std::optional<model::Service::Type>& type) {
  if (!type) return "HostPort";
  switch (*type) {
    case model::Service::Type::node_port:
      return "NodePort";
    case model::Service::Type::load_balancer:
      return "LoadBalancer";
    case model::Service::Type::external_name:
      return "ExternalName";
    default:
      return "ClusterIP";
  }
}

// What the datapath counted for it; the maps are read where they are written, in memory.
void add_counters(json& item, const datapath::ServiceTables& tables, std::uint32_t id) {
  if (id < tables.backends().size()) item["state"] = backend_state_text(tables.backends()[id].state);
  if (id >= tables.backend_stats().size()) return;
  const auto& stats = tables.backend_stats()[id];
  item["connections"] = stats.connections;
  item["active"] = stats.active;
  item["packets"] = stats.packets;
  item["bytes"] = stats.bytes;
}

json backend_json(const control::ServiceBackend& backend, const datapath::ServiceTables& tables) {
  json item{{"id", backend.id},
            {"address", backend.address.to_string()},
            {"port", backend.port},
            {"namespace", backend.pod.namespace_},
            {"pod", backend.pod.name},
            {"local", backend.local},
            {"ready", backend.ready},
            {"internal", backend.internal},
            {"external", backend.external}};
  add_counters(item, tables, backend.id);
  return item;
}

json policies_json(bool internal_local, bool external_local) {
  return {{"internal", internal_local ? "Local" : "Cluster"}, {"external", external_local ? "Local" : "Cluster"}};
}

json texts(const std::vector<IpAddress>& addresses) {
  auto list = json::array();
  for (const auto& address : addresses) list.push_back(address.to_string());
  return list;
}

// Zones are the slices' own; the compiler only keeps what it chooses by.
Result<std::map<IpAddress, std::string>> zones_of(const Objects& objects, const std::vector<model::ObjectKey>& slices) {
  std::map<IpAddress, std::string> zones;
  for (const auto& key : slices) {
    WEFT_TRY(const auto slice, objects.read_as<model::EndpointSlice>({model::Kind::endpoint_slice, key}));
    if (!slice) continue;
    for (const auto& endpoint : slice->endpoints)
      for (const auto& address : endpoint.addresses) zones[address] = endpoint.zone;
  }
  return zones;
}

Result<model::ObjectKey> key_of(const json& params) {
  WEFT_TRY(auto name, api::required_text(params, "name"));
  WEFT_TRY(auto space, api::optional_text(params, "namespace"));
  if (const auto slash = name.find('/'); slash != std::string::npos) {
    space = name.substr(0, slash);
    name = name.substr(slash + 1);
  }
  return model::ObjectKey{space.empty() ? "default" : space, name};
}

// Services that wait for a load balancer address have an item without one, which says why.
void add_waiting(json& items, const control::ServiceCompiler& services, const std::string& space) {
  for (const auto& [key, reason] : services.pending()) {
    if (!space.empty() && key.namespace_ != space) continue;
    items.push_back({{"id", nullptr},
                     {"namespace", key.namespace_},
                     {"name", key.name},
                     {"type", "LoadBalancer"},
                     {"kind", control::to_string(control::FrontendKind::load_balancer)},
                     {"address", ""},
                     {"pending", reason},
                     {"problem", "it waits for a load balancer address: " + reason},
                     {"backends", json::array()}});
  }
}

// So has each address that a Service names and is not served at.
void add_withheld(json& items, const Publisher& publisher, const std::string& space) {
  for (const auto& [key, withheld] : withheld_addresses(publisher)) {
    if (!space.empty() && key.namespace_ != space) continue;
    for (const auto& one : withheld)
      items.push_back({{"id", nullptr},
                       {"namespace", key.namespace_},
                       {"name", key.name},
                       {"type", one.of_status ? json("LoadBalancer") : json(nullptr)},
                       {"kind", control::to_string(one.of_status ? control::FrontendKind::load_balancer
                                                                 : control::FrontendKind::external_ip)},
                       {"address", one.address.to_string()},
                       {"problem", "it is not served there: the address " + one.why},
                       {"backends", json::array()}});
  }
}

bool is_gone(const control::ServiceBackend& backend, const ClusterView& cluster) {
  return !backend.ready && !backend.terminating && cluster.gone(backend.node);
}

std::string gone_text(std::size_t backends, const std::string& node) {
  return fmt::format(
      "{} at node {} {} no new flows: its agent is away, as far as is known here, and its pods' network does not "
      "answer",
      backends == 1 ? "a backend" : fmt::format("{} backends", backends), node, backends == 1 ? "gets" : "get");
}

// By node.
std::map<std::string, std::size_t> gone_backends(const control::ServicePort& port, const ClusterView& cluster) {
  std::map<std::string, std::size_t> gone;
  for (const auto& backend : port.backends)
    if (is_gone(backend, cluster)) ++gone[backend.node];
  return gone;
}

void warn_of_gone(std::vector<std::string>& warnings, const std::vector<const control::ServicePort*>& ports,
                  const ClusterView& cluster) {
  std::map<std::string, std::size_t> gone;
  for (const auto* port : ports)
    for (const auto& [node, count] : gone_backends(*port, cluster)) gone[node] = std::max(gone[node], count);
  for (const auto& [node, count] : gone) warnings.push_back(gone_text(count, node));
}

constexpr auto left_out_text = "it is not served, or not with all that it asks for: ";

}  // namespace

void Agent::register_services() {
  server_->handle("service.list", [this](const json& params) { return dated(list_services(params)); });
  server_->handle("service.get", [this](const json& params) { return dated(get_service(params)); });
  server_->handle("service.trace", [this](const json& params) { return trace_service(params); });
}

struct Agent::ServiceProblems {
  using Asked = std::tuple<model::ObjectKey, Protocol, control::ServiceFrontend>;
  std::map<Asked, model::ObjectKey> shadowed;                         // who had it first
  std::map<std::pair<model::ObjectKey, bool>, std::string> left_out;  // by owner, and whether it is a pod

  explicit ServiceProblems(const control::ServiceCompiler& services) {
    for (const auto& one : services.shadowed())
      shadowed.emplace(Asked(one.service, one.protocol, one.frontend), one.owner);
    for (const auto& one : services.left_out())
      left_out.emplace(std::pair(one.owner, one.is_pod), left_out_text + one.error.text());
  }
  // What is wrong with all that it has; empty: nothing.
  [[nodiscard]] std::string of(const control::ServicePort& port) const {
    const auto found = left_out.find({port.service, !port.type});
    return found == left_out.end() ? std::string() : found->second;
  }
  [[nodiscard]] std::string of(const control::ServicePort& port, const control::ServiceFrontend& frontend) const {
    const auto found = shadowed.find({port.service, port.protocol, frontend});
    return found == shadowed.end() ? std::string()
                                   : fmt::format("it leads to {}, which had it first", found->second.to_string());
  }
};

// Those that have nothing at all in the tables have an item without an address, which says why.
void Agent::add_left_out(json& items, const ServiceProblems& problems, const std::string& space) const {
  for (const auto& [owner, problem] : problems.left_out) {
    const auto& [key, is_pod] = owner;
    if (!space.empty() && key.namespace_ != space) continue;
    const auto ports = services().ports_of(key);
    if (std::ranges::any_of(ports, [&](const auto* port) { return !port->type == is_pod; })) continue;
    const auto service = is_pod ? Result<std::optional<model::Service>>()
                                : objects_->read_as<model::Service>({model::Kind::service, key});
    items.push_back({{"id", nullptr},
                     {"namespace", key.namespace_},
                     {"name", key.name},
                     {"type", is_pod                ? json("HostPort")
                              : service && *service ? json(type_text((*service)->type))
                                                    : json(nullptr)},
                     {"kind", nullptr},
                     {"address", ""},
                     {"problem", problem},
                     {"backends", json::array()}});
  }
}

// One for each frontend of the port.
void Agent::add_frontends(json& items, const control::ServicePort& port, const ServiceProblems& problems) const {
  std::vector<std::string> wrong;
  if (auto text = problems.of(port); !text.empty()) wrong.push_back(std::move(text));
  for (const auto& [node, count] : gone_backends(port, publisher_->cluster())) wrong.push_back(gone_text(count, node));
  const auto problem_of = [&](const control::ServiceFrontend& frontend) {
    auto all = wrong;
    if (auto text = problems.of(port, frontend); !text.empty()) all.insert(all.begin(), std::move(text));
    return fmt::format("{}", fmt::join(all, "; "));
  };
  const auto& tables = datapath_->tables().services();
  auto backends = json::array();
  std::uint64_t connections = 0;
  std::uint64_t active = 0;
  for (const auto& backend : port.backends) {
    backends.push_back(backend_json(backend, tables));
    connections += backends.back().value("connections", std::uint64_t{0});
    active += backends.back().value("active", std::uint64_t{0});
  }
  for (const auto& frontend : port.frontends)
    items.push_back({{"id", port.id},
                     {"namespace", port.service.namespace_},
                     {"name", port.service.name},
                     {"type", type_text(port.type)},
                     {"kind", control::to_string(frontend.kind)},
                     {"port_name", port.port_name},
                     {"address", frontend.address.to_string()},
                     {"announced_by", announcer_of(frontend.address)},
                     {"port", frontend.port},
                     {"protocol", weft::to_string(port.protocol)},
                     {"algorithm", algorithm_text(port.row.algorithm)},
                     {"forwarding", forwarding_text(port.row.forwarding)},
                     {"affinity_seconds", port.row.affinity_seconds},
                     {"traffic_policy", policies_json(port.internal_local, port.external_local)},
                     {"connections", connections},
                     {"active", active},
                     {"problem", problem_of(frontend)},
                     {"backends", backends}});
}

api::Answer Agent::list_services(const json& params) const {
  WEFT_TRY(const auto space, api::optional_text(params, "namespace"));
  WEFT_TRY(const auto limit, api::optional_number(params, "limit", 0));
  WEFT_TRY(const auto begin, api::optional_number(params, "continue", 0));
  json result{{"items", json::array()}};
  auto& items = result["items"];
  const ServiceProblems problems(services());
  const auto concerns = [&](const control::ServicePort& port) {
    return space.empty() || port.service.namespace_ == space;
  };
  if (limit == 0) {
    services().for_each([&](const control::ServicePort& port) {
      if (port.id >= begin && concerns(port)) add_frontends(items, port, problems);
    });
    add_waiting(items, services(), space);
    add_withheld(items, *publisher_, space);
    add_left_out(items, problems, space);
    if (items.size() >= many_items) give_memory_back(loop_);
    return result;
  }
  std::uint64_t seen = 0;
  const auto end = datapath_->tables().services().service_states().size();
  for (auto id = begin; id < end; ++id) {
    const auto* port = services().by_id(static_cast<std::uint32_t>(id));
    if (port == nullptr) continue;
    if (seen == limit) {
      result["continue"] = id;
      break;
    }
    ++seen;
    if (concerns(*port)) add_frontends(items, *port, problems);
  }
  if (!result.contains("continue")) {
    add_waiting(items, services(), space);
    add_withheld(items, *publisher_, space);
    add_left_out(items, problems, space);
  }
  publisher_->forget_views();
  return result;
}

json Agent::service_port_json(const control::ServicePort& port, const std::map<IpAddress, std::string>& zones) const {
  const auto& tables = datapath_->tables().services();
  const auto& checks = publisher_->service_facts().health_checks();
  const auto health = port.type ? checks.find(port.service) : checks.end();
  std::optional<ProbeScope> scope;
  if (health != checks.end()) scope.emplace(*publisher_);
  json item{{"id", port.id},
            {"port_name", port.port_name},
            {"family", port.family == Family::v4 ? 4 : 6},
            {"protocol", weft::to_string(port.protocol)},
            {"port", port.port},
            {"algorithm", algorithm_text(port.row.algorithm)},
            {"forwarding", forwarding_text(port.row.forwarding)},
            {"affinity_seconds", port.row.affinity_seconds},
            {"slots", {{"internal", port.row.slot_count}, {"external", port.row.external_slot_count}}},
            {"frontends", json::array()},
            {"backends", json::array()}};
  if (port.id < tables.service_states().size()) {
    item["refused"] = tables.service_states()[port.id].refused;
    item["source_denied"] = tables.service_states()[port.id].source_denied;
  }
  for (const auto& frontend : port.frontends)
    item["frontends"].push_back({{"kind", control::to_string(frontend.kind)},
                                 {"address", frontend.address.to_string()},
                                 {"port", frontend.port}});
  for (const auto& backend : port.backends) {
    auto entry = backend_json(backend, tables);
    const auto zone = zones.find(backend.address);
    entry["node"] = backend.node;
    entry["node_gone"] = is_gone(backend, publisher_->cluster());
    entry["zone"] = zone == zones.end() ? "" : zone->second;
    entry["weight"] = backend.weight;
    entry["serving"] = backend.serving;
    entry["terminating"] = backend.terminating;
    entry["healthy"] = backend.healthy;
    entry["check"] = nullptr;
    entry["unchecked"] = "";
    if (scope && (health->second.port != 0 || port.protocol == Protocol::tcp))
      entry["unchecked"] = scope->unchecked(port.service, backend.address,
                                            health->second.port != 0 ? health->second.port : backend.port);
    if (duties_)
      if (const auto check = duties_->checker().state({backend.address, backend.port, port.protocol}))
        entry["check"] = {{"healthy", check->healthy},
                          {"probes", check->probes},
                          {"last_error", check->last_error},
                          {"failures_in_a_row", check->failures},
                          {"successes_in_a_row", check->successes}};
    item["backends"].push_back(std::move(entry));
  }
  return item;
}

// What a user should know before wondering.
std::vector<std::string> Agent::service_warnings(const model::ObjectKey& key, const model::Service& service) const {
  std::vector<std::string> warnings;
  if (!service.proxy_name.empty())
    warnings.push_back(
        fmt::format("it belongs to the proxy {} (label service.kubernetes.io/service-proxy-name)", service.proxy_name));
  for (const auto& one : withheld_addresses(*publisher_, key))
    warnings.push_back(withheld_text(key, one) +
                       (one.of_status
                            ? ": it is not served there; who gives it addresses is to give it one that nothing else has"
                            : ": it is not served there; name an address that nothing else has in externalIPs"));
  for (const auto& text : out_of_range(services().held(key), config_))
    warnings.push_back("its " + text +
                       ": it is served all the same; delete the Service and apply it again for another");
  for (const auto& left : services().left_out())
    if (!left.is_pod && left.owner == key) warnings.push_back(left_out_text + left.error.text());
  if (const auto reason = services().pending_reason(key); !reason.empty())
    warnings.push_back("it waits for a load balancer address: " + reason);
  if (const auto& name = service.load_balancer_class; service.type == model::Service::Type::load_balancer &&
                                                      service.ingress.empty() && !name.empty() &&
                                                      name != "weft.io/load-balancer")
    warnings.push_back(fmt::format("its load balancer address is for {} to give (loadBalancerClass)", name));
  for (const auto& shadowed : services().shadowed())
    if (shadowed.service == key)
      warnings.push_back(fmt::format("{} {} port {}/{} leads to {}, which had it first",
                                     control::to_string(shadowed.frontend.kind), shadowed.frontend.address.to_string(),
                                     shadowed.frontend.port, weft::to_string(shadowed.protocol),
                                     shadowed.owner.to_string()));
  std::set<IpAddress> told;
  for (const auto* port : services().ports_of(key))
    for (const auto& frontend : port->frontends)
      if (told.insert(frontend.address).second && duties_)
        if (auto why = duties_->unannounced(frontend.address, node_); !why.empty()) warnings.push_back(std::move(why));
  if (services().slices_of(key).empty())
    for (const auto& missing : missing_targets(service, objects_->pods())) {
      const auto& port = service.ports[missing.port];
      warnings.push_back(
          fmt::format("port {}/{}: {} (targetPort)", port.port, weft::to_string(port.protocol), missing.text));
    }
  warn_of_gone(warnings, services().ports_of(key), publisher_->cluster());
  const auto outside = [](const control::ServicePort& port) {
    return std::ranges::any_of(port.frontends,
                               [](const auto& frontend) { return frontend.kind != control::FrontendKind::cluster_ip; });
  };
  for (const auto* port : services().ports_of(key)) {
    const auto name = fmt::format("port {}/{} IPv{}", port->port, weft::to_string(port->protocol),
                                  port->family == Family::v4 ? 4 : 6);
    const auto some = [&](auto member) { return std::ranges::any_of(port->backends, member); };
    if (port->backends.empty())
      warnings.push_back(name + " has no endpoints");
    else if (!some(&control::ServiceBackend::internal) && !some(&control::ServiceBackend::external))
      warnings.push_back(name + " has endpoints, none of which can take new flows");
    else if (service.external_local && outside(*port) && !some(&control::ServiceBackend::external))
      warnings.push_back(name + " has no endpoint on this node, so it turns clients outside away " +
                         "(externalTrafficPolicy: Local)");
    else if (service.internal_local && !some(&control::ServiceBackend::internal))
      warnings.push_back(name + " has no endpoint on this node for its own clients (internalTrafficPolicy: Local)");
  }
  return warnings;
}

api::Answer Agent::get_service(const json& params) const {
  WEFT_TRY(const auto key, key_of(params));
  WEFT_TRY(const auto service, objects_->read_as<model::Service>({model::Kind::service, key}));
  const auto ports = services().ports_of(key);
  if (!service && ports.empty())
    return weft::fail(ErrorCode::not_found, fmt::format("no Service {}", key.to_string()),
                      "weft service list shows all of them");
  json result{{"namespace", key.namespace_},
              {"name", key.name},
              {"type", type_text(service ? std::optional(service->type) : std::nullopt)},
              {"ports", json::array()},
              {"warnings", json::array()},
              {"pending", services().pending_reason(key)}};
  WEFT_TRY(const auto zones, zones_of(*objects_, services().slices_of(key)));
  for (const auto* port : ports) result["ports"].push_back(service_port_json(*port, zones));
  if (!service) return result;
  const auto held = services().held(key);
  result["warnings"] = service_warnings(key, *service);
  result["headless"] = service->headless;
  result["cluster_ips"] = texts(held.cluster_ips);
  result["load_balancer_ips"] = texts(held.load_balancer_ips);
  for (const auto& ingress : service->ingress)
    result["load_balancer_ips"].push_back(ingress.address.to_string() + (ingress.proxy ? " (proxy)" : ""));
  result["external_ips"] = texts(service->external_ips);
  result["external_name"] = service->external_name;
  result["announced_by"] = json::object();
  for (const auto* port : ports)
    for (const auto& frontend : port->frontends)
      if (auto node = announcer_of(frontend.address); !node.empty())
        result["announced_by"][frontend.address.to_string()] = std::move(node);
  result["traffic_policy"] = policies_json(service->internal_local, service->external_local);
  result["source_ranges"] = json::array();
  for (const auto& range : service->source_ranges) result["source_ranges"].push_back(range.to_string());
  result["health_check_node_port"] = held.health_check_port;
  result["local_endpoints"] = nullptr;
  if (held.health_check_port != 0) {
    const auto health = services().health_ports();
    const auto found = health.find(held.health_check_port);
    if (found != health.end()) result["local_endpoints"] = found->second.local_endpoints;
  }
  return result;
}

}  // namespace weft::agent
