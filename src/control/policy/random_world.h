// Test support: random worlds of pods, namespaces and policies with every feature of the API, small
// enough in names, labels and addresses that things collide all the time; and random edits of them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "control/identity/identity.h"
#include "control/policy/policy.h"

namespace weft::control::oracle {

class RandomWorld {
 public:
  PolicyInput input;
  IdentityAllocator identities;
  std::vector<IpAddress> outside;  // addresses of nobody; the first of them is the node's

  explicit RandomWorld(std::uint64_t seed);
  void edit();

  std::uint64_t below(std::uint64_t limit) { return random_() % limit; }
  bool chance(unsigned percent) { return below(100) < percent; }
  template <class T>
  const T& pick(const std::vector<T>& from) {
    return from[below(from.size())];
  }
  std::uint16_t any_port() { return pick(ports_); }
  Protocol any_protocol() { return pick(std::vector{Protocol::tcp, Protocol::tcp, Protocol::udp, Protocol::sctp}); }

 private:
  LabelMap labels();
  model::LabelSelector selector(bool of_namespaces);
  IpAddress random_address(bool v4);
  Cidr random_cidr(const IpAddress& around, unsigned at_least);
  model::PolicyPeer peer();
  model::PolicyPort port();
  std::vector<model::PolicyRule> rules();
  std::vector<model::ContainerPort> container_ports();

  void add_pod();
  void change_pod();
  void remove_pod();
  void set_policy(const model::ObjectKey& key);
  void remove_policy();
  void change_namespace();
  void take_identity(PolicyEndpoint& endpoint);

