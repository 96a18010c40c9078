/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* ICMP errors (RFC 792, RFC 4443) carry the start of the packet they are about. The reverse of that
 * inner packet's tuple keys a flow entry: the one replies to it would use. The error goes where
 * such a reply goes, with the same translation applied to its outer and, reversed, inner header. */
#pragma once

#include "lib/known_flow.h"

#define ICMP_HEADER 8

/* Fills `tuple` with the reverse of the packet quoted at `inner`; its L4 offset or 0 when malformed. */
inline_always __u32 icmp_inner_tuple(struct __sk_buff *skb, bool v4, __u32 inner, struct weft_flow_key_v6 *tuple)
{
	__u32 l4;
	__be16 ports[2];

	__builtin_memset(tuple, 0, sizeof(*tuple));
	if (v4) {
		struct iphdr ip;

		if (bpf_skb_load_bytes(skb, inner, &ip, sizeof(ip)) || ip.version != 4 || ip.ihl < 5 ||
		    (ip.frag_off & bpf_htons(IP_FRAGMENT_OFFSET)))
			return 0;
		addr_from_v4(&tuple->saddr, ip.daddr);
		addr_from_v4(&tuple->daddr, ip.saddr);
		tuple->protocol = ip.protocol;
		l4 = inner + ip.ihl * 4;
	} else {
		struct ipv6hdr ip;

		if (bpf_skb_load_bytes(skb, inner, &ip, sizeof(ip)) || ip.version != 6)
			return 0;
		__builtin_memcpy(&tuple->saddr, &ip.daddr, 16);
		__builtin_memcpy(&tuple->daddr, &ip.saddr, 16);
		tuple->protocol = ip.nexthdr;
		l4 = inner + sizeof(ip);
	}
	if (tuple->protocol == IPPROTO_ICMP || tuple->protocol == IPPROTO_ICMPV6) {
		__u8 icmp[8];

		if (bpf_skb_load_bytes(skb, l4, icmp, sizeof(icmp)))
			return 0;
		if (icmp[0] == ICMP_ECHO || icmp[0] == ICMPV6_ECHO_REQUEST)
			tuple->dport = *(__be16 *)&icmp[4];
		else
			tuple->sport = *(__be16 *)&icmp[4];
		return l4;
	}
	if (bpf_skb_load_bytes(skb, l4, ports, sizeof(ports)))
		return 0;
	tuple->sport = ports[1];
	tuple->dport = ports[0];
	return l4;
}

/* Replaces one end of the quoted packet. ICMPv4's checksum does not change with a quoted address:
 * the quoted header's own checksum balances it. ICMPv6 sums the address. */
inline_always long rewrite_inner_end(struct __sk_buff *skb, bool v4, bool source, __u32 icmp, __u32 inner_l4,
				     __u8 inner_protocol, const struct weft_addr *old_addr,
				     const struct weft_addr *new_addr, __be16 old_port, __be16 new_port)
{
	bool echo = inner_protocol == IPPROTO_ICMP || inner_protocol == IPPROTO_ICMPV6;

	if (store_address(skb, icmp + ICMP_HEADER, v4, source, old_addr, new_addr))
		return -1;
	if (!v4) {
		__u64 difference = bpf_csum_diff((__be32 *)old_addr, 16, (__be32 *)new_addr, 16, 0);

		if (bpf_l4_csum_replace(skb, icmp + 2, 0, difference, 0))
			return -1;
	}
	if (old_port == new_port)
		return 0;
	if (bpf_l4_csum_replace(skb, icmp + 2, old_port, new_port, 2))
		return -1;
	return bpf_skb_store_bytes(skb, inner_l4 + (echo ? 4 : source ? 0 : 2), &new_port, 2, 0);
}

/* The outer header of an ICMPv6 error is part of its checksum, that of ICMPv4 is not. */
inline_always long rewrite_outer(struct __sk_buff *skb, bool v4, bool source, __u32 icmp, const struct weft_addr *old_addr,
				 const struct weft_addr *new_addr)
{
	if (store_address(skb, ETH_HLEN, v4, source, old_addr, new_addr))
		return -1;
	if (v4)
		return 0;
	__u64 difference = bpf_csum_diff((__be32 *)old_addr, 16, (__be32 *)new_addr, 16, 0);

	return bpf_l4_csum_replace(skb, icmp + 2, 0, difference, BPF_F_PSEUDO_HDR);
}

/* `tuple` keys `flow`, the reply direction of the quoted packet. */
inline_always long icmp_error_rewrite(struct __sk_buff *skb, const struct packet *packet,
				      const struct weft_flow_key_v6 *tuple, const struct weft_flow *flow, __u32 inner_l4)
{
	bool v4 = packet_is_v4(packet);
	__u32 icmp = packet->l4_offset;

	if (flow->flags & WEFT_FLOW_DNAT) {
		if (rewrite_inner_end(skb, v4, true, icmp, inner_l4, tuple->protocol, &tuple->daddr, &flow->dst_addr,
				      tuple->dport, flow->dst_port) ||
		    rewrite_outer(skb, v4, false, icmp, &packet->tuple.daddr, &flow->dst_addr))
			return -1;
	}
	if (flow->flags & WEFT_FLOW_SNAT) {
		if (rewrite_inner_end(skb, v4, false, icmp, inner_l4, tuple->protocol, &tuple->saddr, &flow->src_addr,
				      tuple->sport, flow->src_port))
			return -1;
		/* An error from the backend itself appears to come from the service. */
		if (addr_equal(&packet->tuple.saddr, &tuple->saddr) &&
		    rewrite_outer(skb, v4, true, icmp, &packet->tuple.saddr, &flow->src_addr))
			return -1;
	}
	return 0;
}

