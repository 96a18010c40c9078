#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <utility>

#include "lab/probe.h"

namespace weft::lab {
namespace {

using Families = ProbeOptions::Families;

struct Source {
  std::string name;
  std::string netns;
  QueryEnd end;  // of IPv4
  QueryEnd end_v6;
};

struct Port {
  std::uint16_t port = 0;
  Protocol protocol = Protocol::tcp;
  bool greets = false;
};

// An address to reach and the ports to try there.
struct Target {
  std::string name;
  std::vector<IpAddress> addresses;  // of the wanted families; empty: it has none
  std::vector<Port> ports;
  QueryEnd end;  // without names: the address itself
  const ServicePort* service = nullptr;
};

// Of IPv4 and IPv6 addresses those that shall be tried.
std::vector<IpAddress> choose(const std::vector<IpAddress>& addresses, Families families) {
  if (families == Families::all) return addresses;
  const Family wanted = families == Families::v6 ? Family::v6 : Family::v4;
  for (const auto& address : addresses)
    if (address.family() == wanted) return {address};
  if (families == Families::v6 || addresses.empty()) return {};
  return {addresses.front()};
}

std::vector<IpAddress> parse_all(std::initializer_list<std::string_view> texts) {
  std::vector<IpAddress> list;
  for (const auto text : texts)
    if (const auto address = IpAddress::parse(text)) list.push_back(*address);
  return list;
}

// "host" is the first node.
const NodeLayout* host_named(std::string_view text, const Layout& layout) {
  return text == "host" ? &layout.node() : layout.find_node(text);
}

// A node is "host" to its own agent only.
QueryEnd end_of_host(const NodeLayout& node, bool v6) {
  return {node.name, "host", v6 ? node.address_v6 : node.address_v4};
}

QueryEnd end_outside(std::string_view address) { return {{}, std::string(address), std::string(address)}; }

class Planner {
 public:
  Planner(const Layout& layout, const Inventory& inventory, const ProbeOptions& options)
      : layout_(layout), inventory_(inventory), options_(options) {}

  Result<std::vector<Probe>> plan() {
    WEFT_CHECK(read_ports());
    WEFT_CHECK(find_sources());
    WEFT_CHECK(find_targets());
    std::vector<Probe> probes;
    for (const auto& source : sources_)
      for (const auto& target : targets_) add(probes, source, target);
    if (!probes.empty()) return probes;
    if (sources_.empty())
      return fail(ErrorCode::not_found, "there is no pod to probe from", "apply some, or use --from");
    return fail(ErrorCode::not_found, "there is nothing to probe: no target declares a port",
                "name one, for example --port 80/TCP");
  }

 private:
  Result<void> read_ports() {
    for (const auto& text : options_.ports) {
      if (const auto protocol = parse_protocol(text); protocol && text.find('/') == std::string::npos &&
                                                      (*protocol == Protocol::icmp || *protocol == Protocol::icmpv6)) {
        ports_.push_back({0, Protocol::icmp, false});
        continue;
      }
      const auto port = PortProtocol::parse(text);
      if (!port) return fail(port.error().in("--port " + text));
      const bool icmp = port->protocol == Protocol::icmp || port->protocol == Protocol::icmpv6;
      if (port->port == 0 && !icmp) return fail(ErrorCode::invalid, "--port " + text + ": a port is 1 to 65535");
      ports_.push_back({port->port, icmp ? Protocol::icmp : port->protocol, false});
    }
    return {};
  }

  [[nodiscard]] const NodeLayout& node_of(const PodPlan& pod) const {
    const auto* node = layout_.find_node(pod.node);
    return node == nullptr ? layout_.node() : *node;
  }

  // Nodes by themselves know no pods of others.
  [[nodiscard]] QueryEnd end_of_pod(const PodPlan& pod, bool v6) const {
    QueryEnd end{node_of(pod).name, pod.key(), pod.key()};
    if (layout_.settings().shares_objects()) return end;
    const auto own = std::ranges::find(pod.addresses, v6, &IpAddress::is_v6);
    if (own != pod.addresses.end()) end.elsewhere = own->to_string();
    return end;
  }