  std::mt19937_64 random_;
  std::uint64_t revision_ = 0;
  int pods_made_ = 0;
  const std::vector<std::string> namespaces_{"a", "b", "c"};
  const std::vector<std::string> keys_{"app", "tier", "env"};
  const std::vector<std::string> values_{"x", "y", ""};
  const std::vector<std::string> port_names_{"http", "metrics", "dns"};
  const std::vector<std::uint16_t> ports_{1, 53, 79, 80, 81, 443, 1023, 1024, 8079, 8080, 8081, 9090, 32767, 65535};
};

inline RandomWorld::RandomWorld(std::uint64_t seed) : random_(seed) {
  for (int i = 0; i < 5; ++i) outside.push_back(random_address(i != 3));
  for (const auto& name : namespaces_)
    if (chance(70)) input.namespaces[name] = labels();
  const auto pods = 3 + below(6);
  for (std::uint64_t i = 0; i < pods; ++i) add_pod();
  const auto policies = 2 + below(8);
  for (std::uint64_t i = 0; i < policies; ++i) set_policy({pick(namespaces_), "p" + std::to_string(below(6))});
}

inline LabelMap RandomWorld::labels() {
  LabelMap result;
  for (const auto& key : keys_)
    if (chance(60)) result[key] = pick(values_);
  return result;
}

inline model::LabelSelector RandomWorld::selector(bool of_namespaces) {
  using Operator = model::LabelRequirement::Operator;
  model::LabelSelector result;
  if (of_namespaces && chance(30)) {
    result.requirements.push_back({"kubernetes.io/metadata.name", Operator::in, {pick(namespaces_)}});
    return result;
  }
  const auto count = below(3);
  for (std::uint64_t i = 0; i < count; ++i) {
    model::LabelRequirement requirement{
        pick(keys_),
        pick(std::vector{Operator::in, Operator::in, Operator::not_in, Operator::exists, Operator::does_not_exist}),
        {}};
    if (requirement.op == Operator::in || requirement.op == Operator::not_in) {
      requirement.values = {pick(values_)};
      if (chance(40)) requirement.values.push_back(pick(values_));
      std::ranges::sort(requirement.values);
    }
    result.requirements.push_back(requirement);
  }
  return result;
}

inline IpAddress RandomWorld::random_address(bool v4) {
  // 10.0.0.0/23 without the ends, or the same few bits of fd00::.
  const auto low = 1 + below(30) + (chance(50) ? 256 : 0);
  return (v4 ? IpAddress::v4(0x0a000000) : IpAddress::parse("fd00::").value()).plus(low);
}

inline Cidr RandomWorld::random_cidr(const IpAddress& around, unsigned at_least) {
  const std::vector<unsigned> lengths = around.is_v4() ? std::vector{0U, 8U, 16U, 23U, 24U, 27U, 28U, 30U, 31U, 32U}
                                                       : std::vector{0U, 8U, 64U, 119U, 120U, 124U, 126U, 128U};
  return {around, std::max(at_least, pick(lengths))};
}

inline model::PolicyPeer RandomWorld::peer() {
  model::PolicyPeer result;
  const auto kind = below(5);
  if (kind >= 3) {
    const auto around = random_address(chance(70));
    model::IpBlock block{random_cidr(around, 0), {}};
    const auto exceptions = below(3);
    for (std::uint64_t i = 0; i < exceptions; ++i) {
      const auto hole = random_cidr(random_address(around.is_v4()), block.cidr.length());
      if (block.cidr.contains(hole)) block.except.push_back(hole);
    }
    result.ip_block = block;
    return result;
  }
  if (kind != 1) result.pod_selector = selector(false);
  if (kind != 0) result.namespace_selector = selector(true);
  return result;
}

inline model::PolicyPort RandomWorld::port() {
  model::PolicyPort result{.protocol = any_protocol()};
  const auto kind = below(5);
  if (kind == 0) return result;
  if (kind <= 2) {
    result.port = pick(port_names_);
    return result;
  }
  const auto number = any_port();
  result.port = number;
  if (kind == 4) result.end_port = std::max(number, any_port());
  return result;
}

inline std::vector<model::PolicyRule> RandomWorld::rules() {
  std::vector<model::PolicyRule> result(below(4));
  for (auto& rule : result) {
    const auto peers = below(3);
    for (std::uint64_t i = 0; i < peers; ++i) rule.peers.push_back(peer());
    const auto ports = below(3);
    for (std::uint64_t i = 0; i < ports; ++i) rule.ports.push_back(port());
  }
  return result;
}

inline std::vector<model::ContainerPort> RandomWorld::container_ports() {
  std::vector<model::ContainerPort> result(below(4));
  for (auto& port : result) {
    if (chance(80)) port.name = pick(port_names_);
    port.port = any_port();
    port.protocol = any_protocol();
  }
  return result;
}

inline void RandomWorld::take_identity(PolicyEndpoint& endpoint) {
  const auto before = endpoint.identity;
  endpoint.identity =
      identities.acquire(identity_labels(endpoint.pod.namespace_, endpoint.labels, endpoint.ports)).value();
  if (before != 0) identities.release(before);
  if (chance(30)) identities.collect();
}

inline void RandomWorld::add_pod() {
  PolicyEndpoint added{.pod = {pick(namespaces_), "pod" + std::to_string(pods_made_++)}, .labels = labels()};
  added.ports = container_ports();
  if (!input.endpoints.empty() && chance(40)) {  // a replica
    const auto& twin = pick(input.endpoints);
    added.pod.namespace_ = twin.pod.namespace_;
    added.labels = twin.labels;
    if (chance(70)) added.ports = twin.ports;
  }
  const auto families = below(3);
  if (families != 1) added.addresses.push_back(random_address(true));
  if (families != 0) added.addresses.push_back(random_address(false));
  for (const auto& other : input.endpoints)
    for (const auto& address : other.addresses) std::erase(added.addresses, address);
  for (const auto& address : outside) std::erase(added.addresses, address);
  if (added.addresses.empty()) return;
  take_identity(added);
  const auto place = std::ranges::lower_bound(input.endpoints, added.pod, {}, &PolicyEndpoint::pod);
  input.endpoints.insert(place, added);
}

inline void RandomWorld::change_pod() {
  if (input.endpoints.empty()) return;
  auto& endpoint = input.endpoints[below(input.endpoints.size())];
  endpoint.labels = labels();
  if (chance(30)) endpoint.ports = container_ports();
  take_identity(endpoint);
}

inline void RandomWorld::remove_pod() {
  if (input.endpoints.size() < 3) return;
  const auto place = input.endpoints.begin() + static_cast<std::ptrdiff_t>(below(input.endpoints.size()));
  identities.release(place->identity);
  input.endpoints.erase(place);
}

inline void RandomWorld::set_policy(const model::ObjectKey& key) {
  model::NetworkPolicy policy;
  policy.meta.namespace_ = key.namespace_;
  policy.meta.name = key.name;
  policy.pod_selector = selector(false);
  const auto types = below(3);
  policy.applies_ingress = types != 1;
  policy.applies_egress = types != 0;
  policy.ingress = rules();
  policy.egress = rules();
  input.policies.edit()[key] = policy;
  input.revisions.edit()[key] = ++revision_;
}

inline void RandomWorld::remove_policy() {
  if (input.policies->empty()) return;
  auto gone = input.policies.edit().begin();
  std::advance(gone, static_cast<std::ptrdiff_t>(below(input.policies->size())));
  input.revisions.edit().erase(gone->first);
  input.policies.edit().erase(gone);
}

inline void RandomWorld::change_namespace() {
  const auto& name = pick(namespaces_);
  if (chance(30))
    input.namespaces.erase(name);
  else
    input.namespaces[name] = labels();
}

inline void RandomWorld::edit() {
  const auto edits = 1 + below(2);
  for (std::uint64_t i = 0; i < edits; ++i) switch (below(7)) {
      case 0:
        add_pod();
        break;
      case 1:
        remove_pod();
        break;
      case 2:
        remove_policy();
        break;
      case 3:
        change_namespace();
        break;
      case 4:
        change_pod();
        break;
      default:
        set_policy({pick(namespaces_), "p" + std::to_string(below(6))});
    }
}

}  // namespace weft::control::oracle
