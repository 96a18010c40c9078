/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Address and port translation. Every write goes through bpf_skb_store_bytes: a program that writes
 * packets directly gets a prologue that unclones each TCP packet, rewritten or not. */
#pragma once

#include "lib/checksum.h"
#include "lib/flow.h"

#define CSUM_NONE 0xffff /* the protocol's checksum is not touched (SCTP: no pseudo header, CRC covers ports) */

inline_always __u32 l4_checksum_offset(__u8 protocol)
{
	switch (protocol) {
	case IPPROTO_TCP:
		return offsetof(struct tcphdr, check);
	case IPPROTO_UDP:
		return offsetof(struct udphdr, check);
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return 2;
	default:
		return CSUM_NONE;
	}
}

inline_always __u64 l4_checksum_flags(__u8 protocol)
{
	return protocol == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;
}

/* Replaces one address of the IP header at `ip_offset`; no checksum above IP is touched. */
inline_always long store_address(struct __sk_buff *skb, __u32 ip_offset, bool v4, bool source, const struct weft_addr *old,
				 const struct weft_addr *new)
{
	if (v4) {
		__u32 offset = ip_offset + (source ? offsetof(struct iphdr, saddr) : offsetof(struct iphdr, daddr));

		if (bpf_l3_csum_replace(skb, ip_offset + offsetof(struct iphdr, check), old->word[3], new->word[3], 4))
			return -1;
		return bpf_skb_store_bytes(skb, offset, &new->word[3], 4, 0);
	}
	__u32 offset = ip_offset + (source ? offsetof(struct ipv6hdr, saddr) : offsetof(struct ipv6hdr, daddr));

	return bpf_skb_store_bytes(skb, offset, new, 16, 0);
}

/* Puts `addr`, `port` in place of the packet's source or destination, checksums included.
 * l4_offset 0: a later fragment, only the address is there. */
inline_always long rewrite_end(struct __sk_buff *skb, bool v4, bool source, __u8 protocol, __u32 l4_offset,
			       const struct weft_addr *old_addr, const struct weft_addr *new_addr, __be16 old_port,
			       __be16 new_port)
{
	__u32 checksum = l4_checksum_offset(protocol);
	__u64 flags = l4_checksum_flags(protocol);
	bool icmp = protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6;

	if (store_address(skb, ETH_HLEN, v4, source, old_addr, new_addr))
		return -1;
	if (!l4_offset)
		return 0;
	if (checksum != CSUM_NONE && protocol != IPPROTO_ICMP) {
		__u64 difference;

		if (v4) {
			if (bpf_l4_csum_replace(skb, l4_offset + checksum, old_addr->word[3], new_addr->word[3],
						flags | BPF_F_PSEUDO_HDR | 4))
				return -1;
		} else {
			difference = bpf_csum_diff((__be32 *)old_addr, 16, (__be32 *)new_addr, 16, 0);
			if (bpf_l4_csum_replace(skb, l4_offset + checksum, 0, difference, flags | BPF_F_PSEUDO_HDR))
				return -1;
		}
	}
	if (old_port == new_port)
		return 0;
	/* ICMP echo: the identifier stands at byte 4, whichever side it counts for. */
	__u32 port_offset = l4_offset + (icmp ? 4 : source ? 0 : 2);

	if (checksum != CSUM_NONE && bpf_l4_csum_replace(skb, l4_offset + checksum, old_port, new_port, flags | 2))
		return -1;
	return bpf_skb_store_bytes(skb, port_offset, &new_port, 2, 0);
}

/* A difference of sums as the kernel's helpers take it. */
inline_always __u32 checksum_difference(__u64 difference)
{
	difference = (difference & 0xffffffff) + (difference >> 32);
	return (difference & 0xffffffff) + (difference >> 32);
}

/* An IPv4 header from its TTL on (RFC 791 3.1), written in one call: a call costs more than the bytes. */
struct header_tail_v4 {
	__u8 ttl;
	__u8 protocol;
	__sum16 check;
	__be32 saddr;
	__be32 daddr;
};

inline_always long store_header_v4(struct __sk_buff *skb, const struct weft_flow *flow, __u64 difference, bool hop)
{
	const __u32 offset = ETH_HLEN + offsetof(struct iphdr, ttl);
	const struct header_tail_v4 *there = (void *)(long)skb->data + offset;
	struct header_tail_v4 tail;

	if ((const void *)(there + 1) <= (const void *)(long)skb->data_end)
		tail = *there;
	else if (bpf_skb_load_bytes(skb, offset, &tail, sizeof(tail)))
		return -1;
	if (hop) {
		/* The TTL is the high byte of the word the checksum sums. */
		difference += CHECKSUM_ZERO - bpf_htons(1 << 8);
		tail.ttl--;
	}
	if (flow->flags & WEFT_FLOW_DNAT)
		tail.daddr = flow->dst_addr.word[3];
	if (flow->flags & WEFT_FLOW_SNAT)
		tail.saddr = flow->src_addr.word[3];
	tail.check = checksum_update(tail.check, difference);
	return bpf_skb_store_bytes(skb, offset, &tail, sizeof(tail), 0);
}

