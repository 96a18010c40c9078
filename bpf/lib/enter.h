/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* A decided flow enters the flow table: the reply direction first, because its key must be nobody
 * else's, then the original one. */
#pragma once

#include "lib/backend.h"
#include "lib/scratch.h"

#define ERROR_EXISTS 17 /* EEXIST */

/* After this many jiffies without a packet a flow that never said goodbye yields its place. HZ is
 * 1000 at most, so that is at least 30 seconds (RFC 4787 asks for 2 minutes in general, and HZ is
 * 250 in general) and 2 hours 5 minutes (RFC 5382: 2 hours 4 minutes). */
#define IDLE_DATAGRAMS 30000
#define IDLE_CONNECTION 7500000
/* The same of a connection that somebody outside said was reset (RFC 7857: 4 minutes). */
#define IDLE_RESET 60000

/* Whether the flow may never be more than its first packet and the answer to that. Who forges sources gets no
 * further, and needs as many of them as there are ports. */
inline_always bool flow_has_only_begun(const struct weft_flow *original, const struct weft_flow *reply, __u8 protocol)
{
	if (!original || !reply->packets)
		return true;
	return protocol == IPPROTO_TCP ? original->flags & WEFT_FLOW_OPENING : original->packets < 2;
}

/* Whether somebody outside said so, and neither end has spoken since. */
inline_always bool flow_was_reset(const struct weft_flow *original, const struct weft_flow *reply)
{
	return (reply->flags & WEFT_FLOW_RESET) && (!original || (original->flags & WEFT_FLOW_RESET));
}

/* Whether the entry that has the key scratch->peer may be replaced: it is this very flow's, or the
 * flow it belongs to is over, as far as can be known. scratch->taken is then that flow's original direction. */
inline_always bool reply_yields(struct scratch *s)
{
	bool v4 = packet_is_v4(&s->packet);
	struct weft_flow *entry = flow_find(&s->peer, v4);
	struct weft_flow *original;

	if (!entry || !(entry->flags & WEFT_FLOW_REPLY))
		return true;
	tuple_peer(&s->taken, &s->peer, entry);
	if (tuple_equal(&s->taken, &s->packet.tuple) || (entry->flags & WEFT_FLOW_CLOSED))
		return true;
	original = flow_find(&s->taken, v4);
	s->taken_seen = entry->last_seen;
	if (original && original->last_seen > s->taken_seen)
		s->taken_seen = original->last_seen;
	if (s->peer.protocol == IPPROTO_TCP && flow_was_reset(original, entry)) {
		s->taken_movable = true;
		s->taken_begun = true;
		return bpf_jiffies64() - s->taken_seen >= IDLE_RESET;
	}
	/* A datagram flow can move on to another port, a connection that works cannot. */
	s->taken_movable = s->peer.protocol != IPPROTO_TCP || entry->packets < 2;
	s->taken_begun = flow_has_only_begun(original, entry, s->peer.protocol);
	return bpf_jiffies64() - s->taken_seen >=
	       (s->peer.protocol == IPPROTO_TCP ? IDLE_CONNECTION : IDLE_DATAGRAMS);
}

enum reply_result {
	REPLY_ENTERED,
	REPLY_TAKEN,
	REPLY_REFUSED,
};

/* Whether an untranslated flow, whose replies bring their entry themselves, waits for scratch->peer. */
inline_always bool reply_awaited(struct scratch *s)
{
	struct weft_flow *original;

	if (!(s->forward.flags & WEFT_FLOW_DNAT) || s->packet.tuple.protocol != IPPROTO_TCP)
		return false;
	/* nobody else sends untranslated from an address of the node's */
	if ((s->forward.flags & WEFT_FLOW_SNAT) && !addr_equal(&s->nat_address, &s->pair.saddr))
		return false;
	tuple_reverse(&s->taken, &s->peer);
	original = flow_find(&s->taken, packet_is_v4(&s->packet));
	return original && !(original->flags & (WEFT_FLOW_REPLY | WEFT_FLOW_DNAT | WEFT_FLOW_SNAT | WEFT_FLOW_CLOSED)) &&
	       bpf_jiffies64() - original->last_seen < IDLE_CONNECTION;
}

/* Enters scratch->reply under the reverse of what leaves for scratch->packet. */
verified_once enum reply_result reply_enter(void)
{
	struct scratch *s = scratch_get();

	if (!s)
		return REPLY_REFUSED;
	bool v4 = packet_is_v4(&s->packet);
	int error;

	tuple_peer(&s->peer, &s->packet.tuple, &s->forward);
	if (reply_awaited(s))
		return REPLY_TAKEN;
	error = flow_insert(&s->peer, &s->reply, v4, BPF_NOEXIST);
	if (!error)
		return REPLY_ENTERED;
	if (error != -ERROR_EXISTS)
		return REPLY_REFUSED;
	SCRATCH_ZERO(&s->taken);
	if (!reply_yields(s))
		return REPLY_TAKEN;
	/* The other direction must not go on sending under a port that is no longer its own. */
	if (s->taken.protocol && !tuple_equal(&s->taken, &s->packet.tuple)) {
		struct weft_flow *loser = flow_find(&s->taken, v4);

		if (loser)
			backend_count_close(loser, NULL);
		flow_delete(&s->taken, v4);
	}
	return flow_insert(&s->peer, &s->reply, v4, BPF_ANY) ? REPLY_REFUSED : REPLY_ENTERED;
}

