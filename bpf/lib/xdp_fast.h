/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Packets of flows between a client outside and a backend elsewhere, in both directions: one look at the port set,
 * one lookup, one epoch compare, rewrite, send. */
#pragma once

#include "lib/backend.h"
#include "lib/external.h"
#include "lib/xdp_forward.h"

#define XDP_SLOW (-1) /* no entry, or it begins or ends a flow */

inline_always struct weft_flow *xdp_flow_find(const struct xdp_view *view, bool v4)
{
	const __be16 *ports = (const void *)view->l4;

	if (v4) {
		const struct iphdr *ip = view->ip;
		struct weft_flow_key_v4 key = {
			.saddr = ip->saddr,
			.daddr = ip->daddr,
			.sport = ports[0],
			.dport = ports[1],
			.protocol = view->protocol,
		};

		return bpf_map_lookup_elem(&weft_flow4_v2, &key);
	}
	struct weft_flow_key_v6 tuple;

	xdp_view_tuple(&tuple, view, false);
	return bpf_map_lookup_elem(&weft_flow6_v2, &tuple);
}

inline_always int xdp_fast(struct xdp_md *ctx, const struct weft_config *config, bool v4)
{
	struct xdp_view view;
	struct weft_flow *flow;

	if (!xdp_parse(ctx, &view, v4) || !external_wanted(config, view.protocol, *(__be16 *)(view.l4 + 2)))
		return XDP_PASS;
	if (view.protocol == IPPROTO_TCP && (view.l4[13] & (TCP_FIN | TCP_SYN | TCP_RST)))
		return XDP_SLOW;
	flow = xdp_flow_find(&view, v4);
	if (!flow)
		return XDP_SLOW;
	if (!xdp_flow_usable(flow, config->epoch))
		return XDP_PASS;
	__u64 address_sum = xdp_address_sum(&view, v4);
	__u64 now = bpf_jiffies64();

	if (!xdp_packet_usable(&view, flow, address_sum, v4) || !xdp_may_send_by(ctx, flow->out_ifindex))
		return XDP_PASS;
	if (unlikely(!xdp_mac_is_fresh(flow, now)) && !xdp_find_next_hop(ctx, flow))
		return XDP_PASS;
	__sync_fetch_and_add(&flow->packets, 1);
	__sync_fetch_and_add(&flow->bytes, view.length);
	flow->last_seen = now;
	flow_heard(flow, 0);
	return xdp_forward(ctx, &view, flow, address_sum, v4);
}
