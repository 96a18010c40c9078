/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The slow path: everything the fast path passed on. Order: who sends it, is it part of a known
 * flow, otherwise decide and enter the flow. */
#pragma once

#include "lib/decide.h"
#include "lib/enter.h"
#include "lib/fragment.h"
#include "lib/icmp_error.h"
#include "lib/neighbour.h"

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

verified_once int forward(struct __sk_buff *skb, struct scratch *s, const struct weft_flow *flow,
			  enum weft_event_hook hook)
{
	if (!s || !flow)
		return TC_ACT_SHOT;
	return flow_forward(skb, packet_is_v4(&s->packet), flow, &s->packet.tuple, s->packet.l4_offset,
			    s->packet.hop_limit, hook);
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
		s->forward.flags |= WEFT_FLOW_FROM_HOST;
		s->reply.flags |= WEFT_FLOW_FROM_HOST;
	}
}

/* The decision as scratch->forward and scratch->reply; the reason to drop the packet otherwise. */
inline_always enum weft_drop_reason flow_decide(struct __sk_buff *skb, struct scratch *s,
						const struct weft_config *config, enum weft_event_hook hook)
{
	bool from_pod = hook == WEFT_HOOK_FROM_POD;
	struct weft_endpoint *src = endpoint_find(&s->packet.tuple.saddr);
	enum weft_drop_reason reason;

	if (from_pod) {
		if (!src)
			return WEFT_DROP_SPOOFED_SOURCE;
		s->context.src_endpoint = src->endpoint_id;
		s->context.src_identity = src->identity;
		s->context.direction = WEFT_EGRESS;
		reason = decide_service(s, src, config);
		if (reason)
			return reason;
	}
	struct weft_endpoint *dst = endpoint_find(&s->pair.daddr);

	if (!decide_policy(s, src, dst))
		return WEFT_DROP_POLICY_DENIED;
	if (!from_pod) {
		decide_exit_to_pod(skb, s, src);
		return WEFT_DROP_NONE;
	}
	if (!src) /* for the verifier: checked above */
		return WEFT_DROP_SPOOFED_SOURCE;
	s->context.direction = WEFT_EGRESS;
	return decide_exit_from_pod(skb, s, packet_is_v4(&s->packet), src, dst, config);
}

/* A flow nobody has decided yet, seen at a pod's device. */
verified_once int flow_new(struct __sk_buff *skb, struct scratch *s, const struct weft_config *config,
			   enum weft_event_hook hook)
{
	if (!s || !config)
		return TC_ACT_SHOT;
	bool v4 = packet_is_v4(&s->packet);
	struct weft_flow_key_v6 *tuple = &s->packet.tuple;
	__u8 reason;

