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
	__u16 pad0;
	__u32 new_flow_rate; /* flows a pod may start in a second on one CPU, after a burst of four times that; 0: any */
	__u64 deny_event_interval; /* nanoseconds between events of one denied tuple */
};
WEFT_ABI_ASSERT(sizeof(struct weft_config) == 56);

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
	X(NAT_YIELDED, "nat-yielded", "source ports taken from a pod that had most of them towards a destination") \
	X(EVENT_LIMITED, "event-limited", "denied packets not told because their device had too many")

enum weft_stat {
#define WEFT_STAT_ENUM(name, text, meaning) WEFT_STAT_##name,
	WEFT_STATS(WEFT_STAT_ENUM)
#undef WEFT_STAT_ENUM
	WEFT_STAT_COUNT
};
