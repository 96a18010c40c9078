// The service compiler: Services, EndpointSlices, pods and the node in; frontends, slots and backends
// out, as the difference to what it gave before. A change costs in proportion to what depends on it,
// whatever the number of services. Pure apart from the numbers it keeps stable. One owner, no threads.
//
// Semantics are kube-proxy's: docs/services.md has them with their sources.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "abi/service.h"
#include "base/ip.h"
#include "base/result.h"
#include "control/services/delta.h"
#include "model/objects.h"

namespace weft::control {

// A port of the node that leads to one pod: CNI portMappings, a container's hostPort.
struct HostPort {
  std::optional<IpAddress> host_ip;  // absent: every address of the node
  std::uint16_t host_port = 0;
  std::uint16_t container_port = 0;
  Protocol protocol = Protocol::tcp;
  auto operator<=>(const HostPort&) const = default;
};

// A pod as services see it.
struct ServicePod {
  model::ObjectKey key;
  std::string node;  // empty: this one
  LabelMap labels;
  std::vector<model::ContainerPort> ports;
  std::vector<IpAddress> addresses;  // empty: not attached yet
  bool ready = true;
  bool terminating = false;
  std::uint32_t weight = 1;
  std::vector<HostPort> host_ports;
  bool operator==(const ServicePod&) const = default;
};

struct ServiceNode {
  std::string name;
  std::string zone;
  std::vector<IpAddress> addresses;  // the node's own: backends with one of them are local
  std::vector<IpAddress> taken;      // others on its networks have them: not to be given out of a pool
  std::vector<IpAddress> withheld;   // nodes of a cluster have them, or etcd: no Service is served there by externalIPs
  std::vector<Cidr> withheld_ranges;  // pods' and cluster IPs': nor there, nor by what a status names
  bool operator==(const ServiceNode&) const = default;
};

enum class FrontendKind { cluster_ip, node_port, external_ip, load_balancer, host_port };
std::string_view to_string(FrontendKind kind);  // "ClusterIP", "NodePort", ...

struct ServiceBackend {
  std::uint32_t id = 0;
  IpAddress address;
  std::uint16_t port = 0;
  model::ObjectKey pod;  // empty name when it is no pod
  std::string node;      // of the slice; empty: unknown
  bool ready = true;
  bool serving = true;
  bool terminating = false;
  bool local = false;
  bool healthy = true;    // by the agent's own checks
  bool internal = false;  // new flows of clients on this node may get it
  bool external = false;  // those of other clients
  std::uint32_t weight = 1;
  auto operator<=>(const ServiceBackend&) const = default;
};

struct ServiceFrontend {
  FrontendKind kind = FrontendKind::cluster_ip;
  IpAddress address;  // all zero: every address of the node
  std::uint16_t port = 0;
  auto operator<=>(const ServiceFrontend&) const = default;
};

// One (Service, port, family): its frontends share a service id, backends and slots.
struct ServicePort {
  std::uint32_t id = 0;
  model::ObjectKey service;                  // of a host port: the pod
  std::optional<model::Service::Type> type;  // nothing: a host port
  std::string port_name;
  Family family = Family::v4;
  Protocol protocol = Protocol::tcp;
  std::uint16_t port = 0;
  bool external_local = false;
  bool internal_local = false;
  weft_service row{};  // as in the map
  std::vector<ServiceFrontend> frontends;
  std::vector<ServiceBackend> backends;  // by id, the draining ones included
};

struct ServiceOptions {
  std::vector<Cidr> cluster_cidrs;  // where ClusterIPs are allocated; one of each family
  std::uint16_t node_port_min = 30000;
  std::uint16_t node_port_max = 32767;
  std::uint16_t lb_port_min = 0;  // weft_config.lb_port_*: bits of WEFT_PORTS_DEVICE; 0: none
  std::uint16_t lb_port_max = 0;
  // Sizes of the maps. What does not fit is refused before anything changes, naming the Service.
  std::uint32_t max_frontends = 65536;
  std::uint32_t max_services = 65536;
  std::uint32_t max_backends = 65536;
  std::uint32_t max_slots = 65536;
  std::uint32_t max_source_ranges = 16384;
  model::Algorithm algorithm = model::Algorithm::random;
  model::Forwarding forwarding = model::Forwarding::snat;
  std::uint32_t maglev_table_size = 16381;  // a prime
  std::uint32_t hash_seed = 0;
  // Why a LoadBalancer Service has no address for which none was looked for.
  std::string unasked = "no address has been looked for yet";
};

// What one Service holds.
struct ServiceAssignment {
  std::vector<IpAddress> cluster_ips;
  std::map<std::pair<std::uint16_t, Protocol>, std::uint16_t> node_ports;  // port, protocol -> node port
  std::uint16_t health_check_port = 0;
  std::vector<IpAddress> load_balancer_ips;  // from the pools
  [[nodiscard]] bool empty() const;
  bool operator==(const ServiceAssignment&) const = default;
};

// Numbers that must survive a restart of the node. Service and backend ids need not: adopt() reads them
// from the maps, which live exactly as long as the flows that name them.
using ServiceAssignments = std::map<model::ObjectKey, ServiceAssignment>;

class ServiceCompiler {
 public:
  ServiceCompiler(ServiceOptions options, ServiceAssignments restored);
  ~ServiceCompiler();

