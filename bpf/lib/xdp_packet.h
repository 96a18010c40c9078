/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What XDP carries: Ethernet, IPv4 without options or IPv6 without extension headers, whole TCP segments and UDP
 * datagrams. Everything else is tc's. Packets are read and written directly. */
#pragma once

#include "lib/checksum.h"
#include "lib/flow.h"

/* Where the parts of a packet are, between two calls that may move them. */
struct xdp_view {
	void *data;
	void *end;
	void *ip;
	__u8 *l4;
	__u32 length; /* L3 bytes */
	__u8 protocol;
	__u8 hop_limit;
};

#define XDP_L4_MINIMUM(protocol) ((protocol) == IPPROTO_TCP ? sizeof(struct tcphdr) : sizeof(struct udphdr))

/* Whether the buffer holds all that the IP header at view->ip speaks of. */
inline_always bool xdp_is_whole(const struct xdp_view *view)
{
	return view->length <= (__u32)(view->end - view->ip);
}

/* The IP packet at `offset`, by what it says itself of its length. False: not for XDP. */
inline_always bool xdp_parse_v4_at(struct xdp_md *ctx, struct xdp_view *view, __u32 offset)
{
	view->data = (void *)(long)ctx->data;
	view->end = (void *)(long)ctx->data_end;
	struct iphdr *ip = view->data + offset;

	view->ip = ip;
	view->l4 = (void *)(ip + 1);
	if ((void *)(view->l4 + sizeof(struct udphdr)) > view->end)
		return false;
	if (*(__u8 *)ip != 0x45 || (ip->frag_off & bpf_htons(IP_MORE_FRAGMENTS | IP_FRAGMENT_OFFSET)))
		return false;
	view->protocol = ip->protocol;
	view->hop_limit = ip->ttl;
	view->length = bpf_ntohs(ip->tot_len);
	if (!xdp_is_whole(view))
		return false;
	if (view->protocol == IPPROTO_TCP)
		return (void *)(view->l4 + sizeof(struct tcphdr)) <= view->end && view->length >= 40;
	return view->protocol == IPPROTO_UDP && view->length >= 28;
}

inline_always bool xdp_parse_v6_at(struct xdp_md *ctx, struct xdp_view *view, __u32 offset)
{
	view->data = (void *)(long)ctx->data;
	view->end = (void *)(long)ctx->data_end;
	struct ipv6hdr *ip = view->data + offset;

	view->ip = ip;
	view->l4 = (void *)(ip + 1);
	if ((void *)(view->l4 + sizeof(struct udphdr)) > view->end || ip->version != 6)
		return false;
	view->protocol = ip->nexthdr;
	view->hop_limit = ip->hop_limit;
	view->length = bpf_ntohs(ip->payload_len) + sizeof(*ip);
	if (!xdp_is_whole(view))
		return false;
	if (view->protocol == IPPROTO_TCP)
		return (void *)(view->l4 + sizeof(struct tcphdr)) <= view->end && view->length >= 60;
	return view->protocol == IPPROTO_UDP && view->length >= 48;
}

inline_always bool xdp_parse_at(struct xdp_md *ctx, struct xdp_view *view, __u32 offset, bool v4)
{
	return v4 ? xdp_parse_v4_at(ctx, view, offset) : xdp_parse_v6_at(ctx, view, offset);
}

inline_always bool xdp_parse_v4(struct xdp_md *ctx, struct xdp_view *view)
{
	return xdp_parse_v4_at(ctx, view, ETH_HLEN);
}

inline_always bool xdp_parse_v6(struct xdp_md *ctx, struct xdp_view *view)
{
	return xdp_parse_v6_at(ctx, view, ETH_HLEN);
}

inline_always bool xdp_parse(struct xdp_md *ctx, struct xdp_view *view, bool v4)
{
	return xdp_parse_at(ctx, view, ETH_HLEN, v4);
}

inline_always bool xdp_is_v4(struct xdp_md *ctx)
{
	struct ethhdr *ethernet = (void *)(long)ctx->data;

	return (void *)(ethernet + 1) <= (void *)(long)ctx->data_end && ethernet->h_proto == bpf_htons(ETH_P_IP);
}

