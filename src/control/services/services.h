// The service compiler: Services, EndpointSlices and pods in, frontends and backends out. Pure
// apart from the numbers it must keep stable (service ids, backend ids, slot runs).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "abi/service.h"
#include "base/ip.h"
#include "base/result.h"
#include "control/services/backend_numbers.h"
#include "control/services/cluster_ips.h"
#include "control/services/slots.h"
#include "model/objects.h"

namespace weft::control {

// A pod as services see it.
struct ServicePod {
  model::ObjectKey key;
  LabelMap labels;
  std::vector<model::ContainerPort> ports;
  std::vector<IpAddress> addresses;  // empty: not attached yet
  bool ready = true;
};

struct ServiceInput {
  std::map<model::ObjectKey, model::Service> services;
  std::map<model::ObjectKey, model::EndpointSlice> slices;
  std::vector<ServicePod> pods;
};

struct ServiceBackend {
  std::uint32_t id = 0;
  IpAddress address;
  std::uint16_t port = 0;
  Protocol protocol = Protocol::tcp;
  model::ObjectKey pod;  // empty name when it is no pod
  bool ready = true;
  auto operator<=>(const ServiceBackend&) const = default;
};

// One (Service, port, cluster IP).
struct ServiceFrontend {
  std::uint32_t id = 0;
  model::ObjectKey service;
  std::string port_name;
  IpAddress address;
  std::uint16_t port = 0;
  Protocol protocol = Protocol::tcp;
  std::uint32_t affinity_seconds = 0;
  std::vector<ServiceBackend> backends;  // usable ones, in backend id order
  auto operator<=>(const ServiceFrontend&) const = default;
};

struct ServiceKeyLess {
  bool operator()(const weft_service_key& a, const weft_service_key& b) const;
};

struct CompiledServices {
  std::vector<ServiceFrontend> frontends;  // sorted by service, port, address
  // Rows for the maps.
  std::map<weft_service_key, weft_service, ServiceKeyLess> frontend_rows;
  // slot -> backend id. Also the run a frontend had before this compile: it goes with the next one, so
  // pruning never takes a slot from under a reader.
  std::map<std::uint32_t, std::uint32_t> slot_rows;
  std::map<std::uint32_t, weft_backend> backend_rows;  // backend id -> address
};

struct ServiceOptions {
  std::vector<Cidr> cluster_cidrs;  // where ClusterIPs are allocated; one of each family
  std::uint32_t max_slots = 65536;
};

// Numbers that survive a restart.
struct ServiceState {
  std::map<model::ObjectKey, std::vector<IpAddress>> cluster_ips;  // allocated or claimed
  std::map<std::string, std::uint32_t> service_ids;                // "ns/name:80/TCP@v4"
  std::map<std::string, std::uint32_t> backend_ids;                // "10.0.0.1:80/TCP"
};

class ServiceCompiler {
 public:
  ServiceCompiler(ServiceOptions options, ServiceState restored);

  // Called when a Service is applied, before it is stored: gives it its cluster IPs (requested
  // ones are claimed; a clash or an address outside the range is an error naming the owner), the
  // same ones when called again. Headless and ExternalName services get none. The first address of
  // a range is never given, the second only on request.
  Result<std::vector<IpAddress>> assign(const model::Service& service);
  void forget(const model::ObjectKey& service);
  // Undoes an assign or a forget: the Service holds again what `state().cluster_ips` had for it.
  void restore(const model::ObjectKey& service, const std::vector<IpAddress>& addresses);

  // Before the first compile, with what the maps hold from the agent's last run: its slots stay
  // where they are until their frontend has been replaced, so a packet between the two never reads
  // another service's backend.
  void adopt(const std::map<weft_service_key, weft_service, ServiceKeyLess>& frontend_rows,
             const std::map<std::uint32_t, std::uint32_t>& slot_rows);

  // Semantics of kube-proxy for ClusterIP: endpoints of the EndpointSlices that carry the
  // service's name when the Service has no selector; otherwise pods that match the selector, named
  // target ports resolved per pod; ready ones, else (none ready) serving and terminating ones;
  // publishNotReadyAddresses takes all. A service whose backends changed gets a fresh run of slots
  // (old run freed at the next compile, when this one's rows are in the maps), an unchanged one
  // keeps its run. Numbers that nothing uses any more are forgotten and reused last. After an error
  // (`exhausted`: no run of slots is long enough) the runs are as before the call.
  Result<CompiledServices> compile(const ServiceInput& input);

  // The rows of the last compile have not reached the maps, or not all of them: the runs it replaced
  // may still be read, so the next compile does not free them yet.
  void hold_replaced() { hold_replaced_ = true; }

  [[nodiscard]] const ServiceState& state() const { return state_; }

 private:
  struct Run {
    std::uint32_t first = 0;
    std::vector<std::uint32_t> backends;
  };

  Result<void> assign_missing(const ServiceInput& input);
  std::vector<ServiceFrontend> resolve(const ServiceInput& input);
  std::uint32_t service_id(const model::ObjectKey& service, const model::ServicePort& port, Family family);
  Result<void> place(const std::vector<ServiceFrontend>& frontends);
  void retire(Run run);
  void forget_unused(const std::vector<ServiceFrontend>& frontends);
  [[nodiscard]] CompiledServices rows_of(std::vector<ServiceFrontend> frontends) const;

  ServiceState state_;
  ClusterIps cluster_ips_;
  BackendNumbers backends_;
  SlotSpace slots_;
  std::map<std::uint32_t, Run> runs_;  // by service id
  std::vector<Run> retiring_;
  bool hold_replaced_ = false;
  std::uint32_t next_service_ = 1;
};

}  // namespace weft::control
