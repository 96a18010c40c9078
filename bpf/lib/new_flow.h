/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* A flow nobody has decided yet: decided, entered into the flow table, told. */
#pragma once

#include "lib/decide.h"
#include "lib/enter.h"
#include "lib/external.h"
#include "lib/reject.h"

/* Refuses the packet with an event that tells why, in terms of the flow's original direction. */
inline_always int refuse_flow(struct __sk_buff *skb, struct scratch *s, const struct weft_config *config,
			      const struct weft_flow_key_v6 *tuple, __u8 reason)
{
	s->context.type = WEFT_EVENT_DENIED;
	s->context.drop_reason = reason;
	event_emit(tuple, &s->context, config);
	return drop(skb, reason);
}

inline_always int refuse(struct __sk_buff *skb, struct scratch *s, const struct weft_config *config, __u8 reason)
{
	return refuse_flow(skb, s, config, &s->packet.tuple, reason);
}

/* The same, and the sender learns it where nobody would answer it. */
inline_always int refuse_new(struct __sk_buff *skb, struct scratch *s, const struct weft_config *config, __u8 reason)
{
	int verdict = refuse(skb, s, config, reason);

	if (unlikely(reason == WEFT_DROP_EGRESS_UNKNOWN_FLOW))
		return ANSWER_REJECT;
	return reason == WEFT_DROP_NO_BACKEND && !s->silent ? ANSWER_REJECT : verdict;
}

/* Whether scratch->packet is too large for the flow, and then for which scratch->answer_mtu. What routers say, which
 * anybody may have written, holds up none that may be fragmented: its sender is told, if it can be sent anew. */
verified_once int is_too_big(struct __sk_buff *skb, const struct weft_flow *flow)
{
	struct scratch *s = scratch_get();

	if (!s || !flow)
		return false;
	__u8 protocol = s->packet.tuple.protocol;
	__u32 path = flow->exit == WEFT_EXIT_TUNNEL ? path_exceeded(skb, flow, protocol, s->packet.l4_offset) : 0;

	bool own = flow->mtu && exceeds_mtu(skb, flow->mtu, protocol, s->packet.l4_offset);

	s->answer_mtu = path && (!flow->mtu || path < flow->mtu) ? path : flow->mtu;
	s->passes = path && !own && (s->packet.flags & PACKET_LOOSE);
	if (s->passes && s->context.hook != WEFT_HOOK_FROM_POD && s->context.hook != WEFT_HOOK_FROM_DEVICE)
		return false;
	return path || own;
}

verified_once int forward(struct __sk_buff *skb, struct scratch *s, const struct weft_flow *flow,
			  enum weft_event_hook hook)
{
	if (!s || !flow)
		return TC_ACT_SHOT;
	if (answers_size(flow, hook) && is_too_big(skb, flow))
		return ANSWER_TOO_BIG;
	if (flow->encapsulation) {
		s->forward = *flow;
		return ANSWER_ENCAPSULATE;
	}
	return flow_forward(skb, packet_is_v4(&s->packet), flow, &s->packet.tuple, s->packet.l4_offset,
			    s->packet.hop_limit, hook);
}

/* A flood of new flows would evict the other pods' from the table. */
inline_always bool flow_rate_allows(struct __sk_buff *skb, const struct weft_config *config, enum weft_event_hook hook)
{
	struct weft_rate *rate;

	if (hook != WEFT_HOOK_FROM_POD || !config->new_flow_rate)
		return true;
	rate = rate_of(skb->ifindex);
	return !rate || rate_take(&rate->flows, 1000000000ULL / config->new_flow_rate, config->new_flow_rate * 4ULL);
}

/* Exits of a flow that enters a pod from the stack. */
inline_always void decide_exit_to_pod(struct __sk_buff *skb, struct scratch *s, const struct weft_endpoint *src)
{
	s->forward.exit = WEFT_EXIT_STACK;
	s->reply.in_ifindex = skb->ifindex;
	if (endpoint_is_pod(src)) {
		s->reply.exit = WEFT_EXIT_PEER;
		s->reply.out_ifindex = src->ifindex;
	}
	if (endpoint_is_host(src)) {
		s->forward.flags |= WEFT_FLOW_FROM_HOST | WEFT_FLOW_HOST_SOURCE;
		s->reply.flags |= WEFT_FLOW_FROM_HOST;
	}
}

