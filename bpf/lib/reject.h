/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Answers instead of silence: a TCP reset (RFC 9293 3.10.7.1), ICMP and ICMPv6 errors (RFC 792, RFC 4443). The
 * packet itself becomes the answer. Packets with IP options or extension headers are dropped without one, but for
 * IPv6 fragments that are too large. */
#pragma once

#include "lib/checksum.h"
#include "lib/decide.h"

#define ICMP_PORT_UNREACHABLE 3 /* code of ICMP_DEST_UNREACH */
#define ICMP_FRAGMENTATION_NEEDED 4
#define ICMPV6_DEST_UNREACH 1
#define ICMPV6_PORT_UNREACHABLE 4 /* code */
#define ICMPV6_PACKET_TOO_BIG 2
#define ANSWER_HOP_LIMIT 64
#define FRAGMENT_HEADER 8 /* bytes; RFC 8200 4.5 */

/* On packets of our own making that pass a pod's device again: they were decided before. A pod cannot set
 * it, marks do not leave a network namespace. */
#define MARK_ANSWER 0x77660a11

/* Verdicts of the slow path's functions that are still to be carried out: chains of calls share one stack. */
enum answer_verdict {
	ANSWER_REJECT = -1,
	ANSWER_RESET = -2,
	ANSWER_TOO_BIG = -3, /* for scratch->answer_mtu */
	ANSWER_ENCAPSULATE = -4, /* no answer: to the backend of scratch->forward */
};

/* Whether the device is to complete the checksum at `offset` (CHECKSUM_PARTIAL): then it holds the sum of the
 * pseudo header alone, and a change of what it covers leaves it as it is. */
inline_always bool checksum_is_partial(struct __sk_buff *skb, __u32 offset)
{
	__u16 before = 0;
	__u16 after = 0;

	bpf_skb_load_bytes(skb, offset, &before, 2);
	bpf_l4_csum_replace(skb, offset, 0, bpf_htons(1), 2);
	bpf_skb_load_bytes(skb, offset, &after, 2);
	bpf_skb_store_bytes(skb, offset, &before, 2, 0);
	return before == after;
}

inline_always void swap_macs(struct __sk_buff *skb)
{
	__u8 macs[18];

	if (bpf_skb_load_bytes(skb, 0, macs, 12))
		return;
	__builtin_memcpy(macs + 12, macs, 6);
	bpf_skb_store_bytes(skb, 0, macs + 6, 12, 0);
}

inline_always bool has_plain_header(const struct packet *packet)
{
	return packet->l4_offset == ETH_HLEN + (packet_is_v4(packet) ? sizeof(struct iphdr) : sizeof(struct ipv6hdr));
}

/* IPv6 with a fragment header, or another of that size, and nothing else before what is transported. */
inline_always bool has_fragment_header(const struct packet *packet)
{
	return !packet_is_v4(packet) &&
	       packet->l4_offset == ETH_HLEN + sizeof(struct ipv6hdr) + FRAGMENT_HEADER;
}

inline_always void header_v4(struct iphdr *ip, __be32 saddr, __be32 daddr, __u8 protocol, __u16 length)
{
	__builtin_memset(ip, 0, sizeof(*ip));
	ip->version = 4;
	ip->ihl = 5;
	ip->tot_len = bpf_htons(length);
	ip->frag_off = bpf_htons(0x4000);
	ip->ttl = ANSWER_HOP_LIMIT;
	ip->protocol = protocol;
	ip->saddr = saddr;
	ip->daddr = daddr;
	ip->check = ~checksum_fold(bpf_csum_diff(NULL, 0, (__be32 *)ip, sizeof(*ip), 0));
}

inline_always void header_v6(struct ipv6hdr *ip, const struct weft_addr *saddr, const struct weft_addr *daddr,
			     __u8 protocol, __u16 payload)
{
	__builtin_memset(ip, 0, sizeof(*ip));
	ip->version = 6;
	ip->payload_len = bpf_htons(payload);
	ip->nexthdr = protocol;
	ip->hop_limit = ANSWER_HOP_LIMIT;
	__builtin_memcpy(&ip->saddr, saddr, 16);
	__builtin_memcpy(&ip->daddr, daddr, 16);
}

inline_always __u64 pseudo_sum(struct pseudo_header *pseudo, const struct weft_addr *saddr,
			       const struct weft_addr *daddr, __u32 length, __u8 protocol)
{
	pseudo->saddr = *saddr;
	pseudo->daddr = *daddr;
	pseudo->length = bpf_htonl(length);
	pseudo->protocol = bpf_htonl(protocol);
	return bpf_csum_diff(NULL, 0, (__be32 *)pseudo, sizeof(*pseudo), 0);
}

