/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Takes clients' packets out of other nodes' at an uplink, where XDP did not: also fragments, and those with options
 * of IPv4 or extension headers. */
#pragma once

#include "lib/encapsulate_named.h"
#include "lib/fragment.h"
#include "lib/new_flow.h"

#define TAKE_PLAIN (-1) /* nothing inside that is ours */
#define TAKE_TAKEN (-2) /* go on with what was inside */

/* What an IP header says of its packet's length, 0: nothing that can be. A packet of segments over 64 KiB says
 * nothing, and is as long as its buffer. */
inline_always __u32 take_length(struct __sk_buff *skb, __u32 offset, bool v4)
{
	__u32 header = v4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
	__u32 length;
	__u8 start[6];

	if (skb->len < offset + header || bpf_skb_load_bytes(skb, offset, start, sizeof(start)) ||
	    start[0] >> 4 != (v4 ? 4 : 6))
		return 0;
	length = v4 ? bpf_ntohs(*(__be16 *)&start[2]) : bpf_ntohs(*(__be16 *)&start[4]);
	if (!length)
		return skb->gso_size ? skb->len - offset : 0;
	if (!v4)
		length += header;
	return length < header || length > skb->len - offset ? 0 : length;
}

/* Geneve of ours in the IP packet whose `length` bytes from `offset` on these are. */
inline_always bool take_read_geneve(struct __sk_buff *skb, struct scratch *s, __u32 offset, __u32 length, bool v4)
{
	struct {
		struct udphdr udp;
		struct geneve_header geneve;
	} header;

	if (length < sizeof(header) || bpf_skb_load_bytes(skb, offset, &header, sizeof(header)) ||
	    header.udp.dest != bpf_htons(WEFT_GENEVE_PORT) || !geneve_is_ours(&header.geneve, v4) ||
	    (bpf_ntohs(header.udp.len) != length && length <= 0xffff))
		return false;
	s->named_addr = header.geneve.addr;
	s->named_port = header.geneve.port;
	s->named_by = WEFT_ENCAPSULATION_GENEVE;
	return true;
}

/* Fills scratch->outer_source and named_*; the outer packet's bytes after the header, 0: it holds none of ours. */
inline_always __u32 take_read_ip(struct __sk_buff *skb, struct scratch *s, bool v4, __u8 *protocol)
{
	__u8 bytes[sizeof(struct ipv6hdr)];
	__u32 length = take_length(skb, ETH_HLEN, v4);

	if (!length)
		return 0;
	if (v4) {
		struct iphdr *ip = (void *)bytes;

		if (bpf_skb_load_bytes(skb, ETH_HLEN, ip, sizeof(*ip)) || bytes[0] != 0x45 ||
		    (ip->frag_off & bpf_htons(IP_MORE_FRAGMENTS | IP_FRAGMENT_OFFSET)))
			return 0;
		addr_from_v4(&s->outer_source, ip->saddr);
		addr_from_v4(&s->named_addr, ip->daddr);
		*protocol = ip->protocol;
		return length - sizeof(*ip);
	}
	struct ipv6hdr *ip = (void *)bytes;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, ip, sizeof(*ip)))
		return 0;
	__builtin_memcpy(&s->outer_source, &ip->saddr, 16);
	__builtin_memcpy(&s->named_addr, &ip->daddr, 16);
	*protocol = ip->nexthdr;
	return length - sizeof(*ip);
}

/* The bytes before the packet inside; 0: none of ours, or none that fits. */
inline_always __u32 take_read_outer(struct __sk_buff *skb, struct scratch *s, bool v4)
{
	__u32 strip = v4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
	__u8 protocol = 0;
	__u32 room = take_read_ip(skb, s, v4, &protocol);
	__u32 length;

	if (!room || (protocol != (v4 ? IPPROTO_IPIP : IPPROTO_IPV6) && protocol != IPPROTO_UDP))
		return 0;
	s->named_by = WEFT_ENCAPSULATION_IPIP;
	s->named_port = 0;
	/* to the node or a pod here; IP in IP has the backend there */
	if (!endpoint_find(&s->named_addr))
		return 0;
	if (protocol == IPPROTO_UDP) {
		if (!take_read_geneve(skb, s, ETH_HLEN + strip, room, v4))
			return 0;
		strip += UDP_GENEVE;
		room -= UDP_GENEVE;
	}
	length = take_length(skb, ETH_HLEN + strip, v4);
	return length && length <= room && is_balancer(&s->outer_source) ? strip : 0;
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
	s->named_by = WEFT_ENCAPSULATION_OPTION;
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
	if (reason || s->packet.tuple.protocol == IPPROTO_ICMP || s->packet.tuple.protocol == IPPROTO_ICMPV6)
		return drop(skb, WEFT_DROP_ENCAPSULATION);
	context_reset(s, config, WEFT_HOOK_FROM_DEVICE, skb->ifindex);
	s->context.direction = WEFT_INGRESS;
	decision_reset(s, WEFT_FLOW_EXTERNAL);
	if (s->packet.flags & (PACKET_FRAGMENT | PACKET_LATER_FRAGMENT))
		reason = fragment_ports(&s->packet);
	if (!reason)
		reason = named_decide(config);
	if (reason == NAMED_KNOWN)
		return TAKE_TAKEN;
	if (reason)
		return refuse(skb, s, config, reason);
	dst = endpoint_find(&s->pair.daddr);
	reason = decide_exit_external(skb, dst, config);
	if (reason)
		return refuse(skb, s, config, reason);
	decision_stamp(s);
	reason = flow_enter(skb, config);
	if (reason)
		return refuse(skb, s, config, reason);
	flow_entered(s, config);
	return TAKE_TAKEN;
}
