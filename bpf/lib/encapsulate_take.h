/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Takes clients' packets out of other nodes' at an uplink, where XDP did not. Before Linux 6.3 tc cannot change a
 * packet's family on the way: one of IPv4 in IPv6, or the reverse, stays as it is. */
#pragma once

#include "lib/encapsulate_named.h"
#include "lib/new_flow.h"

#define TAKE_PLAIN (-1) /* nothing inside that is ours */
#define TAKE_TAKEN (-2) /* go on with what was inside */

inline_always bool take_read_geneve(struct __sk_buff *skb, struct scratch *s, __u32 offset, bool v4)
{
	struct {
		struct udphdr udp;
		struct geneve_header geneve;
	} header;

	if (bpf_skb_load_bytes(skb, offset, &header, sizeof(header)) ||
	    header.udp.dest != bpf_htons(WEFT_GENEVE_PORT) || !geneve_is_ours(&header.geneve) ||
	    header.geneve.protocol != (v4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6)))
		return false;
	s->named_addr = header.geneve.addr;
	s->named_port = header.geneve.port;
	return true;
}

/* The bytes before the packet inside, and scratch->named_*; 0: none. */
inline_always __u32 take_read_outer(struct __sk_buff *skb, struct scratch *s, bool v4)
{
	__u8 bytes[sizeof(struct ipv6hdr)];
	__u32 length = v4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
	__u8 protocol;

	s->named_port = 0;
	if (v4) {
		struct iphdr *ip = (void *)bytes;

		if (bpf_skb_load_bytes(skb, ETH_HLEN, ip, sizeof(*ip)) || bytes[0] != 0x45 ||
		    (ip->frag_off & bpf_htons(IP_MORE_FRAGMENTS | IP_FRAGMENT_OFFSET)))
			return 0;
		addr_from_v4(&s->named_addr, ip->daddr);
		protocol = ip->protocol;
	} else {
		struct ipv6hdr *ip = (void *)bytes;

		if (bpf_skb_load_bytes(skb, ETH_HLEN, ip, sizeof(*ip)))
			return 0;
		__builtin_memcpy(&s->named_addr, &ip->daddr, 16);
		protocol = ip->nexthdr;
	}
	if (protocol != (v4 ? IPPROTO_IPIP : IPPROTO_IPV6) && protocol != IPPROTO_UDP)
		return 0;
	if (!endpoint_find(&s->named_addr))
		return 0;
	if (protocol != IPPROTO_UDP)
		return length;
	return take_read_geneve(skb, s, ETH_HLEN + length, v4) ? length + UDP_GENEVE : 0;
}

/* A packet to a backend here whose frontend is an option: written as the client sent it. 1: done. */
inline_always long take_option(struct __sk_buff *skb, struct scratch *s)
{
	struct {
		struct iphdr ip;
		struct frontend_option option;
	} header;
	struct weft_addr frontend;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &header, sizeof(header)) || *(__u8 *)&header != 0x47 ||
	    header.option.type != WEFT_IP_OPTION_FRONTEND || header.option.length != sizeof(header.option))
		return 0;
	SCRATCH_ZERO(&s->packet);
	if (parse_v4(skb, &s->packet) || (s->packet.flags & (PACKET_FRAGMENT | PACKET_LATER_FRAGMENT)) ||
	    (s->packet.tuple.protocol != IPPROTO_TCP && s->packet.tuple.protocol != IPPROTO_UDP) ||
	    !endpoint_find(&s->packet.tuple.daddr))
		return 0;
	s->named_addr = s->packet.tuple.daddr;
	s->named_port = s->packet.tuple.dport;
	addr_from_v4(&frontend, header.option.addr);
	if (rewrite_end(skb, true, false, s->packet.tuple.protocol, s->packet.l4_offset, &s->named_addr, &frontend,
			s->named_port, header.option.port) ||
	    bpf_skb_load_bytes(skb, ETH_HLEN, &header.ip, sizeof(header.ip)) ||
	    bpf_skb_adjust_room(skb, -(int)sizeof(header.option), BPF_ADJ_ROOM_NET, BPF_F_ADJ_ROOM_FIXED_GSO))
		return -1;
	header.ip.ihl = 5;
	header.ip.tot_len = bpf_htons(bpf_ntohs(header.ip.tot_len) - sizeof(header.option));
	header.ip.check = 0;
	header.ip.check = ~checksum_fold(bpf_csum_diff(NULL, 0, (__be32 *)&header.ip, sizeof(header.ip), 0));
	return bpf_skb_store_bytes(skb, ETH_HLEN, &header.ip, sizeof(header.ip), 0) ? -1 : 1;
}

