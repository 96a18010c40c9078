/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The flow table: one entry per direction of a flow, keyed by the packet as it arrives at the
 * hook, before any rewrite. See docs/datapath.md. */
#pragma once

#include "abi/types.h"

/* ICMP and ICMPv6 echo: the identifier stands in sport for a request and in dport for a reply. */
struct weft_flow_key_v4 {
	__be32 saddr;
	__be32 daddr;
	__be16 sport;
	__be16 dport;
	__u8 protocol;
	__u8 pad[3]; /* zero */
};
WEFT_ABI_ASSERT(sizeof(struct weft_flow_key_v4) == 16);

struct weft_flow_key_v6 {
	struct weft_addr saddr;
	struct weft_addr daddr;
	__be16 sport;
	__be16 dport;
	__u8 protocol;
	__u8 pad[3]; /* zero */
};
WEFT_ABI_ASSERT(sizeof(struct weft_flow_key_v6) == 40);

/* Where an established packet leaves. */
enum weft_exit {
	WEFT_EXIT_STACK = 0, /* up or on through the host's stack */
	WEFT_EXIT_PEER = 1, /* into the pod behind out_ifindex, skipping the stack */
	WEFT_EXIT_NEIGH = 2, /* out of device out_ifindex, the kernel resolves the neighbour */
	WEFT_EXIT_TUNNEL = 3, /* to weft_flow.node inside another packet; as it is, to an egress gateway on one network */
};

/* weft_flow.in_ifindex of what comes out of a tunnel. */
#define WEFT_IN_TUNNEL 0xffffffffU

enum weft_flow_flag {
	WEFT_FLOW_REPLY = 1 << 0, /* this entry is the reply direction */
	WEFT_FLOW_DNAT = 1 << 1, /* rewrite the destination to dst_addr, dst_port */
	WEFT_FLOW_SNAT = 1 << 2, /* rewrite the source to src_addr, src_port */
	WEFT_FLOW_FIN = 1 << 3, /* this direction sent FIN */
	WEFT_FLOW_CLOSED = 1 << 4, /* RST of a known sender, or FIN in both directions; a SYN starts it anew */
	WEFT_FLOW_FROM_HOST = 1 << 5, /* the original direction began on the node itself */
	WEFT_FLOW_EXTERNAL = 1 << 6, /* the original direction came from outside to a service */
	WEFT_FLOW_COUNTED = 1 << 7, /* stands in its backend's `active` */
	WEFT_FLOW_OPENING = 1 << 8, /* TCP, begun by a SYN: nothing else has come along this direction yet */
	WEFT_FLOW_HOST_SOURCE = 1 << 9, /* only the node itself sends this direction's packets */
	WEFT_FLOW_RESET = 1 << 10, /* RST from outside, in either direction: since then nothing came along this one */
	WEFT_FLOW_EGRESS = 1 << 12, /* leaves the cluster by an egress gateway, another node or this one */
};

/* Towards a backend elsewhere without source translation: the packet as it is, inside another from
 * src_addr to dst_addr (IP-in-IP, Geneve), or with its destination rewritten and the frontend in an option. */
enum weft_encapsulation {
	WEFT_ENCAPSULATION_NONE = 0,
	WEFT_ENCAPSULATION_IPIP = 1,
	WEFT_ENCAPSULATION_GENEVE = 2,
	WEFT_ENCAPSULATION_OPTION = 3,
};

/* Both directions carry the same decision; the counters are each direction's own. Identities,
 * rules and service are those of the original direction. An entry whose epoch is not the current one
 * is decided again by its next packet; a revoked one keeps its old epoch, so that every packet of
 * either direction is refused until policy allows the flow again or the table needs the room. */
struct weft_flow {
	/* first cache line: read or written for every established packet */
	__u64 packets;
	__u64 bytes; /* L3 bytes */
	__u64 last_seen; /* jiffies */
	__u32 epoch; /* weft_config.epoch under which it was decided */
	__u32 in_ifindex; /* the pod's device it may only enter by, or WEFT_IN_TUNNEL; 0: the node or an uplink */
	__u32 out_ifindex;
	__u16 flags; /* weft_flow_flag */
	__u8 exit; /* weft_exit */
	__u8 encapsulation; /* weft_encapsulation */
	__u8 next_hop_mac[6]; /* XDP only: the neighbour, valid for a second after mac_checked */
	__u8 device_mac[6]; /* of out_ifindex */
	union {
		__u32 mac_checked; /* of next_hop_mac: jiffies, low 32 bits; 0: never */
		__u32 node; /* of WEFT_EXIT_TUNNEL, which XDP does not carry: index of weft_node_v1 */
	};
	__u32 mtu; /* largest L3 packet the exit takes; 0: no limit */
	__be16 dst_port;
	__be16 src_port;
	/* second */
	struct weft_addr dst_addr;
	struct weft_addr src_addr;
	__u32 src_identity;
	__u32 dst_identity;
	__u32 egress_rule; /* weft rule id, 0: no policy applied in this direction */
	__u32 ingress_rule;
	__u32 service_id; /* 0: none */
	__u32 backend_id; /* 0: none */
	__u64 created; /* nanoseconds, CLOCK_MONOTONIC */
};
WEFT_ABI_ASSERT(sizeof(struct weft_flow) == 128);

/* Later IPv4 and IPv6 fragments find their ports here. */
struct weft_fragment_key {
	struct weft_addr saddr;
	struct weft_addr daddr;
	__be32 id;
	__u8 protocol;
	__u8 pad[3];
};
WEFT_ABI_ASSERT(sizeof(struct weft_fragment_key) == 40);

struct weft_fragment {
	__be16 sport;
	__be16 dport;
};
