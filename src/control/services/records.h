// Services, slices and pods as the compiler holds them: what it needs of them, with texts interned.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "control/services/hash_index.h"
#include "control/services/names.h"
#include "control/services/services.h"

namespace weft::control::services {

struct Run {
  std::uint32_t first = 0;
  std::uint32_t count = 0;
  bool operator==(const Run&) const = default;
};

enum BackendBit : std::uint16_t {
  backend_ready = 1 << 0,
  backend_serving = 1 << 1,
  backend_terminating = 1 << 2,
  backend_local = 1 << 3,
  backend_healthy = 1 << 4,
  backend_of_node = 1 << 5,   // its address is the node's own
  backend_ordinary = 1 << 6,  // of the Service's endpoints, not only of its local redirect
  backend_hints_zone = 1 << 7,
  backend_this_zone = 1 << 8,  // and its hint names this one
  backend_hints_node = 1 << 9,
  backend_this_node = 1 << 10,
  // The runs it stands in.
  backend_in_cluster = 1 << 11,
  backend_in_local = 1 << 12,
  backend_in_redirect = 1 << 13,
};

struct Backend {
  IpAddress address;
  Name pod;
  Name node;
  std::uint32_t id = 0;
  std::uint16_t port = 0;
  std::uint16_t weight = 1;
  std::uint16_t bits = 0;
  [[nodiscard]] bool has(std::uint16_t wanted) const { return (bits & wanted) == wanted; }
  bool operator==(const Backend&) const = default;
};

struct Frontend {
  IpAddress address;
  std::uint16_t port = 0;
  FrontendKind kind = FrontendKind::cluster_ip;
  bool won = false;  // false: another Service had this address and port first
  bool operator==(const Frontend&) const = default;
};

// One (Service, port, family), compiled.
struct PortState {
  std::uint32_t id = 0;
  std::uint16_t port = 0;
  std::uint16_t container_port = 0;  // of a host port; else 0
  Protocol protocol = Protocol::tcp;
  Family family = Family::v4;
  model::Algorithm algorithm = model::Algorithm::random;
  model::Forwarding forwarding = model::Forwarding::snat;
  std::uint32_t affinity_seconds = 0;
  bool external_local = false;
  bool internal_local = false;
  Run cluster;  // the endpoints of the Cluster policy
  Run local;    // of the Local policy; may be the same run
  Run redirect;
  Name name;
  std::vector<Frontend> frontends;  // by kind
  std::vector<Backend> backends;    // by address and port
  std::unique_ptr<std::vector<Cidr>> source_ranges;

  [[nodiscard]] bool same_port(const PortState& other) const {
    return port == other.port && protocol == other.protocol && family == other.family &&
           container_port == other.container_port;
  }
  [[nodiscard]] bool has_external() const;  // some frontend it has serves clients outside
};

// What frontends belong to: a Service, or a pod with host ports.
struct Owner {
  Key key;
  std::vector<PortState> ports;
  bool is_pod = false;
  bool dirty = false;
};

struct RecordPort {
  Name name;
  Name target_name;  // empty: by number
  std::uint16_t port = 0;
  std::uint16_t target = 0;
  Protocol protocol = Protocol::tcp;
  bool operator==(const RecordPort&) const = default;
};

// What few Services have.
struct ServiceExtras {
  std::vector<IpAddress> external_ips;
  std::vector<IpAddress> ingress;  // to be served
  bool ingress_given = false;
  std::vector<Cidr> source_ranges;
  Labels redirect;
  bool operator==(const ServiceExtras&) const = default;
  [[nodiscard]] bool empty() const { return *this == ServiceExtras(); }
};

struct ServiceRecord {
  model::Service::Type type = model::Service::Type::cluster_ip;
  bool served = true;  // has frontends at all: not headless, not ExternalName, not another proxy's
  bool publish_not_ready = false;
  bool external_local = false;
  bool internal_local = false;
  bool asks_v4 = false;  // spec.ipFamilies
  bool asks_v6 = false;
  model::Algorithm algorithm = model::Algorithm::random;
  model::Forwarding forwarding = model::Forwarding::snat;
  std::uint32_t affinity_seconds = 0;
  std::uint32_t table_size = 0;  // a prime
  std::vector<RecordPort> ports;
  Labels selector;
  std::unique_ptr<ServiceExtras> extras;

