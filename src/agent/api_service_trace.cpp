// API: service.trace, which backend a client would get and why, and where the Service's flows are.
#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <nlohmann/json.hpp>

#include "agent/agent.h"
#include "agent/service_text.h"
#include "agent/service_trace.h"
#include "api/params.h"
#include "control/services/choose.h"

namespace weft::agent {
namespace {

using control::ClientScope;
using nlohmann::json;

std::uint64_t monotonic_now() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(time.tv_nsec);
}

json backend_json(const control::ServicePort& port, std::uint32_t id) {
  const auto found = std::ranges::find(port.backends, id, &control::ServiceBackend::id);
  if (found == port.backends.end()) return {{"id", id}, {"address", ""}, {"port", 0}, {"namespace", ""}, {"pod", ""}};
  return {{"id", id},
          {"address", found->address.to_string()},
          {"port", found->port},
          {"namespace", found->pod.namespace_},
          {"pod", found->pod.name},
          {"node", found->node},
          {"local", found->local}};
}

std::string endpoint_text(const IpAddress& address, std::uint16_t port) {
  return address.is_v4() ? fmt::format("{}:{}", address.to_string(), port)
                         : fmt::format("[{}]:{}", address.to_string(), port);
}

std::string_view encapsulation_text(std::uint8_t encapsulation) {
  static constexpr std::string_view names[] = {"", "IP-in-IP", "Geneve", "IPv4 option"};
  return encapsulation < 4 ? names[encapsulation] : "unknown";
}

struct Client {
  std::optional<IpAddress> address;  // absent: any
  std::uint32_t endpoint_id = 0;     // of this node; 0: outside
  bool redirect_target = false;
  bool world = false;  // some address outside, whichever
  std::string text;
};

// Pods and the node are known to affinity and hashes by their endpoint, whichever address they use.
IpAddress known_as(const Client& client) {
  if (client.endpoint_id == 0) return client.address.value_or(IpAddress());
  IpAddress::Bytes bytes{};
  for (int i = 0; i < 4; ++i) bytes[15 - i] = static_cast<std::uint8_t>(client.endpoint_id >> (8 * i));
  return IpAddress(bytes);
}

// An address, NAMESPACE/POD, host or world.
Result<Client> client_of(const std::string& text, const std::vector<LiveEndpoint>& endpoints, const Node& node,
                         const std::map<model::ObjectKey, std::uint32_t>& redirect_targets) {
  Client client;
  client.text = text;
  const auto of_endpoint = [&](const LiveEndpoint& endpoint) {
    client.endpoint_id = endpoint.record.endpoint_id;
    client.redirect_target = redirect_targets.contains(endpoint.pod());
    client.text = endpoint.pod().to_string();
    if (!client.address && !endpoint.record.addresses.empty()) client.address = endpoint.record.addresses.front();
  };
  if (text == "world") {
    client.world = true;
    client.text = "any client outside";
    return client;
  }
  const auto address = IpAddress::parse(text);
  if (address) client.address = *address;
  if (text == "host" || (address && (node.addresses.contains(*address) || address->is_loopback()))) {
    client.endpoint_id = WEFT_ENDPOINT_ID_HOST;
    client.text = "the node";
    return client;
  }
  const auto slash = text.find('/');
  const model::ObjectKey pod{slash == std::string::npos ? "default" : text.substr(0, slash),
                             slash == std::string::npos ? text : text.substr(slash + 1)};
  for (const auto& endpoint : endpoints)
    if (address ? std::ranges::find(endpoint.record.addresses, *address) != endpoint.record.addresses.end()
                : endpoint.pod() == pod) {
      of_endpoint(endpoint);
      return client;
    }
  if (address) return client;
  return fail(ErrorCode::not_found, fmt::format("no pod {} is attached to this node", pod.to_string()),
              "name an address, NAMESPACE/POD, host or world");
}

// The frontend's own row, read back from the kernel: one Service's frontends differ in it.
weft_service row_of(const datapath::Datapath& datapath, const control::ServicePort& port,
                    const std::optional<control::ServiceFrontend>& frontend) {
  auto* map = datapath.map("weft_svc_v2");
  if (map == nullptr || !frontend) return port.row;
  weft_service_key key{};
  key.addr = datapath::to_abi(frontend->address);
  key.port = htons(frontend->port);
  key.protocol = static_cast<std::uint8_t>(port.protocol);
  const auto found = bpfrt::Map<weft_service_key, weft_service>(*map).lookup(key);
  return found && *found ? **found : port.row;
}

}  // namespace

struct Agent::TraceQuestion {
  Client client;
  std::uint16_t client_port = 0;
  const control::ServicePort* port = nullptr;
  std::optional<control::ServiceFrontend> frontend;
  ClientScope scope = ClientScope::internal;
};