/* Whether the packet comes from another node's address to a pod here, or out of the cluster by way of this node. */
inline_always bool comes_from_node(struct scratch *s, const struct weft_config *config)
{
	if (likely(!s->sender_node))
		return false;
	const struct weft_endpoint *dst = endpoint_find(&s->packet.tuple.daddr);

	return endpoint_is_pod(dst) || (!dst && (config->flags & WEFT_CONFIG_EGRESS));
}

/* From a client outside, at an uplink. */
inline_always enum weft_drop_reason flow_decide_external(struct __sk_buff *skb, struct scratch *s,
							 const struct weft_config *config)
{
	struct weft_endpoint *dst;
	enum weft_drop_reason reason;

	/* What the node itself sent and hears again; what the stack throws away. */
	if (endpoint_find(&s->pair.saddr) || !client_is_plausible(&s->packet))
		return DECIDE_NOT_OURS;
	s->context.direction = WEFT_INGRESS;
	reason = decide_external_service(config);
	if (reason)
		return reason;
	dst = endpoint_find(&s->pair.daddr);
	if (!decide_policy(s, NULL, dst))
		return WEFT_DROP_POLICY_DENIED;
	return decide_exit_external(skb, dst, config);
}

inline_always enum weft_drop_reason flow_decide_from_pod(struct __sk_buff *skb, struct scratch *s,
							 const struct weft_config *config,
							 const struct weft_endpoint *src)
{
	struct weft_endpoint *dst = endpoint_find(&s->pair.daddr);
	enum weft_drop_reason reason;

	if (!src)
		return WEFT_DROP_SPOOFED_SOURCE;
	/* No kernel sends such: what it has for itself does not leave. */
	if (s->pair.sport == s->pair.dport && addr_equal(&s->pair.saddr, &s->pair.daddr))
		return WEFT_DROP_LOOP;
	s->context.src_endpoint = src->endpoint_id;
	s->context.src_identity = src->identity;
	s->context.direction = WEFT_EGRESS;
	reason = decide_service(s, src, dst, config);
	if (reason)
		return reason;
	if (s->forward.flags & WEFT_FLOW_DNAT)
		dst = endpoint_find(&s->pair.daddr);
	if (!decide_policy(s, src, dst))
		return WEFT_DROP_POLICY_DENIED;
	s->context.direction = WEFT_EGRESS;
	if (pair_speaks_as_node(s, config, dst))
		return WEFT_DROP_ENCAPSULATION;
	return decide_exit_from_pod(skb, s, packet_is_v4(&s->packet), src, dst, config);
}

/* From another node's pod, whose policy its node has asked, to where nothing in the cluster is. */
inline_always enum weft_drop_reason decide_exit_of_node(struct __sk_buff *skb, struct scratch *s,
							const struct weft_config *config)
{
	enum weft_drop_reason reason = check_destination(s, packet_is_v4(&s->packet));

	if (reason)
		return reason;
	if (s->dst_node || (s->dst_ip_flags & WEFT_IP_RESERVED))
		return s->context.hook == WEFT_HOOK_FROM_OVERLAY ? WEFT_DROP_UNKNOWN_ENDPOINT : DECIDE_NOT_OURS;
	reason = egress_admit();
	/* What was not wrapped may have been routed by way of this node, as without gateways. */
	if (reason == WEFT_DROP_NOT_EGRESS_GATEWAY && s->context.hook == WEFT_HOOK_FROM_DEVICE && !s->unsettled &&
	    !egress_find(s))
		return DECIDE_NOT_OURS;
	return reason ? reason : exit_as_gateway(skb, s, config);
}

/* From another node's address, to one here, or out of the cluster. */
inline_always enum weft_drop_reason flow_decide_from_node(struct __sk_buff *skb, struct scratch *s,
							  const struct weft_config *config)
{
	struct weft_endpoint *dst = endpoint_find(&s->pair.daddr);
	enum weft_drop_reason reason;

	s->context.direction = WEFT_INGRESS;
	if (!decide_policy(s, NULL, dst))
		return WEFT_DROP_POLICY_DENIED;
	s->forward.in_ifindex = s->context.hook == WEFT_HOOK_FROM_OVERLAY ? WEFT_IN_TUNNEL : 0;
	if (unlikely(!dst)) {
		reason = decide_exit_of_node(skb, s, config);
		if (reason)
			return reason;
	} else if (endpoint_is_host(dst)) {
		exit_to_host(s);
	} else {
		exit_to_pod(s, dst);
	}
	return exit_to_node(skb, &s->reply, s->src_node, WAY_BACK);
}