/* The IP header of an answer of `payload` bytes in place of the packet's own. */
inline_always long write_header(struct __sk_buff *skb, struct scratch *s, const struct weft_addr *saddr,
				const struct weft_addr *daddr, __u8 protocol, __u32 payload)
{
	struct answer_parts *parts = &s->parts;

	if (packet_is_v4(&s->packet)) {
		header_v4(&parts->network.v4, saddr->word[3], daddr->word[3], protocol, sizeof(struct iphdr) + payload);
		return bpf_skb_store_bytes(skb, ETH_HLEN, &parts->network.v4, sizeof(struct iphdr),
					   BPF_F_RECOMPUTE_CSUM);
	}
	header_v6(&parts->network.v6, saddr, daddr, protocol, payload);
	return bpf_skb_store_bytes(skb, ETH_HLEN, &parts->network.v6, sizeof(struct ipv6hdr), BPF_F_RECOMPUTE_CSUM);
}

/* Network and transport header of a reset in place of the packet's own. */
verified_once int write_reset(struct __sk_buff *skb)
{
	struct scratch *s = scratch_get();

	if (!s)
		return -1;
	const struct weft_flow_key_v6 *tuple = &s->answer;
	struct tcphdr *tcp = &s->parts.transport.tcp;
	__u64 sum = pseudo_sum(&s->parts.pseudo, &tuple->saddr, &tuple->daddr, sizeof(*tcp), IPPROTO_TCP);

	__builtin_memset(tcp, 0, sizeof(*tcp));
	tcp->source = tuple->sport;
	tcp->dest = tuple->dport;
	tcp->seq = s->reset.seq;
	tcp->ack_seq = s->reset.ack;
	tcp->doff = 5;
	tcp->rst = 1;
	tcp->ack = s->reset.has_ack;
	if (s->reset.partial)
		tcp->check = checksum_fold(sum);
	else
		tcp->check = ~checksum_fold(sum + checksum_fold(bpf_csum_diff(NULL, 0, (__be32 *)tcp, sizeof(*tcp), 0)));
	if (write_header(skb, s, &tuple->saddr, &tuple->daddr, IPPROTO_TCP, sizeof(*tcp)))
		return -1;
	return bpf_skb_store_bytes(skb, s->packet.l4_offset, tcp, sizeof(*tcp), BPF_F_RECOMPUTE_CSUM);
}

/* Reads what resets are made of, and cuts the packet to their size. Fills scratch->reset for an answer, and the
 * sequence number of the packet for a reset in its own direction. */
verified_once int prepare_reset(struct __sk_buff *skb)
{
	struct scratch *s = scratch_get();

	if (!s)
		return -1;
	struct tcphdr *tcp = &s->parts.transport.tcp;
	__u32 offset = s->packet.l4_offset;

	if ((s->packet.tcp_flags & TCP_RST) || !has_plain_header(&s->packet) ||
	    bpf_skb_load_bytes(skb, offset, tcp, sizeof(*tcp)))
		return -1;
	s->reset.own_seq = tcp->seq;
	s->reset.has_ack = !tcp->ack;
	s->reset.seq = tcp->ack ? tcp->ack_seq : 0;
	/* the next byte the sender would send */
	s->reset.ack = tcp->ack ? 0 :
				 bpf_htonl(bpf_ntohl(tcp->seq) + s->packet.length - (offset - ETH_HLEN) - tcp->doff * 4 +
					   tcp->syn + tcp->fin);
	s->reset.partial = checksum_is_partial(skb, offset + offsetof(struct tcphdr, check));
	return bpf_skb_change_tail(skb, offset + sizeof(*tcp), 0);
}

/* Bytes of the transport header an ICMP error quotes: at least 8, and up to where the checksum stands, which the
 * kernel does not let be cut off while a device is to complete it. */
inline_always __u32 quoted_transport(__u8 protocol)
{
	return protocol == IPPROTO_TCP ? 20 : protocol == IPPROTO_SCTP ? 12 : 8;
}

struct icmp_error_header {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be32 rest;
};

/* The sum of the quoted packet as it will be once a device has completed its transport checksum: the part
 * that checksum covers, itself included, then sums to the complement of what stands there now. */