  void add_source(const PodPlan& pod) {
    if (!named_sources_.insert(pod.key()).second) return;
    const NodeLayout& node = node_of(pod);
    if (pod.host_network)
      sources_.push_back({pod.key(), node.netns, end_of_host(node, false), end_of_host(node, true)});
    else
      sources_.push_back(
          {pod.key(), layout_.pod_netns(pod.namespace_, pod.name), end_of_pod(pod, false), end_of_pod(pod, true)});
  }

  Result<void> find_sources() {
    if (options_.from.empty())
      for (const auto& pod : inventory_.pods) add_source(pod);
    for (const auto& text : options_.from) {
      if (const auto* node = host_named(text, layout_)) {
        sources_.push_back({text, node->netns, end_of_host(*node, false), end_of_host(*node, true)});
      } else if (text == "world") {
        sources_.push_back(
            {"world", layout_.world_netns(), end_outside(addresses::world_v4), end_outside(addresses::world_v6)});
      } else if (text == neighbour_name) {
        sources_.push_back({text, layout_.neighbour_netns(), end_outside(addresses::neighbour_v4),
                            end_outside(addresses::neighbour_v6)});
      } else {
        auto pods = inventory_.find_pods(text);
        if (!pods) return fail(pods.error().in("--from"));
        for (const auto* pod : *pods) add_source(*pod);
      }
    }
    return {};
  }

  void add_target(const PodPlan& pod) {
    if (!named_targets_.insert(pod.key()).second) return;
    const NodeLayout& node = node_of(pod);
    const auto own = parse_all({node.address_v4, node.address_v6});
    Target target{.name = pod.key()};
    target.addresses = choose(pod.host_network && pod.addresses.empty() ? own : pod.addresses, options_.families);
    const bool v6 = !target.addresses.empty() && target.addresses.front().is_v6();
    target.end = pod.host_network ? end_of_host(node, v6) : end_of_pod(pod, v6);
    const auto greets = [&pod](const Port& port) {
      return std::ranges::any_of(pod.responders, [&port](const ResponderPort& responder) {
        return responder.port == port.port && responder.protocol == port.protocol;
      });
    };
    target.ports = ports_;
    if (ports_.empty())
      for (const auto& port : pod.ports) target.ports.push_back({port.port, port.protocol, false});
    for (auto& port : target.ports) port.greets = greets(port);
    targets_.push_back(std::move(target));
  }

  Result<void> add_service(std::string_view key) {
    const auto all = inventory_.service_ports(key);
    if (all.empty()) {
      std::set<std::string> known;
      for (const auto& service : inventory_.services) known.insert("svc/" + service.key);
      return fail(ErrorCode::not_found, fmt::format("--to svc/{}: no service of this name has an address", key),
                  known.empty() ? "the lab has no services" : fmt::format("there is {}", fmt::join(known, ", ")));
    }
    std::vector<IpAddress> every;
    for (const auto* service : all)
      if (std::ranges::count(every, service->address) == 0) every.push_back(service->address);
    const auto chosen = options_.families == Families::prefer_v4 ? every : choose(every, options_.families);
    std::set<std::string> declared;
    bool any = false;
    for (const auto* service : all) {
      declared.insert(PortProtocol{service->port, service->protocol}.to_string());
      const bool wanted = ports_.empty() || std::ranges::any_of(ports_, [service](const Port& port) {
                            return port.port == service->port && port.protocol == service->protocol;
                          });
      any = any || wanted;
      if (!wanted || std::ranges::count(chosen, service->address) == 0) continue;
      targets_.push_back({.name = fmt::format("svc/{}", key),
                          .addresses = {service->address},
                          .ports = {{service->port, service->protocol, all_greet(*service)}},
                          .service = service});
    }
    if (any) return {};
    return fail(ErrorCode::not_found, fmt::format("--to svc/{}: the service has no port that --port names; it has {}",
                                                  key, fmt::join(declared, ", ")));
  }

  [[nodiscard]] bool all_greet(const ServicePort& service) const {
    return std::ranges::all_of(service.backends, [this, &service](const ServiceBackend& backend) {
      const PodPlan* pod = inventory_.pod(backend.pod);
      return pod != nullptr && std::ranges::any_of(pod->responders, [&](const ResponderPort& responder) {
               return responder.port == backend.port && responder.protocol == service.protocol;
             });
    });
  }

  void add_place(const std::string& name, std::string_view v4, std::string_view v6, const std::string& node = {}) {
    Target target{.name = name, .addresses = choose(parse_all({v4, v6}), options_.families), .ports = ports_};
    target.end.node = node;
    if (ports_.empty()) target.ports = {{80, Protocol::tcp, false}};
    targets_.push_back(std::move(target));
  }