/* From the node itself, by the device whose routes lead to what is reached by a tunnel. */
inline_always enum weft_drop_reason flow_decide_from_host(struct __sk_buff *skb, struct scratch *s,
							  const struct weft_config *config)
{
	const struct weft_endpoint *src = endpoint_find(&s->pair.saddr);
	bool v4 = packet_is_v4(&s->packet);

	if (!src)
		return WEFT_DROP_SPOOFED_SOURCE;
	if (config->flags & WEFT_CONFIG_SERVICES)
		decide_hint(s, src->endpoint_id);
	if (!decide_policy(s, src, NULL))
		return WEFT_DROP_POLICY_DENIED;
	if (!node_is_tunneled(s->dst_node))
		return WEFT_DROP_NODE_UNKNOWN;
	s->forward.flags |= WEFT_FLOW_FROM_HOST | WEFT_FLOW_HOST_SOURCE;
	s->reply.flags |= WEFT_FLOW_FROM_HOST;
	s->reply.in_ifindex = WEFT_IN_TUNNEL;
	want_gateway_source(s, config, v4);
	if (addr_equal(&s->nat_address, &s->pair.saddr))
		s->translate_source = false;
	return exit_to_node(skb, &s->forward, s->dst_node, WAY_TO);
}

/* The decision as scratch->forward and scratch->reply; the reason to drop the packet otherwise. */
inline_always enum weft_drop_reason flow_decide(struct __sk_buff *skb, struct scratch *s,
						const struct weft_config *config, const struct weft_endpoint *src)
{
	if (s->context.hook == WEFT_HOOK_FROM_POD)
		return flow_decide_from_pod(skb, s, config, src);
	if (s->context.hook == WEFT_HOOK_FROM_OVERLAY || (s->context.hook == WEFT_HOOK_FROM_DEVICE && comes_from_node(s, config)))
		return flow_decide_from_node(skb, s, config);
	if (s->context.hook == WEFT_HOOK_FROM_DEVICE)
		return flow_decide_external(skb, s, config);
	if (s->context.hook == WEFT_HOOK_FROM_HOST)
		return flow_decide_from_host(skb, s, config);
	struct weft_endpoint *dst = endpoint_find(&s->pair.daddr);

	if (endpoint_is_host(src) && (config->flags & WEFT_CONFIG_SERVICES))
		decide_hint(s, src->endpoint_id);
	if (!decide_policy(s, src, dst))
		return WEFT_DROP_POLICY_DENIED;
	decide_exit_to_pod(skb, s, src);
	return WEFT_DROP_NONE;
}

/* A flow nobody has decided yet; `src` as in slow_flow. */
verified_once int flow_new(struct __sk_buff *skb, const struct weft_config *config, const struct weft_endpoint *src)
{
	struct scratch *s = scratch_get();

	if (!s || !config)
		return TC_ACT_SHOT;
	bool v4 = packet_is_v4(&s->packet);
	enum weft_event_hook hook = s->context.hook;
	struct weft_flow_key_v6 *tuple = &s->packet.tuple;
	__u8 reason;

	decision_reset(s, 0);
	s->pair = *tuple;
	reason = flow_decide(skb, s, config, src);
	if (reason == DECIDE_NOT_OURS)
		return TC_ACT_OK;
	if (!reason && !flow_rate_allows(skb, config, hook))
		reason = WEFT_DROP_FLOW_RATE;
	if (reason)
		return refuse_new(skb, s, config, reason);
	decision_stamp(s);
	s->forward.packets = 1;
	s->forward.bytes = skb->len - ETH_HLEN;
	reason = flow_enter(skb, config);
	if (reason)
		return refuse(skb, s, config, reason);
	if (s->forward.flags & WEFT_FLOW_EXTERNAL)
		count(WEFT_STAT_EXTERNAL_FLOW);
	flow_entered(s, config);
	if (s->packet.tcp_flags & TCP_RST) {
		/* It may carry data, so it is told, but nothing follows it. */
		flow_delete(tuple, v4);
		if (!s->forward.encapsulation)
			flow_delete(&s->peer, v4);
		event_closed(tuple, &s->forward, NULL, config, &s->context);
	}
	return forward(skb, s, &s->forward, hook);
}
