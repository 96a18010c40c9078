/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* A packet of a flow that XDP forwards: checked, counted, rewritten, sent. What cannot be sent from here passes to
 * tc as it is, uncounted: tc has the same entries. */
#pragma once

#include "lib/encapsulate_xdp.h"
#include "lib/xdp_packet.h"
#include "lib/xdp_route.h"

/* Whether the flow is of those between two other hosts, decided for good. */
inline_always bool xdp_flow_usable(const struct weft_flow *flow, __u32 epoch)
{
	return flow->epoch == epoch && !flow->in_ifindex && flow->exit == WEFT_EXIT_NEIGH;
}

/* Whether the packet may be sent along: otherwise tc answers it, or lets a device complete its checksum. */
inline_always bool xdp_packet_usable(const struct xdp_view *view, const struct weft_flow *flow, __u64 address_sum,
				     bool v4)
{
	return view->hop_limit > 1 && (!flow->mtu || view->length <= flow->mtu) &&
	       !xdp_checksum_is_partial(view, address_sum, v4);
}

inline_always void xdp_write_macs(void *ethernet, const struct weft_flow *flow)
{
	/* next_hop_mac, device_mac */
	*(__u64 *)ethernet = *(const __u64 *)flow->next_hop_mac;
	*(__u32 *)(ethernet + 8) = *(const __u32 *)(flow->next_hop_mac + 8);
}

inline_always int xdp_send(struct xdp_md *ctx, const struct weft_flow *flow)
{
	count(WEFT_STAT_XDP_FORWARDED);
	if (likely(flow->out_ifindex == ctx->ingress_ifindex))
		return XDP_TX;
	return bpf_redirect(flow->out_ifindex, 0);
}

/* Puts the packet into another one; `length` is its own, L3. */
inline_always int xdp_forward_inside(struct xdp_md *ctx, const struct weft_flow *flow, __u32 length)
{
	if (xdp_encapsulate(ctx, flow)) {
		count_drop(WEFT_DROP_ENCAPSULATION, length + ETH_HLEN);
		return XDP_DROP;
	}
	return xdp_send(ctx, flow);
}

inline_always int xdp_forward_rewritten(struct xdp_md *ctx, const struct xdp_view *view, const struct weft_flow *flow,
					__u64 address_sum, bool v4)
{
	xdp_rewrite(view, flow, address_sum, v4);
	xdp_write_macs(view->data, flow);
	return xdp_send(ctx, flow);
}

/* The view is spent. */
inline_always int xdp_forward(struct xdp_md *ctx, const struct xdp_view *view, const struct weft_flow *flow,
			      __u64 address_sum, bool v4)
{
	if (unlikely(flow->encapsulation))
		return xdp_forward_inside(ctx, flow, view->length);
	return xdp_forward_rewritten(ctx, view, flow, address_sum, v4);
}

/* The same for packets that begin or end a flow, which stand in the way of nothing: each looks at the packet anew,
 * because chains of calls share one stack. */
inline_always bool xdp_carries_family(struct xdp_md *ctx, const struct weft_flow *flow, bool v4)
{
	struct xdp_view view;

	return xdp_parse(ctx, &view, v4) && xdp_packet_usable(&view, flow, xdp_address_sum(&view, v4), v4);
}

inline_always int xdp_carry_family(struct xdp_md *ctx, const struct weft_flow *flow, bool v4)
{
	struct xdp_view view;

	if (!xdp_parse(ctx, &view, v4))
		return XDP_PASS;
	return xdp_forward_rewritten(ctx, &view, flow, xdp_address_sum(&view, v4), v4);
}

verified_once bool xdp_carries(struct xdp_md *ctx, const struct weft_flow *flow)
{
	if (!flow || !flow->mac_checked || !xdp_may_send_by(ctx, flow->out_ifindex))
		return false;
	return xdp_is_v4(ctx) ? xdp_carries_family(ctx, flow, true) : xdp_carries_family(ctx, flow, false);
}

verified_once int xdp_carry_rewritten(struct xdp_md *ctx, const struct weft_flow *flow)
{
	if (!flow)
		return XDP_PASS;
	return xdp_is_v4(ctx) ? xdp_carry_family(ctx, flow, true) : xdp_carry_family(ctx, flow, false);
}

/* Encapsulation is called from here: the stack is short under a function that has views of both families. */
inline_always int xdp_carry(struct xdp_md *ctx, const struct weft_flow *flow, __u32 length)
{
	return flow->encapsulation ? xdp_forward_inside(ctx, flow, length) : xdp_carry_rewritten(ctx, flow);
}
