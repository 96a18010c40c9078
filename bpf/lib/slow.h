/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The slow path: everything the fast path passed on. Order: who sends it, is it part of a known
 * flow, otherwise decide and enter the flow. */
#pragma once

#include "lib/encapsulate_tc.h"
#include "lib/fragment.h"
#include "lib/icmp_error.h"
#include "lib/known_flow.h"
#include "lib/neighbour.h"
#include "lib/new_flow.h"
#include "lib/path_mtu_learn.h"
#include "lib/source.h"

/* Whether the packet opens a flow by its nature, whatever looks like its reply. An echo request whose
 * identifier is 0 has the tuple of a reply to such a request of the other side. */
inline_always bool packet_opens(const struct packet *packet)
{
	return tcp_begins(packet->tcp_flags) ||
	       packet->icmp_type == (packet_is_v4(packet) ? ICMP_ECHO : ICMPV6_ECHO_REQUEST);
}

/* Whether the entry speaks for this packet. Not if the packet came by another device than the flow's
 * (the address has another owner now), and what opens a flow speaks for itself when the flow is over or runs the
 * other way. */
inline_always bool entry_applies(struct __sk_buff *skb, const struct scratch *s, struct weft_flow *flow,
				 enum weft_event_hook hook)
{
	if (flow->epoch == s->epoch && flow->in_ifindex != arrived_by(skb, hook))
		return false;
	return !packet_opens(&s->packet) || !syn_begins_anew(flow);
}

/* Whether the packet was made by whose address it has: a pod, known by its device, or the node. Anybody may have
 * written what came from outside. */
inline_always bool sender_is_known(struct __sk_buff *skb, const struct weft_flow *flow, enum weft_event_hook hook)
{
	switch (hook) {
	case WEFT_HOOK_FROM_POD:
		return true;
	case WEFT_HOOK_TO_POD:
		return !skb->ingress_ifindex;
	case WEFT_HOOK_FROM_OVERLAY:
	case WEFT_HOOK_FROM_HOST:
		/* the node the tunnel comes from knows its pods, but not who answers them from outside */
		return (flow->flags & (WEFT_FLOW_EGRESS | WEFT_FLOW_REPLY)) != (WEFT_FLOW_EGRESS | WEFT_FLOW_REPLY);
	case WEFT_HOOK_TO_DEVICE:
		return skb->ingress_ifindex == flow->in_ifindex;
	default:
		return false;
	}
}

/* Whether a packet of no flow may start one at an uplink. */
inline_always bool starts_here(const struct weft_config *config, struct scratch *s, enum weft_event_hook hook)
{
	if (hook != WEFT_HOOK_FROM_DEVICE)
		return false;
	return comes_from_node(s, config) || external_wanted(config, s->packet.tuple.protocol, s->packet.tuple.dport);
}

/* A verdict, or an answer_verdict.
 * `src`: the endpoint that has the source address, or NULL; looked up at pods' devices only.
 * `absent`: the fast path has looked and found no entry. */
