/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The slow path: everything the fast path passed on. Order: who sends it, is it part of a known
 * flow, otherwise decide and enter the flow. */
#pragma once

#include "lib/decide.h"
#include "lib/fragment.h"
#include "lib/icmp_error.h"
#include "lib/neighbour.h"

/* Refuses the packet with an event that tells why. */
inline_always int refuse(struct __sk_buff *skb, struct scratch *s, const struct weft_config *config, __u8 reason)
{
	s->context.type = WEFT_EVENT_DENIED;
	s->context.drop_reason = reason;
	event_emit(&s->packet.tuple, &s->context, config);
	return drop(skb, reason);
}

inline_always int forward(struct __sk_buff *skb, struct scratch *s, struct weft_flow *flow, enum weft_event_hook hook)
{
	return flow_forward(skb, packet_is_v4(&s->packet), flow, &s->packet.tuple, s->packet.l4_offset,
			    s->packet.hop_limit, hook);
}

/* A flow nobody has decided yet, seen at a pod's device. */
static __noinline int flow_new(struct __sk_buff *skb, struct scratch *s, const struct weft_config *config,
			       enum weft_event_hook hook)
{
	bool v4 = packet_is_v4(&s->packet);
	struct weft_flow_key_v6 *tuple = &s->packet.tuple;
	struct weft_endpoint *src = endpoint_find(&tuple->saddr);
	bool inserted = false;
	__u8 reason;

	SCRATCH_ZERO(&s->forward);
	SCRATCH_ZERO(&s->reply);
	s->pair = *tuple;
	s->reply.flags = WEFT_FLOW_REPLY;
	if (hook == WEFT_HOOK_FROM_POD) {
		if (!src)
			return drop(skb, WEFT_DROP_SPOOFED_SOURCE);
		reason = decide_service(s, src);
		if (reason) {
			s->context.src_endpoint = src->endpoint_id;
			s->context.src_identity = src->identity;
			s->context.direction = WEFT_EGRESS;
			return refuse(skb, s, config, reason);
		}
	}
	struct weft_endpoint *dst = endpoint_find(&s->pair.daddr);

	if (!decide_policy(s, src, dst))
		return refuse(skb, s, config, WEFT_DROP_POLICY_DENIED);
	if (hook == WEFT_HOOK_FROM_POD) {
		if (!src) /* for the verifier: checked above */
			return drop(skb, WEFT_DROP_SPOOFED_SOURCE);
		flow_stamp(&s->reply, s);
		s->reply.service_id = s->context.service_id;
		s->reply.created = bpf_ktime_get_ns();
		s->reply.last_seen = bpf_jiffies64();
		s->context.direction = WEFT_EGRESS;
		reason = decide_exit_from_pod(skb, s, v4, src, dst, config, &inserted);
		if (reason)
			return refuse(skb, s, config, reason);
	} else {
		s->forward.exit = WEFT_EXIT_STACK;
		s->reply.in_ifindex = skb->ifindex;
		if (endpoint_is_pod(src)) {
			s->reply.exit = WEFT_EXIT_PEER;
			s->reply.out_ifindex = src->ifindex;
		}
		if (endpoint_is_host(src)) {
			s->forward.flags |= WEFT_FLOW_FROM_HOST;
			s->reply.flags |= WEFT_FLOW_FROM_HOST;
		}
		s->reply.created = bpf_ktime_get_ns();
		s->reply.last_seen = bpf_jiffies64();
		flow_stamp(&s->reply, s);
	}
	/* A reset is delivered but starts nothing. */
	if (s->packet.tcp_flags & TCP_RST) {
		if (inserted)
			flow_delete(&s->peer, v4);
		return forward(skb, s, &s->forward, hook);
	}
	flow_stamp(&s->forward, s);
	s->forward.service_id = s->context.service_id;
	s->forward.created = s->reply.created;
	s->forward.packets = 1;
	s->forward.bytes = skb->len - ETH_HLEN;
	s->forward.last_seen = s->reply.last_seen;
	if (!inserted) {
		tuple_peer(&s->peer, tuple, &s->forward);
		if (flow_insert(&s->peer, &s->reply, v4, BPF_ANY))
			return refuse(skb, s, config, WEFT_DROP_FLOW_TABLE);
	}
	if (flow_insert(tuple, &s->forward, v4, BPF_ANY)) {
		flow_delete(&s->peer, v4);
		return refuse(skb, s, config, WEFT_DROP_FLOW_TABLE);
	}
	count(WEFT_STAT_NEW_FLOW);
	s->context.type = WEFT_EVENT_NEW;
	event_emit(tuple, &s->context, config);
	return forward(skb, s, &s->forward, hook);
}

