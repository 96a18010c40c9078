// Tree -> objects, one function for each kind. Problems go to the Report of the Values; a result
// is meaningful only when the Report stayed clean.
#pragma once

#include <optional>

#include "model/objects.h"
#include "model/reader.h"

namespace weft::model {

// "a Pod", "an EndpointSlice".
std::string with_article(std::string_view kind);

// The parts of an object every kind has. `fields` is the object's own mapping; apiVersion, kind and
// metadata are taken from it.
Metadata decode_metadata(Fields& fields, Kind kind);
// The metadata of a pod template: only labels and annotations count.
void decode_template_metadata(const Value& value, LabelMap& labels, LabelMap& annotations);

LabelMap decode_labels(const Value& value);
LabelSelector decode_selector(const Value& value);

// TCP, UDP or SCTP.
std::optional<Protocol> decode_protocol(const Value& value);
std::optional<std::uint16_t> decode_port_number(const Value& value);
// A number, or the name of a container's port.
std::optional<PortReference> decode_port_reference(const Value& value);
std::optional<IpAddress> decode_address(const Value& value);
bool is_link_local(const IpAddress& address);
// Neither all zero nor loopback nor multicast: those would capture what belongs to no Service.
bool is_service_address(const IpAddress& address);
std::optional<IpAddress> decode_service_address(const Value& value);
// Bits beyond the prefix are a warning. With `padded`, spaces around it do not matter.
std::optional<Cidr> decode_cidr(const Value& value, bool padded = false);
// A device's name as the kernel takes it; with `pattern`, * stands for any characters.
void check_interface(const Value& value, std::string_view text, bool pattern);
// Text that must be one of `words`; anything else is a problem that lists them.
std::optional<std::string> decode_word(const Value& value, const std::vector<std::string_view>& words);

Namespace decode_namespace(const Value& root);
Pod decode_pod(const Value& root);
// How a kind read as a Deployment was written: the fields of its spec differ.
enum class Workload { deployment, replica_set, stateful_set };
Deployment decode_deployment(const Value& root, Workload workload);
Service decode_service(const Value& root);
EndpointSlice decode_endpoint_slice(const Value& root);
NetworkPolicy decode_network_policy(const Value& root);
LoadBalancerPool decode_load_balancer_pool(const Value& root);
L2Announcement decode_l2_announcement(const Value& root);
BgpPeering decode_bgp_peering(const Value& root);
EgressGateway decode_egress_gateway(const Value& root);
PodAddressPool decode_pod_address_pool(const Value& root);

}  // namespace weft::model
