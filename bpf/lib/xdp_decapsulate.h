/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Takes clients' packets out of other nodes' in XDP; tc goes on with them as if they had come so. */
#pragma once

#include "lib/encapsulate_named.h"
#include "lib/xdp_slow.h"

#define XDP_PLAIN (-1) /* nothing inside that is ours */

inline_always bool xdp_read_geneve(struct scratch *s, void *at, void *end, bool *inner_v4)
{
	struct udphdr *udp = at;
	struct geneve_header *geneve = (void *)(udp + 1);

	if ((void *)(geneve + 1) > end || udp->dest != bpf_htons(WEFT_GENEVE_PORT) || !geneve_is_ours(geneve))
		return false;
	__builtin_memcpy(&s->named_addr, &geneve->addr, 16);
	s->named_port = geneve->port;
	*inner_v4 = geneve->protocol == bpf_htons(ETH_P_IP);
	return true;
}

/* The bytes before the packet inside, scratch->named_* and what it is; 0: none. */
inline_always __u32 xdp_read_outer(struct xdp_md *ctx, struct scratch *s, bool *inner_v4)
{
	struct ethhdr *ethernet = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	__u32 header;
	__u8 protocol;

	if ((void *)(ethernet + 1) > end)
		return 0;
	s->named_port = 0;
	if (ethernet->h_proto == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = (void *)(ethernet + 1);

		if ((void *)(ip + 1) > end || *(__u8 *)ip != 0x45 ||
		    (ip->frag_off & bpf_htons(IP_MORE_FRAGMENTS | IP_FRAGMENT_OFFSET)))
			return 0;
		addr_from_v4(&s->named_addr, ip->daddr);
		protocol = ip->protocol;
		header = sizeof(*ip);
	} else {
		struct ipv6hdr *ip = (void *)(ethernet + 1);

		if ((void *)(ip + 1) > end || ethernet->h_proto != bpf_htons(ETH_P_IPV6) || ip->version != 6)
			return 0;
		__builtin_memcpy(&s->named_addr, &ip->daddr, 16);
		protocol = ip->nexthdr;
		header = sizeof(*ip);
	}
	if (protocol != IPPROTO_IPIP && protocol != IPPROTO_IPV6 && protocol != IPPROTO_UDP)
		return 0;
	*inner_v4 = protocol == IPPROTO_IPIP;
	if (!endpoint_find(&s->named_addr))
		return 0;
	if (protocol != IPPROTO_UDP)
		return header;
	if (header == sizeof(struct iphdr))
		return xdp_read_geneve(s, (void *)(ethernet + 1) + sizeof(struct iphdr), end, inner_v4) ? header + UDP_GENEVE : 0;
	return xdp_read_geneve(s, (void *)(ethernet + 1) + sizeof(struct ipv6hdr), end, inner_v4) ? header + UDP_GENEVE : 0;
}

inline_always long xdp_strip(struct xdp_md *ctx, __u32 strip, bool inner_v4)
{
	struct ethhdr saved;
	struct ethhdr *ethernet = (void *)(long)ctx->data;

	if ((void *)(ethernet + 1) > (void *)(long)ctx->data_end)
		return -1;
	saved = *ethernet;
	saved.h_proto = inner_v4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);
	if (bpf_xdp_adjust_head(ctx, strip))
		return -1;
	ethernet = (void *)(long)ctx->data;
	if ((void *)(ethernet + 1) > (void *)(long)ctx->data_end)
		return -1;
	*ethernet = saved;
	return 0;
}

