// The Kubernetes objects Weft understands, as plain values. Parsing is in model/parse.h.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/ip.h"
#include "base/labels.h"
#include "model/bgp.h"
#include "model/metadata.h"
#include "model/selector.h"

namespace weft::model {

enum class Kind {
  namespace_,
  pod,
  deployment,
  service,
  endpoint_slice,
  network_policy,
  load_balancer_pool,  // weft.io/v1alpha1, no namespace
  l2_announcement,     // weft.io/v1alpha1, no namespace
  bgp_peering,         // weft.io/v1alpha1, no namespace
  egress_gateway,      // weft.io/v1alpha1, no namespace
  pod_address_pool     // weft.io/v1alpha1, no namespace
};
// "Namespace", "Pod", "Deployment", "Service", "EndpointSlice", "NetworkPolicy", "LoadBalancerPool", "L2Announcement",
// "BGPPeering", "EgressGateway", "PodAddressPool".
std::string_view to_string(Kind kind);
// Accepts kind names, plurals and kubectl's short names in any case: po, pods, svc, deploy, ns, netpol, endpointslices
// ...
Result<Kind> parse_kind(std::string_view text);
// False for Namespace and Weft's own kinds: their keys have no namespace.
bool has_namespace(Kind kind);

struct Namespace {
  Metadata meta;             // labels always hold kubernetes.io/metadata.name
  std::string address_pool;  // annotation weft.io/address-pool, of pods without one of their own; empty: none
  bool operator==(const Namespace&) const = default;
};

struct ContainerPort {
  std::string name;  // may be empty
  std::uint16_t port = 0;
  Protocol protocol = Protocol::tcp;
  std::uint16_t host_port = 0;
  std::optional<IpAddress> host_ip;  // absent: every address of the node; all zero: every one of its family
  auto operator<=>(const ContainerPort&) const = default;
};

struct Container {
  std::string name;
  std::string image;
  std::vector<std::string> command;                // command followed by args
  std::map<std::string, std::string> environment;  // literal values only
  std::vector<ContainerPort> ports;
  bool operator==(const Container&) const = default;
};

struct PodSpec {
  std::vector<Container> containers;
  std::vector<ContainerPort> sidecar_ports;  // of initContainers that run beside them (restartPolicy: Always)
  bool host_network = false;
  std::string node;  // nodeName
  bool operator==(const PodSpec&) const = default;
};

// How a pod asks for its addresses: the annotations weft.io/address-pool and weft.io/addresses.
struct AddressWish {
  std::string pool;                  // empty: none by name
  std::vector<IpAddress> addresses;  // exactly these; empty: any
  bool operator==(const AddressWish&) const = default;
};

struct Pod {
  Metadata meta;
  PodSpec spec;
  // The Deployment it was expanded from ("web"), empty for a bare Pod.
  std::string workload;
  bool ready = true;         // status.conditions[Ready] when given, else true
  bool terminating = false;  // metadata.deletionTimestamp is set
  bool finished = false;     // status.phase is Succeeded or Failed: nothing of it runs, or will
  std::uint32_t weight = 1;  // annotation weft.io/weight, 0 to 1000, as of a SliceEndpoint
  AddressWish addresses;
  bool operator==(const Pod&) const = default;
};

struct Deployment {
  Metadata meta;
  int replicas = 1;
  LabelSelector selector;
  LabelMap template_labels;
  LabelMap template_annotations;
  PodSpec template_spec;
  std::uint32_t template_weight = 1;  // annotation weft.io/weight of the template
  AddressWish template_addresses;
  bool operator==(const Deployment&) const = default;
};

// A port given by number or by name (IntOrString).
using PortReference = std::variant<std::uint16_t, std::string>;

struct ServicePort {
  std::string name;
  Protocol protocol = Protocol::tcp;
  std::uint16_t port = 0;
  PortReference target_port = std::uint16_t{0};  // equals port when absent
  std::uint16_t node_port = 0;                   // as requested; 0: one is allocated where the type has them
  std::string app_protocol;                      // told, never acted on
  bool operator==(const ServicePort&) const = default;
};

// How a new flow finds its backend; annotation weft.io/algorithm: random, round-robin, least-connections,
// maglev, source-hash. Weighted round robin is round-robin with weights.
enum class Algorithm { random, round_robin, least_connections, maglev, source_hash };
std::string_view to_string(Algorithm algorithm);
Result<Algorithm> parse_algorithm(std::string_view text);

// Annotation weft.io/forwarding: snat, dsr-ipip, dsr-geneve, dsr-option.
enum class Forwarding { snat, dsr_ipip, dsr_geneve, dsr_option };
std::string_view to_string(Forwarding forwarding);
Result<Forwarding> parse_forwarding(std::string_view text);

// Annotations weft.io/health-check: none, tcp or http, and weft.io/health-check-{port,path,host,interval,timeout,
// rise,fall}: the agent itself probes the backends of the Service's EndpointSlices.
struct HealthCheck {
  enum class Kind { none, tcp, http };
  Kind kind = Kind::none;
  std::uint16_t port = 0;  // 0: the backend's own
  std::string path = "/";
  std::string host;  // Host header; empty: the backend's address
  std::chrono::milliseconds interval{2000};
  std::chrono::milliseconds timeout{1000};
  unsigned rise = 2;  // successes that make it healthy
  unsigned fall = 3;  // failures that make it unhealthy
  bool operator==(const HealthCheck&) const = default;
};

// status.loadBalancer.ingress as given.
struct LoadBalancerIngress {
  IpAddress address;
  bool proxy = false;  // ipMode: Proxy: not served on the node, a load balancer is in front
  bool operator==(const LoadBalancerIngress&) const = default;
};

enum class TrafficDistribution { anywhere, prefer_same_zone, prefer_same_node };

struct Service {
  enum class Type { cluster_ip, node_port, load_balancer, external_name };
  Metadata meta;
  Type type = Type::cluster_ip;
  bool headless = false;               // clusterIP: None
  std::vector<IpAddress> cluster_ips;  // as requested; allocated ones live in the services' state
  std::vector<Family> families;        // spec.ipFamilies as given
  enum class FamilyPolicy { single_stack, prefer_dual_stack, require_dual_stack };
  FamilyPolicy family_policy = FamilyPolicy::single_stack;
  std::optional<LabelMap> selector;  // absent or empty: endpoints come from EndpointSlices
  std::vector<ServicePort> ports;
  std::uint32_t affinity_seconds = 0;  // sessionAffinity ClientIP: timeout, default 10800; 0: None
  bool publish_not_ready = false;
  std::string external_name;
  std::vector<IpAddress> external_ips;
  std::vector<IpAddress> load_balancer_ips;  // requested: spec.loadBalancerIP, annotation weft.io/load-balancer-ips
  std::string sharing_key;  // annotation weft.io/sharing-key: Services with one key may share addresses
  std::vector<LoadBalancerIngress> ingress;  // status given by somebody else; empty: Weft's own pools
  std::vector<Cidr> source_ranges;
  std::string load_balancer_class;  // empty or "weft.io/load-balancer": ours; others: status is honoured, no pool
  bool allocate_node_ports = true;
  bool external_local = false;  // externalTrafficPolicy: Local
  bool internal_local = false;  // internalTrafficPolicy: Local
  std::uint16_t health_check_node_port = 0;
  TrafficDistribution distribution = TrafficDistribution::anywhere;
  std::string proxy_name;  // label service.kubernetes.io/service-proxy-name: another proxy's Service, left alone
  // Annotations, weft.io/<name>.
  std::optional<Algorithm> algorithm;      // absent: the node's default
  std::optional<Forwarding> forwarding;    // absent: the node's default
  std::uint32_t maglev_table_size = 0;     // 0: the node's; a prime
  std::optional<LabelMap> local_redirect;  // pods of this node that take the ClusterIP's traffic while one is ready
  HealthCheck health_check;
  bool operator==(const Service&) const = default;
};

struct SliceEndpoint {
  std::vector<IpAddress> addresses;
  bool ready = true;    // absent means true
  bool serving = true;  // absent means as ready
  bool terminating = false;
  std::string target_pod;  // targetRef kind Pod: its name, same namespace
  std::string hostname;
  std::string node;  // nodeName
  std::string zone;
  std::vector<std::string> hint_zones;  // hints.forZones
  std::vector<std::string> hint_nodes;  // hints.forNodes
  std::uint32_t weight = 1;             // of the slice: annotation weft.io/weight, 0 to 1000; 0: no new flows
  bool operator==(const SliceEndpoint&) const = default;
};

struct SlicePort {
  std::string name;
  Protocol protocol = Protocol::tcp;
  std::uint16_t port = 0;
  bool operator==(const SlicePort&) const = default;
};

struct EndpointSlice {
  Metadata meta;  // label kubernetes.io/service-name names the Service
  Family family = Family::v4;
  std::vector<SliceEndpoint> endpoints;
  std::vector<SlicePort> ports;
  bool operator==(const EndpointSlice&) const = default;
};

struct IpBlock {
  Cidr cidr;
  std::vector<Cidr> except;
  bool operator==(const IpBlock&) const = default;
};

// Either ip_block, or one or both selectors. pod_selector alone: pods of the policy's namespace.
struct PolicyPeer {
  std::optional<LabelSelector> pod_selector;
  std::optional<LabelSelector> namespace_selector;
  std::optional<IpBlock> ip_block;
  bool operator==(const PolicyPeer&) const = default;
};

struct PolicyPort {
  Protocol protocol = Protocol::tcp;
  std::optional<PortReference> port;  // absent: every port of the protocol
  std::uint16_t end_port = 0;         // 0: none; inclusive
  bool operator==(const PolicyPort&) const = default;
};

struct PolicyRule {
  std::vector<PolicyPeer> peers;  // empty: every peer
  std::vector<PolicyPort> ports;  // empty: every port and protocol
  int line = 0;                   // of the rule in its file, 0 unknown
  bool operator==(const PolicyRule&) const = default;
};

struct NetworkPolicy {
  Metadata meta;
  LabelSelector pod_selector;
  bool applies_ingress = true;  // policyTypes after defaulting
  bool applies_egress = false;
  std::vector<PolicyRule> ingress;
  std::vector<PolicyRule> egress;
  bool operator==(const NetworkPolicy&) const = default;
};

struct AddressRange {
  IpAddress first;
  IpAddress last;  // inclusive, same family
  auto operator<=>(const AddressRange&) const = default;
};

// Addresses for Services of type LoadBalancer.
struct LoadBalancerPool {
  Metadata meta;
  std::vector<AddressRange> ranges;               // spec.addresses: "10.0.0.0/28" or "10.0.0.5-10.0.0.9"
  std::optional<LabelSelector> service_selector;  // absent: every Service
  std::vector<std::string> namespaces;            // spec.namespaces; empty: every one
  bool auto_assign = true;                        // false: only for Services that ask for an address of it
  bool operator==(const LoadBalancerPool&) const = default;
};

// Load balancer and external addresses answered for by ARP and neighbour discovery.
struct L2Announcement {
  Metadata meta;
  std::optional<LabelSelector> service_selector;  // absent: every Service
  std::optional<LabelSelector> node_selector;     // absent: every node
  std::vector<std::string> interfaces;            // device names or patterns with *; empty: the uplinks
  bool external_ips = true;
  bool load_balancer_ips = true;
  bool operator==(const L2Announcement&) const = default;
};

// Pods of any namespace that both selectors match; an absent one matches all.
struct EgressSelector {
  std::optional<LabelSelector> pod_selector;
  std::optional<LabelSelector> namespace_selector;
  bool operator==(const EgressSelector&) const = default;
};

// Nodes by which pods leave: one by name, or those that the selector matches, in order of their names.
struct EgressNodes {
  std::string node;
  std::optional<LabelSelector> node_selector;  // absent: `node` is given
  std::vector<IpAddress> addresses;            // egressIPs, at most one of each family; absent: the node's own
  std::string interface;                       // empty: by the route
  bool operator==(const EgressNodes&) const = default;
};

// At a time, by one EgressGateway: as many as the datapath's rows have room for.
inline constexpr unsigned most_gateways = 8;

// Pods that leave the cluster by gateways, from a stable address.
struct EgressGateway {
  enum class Failover { next, drop };  // when a preferred gateway is away: by the next one, or not at all
  Metadata meta;
  std::vector<EgressSelector> selectors;
  std::vector<Cidr> destinations;
  std::vector<Cidr> excluded;
  std::vector<EgressNodes> gateways;  // in order of preference
  unsigned max_gateways = 1;          // that share the pods at a time
  Failover failover = Failover::next;
  bool operator==(const EgressGateway&) const = default;
};

// A part of a pool; nodes of a cluster take blocks of that prefix length of it.
struct PodAddressRange {
  Cidr cidr;
  unsigned block_length = 0;
  auto operator<=>(const PodAddressRange&) const = default;
};

// Addresses for pods, beside those of pod_cidrs, which are the pool "default".
struct PodAddressPool {
  Metadata meta;
  std::vector<PodAddressRange> ranges;
  // Both absent: only for who asks for it by name. One alone leaves the other open.
  std::optional<LabelSelector> namespace_selector;
  std::optional<LabelSelector> pod_selector;
  bool operator==(const PodAddressPool&) const = default;
};
inline constexpr std::string_view default_address_pool = "default";

using Object = std::variant<Namespace, Pod, Deployment, Service, EndpointSlice, NetworkPolicy, LoadBalancerPool,
                            L2Announcement, BgpPeering, EgressGateway, PodAddressPool>;

Kind kind_of(const Object& object);
const Metadata& metadata_of(const Object& object);

}  // namespace weft::model
