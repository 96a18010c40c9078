// The rules of Services, read slowly and directly: every pod and every slice is looked at for every port.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "control/services/services.h"

namespace weft::control::testing {

// What a frontend means: who gets new flows, how often, and from whom.
struct Meaning {
  model::ObjectKey owner;
  std::map<std::string, std::uint32_t> internal;  // "10.0.0.1:80" -> slots; tables count as 1
  std::map<std::string, std::uint32_t> external;
  std::uint16_t flags = 0;
  std::uint32_t affinity = 0;
  std::uint8_t algorithm = 0;
  std::set<std::string> ranges;
  auto operator<=>(const Meaning&) const = default;
};
using Frontends = std::map<std::string, std::vector<Meaning>>;  // "10.96.0.2:80/TCP" -> whoever wants it

inline std::string text(const IpAddress& address, std::uint16_t port) {
  return fmt::format("{}:{}", address.to_string(), port);
}
struct World {
  std::map<model::ObjectKey, model::Service> services;
  std::map<model::ObjectKey, model::EndpointSlice> slices;
  std::map<model::ObjectKey, ServicePod> pods;
  std::map<std::string, model::LoadBalancerPool> pools;
  std::set<std::string> unhealthy;  // "10.0.0.1:80/TCP"
  ServiceNode node;
};

struct Endpoint {
  IpAddress address;
  std::uint16_t port = 0;
  bool ready = true, serving = true, terminating = false, local = false;
  std::vector<std::string> zones, nodes;
  std::uint32_t weight = 1;
};

inline std::uint16_t resolve(const model::ServicePort& port, const ServicePod& pod) {
  if (const auto* fixed = std::get_if<std::uint16_t>(&port.target_port)) return *fixed != 0 ? *fixed : port.port;
  for (const auto& candidate : pod.ports)
    if (candidate.protocol == port.protocol && model::PortReference(candidate.name) == port.target_port)
      return candidate.port;
  return 0;
}

inline bool matches(const LabelMap& selector, const LabelMap& labels) {
  for (const auto& [label, value] : selector)
    if (!labels.contains(label) || labels.at(label) != value) return false;
  return !selector.empty();
}

// Every pod and every slice is looked at.
class Model {
 public:
  explicit Model(const World& world) : world_(world) {}

  // One of each address and port.
  std::map<std::string, Endpoint> endpoints(const model::Service& service, const model::ServicePort& port,
                                            Family family) const {
    std::vector<Endpoint> all;
    bool given = false;
    for (const auto& [name, slice] : world_.slices) {
      if (name.namespace_ != service.meta.namespace_ ||
          slice.meta.labels.at("kubernetes.io/service-name") != service.meta.name)
        continue;
      given = true;
      for (const auto& slice_port : slice.ports)
        for (const auto& one : slice.endpoints) {
          if (slice_port.name != port.name || slice_port.protocol != port.protocol || slice.family != family) continue;
          Endpoint endpoint{one.addresses[0], slice_port.port, one.ready || service.publish_not_ready,
                            one.serving,      one.terminating, is_local(one),
                            one.hint_zones,   one.hint_nodes,  one.weight};
          all.push_back(endpoint);
        }
    }
    if (!given && service.selector)
      for (const auto& [key, pod] : world_.pods) {
        if (key.namespace_ != service.meta.namespace_ || !matches(*service.selector, pod.labels)) continue;
        add_pod(pod, port, family, service.publish_not_ready, all);
      }
    return distinct(all);
  }

  void add_pod(const ServicePod& pod, const model::ServicePort& port, Family family, bool publish,
               std::vector<Endpoint>& all) const {
    const auto number = resolve(port, pod);
    for (const auto& address : pod.addresses) {
      if (address.family() != family || number == 0) continue;
      all.push_back({address,
                     number,
                     publish || (pod.ready && !pod.terminating),
                     pod.ready,
                     pod.terminating,
                     true,
                     {},
                     {},
                     pod.weight});
      break;
    }
  }

