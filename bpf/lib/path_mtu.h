/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* How large a packet inside a tunnel may be where a router on the way takes less than this node's devices: what
 * lib/path_mtu_learn.h has heard. */
#pragma once

#include "lib/node.h"
#include "lib/outer.h"

/* Ethernet, VXLAN and UDP before the packet inside (RFC 7348). */
#define VXLAN_OVERHEAD (ETH_HLEN + 8 + sizeof(struct udphdr))

inline_always __u32 path_mtu_least(bool v4)
{
	return v4 ? WEFT_PATH_MTU_LEAST_V4 : WEFT_PATH_MTU_LEAST_V6;
}

/* Bytes by which a packet grows on its way to the node. */
inline_always __u32 way_overhead(const struct weft_node *node)
{
	__u32 header = addr_is_v4(&node->addr) ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);

	if (node->way == WEFT_WAY_VXLAN)
		return header + VXLAN_OVERHEAD;
	return node->way == WEFT_WAY_GENEVE ? header + sizeof(struct udphdr) + sizeof(struct geneve_base) : header;
}

/* Whether a router on the way may cut the packet: IPv4 without DF. */
inline_always bool may_be_fragmented(struct __sk_buff *skb)
{
	__be16 fragment = 0;

	return skb->protocol == bpf_htons(ETH_P_IP) &&
	       !bpf_skb_load_bytes(skb, ETH_HLEN + offsetof(struct iphdr, frag_off), &fragment, sizeof(fragment)) &&
	       !(fragment & bpf_htons(IP_DONT_FRAGMENT));
}

/* Few instructions where no router has said anything. */
inline_always bool path_mtus_known(void)
{
	__u32 zero = 0;
	const __u64 *until = bpf_map_lookup_elem(&weft_pmtuany_v1, &zero);

	return until && *until;
}

/* The largest packet of that family that a tunnel may take to the node of this number; 0: nothing is known. The answer is never less than
 * what every sender of the family may send. */
inline_always __u32 path_mtu_inside(__u32 index, bool v4)
{
	__u32 zero = 0;
	__u64 *until = bpf_map_lookup_elem(&weft_pmtuany_v1, &zero);
	const struct weft_node *node = node_get(index);
	const struct weft_path_mtu *path;
	__u64 now = bpf_ktime_get_ns();
	__u32 least = path_mtu_least(v4);
	__u32 inside;

	if (until && *until < now)
		*until = 0; /* what is said meanwhile is said again */
	if (!node || (node->way != WEFT_WAY_VXLAN && node->way != WEFT_WAY_GENEVE && node->way != WEFT_WAY_IPIP))
		return 0;
	path = bpf_map_lookup_elem(&weft_pmtu_v1, &node->addr);
	if (!path || path->until < now)
		return 0;
	inside = path->mtu - way_overhead(node);
	return inside < least ? least : inside;
}
