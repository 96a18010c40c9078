/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Every reason for which the datapath drops a packet: WEFT_DROP_REASONS(X) is the one list; the
 * enum, the counters' size and the printed names come from it. Append only: numbers are reported
 * to users and stored in flow history. X(NAME, "name", "what it means"). */
#pragma once

#define WEFT_DROP_REASONS(X) \
	X(NONE, "none", "not dropped") \
	X(POLICY_DENIED, "policy-denied", "no rule of the policies that select the endpoint allows it") \
	X(POLICY_REVOKED, "policy-revoked", "the flow was allowed earlier and a policy change ended it") \
	X(SPOOFED_SOURCE, "spoofed-source", "the source address does not belong to the sending endpoint") \
	X(UNKNOWN_ENDPOINT, "unknown-endpoint", "nothing has this address of the pod or service range, or the device has no endpoint yet") \
	X(MALFORMED, "malformed", "a header is truncated or contradicts itself") \
	X(UNKNOWN_L3, "unknown-l3", "neither IPv4, IPv6 nor ARP") \
	X(UNKNOWN_L4, "unknown-l4", "a transport protocol the datapath does not carry") \
	X(FRAGMENT_UNKNOWN, "fragment-unknown", "a later fragment whose first fragment was not seen") \
	X(NO_BACKEND, "no-backend", "the service has no usable backend") \
	X(NAT_EXHAUSTED, "nat-exhausted", "no free source port for translation to this destination") \
	X(NAT_NO_ADDRESS, "nat-no-address", "the egress device has no address to translate to") \
	X(NO_ROUTE, "no-route", "the node has no route to the destination") \
	X(FLOW_TABLE, "flow-table", "the flow table refused the new flow") \
	X(ICMP_UNRELATED, "icmp-unrelated", "an ICMP error about no known flow") \
	X(ICMP_UNSUPPORTED, "icmp-unsupported", "an ICMP type the datapath does not carry") \
	X(MULTICAST, "multicast", "multicast and broadcast do not leave a pod") \
	X(ARP_UNKNOWN, "arp-unknown", "an ARP or neighbour request for an address that is not the gateway") \
	X(REWRITE, "rewrite", "the packet could not be rewritten") \
	X(LINK_LOCAL, "link-local", "link-local addresses do not leave a pod") \
	X(SCTP_PORT, "sctp-port", "the service changes the port of SCTP, whose checksum cannot be translated; use the same port") \
	X(VLAN, "vlan", "the pod tagged the packet for a VLAN") \
	X(RESERVED_ADDRESS, "reserved-address", "loopback, unspecified and IPv4-mapped addresses do not leave a pod, nor does a service lead there") \
	X(FLOW_RATE, "flow-rate", "the pod starts flows faster than any pod may") \
	X(SOURCE_RANGE, "source-range", "the client is not in the service's loadBalancerSourceRanges") \
	X(BACKEND_GONE, "backend-gone", "the connection's backend left the service; the connection is reset") \
	X(ENCAPSULATION, "encapsulation", "the packet could not be put into, or taken out of, another one, or a pod sent what only nodes send each other") \
	X(TOO_BIG, "too-big", "the packet does not fit the way to its backend; the client was told") \
	X(LOOP, "loop", "the answer would come back for ever: the packet's source is its destination, or a client outside has a service's address") \
	X(NODE_UNKNOWN, "node-unknown", "the address is another node's, and no way to that node is known") \
	X(TUNNEL_SENDER, "tunnel-sender", "a tunnel's packet comes from no node of the cluster, or does not say whose it is") \
	X(OUTSIDE_TUNNEL, "outside-tunnel", "the source address is another node's, whose packets come by a tunnel only") \
	X(NO_EGRESS_GATEWAY, "no-egress-gateway", "an EgressGateway selects the pod and none of its gateways can be used") \
	X(NOT_EGRESS_GATEWAY, "not-egress-gateway", "another node's pod sent it here to leave the cluster, and this node is no gateway of it") \
	X(EGRESS_UNKNOWN_FLOW, "egress-unknown-flow", "a connection that this egress gateway has not seen begin; the pod was sent a reset") \
	X(UNENCRYPTED, "unencrypted", "only encrypted packets may go to that node, and there is no key of it yet (encryption_strict)") \
	X(TUNNEL_SOURCE, "tunnel-source", "the source address is on another node than the one whose tunnel brought it: no node speaks for others") \
	X(PATH_MTU, "path-mtu", "an ICMP error for which the kernel's VXLAN device would drop what pods send: about nothing this node sent another one so large, or below what the way to it has to take") \
	X(BGP, "bgp", "a connection to port 179 that would leave with this node's address, by which routers know the node's own BGP") \
	X(SOURCE_ROUTE, "source-route", "an IPv4 option that names the routers of the way (RFC 7126): it does not leave a pod")

enum weft_drop_reason {
#define WEFT_DROP_ENUM(name, text, meaning) WEFT_DROP_##name,
	WEFT_DROP_REASONS(WEFT_DROP_ENUM)
#undef WEFT_DROP_ENUM
	WEFT_DROP_REASON_COUNT
};