  static std::map<std::string, Endpoint> distinct(const std::vector<Endpoint>& all) {
    std::map<std::string, Endpoint> best;
    const auto rank = [](const Endpoint& one) {
      return std::tuple(one.local, one.ready, one.serving, !one.terminating, one.weight);
    };
    for (const auto& one : all) {
      const auto [known, is_new] = best.try_emplace(text(one.address, one.port), one);
      if (!is_new && rank(one) > rank(known->second)) known->second = one;
    }
    return best;
  }

  // Without those of weight 0 and the unhealthy.
  std::vector<Endpoint> usable(const std::map<std::string, Endpoint>& all, Protocol protocol) const {
    std::vector<Endpoint> result;
    for (const auto& [name, one] : all)
      if (one.weight != 0 && !world_.unhealthy.contains(name + "/" + to_string(protocol))) result.push_back(one);
    return result;
  }

  bool is_local(const model::SliceEndpoint& endpoint) const {
    if (!endpoint.node.empty() && endpoint.node == world_.node.name) return true;
    for (const auto& address : world_.node.addresses)
      if (address == endpoint.addresses[0]) return true;
    for (const auto& [key, pod] : world_.pods)
      for (const auto& address : pod.addresses)
        if (address == endpoint.addresses[0]) return true;
    return false;
  }

  // kube-proxy's choice for the Cluster policy.
  std::vector<Endpoint> cluster(const std::vector<Endpoint>& all) const {
    bool all_nodes = true, all_zones = true, some_node = false, some_zone = false;
    const auto names = [](const std::vector<std::string>& hints, const std::string& one) {
      return std::ranges::find(hints, one) != hints.end();
    };
    for (const auto& one : all) {
      if (!one.ready) continue;
      all_nodes = all_nodes && !one.nodes.empty();
      all_zones = all_zones && !one.zones.empty();
      some_node = some_node || names(one.nodes, world_.node.name);
      some_zone = some_zone || names(one.zones, world_.node.zone);
    }
    std::vector<Endpoint> chosen;
    for (const auto& one : all) {
      if (!one.ready) continue;
      if (all_nodes && some_node) {
        if (names(one.nodes, world_.node.name)) chosen.push_back(one);
      } else if (all_zones && some_zone) {
        if (names(one.zones, world_.node.zone)) chosen.push_back(one);
      } else {
        chosen.push_back(one);
      }
    }
    if (chosen.empty())
      for (const auto& one : all)
        if (!one.ready && one.serving && one.terminating) chosen.push_back(one);
    return chosen;
  }

  static std::vector<Endpoint> local(const std::vector<Endpoint>& all) {
    std::vector<Endpoint> chosen;
    for (const auto& one : all)
      if (one.local && one.ready) chosen.push_back(one);
    if (chosen.empty())
      for (const auto& one : all)
        if (one.local && !one.ready && one.serving && one.terminating) chosen.push_back(one);
    return chosen;
  }

  static std::map<std::string, std::uint32_t> run(const std::vector<Endpoint>& chosen, model::Algorithm algorithm) {
    std::map<std::string, std::uint32_t> result;
    std::uint32_t divisor = 0;
    for (const auto& one : chosen) divisor = std::gcd(divisor, one.weight);
    const bool repeats = algorithm == model::Algorithm::random || algorithm == model::Algorithm::round_robin;
    for (const auto& one : chosen) result[text(one.address, one.port)] = repeats ? one.weight / divisor : 1;
    return result;
  }