	SCRATCH_ZERO(&s->forward);
	SCRATCH_ZERO(&s->reply);
	s->pair = *tuple;
	s->translate_source = false;
	s->reply.flags = WEFT_FLOW_REPLY;
	reason = flow_decide(skb, s, config, hook);
	if (reason)
		return refuse(skb, s, config, reason);
	flow_stamp(&s->forward, s);
	s->forward.created = bpf_ktime_get_ns();
	s->forward.last_seen = bpf_jiffies64();
	s->forward.packets = 1;
	s->forward.bytes = skb->len - ETH_HLEN;
	flow_stamp(&s->reply, s);
	s->reply.created = s->forward.created;
	s->reply.last_seen = s->forward.last_seen;
	reason = flow_enter(s, config);
	if (reason)
		return refuse(skb, s, config, reason);
	if (s->packet.tcp_flags & TCP_RST) {
		/* Delivered, but it starts nothing. */
		flow_delete(tuple, v4);
		flow_delete(&s->peer, v4);
		return forward(skb, s, &s->forward, hook);
	}
	count(WEFT_STAT_NEW_FLOW);
	s->context.time = s->forward.created;
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

inline_always void flow_forget(struct scratch *s, bool v4)
{
	flow_delete(&s->packet.tuple, v4);
	flow_delete(&s->peer, v4);
}

/* Whether the original direction of an outbound flow still leaves as it was decided. */
inline_always bool route_holds(struct __sk_buff *skb, struct scratch *s, const struct weft_flow *flow, bool v4)
{
	SCRATCH_ZERO(&s->forward);
	return route_outside(skb, s, v4) && s->forward.exit == WEFT_EXIT_NEIGH &&
	       s->forward.out_ifindex == flow->out_ifindex;
}

enum redecision {
	REDECIDED_ALLOWED,
	REDECIDED_REFUSED, /* for scratch->drop_reason */
	REDECIDED_AS_NEW, /* the flow is over, its packet starts another */
};

/* The epoch moved on: the flow is decided again, by either direction's packet, on its original
 * direction's terms. scratch->peer is the other direction's key afterwards. */
verified_once enum redecision flow_redecide(struct __sk_buff *skb, struct scratch *s, struct weft_flow *flow)
{
	if (!s || !flow)
		return REDECIDED_AS_NEW;
	bool v4 = packet_is_v4(&s->packet);
	bool is_reply = flow->flags & WEFT_FLOW_REPLY;
	bool is_syn = (s->packet.tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
	struct weft_flow *other;
	__u32 backend_id = flow->backend_id;

	pair_of_flow(s, flow);
	tuple_peer(&s->peer, &s->packet.tuple, flow);
	s->context.service_id = flow->service_id;
	if (backend_id) {
		s->context.backend_addr = s->pair.daddr;
		s->context.backend_port = s->pair.dport;
	}
	/* Datagrams move on to another backend; a connection stays with one that is only leaving. */
	if (backend_id && !is_reply && s->pair.protocol != IPPROTO_TCP &&
	    !bpf_map_lookup_elem(&weft_backend_v1, &backend_id)) {
		flow_forget(s, v4);
		return REDECIDED_AS_NEW;
	}
	struct weft_endpoint *src = endpoint_find(&s->pair.saddr);
	struct weft_endpoint *dst = endpoint_find(&s->pair.daddr);

	if (!decide_policy(s, src, dst)) {
		/* The entries stay, of an old epoch: what either end still says is part of this flow and
		 * must not pass for a new one in the opposite direction. */
		s->drop_reason = WEFT_DROP_POLICY_REVOKED;
		return is_syn && !is_reply ? REDECIDED_AS_NEW : REDECIDED_REFUSED;
	}
	if ((!dst && (s->dst_ip_flags & WEFT_IP_RESERVED)) || (!src && (s->src_ip_flags & WEFT_IP_RESERVED))) {
		s->drop_reason = WEFT_DROP_UNKNOWN_ENDPOINT;
		flow_forget(s, v4);
		return REDECIDED_REFUSED;
	}
	if (!is_reply && flow->exit == WEFT_EXIT_NEIGH && s->context.hook == WEFT_HOOK_FROM_POD &&
	    !route_holds(skb, s, flow, v4)) {
		flow_forget(s, v4);
		return REDECIDED_AS_NEW;
	}
	count(WEFT_STAT_REDECIDED);
	other = flow_find(&s->peer, v4);
	flow_redirect(flow, is_reply ? dst : src, is_reply ? src : dst);
	flow_stamp(flow, s);
	if (other) {
		flow_redirect(other, is_reply ? src : dst, is_reply ? dst : src);
		flow_stamp(other, s);
	}
	return REDECIDED_ALLOWED;
}

/* FIN and RST move both directions towards closed. A FIN alone, or one whose other direction's entry
 * was evicted, leaves the flow open: the other side may go on sending. True when it ended. */
verified_once bool flow_tcp(struct scratch *s, struct weft_flow *flow, const struct weft_config *config)
{
	struct weft_flow *other;

	if (!s || !flow || !config)
		return false;
	__u8 flags = s->packet.tcp_flags;

	if (!(flags & (TCP_FIN | TCP_RST)) || (flow->flags & WEFT_FLOW_CLOSED))
		return false;
	flow->flags |= WEFT_FLOW_FIN;
	tuple_peer(&s->peer, &s->packet.tuple, flow);
	other = flow_find(&s->peer, packet_is_v4(&s->packet));
	if (!(flags & TCP_RST) && (!other || !(other->flags & WEFT_FLOW_FIN)))
		return false;
	flow->flags |= WEFT_FLOW_CLOSED;
	if (other)
		other->flags |= WEFT_FLOW_CLOSED;
	event_closed(&s->packet.tuple, flow, other, config, &s->context);
	return true;
}

/* A reply without an entry, because it is the first or because that was evicted: the original
 * direction's entry makes it, of whatever epoch that is. Translated flows cannot be found this way,
 * their reply is no mirror of them. */
inline_always struct weft_flow *flow_restore_reply(struct __sk_buff *skb, struct scratch *s, enum weft_event_hook hook)
{
	bool v4 = packet_is_v4(&s->packet);
	struct weft_flow *original;

	tuple_reverse(&s->peer, &s->packet.tuple);
	original = flow_find(&s->peer, v4);
	if (!original || (original->flags & (WEFT_FLOW_REPLY | WEFT_FLOW_DNAT | WEFT_FLOW_SNAT)))
		return NULL;
	s->reply = *original;
	s->reply.flags = WEFT_FLOW_REPLY | (original->flags & (WEFT_FLOW_FROM_HOST | WEFT_FLOW_CLOSED));
	s->reply.packets = 0;
	s->reply.bytes = 0;
	s->reply.mtu = 0;
	s->reply.in_ifindex = arrived_by(skb, hook);
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

/* Whether the entry speaks for this packet. Not if the packet came by another device than the flow's
 * (the address has another owner now), and a SYN speaks for itself when the flow is over or runs the
 * other way. */
inline_always bool entry_applies(struct __sk_buff *skb, const struct scratch *s, const struct weft_flow *flow,
				 enum weft_event_hook hook)
{
	if (flow->epoch == s->epoch && flow->in_ifindex != arrived_by(skb, hook))
		return false;
	return (s->packet.tcp_flags & (TCP_SYN | TCP_ACK)) != TCP_SYN ||
	       !(flow->flags & (WEFT_FLOW_CLOSED | WEFT_FLOW_REPLY));
}

/* `absent`: the fast path has looked and found no entry. */
verified_once int slow_flow(struct __sk_buff *skb, struct scratch *s, const struct weft_config *config,
			    enum weft_event_hook hook, bool absent)
{
	if (!s || !config)
		return TC_ACT_SHOT;
	struct packet *packet = &s->packet;
	struct weft_flow *flow = absent ? NULL : flow_find(&packet->tuple, packet_is_v4(packet));

	if (flow && !entry_applies(skb, s, flow, hook))
		flow = NULL;
	if (!flow && hook_is_device(hook))
		return TC_ACT_OK;
	if (!flow && (packet->tcp_flags & (TCP_SYN | TCP_ACK)) != TCP_SYN)
		flow = flow_restore_reply(skb, s, hook);
	if (flow && flow->epoch != s->epoch) {
		enum redecision redecision = flow_redecide(skb, s, flow);

		if (redecision == REDECIDED_REFUSED)
			return refuse_flow(skb, s, config,
					   flow->flags & WEFT_FLOW_REPLY ? &s->peer : &packet->tuple, s->drop_reason);
		if (redecision == REDECIDED_AS_NEW) {
			flow = NULL;
			s->context.service_id = 0;
			s->context.backend_port = 0;
			SCRATCH_ZERO(&s->context.backend_addr);
		}
	}
	if (!flow && hook_is_device(hook))
		return TC_ACT_OK;
	if (!flow)
		return flow_new(skb, s, config, hook);
	if (counts_here(flow, hook))
		flow_account(flow, skb->len - ETH_HLEN);
	if (packet->tcp_flags & (TCP_FIN | TCP_RST))
		flow_tcp(s, flow, config);
	return forward(skb, s, flow, hook);
}

/* For a packet of no flow at an uplink; cheaper than the slow path. */
inline_always bool claims_pod_source(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	struct weft_addr addr;

	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = data + ETH_HLEN;

		if ((void *)(ip + 1) > end)
			return true;
		addr_from_v4(&addr, ip->saddr);
	} else {
		struct ipv6hdr *ip = data + ETH_HLEN;

		if ((void *)(ip + 1) > end)
			return true;
		__builtin_memcpy(&addr, &ip->saddr, 16);
	}
	return endpoint_is_pod(endpoint_find(&addr));
}

/* Whether a packet from the stack wears a pod's address without having come from that pod. */
inline_always bool forged_towards_pod(struct __sk_buff *skb, const struct weft_endpoint *src)
{
	return endpoint_is_pod(src) && skb->ingress_ifindex && skb->ingress_ifindex != src->ifindex;
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
		return true;
	}
	s->context.tcp_flags = s->packet.tcp_flags;
	return *reason && hook_is_device(hook); /* then it is the node's own business */
}

inline_always int slow_path(struct __sk_buff *skb, const struct weft_config *config, enum weft_event_hook hook,
			    bool absent)
{
	struct scratch *s = scratch_get();
	struct weft_endpoint *src;
	bool from_host = false;
	bool silent = false;
	__u8 reason = 0;
	int verdict;

	if (!s)
		return drop(skb, WEFT_DROP_UNKNOWN_ENDPOINT);
	s->epoch = config->epoch;
	SCRATCH_ZERO(&s->packet);
	SCRATCH_ZERO(&s->context);
	s->context.hook = hook;
	s->context.ifindex = skb->ifindex;
	if (slow_parse(skb, s, config, hook, &reason, &verdict))
		return verdict;
	switch (hook) {
	case WEFT_HOOK_FROM_POD:
		if (!packet_is_v4(&s->packet) && s->packet.icmp_type == ND_SOLICIT &&
		    (s->packet.flags & PACKET_ICMP_OTHER))
			return solicit_from_pod(skb, config);
		if (reason != WEFT_DROP_MALFORMED) {
			__u8 check = check_from_pod(skb, &s->packet, &silent);

			reason = check ? check : reason;
		}
		if (!reason && (s->packet.flags & PACKET_ICMP_OTHER))
			reason = WEFT_DROP_ICMP_UNSUPPORTED;
		break;
	case WEFT_HOOK_TO_POD:
		src = endpoint_find(&s->packet.tuple.saddr);
		from_host = endpoint_is_host(src);
		if (forged_towards_pod(skb, src))
			reason = WEFT_DROP_SPOOFED_SOURCE;
		/* Neighbour discovery between the node and its pod. */
		if (!reason && (s->packet.flags & PACKET_ICMP_OTHER))
			return from_host || !packet_is_v4(&s->packet) ? TC_ACT_OK : drop(skb, WEFT_DROP_ICMP_UNSUPPORTED);
		break;
	case WEFT_HOOK_FROM_DEVICE:
		/* A pod's address cannot come in from outside. */
		if (endpoint_is_pod(endpoint_find(&s->packet.tuple.saddr)))
			reason = WEFT_DROP_SPOOFED_SOURCE;
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
		return icmp_error(skb, &s->packet, hook, from_host);
	if (s->packet.flags & PACKET_ICMP_OTHER)
		return TC_ACT_OK;
	return slow_flow(skb, s, config, hook, absent);
}