verified_once int slow_flow(struct __sk_buff *skb, const struct weft_config *config, const struct weft_endpoint *src,
			    bool absent)
{
	struct scratch *s = scratch_get();

	if (!s || !config)
		return TC_ACT_SHOT;
	enum weft_event_hook hook = s->context.hook;
	struct packet *packet = &s->packet;
	struct weft_flow *flow = absent ? NULL : flow_find(&packet->tuple, packet_is_v4(packet));

	if (flow && !entry_applies(skb, s, flow, hook))
		flow = NULL;
	if (!flow && hook_is_device(hook) && !starts_here(config, s, hook))
		return TC_ACT_OK;
	if (!flow && !hook_is_device(hook) && !packet_opens(packet))
		flow = flow_restore_reply(skb, s, hook);
	if (flow && flow->epoch != s->epoch) {
		bool is_reply = flow->flags & WEFT_FLOW_REPLY;
		enum redecision redecision = flow_redecide(skb, flow, config);

		switch (redecision) {
		case REDECIDED_ALLOWED:
			break;
		case REDECIDED_REFUSED:
			return refuse_flow(skb, s, config, is_reply ? &s->peer : &packet->tuple, s->drop_reason);
		case REDECIDED_RESET:
			refuse_flow(skb, s, config, is_reply ? &s->peer : &packet->tuple, WEFT_DROP_BACKEND_GONE);
			return ANSWER_RESET;
		case REDECIDED_UNREACHABLE:
			refuse_flow(skb, s, config, &packet->tuple, WEFT_DROP_BACKEND_GONE);
			return ANSWER_REJECT;
		default:
			flow = NULL;
			s->context.service_id = 0;
			s->context.backend_port = 0;
			SCRATCH_ZERO(&s->context.backend_addr);
		}
	}
	if (!flow && hook_is_device(hook) && !starts_here(config, s, hook))
		return TC_ACT_OK;
	/* Through a gateway only the answers come. */
	if (sent_by_gateway(s, hook) && !(flow && (flow->flags & WEFT_FLOW_EGRESS)))
		return refuse(skb, s, config, WEFT_DROP_SPOOFED_SOURCE);
	if (!flow)
		return flow_new(skb, config, src);
	if (speaks_as_node(config, flow, packet->tuple.protocol, packet->tuple.dport, hook))
		return refuse(skb, s, config, WEFT_DROP_ENCAPSULATION);
	if (counts_here(flow, hook))
		flow_account(flow, skb->len - ETH_HLEN);
	flow_heard(flow, packet->tcp_flags);
	if (packet->tcp_flags & (TCP_FIN | TCP_RST))
		flow_tcp(flow, config, sender_is_known(skb, flow, hook));
	return forward(skb, s, flow, hook);
}

/* Parses what the hook sees into scratch->packet. True when that already answers: *verdict. */
inline_always bool slow_parse(struct __sk_buff *skb, struct scratch *s, const struct weft_config *config,
			      enum weft_event_hook hook, __u8 *reason, int *verdict)
{
	*verdict = TC_ACT_OK;
	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		*reason = parse_v4(skb, &s->packet);
	} else if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		*reason = parse_v6(skb, &s->packet);
	} else {
		if (hook == WEFT_HOOK_FROM_POD)
			*verdict = skb->protocol == bpf_htons(ETH_P_ARP) ? arp_from_pod(skb, config) :
									   drop(skb, WEFT_DROP_UNKNOWN_L3);
		else if (hook == WEFT_HOOK_FROM_DEVICE && skb->protocol == bpf_htons(ETH_P_ARP) &&
			 (config->flags & WEFT_CONFIG_L2))
			*verdict = arp_from_device(skb);
		else if (hook == WEFT_HOOK_FROM_OVERLAY)
			*verdict = drop(skb, WEFT_DROP_UNKNOWN_L3);
		return true;
	}
	s->context.tcp_flags = s->packet.tcp_flags;
	if (unlikely(*reason == WEFT_DROP_UNKNOWN_L4) && hook == WEFT_HOOK_FROM_DEVICE && path_error_is_hidden(&s->packet, config)) {
		*verdict = drop(skb, WEFT_DROP_PATH_MTU);
		return true;
	}
	return *reason && hook_is_device(hook); /* then it is the node's own business */
}