// Whatever stands at an address.
Result<void> Agent::trace_address(TraceQuestion& question, const IpAddress& address, const PortProtocol& wanted) const {
  question.port = services().find(address, wanted.port, wanted.protocol);
  if (question.port == nullptr)
    return weft::fail(ErrorCode::not_found,
                      fmt::format("{} {} is no frontend of a Service", address.to_string(), wanted.to_string()),
                      "weft service list shows the frontends");
  for (const auto& frontend : question.port->frontends) {
    if (frontend.port != wanted.port) continue;
    const bool every = frontend.kind == control::FrontendKind::node_port ||
                       (frontend.kind == control::FrontendKind::host_port && frontend.address != address);
    if (frontend.address == address || (every && !question.frontend)) question.frontend = frontend;
  }
  return {};
}

// "svc/NAMESPACE/NAME"; the port may be left out where there is only one.
Result<void> Agent::trace_named(TraceQuestion& question, const std::string& text,
                                const std::optional<PortProtocol>& wanted) const {
  const auto name = text.starts_with("svc/") ? text.substr(4) : text;
  const auto slash = name.find('/');
  const model::ObjectKey key{slash == std::string::npos ? "default" : name.substr(0, slash),
                             slash == std::string::npos ? name : name.substr(slash + 1)};
  std::set<PortProtocol> ports;
  for (const auto* port : services().ports_of(key)) {
    ports.insert({port->port, port->protocol});
    if (wanted && (wanted->port != port->port || wanted->protocol != port->protocol)) continue;
    const bool family = question.client.address && question.client.address->family() == port->family;
    if (question.port == nullptr || family) question.port = port;
  }
  if (question.port == nullptr) {
    // That there is such a Service, but with nothing to balance, is another answer.
    if (ports.empty()) {
      WEFT_TRY(const auto service, objects_->read_as<model::Service>({model::Kind::service, key}));
      const bool named = service && service->type == model::Service::Type::external_name;
      if (service && (service->headless || named))
        return weft::fail(ErrorCode::not_found,
                          fmt::format("Service {} is {}: it has no address that leads to its endpoints",
                                      key.to_string(), named ? "of type ExternalName" : "headless"));
    }
    return weft::fail(ErrorCode::not_found,
                      wanted && !ports.empty()
                          ? fmt::format("Service {} has no port {}", key.to_string(), wanted->to_string())
                          : fmt::format("no Service {} is balanced here", key.to_string()),
                      "weft service list shows the Services and their ports");
  }
  if (!wanted && ports.size() > 1)
    return weft::fail(ErrorCode::invalid, fmt::format("Service {} has several ports", key.to_string()),
                      "name one with --port, as 80/TCP");
  // Inside it is called by its cluster IP, from outside by the address that is meant for it.
  using enum control::FrontendKind;
  auto order = std::vector{cluster_ip, node_port, external_ip, load_balancer, host_port};
  if (question.scope == ClientScope::external) order = {load_balancer, external_ip, node_port, host_port, cluster_ip};
  for (const auto kind : order)
    for (const auto& frontend : question.port->frontends)
      if (frontend.kind == kind && !question.frontend) question.frontend = frontend;
  return {};
}

Result<Agent::TraceQuestion> Agent::trace_question(const json& params) const {
  TraceQuestion question;
  WEFT_TRY(const auto to, api::required_text(params, "to"));
  WEFT_TRY(const auto from, api::optional_text(params, "from"));
  WEFT_TRY(const auto port_text, api::optional_text(params, "port"));
  WEFT_TRY(const auto source_port, api::optional_number(params, "source_port", 0));
  if (source_port > 65535) return weft::fail(ErrorCode::invalid, "source_port: expected a port");
  question.client_port = static_cast<std::uint16_t>(source_port);
  std::optional<PortProtocol> wanted;
  if (!port_text.empty()) {
    auto parsed = PortProtocol::parse(port_text);
    if (!parsed) return weft::fail(parsed.error().in("port"));
    wanted = *parsed;
  }
  if (!from.empty()) {
    WEFT_TRY(question.client, client_of(from, compiled().endpoints, node_, services().redirect_targets()));
  }
  if ((question.client.address && question.client.endpoint_id == 0) || question.client.world)
    question.scope = ClientScope::external;
  auto address = IpAddress::parse(to);
  // An address with its port, as it stands in lists: 10.96.0.2:80, [fd00::2]:80.
  if (const auto colon = to.rfind(':'); !address && !wanted && colon != std::string::npos) {
    auto host = to.substr(0, colon);
    if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
    address = IpAddress::parse(host);
    if (address) {
      auto port = PortProtocol::parse(to.substr(colon + 1));
      if (!port) return weft::fail(port.error().in("to"));
      wanted = *port;
    }
  }
  if (address) {
    if (!wanted) return weft::fail(ErrorCode::invalid, "port: which port of " + to + "?", "name it as 80/TCP");
    WEFT_CHECK(trace_address(question, *address, *wanted));
  } else {
    WEFT_CHECK(trace_named(question, to, wanted));
  }
  return question;
}