  // When a Service is applied, before it is stored: its addresses and ports, the same ones when called
  // again. Requested ones are claimed; a clash, an address outside the range or pool, an exhausted range
  // is an error naming the owner or the range. A LoadBalancer Service no pool has room for gets none and
  // stays pending; `preferred` ones of the pools it gets when they are free.
  Result<ServiceAssignment> assign(const model::Service& service, const std::vector<IpAddress>& preferred = {});
  // What the Services to be assigned next ask for by name: automatic choices leave it to them, whatever the order.
  // Until it is called again.
  void speak_for(const std::vector<const model::Service*>& services);
  // The addresses in its status, when all of them are from pools that serve it: then nobody else gave them, they are
  // what `weft get` showed, and no more than a preference to be told to `assign`. Otherwise none.
  [[nodiscard]] std::vector<IpAddress> own_status(const model::Service& service) const;
  void forget(const model::ObjectKey& service);
  // Undoes an assign or a forget: the Service holds `assignment` again.
  void restore(const model::ObjectKey& service, const ServiceAssignment& assignment);
  [[nodiscard]] ServiceAssignment held(const model::ObjectKey& service) const;
  // Of all, made anew by each call and good until the next; `held` is the cheap one.
  [[nodiscard]] const ServiceAssignments& assignments() const;
  // LoadBalancer Services without an address, why, and those who got one since: to be stored.
  [[nodiscard]] std::string pending_reason(const model::ObjectKey& service) const;  // empty: not pending
  [[nodiscard]] std::map<model::ObjectKey, std::string> pending() const;
  // As restore, of one that was given an address and cannot have it, for `reason`.
  void keep_waiting(const model::ObjectKey& service, const ServiceAssignment& assignment, const std::string& reason);
  // Not before all pools are known: an address that is in none is taken away.
  std::vector<model::ObjectKey> assign_pending();
  // What those who would get or lose addresses would hold then; nothing is given.
  [[nodiscard]] ServiceAssignments plan_pending();

  // The tables. Nothing is compiled until compile(); equal values change nothing.
  void upsert(const model::Service& service);
  void upsert(const model::EndpointSlice& slice);
  void upsert(const ServicePod& pod);
  void upsert(const model::LoadBalancerPool& pool);
  void erase_service(const model::ObjectKey& key);
  void erase_slice(const model::ObjectKey& key);
  void erase_pod(const model::ObjectKey& key);
  void erase_pool(const model::ObjectKey& key);
  void set_node(const ServiceNode& node);
  // Whether some Service's selector, or its redirect, selects such pods: others change nothing, and need not be told.
  [[nodiscard]] bool any_selects(const std::string& namespace_, const LabelMap& labels);
  // Of the agent's own checks. Backends never heard of are healthy.
  void set_healthy(const IpAddress& address, std::uint16_t port, Protocol protocol, bool healthy);

  // Before the first compile, with what the maps hold from the agent's last run: ids and slots stay, so a
  // packet between the two never reads another service's backend. `backends` and `slots` are whole arrays.
  void adopt(const std::vector<std::pair<weft_service_key, weft_service>>& frontends,
             std::span<const weft_backend> backends, std::span<const std::uint32_t> slots);

  // Pods elsewhere that others have not told of yet, by the addresses the maps have: where one stood behind a Service
  // it stays there until it is told, or they are set anew. None by default.
  void set_unheard(std::unordered_set<IpAddress> addresses);

