/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Which pods leave the cluster through which nodes. Read by the decision about a new flow, with WEFT_CONFIG_EGRESS
 * only. */
#pragma once

#include "abi/types.h"

/* Map weft_egress_v1, LPM trie: a pod's identity and an address outside -> the gateways between them. */
struct weft_egress_key {
	__u32 prefix_length; /* 32 for identity, then of 128 bits, IPv4 counts 96 more */
	__u32 identity;
	struct weft_addr addr;
};
WEFT_ABI_ASSERT(sizeof(struct weft_egress_key) == 24);

enum weft_egress_flag {
	WEFT_EGRESS_EXCLUDED = 1 << 0, /* no gateway for this prefix, whatever a wider one says */
	WEFT_EGRESS_GATEWAY = 1 << 1, /* this node is one of them: `address` is its */
};

#define WEFT_EGRESS_ROWS 65536 /* of weft_egress_v1 */
#define WEFT_EGRESS_GATEWAYS 8 /* at most */
#define WEFT_EGRESS_HERE 0xffffU /* in place of a node's number: this node */

/* Without any gateway the flow is refused: it would leave with the wrong source. */
struct weft_egress {
	struct weft_addr address; /* GATEWAY: what the source is translated to here */
	__u32 ifindex; /* GATEWAY: the device to leave by; 0: by the route */
	__u8 flags; /* weft_egress_flag */
	__u8 count; /* gateways in `node`, in order of preference; flows that go by one of them stay there */
	__u8 spread; /* new flows take one of the first so many, by their source address */
	__u8 pad; /* zero */
	__u16 node[WEFT_EGRESS_GATEWAYS]; /* indexes of weft_node_v1, or WEFT_EGRESS_HERE */
};
WEFT_ABI_ASSERT(sizeof(struct weft_egress) == 40);

/* Map weft_nexthop_v1, hash: index of weft_node_v1 -> where on this node's own network a gateway is that is reached
 * without a tunnel. */
struct weft_next_hop {
	struct weft_addr v4; /* IPv4-mapped; all zero: none */
	struct weft_addr v6;
};
WEFT_ABI_ASSERT(sizeof(struct weft_next_hop) == 32);