  void add_service(const model::Service& service, const ServiceAssignment& held, Frontends& frontends) const {
    using Type = model::Service::Type;
    if (service.headless || service.type == Type::external_name || !service.proxy_name.empty()) return;
    for (const auto& port : service.ports)
      for (const auto& cluster_ip : held.cluster_ips) {
        const auto family = cluster_ip.family();
        const auto ordinary = endpoints(service, port, family);
        const auto all = usable(ordinary, port.protocol);
        const auto algorithm = service.algorithm.value_or(model::Algorithm::random);
        Meaning meaning;
        meaning.owner = service.meta.key();
        meaning.affinity = service.affinity_seconds;
        meaning.algorithm = static_cast<std::uint8_t>(algorithm);
        const auto cluster_run = run(cluster(all), algorithm);
        const auto local_run = run(local(all), algorithm);
        const auto add = [&](const IpAddress& address, std::uint16_t number, const Meaning& what) {
          auto& list = frontends[text(address, number) + "/" + to_string(port.protocol)];
          for (const auto& known : list)
            if (known.owner == what.owner) return;
          list.push_back(what);
        };
        auto inside = meaning;
        inside.internal = inside.external = service.internal_local ? local_run : cluster_run;
        if (service.local_redirect) {
          std::vector<Endpoint> own;
          for (const auto& [key, pod] : world_.pods)
            if (key.namespace_ == service.meta.namespace_ && matches(*service.local_redirect, pod.labels))
              add_pod(pod, port, family, false, own);
          own = usable(distinct(own), port.protocol);
          std::erase_if(own, [](const Endpoint& one) { return !one.ready; });
          for (auto& one : own)  // what the Service says of it goes first
            if (const auto known = ordinary.find(text(one.address, one.port)); known != ordinary.end())
              one.weight = std::max(known->second.weight, 1U);
          if (!own.empty()) {
            inside.internal = run(own, algorithm);
            inside.flags = WEFT_SERVICE_LOCAL_REDIRECT;
          }
        }
        add(cluster_ip, port.port, inside);
        auto outside = meaning;
        outside.internal = cluster_run;
        outside.external = service.external_local ? local_run : cluster_run;
        outside.flags = WEFT_SERVICE_EXTERNAL | (service.external_local ? WEFT_SERVICE_EXTERNAL_LOCAL : 0);
        auto balanced = outside;
        for (const auto& range : service.source_ranges)
          if (range.family() == family) balanced.ranges.insert(range.to_string());
        if (!balanced.ranges.empty()) balanced.flags |= WEFT_SERVICE_SOURCE_RANGES;
        if (service.type == Type::load_balancer) {
          std::vector<IpAddress> addresses = held.load_balancer_ips;
          if (!service.ingress.empty()) addresses.clear();
          for (const auto& ingress : service.ingress)
            if (!ingress.proxy) addresses.push_back(ingress.address);
          for (const auto& address : addresses)
            if (address.family() == family) add(address, port.port, balanced);
        }
        for (const auto& address : service.external_ips)
          if (address.family() == family) add(address, port.port, outside);
        const auto node_port = held.node_ports.find({port.port, port.protocol});
        if (node_port != held.node_ports.end())
          add(family == Family::v4 ? IpAddress::v4(0) : IpAddress(), node_port->second, outside);
      }
  }

  void add_host_ports(const ServicePod& pod, Frontends& frontends) const {
    for (const auto& mapping : pod.host_ports)
      for (const auto& address : pod.addresses) {
        if (mapping.host_ip && mapping.host_ip->family() != address.family()) continue;
        const auto any = address.is_v4() ? IpAddress::v4(0) : IpAddress();
        Meaning meaning;
        meaning.owner = pod.key;
        meaning.flags = WEFT_SERVICE_EXTERNAL;
        meaning.internal[text(address, mapping.container_port)] = 1;
        meaning.external = meaning.internal;
        auto& list =
            frontends[text(mapping.host_ip.value_or(any), mapping.host_port) + "/" + to_string(mapping.protocol)];
        bool known = false;
        for (const auto& other : list) known = known || other.owner == pod.key;
        if (!known) list.push_back(meaning);
      }
  }

  Frontends expected(const ServiceCompiler& compiler) const {
    Frontends result;
    for (const auto& [key, service] : world_.services) add_service(service, compiler.held(key), result);
    for (const auto& [key, pod] : world_.pods) add_host_ports(pod, result);
    return result;
  }

 private:
  const World& world_;
};

}  // namespace weft::control::testing
