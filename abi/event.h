/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Records of the ring buffer weft_events_v1. */
#pragma once

#include "abi/drop_reasons.h"
#include "abi/types.h"

enum weft_event_type {
	WEFT_EVENT_NEW = 1, /* a flow was allowed and entered */
	WEFT_EVENT_DENIED = 2, /* a packet was dropped; drop_reason says why */
	WEFT_EVENT_CLOSED = 3, /* a flow ended; counters are final */
	WEFT_EVENT_TRANSLATED = 4, /* the socket hook sent a socket to a backend */
};

/* Where it was seen. */
enum weft_event_hook {
	WEFT_HOOK_FROM_POD = 1,
	WEFT_HOOK_TO_POD = 2,
	WEFT_HOOK_FROM_DEVICE = 3,
	WEFT_HOOK_TO_DEVICE = 4,
	WEFT_HOOK_SOCKET = 5,
	WEFT_HOOK_XDP = 6,
	WEFT_HOOK_FROM_OVERLAY = 7, /* out of a tunnel, whichever hook took it out */
	WEFT_HOOK_FROM_HOST = 8, /* the node itself, to what is reached by a tunnel */
};

/* Addresses and ports are those of the original direction as first sent: for a service flow the
 * destination is the service, and backend_* where it went. For TRANSLATED the source is only
 * src_endpoint; saddr and sport are zero. */
struct weft_event {
	__u64 time; /* nanoseconds, CLOCK_MONOTONIC */
	struct weft_addr saddr;
	struct weft_addr daddr;
	struct weft_addr backend_addr; /* zero: none */
	__be16 sport;
	__be16 dport;
	__be16 backend_port;
	__u8 protocol;
	__u8 type; /* weft_event_type */
	__u8 hook; /* weft_event_hook */
	__u8 drop_reason; /* weft_drop_reason */
	__u8 direction; /* of the denying decision: weft_direction */
	__u8 tcp_flags; /* of the packet that caused it */
	__u32 src_identity;
	__u32 dst_identity;
	__u32 egress_rule;
	__u32 ingress_rule;
	__u32 service_id;
	__u32 src_endpoint; /* endpoint id, 0: none */
	__u32 dst_endpoint;
	__u32 ifindex;
	__u16 egress_node; /* the egress gateway it leaves by: index of weft_node_v1, or WEFT_EGRESS_HERE; 0: none */
	__u16 pad; /* zero */
	__u64 packets; /* CLOSED: original direction */
	__u64 bytes;
	__u64 reply_packets;
	__u64 reply_bytes;
};
WEFT_ABI_ASSERT(sizeof(struct weft_event) == 136);