/* Fills scratch->pair with the ends as policy sees them, for a packet of a known flow. */
inline_always void pair_of_flow(struct scratch *s, const struct weft_flow *flow)
{
	struct weft_flow_key_v6 *tuple = &s->packet.tuple;

	if (flow->flags & WEFT_FLOW_REPLY) {
		tuple_reverse(&s->pair, tuple);
		if (flow->flags & WEFT_FLOW_DNAT) {
			s->pair.saddr = flow->dst_addr;
			s->pair.sport = flow->dst_port;
		}
	} else {
		s->pair = *tuple;
		if (flow->flags & WEFT_FLOW_DNAT) {
			s->pair.daddr = flow->dst_addr;
			s->pair.dport = flow->dst_port;
		}
	}
}

/* Devices may have been replaced since: where the entry's packets come from and go to. */
inline_always void flow_redirect(struct weft_flow *flow, const struct weft_endpoint *from,
				 const struct weft_endpoint *to)
{
	flow->in_ifindex = endpoint_is_pod(from) ? from->ifindex : 0;
	if (flow->exit == WEFT_EXIT_PEER && endpoint_is_pod(to))
		flow->out_ifindex = to->ifindex;
}

/* The epoch moved on: the flow is decided again, in either direction, on its original direction's
 * terms. Returns false when it is to be treated as new (a UDP flow whose backend went away). */
static __noinline bool flow_redecide(struct scratch *s, struct weft_flow *flow)
{
	bool v4 = packet_is_v4(&s->packet);
	bool is_reply = flow->flags & WEFT_FLOW_REPLY;
	struct weft_flow *other;
	__u32 backend_id = flow->backend_id;

	s->drop_reason = 0;
	pair_of_flow(s, flow);
	tuple_peer(&s->peer, &s->packet.tuple, flow);
	s->context.service_id = flow->service_id;
	if (backend_id && !bpf_map_lookup_elem(&weft_backend_v1, &backend_id) && s->pair.protocol != IPPROTO_TCP &&
	    !is_reply) {
		flow_delete(&s->packet.tuple, v4);
		flow_delete(&s->peer, v4);
		return false;
	}
	struct weft_endpoint *src = endpoint_find(&s->pair.saddr);
	struct weft_endpoint *dst = endpoint_find(&s->pair.daddr);

	count(WEFT_STAT_REDECIDED);
	if (!decide_policy(s, src, dst))
		s->drop_reason = WEFT_DROP_POLICY_REVOKED;
	else if (!dst && (s->dst_ip_flags & WEFT_IP_RESERVED))
		s->drop_reason = WEFT_DROP_UNKNOWN_ENDPOINT;
	if (s->drop_reason) {
		flow_delete(&s->packet.tuple, v4);
		flow_delete(&s->peer, v4);
		return true;
	}
	other = flow_find(&s->peer, v4);
	flow_redirect(flow, is_reply ? dst : src, is_reply ? src : dst);
	flow_stamp(flow, s);
	if (other) {
		flow_redirect(other, is_reply ? src : dst, is_reply ? dst : src);
		flow_stamp(other, s);
	}
	return true;
}