json Agent::trace_choice(const TraceQuestion& question) const {
  const auto& port = *question.port;
  const auto& tables = datapath_->tables().services();
  const auto row = row_of(*datapath_, port, question.frontend);
  const bool redirected = question.client.redirect_target && (row.flags & WEFT_SERVICE_LOCAL_REDIRECT) != 0;
  const auto scope = redirected ? ClientScope::external : question.scope;
  const auto [first, count] = control::slots_of(row, scope);
  json result{{"scope", scope == ClientScope::external && !redirected ? "external" : "internal"},
              {"run", {{"first", first}, {"count", count}}},
              {"backend", nullptr},
              {"shares", json::array()},
              {"source_ranges", {{"restricted", (row.flags & WEFT_SERVICE_SOURCE_RANGES) != 0}, {"allowed", true}}},
              {"affinity", {{"seconds", row.affinity_seconds}, {"backend", nullptr}, {"age_seconds", nullptr}}}};
  const bool world = question.client.world;
  if (!question.client.address && question.client.endpoint_id == 0 && !world) {
    result["scope"] = nullptr;
    result["why"] = "no client was named";
    return result;
  }
  if (question.scope == ClientScope::external && (row.flags & WEFT_SERVICE_EXTERNAL) == 0) {
    result["why"] = "clients outside the node are not served at this frontend";
    return result;
  }
  if ((row.flags & WEFT_SERVICE_SOURCE_RANGES) != 0 && world) {
    result["source_ranges"]["allowed"] = false;
    result["why"] = "only clients in loadBalancerSourceRanges are served: name an address of one with --from";
    return result;
  }
  if ((row.flags & WEFT_SERVICE_SOURCE_RANGES) != 0 && question.client.address) {
    auto* ranges = datapath_->map("weft_srange_v1");
    const weft_source_range_key key{160, row.service_id, datapath::to_abi(*question.client.address)};
    const auto found = ranges == nullptr ? Result<std::optional<std::uint32_t>>(std::nullopt)
                                         : bpfrt::Map<weft_source_range_key, std::uint32_t>(*ranges).lookup(key);
    if (!found || !*found) {
      result["source_ranges"]["allowed"] = false;
      result["why"] = fmt::format("{} is not in loadBalancerSourceRanges: its packets are dropped",
                                  question.client.address->to_string());
      return result;
    }
  }
  control::ChoiceQuestion choice;
  const auto run = services().run(first, count);
  choice.row = row;
  choice.run = run;
  choice.client = known_as(question.client);
  choice.client_port = question.client_port;
  choice.protocol = port.protocol;
  choice.scope = scope;
  choice.hash_seed = config_.service_hash_seed;
  if (row.service_id < tables.service_states().size()) choice.cursor = tables.service_states()[row.service_id].cursor;
  std::vector<std::uint32_t> active;
  for (const auto id : run)
    active.push_back(id < tables.backend_stats().size() ? tables.backend_stats()[id].active : 0);
  choice.active = active;
  if (auto* affinity = datapath_->map("weft_affin_v2"); affinity != nullptr && row.affinity_seconds != 0 && !world) {
    const weft_affinity_key key{datapath::to_abi(choice.client), row.service_id, 0};
    const auto found = bpfrt::Map<weft_affinity_key, weft_affinity>(*affinity).lookup(key);
    if (found && *found) {
      const auto now = monotonic_now();
      const auto age = now - std::min<std::uint64_t>(now, (*found)->last_used);
      const auto id = (*found)->backend_id;
      result["affinity"]["backend"] = backend_json(port, id);
      result["affinity"]["age_seconds"] = age / 1'000'000'000;
      const bool takes = id < tables.backends().size() && tables.backends()[id].state == WEFT_BACKEND_ACTIVE &&
                         tables.backends()[id].service_id == row.service_id;
      if (takes && age < row.affinity_seconds * std::uint64_t{1'000'000'000}) choice.remembered_backend = id;
    }
  }
  const bool hashes = row.algorithm == WEFT_ALGORITHM_MAGLEV || row.algorithm == WEFT_ALGORITHM_SOURCE_HASH;
  if (world && hashes) choice.row.algorithm = WEFT_ALGORITHM_RANDOM;
  auto answer = control::choose_backend(choice);
  if (world && hashes && !answer.backend)
    answer.why = fmt::format("{} hashes the client's address: name it with --from", algorithm_text(row.algorithm));
  // A socket has no port yet when it is sent to a backend: a random number is hashed in its place.
  if (row.algorithm == WEFT_ALGORITHM_MAGLEV && !world && question.client_port == 0 && answer.slot &&
      !choice.remembered_backend) {
    choice.row.algorithm = WEFT_ALGORITHM_RANDOM;
    answer = control::choose_backend(choice);
    if (!answer.backend) answer.why = "Maglev hashes the client's port, which is not known: name it with --source-port";
  }
  if (answer.backend) result["backend"] = backend_json(port, *answer.backend);
  if (answer.slot) result["slot"] = *answer.slot;
  for (const auto& [id, share] : answer.shares)
    result["shares"].push_back({{"backend", backend_json(port, id)}, {"share", share}});
  result["why"] = answer.why;
  return result;
}

json Agent::trace_flows(const TracedFlows& traced) const {
  static constexpr std::string_view exits[] = {"stack", "pod", "neighbour", "tunnel"};
  auto items = json::array();
  const auto now = monotonic_now();
  for (const auto& flow : traced.flows) {
    const auto* port = services().by_id(flow.service_id);
    const auto* client = live(flow.client);
    std::string device;
    if (const auto uplink = node_.uplinks.find(flow.out_ifindex); uplink != node_.uplinks.end())
      device = uplink->second.name;
    for (const auto& endpoint : compiled().endpoints)
      if (endpoint.record.ifindex == flow.out_ifindex) device = endpoint.record.device;
    items.push_back(
        {{"client", endpoint_text(flow.client, flow.client_port)},
         {"client_pod", client == nullptr ? "" : client->pod().to_string()},
         {"destination", endpoint_text(flow.destination, flow.destination_port)},
         {"protocol", weft::to_string(flow.protocol)},
         {"state", flow.state},
         {"scope", flow.external ? "external" : "internal"},
         {"backend", port == nullptr || flow.backend_id == 0 ? json() : backend_json(*port, flow.backend_id)},
         {"translated_source",
          flow.source_after ? json(endpoint_text(*flow.source_after, flow.source_port_after)) : json()},
         {"encapsulation", encapsulation_text(flow.encapsulation)},
         {"exit", flow.exit < std::size(exits) ? exits[flow.exit] : "unknown"},
         {"device", device},
         {"packets", flow.packets},
         {"bytes", flow.bytes},
         {"reply_packets", flow.reply_packets},
         {"reply_bytes", flow.reply_bytes},
         {"age_seconds", now > flow.created ? (now - flow.created) / 1'000'000'000 : 0}});
  }
  return items;
}

api::Answer Agent::trace_service(const json& params) const {
  WEFT_TRY(const auto question, trace_question(params));
  WEFT_TRY(const auto limit, api::optional_number(params, "limit", 100));
  WEFT_TRY(const auto every, api::optional_bool(params, "all_flows", false));
  const auto& port = *question.port;
  json result{{"service",
               {{"namespace", port.service.namespace_},
                {"name", port.service.name},
                {"port_name", port.port_name},
                {"id", port.id},
                {"port", port.port},
                {"protocol", weft::to_string(port.protocol)}}},
              {"frontend", nullptr},
              {"client",
               {{"text", question.client.text},
                {"address", question.client.address ? question.client.address->to_string() : ""},
                {"endpoint", question.client.endpoint_id},
                {"port", question.client_port}}},
              {"algorithm", algorithm_text(port.row.algorithm)},
              {"forwarding", forwarding_text(port.row.forwarding)},
              {"choice", trace_choice(question)}};
  if (question.frontend)
    result["frontend"] = {{"kind", control::to_string(question.frontend->kind)},
                          {"address", question.frontend->address.to_string()},
                          {"port", question.frontend->port}};
  auto* v4 = datapath_->map("weft_flow4_v2");
  auto* v6 = datapath_->map("weft_flow6_v2");
  if (v4 == nullptr || v6 == nullptr) return weft::fail(ErrorCode::internal, "the flow tables are missing");
  FlowFilter filter;
  filter.services = {port.id};
  if (!every) filter.client = question.client.address;
  filter.limit = std::clamp<std::size_t>(limit, 1, 10000);
  WEFT_TRY(const auto traced, flows_of_service(*v4, *v6, filter));
  result["flows"] = {{"items", trace_flows(traced)}, {"more", traced.more}};
  return result;
}

}  // namespace weft::agent