inline_always __u64 quoted_sum(struct __sk_buff *skb, struct scratch *s, __u32 quoted)
{
	struct answer_parts *parts = &s->parts;
	__u8 protocol = s->packet.tuple.protocol;
	__u32 check_offset = s->packet.l4_offset + (protocol == IPPROTO_TCP ? 16 : 6);
	__u32 offset = ETH_HLEN + (packet_is_v4(&s->packet) ? sizeof(struct iphdr) : sizeof(struct ipv6hdr));
	__u64 sum;

	/* zeroes do not change a sum */
	SCRATCH_ZERO(&parts->network);
	SCRATCH_ZERO(&parts->transport);
	if (bpf_skb_load_bytes(skb, ETH_HLEN, parts->network.bytes,
			       packet_is_v4(&s->packet) ? sizeof(struct iphdr) : sizeof(struct ipv6hdr)))
		return 0;
	sum = bpf_csum_diff(NULL, 0, (__be32 *)parts->network.bytes, sizeof(parts->network), 0);
	if ((protocol == IPPROTO_TCP || protocol == IPPROTO_UDP) && has_plain_header(&s->packet) &&
	    checksum_is_partial(skb, check_offset)) {
		__u16 held = 0;

		bpf_skb_load_bytes(skb, check_offset, &held, 2);
		return sum + (__u16)~held;
	}
	if (quoted > sizeof(parts->transport) || quoted < 8 ||
	    bpf_skb_load_bytes(skb, offset, parts->transport.bytes, quoted))
		return 0;
	return sum + bpf_csum_diff(NULL, 0, (__be32 *)parts->transport.bytes, sizeof(parts->transport), 0);
}

/* An ICMP error about the packet, from its destination to its source, in place of the packet. */
verified_once int write_icmp_error(struct __sk_buff *skb, __u32 type, __u32 code, __u32 rest)
{
	struct scratch *s = scratch_get();
	struct icmp_error_header icmp = { .type = type, .code = code, .rest = bpf_htonl(rest) };

	if (!s || !(has_plain_header(&s->packet) || has_fragment_header(&s->packet)))
		return -1;
	bool v4 = packet_is_v4(&s->packet);
	/* A fragment's header belongs to what its sender looks at. */
	__u32 quoted = has_plain_header(&s->packet) ? quoted_transport(s->packet.tuple.protocol) : FRAGMENT_HEADER + 8;
	__u32 header = v4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
	__u32 length = sizeof(icmp) + header + quoted;
	__u64 sum;

	if (bpf_skb_change_tail(skb, ETH_HLEN + header + quoted, 0))
		return -1;
	sum = quoted_sum(skb, s, quoted) +
	      checksum_fold(bpf_csum_diff(NULL, 0, (__be32 *)&icmp, sizeof(icmp), 0));
	if (!v4)
		sum += pseudo_sum(&s->parts.pseudo, &s->packet.tuple.daddr, &s->packet.tuple.saddr, length, IPPROTO_ICMPV6);
	icmp.checksum = ~checksum_fold(sum);
	if (bpf_skb_adjust_room(skb, header + sizeof(icmp), BPF_ADJ_ROOM_MAC, 0))
		return -1;
	if (write_header(skb, s, &s->packet.tuple.daddr, &s->packet.tuple.saddr, v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6,
			 length))
		return -1;
	return bpf_skb_store_bytes(skb, ETH_HLEN + header, &icmp, sizeof(icmp), BPF_F_RECOMPUTE_CSUM);
}

/* Back to the node that the packet was taken out of a tunnel of. */
verified_once int answer_by_tunnel(struct __sk_buff *skb)
{
	struct scratch *s = scratch_get();

	if (!s)
		return TC_ACT_SHOT;
	s->pair = s->packet.tuple;
	SCRATCH_ZERO(&s->reply);
	s->reply.src_identity = WEFT_IDENTITY_REMOTE_NODE;
	if (exit_to_node(skb, &s->reply, s->sender_node, WAY_BACK) || s->reply.exit != WEFT_EXIT_TUNNEL)
		return TC_ACT_SHOT;
	return tunnel_send(skb, &s->reply);
}

/* Sends the answer that the packet has become back where the packet came from. */
inline_always int answer_sender(struct __sk_buff *skb, enum weft_event_hook hook)
{
	count(WEFT_STAT_REJECTED);
	if (hook == WEFT_HOOK_FROM_POD)
		return bpf_redirect_peer(skb->ifindex, 0);
	if (hook == WEFT_HOOK_FROM_OVERLAY)
		return answer_by_tunnel(skb);
	swap_macs(skb);
	skb->mark = MARK_ANSWER;
	return bpf_redirect(skb->ifindex, hook_is_ingress(hook) ? 0 : BPF_F_INGRESS);
}

