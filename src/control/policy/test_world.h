// A small world for this room's tests: pods, namespaces and policies by name, identities and CIDR
// identities numbered as the agent numbers them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "control/identity/identity.h"
#include "control/policy/explain.h"
#include "control/policy/policy.h"

namespace weft::control::test {

inline IpAddress address(std::string_view text) { return IpAddress::parse(text).value(); }
inline Cidr cidr(std::string_view text) { return Cidr::parse(text).value(); }

// {"app", "web"} means app in (web).
inline model::LabelSelector labels_are(const LabelMap& labels) {
  model::LabelSelector selector;
  for (const auto& [key, value] : labels)
    selector.requirements.push_back({key, model::LabelRequirement::Operator::in, {value}});
  return selector;
}

inline model::PolicyPeer pods(const LabelMap& labels) { return {.pod_selector = labels_are(labels)}; }
inline model::PolicyPeer namespaces(const LabelMap& labels) { return {.namespace_selector = labels_are(labels)}; }
inline model::PolicyPeer block(std::string_view text, const std::vector<std::string_view>& except = {}) {
  model::PolicyPeer peer{.ip_block = model::IpBlock{cidr(text), {}}};
  for (const auto each : except) peer.ip_block->except.push_back(cidr(each));
  return peer;
}
inline model::PolicyPort port(std::uint16_t number, Protocol protocol = Protocol::tcp, std::uint16_t end = 0) {
  return {.protocol = protocol, .port = number, .end_port = end};
}
inline model::PolicyPort named(std::string name, Protocol protocol = Protocol::tcp) {
  return {.protocol = protocol, .port = std::move(name)};
}
inline model::PolicyPort every_port(Protocol protocol) { return {.protocol = protocol}; }

class World {
 public:
  World() = default;
  World(const World&) = delete;  // the compiler refers to its neighbours
  World& operator=(const World&) = delete;

  PolicyInput input;
  IdentityAllocator identities;
  CidrIdentities cidrs;
  RuleTable rules;
  PolicyCompiler compiler{rules, cidrs};
  CompiledPolicy compiled;

  PolicyEndpoint& pod(std::string_view key, const LabelMap& labels, std::string_view at,
                      std::vector<model::ContainerPort> ports = {});
  // Adds the policy, or replaces it under a new revision.
  model::NetworkPolicy& policy(std::string_view key, const LabelMap& selects = {});
  void remove_policy(std::string_view key);
  void compile() { compiled = compiler.compile(input); }

  [[nodiscard]] PolicyEndpoint& endpoint(std::string_view key);
  [[nodiscard]] const EndpointPolicy& stand(std::string_view key) const;
  // A side of a query: "ns/pod" or an address outside the cluster.
  [[nodiscard]] ExplainSide side(std::string_view name);
  [[nodiscard]] PolicyAnswer ask(weft_direction direction, std::string_view subject, std::string_view peer,
                                 std::uint16_t number, Protocol protocol = Protocol::tcp);
  [[nodiscard]] bool ingress(std::string_view from, std::string_view to, std::uint16_t number,
                             Protocol protocol = Protocol::tcp) {
    return ask(WEFT_INGRESS, to, from, number, protocol).allowed;
  }
  [[nodiscard]] bool egress(std::string_view from, std::string_view to, std::uint16_t number,
                            Protocol protocol = Protocol::tcp) {
    return ask(WEFT_EGRESS, from, to, number, protocol).allowed;
  }

 private:
  std::uint64_t revision_ = 0;
};

inline model::ObjectKey key_of(std::string_view text) {
  const auto slash = text.find('/');
  return {std::string(text.substr(0, slash)), std::string(text.substr(slash + 1))};
}

inline PolicyEndpoint& World::pod(std::string_view key, const LabelMap& labels, std::string_view at,
                                  std::vector<model::ContainerPort> ports) {
  PolicyEndpoint added{.pod = key_of(key), .labels = labels, .ports = std::move(ports), .addresses = {address(at)}};
  added.identity = identities.acquire(identity_labels(added.pod.namespace_, labels, added.ports)).value();
  const auto place = std::ranges::lower_bound(input.endpoints, added.pod, {}, &PolicyEndpoint::pod);
  return *input.endpoints.insert(place, std::move(added));
}

inline model::NetworkPolicy& World::policy(std::string_view key, const LabelMap& selects) {
  const auto name = key_of(key);
  auto& added = input.policies.edit()[name] = {};
  added.meta.namespace_ = name.namespace_;
  added.meta.name = name.name;
  added.pod_selector = labels_are(selects);
  input.revisions.edit()[name] = ++revision_;
  return added;
}

inline void World::remove_policy(std::string_view key) {
  input.policies.edit().erase(key_of(key));
  input.revisions.edit().erase(key_of(key));
}

inline PolicyEndpoint& World::endpoint(std::string_view key) {
  return *std::ranges::find(input.endpoints, key_of(key), &PolicyEndpoint::pod);
}

inline const EndpointPolicy& World::stand(std::string_view key) const { return compiled.endpoints.at(key_of(key)); }

inline ExplainSide World::side(std::string_view name) {
  ExplainSide side;
  if (name == "host") {
    side.is_host = true;
    side.identity = WEFT_IDENTITY_HOST;
    side.address = address("10.0.0.1");
  } else if (name.find('/') == std::string_view::npos) {
    side.identity = WEFT_IDENTITY_WORLD;
    side.address = address(name);
  } else {
    const auto& pod = endpoint(name);
    side.pod = pod.pod;
    side.identity = pod.identity;
    side.address = pod.addresses.front();
    side.labels = pod.labels;
  }
  side.cidr_identity = cidrs.narrowest(*side.address);
  return side;
}

inline PolicyAnswer World::ask(weft_direction direction, std::string_view subject, std::string_view peer,
                               std::uint16_t number, Protocol protocol) {
  const auto other = side(peer);
  return evaluate(compiled.rows, stand(subject), direction, other.identity, other.cidr_identity, protocol, number);
}

}  // namespace weft::control::test