/* Takes the packet out; a verdict, TAKE_PLAIN or TAKE_TAKEN. */
verified_once int take_out(struct __sk_buff *skb)
{
	struct scratch *s = scratch_get();
	bool v4 = skb->protocol == bpf_htons(ETH_P_IP);
	__u32 strip;
	long taken = 1;

	if (!s || (!v4 && skb->protocol != bpf_htons(ETH_P_IPV6)))
		return TAKE_PLAIN;
	strip = take_read_outer(skb, s, v4);
	if (strip)
		taken = bpf_skb_adjust_room(skb, -(int)strip, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO) ? -1 : 1;
	else
		taken = v4 ? take_option(skb, s) : 0;
	if (!taken)
		return TAKE_PLAIN;
	if (taken < 0)
		return drop(skb, WEFT_DROP_ENCAPSULATION);
	count(WEFT_STAT_DECAPSULATED);
	return TAKE_TAKEN;
}

/* The flow of the packet that was taken out, if it has none that leads to a backend here. As take_out. */
verified_once int take_admit(struct __sk_buff *skb, const struct weft_config *config)
{
	struct scratch *s = scratch_get();
	const struct weft_endpoint *dst;
	enum weft_drop_reason reason;
	bool v4 = skb->protocol == bpf_htons(ETH_P_IP);

	if (!s || !config)
		return TC_ACT_SHOT;
	SCRATCH_ZERO(&s->packet);
	reason = v4 ? parse_v4(skb, &s->packet) : parse_v6(skb, &s->packet);
	if (reason || (s->packet.tuple.protocol != IPPROTO_TCP && s->packet.tuple.protocol != IPPROTO_UDP) ||
	    (s->packet.flags & PACKET_LATER_FRAGMENT))
		return TAKE_TAKEN;
	s->epoch = config->epoch;
	SCRATCH_ZERO(&s->context);
	s->context.hook = WEFT_HOOK_FROM_DEVICE;
	s->context.ifindex = skb->ifindex;
	s->context.tcp_flags = s->packet.tcp_flags;
	s->context.direction = WEFT_INGRESS;
	if (endpoint_find(&s->packet.tuple.saddr))
		return refuse(skb, s, config, WEFT_DROP_SPOOFED_SOURCE);
	if (named_flow_known(s, flow_find(&s->packet.tuple, v4)))
		return TAKE_TAKEN;
	SCRATCH_ZERO(&s->forward);
	SCRATCH_ZERO(&s->reply);
	s->pair = s->packet.tuple;
	s->translate_source = false;
	s->forward.flags = WEFT_FLOW_EXTERNAL;
	s->reply.flags = WEFT_FLOW_EXTERNAL | WEFT_FLOW_REPLY;
	if ((s->packet.tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN) {
		s->forward.flags |= WEFT_FLOW_OPENING;
		s->reply.flags |= WEFT_FLOW_OPENING;
	}
	/* A reset starts nothing. */
	reason = s->packet.tcp_flags & TCP_RST ? WEFT_DROP_ENCAPSULATION : named_decide(config);
	if (reason)
		return refuse(skb, s, config, reason);
	dst = endpoint_find(&s->pair.daddr);
	reason = decide_exit_external(skb, dst, config);
	if (reason)
		return refuse(skb, s, config, reason);
	flow_stamp(&s->forward, s);
	s->forward.created = bpf_ktime_get_ns();
	s->forward.last_seen = bpf_jiffies64();
	flow_stamp(&s->reply, s);
	s->reply.created = s->forward.created;
	s->reply.last_seen = s->forward.last_seen;
	reason = flow_enter(skb, config);
	if (reason)
		return refuse(skb, s, config, reason);
	backend_count_open(s->forward.backend_id);
	count(WEFT_STAT_NEW_FLOW);
	s->context.time = s->forward.created;
	s->context.type = WEFT_EVENT_NEW;
	event_emit(&s->packet.tuple, &s->context, config);
	return TAKE_TAKEN;
}
