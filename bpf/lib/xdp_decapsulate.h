/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Takes clients' packets out of other nodes' in XDP; tc goes on with them as if they had come so. What is inside is
 * looked at where it stands, and decided about, before anything is changed. Inside must be what XDP carries (whole
 * TCP segments and UDP datagrams without options): the rest is left to tc as it came. */
#pragma once

#include "lib/encapsulate_named.h"
#include "lib/xdp_slow.h"

#define STRIP_MASK 0x7f /* more than any outer header, so that the verifier knows */

/* Geneve of ours at `at`, in an IP packet that has `length` bytes from there; NULL otherwise. */
inline_always const struct geneve_header *xdp_geneve(void *at, void *end, __u32 length, bool v4)
{
	struct udphdr *udp = at;
	struct geneve_header *geneve = (void *)(udp + 1);

	if ((void *)(geneve + 1) > end || udp->dest != bpf_htons(WEFT_GENEVE_PORT) || length < UDP_GENEVE ||
	    bpf_ntohs(udp->len) != length || !geneve_is_ours(geneve, v4))
		return NULL;
	return geneve;
}

/* Fills scratch->outer_source and named_*; the bytes the outer packet has for the one inside, 0: none of ours. */
inline_always __u32 xdp_read_outer(struct xdp_md *ctx, struct scratch *s, bool v4)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	const struct geneve_header *geneve = NULL;
	struct iphdr *ip4 = data + ETH_HLEN;
	struct ipv6hdr *ip6 = data + ETH_HLEN;
	__u32 header = v4 ? sizeof(*ip4) : sizeof(*ip6);
	__u32 length;
	__u8 protocol;

	if (data + ETH_HLEN + header > end)
		return 0;
	protocol = v4 ? ip4->protocol : ip6->nexthdr;
	if (likely(protocol != (v4 ? IPPROTO_IPIP : IPPROTO_IPV6) && protocol != IPPROTO_UDP))
		return 0;
	if (v4 ? *(__u8 *)ip4 != 0x45 || (ip4->frag_off & bpf_htons(IP_MORE_FRAGMENTS | IP_FRAGMENT_OFFSET)) :
		 ip6->version != 6)
		return 0;
	length = v4 ? bpf_ntohs(ip4->tot_len) : bpf_ntohs(ip6->payload_len) + sizeof(*ip6);
	if (length <= header || length > (__u32)(end - data) - ETH_HLEN)
		return 0;
	length -= header;
	if (protocol == IPPROTO_UDP) {
		geneve = xdp_geneve(data + ETH_HLEN + header, end, length, v4);
		if (likely(!geneve))
			return 0;
		header += UDP_GENEVE;
		length -= UDP_GENEVE;
	}
	s->named_by = geneve ? WEFT_ENCAPSULATION_GENEVE : WEFT_ENCAPSULATION_IPIP;
	s->named_strip = header;
	s->named_port = 0;
	if (v4) {
		addr_from_v4(&s->outer_source, ip4->saddr);
		addr_from_v4(&s->named_addr, ip4->daddr);
	} else {
		__builtin_memcpy(&s->outer_source, &ip6->saddr, 16);
		__builtin_memcpy(&s->named_addr, &ip6->daddr, 16);
	}
	/* to the node or a pod here; IP in IP has the backend there */
	if (!endpoint_find(&s->named_addr))
		return 0;
	if (geneve) {
		__builtin_memcpy(&s->named_addr, &geneve->addr, 16);
		s->named_port = geneve->port;
	}
	return length;
}

/* Fills scratch->packet as the packet will be when it is out. */
inline_always bool xdp_read_inside(struct xdp_md *ctx, struct scratch *s, bool v4, bool tunnels)
{
	__u32 room = xdp_read_outer(ctx, s, v4);
	struct xdp_view view;

	/* between nodes with tunnels tc has to see which of both it is */
	if (likely(!room) || !is_balancer(&s->outer_source) || (tunnels && s->named_by == WEFT_ENCAPSULATION_IPIP && sender_is_node(&s->outer_source)) ||
	    !xdp_parse_at(ctx, &view, ETH_HLEN + (s->named_strip & STRIP_MASK), v4) || view.length > room)
		return false;
	xdp_scratch_packet(s, &view, v4);
	return true;
}

/* The same for a packet to a backend here whose frontend is an option. */
inline_always bool xdp_read_option(struct xdp_md *ctx, struct scratch *s)
{
	void *data = (void *)(long)ctx->data;
	struct iphdr *ip = data + ETH_HLEN;
	struct frontend_option *option = (void *)(ip + 1);
	struct xdp_view view = { .end = (void *)(long)ctx->data_end, .ip = ip, .l4 = (void *)(option + 1) };
	__u32 length;

	if ((void *)(view.l4 + sizeof(struct udphdr)) > view.end || *(__u8 *)ip != 0x47 ||
	    (ip->frag_off & bpf_htons(IP_MORE_FRAGMENTS | IP_FRAGMENT_OFFSET)) ||
	    option->type != WEFT_IP_OPTION_FRONTEND || option->length != sizeof(*option))
		return false;
	length = bpf_ntohs(ip->tot_len);
	view.protocol = ip->protocol;
	view.hop_limit = ip->ttl;
	view.length = length - sizeof(*option);
	if (length > (__u32)(view.end - data) - ETH_HLEN ||
	    length < sizeof(*ip) + sizeof(*option) + XDP_L4_MINIMUM(view.protocol))
		return false;
	if (view.protocol == IPPROTO_TCP) {
		if ((void *)(view.l4 + sizeof(struct tcphdr)) > view.end)
			return false;
	} else if (view.protocol != IPPROTO_UDP) {
		return false;
	}
	xdp_scratch_packet(s, &view, true);
	s->named_by = WEFT_ENCAPSULATION_OPTION;
	s->named_addr = s->packet.tuple.daddr;
	s->named_port = s->packet.tuple.dport;
	addr_from_v4(&s->packet.tuple.daddr, option->addr);
	s->packet.tuple.dport = option->port;
	return endpoint_find(&s->named_addr);
}