/* Whether the ports tried are kept from the node's sockets, which no lookup then has to show. A resolver binds UDP
 * ports it chose itself (RFC 5452), reserved or not; who connects by TCP leaves the choice to the kernel. */
inline_always bool ports_are_reserved(const struct scratch *s, const struct weft_config *config)
{
	return (s->forward.flags & WEFT_FLOW_EXTERNAL) && s->pair.protocol == IPPROTO_TCP &&
	       (config->flags & WEFT_CONFIG_LB_PORTS_RESERVED);
}

/* Whether a socket of the node itself would be taken for the flow's: it has the address and port the
 * flow is about to use, towards the same destination or listening for any. */
inline_always bool port_is_the_nodes(struct __sk_buff *skb, struct scratch *s)
{
	struct bpf_sock_tuple *tuple = &s->socket; /* the stack is short here */
	struct bpf_sock *socket;
	__u32 size;

	if (packet_is_v4(&s->packet)) {
		tuple->ipv4.saddr = s->pair.daddr.word[3];
		tuple->ipv4.daddr = s->nat_address.word[3];
		tuple->ipv4.sport = s->pair.dport;
		tuple->ipv4.dport = s->forward.src_port;
		size = sizeof(tuple->ipv4);
	} else {
		__builtin_memcpy(tuple->ipv6.saddr, &s->pair.daddr, 16);
		__builtin_memcpy(tuple->ipv6.daddr, &s->nat_address, 16);
		tuple->ipv6.sport = s->pair.dport;
		tuple->ipv6.dport = s->forward.src_port;
		size = sizeof(tuple->ipv6);
	}
	if (s->pair.protocol == IPPROTO_TCP)
		socket = bpf_skc_lookup_tcp(skb, tuple, size, BPF_F_CURRENT_NETNS, 0);
	else if (s->pair.protocol == IPPROTO_UDP)
		socket = bpf_sk_lookup_udp(skb, tuple, size, BPF_F_CURRENT_NETNS, 0);
	else
		return false;
	if (!socket)
		return false;
	bpf_sk_release(socket);
	return true;
}

/* Counts whose the tried ports are, by majority vote: one pod, or one client outside, must not keep all ports
 * towards a destination for itself. Who has most of them loses the one silent for longest, the asking one
 * itself if it is the one. scratch->taken is the original direction of the flow that has scratch->peer. */
verified_once int port_vote(void)
{
	struct scratch *s = scratch_get();

	if (!s || !s->taken.protocol)
		return 0; /* the node's own */
	if (s->taken_begun && (!s->begun_port || s->taken_seen < s->begun_seen)) {
		s->begun = s->taken;
		s->begun_port = s->forward.src_port;
		s->begun_seen = s->taken_seen;
	}
	if (s->hog_votes && addr_equal(&s->hog.saddr, &s->taken.saddr)) {
		s->hog_votes++;
	} else if (s->hog_votes) {
		s->hog_votes--;
		return 0;
	} else {
		s->hog_votes = 1;
		s->hog_port = 0;
	}
	if (s->taken_movable && (!s->hog_port || s->taken_seen < s->hog_seen)) {
		s->hog = s->taken;
		s->hog_port = s->forward.src_port;
		s->hog_seen = s->taken_seen;
	} else if (!s->hog_port) {
		s->hog = s->taken;
	}
	return 0;
}

/* Takes a port from who had far more of those tried than all others, otherwise from a flow that has only begun. */
verified_once enum weft_drop_reason port_from_hog(void)
{
	struct scratch *s = scratch_get();
	struct weft_flow *loser;

	if (!s)
		return WEFT_DROP_NAT_EXHAUSTED;
	bool v4 = packet_is_v4(&s->packet);

	if (s->hog_votes < NAT_PORT_TRIES / 4 || !s->hog_port) {
		if (!s->begun_port)
			return WEFT_DROP_NAT_EXHAUSTED;
		s->hog = s->begun;
		s->hog_port = s->begun_port;
	}
	s->forward.src_port = s->hog_port;
	tuple_peer(&s->peer, &s->packet.tuple, &s->forward);
	loser = flow_find(&s->hog, v4);
	if (loser)
		backend_count_close(loser, NULL);
	flow_delete(&s->hog, v4);
	if (flow_insert(&s->peer, &s->reply, v4, BPF_ANY))
		return WEFT_DROP_FLOW_TABLE;
	count(WEFT_STAT_NAT_YIELDED);
	return WEFT_DROP_NONE;
}