inline_always long store_header_v6(struct __sk_buff *skb, const struct weft_flow *flow, __u8 hop_limit, bool hop)
{
	if ((flow->flags & WEFT_FLOW_DNAT) &&
	    bpf_skb_store_bytes(skb, ETH_HLEN + offsetof(struct ipv6hdr, daddr), &flow->dst_addr, 16, 0))
		return -1;
	if ((flow->flags & WEFT_FLOW_SNAT) &&
	    bpf_skb_store_bytes(skb, ETH_HLEN + offsetof(struct ipv6hdr, saddr), &flow->src_addr, 16, 0))
		return -1;
	if (!hop)
		return 0;
	hop_limit--;
	return bpf_skb_store_bytes(skb, ETH_HLEN + offsetof(struct ipv6hdr, hop_limit), &hop_limit, 1, 0);
}

/* The transport header after addresses changed by `addresses` (a difference of sums) and ports to those given. */
inline_always long rewrite_transport(struct __sk_buff *skb, const struct weft_flow_key_v6 *tuple, __u32 l4_offset,
				     __u64 addresses, __be16 sport, __be16 dport)
{
	__u32 checksum = l4_checksum_offset(tuple->protocol);
	__u64 flags = l4_checksum_flags(tuple->protocol);
	__u64 ports = 2 * CHECKSUM_ZERO + sport + dport - tuple->sport - tuple->dport;
	__be16 pair[2] = { sport, dport };

	if (checksum != CSUM_NONE && tuple->protocol != IPPROTO_ICMP &&
	    bpf_l4_csum_replace(skb, l4_offset + checksum, 0, checksum_difference(addresses), flags | BPF_F_PSEUDO_HDR))
		return -1;
	if (sport == tuple->sport && dport == tuple->dport)
		return 0;
	if (checksum != CSUM_NONE && bpf_l4_csum_replace(skb, l4_offset + checksum, 0, checksum_difference(ports), flags))
		return -1;
	/* ICMP echo: the identifier stands at byte 4, whichever side it counts for. */
	if (tuple->protocol == IPPROTO_ICMP || tuple->protocol == IPPROTO_ICMPV6)
		return bpf_skb_store_bytes(skb, l4_offset + 4, sport == tuple->sport ? &pair[1] : &pair[0], 2, 0);
	return bpf_skb_store_bytes(skb, l4_offset, pair, sizeof(pair), 0);
}

/* Applies the flow's translation to a packet with this tuple, and with `hop` takes one from its hop limit, which
 * the caller has seen to be above 1. */
inline_always long rewrite_packet(struct __sk_buff *skb, bool v4, const struct weft_flow *flow,
				  const struct weft_flow_key_v6 *tuple, __u32 l4_offset, __u8 hop_limit, bool hop)
{
	__be16 sport = tuple->sport, dport = tuple->dport;
	__u64 difference = 8 * CHECKSUM_ZERO;

	if (flow->flags & WEFT_FLOW_DNAT) {
		dport = flow->dst_port;
		difference += v4 ? (__u64)flow->dst_addr.word[3] - tuple->daddr.word[3] :
				   checksum_words(&flow->dst_addr) - checksum_words(&tuple->daddr);
	}
	if (flow->flags & WEFT_FLOW_SNAT) {
		sport = flow->src_port;
		difference += v4 ? (__u64)flow->src_addr.word[3] - tuple->saddr.word[3] :
				   checksum_words(&flow->src_addr) - checksum_words(&tuple->saddr);
	}
	if (v4 ? store_header_v4(skb, flow, difference, hop) : store_header_v6(skb, flow, hop_limit, hop))
		return -1;
	if (!l4_offset || !(flow->flags & (WEFT_FLOW_DNAT | WEFT_FLOW_SNAT)))
		return 0;
	return rewrite_transport(skb, tuple, l4_offset, difference, sport, dport);
}

/* One router hop. The caller has seen that the value is above 1. */
inline_always long decrement_hop_limit(struct __sk_buff *skb, bool v4, __u8 hop_limit)
{
	__u8 next = hop_limit - 1;

	if (v4) {
		/* ttl is the high byte of the 16-bit word the checksum sums */
		if (bpf_l3_csum_replace(skb, ETH_HLEN + offsetof(struct iphdr, check), bpf_htons(hop_limit << 8),
					bpf_htons(next << 8), 2))
			return -1;
		return bpf_skb_store_bytes(skb, ETH_HLEN + offsetof(struct iphdr, ttl), &next, 1, 0);
	}
	return bpf_skb_store_bytes(skb, ETH_HLEN + offsetof(struct ipv6hdr, hop_limit), &next, 1, 0);
}
