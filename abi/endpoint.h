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

/* Map weft_ipid_v1: longest prefix match for addresses that are no endpoint's. */
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
	__u32 identity; /* world, or the CIDR identity of this prefix */
	__u32 flags; /* weft_ip_flag, those of the enclosing prefixes included */
};

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