inline_always int slow_path(struct __sk_buff *skb, const struct weft_config *config, enum weft_event_hook hook,
			    bool absent)
{
	struct scratch *s = scratch_get();
	struct weft_endpoint *src = NULL;
	bool from_host = false;
	bool silent = false;
	__u8 reason = 0;
	int verdict;

	if (!s)
		return drop(skb, WEFT_DROP_UNKNOWN_ENDPOINT);
	if (!hook_is_device(hook) && skb->mark == MARK_ANSWER) {
		skb->mark = 0;
		return TC_ACT_OK;
	}
	SCRATCH_ZERO(&s->packet);
	context_reset(s, config, hook, skb->ifindex);
	if (hook == WEFT_HOOK_FROM_OVERLAY)
		s->carried_identity = s->tunnel_identity;
	if (slow_parse(skb, s, config, hook, &reason, &verdict))
		return verdict;
	switch (hook) {
	case WEFT_HOOK_FROM_POD:
		if (!packet_is_v4(&s->packet) && s->packet.icmp_type == ND_SOLICIT &&
		    (s->packet.flags & PACKET_ICMP_OTHER))
			return solicit_from_pod(skb, config);
		if (reason != WEFT_DROP_MALFORMED) {
			__u8 check = check_from_pod(skb, &s->packet, &silent, &src);

			reason = check ? check : reason;
		}
		if (!reason && (s->packet.flags & PACKET_ICMP_OTHER))
			reason = WEFT_DROP_ICMP_UNSUPPORTED;
		if (!reason)
			reason = options_refused(skb, &s->packet);
		break;
	case WEFT_HOOK_TO_POD:
		src = endpoint_find(&s->packet.tuple.saddr);
		from_host = endpoint_is_host(src);
		if (forged_towards_pod(skb, src))
			reason = WEFT_DROP_SPOOFED_SOURCE;
		else if (!src && skb->ingress_ifindex && sender_must_tunnel(s, config))
			reason = WEFT_DROP_OUTSIDE_TUNNEL;
		if (!reason && (s->packet.flags & PACKET_ICMP_OTHER))
			return from_host || neighbour_talk(skb, &s->packet) ? TC_ACT_OK : drop(skb, WEFT_DROP_ICMP_UNSUPPORTED);
		break;
	case WEFT_HOOK_FROM_DEVICE:
		if (source_is_inside(skb, &s->packet.tuple.saddr))
			reason = WEFT_DROP_SPOOFED_SOURCE;
		else if (sender_must_tunnel(s, config))
			reason = WEFT_DROP_OUTSIDE_TUNNEL;
		if (!reason && (s->packet.flags & PACKET_ICMP_ERROR) && (config->flags & WEFT_CONFIG_TUNNEL))
			reason = path_mtu_learn(skb);
		if (!reason && (config->flags & WEFT_CONFIG_L2) && solicit_is_valid(&s->packet))
			return solicit_from_device(skb);
		if (!reason && (config->flags & WEFT_CONFIG_L2) && advert_is_valid(&s->packet))
			return advert_from_device(skb);
		break;
	case WEFT_HOOK_FROM_OVERLAY:
		if (!reason)
			reason = check_from_tunnel(config);
		if (!reason && (s->packet.flags & PACKET_ICMP_OTHER))
			reason = WEFT_DROP_ICMP_UNSUPPORTED;
		break;
	case WEFT_HOOK_FROM_HOST:
		if (!reason)
			reason = check_from_host();
		if (reason == DECIDE_NOT_OURS)
			return TC_ACT_OK;
		from_host = true;
		if (!reason && (s->packet.flags & PACKET_ICMP_OTHER))
			reason = WEFT_DROP_ICMP_UNSUPPORTED;
		break;
	default:
		break;
	}
	if (!reason && (s->packet.flags & (PACKET_FRAGMENT | PACKET_LATER_FRAGMENT)))
		reason = fragment_ports(&s->packet);
	if (reason == WEFT_DROP_FRAGMENT_UNKNOWN && hook_is_device(hook))
		return TC_ACT_OK;
	if (reason)
		return silent ? drop(skb, reason) : refuse(skb, s, config, reason);
	if (s->packet.flags & PACKET_ICMP_ERROR)
		return icmp_error(skb, config, from_host);
	if (s->packet.flags & PACKET_ICMP_OTHER)
		return TC_ACT_OK;
	verdict = slow_flow(skb, config, src, absent);
	if (unlikely(verdict == ANSWER_ENCAPSULATE))
		return encapsulate(skb);
	return unlikely(verdict < 0) ? answer(skb, verdict) : verdict;
}
