// The Kubernetes objects Weft understands, as plain values. Parsing is in model/parse.h.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/ip.h"
#include "base/labels.h"
#include "model/selector.h"

namespace weft::model {

enum class Kind { namespace_, pod, deployment, service, endpoint_slice, network_policy };
// "Namespace", "Pod", "Deployment", "Service", "EndpointSlice", "NetworkPolicy".
std::string_view to_string(Kind kind);
// Accepts kind names, plurals and kubectl's short names in any case: po, pods, svc, deploy, ns, netpol, endpointslices
// ...
Result<Kind> parse_kind(std::string_view text);

// Where an object was written; line is 1-based, 0 when unknown.
struct SourceLocation {
  std::string file;
  int line = 0;
  auto operator<=>(const SourceLocation&) const = default;
};

struct ObjectKey {
  std::string namespace_;  // empty for Namespace objects
  std::string name;
  [[nodiscard]] std::string to_string() const { return namespace_.empty() ? name : namespace_ + "/" + name; }
  auto operator<=>(const ObjectKey&) const = default;
};

struct Metadata {
  std::string namespace_;  // "default" when absent; empty for Namespace
  std::string name;
  LabelMap labels;
  LabelMap annotations;
  std::string uid;
  SourceLocation location;
  [[nodiscard]] ObjectKey key() const { return {namespace_, name}; }
  bool operator==(const Metadata&) const = default;
};

struct Namespace {
  Metadata meta;  // labels always hold kubernetes.io/metadata.name
  bool operator==(const Namespace&) const = default;
};

struct ContainerPort {
  std::string name;  // may be empty
  std::uint16_t port = 0;
  Protocol protocol = Protocol::tcp;
  std::uint16_t host_port = 0;
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
  bool host_network = false;
  bool operator==(const PodSpec&) const = default;
};

struct Pod {
  Metadata meta;
  PodSpec spec;
  // The Deployment it was expanded from ("web"), empty for a bare Pod.
  std::string workload;
  bool ready = true;  // status.conditions[Ready] when given, else true
  bool operator==(const Pod&) const = default;
};

struct Deployment {
  Metadata meta;
  int replicas = 1;
  LabelSelector selector;
  LabelMap template_labels;
  LabelMap template_annotations;
  PodSpec template_spec;
  bool operator==(const Deployment&) const = default;
};

// A port given by number or by name (IntOrString).
using PortReference = std::variant<std::uint16_t, std::string>;

struct ServicePort {
  std::string name;
  Protocol protocol = Protocol::tcp;
  std::uint16_t port = 0;
  PortReference target_port = std::uint16_t{0};  // equals port when absent
  std::uint16_t node_port = 0;
  bool operator==(const ServicePort&) const = default;
};

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
  bool operator==(const Service&) const = default;
};

struct SliceEndpoint {
  std::vector<IpAddress> addresses;
  bool ready = true;    // absent means true
  bool serving = true;  // absent means as ready
  bool terminating = false;
  std::string target_pod;  // targetRef kind Pod: its name, same namespace
  std::string hostname;
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

using Object = std::variant<Namespace, Pod, Deployment, Service, EndpointSlice, NetworkPolicy>;

Kind kind_of(const Object& object);
const Metadata& metadata_of(const Object& object);

}  // namespace weft::model
