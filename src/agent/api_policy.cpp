// API: why a connection is allowed or denied, from the rows the datapath holds.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "agent/agent.h"
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

control::ExplainSide Agent::side_of(const IpAddress& address) const {
  if (const auto* endpoint = live(address)) return side_of(*endpoint, address);
  control::ExplainSide side;
  side.address = address;
  side.is_host = node_.addresses.contains(address);
  side.cidr_identity = compiler().cidrs().narrowest(address);
  side.identity = side.cidr_identity != 0 ? side.cidr_identity : control::IdentityId{WEFT_IDENTITY_WORLD};
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
    targets.push_back(std::move(target));
  }
  return targets;
}

// "shop/web-0", "shop/web", "svc/shop/web", an address, "host", "world".
Result<std::vector<Agent::Target>> Agent::resolve(const std::string& text, const PortProtocol& port) const {
  std::vector<Target> targets;
  if (text == "host" && !node_.addresses.empty())
    return std::vector<Target>{{side_of(*node_.addresses.begin()), {}, {}, {}}};
  if (text == "world") {
    control::ExplainSide world;
    world.identity = WEFT_IDENTITY_WORLD;
    return std::vector<Target>{{world, {}, {}, {}}};
  }
  if (const auto address = IpAddress::parse(text)) {
    if (const auto* found = services().find(*address, port.port, port.protocol)) return through_service(*found);
    return std::vector<Target>{{side_of(*address), {}, {}, {}}};
  }
  if (text.starts_with("svc/")) {
    const auto rest = text.substr(4);
    const auto slash = rest.find('/');
    const model::ObjectKey key{slash == std::string::npos ? "default" : rest.substr(0, slash),
                               slash == std::string::npos ? rest : rest.substr(slash + 1)};
    for (const auto* found : services().ports_of(key))
      if (found->port == port.port && found->protocol == port.protocol)
        std::ranges::move(through_service(*found), std::back_inserter(targets));
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
      targets.push_back({side_of(endpoint, endpoint.record.addresses.front()), {}, {}, {}});
  if (!targets.empty()) return targets;
  if (objects_->pod({space, name}) != nullptr)
    return weft::fail(ErrorCode::unavailable, fmt::format("pod {}/{} is not attached yet", space, name));
  return weft::fail(ErrorCode::not_found, fmt::format("no pod or workload {}/{}", space, name),
                    "name it NAMESPACE/POD, NAMESPACE/WORKLOAD, svc/NAMESPACE/NAME, an address, host or world");
}

json Agent::rule_json(control::RuleId id) const {
  const auto* rule = compiler().rules().find(id);
  if (rule == nullptr) return nullptr;
  return rule_to_json(id, *rule, control::location_of(*rule, compiled().policy_input));
}

api::Answer Agent::explain_policy(const json& params) const {
  WEFT_TRY(const auto from, api::required_text(params, "from"));
  WEFT_TRY(const auto to, api::required_text(params, "to"));
  WEFT_TRY(const auto port_text, api::required_text(params, "port"));
  WEFT_TRY(const auto port, PortProtocol::parse(port_text));
  WEFT_TRY(const auto sources, resolve(from, {0, Protocol::any}));
  WEFT_TRY(const auto targets, resolve(to, port));
  json result{{"items", json::array()}};
  for (const auto& source : sources)
    for (const auto& target : targets) {
      const auto actual = target.port.value_or(port);
      json item{{"from", side_json(source.side)},
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
                     {"change", {"let the service's selector match a ready pod that has the target port"}}});
        result["items"].push_back(std::move(item));
        continue;
      }
      const control::ExplainQuery query{source.side, target.side, actual.protocol, actual.port, target.service};
      const auto answer = control::explain(query, compiled().policy, compiled().policy_input, compiler().rules());
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
      item["change"] = answer.change;
      result["items"].push_back(std::move(item));
    }
  return result;
}

// For many questions at once, without words: what the datapath would say. For a service it is
// denied if any backend is.
api::Answer Agent::policy_verdicts(const json& params) const {
  if (!params.contains("queries") || !params["queries"].is_array())
    return weft::fail(ErrorCode::invalid, "queries: expected a list of {from, to, port, protocol}");
  json result{{"items", json::array()}};
  for (const auto& query : params["queries"]) {
    WEFT_TRY(const auto from, api::required_text(query, "from"));
    WEFT_TRY(const auto to, api::required_text(query, "to"));
    WEFT_TRY(const auto number, api::optional_number(query, "port", 0));
    WEFT_TRY(const auto word, api::optional_text(query, "protocol", "TCP"));
    WEFT_TRY(const auto protocol, parse_protocol(word));
    if (number > 65535) return weft::fail(ErrorCode::invalid, fmt::format("port: {} is above 65535", number));
    const PortProtocol port{static_cast<std::uint16_t>(number), protocol};
    WEFT_TRY(const auto sources, resolve(from, {0, Protocol::any}));
    WEFT_TRY(const auto targets, resolve(to, port));
    json item{{"verdict", "allow"}, {"rule", nullptr}};
    for (const auto& source : sources)
      for (const auto& target : targets) {
        if (item["verdict"] == "deny") break;
        if (!target.missing.empty()) {
          item = {{"verdict", "deny"}, {"rule", {{"id", 0}, {"kind", "no_backend"}, {"text", target.missing}}}};
          break;
        }
        const auto actual = target.port.value_or(port);
        const auto answer = control::explain({source.side, target.side, actual.protocol, actual.port, target.service},
                                             compiled().policy, compiled().policy_input, compiler().rules());
        item = {{"verdict", verdict_word(answer.allowed)}, {"rule", rule_json(answer.decisive().id)}};
      }
    result["items"].push_back(std::move(item));
  }
  return result;
}

void Agent::register_policy() {
  server_->handle("policy.explain", [this](const json& params) { return explain_policy(params); });
  server_->handle("policy.verdicts", [this](const json& params) { return policy_verdicts(params); });
}

}  // namespace weft::agent
