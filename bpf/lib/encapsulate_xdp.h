/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Encapsulation in XDP: room made in front of the packet, headers written into it. */
#pragma once

#include "lib/encapsulate.h"
#include "lib/xdp_packet.h"

inline_always void xdp_write_ethernet(struct ethhdr *ethernet, const struct weft_flow *flow, bool v4)
{
	__builtin_memcpy(ethernet->h_dest, flow->next_hop_mac, 6);
	__builtin_memcpy(ethernet->h_source, flow->device_mac, 6);
	ethernet->h_proto = v4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);
}

/* One router hop for the packet that goes inside; its length and type of service. */
inline_always void xdp_hop(const struct xdp_view *view, bool v4, __u8 *tos)
{
	if (v4) {
		struct iphdr *ip = view->ip;

		ip->ttl -= 1;
		ip->check = checksum_update(ip->check, bpf_htons(0xfeff));
		*tos = ip->tos;
	} else {
		struct ipv6hdr *ip = view->ip;

		ip->hop_limit -= 1;
		*tos = bpf_ntohl(*(__be32 *)ip) >> 20;
	}
}

/* Constants where it is called, so that each of the eight has a fixed size. */
inline_always long xdp_wrap(struct xdp_md *ctx, const struct weft_flow *flow, __u32 length, __u8 tos, bool outer_is_v4,
			    bool inner_v4, bool geneve)
{
	__u32 size = (outer_is_v4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr)) + (geneve ? UDP_GENEVE : 0);

	if (bpf_xdp_adjust_head(ctx, -(int)size))
		return -1;
	void *data = (void *)(long)ctx->data;

	if (data + ETH_HLEN + size > (void *)(long)ctx->data_end)
		return -1;
	xdp_write_ethernet(data, flow, outer_is_v4);
	outer_headers(data + ETH_HLEN, flow, length, tos, outer_is_v4, inner_v4, geneve);
	return 0;
}

/* The backend as destination, the frontend in an option. */
inline_always long xdp_wrap_option(struct xdp_md *ctx, const struct weft_flow *flow)
{
	struct frontend_option option = { .type = WEFT_IP_OPTION_FRONTEND, .length = sizeof(option) };
	struct xdp_view view;
	struct iphdr ip;
	__u64 before;

	if (!xdp_parse_v4(ctx, &view))
		return -1;
	__u16 *check = xdp_l4_checksum(&view);
	__be16 *ports = (void *)view.l4;

	__builtin_memcpy(&ip, view.ip, sizeof(ip));
	option.addr = ip.daddr;
	option.port = ports[1];
	before = (__u64)ip.daddr + ports[1];
	if (view.protocol != IPPROTO_UDP || *check) {
		__u16 updated = checksum_update(*check, 2 * CHECKSUM_ZERO + flow->dst_addr.word[3] + flow->dst_port - before);

		*check = view.protocol == IPPROTO_UDP && !updated ? 0xffff : updated;
	}
	ports[1] = flow->dst_port;
	if (bpf_xdp_adjust_head(ctx, -(int)sizeof(option)))
		return -1;
	view.data = (void *)(long)ctx->data;
	if (view.data + ETH_HLEN + sizeof(ip) + sizeof(option) > (void *)(long)ctx->data_end)
		return -1;
	ip.ihl = (sizeof(ip) + sizeof(option)) / 4;
	ip.daddr = flow->dst_addr.word[3];
	ip.tot_len = bpf_htons(bpf_ntohs(ip.tot_len) + sizeof(option));
	ip.check = 0;
	ip.check = ~checksum_fold(bpf_csum_diff(NULL, 0, (__be32 *)&ip, sizeof(ip),
						bpf_csum_diff(NULL, 0, (__be32 *)&option, sizeof(option), 0)));
	xdp_write_ethernet(view.data, flow, true);
	__builtin_memcpy(view.data + ETH_HLEN, &ip, sizeof(ip));
	__builtin_memcpy(view.data + ETH_HLEN + sizeof(ip), &option, sizeof(option));
	return 0;
}

/* Puts the packet into another one to the flow's backend, or gives it the option. Non-zero: it cannot be. */
verified_once long xdp_encapsulate(struct xdp_md *ctx, const struct weft_flow *flow)
{
	struct xdp_view view;
	struct ethhdr *ethernet = (void *)(long)ctx->data;
	__u8 tos;

	if (!flow || (void *)(ethernet + 1) > (void *)(long)ctx->data_end)
		return -1;
	bool inner_v4 = ethernet->h_proto == bpf_htons(ETH_P_IP);
	bool outer_is_v4 = addr_is_v4(&flow->dst_addr);
	bool geneve = flow->encapsulation == WEFT_ENCAPSULATION_GENEVE;

	count(WEFT_STAT_ENCAPSULATED);
	if (inner_v4) {
		if (!xdp_parse_v4(ctx, &view))
			return -1;
		xdp_hop(&view, true, &tos);
		if (flow->encapsulation == WEFT_ENCAPSULATION_OPTION)
			return xdp_wrap_option(ctx, flow);
		if (outer_is_v4)
			return geneve ? xdp_wrap(ctx, flow, view.length, tos, true, true, true) :
					xdp_wrap(ctx, flow, view.length, tos, true, true, false);
		return geneve ? xdp_wrap(ctx, flow, view.length, tos, false, true, true) :
				xdp_wrap(ctx, flow, view.length, tos, false, true, false);
	}
	if (!xdp_parse_v6(ctx, &view))
		return -1;
	xdp_hop(&view, false, &tos);
	if (outer_is_v4)
		return geneve ? xdp_wrap(ctx, flow, view.length, tos, true, false, true) :
				xdp_wrap(ctx, flow, view.length, tos, true, false, false);
	return geneve ? xdp_wrap(ctx, flow, view.length, tos, false, false, true) :
			xdp_wrap(ctx, flow, view.length, tos, false, false, false);
}