/* FIN and RST move both directions towards closed. */
static __noinline void flow_tcp(struct scratch *s, struct weft_flow *flow, const struct weft_config *config)
{
	__u8 flags = s->packet.tcp_flags;
	struct weft_flow *other;

	if (flags & TCP_SYN)
		flow->flags |= WEFT_FLOW_SEEN_REPLY;
	if (!(flags & (TCP_FIN | TCP_RST)) || (flow->flags & WEFT_FLOW_CLOSED))
		return;
	flow->flags |= WEFT_FLOW_FIN;
	tuple_peer(&s->peer, &s->packet.tuple, flow);
	other = flow_find(&s->peer, packet_is_v4(&s->packet));
	if (!(flags & TCP_RST) && other && !(other->flags & WEFT_FLOW_FIN))
		return;
	flow->flags |= WEFT_FLOW_CLOSED;
	if (other)
		other->flags |= WEFT_FLOW_CLOSED;
	event_closed(&s->packet.tuple, flow, other, config, &s->context);
}

/* A reply whose own entry was evicted: the original direction's entry restores it. */
inline_always struct weft_flow *flow_restore_reply(struct scratch *s)
{
	bool v4 = packet_is_v4(&s->packet);
	struct weft_flow *original;

	tuple_reverse(&s->peer, &s->packet.tuple);
	original = flow_find(&s->peer, v4);
	if (!original || (original->flags & (WEFT_FLOW_REPLY | WEFT_FLOW_DNAT | WEFT_FLOW_SNAT | WEFT_FLOW_CLOSED)) ||
	    original->epoch != s->epoch)
		return NULL;
	s->reply = *original;
	s->reply.flags = WEFT_FLOW_REPLY | (original->flags & WEFT_FLOW_FROM_HOST);
	s->reply.packets = 0;
	s->reply.bytes = 0;
	s->reply.in_ifindex = original->out_ifindex;
	s->reply.out_ifindex = original->in_ifindex;
	s->reply.exit = original->in_ifindex ? WEFT_EXIT_PEER : WEFT_EXIT_STACK;
	flow_insert(&s->packet.tuple, &s->reply, v4, BPF_ANY);
	return flow_find(&s->packet.tuple, v4);
}

