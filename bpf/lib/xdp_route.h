/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Where a packet leaves and to whom: asked of the kernel's routes and neighbours, kept in the flow's entry for a
 * second. A neighbour the kernel has not resolved is resolved by tc's next packet. */
#pragma once

#include "lib/decide.h"
#include "lib/xdp_packet.h"
#include "maps/xdp.h"

/* HZ is 100 at least: not longer than a second. */
#define MAC_JIFFIES 100

inline_always bool xdp_mac_is_fresh(const struct weft_flow *flow, __u64 now)
{
	return flow->mac_checked && (__u32)now - flow->mac_checked < MAC_JIFFIES;
}

/* As route_find. Writes the device and both MACs into `flow`, whose mac_checked stays 0 without a neighbour. */
verified_once int xdp_route(struct xdp_md *ctx, struct weft_flow *flow, const struct weft_addr *source,
			    const struct weft_addr *destination, __u32 protocol)
{
	struct bpf_fib_lookup fib = {};
	long result;
	int device;

	if (!flow || !source || !destination)
		return ROUTE_NONE;
	route_ask(&fib, ctx->ingress_ifindex, source, destination, protocol, addr_is_v4(destination));
	flow->mac_checked = 0;
	result = bpf_fib_lookup(ctx, &fib, sizeof(fib), 0);
	device = route_answer(&fib, result);
	if (device > 0)
		flow->out_ifindex = device;
	if (result == BPF_FIB_LKUP_RET_SUCCESS) {
		__builtin_memcpy(flow->next_hop_mac, fib.dmac, 6);
		__builtin_memcpy(flow->device_mac, fib.smac, 6);
		flow->mac_checked = (__u32)bpf_jiffies64() | 1;
	}
	return device;
}

inline_always bool xdp_may_send_by(struct xdp_md *ctx, __u32 ifindex)
{
	return ifindex == ctx->ingress_ifindex || bpf_map_lookup_elem(&weft_xdpdev_v1, &ifindex);
}

/* Refreshes what is known of the next hop of the packet's flow. False: tc has to send the packet. */
verified_once bool xdp_find_next_hop(struct xdp_md *ctx, struct weft_flow *flow)
{
	struct weft_flow_key_v6 tuple;
	__u32 before;

	if (!flow || !xdp_tuple(ctx, &tuple))
		return false;
	if (flow->encapsulation || (flow->flags & WEFT_FLOW_SNAT))
		tuple.saddr = flow->src_addr;
	if (flow->encapsulation || (flow->flags & WEFT_FLOW_DNAT))
		tuple.daddr = flow->dst_addr;
	before = flow->out_ifindex;
	/* A route by another device is decided on when the flow is: then its MTU counts. */
	if (xdp_route(ctx, flow, &tuple.saddr, &tuple.daddr, tuple.protocol) > 0 && flow->out_ifindex != before) {
		flow->out_ifindex = before;
		flow->mac_checked = 0;
	}
	return flow->mac_checked;
}