  bool operator==(const ServiceRecord& other) const;
};

struct EndpointHints {
  std::vector<Name> zones;
  std::vector<Name> nodes;
  bool operator==(const EndpointHints&) const = default;
};

struct EndpointRecord {
  IpAddress address;
  Name pod;
  Name node;
  std::unique_ptr<EndpointHints> hints;
  HashIndex::Handle by_address = HashIndex::none;
  std::uint16_t weight = 1;
  std::uint8_t conditions = 0;                         // backend_ready, backend_serving, backend_terminating
  bool operator==(const EndpointRecord& other) const;  // but for the handle
};

struct SlicePortRecord {
  Name name;
  std::uint16_t port = 0;
  Protocol protocol = Protocol::tcp;
  bool operator==(const SlicePortRecord&) const = default;
};

struct SliceRecord;
using SliceNode = std::pair<const Key, SliceRecord>;  // as the table of slices holds it

struct SliceRecord {
  Name service;               // of its own namespace
  SliceNode* next = nullptr;  // of the Service
  std::vector<SlicePortRecord> ports;
  std::vector<EndpointRecord> endpoints;
  // But for its place in the list.
  bool operator==(const SliceRecord& other) const {
    return service == other.service && ports == other.ports && endpoints == other.endpoints;
  }
};

// A ServiceAssignment in the least space: almost all Services hold one address and nothing else.
class Held {
 public:
  void set(ServiceAssignment assignment);
  [[nodiscard]] ServiceAssignment get() const;
  [[nodiscard]] bool empty() const { return address_[0].is_unspecified() && rest_ == nullptr; }

 private:
  std::array<IpAddress, 2> address_{};
  std::unique_ptr<ServiceAssignment> rest_;  // without the cluster IPs
};

struct ServiceEntry : Owner {
  std::uint32_t index = 0;  // what the indexes file it under
  HashIndex::Handle by_selector = HashIndex::none;
  HashIndex::Handle by_redirect = HashIndex::none;
  std::unique_ptr<ServiceRecord> record;  // absent: only slices, or an assignment
  SliceNode* slices = nullptr;            // the first
  Held held;
};

struct PodPortRecord {
  Name name;
  std::uint16_t port = 0;
  Protocol protocol = Protocol::tcp;
  bool operator==(const PodPortRecord&) const = default;
};

struct PodRecord {
  Name node;  // empty: this one
  Labels labels;
  std::vector<PodPortRecord> ports;
  std::vector<IpAddress> addresses;
  std::vector<HostPort> host_ports;
  std::uint16_t weight = 1;
  bool ready = true;
  bool terminating = false;
  bool operator==(const PodRecord&) const = default;
};

struct PodEntry : Owner {
  std::uint32_t index = 0;
  bool present = false;
  PodRecord record;
  std::vector<HashIndex::Handle> by_label;
};

ServiceRecord record_of(NamePool& names, const model::Service& service, const ServiceOptions& options);
// Of its first addresses, as kube-proxy; those of another family than the slice's are left out.
SliceRecord record_of(NamePool& names, const model::EndpointSlice& slice, const Name& service);
PodRecord record_of(NamePool& names, const ServicePod& pod);

std::uint32_t hash_of(const Key& key);
std::uint32_t hash_of(const Name& namespace_, const LabelPair& pair);
std::uint32_t hash_of(const IpAddress& address);

// The row of a frontend of this kind.
weft_service row_of(const PortState& state, FrontendKind kind);
weft_backend row_of(const PortState& state, const Backend& backend);
weft_service_key key_of(const Frontend& frontend, Protocol protocol);
weft_source_range_key range_key_of(std::uint32_t service_id, const Cidr& cidr);
weft_addr addr_of(const IpAddress& address);

}  // namespace weft::control::services