/* Enters the reply under a source port nobody else uses towards this destination. */
inline_always enum weft_drop_reason reply_enter_translated(struct __sk_buff *skb, struct scratch *s,
							   const struct weft_config *config)
{
	bool outside = s->forward.flags & WEFT_FLOW_EXTERNAL;
	__u32 minimum = outside ? config->lb_port_min : config->nat_port_min;
	__u32 maximum = outside ? config->lb_port_max : config->nat_port_max;
	__u32 range = maximum - minimum + 1;
	__u32 port = bpf_ntohs(s->pair.sport);
	__u8 protocol = s->pair.protocol;
	bool starts_nothing = (protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6) && !port;
	/* SCTP: see decide_service. */
	bool keep_port = protocol == IPPROTO_SCTP;

	if (!range || !minimum || starts_nothing)
		return WEFT_DROP_NAT_EXHAUSTED;
	s->forward.flags |= WEFT_FLOW_SNAT;
	s->forward.src_addr = s->nat_address;
	s->reply.flags |= WEFT_FLOW_DNAT;
	s->reply.dst_addr = s->pair.saddr;
	s->reply.dst_port = s->pair.sport;
	if (!keep_port && (port < minimum || port > maximum))
		port = minimum + bpf_get_prandom_u32() % range;
	s->hog_votes = 0;
	s->begun_port = 0;
	s->ports_reserved = ports_are_reserved(s, config);
	for (int i = 0; i < NAT_PORT_TRIES; i++) {
		s->forward.src_port = bpf_htons(port);
		s->taken.protocol = 0;
		s->taken_movable = false;
		s->taken_begun = false;

		bool own = !s->ports_reserved && port_is_the_nodes(skb, s);
		enum reply_result result = own ? REPLY_TAKEN : reply_enter();

		if (result != REPLY_TAKEN)
			return result == REPLY_ENTERED ? WEFT_DROP_NONE : WEFT_DROP_FLOW_TABLE;
		if (keep_port)
			return WEFT_DROP_NAT_EXHAUSTED;
		port_vote();
		port = minimum + bpf_get_prandom_u32() % range;
	}
	return range < NAT_SHARED_RANGE ? WEFT_DROP_NAT_EXHAUSTED : port_from_hog();
}

/* A connection between pods as it is gets its reply's entry from the reply itself: a SYN+ACK takes
 * the slow path anyway, and a SYN nobody answers takes only one place in the table. */
inline_always bool reply_enters_itself(struct scratch *s)
{
	if (s->forward.exit != WEFT_EXIT_PEER || s->translate_source || (s->forward.flags & WEFT_FLOW_DNAT) ||
	    s->src_node || !tcp_begins(s->packet.tcp_flags))
		return false;
	tuple_reverse(&s->peer, &s->packet.tuple);
	return !flow_find(&s->peer, packet_is_v4(&s->packet));
}

/* Both directions of scratch's decision. `ctx`: any program's that the socket lookup helpers take. */
inline_always enum weft_drop_reason enter_flow(struct __sk_buff *ctx, struct scratch *s, const struct weft_config *config)
{
	bool v4 = packet_is_v4(&s->packet);
	enum weft_drop_reason reason;

	/* What is encapsulated does not come back by here. */
	if (!s->translate_source && !s->forward.encapsulation && !reply_enters_itself(s)) {
		enum reply_result result = reply_enter();

		/* Another flow's replies look the same (one backend, once direct and once through a
		 * service, from one port): they are told apart by a port of our own. */
		if (result == REPLY_TAKEN) {
			s->translate_source = true;
			s->nat_address = s->pair.saddr;
		} else if (result == REPLY_REFUSED) {
			return WEFT_DROP_FLOW_TABLE;
		}
	}
	if (s->translate_source) {
		reason = reply_enter_translated(ctx, s, config);
		if (reason)
			return reason;
	}
	backend_count_mark(&s->forward);
	if (flow_insert(&s->packet.tuple, &s->forward, v4, BPF_ANY)) {
		if (!s->forward.encapsulation)
			flow_delete(&s->peer, v4);
		return WEFT_DROP_FLOW_TABLE;
	}
	return WEFT_DROP_NONE;
}

verified_once enum weft_drop_reason flow_enter(struct __sk_buff *skb, const struct weft_config *config)
{
	struct scratch *s = scratch_get();

	return s && config ? enter_flow(skb, s, config) : WEFT_DROP_FLOW_TABLE;
}

verified_once bool affinity_admit(void)
{
	struct scratch *s = scratch_get();

	if (!s || !s->affinity.service_id)
		return false;
	affinity_remember(&s->affinity, s->forward.backend_id);
	return true;
}

/* The flow of scratch's decision has its entries: it counts for its backend, binds its client and is told. */
inline_always void flow_entered(struct scratch *s, const struct weft_config *config)
{
	/* A reset starts nothing. (The mark as counted goes with the entry.) */
	if (!(s->packet.tcp_flags & TCP_RST)) {
		backend_count_open(s->forward.backend_id);
		affinity_admit();
	}
	count(WEFT_STAT_NEW_FLOW);
	s->context.time = s->forward.created;
	s->context.type = WEFT_EVENT_NEW;
	event_emit(&s->packet.tuple, &s->context, config);
}