/* A packet to a backend here whose frontend is an option: written as the client sent it. 1: done. */
inline_always long xdp_strip_option(struct xdp_md *ctx, struct scratch *s)
{
	struct ethhdr ethernet;
	struct iphdr header;
	void *data = (void *)(long)ctx->data;
	struct frontend_option option;
	struct xdp_view view;
	struct iphdr *ip = data + ETH_HLEN;

	if (data + ETH_HLEN + sizeof(header) + sizeof(option) + sizeof(struct udphdr) > (void *)(long)ctx->data_end ||
	    *(__u8 *)ip != 0x47 || (ip->frag_off & bpf_htons(IP_MORE_FRAGMENTS | IP_FRAGMENT_OFFSET)))
		return 0;
	__builtin_memcpy(&ethernet, data, ETH_HLEN);
	__builtin_memcpy(&header, data + ETH_HLEN, sizeof(header));
	__builtin_memcpy(&option, data + ETH_HLEN + sizeof(header), sizeof(option));
	if (ethernet.h_proto != bpf_htons(ETH_P_IP) || option.type != WEFT_IP_OPTION_FRONTEND ||
	    option.length != sizeof(option))
		return 0;
	addr_from_v4(&s->named_addr, header.daddr);
	if (!endpoint_find(&s->named_addr))
		return 0;
	header.ihl = 5;
	header.tot_len = bpf_htons(bpf_ntohs(header.tot_len) - sizeof(option));
	header.check = 0;
	header.daddr = option.addr;
	header.check = ~checksum_fold(bpf_csum_diff(NULL, 0, (__be32 *)&header, sizeof(header), 0));
	if (bpf_xdp_adjust_head(ctx, sizeof(option)))
		return -1;
	data = (void *)(long)ctx->data;
	if (data + ETH_HLEN + sizeof(header) > (void *)(long)ctx->data_end)
		return -1;
	__builtin_memcpy(data, &ethernet, ETH_HLEN);
	__builtin_memcpy(data + ETH_HLEN, &header, sizeof(header));
	if (!xdp_parse_v4(ctx, &view))
		return -1;
	__be16 *ports = (void *)view.l4;
	__u16 *check = xdp_l4_checksum(&view);

	s->named_port = ports[1];
	if (view.protocol != IPPROTO_UDP || *check) {
		__u16 updated = checksum_update(*check, 2 * CHECKSUM_ZERO + option.addr + option.port -
							       s->named_addr.word[3] - s->named_port);

		*check = view.protocol == IPPROTO_UDP && !updated ? 0xffff : updated;
	}
	ports[1] = option.port;
	return 1;
}

inline_always int xdp_malformed(struct xdp_md *ctx)
{
	count_drop(WEFT_DROP_ENCAPSULATION, bpf_xdp_get_buff_len(ctx));
	return XDP_DROP;
}

/* Takes the packet out. XDP_PLAIN: there is none; XDP_PASS: done; XDP_DROP: counted. */
verified_once int xdp_unwrap(struct xdp_md *ctx)
{
	struct scratch *s = scratch_get();
	bool inner_v4 = true;
	__u32 strip;
	long taken;

	if (!s)
		return XDP_PLAIN;
	strip = xdp_read_outer(ctx, s, &inner_v4);
	if (strip) {
		if (xdp_strip(ctx, strip, inner_v4))
			return xdp_malformed(ctx);
	} else {
		taken = xdp_strip_option(ctx, s);
		if (!taken)
			return XDP_PLAIN;
		if (taken < 0)
			return xdp_malformed(ctx);
	}
	count(WEFT_STAT_DECAPSULATED);
	return XDP_PASS;
}

/* The flow of the packet that was taken out, if it has none that leads to a backend here. */
verified_once int xdp_admit(struct xdp_md *ctx, const struct weft_config *config)
{
	struct scratch *s = scratch_get();
	enum weft_drop_reason reason;
	bool v4 = xdp_is_v4(ctx);

	/* Fragments and ICMP: tc knows their flows. */
	if (!s || !config || !(v4 ? xdp_fill_scratch(ctx, s, true) : xdp_fill_scratch(ctx, s, false)))
		return XDP_PASS;
	s->pair = s->packet.tuple;
	xdp_scratch_reset(ctx, s, config);
	if (endpoint_find(&s->packet.tuple.saddr))
		return xdp_refuse(s, config, WEFT_DROP_SPOOFED_SOURCE);
	if (named_flow_known(s, flow_find(&s->packet.tuple, v4)))
		return XDP_PASS;
	/* A reset starts nothing. */
	reason = s->packet.tcp_flags & TCP_RST ? WEFT_DROP_ENCAPSULATION : named_decide(config);
	if (!reason)
		reason = xdp_exit(ctx, s, config, endpoint_find(&s->pair.daddr));
	if (!reason)
		reason = xdp_enter(ctx, config);
	return reason ? xdp_refuse(s, config, reason) : XDP_PASS;
}