/* Whether the outer header fits the quoted packet: the error goes to who sent that, and a pod speaks of
 * what it received itself. From outside, any router on the way may tell. */
inline_always bool icmp_error_addressed(const struct packet *packet, const struct weft_flow_key_v6 *tuple,
					enum weft_event_hook hook)
{
	return addr_equal(&packet->tuple.daddr, &tuple->daddr) &&
	       (hook != WEFT_HOOK_FROM_POD || addr_equal(&packet->tuple.saddr, &tuple->saddr));
}

/* Whether the flow's packets come and go where this error does. */
inline_always bool icmp_error_on_way(struct __sk_buff *skb, const struct weft_flow *flow, enum weft_event_hook hook,
				     bool from_cluster)
{
	switch (hook) {
	case WEFT_HOOK_FROM_POD:
		return flow->in_ifindex == skb->ifindex;
	case WEFT_HOOK_TO_POD:
		return flow->exit != WEFT_EXIT_PEER || flow->out_ifindex == skb->ifindex;
	case WEFT_HOOK_FROM_DEVICE:
		return flow->in_ifindex != WEFT_IN_TUNNEL;
	case WEFT_HOOK_FROM_OVERLAY:
		return from_cluster || (flow->flags & WEFT_FLOW_EGRESS);
	default:
		return true;
	}
}

/* Fills scratch->quoted and scratch->quoted_l4, 0 when the error is about nothing that can be ours. */
verified_once int icmp_error_quote(struct __sk_buff *skb)
{
	struct scratch *s = scratch_get();

	if (!s)
		return 0;
	struct packet *packet = &s->packet;
	__u32 l4 = icmp_inner_tuple(skb, packet_is_v4(packet), packet->l4_offset + ICMP_HEADER, &s->quoted);

	/* Eight bytes of the quoted transport header are there (RFC 792), and not as a frame's padding. */
	if (l4 + 8 > ETH_HLEN + packet->length || !icmp_error_addressed(packet, &s->quoted, s->context.hook))
		l4 = 0;
	s->quoted_l4 = l4;
	return 0;
}

/* The epoch moved on: what the flow's next packet would be told, its errors are told too. A reason to drop
 * the error. */
verified_once int icmp_error_redecide(struct __sk_buff *skb, const struct weft_config *config)
{
	struct scratch *s = scratch_get();
	struct weft_flow *flow;

	if (!s || !config || !s->quoted_l4)
		return WEFT_DROP_NONE;
	flow = flow_find(&s->quoted, packet_is_v4(&s->packet));
	if (!flow || flow->epoch == s->epoch)
		return WEFT_DROP_NONE;
	/* The flow's own next packet ends it, and both ends are told. */
	if (backend_is_gone(flow))
		return WEFT_DROP_ICMP_UNRELATED;
	bool is_reply = flow->flags & WEFT_FLOW_REPLY;

	s->taken = s->packet.tuple;
	s->packet.tuple = s->quoted;
	enum redecision redecision = flow_redecide(skb, flow, config);

	s->packet.tuple = s->taken;
	if (redecision == REDECIDED_ALLOWED)
		return WEFT_DROP_NONE;
	if (redecision != REDECIDED_REFUSED)
		return WEFT_DROP_ICMP_UNRELATED;
	s->context.type = WEFT_EVENT_DENIED;
	s->context.drop_reason = s->drop_reason;
	event_emit(is_reply ? &s->peer : &s->quoted, &s->context, config);
	return s->drop_reason;
}

verified_once int icmp_error_forward(struct __sk_buff *skb, bool from_host)
{
	struct scratch *s = scratch_get();

	if (!s)
		return TC_ACT_SHOT;
	struct packet *packet = &s->packet;
	enum weft_event_hook hook = s->context.hook;
	struct weft_flow_key_v6 *tuple = &s->quoted;
	struct weft_flow *flow = s->quoted_l4 ? flow_find(tuple, packet_is_v4(packet)) : NULL;

	if (!flow || (flow->flags & WEFT_FLOW_CLOSED) || !icmp_error_on_way(skb, flow, hook, s->sender_node)) {
		if (from_host || hook_is_device(hook))
			return TC_ACT_OK;
		return drop(skb, WEFT_DROP_ICMP_UNRELATED);
	}
	/* The node that answers is not told: it has the flow, this one only sends it there. */
	if (flow->encapsulation)
		return TC_ACT_OK;
	if (icmp_error_rewrite(skb, packet, tuple, flow, s->quoted_l4))
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

/* TC_ACT_OK: to the stack. In steps: chains of calls share one stack. */
inline_always int icmp_error(struct __sk_buff *skb, const struct weft_config *config, bool from_host)
{
	icmp_error_quote(skb);
	__u8 reason = icmp_error_redecide(skb, config);

	return reason ? drop(skb, reason) : icmp_error_forward(skb, from_host);
}