/* Whether the packet is another node's with a client's inside: that is in scratch->packet then, and what is said of
 * its backend in named_*. */
verified_once bool xdp_inside(struct xdp_md *ctx, bool tunnels)
{
	struct scratch *s = scratch_get();
	struct ethhdr *ethernet = (void *)(long)ctx->data;

	if (!s || (void *)(ethernet + 1) > (void *)(long)ctx->data_end)
		return false;
	if (ethernet->h_proto == bpf_htons(ETH_P_IP))
		return xdp_read_inside(ctx, s, true, tunnels) || xdp_read_option(ctx, s);
	return ethernet->h_proto == bpf_htons(ETH_P_IPV6) && xdp_read_inside(ctx, s, false, tunnels);
}

inline_always long xdp_strip(struct xdp_md *ctx, __u32 strip)
{
	struct ethhdr saved;
	struct ethhdr *ethernet = (void *)(long)ctx->data;

	if ((void *)(ethernet + 1) > (void *)(long)ctx->data_end)
		return -1;
	saved = *ethernet;
	if (bpf_xdp_adjust_head(ctx, strip))
		return -1;
	ethernet = (void *)(long)ctx->data;
	if ((void *)(ethernet + 1) > (void *)(long)ctx->data_end)
		return -1;
	*ethernet = saved;
	return 0;
}

/* Written as the client sent it: scratch->packet. */
inline_always long xdp_strip_option(struct xdp_md *ctx, const struct scratch *s)
{
	const struct weft_flow_key_v6 *tuple = &s->packet.tuple;
	void *data = (void *)(long)ctx->data;
	struct iphdr header;
	struct xdp_view view;

	if (data + ETH_HLEN + sizeof(header) > (void *)(long)ctx->data_end)
		return -1;
	__builtin_memcpy(&header, data + ETH_HLEN, sizeof(header));
	header.ihl = sizeof(header) / 4;
	header.tot_len = bpf_htons(s->packet.length);
	header.check = 0;
	header.daddr = tuple->daddr.word[3];
	header.check = ~checksum_fold(bpf_csum_diff(NULL, 0, (__be32 *)&header, sizeof(header), 0));
	if (xdp_strip(ctx, sizeof(struct frontend_option)))
		return -1;
	data = (void *)(long)ctx->data;
	if (data + ETH_HLEN + sizeof(header) > (void *)(long)ctx->data_end)
		return -1;
	__builtin_memcpy(data + ETH_HLEN, &header, sizeof(header));
	if (!xdp_parse_v4(ctx, &view))
		return -1;
	__be16 *ports = (void *)view.l4;
	__u16 *check = xdp_l4_checksum(&view);

	if (view.protocol != IPPROTO_UDP || *check) {
		__u16 updated = checksum_update(*check, 2 * CHECKSUM_ZERO + tuple->daddr.word[3] + tuple->dport -
							       s->named_addr.word[3] - ports[1]);

		*check = view.protocol == IPPROTO_UDP && !updated ? 0xffff : updated;
	}
	ports[1] = tuple->dport;
	return 0;
}

/* Takes the packet out; a verdict. */
verified_once int xdp_take_out(struct xdp_md *ctx)
{
	struct scratch *s = scratch_get();

	if (!s || (s->named_by == WEFT_ENCAPSULATION_OPTION ? xdp_strip_option(ctx, s) :
							      xdp_strip(ctx, s->named_strip))) {
		count_drop(WEFT_DROP_ENCAPSULATION, bpf_xdp_get_buff_len(ctx));
		return XDP_DROP;
	}
	count(WEFT_STAT_DECAPSULATED);
	return XDP_PASS;
}

/* Decides about the packet xdp_inside found; a verdict. */
verified_once int xdp_admit(struct xdp_md *ctx, const struct weft_config *config)
{
	struct scratch *s = scratch_get();
	enum weft_drop_reason reason;

	if (!s || !config)
		return XDP_DROP;
	xdp_scratch_reset(ctx, s, config);
	reason = named_decide(config);
	if (reason == NAMED_KNOWN)
		return XDP_PASS;
	if (!reason)
		reason = xdp_exit(ctx, s, config, endpoint_find(&s->pair.daddr));
	if (!reason)
		reason = xdp_enter(ctx, config);
	return reason ? xdp_refuse(s, config, reason) : XDP_PASS;
}
