/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* By which device a flow leaves: by the kernel's routes, or to another node by that one's way. */
#pragma once

#include "lib/node.h"
#include "lib/scratch.h"

enum route {
	ROUTE_NONE = -1,
	ROUTE_STACK = 0, /* local to the node, or something only the full stack can route */
	/* above: the device's index */
};

/* The question how a packet from `source`, seen at device `ifindex`, leaves for `destination`. */
inline_always void route_ask(struct bpf_fib_lookup *fib, __u32 ifindex, const struct weft_addr *source,
			     const struct weft_addr *destination, __u8 protocol, bool v4)
{
	fib->ifindex = ifindex;
	fib->l4_protocol = protocol;
	if (v4) {
		fib->family = ADDRESS_FAMILY_V4;
		fib->ipv4_src = source->word[3];
		fib->ipv4_dst = destination->word[3];
	} else {
		fib->family = ADDRESS_FAMILY_V6;
		__builtin_memcpy(fib->ipv6_src, source, 16);
		__builtin_memcpy(fib->ipv6_dst, destination, 16);
	}
}

/* What the answer of bpf_fib_lookup means. */
inline_always int route_answer(const struct bpf_fib_lookup *fib, long result)
{
	switch (result) {
	case BPF_FIB_LKUP_RET_SUCCESS:
	case BPF_FIB_LKUP_RET_NO_NEIGH:
	case BPF_FIB_LKUP_RET_FRAG_NEEDED: /* this packet is too large for the device, the flow is not */
		return fib->ifindex;
	case BPF_FIB_LKUP_RET_BLACKHOLE:
	case BPF_FIB_LKUP_RET_UNREACHABLE:
	case BPF_FIB_LKUP_RET_PROHIBIT:
		return ROUTE_NONE;
	default:
		return ROUTE_STACK;
	}
}

/* The device by which a packet from `source` leaves for `destination`. */
verified_once int route_find(struct __sk_buff *skb, const struct weft_addr *source, const struct weft_addr *destination,
			     __u8 protocol, bool v4)
{
	struct bpf_fib_lookup fib = {};

	if (!source || !destination)
		return ROUTE_NONE;
	route_ask(&fib, skb->ifindex, source, destination, protocol, v4);
	return route_answer(&fib, bpf_fib_lookup(skb, &fib, sizeof(fib), 0));
}

/* Fills the exit of scratch->forward towards an address outside; false when there is no route. */
inline_always bool route_outside(struct __sk_buff *skb, struct scratch *s, bool v4)
{
	int device = route_find(skb, &s->pair.saddr, &s->pair.daddr, s->pair.protocol, v4);

	if (device < 0)
		return false;
	s->forward.exit = device > 0 ? WEFT_EXIT_NEIGH : WEFT_EXIT_STACK;
	s->forward.out_ifindex = device;
	return true;
}

inline_always __u8 tunnel_protocol(__u8 way)
{
	return way == WEFT_WAY_IPIP ? IPPROTO_IPIP : IPPROTO_UDP;
}

inline_always void exit_into_tunnel(struct weft_flow *flow, const struct weft_node *node, __u32 index)
{
	flow->node = index;
	flow->mtu = node->mtu;
	if (node_wraps(node, flow->flags))
		flow->mtu -= addr_is_v4(&node->addr) ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
	flow->exit = WEFT_EXIT_TUNNEL;
}

/* What a node's way is wanted for. */
enum way_use {
	WAY_TO, /* the destination of scratch->pair is there */
	WAY_BACK, /* its source is */
	WAY_GATEWAY, /* the node sends its packets on: no route to where they go leads there */
};

/* Fills where `flow` leaves to another node. */
verified_once enum weft_drop_reason exit_to_node(struct __sk_buff *skb, struct weft_flow *flow, __u32 index,
						 enum way_use use)
{
	struct scratch *s = scratch_get();
	const struct weft_config *config = config_get();
	const struct weft_node *node = node_get(index);
	const struct weft_device *row;
	int device;

	if (!s || !config || !flow || !node)
		return WEFT_DROP_NODE_UNKNOWN;
	bool routed = node->way == WEFT_WAY_DIRECT && use != WAY_GATEWAY;

	exit_into_tunnel(flow, node, index);
	if (node->way == WEFT_WAY_REFUSED)
		return WEFT_DROP_UNENCRYPTED;
	if (node_has_device(node)) {
		flow->out_ifindex = node_device(node, config);
		return flow->out_ifindex ? WEFT_DROP_NONE : WEFT_DROP_NODE_UNKNOWN;
	}
	if (routed)
		device = use == WAY_BACK ? route_find(skb, &s->pair.daddr, &s->pair.saddr, s->pair.protocol, packet_is_v4(&s->packet)) :
				route_find(skb, &s->pair.saddr, &s->pair.daddr, s->pair.protocol, packet_is_v4(&s->packet));
	else
		device = route_find(skb, &node->source, &node->addr,
				    tunnel_protocol(node->way), addr_is_v4(&node->addr));
	if (device < 0 || (!device && !routed))
		return WEFT_DROP_NO_ROUTE;
	flow->out_ifindex = device;
	if (!routed)
		return WEFT_DROP_NONE;
	__u32 out = device;

	row = bpf_map_lookup_elem(&weft_dev_v1, &out);
	/* Not an uplink: leave it to the host's own configuration. */
	flow->exit = row ? WEFT_EXIT_NEIGH : WEFT_EXIT_STACK;
	flow->mtu = row ? row->mtu : 0;
	return WEFT_DROP_NONE;
}

/* The device by which a packet from scratch->nat_address leaves for the destination of scratch->pair: that of
 * scratch->egress_ifindex, if it is one. */
verified_once int route_from_gateway(struct __sk_buff *skb)
{
	struct bpf_fib_lookup fib = {};
	struct scratch *s = scratch_get();

	if (!s)
		return ROUTE_NONE;
	__u32 flags = s->egress_ifindex ? BPF_FIB_LOOKUP_OUTPUT : 0;

	route_ask(&fib, s->egress_ifindex ? s->egress_ifindex : skb->ifindex, &s->nat_address, &s->pair.daddr,
		  s->pair.protocol, packet_is_v4(&s->packet));
	return route_answer(&fib, bpf_fib_lookup(skb, &fib, sizeof(fib), flags));
}
