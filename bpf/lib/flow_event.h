/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Events about flows: new, denied, closed. */
#pragma once

#include "lib/event.h"
#include "lib/flow.h"
#include "lib/rate.h"
#include "maps/mute.h"

/* A denied tuple is reported once per interval and CPU. The slot is chosen by a cheap mix of the
 * tuple; a collision only means one event more. */
inline_always bool event_muted(const struct weft_flow_key_v6 *tuple, const struct weft_config *config)
{
	__u64 mixed = ((__u64)tuple->saddr.word[3] << 32 | tuple->daddr.word[3]) ^
		      ((__u64)tuple->saddr.word[1] << 32 | tuple->daddr.word[1]) ^
		      ((__u64)tuple->sport << 40 | (__u64)tuple->dport << 8 | tuple->protocol);

	mixed *= 0x9e3779b97f4a7c15ULL;

	__u32 slot = (mixed >> 48) % WEFT_MUTE_SLOTS;
	struct weft_mute *mute = bpf_map_lookup_elem(&weft_mute_v1, &slot);
	__u64 now = bpf_ktime_get_coarse_ns();

	if (!mute)
		return false;
	if (mute->time && now - mute->time < config->deny_event_interval && tuple_equal(&mute->tuple, tuple))
		return true;
	mute->tuple = *tuple;
	mute->time = now;
	return false;
}

inline_always bool event_limited(__u32 ifindex)
{
	struct weft_rate *rate = rate_of(ifindex);

	return rate && !rate_take_event(rate);
}

/* weft_event.egress_node of a flow that has ended; `forward`: its original direction, or NULL. */
inline_always __u32 egress_of(const struct weft_flow *forward)
{
	if (!forward || !(forward->flags & WEFT_FLOW_EGRESS))
		return 0;
	return forward->exit == WEFT_EXIT_TUNNEL ? forward->node : WEFT_EGRESS_HERE;
}

/* What a decision adds to the tuple; part of the scratch of the slow path. */
struct event_context {
	__u64 time; /* 0: to be read when the event is written */
	__u32 src_identity;
	__u32 dst_identity;
	__u32 src_endpoint;
	__u32 dst_endpoint;
	__u32 egress_rule;
	__u32 ingress_rule;
	__u32 service_id;
	__u8 hook;
	__u8 direction;
	__u8 tcp_flags;
	__u8 type; /* weft_event_type */
	struct weft_addr backend_addr;
	__be16 backend_port;
	__u8 drop_reason;
	__u8 pad;
	__u32 ifindex;
	__u16 egress_node; /* as in weft_event */
};

inline_always void event_fill(struct weft_event *event, const struct weft_flow_key_v6 *tuple,
			      const struct event_context *context)
{
	event->time = context->time;
	event->saddr = tuple->saddr;
	event->daddr = tuple->daddr;
	event->backend_addr = context->backend_addr;
	event->sport = tuple->sport;
	event->dport = tuple->dport;
	event->backend_port = context->backend_port;
	event->protocol = tuple->protocol;
	event->type = context->type;
	event->hook = context->hook;
	event->drop_reason = context->drop_reason;
	event->direction = context->direction;
	event->tcp_flags = context->tcp_flags;
	event->src_identity = context->src_identity;
	event->dst_identity = context->dst_identity;
	event->egress_rule = context->egress_rule;
	event->ingress_rule = context->ingress_rule;
	event->service_id = context->service_id;
	event->src_endpoint = context->src_endpoint;
	event->dst_endpoint = context->dst_endpoint;
	event->ifindex = context->ifindex;
	event->egress_node = context->egress_node;
	event->pad = 0;
	event->packets = 0;
	event->bytes = 0;
	event->reply_packets = 0;
	event->reply_bytes = 0;
}

/* True when an event was written. */
verified_once bool event_emit(const struct weft_flow_key_v6 *tuple, const struct event_context *context,
			      const struct weft_config *config)
{
	if (!tuple || !context || !config || !(config->flags & WEFT_CONFIG_EVENTS))
		return false;
	if (context->type == WEFT_EVENT_DENIED && event_muted(tuple, config)) {
		count(WEFT_STAT_EVENT_MUTED);
		return false;
	}
	if (context->type == WEFT_EVENT_DENIED && event_limited(context->ifindex)) {
		count(WEFT_STAT_EVENT_LIMITED);
		return false;
	}
	struct weft_event *event = event_reserve();

	if (!event)
		return false;
	event_fill(event, tuple, context);
	if (!context->time)
		event->time = bpf_ktime_get_ns();
	event_submit(event, config);
	return true;
}

/* `tuple` keys `flow`, `other` is the opposite direction's entry or NULL. The event speaks of the
 * original direction, whichever of the two saw the end. */
verified_once bool event_closed(const struct weft_flow_key_v6 *tuple, const struct weft_flow *flow,
				const struct weft_flow *other, const struct weft_config *config,
				const struct event_context *seen)
{
	struct weft_flow_key_v6 original;

	if (!tuple || !flow || !config || !seen)
		return false;
	bool reply = flow->flags & WEFT_FLOW_REPLY;

	count(WEFT_STAT_CLOSED_FLOW);
	if (!(config->flags & WEFT_CONFIG_EVENTS))
		return false;
	if (reply)
		tuple_peer(&original, tuple, flow);
	else
		original = *tuple;
	struct weft_event *event = event_reserve();

	if (!event)
		return false;
	struct event_context context = {
		.time = bpf_ktime_get_ns(),
		.src_identity = flow->src_identity,
		.dst_identity = flow->dst_identity,
		.egress_rule = flow->egress_rule,
		.ingress_rule = flow->ingress_rule,
		.service_id = flow->service_id,
		.hook = seen->hook,
		.ifindex = seen->ifindex,
		.tcp_flags = seen->tcp_flags,
		.type = WEFT_EVENT_CLOSED,
	};
	/* What the socket hook translated left for its backend by itself. */
	if (flow->backend_id && !reply && ((flow->flags & WEFT_FLOW_DNAT) || flow->encapsulation)) {
		context.backend_addr = flow->dst_addr;
		context.backend_port = flow->dst_port;
	} else if (flow->backend_id && reply && (flow->flags & WEFT_FLOW_SNAT)) {
		context.backend_addr = tuple->saddr;
		context.backend_port = tuple->sport;
	}
	event_fill(event, &original, &context);
	const struct weft_flow *forward = reply ? other : flow;
	const struct weft_flow *backward = reply ? flow : other;

	event->egress_node = egress_of(forward);
	if (forward) {
		event->packets = forward->packets;
		event->bytes = forward->bytes;
	}
	if (backward) {
		event->reply_packets = backward->packets;
		event->reply_bytes = backward->bytes;
	}
	event_submit(event, config);
	return true;
}
