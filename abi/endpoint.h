/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Who an address is. */
#pragma once

#include "abi/types.h"

/* Numbers as the field uses them (Cilium: 1 host, 2 world; 256..65535 cluster; CIDR above). */
enum weft_identity {
	WEFT_IDENTITY_ANY = 0, /* in policy keys: every peer */
	WEFT_IDENTITY_HOST = 1,
	WEFT_IDENTITY_WORLD = 2,
	WEFT_IDENTITY_UNMANAGED = 3,
	WEFT_IDENTITY_INIT = 5, /* labels not known yet */
	WEFT_IDENTITY_REMOTE_NODE = 6, /* another node of the cluster */
	WEFT_IDENTITY_FIRST = 256,
	WEFT_IDENTITY_LAST = 65535,
	WEFT_IDENTITY_FIRST_CIDR = 1 << 24, /* local to the node */
};

#define WEFT_ENDPOINT_ID_HOST 1 /* pods count from 2 */

enum weft_endpoint_flag {
	WEFT_ENDPOINT_HOST = 1 << 0, /* an address of the node itself */
	WEFT_ENDPOINT_INGRESS_ENFORCED = 1 << 1,
	WEFT_ENDPOINT_EGRESS_ENFORCED = 1 << 2,
	WEFT_ENDPOINT_REDIRECT_TARGET = 1 << 3, /* a pod some WEFT_SERVICE_LOCAL_REDIRECT leads to; also in weft_netns */
};

enum weft_direction {
	WEFT_INGRESS = 0,
	WEFT_EGRESS = 1,
};

/* Map weft_ep_v1: address -> endpoint. One atomic replace changes class and enforcement together. */
struct weft_endpoint {
	__u32 ifindex; /* host side of the pod's veth; 0 for the node's own addresses */
	__u32 endpoint_id;
	__u32 identity;
	__u32 cidr_identity; /* of the narrowest policy CIDR that holds the address; 0: none */
	__u32 policy_class;
	__u32 flags; /* weft_endpoint_flag */
	__u32 prefix_mask[2]; /* by weft_direction: bit n set: keys with port prefix length n exist (0..16) */
	__u32 default_rule[2]; /* by weft_direction: rule id reported when nothing allows */
	__u8 mac[6]; /* the pod's own */
	__u16 mtu;
};
WEFT_ABI_ASSERT(sizeof(struct weft_endpoint) == 48);

/* Map weft_ipid_v2: longest prefix match for addresses that are no endpoint's. */
struct weft_lpm_key {
	__u32 prefix_length; /* of 128 bits, IPv4 counts 96 more */
	struct weft_addr addr;
};
WEFT_ABI_ASSERT(sizeof(struct weft_lpm_key) == 20);

enum weft_ip_flag {
	WEFT_IP_NATIVE = 1 << 0, /* reached without source translation */
	WEFT_IP_RESERVED = 1 << 1, /* pod or service range: only endpoints and frontends live there */
	WEFT_IP_BROADCAST = 1 << 2, /* the broadcast address of a network the node is on */
	WEFT_IP_BALANCER = 1 << 3, /* another node that may send clients' packets inside its own; not where RESERVED is set */
};

struct weft_ip_identity {
	__u32 identity; /* world, or the CIDR identity of this prefix; INIT for another node's block */
	__u32 flags; /* weft_ip_flag, those of the enclosing prefixes included */
	__u32 node; /* index of weft_node_v1 whose block of pods' addresses this is; 0: no node's */
	__u32 pad; /* zero */
};
WEFT_ABI_ASSERT(sizeof(struct weft_ip_identity) == 16);

/* Map weft_remote_v1, hash: address -> what has it on another node. Looked up only where weft_ep_v1 has nothing, and
 * only with WEFT_CONFIG_NODES. What has a node's index is reached by that node's way. Node 0: reached like any address
 * outside, as the addresses by which the nodes reach each other are; their gateways' addresses have their index. */
enum weft_remote_flag {
	WEFT_REMOTE_NODE = 1 << 0, /* the node itself: one of its own addresses, or its gateway's */
};
struct weft_remote {
	__u32 identity; /* the pod's, or WEFT_IDENTITY_REMOTE_NODE */
	__u32 cidr_identity; /* as in weft_endpoint */
	__u32 node; /* index of weft_node_v1; 0: see above */
	__u32 flags; /* weft_remote_flag */
};
WEFT_ABI_ASSERT(sizeof(struct weft_remote) == 16);

/* How packets get to the pods of another node. */
enum weft_way {
	WEFT_WAY_NONE = 0, /* no node has this index */
	WEFT_WAY_DIRECT = 1, /* as they are, by the kernel's routes */
	WEFT_WAY_VXLAN = 2, /* by the kernel's VXLAN device weft_config.overlay_ifindex, the sender's identity as VNI */
	WEFT_WAY_GENEVE = 3, /* put into Geneve here, the sender's identity as VNI */
	WEFT_WAY_IPIP = 4, /* IP-in-IP; the receiver looks the sender up */
	WEFT_WAY_WIREGUARD = 5, /* by the WireGuard device weft_node.ifindex; the receiver looks the sender up */
	WEFT_WAY_REFUSED = 6, /* none: only what is encrypted may go there, and nothing encrypts it yet */
};

/* Map weft_node_v1, array: the other nodes, numbered by the agent from 1. An index keeps its node while flows may name
 * it. */
#define WEFT_NODES 8192
struct weft_node {
	/* Where tunnels to it end. Of WEFT_WAY_WIREGUARD: its gateway's, for what is wrapped in IP-in-IP before it is
	 * encrypted; all zero: none. */
	struct weft_addr addr;
	struct weft_addr source; /* this node's address towards it, of the same family and kind */
	__u32 ifindex; /* of WEFT_WAY_WIREGUARD: the device, which has no MAC header; 0: none yet */
	__u32 mtu; /* largest pods' packet that gets there */
	__u8 way; /* weft_way */
	__u8 pad[3];
};
WEFT_ABI_ASSERT(sizeof(struct weft_node) == 44);

/* Map weft_pmtu_v1, hash: address where tunnels to another node end -> the largest packet that routers say gets there
 * (RFC 1191, RFC 8201), the tunnel's headers included. The datapath writes it; one that is over counts for nothing. */
#define WEFT_PATH_MTU_SECONDS 610 /* ten minutes, and what the kernel's own such entry, which VXLAN goes by, may be later */
struct weft_path_mtu {
	__u64 until; /* CLOCK_MONOTONIC in nanoseconds */
	__u32 mtu;
	__u32 pad; /* zero */
};
WEFT_ABI_ASSERT(sizeof(struct weft_path_mtu) == 16);

/* Below these no kernel goes for what it is told (net.ipv4.route.min_pmtu; RFC 8201 section 4), so packets no larger have to be
 * sent, whatever a router says. */
#define WEFT_PATH_MTU_LEAST_V4 552
#define WEFT_PATH_MTU_LEAST_V6 1280

/* Map weft_netns_v1: network namespace cookie (SO_NETNS_COOKIE) -> endpoint, for the socket hook. */
struct weft_netns {
	__u32 endpoint_id;
	__u32 flags; /* weft_endpoint_flag */
};

/* Map weft_dev_v1: ifindex -> the node's device, for source translation. */
struct weft_device {
	struct weft_addr nat_v4; /* IPv4-mapped; all zero: none */
	struct weft_addr nat_v6;
	__u32 mtu;
	__u32 pad;
};
WEFT_ABI_ASSERT(sizeof(struct weft_device) == 40);
