// The service compiler: Services, EndpointSlices and pods in, frontends and backends out. Pure
// apart from the numbers it must keep stable (service ids, backend ids, slot runs).
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "abi/service.h"
#include "base/ip.h"
#include "base/result.h"
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
  std::map<std::uint32_t, std::uint32_t> slot_rows;      // slot -> backend id
  std::map<std::uint32_t, weft_backend> backend_rows;    // backend id -> address
};

struct ServiceOptions {
  std::vector<Cidr> cluster_cidrs;           // where ClusterIPs are allocated; one of each family
  std::uint32_t max_slots = 65536;
};

// Numbers that survive a restart.
struct ServiceState {
  std::map<model::ObjectKey, std::vector<IpAddress>> cluster_ips;  // allocated or claimed
  std::map<std::string, std::uint32_t> service_ids;                // "ns/name:port/proto@family"
  std::map<std::string, std::uint32_t> backend_ids;                // "addr:port/proto"
};

class ServiceCompiler {
 public:
  ServiceCompiler(ServiceOptions options, ServiceState restored);

  // Called when a Service is applied, before it is stored: gives it its cluster IPs (requested
  // ones are claimed; a clash or an address outside the range is an error naming the owner).
  // Headless and ExternalName services get none.
  Result<std::vector<IpAddress>> assign(const model::Service& service);
  void forget(const model::ObjectKey& service);

  // Semantics of kube-proxy for ClusterIP: endpoints of the EndpointSlices that carry the
  // service's name when there are any and the Service has no selector; otherwise pods that match
  // the selector, named target ports resolved per pod; ready ones, else (none ready) serving and
  // terminating ones; publishNotReadyAddresses takes all. A service whose backends changed gets a
  // fresh run of slots (old run freed after the next compile), an unchanged one keeps its run.
  Result<CompiledServices> compile(const ServiceInput& input);

  [[nodiscard]] const ServiceState& state() const { return state_; }

 private:
  ServiceOptions options_;
  ServiceState state_;
  struct Run {
    std::uint32_t first = 0;
    std::vector<std::uint32_t> backends;
  };
  std::map<std::uint32_t, Run> runs_;              // by service id
  std::map<std::uint32_t, std::uint32_t> free_;    // first slot -> length
  std::vector<std::pair<std::uint32_t, std::uint32_t>> retiring_;
  std::uint32_t next_service_ = 1;
  std::uint32_t next_backend_ = 1;
};

}  // namespace weft::control
