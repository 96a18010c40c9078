// API: why a connection is allowed or denied, from the rows the datapath holds.
#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <ranges>
#include <set>

#include "agent/agent.h"
#include "agent/elsewhere.h"
#include "agent/rule_json.h"
#include "api/params.h"

namespace weft::agent {
namespace {

using nlohmann::json;

json side_json(const control::ExplainSide& side) {
  json result{{"namespace", nullptr},
              {"pod", nullptr},
              {"address", nullptr},
              {"identity", side.identity},
              {"labels", to_texts(side.labels)}};
  if (side.pod) {
    result["namespace"] = side.pod->namespace_;
    result["pod"] = side.pod->name;
  }
  if (side.address) result["address"] = side.address->to_string();
  return result;
}

std::string ports_at(const control::ServiceCompiler& services, const IpAddress& address, model::ObjectKey& service) {
  std::string ports;
  services.for_each([&](const control::ServicePort& port) {
    for (const auto& frontend : port.frontends) {
      if (frontend.address != address) continue;
      service = port.service;
      ports += (ports.empty() ? "" : ", ") + PortProtocol{frontend.port, port.protocol}.to_string();
    }
  });
  return ports;
}

const char* verdict_word(bool allowed) { return allowed ? "allow" : "deny"; }

}  // namespace

control::ExplainSide Agent::side_of(const LiveEndpoint& endpoint, const IpAddress& address) const {
  control::ExplainSide side;
  side.pod = endpoint.pod();
  side.address = address;
  side.identity = endpoint.identity;
  side.cidr_identity = compiler().cidrs().narrowest(address);
  side.labels = endpoint.pod_labels;
  return side;
}

control::ExplainSide Agent::side_of(const cluster::ToldPod& pod, const IpAddress& address) const {
  control::ExplainSide side;
  side.pod = model::ObjectKey{pod.name.namespace_, pod.name.name};
  side.address = address;
  side.identity = pod.told.identity;
  side.cidr_identity = compiler().cidrs().narrowest(address);
  if (const auto* identity = compiler().identities().find(pod.told.identity))
    side.labels = control::pod_labels_of(identity->labels);
  return side;
}

std::optional<cluster::ToldPod> Agent::remote(const IpAddress& address) const {
  if (publisher_->others() == nullptr) return {};
  auto pods = publisher_->others()->at(address);
  return pods.empty() ? std::nullopt : std::optional(std::move(pods.front()));
}

const weft_remote* Agent::kept_remote(const IpAddress& address) const {
  const auto& cluster = publisher_->cluster();
  if (!cluster.clustered || cluster.known) return nullptr;
  return datapath_->tables().remote(datapath::to_abi(address));
}

control::ExplainSide Agent::side_of(const IpAddress& address) const {
  if (const auto* endpoint = live(address)) return side_of(*endpoint, address);
  if (const auto pod = remote(address)) return side_of(*pod, address);
  control::ExplainSide side;
  side.address = address;
  side.is_host = node_.addresses.contains(address);
  side.cidr_identity = compiler().cidrs().narrowest(address);
  side.identity = side.cidr_identity != 0 ? side.cidr_identity : control::IdentityId{WEFT_IDENTITY_WORLD};
  if (publisher_->cluster().plan.addresses.contains(address)) side.identity = WEFT_IDENTITY_REMOTE_NODE;
  if (const auto* kept = kept_remote(address)) {
    side.identity = kept->identity;
    if (const auto* identity = compiler().identities().find(kept->identity))
      side.labels = control::pod_labels_of(identity->labels);
  }
  if (side.is_host) side.identity = WEFT_IDENTITY_HOST;
  return side;
}

// The backends a client on this node may get.
std::vector<Agent::Target> Agent::through_service(const control::ServicePort& port) const {
  std::vector<Target> targets;
  const control::ExplainService service{port.service, port.port};
  for (const auto& backend : port.backends) {
    if (!backend.internal) continue;
    Target target;
    target.side = side_of(backend.address);
    target.service = service;
    target.port = PortProtocol{backend.port, port.protocol};
    targets.push_back(std::move(target));
  }
  if (targets.empty()) {
    Target target;
    if (!port.frontends.empty()) target.side.address = port.frontends.front().address;
    target.service = service;
    target.missing = fmt::format("service {} has no usable backend for port {}", port.service.to_string(), port.port);
    target.remedy = "let the service's selector match a ready pod that has the target port";
    targets.push_back(std::move(target));
  }
  return targets;
}

// In the pod and service ranges only endpoints and served ports are reached.
std::optional<Agent::Target> Agent::nobody_at(const IpAddress& address, const PortProtocol& port) const {
  if (live(address) != nullptr || remote(address) || kept_remote(address) != nullptr ||
      node_.addresses.contains(address) || publisher_->cluster().plan.addresses.contains(address))
    return std::nullopt;
  const auto holds = [&](const Cidr& cidr) { return cidr.contains(address); };
  const bool of_services = std::ranges::any_of(config_.service_cidrs, holds);
  const bool of_pods =
      std::ranges::any_of(pools_, [&](const auto& pool) { return pool.block_of(address).has_value(); });
  if (!of_services && !of_pods) return std::nullopt;
  Target target;
  target.side = side_of(address);
  target.unknown = true;
  model::ObjectKey service;
  const auto ports = ports_at(services(), address, service);
  if (!ports.empty()) {
    const bool echo = port.protocol == Protocol::icmp || port.protocol == Protocol::icmpv6;
    const auto asked = echo ? std::string(weft::to_string(port.protocol)) : port.to_string();
    target.missing =
        fmt::format("service {} serves {} at {}, not {}", service.to_string(), ports, address.to_string(), asked);
    target.remedy = echo ? "ask its pods: a service answers on its ports only"
                         : fmt::format("ask for a port it serves, or add {} to its ports", asked);
  } else {
    target.missing = fmt::format("no {} has the address {}", of_services ? "service" : "pod", address.to_string());
    target.remedy = of_services ? "weft service list shows the services and their addresses"
                                : "weft endpoint list shows the pods and their addresses";
  }
  return target;
}

// The same pod, or the node, by an address of this family. World has every address.
std::optional<control::ExplainSide> Agent::in_family(const control::ExplainSide& side, Family family) const {
  if (!side.address || side.address->family() == family) return side;
  if (side.is_host) {
    for (const auto& address : node_.main_addresses())
      if (address.family() == family) return side_of(address);
  } else if (side.pod) {
    if (const auto* endpoint = live(*side.pod))
      for (const auto& address : endpoint->record.addresses)
        if (address.family() == family) return side_of(*endpoint, address);
    if (const auto pod = remote(*side.address))
      for (const auto& address : pod->told.addresses)
        if (address.family() == family) return side_of(*pod, address);
  }
  return std::nullopt;
}

Result<std::vector<Agent::Pair>> Agent::resolve_pairs(const std::string& from, const std::string& to,
                                                      const PortProtocol& port) const {
  if (from.starts_with("svc/"))
    return weft::fail(ErrorCode::invalid, fmt::format("from {}: a Service only receives connections", from),
                      "name what connects: NAMESPACE/POD, NAMESPACE/WORKLOAD, an address, host or world");
  const bool ported =
      port.protocol == Protocol::tcp || port.protocol == Protocol::udp || port.protocol == Protocol::sctp;
  if (ported && port.port == 0) return weft::fail(ErrorCode::invalid, "port: expected 1 to 65535, found 0");
  WEFT_TRY(const auto sources, resolve(from, {0, Protocol::any}));
  WEFT_TRY(const auto targets, resolve(to, port));
  const bool from_fixed = IpAddress::parse(from).has_value();
  const bool to_fixed = IpAddress::parse(to).has_value();
  std::vector<Pair> pairs;
  for (const auto& source : sources)
    for (const auto& target : targets) {
      Pair pair{source.side, target};
      if (!source.missing.empty()) {
        pair.to.missing = fmt::format("no pod has the address {}: nothing connects from it", from);
        pair.to.remedy = source.remedy;
      } else if (target.unknown && source.side.pod) {
        // The word by which `weft observe --drop-reason` finds the packets.
        pair.to.missing += ": the datapath drops it as unknown-endpoint";
      }
      const auto& there = target.side.address;
      const auto& here = source.side.address;
      if (here && there && here->family() != there->family()) {
        const auto moved = from_fixed ? std::nullopt : in_family(source.side, there->family());
        const auto met = moved || target.service || to_fixed ? std::nullopt : in_family(target.side, here->family());
        if (!moved && !met) continue;
        if (moved) pair.from = *moved;
        if (met) pair.to.side = *met;
      }
      pairs.push_back(std::move(pair));
    }
  if (pairs.empty())
    return weft::fail(ErrorCode::invalid, fmt::format("{} and {} have no addresses of one family", from, to),
                      "name two that both have IPv4 or both have IPv6");
  return pairs;
}

// "shop/web-0", "shop/web", "svc/shop/web", an address, "host", "world".
Result<std::vector<Agent::Target>> Agent::resolve(const std::string& text, const PortProtocol& port) const {
  std::vector<Target> targets;
  const auto only = [](control::ExplainSide side) {
    Target target;
    target.side = std::move(side);
    return target;
  };
  if (text == "host" && !node_.addresses.empty())
    return std::vector<Target>{only(side_of(node_.main_addresses().front()))};
  if (text == "world") {
    control::ExplainSide world;
    world.identity = WEFT_IDENTITY_WORLD;
    return std::vector<Target>{only(world)};
  }
  if (const auto address = IpAddress::parse(text)) {
    if (const auto* found = services().find(*address, port.port, port.protocol)) return through_service(*found);
    return std::vector<Target>{nobody_at(*address, port).value_or(only(side_of(*address)))};
  }
  if (text.starts_with("svc/")) {
    const auto rest = text.substr(4);
    const auto slash = rest.find('/');
    const model::ObjectKey key{slash == std::string::npos ? "default" : rest.substr(0, slash),
                               slash == std::string::npos ? rest : rest.substr(slash + 1)};
    for (const auto* found : services().ports_of(key))
      if (found->port == port.port && found->protocol == port.protocol)
        std::ranges::move(through_service(*found), std::back_inserter(targets));
    WEFT_TRY(const bool known, objects_->contains({model::Kind::service, key}));
    if (!known)
      return weft::fail(ErrorCode::not_found, fmt::format("no service {}", key.to_string()),
                        "weft service list shows the services and their ports");
    if (targets.empty())
      return weft::fail(ErrorCode::not_found,
                        fmt::format("service {} has no port {}", key.to_string(), port.to_string()),
                        "weft service list shows the services and their ports");
    return targets;
  }
  const auto slash = text.find('/');
  const std::string space = slash == std::string::npos ? "default" : text.substr(0, slash);
  const std::string name = slash == std::string::npos ? text : text.substr(slash + 1);
  for (const auto& endpoint : compiled().endpoints)
    if (endpoint.record.namespace_ == space && (endpoint.record.pod == name || endpoint.workload == name))
      targets.push_back(only(side_of(endpoint, endpoint.record.addresses.front())));
  // Elsewhere: by its own name, or by that of its workload, which an object tells.
  std::set<std::string> names{name};
  for (const auto& [key, pod] : objects_->pods())
    if (key.namespace_ == space && pod.workload == name) names.insert(key.name);
  if (const auto* others = publisher_->others())
    for (const auto& each : names)
      for (const auto& pod : others->named({space, each}))
        if (!pod.told.host_network && !pod.told.addresses.empty() && live(model::ObjectKey{space, each}) == nullptr)
          targets.push_back(only(side_of(pod, pod.told.addresses.front())));
  if (const auto addresses = node_.main_addresses(); targets.empty() && !addresses.empty())
    for (const auto& [key, pod] : objects_->pods())
      if (pod.spec.host_network && key.namespace_ == space && (key.name == name || pod.workload == name)) {
        targets.push_back(only(side_of(addresses.front())));
        break;  // all of them are the node
      }
  if (!targets.empty()) return targets;
  if (const auto lost = lost_interface(text); !lost.empty()) return weft::fail(ErrorCode::not_found, lost);
  if (const auto& cluster = publisher_->cluster(); cluster.clustered && !cluster.known)
    return weft::fail(ErrorCode::unavailable,
                      fmt::format("no pod or workload {}/{} is attached here, and of other nodes' pods {} has told "
                                  "this node nothing since its agent was started",
                                  space, name, config_.store_name()),
                      "name it by its address, ask on its own node, or try again once weft status says joined");
  if (objects_->pod({space, name}) != nullptr)
    return weft::fail(ErrorCode::unavailable, fmt::format("pod {}/{} is not attached yet", space, name));
  return weft::fail(ErrorCode::not_found, fmt::format("no pod or workload {}/{}", space, name),
                    "name it NAMESPACE/POD, NAMESPACE/WORKLOAD, svc/NAMESPACE/NAME, an address, host or world");
}

// Why the pod NAMESPACE/POD has no network though it was attached; empty for all others.
std::string Agent::lost_interface(const std::string& text) const {
  for (const auto& [key, record] : attachment_->records())
    if (record.state == store::EndpointState::ready && record.ifindex == 0 &&
        (text == record.namespace_ + "/" + record.pod || (record.namespace_ == "default" && text == record.pod)))
      return fmt::format("pod {}/{} has lost its interface {}; create it again", record.namespace_, record.pod,
                         key.ifname);
  return {};
}

namespace {

// "80/TCP", "80", and "ICMP" or "ICMPv6", which have no ports.
Result<PortProtocol> parse_port(const std::string& text) {
  if (const auto protocol = parse_protocol(text);
      protocol && (*protocol == Protocol::icmp || *protocol == Protocol::icmpv6))
    return PortProtocol{0, *protocol};
  return PortProtocol::parse(text);
}

}  // namespace

// A pod's part in policies: of one of another node as its node told.
control::PolicyEndpoint Agent::policed(const control::ExplainSide& side) const {
  control::PolicyEndpoint endpoint{
      .pod = *side.pod, .identity = side.identity, .labels = side.labels, .ports = {}, .addresses = {*side.address}};
  if (const auto* own = live(*side.address)) {
    endpoint.ports = own->ports;
    endpoint.addresses = own->record.addresses;
  } else if (const auto pod = remote(*side.address)) {
    if (const auto* identity = compiler().identities().find(pod->told.identity))
      endpoint.ports = control::named_ports_of(identity->labels);
    endpoint.addresses = pod->told.addresses;
  }
  return endpoint;
}

// A client outside whose address a backend on another node does not see.
bool Agent::is_translated(const control::ExplainSide& source, const Target& target) const {
  const auto ports =
      target.service ? services().ports_of(target.service->key) : std::vector<const control::ServicePort*>();
  const bool outside = !source.pod && !source.is_host && source.address &&
                       !publisher_->cluster().plan.addresses.contains(*source.address);
  return outside && std::ranges::any_of(ports, [&](const control::ServicePort* port) {
           return port->port == target.service->port && port->row.forwarding == WEFT_FORWARD_SNAT;
         });
}

bool Agent::is_elsewhere(const control::ExplainSide& side) const {
  return side.pod && side.address && live(*side.address) == nullptr && remote(*side.address);
}

// Once for all pairs of a request: the policies are compiled for it. Absent: nobody of them is on another node.
std::optional<Elsewhere> Agent::elsewhere_of(const std::vector<Pair>& pairs) const {
  std::map<model::ObjectKey, control::PolicyEndpoint> pods;
  for (const auto& [source, target] : pairs) {
    if (!is_elsewhere(source) && !is_elsewhere(target.side)) continue;
    for (const auto* side : {&source, &target.side})
      if (side->pod && side->address && !pods.contains(*side->pod)) pods.emplace(*side->pod, policed(*side));
  }
  if (pods.empty()) return std::nullopt;
  const auto all = std::views::values(pods);
  return compile_elsewhere({all.begin(), all.end()}, compiled().policy_input, compiler().rules(), compiler().cidrs());
}

Agent::Explained Agent::explain_pair(const Pair& pair, const PortProtocol& port,
                                     const std::optional<Elsewhere>& there) const {
  const auto& [source, target] = pair;
  control::ExplainQuery query{source, target.side, port.protocol, port.port, target.service};
  const bool to_there = is_elsewhere(target.side);
  if (!to_there && !is_elsewhere(source))
    return {.answer = control::explain(query, compiled().policy, compiled().policy_input, compiler().rules())};
  const bool translated = to_there && is_translated(source, target);
  query = seen_elsewhere(std::move(query), *there, to_there, translated);
  return {.answer = control::explain(query, there->policy, there->input, there->rules), .translated = translated};
}

api::Answer Agent::explain_policy(const json& params) const {
  WEFT_TRY(const auto from, api::required_text(params, "from"));
  WEFT_TRY(const auto to, api::required_text(params, "to"));
  WEFT_TRY(const auto port_text, api::required_text(params, "port"));
  WEFT_TRY(const auto port, parse_port(port_text));
  WEFT_TRY(const auto pairs, resolve_pairs(from, to, port));
  json result{{"items", json::array()}};
  const auto there = elsewhere_of(pairs);
  for (const auto& pair : pairs) {
    const auto& [source, target] = pair;
    const auto actual = target.port.value_or(port);
    json item{{"from", side_json(source)},
              {"to", side_json(target.side)},
              {"service", nullptr},
              {"port", actual.port},
              {"protocol", weft::to_string(actual.protocol)}};
    if (target.service)
      item["service"] = {{"namespace", target.service->key.namespace_},
                         {"name", target.service->key.name},
                         {"port", target.service->port}};
    if (!target.missing.empty()) {
      item.update({{"verdict", "deny"},
                   {"egress", nullptr},
                   {"ingress", nullptr},
                   {"rule", nullptr},
                   {"text", {target.missing}},
                   {"change", {target.remedy}}});
      result["items"].push_back(std::move(item));
      continue;
    }
    const auto explained = explain_pair(pair, actual, there);
    const auto& answer = explained.answer;
    const auto direction_json = [&](const control::ExplainAnswer& one) {
      return json{{"verdict", verdict_word(one.allowed)},
                  {"enforced", one.enforced},
                  {"rule", rule_to_json(one.id, one.rule, control::location_of(one.rule, compiled().policy_input))}};
    };
    item["verdict"] = verdict_word(answer.allowed);
    item["egress"] = direction_json(answer.egress);
    item["ingress"] = direction_json(answer.ingress);
    item["deciding"] = answer.deciding == WEFT_EGRESS ? "egress" : "ingress";
    item["rule"] = direction_json(answer.decisive())["rule"];
    item["text"] = answer.text;
    if (explained.translated)
      item["text"].push_back(fmt::format(
          "by this Service the pod sees this node in the place of {}: a block (ipBlock) of clients is of no use where "
          "the pod is on another node, externalTrafficPolicy: Local or direct server return keep the client's address "
          "(docs/services.md)",
          source.address->to_string()));
    // Each node decides for its own pods.
    const auto elsewhere = [&](const control::ExplainSide& side, const char* direction) {
      const auto pod = side.address ? remote(*side.address) : std::nullopt;
      if (pod)
        item["text"].push_back(
            fmt::format("{} is on node {}, which enforces its {}", pod->name.to_string(), pod->node, direction));
      else if (side.address && kept_remote(*side.address) != nullptr)
        item["text"].push_back(
            fmt::format("{} is another node's, as this one heard before its agent was started: what policies there say "
                        "of {} is decided and explained there",
                        side.address->to_string(), direction));
    };
    elsewhere(source, "egress");
    elsewhere(target.side, "ingress");
    item["change"] = answer.change;
    item["egress_gateway"] = egress_way(source, target.side);
    if (const auto& way = item["egress_gateway"]; way.is_object() && answer.allowed)
      item["text"].push_back(
          way["node"].is_null()
              ? fmt::format("EgressGateway {} selects it and has no gateway that can be used: dropped as "
                            "no-egress-gateway (weft egress list)",
                            way["name"].get<std::string>())
              : fmt::format("it leaves the cluster by node {}, as {} (EgressGateway {})",
                            way["node"].get<std::string>(),
                            way["address"].is_null() ? "that node's address" : way["address"].get<std::string>(),
                            way["name"].get<std::string>()));
    result["items"].push_back(std::move(item));
  }
  return result;
}

// For many questions at once, without words: what the datapath would say. For a service it is
// denied if any backend is.
api::Answer Agent::policy_verdicts(const json& params) const {
  if (!params.contains("queries") || !params["queries"].is_array())
    return weft::fail(ErrorCode::invalid, "queries: expected a list of {from, to, port, protocol}");
  struct Question {
    PortProtocol port;
    std::size_t first = 0;  // of its pairs
    std::size_t count = 0;
    std::string lost;
  };
  std::vector<Question> questions;
  std::vector<Pair> pairs;  // of all questions
  for (const auto& query : params["queries"]) {
    WEFT_TRY(const auto from, api::required_text(query, "from"));
    WEFT_TRY(const auto to, api::required_text(query, "to"));
    WEFT_TRY(const auto number, api::optional_number(query, "port", 0));
    WEFT_TRY(const auto word, api::optional_text(query, "protocol", "TCP"));
    WEFT_TRY(const auto protocol, parse_protocol(word));
    if (number > 65535) return weft::fail(ErrorCode::invalid, fmt::format("port: {} is above 65535", number));
    const PortProtocol port{static_cast<std::uint16_t>(number), protocol};
    auto& question = questions.emplace_back(Question{.port = port, .first = pairs.size()});
    // One pod without an interface must not keep the other questions from their answers.
    question.lost = lost_interface(from) + lost_interface(to);
    if (!question.lost.empty()) continue;
    WEFT_TRY(auto resolved, resolve_pairs(from, to, port));
    question.count = resolved.size();
    std::ranges::move(resolved, std::back_inserter(pairs));
  }
  const auto there = elsewhere_of(pairs);
  json result{{"items", json::array()}};
  for (const auto& question : questions) {
    json item{{"verdict", "allow"}, {"rule", nullptr}};
    if (!question.lost.empty())
      item = {{"verdict", "deny"}, {"rule", {{"id", 0}, {"kind", "no_interface"}, {"text", question.lost}}}};
    for (std::size_t i = 0; i < question.count && item["verdict"] != "deny"; ++i)
      item = verdict_of(pairs[question.first + i], question.port, there);
    result["items"].push_back(std::move(item));
  }
  return result;
}

json Agent::verdict_of(const Pair& pair, const PortProtocol& port, const std::optional<Elsewhere>& there) const {
  const auto& target = pair.to;
  if (!target.missing.empty())
    return {{"verdict", "deny"}, {"rule", {{"id", 0}, {"kind", "no_backend"}, {"text", target.missing}}}};
  const auto explained = explain_pair(pair, target.port.value_or(port), there);
  const auto& decisive = explained.answer.decisive();
  return {
      {"verdict", verdict_word(decisive.allowed)},
      {"rule", rule_to_json(decisive.id, decisive.rule, control::location_of(decisive.rule, compiled().policy_input))}};
}

void Agent::register_policy() {
  server_->handle("policy.explain", [this](const json& params) { return dated(explain_policy(params)); });
  server_->handle_async("policy.status", [this](const json& params, const api::Responder& responder) {
    policy_status(params, responder);
  });
  server_->handle("policy.verdicts", [this](const json& params) { return policy_verdicts(params); });
}

}  // namespace weft::agent