inline_always void xdp_view_tuple(struct weft_flow_key_v6 *tuple, const struct xdp_view *view, bool v4)
{
	const __be16 *ports = (const void *)view->l4;

	if (v4) {
		const struct iphdr *ip = view->ip;

		addr_from_v4(&tuple->saddr, ip->saddr);
		addr_from_v4(&tuple->daddr, ip->daddr);
	} else {
		const struct ipv6hdr *ip = view->ip;

		__builtin_memcpy(&tuple->saddr, &ip->saddr, 16);
		__builtin_memcpy(&tuple->daddr, &ip->daddr, 16);
	}
	tuple->sport = ports[0];
	tuple->dport = ports[1];
	tuple->protocol = view->protocol;
	__builtin_memset(tuple->pad, 0, sizeof(tuple->pad));
}

/* The packet's tuple; false when XDP does not carry such. */
inline_always bool xdp_tuple(struct xdp_md *ctx, struct weft_flow_key_v6 *tuple)
{
	bool v4 = xdp_is_v4(ctx);
	struct xdp_view view;

	if (!xdp_parse(ctx, &view, v4))
		return false;
	xdp_view_tuple(tuple, &view, v4);
	return true;
}

inline_always __u16 *xdp_l4_checksum(const struct xdp_view *view)
{
	return (void *)(view->l4 + (view->protocol == IPPROTO_TCP ? offsetof(struct tcphdr, check) :
								    offsetof(struct udphdr, check)));
}

/* The addresses in the packet, as the transport checksum sums them. */
inline_always __u64 xdp_address_sum(const struct xdp_view *view, bool v4)
{
	if (v4) {
		const struct iphdr *ip = view->ip;

		return (__u64)ip->saddr + ip->daddr;
	}
	const struct ipv6hdr *ip = view->ip;
	const struct weft_addr *addrs = (const void *)&ip->saddr;

	return checksum_words(&addrs[0]) + checksum_words(&addrs[1]);
}

/* Whether a device was to complete the transport checksum (veth, or segments merged before generic XDP): then it
 * holds the sum of the pseudo header, and would not be completed on the way XDP sends the packet. One right
 * checksum in 65,536 looks the same and costs its packet the way by tc. */
inline_always bool xdp_checksum_is_partial(const struct xdp_view *view, __u64 address_sum, bool v4)
{
	__u16 length = view->length - (v4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr));

	return *xdp_l4_checksum(view) == checksum_fold(address_sum + bpf_htons(length) + bpf_htons(view->protocol));
}

/* Applies a flow's rewrite and one router hop. `address_sum` as before the rewrite. */
inline_always void xdp_rewrite(const struct xdp_view *view, const struct weft_flow *flow, __u64 address_sum, bool v4)
{
	__u16 *check = xdp_l4_checksum(view);
	__be16 *ports = (void *)view->l4;
	__u64 address_change;
	__u64 change;
	__u32 old_ports = *(__u32 *)ports;

	if (v4) {
		struct iphdr *ip = view->ip;

		if (flow->flags & WEFT_FLOW_DNAT)
			ip->daddr = flow->dst_addr.word[3];
		if (flow->flags & WEFT_FLOW_SNAT)
			ip->saddr = flow->src_addr.word[3];
		address_change = xdp_address_sum(view, true) + 2 * CHECKSUM_ZERO - address_sum;
		ip->ttl -= 1;
		/* the hop limit is the high byte of its word: less 0x0100 */
		ip->check = checksum_update(ip->check, address_change + bpf_htons(0xfeff));
	} else {
		struct ipv6hdr *ip = view->ip;

		if (flow->flags & WEFT_FLOW_DNAT)
			__builtin_memcpy(&ip->daddr, &flow->dst_addr, 16);
		if (flow->flags & WEFT_FLOW_SNAT)
			__builtin_memcpy(&ip->saddr, &flow->src_addr, 16);
		address_change = xdp_address_sum(view, false) + 8 * CHECKSUM_ZERO - address_sum;
		ip->hop_limit -= 1;
	}
	if (flow->flags & WEFT_FLOW_SNAT)
		ports[0] = flow->src_port;
	if (flow->flags & WEFT_FLOW_DNAT)
		ports[1] = flow->dst_port;
	/* a datagram without a checksum stays without */
	if (view->protocol == IPPROTO_UDP && !*check)
		return;
	change = address_change + *(__u32 *)ports + CHECKSUM_ZERO - old_ports;
	__u16 updated = checksum_update(*check, change);

	*check = view->protocol == IPPROTO_UDP && !updated ? 0xffff : updated;
}