  // Brings what depends on the changes up to date and says what must change in the maps. After an error
  // (`exhausted`: a map would overflow, naming it and the Service) everything is as before but the tables:
  // put the old rows back, or remove what does not fit, and call again.
  // With `what_fits` there is no such error: who finds no room is left out, and all else goes on. Of what it had it
  // keeps what is still right: no backend that it lost, none that it has no room for. It is tried again whenever
  // something was freed or it is touched. A namespace that takes more of a table than its size divided by the
  // namespaces gives way, in the compile after, to those that take less and found no room. Who is left out is no error
  // to `all` until somebody changes it. Slots, service and backend ids that this compile frees are given out again by a
  // later one at the earliest.
  enum class Fit : std::uint8_t { all, what_fits };
  Result<ServiceDelta> compile(Fit fit = Fit::all);
  // Who is left out, by the last compile, and why.
  struct LeftOut {
    model::ObjectKey owner;
    bool is_pod = false;  // its host ports
    Error error;
  };
  [[nodiscard]] std::vector<LeftOut> left_out() const;  // in the order of names
  // Something was freed since they were tried: once the delta is in the maps, another compile may place them.
  [[nodiscard]] bool may_fit_more() const;
  // Somebody is left out while freed ids wait for release_ids().
  [[nodiscard]] bool waits_for_numbers() const;
  // The delta has not reached the maps, or not all of it: what it freed stays taken one compile longer.
  void hold_replaced();
  // Backend and service ids nothing refers to any more; freed ids wait here until the agent's sweep of the
  // flow table has seen none of them (or for a restart).
  void release_ids(const std::function<bool(std::uint32_t backend_id)>& backend_in_use,
                   const std::function<bool(std::uint32_t service_id)>& service_in_use);

  // What is compiled. A ServicePort is made when it is asked for: the pointers are good until the next compile.
  [[nodiscard]] std::vector<const ServicePort*> ports_of(const model::ObjectKey& service) const;
  [[nodiscard]] const ServicePort* by_id(std::uint32_t service_id) const;
  [[nodiscard]] const ServicePort* backend_owner(std::uint32_t backend_id) const;
  // The exact frontend, else the one of all the node's addresses when `address` is the node's or loopback.
  [[nodiscard]] const ServicePort* find(const IpAddress& address, std::uint16_t port, Protocol protocol) const;
  void for_each(const std::function<void(const ServicePort&)>& visit) const;
  // The EndpointSlices it has, in no order.
  [[nodiscard]] std::vector<model::ObjectKey> slices_of(const model::ObjectKey& service) const;
  // slot -> backend id of a run in use.
  [[nodiscard]] std::vector<std::uint32_t> run(std::uint32_t first, std::uint32_t count) const;
  // healthCheckNodePort -> the Service and its number of local ready endpoints.
  struct HealthPort {
    model::ObjectKey service;
    std::uint32_t local_endpoints = 0;
  };
  [[nodiscard]] std::map<std::uint16_t, HealthPort> health_ports() const;
  // Pods some local redirect leads to: their endpoints carry WEFT_ENDPOINT_REDIRECT_TARGET.
  [[nodiscard]] const std::map<model::ObjectKey, std::uint32_t>& redirect_targets() const;  // pod -> how many
  // Frontends that lead elsewhere because another Service, or pod, had the same address and port first.
  struct Shadowed {
    model::ObjectKey service;  // in vain
    ServiceFrontend frontend;
    Protocol protocol = Protocol::tcp;
    model::ObjectKey owner;
  };
  [[nodiscard]] std::vector<Shadowed> shadowed() const;
  // Work done since the start: what a change costs, whatever the machine.
  struct Work {
    std::uint64_t owners = 0;    // Services and pods with host ports looked at
    std::uint64_t backends = 0;  // endpoints of theirs considered
    std::uint64_t runs = 0;      // runs of slots made
    std::uint64_t tables = 0;    // of these, Maglev tables
  };
  [[nodiscard]] Work work() const;
  struct Usage {
    std::uint32_t services = 0, frontends = 0, backends = 0, slots = 0, source_ranges = 0;
  };
  [[nodiscard]] Usage usage() const;
  [[nodiscard]] bool has_external() const;       // WEFT_CONFIG_EXTERNAL
  [[nodiscard]] bool has_host_backends() const;  // WEFT_CONFIG_HOST_BACKENDS

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace weft::control
