/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* How an allowed packet leaves a hook. */
#pragma once

#include "lib/path_mtu.h"
#include "lib/rewrite.h"
#include "lib/tunnel_send.h"

/* Hooks at tc ingress can redirect; at egress a packet only passes, or goes into a tunnel. */
inline_always bool hook_is_ingress(enum weft_event_hook hook)
{
	return hook == WEFT_HOOK_FROM_POD || hook == WEFT_HOOK_FROM_DEVICE || hook == WEFT_HOOK_FROM_OVERLAY;
}

inline_always bool hook_is_device(enum weft_event_hook hook)
{
	return hook == WEFT_HOOK_FROM_DEVICE || hook == WEFT_HOOK_TO_DEVICE;
}

/* The pod's device the packet entered the node by, to be compared with weft_flow.in_ifindex; 0 for
 * what comes from the node or from outside. */
inline_always __u32 arrived_by(struct __sk_buff *skb, enum weft_event_hook hook)
{
	switch (hook) {
	case WEFT_HOOK_FROM_POD:
		return skb->ifindex;
	case WEFT_HOOK_TO_DEVICE:
		return skb->ingress_ifindex;
	case WEFT_HOOK_FROM_OVERLAY:
		return WEFT_IN_TUNNEL;
	default:
		return 0;
	}
}

inline_always int drop(struct __sk_buff *skb, enum weft_drop_reason reason)
{
	count_drop(reason, skb->len);
	return TC_ACT_SHOT;
}

/* A packet that will be segmented counts as one of its segments: headers and gso_size. */
inline_always bool exceeds_mtu(struct __sk_buff *skb, __u32 mtu, __u8 protocol, __u32 l4_offset)
{
	__u32 length = skb->len - ETH_HLEN;

	if (skb->gso_size) {
		__u8 data_offset = 2 << 4; /* UDP: two words, where TCP has its own length */

		if (protocol == IPPROTO_TCP && bpf_skb_load_bytes(skb, l4_offset + 12, &data_offset, 1))
			return false;
		length = l4_offset - ETH_HLEN + (data_offset >> 4) * 4 + skb->gso_size;
	}
	return length > mtu;
}

/* On the copy of a packet whose sender has been told that the path is too small for it: it goes on as it is. */
#define MARK_TOLD 0x77660a12

/* The MTU of the path to the node that the flow leads to, if the packet exceeds it; 0: it does not. */
verified_once __u32 path_exceeded(struct __sk_buff *skb, const struct weft_flow *flow, __u8 protocol, __u32 l4_offset)
{
	if (unlikely(skb->mark == MARK_TOLD)) {
		skb->mark = 0;
		return 0;
	}
	if (!flow || likely(!path_mtus_known()))
		return 0;
	__u32 mtu = path_mtu_inside(flow->node, skb->protocol == bpf_htons(ETH_P_IP));

	return mtu && exceeds_mtu(skb, mtu, protocol, l4_offset) ? mtu : 0;
}

/* A packet has been counted where its pod's device saw it. What leaves an uplink was, unless the node itself
 * made it; what enters by one is counted here only if it does not go through the stack to the pod's device. */
inline_always bool counts_here(const struct weft_flow *flow, enum weft_event_hook hook)
{
	if (hook == WEFT_HOOK_TO_DEVICE)
		return !flow->in_ifindex;
	return hook != WEFT_HOOK_FROM_DEVICE || flow->exit != WEFT_EXIT_STACK || (flow->flags & WEFT_FLOW_EXTERNAL);
}

/* Whether the stack has to fragment the packet, or to answer it with the right ICMP error. */
inline_always bool needs_stack(struct __sk_buff *skb, const struct weft_flow *flow, __u8 protocol, __u32 l4_offset,
			       __u8 hop_limit)
{
	return flow->exit == WEFT_EXIT_NEIGH &&
	       (hop_limit <= 1 || (flow->mtu && exceeds_mtu(skb, flow->mtu, protocol, l4_offset)));
}