/* Checks only a pod's own device makes. Non-zero: the drop reason; `silent` when it is no news. */
inline_always __u8 check_from_pod(struct __sk_buff *skb, struct packet *packet, bool *silent)
{
	struct weft_flow_key_v6 *tuple = &packet->tuple;
	bool v4 = packet_is_v4(packet);
	struct weft_endpoint *src;

	*silent = false;
	if (v4 ? (tuple->daddr.word[3] & bpf_htonl(0xf0000000)) == bpf_htonl(0xe0000000) ||
			 tuple->daddr.word[3] == bpf_htonl(0xffffffff) :
		 (tuple->daddr.word[0] & bpf_htonl(0xff000000)) == bpf_htonl(0xff000000)) {
		*silent = packet->flags & PACKET_ICMP_OTHER;
		return WEFT_DROP_MULTICAST;
	}
	if (!v4 && ((tuple->saddr.word[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000) ||
		    (tuple->daddr.word[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000))) {
		*silent = true;
		return WEFT_DROP_LINK_LOCAL;
	}
	src = endpoint_find(&tuple->saddr);
	if (!src || src->ifindex != skb->ifindex)
		return WEFT_DROP_SPOOFED_SOURCE;
	return 0;
}

static __noinline int slow_flow(struct __sk_buff *skb, struct scratch *s, const struct weft_config *config,
				enum weft_event_hook hook)
{
	struct packet *packet = &s->packet;
	struct weft_flow *flow = flow_find(&packet->tuple, packet_is_v4(packet));

	if (flow && hook == WEFT_HOOK_FROM_POD && flow->in_ifindex != skb->ifindex && flow->epoch == s->epoch)
		flow = NULL; /* left by another owner of the address; the source has been checked */
	if (flow && (flow->flags & WEFT_FLOW_CLOSED) && (packet->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN)
		flow = NULL;
	if (flow && flow->epoch != s->epoch) {
		if (!flow_redecide(s, flow))
			flow = NULL;
		else if (s->drop_reason)
			return refuse(skb, s, config, s->drop_reason);
	}
	if (!flow && (hook == WEFT_HOOK_FROM_DEVICE || hook == WEFT_HOOK_TO_DEVICE))
		return TC_ACT_OK;
	if (!flow && !(packet->tcp_flags & TCP_SYN))
		flow = flow_restore_reply(s);
	if (!flow)
		return flow_new(skb, s, config, hook);
	if (packet->tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST))
		flow_tcp(s, flow, config);
	return forward(skb, s, flow, hook);
}

inline_always int slow_path(struct __sk_buff *skb, const struct weft_config *config, enum weft_event_hook hook)
{
	struct scratch *s = scratch_get();
	bool from_host = false;
	bool silent = false;
	__u8 reason;

	if (!s)
		return drop(skb, WEFT_DROP_UNKNOWN_ENDPOINT);
	s->epoch = config->epoch;
	SCRATCH_ZERO(&s->packet);
	SCRATCH_ZERO(&s->context);
	s->context.hook = hook;
	s->context.ifindex = skb->ifindex;
	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		reason = parse_v4(skb, &s->packet);
	} else if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		reason = parse_v6(skb, &s->packet);
	} else if (skb->protocol == bpf_htons(ETH_P_ARP)) {
		return hook == WEFT_HOOK_FROM_POD ? arp_from_pod(skb, config) : TC_ACT_OK;
	} else {
		return hook == WEFT_HOOK_FROM_POD ? drop(skb, WEFT_DROP_UNKNOWN_L3) : TC_ACT_OK;
	}
	s->context.tcp_flags = s->packet.tcp_flags;
	if (reason && (hook == WEFT_HOOK_FROM_DEVICE || hook == WEFT_HOOK_TO_DEVICE))
		return TC_ACT_OK; /* the node's own business */
	if (hook == WEFT_HOOK_FROM_POD) {
		if (!packet_is_v4(&s->packet) && s->packet.icmp_type == ND_SOLICIT &&
		    (s->packet.flags & PACKET_ICMP_OTHER))
			return solicit_from_pod(skb, config);
		__u8 check = reason == WEFT_DROP_MALFORMED ? 0 : check_from_pod(skb, &s->packet, &silent);

		if (check)
			reason = check;
	} else if (hook == WEFT_HOOK_TO_POD) {
		from_host = endpoint_is_host(endpoint_find(&s->packet.tuple.saddr));
		/* Neighbour discovery between the node and its pod. */
		if (s->packet.flags & PACKET_ICMP_OTHER)
			return from_host || !packet_is_v4(&s->packet) ? TC_ACT_OK : drop(skb, WEFT_DROP_ICMP_UNSUPPORTED);
	} else if (hook == WEFT_HOOK_FROM_DEVICE) {
		/* A pod's address cannot come in from outside. */
		if (endpoint_is_pod(endpoint_find(&s->packet.tuple.saddr)))
			reason = WEFT_DROP_SPOOFED_SOURCE;
	}
	if (!reason)
		reason = fragment_ports(&s->packet);
	if (reason == WEFT_DROP_FRAGMENT_UNKNOWN && (hook == WEFT_HOOK_FROM_DEVICE || hook == WEFT_HOOK_TO_DEVICE))
		return TC_ACT_OK;
	if (!reason && (s->packet.flags & PACKET_ICMP_OTHER))
		reason = hook == WEFT_HOOK_FROM_POD ? WEFT_DROP_ICMP_UNSUPPORTED : 0;
	if (reason)
		return silent ? drop(skb, reason) : refuse(skb, s, config, reason);
	if (s->packet.flags & PACKET_ICMP_ERROR)
		return icmp_error(skb, &s->packet, hook, from_host);
	if (s->packet.flags & PACKET_ICMP_OTHER)
		return TC_ACT_OK;
	return slow_flow(skb, s, config, hook);
}