/* Turns the sender of scratch->packet away: nobody listens there. */
inline_always int reject(struct __sk_buff *skb)
{
	struct scratch *s = scratch_get();
	int failed;

	if (!s || !s->packet.l4_offset)
		return TC_ACT_SHOT;
	bool v4 = packet_is_v4(&s->packet);

	switch (s->packet.tuple.protocol) {
	case IPPROTO_TCP:
		if (prepare_reset(skb))
			return TC_ACT_SHOT;
		tuple_reverse(&s->answer, &s->packet.tuple);
		failed = write_reset(skb);
		break;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return TC_ACT_SHOT;
	default:
		failed = v4 ? write_icmp_error(skb, ICMP_DEST_UNREACH, ICMP_PORT_UNREACHABLE, 0) :
			      write_icmp_error(skb, ICMPV6_DEST_UNREACH, ICMPV6_PORT_UNREACHABLE, 0);
	}
	return failed ? TC_ACT_SHOT : answer_sender(skb, s->context.hook);
}

/* A copy of the packet comes in once more by its device, which does not ask for the path again. */
inline_always bool pass_copy(struct __sk_buff *skb)
{
	long failed;

	skb->mark = MARK_TOLD;
	failed = bpf_clone_redirect(skb, skb->ifindex, BPF_F_INGRESS);
	skb->mark = 0;
	return !failed;
}

/* The packet does not fit where it goes. */
inline_always int answer_too_big(struct __sk_buff *skb)
{
	struct scratch *s = scratch_get();
	int failed;

	if (!s || !s->passes || !pass_copy(skb))
		count_drop(WEFT_DROP_TOO_BIG, skb->len);
	if (!s || !s->packet.l4_offset)
		return TC_ACT_SHOT;
	failed = packet_is_v4(&s->packet) ?
			 write_icmp_error(skb, ICMP_DEST_UNREACH, ICMP_FRAGMENTATION_NEEDED, s->answer_mtu) :
			 write_icmp_error(skb, ICMPV6_PACKET_TOO_BIG, 0, s->answer_mtu);
	if (failed)
		return TC_ACT_SHOT;
	count(WEFT_STAT_TOO_BIG_SENT);
	return answer_sender(skb, s->context.hook);
}

/* Ends the connection of scratch->packet, whose entry was scratch->forward, towards both its ends. */
inline_always int reset_both(struct __sk_buff *skb)
{
	struct scratch *s = scratch_get();

	if (!s || prepare_reset(skb))
		return TC_ACT_SHOT;
	enum weft_event_hook hook = s->context.hook;

	tuple_reverse(&s->answer, &s->packet.tuple);
	if (write_reset(skb))
		return TC_ACT_SHOT;
	/* of what came by a tunnel only the receiver is told: a copy has no way back */
	skb->mark = MARK_ANSWER;
	swap_macs(skb);
	if (hook != WEFT_HOOK_FROM_OVERLAY) {
		bpf_clone_redirect(skb, skb->ifindex, hook_is_ingress(hook) ? 0 : BPF_F_INGRESS);
		count(WEFT_STAT_REJECTED);
	}
	skb->mark = 0;
	swap_macs(skb);
	if (s->forward.encapsulation)
		return TC_ACT_SHOT;
	s->reset.seq = s->reset.own_seq;
	s->reset.ack = 0;
	s->reset.has_ack = 0;
	tuple_rewrite(&s->answer, &s->packet.tuple, &s->forward);
	if (write_reset(skb))
		return TC_ACT_SHOT;
	if (enters_tunnel(&s->forward, hook))
		return tunnel_send(skb, &s->forward);
	if (!hook_is_ingress(hook))
		return TC_ACT_OK;
	switch (s->forward.exit) {
	case WEFT_EXIT_PEER:
		return bpf_redirect_peer(s->forward.out_ifindex, 0);
	case WEFT_EXIT_NEIGH:
		return bpf_redirect_neigh(s->forward.out_ifindex, NULL, 0, 0);
	default:
		return TC_ACT_OK;
	}
}

verified_once int answer(struct __sk_buff *skb, int verdict)
{
	switch (verdict) {
	case ANSWER_REJECT:
		return reject(skb);
	case ANSWER_RESET:
		return reset_both(skb);
	case ANSWER_TOO_BIG:
		return answer_too_big(skb);
	default:
		return TC_ACT_SHOT;
	}
}