/* Packets between two other hosts, of an outside client or of another node's pod with someone outside: the stack would
 * take them for the node's own, or let them go untranslated. */
inline_always bool passes_through(const struct weft_flow *flow, enum weft_event_hook hook)
{
	return (hook == WEFT_HOOK_FROM_DEVICE || hook == WEFT_HOOK_FROM_OVERLAY) &&
	       (flow->flags & (WEFT_FLOW_EXTERNAL | WEFT_FLOW_EGRESS)) && flow->exit == WEFT_EXIT_NEIGH;
}

inline_always bool enters_tunnel(const struct weft_flow *flow, enum weft_event_hook hook)
{
	return flow->exit == WEFT_EXIT_TUNNEL && (hook_is_ingress(hook) || hook == WEFT_HOOK_FROM_HOST);
}

/* Whether Weft, and not the stack, says that a packet is too large. */
inline_always bool answers_size(const struct weft_flow *flow, enum weft_event_hook hook)
{
	return passes_through(flow, hook) || enters_tunnel(flow, hook);
}

/* Ports of UDP at which only nodes speak to nodes (docs/xdp.md). */
inline_always bool port_is_nodes(const struct weft_config *config, __be16 port)
{
	return port == bpf_htons(WEFT_GENEVE_PORT) || (port == config->overlay_port && port);
}

/* The same where what has the port is a node: WireGuard's is configured, and may be another server's too. */
inline_always bool wireguard_is_nodes(const struct weft_config *config, __be16 port)
{
	return (port == config->wireguard_port || port == config->wireguard_next_port) && port;
}

/* Whether a pod's packet of the flow would reach the node, or another one, at such a port. `port` is the packet's
 * destination, before translation. */
inline_always bool speaks_as_node(const struct weft_config *config, const struct weft_flow *flow, __u8 protocol,
				  __be16 port, enum weft_event_hook hook)
{
	if (hook != WEFT_HOOK_FROM_POD || protocol != IPPROTO_UDP || flow->exit == WEFT_EXIT_PEER ||
	    flow->exit == WEFT_EXIT_TUNNEL)
		return false;
	return port_is_nodes(config, flow->flags & WEFT_FLOW_DNAT ? flow->dst_port : port);
}

/* The packet has the flow's verdict: rewrite, send. */
inline_always int flow_forward(struct __sk_buff *skb, bool v4, const struct weft_flow *flow,
			       const struct weft_flow_key_v6 *tuple, __u32 l4_offset, __u8 hop_limit,
			       enum weft_event_hook hook)
{
	if (hook_is_ingress(hook) && !passes_through(flow, hook) &&
	    needs_stack(skb, flow, tuple->protocol, l4_offset, hop_limit)) {
		/* to_device translates then */
		count(WEFT_STAT_TO_STACK_MTU);
		return TC_ACT_OK;
	}
	/* At 1 only where passes_through(), or into a tunnel: the next router says that it has ended. */
	bool leaves = flow->exit == WEFT_EXIT_NEIGH || flow->exit == WEFT_EXIT_TUNNEL;
	bool hop = hook_is_ingress(hook) && leaves && hop_limit > 1;

	if ((hop || (flow->flags & (WEFT_FLOW_DNAT | WEFT_FLOW_SNAT))) &&
	    rewrite_packet(skb, v4, flow, tuple, l4_offset, hop_limit, hop))
		return drop(skb, WEFT_DROP_REWRITE);
	if (enters_tunnel(flow, hook))
		return tunnel_send(skb, flow);
	if (!hook_is_ingress(hook))
		return TC_ACT_OK;
	switch (flow->exit) {
	case WEFT_EXIT_PEER:
		return bpf_redirect_peer(flow->out_ifindex, 0);
	case WEFT_EXIT_NEIGH:
		return bpf_redirect_neigh(flow->out_ifindex, NULL, 0, 0);
	default:
		return TC_ACT_OK;
	}
}
