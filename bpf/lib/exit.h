/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* How an allowed packet leaves a hook. */
#pragma once

#include "lib/rewrite.h"
#include "maps/config.h"

/* Hooks at tc ingress can redirect; at egress a packet only passes. */
inline_always bool hook_is_ingress(enum weft_event_hook hook)
{
	return hook == WEFT_HOOK_FROM_POD || hook == WEFT_HOOK_FROM_DEVICE;
}

inline_always int drop(struct __sk_buff *skb, enum weft_drop_reason reason)
{
	count_drop(reason, skb->len);
	return TC_ACT_SHOT;
}

inline_always bool exceeds_mtu(struct __sk_buff *skb, __u32 mtu)
{
	/* 54: Ethernet, IPv4 and TCP headers without options; segments carry at least these */
	__u32 length = skb->gso_size ? skb->gso_size + 54 - ETH_HLEN : skb->len - ETH_HLEN;

	return length > mtu;
}

/* The packet has the flow's verdict: count, rewrite, send. */
inline_always int flow_forward(struct __sk_buff *skb, bool v4, struct weft_flow *flow,
			       const struct weft_flow_key_v6 *tuple, __u32 l4_offset, __u8 hop_limit,
			       enum weft_event_hook hook)
{
	flow_account(flow, skb->len - ETH_HLEN);
	if (hook_is_ingress(hook) && flow->exit == WEFT_EXIT_NEIGH &&
	    (hop_limit <= 1 || (flow->mtu && exceeds_mtu(skb, flow->mtu)))) {
		/* The stack answers with the right ICMP error, or fragments; to_device translates then. */
		count(WEFT_STAT_TO_STACK_MTU);
		return TC_ACT_OK;
	}
	if ((flow->flags & (WEFT_FLOW_DNAT | WEFT_FLOW_SNAT)) && rewrite_packet(skb, v4, flow, tuple, l4_offset))
		return drop(skb, WEFT_DROP_REWRITE);
	if (!hook_is_ingress(hook))
		return TC_ACT_OK;
	switch (flow->exit) {
	case WEFT_EXIT_PEER:
		return bpf_redirect_peer(flow->out_ifindex, 0);
	case WEFT_EXIT_NEIGH:
		if (decrement_hop_limit(skb, v4, hop_limit))
			return drop(skb, WEFT_DROP_REWRITE);
		return bpf_redirect_neigh(flow->out_ifindex, NULL, 0, 0);
	default:
		return TC_ACT_OK;
	}
}