  void add_address(const IpAddress& address) {
    Target target{.name = address.to_string(), .addresses = {address}, .ports = ports_};
    for (const auto& service : inventory_.services)
      if (service.address == address) {
        const bool wanted = ports_.empty() || std::ranges::any_of(ports_, [&service](const Port& port) {
                              return port.port == service.port && port.protocol == service.protocol;
                            });
        if (!wanted) continue;
        targets_.push_back({.name = target.name,
                            .addresses = {address},
                            .ports = {{service.port, service.protocol, all_greet(service)}},
                            .service = &service});
        target.ports.clear();
      }
    if (!targets_.empty() && targets_.back().name == target.name && targets_.back().service != nullptr) return;
    const PodPlan* pod = inventory_.pod_at(address);
    if (pod != nullptr) target.end.node = node_of(*pod).name;
    if (ports_.empty()) {
      if (pod != nullptr)
        for (const auto& port : pod->ports) target.ports.push_back({port.port, port.protocol, false});
      else
        target.ports = {{80, Protocol::tcp, false}};
    }
    targets_.push_back(std::move(target));
  }

  Result<void> find_targets() {
    if (options_.to.empty())
      for (const auto& pod : inventory_.pods) add_target(pod);
    for (const auto& text : options_.to) {
      if (text.starts_with("svc/")) {
        WEFT_CHECK(add_service(text.substr(4)));
      } else if (const auto* node = host_named(text, layout_)) {
        add_place(text, node->address_v4, node->address_v6, node->name);
      } else if (text == "world") {
        add_place(text, addresses::world_v4, addresses::world_v6);
      } else if (text == neighbour_name) {
        add_place(text, addresses::neighbour_v4, addresses::neighbour_v6);
      } else if (const auto address = IpAddress::parse(text)) {
        add_address(*address);
      } else {
        auto pods = inventory_.find_pods(text);
        if (!pods) return fail(pods.error().in("--to"));
        for (const auto* pod : *pods) add_target(*pod);
      }
    }
    return {};
  }

  [[nodiscard]] QueryEnd end_of_backend(const ServiceBackend& backend) const {
    const PodPlan* pod = inventory_.pod(backend.pod);
    if (pod != nullptr && !pod->host_network) return end_of_pod(*pod, backend.address.is_v6());
    return end_outside(backend.pod.empty() ? backend.address.to_string() : backend.pod);
  }

  void add(std::vector<Probe>& probes, const Source& source, const Target& target) const {
    for (const auto& port : target.ports) {
      Probe probe{.from = source.name,
                  .from_netns = source.netns,
                  .to = target.name,
                  .port = port.port,
                  .protocol = port.protocol,
                  .greets = port.greets};
      if (target.addresses.empty()) {
        probe.queries = {{source.end, target.end, port.port, port.protocol, {}}};
        probes.push_back(std::move(probe));
        continue;
      }
      for (const auto& address : target.addresses) {
        Probe one = probe;
        one.address = address;
        if (port.protocol == Protocol::icmp && address.is_v6()) one.protocol = Protocol::icmpv6;
        const auto& from = address.is_v6() ? source.end_v6 : source.end;
        if (target.service != nullptr)
          for (const auto& backend : target.service->backends)
            one.queries.push_back({from, end_of_backend(backend), backend.port, one.protocol, backend.pod});
        one.no_backend = target.service != nullptr && one.queries.empty();
        if (one.queries.empty()) {
          QueryEnd to = target.end;
          if (to.here.empty()) to.here = to.elsewhere = address.to_string();
          one.queries = {{from, to, one.port, one.protocol, {}}};
        }
        probes.push_back(std::move(one));
      }
    }
  }

  const Layout& layout_;
  const Inventory& inventory_;
  const ProbeOptions& options_;
  std::vector<Port> ports_;
  std::vector<Source> sources_;
  std::vector<Target> targets_;
  std::set<std::string> named_sources_;
  std::set<std::string> named_targets_;
};

}  // namespace

Result<std::vector<Probe>> plan_probes(const Layout& layout, const Inventory& inventory, const ProbeOptions& options) {
  return Planner(layout, inventory, options).plan();
}

}  // namespace weft::lab
