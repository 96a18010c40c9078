/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Map weft_config_v1 (one entry) and the counters. */
#pragma once

#include "abi/drop_reasons.h"
#include "abi/types.h"

enum weft_config_flag {
	WEFT_CONFIG_EVENTS = 1 << 0, /* write flow events to the ring */
	WEFT_CONFIG_MASQUERADE_V4 = 1 << 1,
	WEFT_CONFIG_MASQUERADE_V6 = 1 << 2,
	WEFT_CONFIG_SERVICES = 1 << 3, /* any service is programmed */
	WEFT_CONFIG_EXTERNAL = 1 << 4, /* some frontend serves clients outside: devices look for them */
	WEFT_CONFIG_HOST_BACKENDS = 1 << 5, /* some backend of those is the node itself: its replies pass to_device */
	WEFT_CONFIG_L2 = 1 << 6, /* weft_l2_v1 has entries */
	WEFT_CONFIG_DECAPSULATE = 1 << 7, /* IP-in-IP and Geneve to the node's addresses may carry clients' packets */
	WEFT_CONFIG_LB_PORTS_RESERVED = 1 << 8, /* the node's sockets are not given lb_port_min to lb_port_max */
	WEFT_CONFIG_NODES = 1 << 9, /* weft_node_v1 has nodes */
	WEFT_CONFIG_TUNNEL = 1 << 10, /* some of them are reached by, and send by, a tunnel */
	WEFT_CONFIG_EGRESS = 1 << 12, /* weft_egress_v1 has entries */
	WEFT_CONFIG_VXLAN = 1 << 13, /* some node is reached by VXLAN */
	WEFT_CONFIG_GENEVE = 1 << 14, /* the same by Geneve: among nodes its port is the tunnels' */
	WEFT_CONFIG_BGP = 1 << 15, /* routers speak BGP with the node: no pod does so from its address */
};

struct weft_config {
	__u32 epoch; /* bumped by every change of policy, service, identity or route */
	__u32 flags; /* weft_config_flag */
	__be32 gateway_v4; /* answered to ARP from pods */
	__u32 event_wakeup_bytes; /* wake the reader each time this much more of the ring is unread; 0: always */
	struct weft_addr gateway_v6; /* answered to neighbour solicitations from pods */
	__u8 gateway_mac[6]; /* of the host side of every pod's veth */
	__u16 nat_port_min; /* host byte order, inclusive */
	__u16 nat_port_max;
	__be16 wireguard_port; /* of nodes: no pod sends UDP there to a node; 0: there is none */
	__u32 new_flow_rate; /* flows a pod may start in a second on one CPU, after a burst of four times that; 0: any */
	__u64 deny_event_interval; /* nanoseconds between events of one denied tuple */
	__u32 hash_seed; /* of Maglev and source hash; the same on every node */
	__u16 lb_port_min; /* source ports for outside clients' flows to other nodes; apart from nat_port_* */
	__u16 lb_port_max;
	__u32 overlay_ifindex; /* the VXLAN device; 0: there is none */
	__be16 overlay_port; /* of that device: no pod sends UDP there but to another pod; 0: there is none */
	__be16 wireguard_next_port; /* the same, while keys change */
};
WEFT_ABI_ASSERT(sizeof(struct weft_config) == 72);

/* Map weft_drops_v1, per CPU, index weft_drop_reason. */
struct weft_counter {
	__u64 packets;
	__u64 bytes;
};

/* Map weft_stats_v1, per CPU, index weft_stat. Append only. X(NAME, "name", "meaning"). */
#define WEFT_STATS(X) \
	X(NEW_FLOW, "new-flow", "flows decided and entered into the flow table") \
	X(REDECIDED, "redecided", "flows decided again after a change of epoch") \
	X(CLOSED_FLOW, "closed-flow", "flows that ended with FIN or RST") \
	X(EVENT_LOST, "event-lost", "events that found the ring full") \
	X(EVENT_MUTED, "event-muted", "denied packets of a tuple reported less than a second ago") \
	X(TO_STACK_MTU, "to-stack-mtu", "packets too large for their exit, handed to the stack") \
	X(ARP_REPLY, "arp-reply", "ARP requests for the gateway answered") \
	X(NDP_REPLY, "ndp-reply", "neighbour solicitations for the gateway answered") \
	X(SOCKET_TRANSLATED, "socket-translated", "sockets sent to a backend by the socket hook") \
	X(SOCKET_NO_BACKEND, "socket-no-backend", "sockets refused because the service has no backend") \
	X(PACKET_TRANSLATED, "packet-translated", "service flows translated packet by packet") \
	X(NAT_YIELDED, "nat-yielded", "source ports taken from a pod or client that had most of them towards a destination, or from a flow that had only begun") \
	X(EVENT_LIMITED, "event-limited", "denied packets not told because their device had too many") \
	X(EXTERNAL_FLOW, "external-flow", "flows of clients outside the node to a service") \
	X(REJECTED, "rejected", "packets answered with a reset or an ICMP unreachable") \
	X(ENCAPSULATED, "encapsulated", "packets sent to their backend inside another packet") \
	X(DECAPSULATED, "decapsulated", "clients' packets taken out of another node's") \
	X(L2_REPLY, "l2-reply", "ARP and neighbour requests for announced addresses answered") \
	X(XDP_FORWARDED, "xdp-forwarded", "packets forwarded before the stack saw them") \
	X(TOO_BIG_SENT, "too-big-sent", "senders told by ICMP that their packets are too large for the tunnel") \
	X(L2_GIVEN_UP, "l2-given-up", "announced addresses that another host claimed while no agent was there") \
	X(PATH_MTU_LEARNT, "path-mtu-learnt", "routers said that less gets to another node than was known") \
	X(PATH_MTU_REFUSED, "path-mtu-refused", "the same said of a packet that is none of this node's to another one")

enum weft_stat {
#define WEFT_STAT_ENUM(name, text, meaning) WEFT_STAT_##name,
	WEFT_STATS(WEFT_STAT_ENUM)
#undef WEFT_STAT_ENUM
	WEFT_STAT_COUNT
};
