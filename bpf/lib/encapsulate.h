/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Direct server return: a client's packet inside another, to the node that has the backend, which answers the
 * client by itself. Sizes and headers, without a context; encapsulate_tc.h and encapsulate_xdp.h put them on
 * packets. A flow of weft_flow.encapsulation has neither WEFT_FLOW_DNAT nor WEFT_FLOW_SNAT and no reply entry:
 * dst_* is the backend, src_addr this node, src_port the flow's source port of Geneve. */
#pragma once

#include "abi/hash.h"
#include "lib/checksum.h"
#include "lib/scratch.h"
#include "maps/config.h"

#define ENCAPSULATION_HOP_LIMIT 64
#define IP_DONT_FRAGMENT 0x4000
#define GENEVE_SOURCE_PORTS 0xc000 /* first of 16384 */
#define DSCP_MASK 0xfc /* congestion marks stay inside: routers drop instead (RFC 6040, compatibility mode) */

/* RFC 8926 with one option: the backend. The packet inside has no Ethernet header. */
struct geneve_header {
	__u8 version_options; /* words of options */
	__u8 flags;
	__be16 protocol; /* Ethernet type of the packet inside */
	__be32 vni;
	__be16 option_class;
	__u8 option_type;
	__u8 option_length; /* words after this one */
	struct weft_addr addr;
	__be16 port;
	__u16 pad; /* zero */
};

#define GENEVE_OPTION_WORDS 5

/* An IPv4 option: the frontend of a packet whose destination is the backend. */
struct frontend_option {
	__u8 type;
	__u8 length;
	__be16 port;
	__be32 addr;
};

#define UDP_GENEVE (sizeof(struct udphdr) + sizeof(struct geneve_header))

/* Bytes by which the packet grows. */
inline_always __u32 encapsulation_overhead(__u8 encapsulation, bool outer_v4)
{
	__u32 header = outer_v4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);

	switch (encapsulation) {
	case WEFT_ENCAPSULATION_IPIP:
		return header;
	case WEFT_ENCAPSULATION_GENEVE:
		return header + UDP_GENEVE;
	case WEFT_ENCAPSULATION_OPTION:
		return sizeof(struct frontend_option);
	default:
		return 0;
	}
}

_Static_assert((int)WEFT_FORWARD_DSR_IPIP == WEFT_ENCAPSULATION_IPIP &&
		       (int)WEFT_FORWARD_DSR_GENEVE == WEFT_ENCAPSULATION_GENEVE &&
		       (int)WEFT_FORWARD_DSR_OPTION == WEFT_ENCAPSULATION_OPTION,
	       "one number for what is wanted and what is done");

inline_always __u8 encapsulation_of(__u8 forwarding, bool v4)
{
	return forwarding == WEFT_FORWARD_DSR_OPTION && !v4 ? WEFT_ENCAPSULATION_GENEVE : forwarding;
}

/* Turns scratch->forward, which leads to a backend elsewhere by a device of this address and MTU, into one that
 * is encapsulated. */
inline_always enum weft_drop_reason encapsulation_decide(struct scratch *s, const struct weft_device *device,
							 const struct weft_config *config)
{
	struct weft_flow *forward = &s->forward;
	bool outer_v4 = addr_is_v4(&forward->dst_addr);
	const struct weft_flow_key_v6 *tuple = &s->packet.tuple;
	__u32 hash;

	forward->encapsulation = encapsulation_of(s->forwarding, packet_is_v4(&s->packet));
	forward->src_addr = outer_v4 ? device->nat_v4 : device->nat_v6;
	if (!forward->src_addr.word[3] && !forward->src_addr.word[0])
		return WEFT_DROP_NAT_NO_ADDRESS;
	forward->flags &= ~(WEFT_FLOW_DNAT | WEFT_FLOW_SNAT);
	/* another source port for every flow, so that routers spread them */
	hash = weft_hash_word(config->hash_seed, tuple->saddr.word[3] ^ tuple->saddr.word[1]);
	hash = weft_hash_final(weft_hash_word(hash, (__u32)tuple->sport << 16 | tuple->dport));
	forward->src_port = bpf_htons(GENEVE_SOURCE_PORTS | (hash & 0x3fff));
	if (device->mtu)
		forward->mtu = device->mtu - encapsulation_overhead(forward->encapsulation, outer_v4);
	s->translate_source = false;
	return WEFT_DROP_NONE;
}

/* The outer IP header at `ip`, of a packet of `length` bytes after it. */
inline_always void outer_v4(struct iphdr *ip, const struct weft_flow *flow, __u32 length, __u8 protocol, __u8 tos)
{
	__u64 sum;

	__builtin_memset(ip, 0, sizeof(*ip));
	ip->version = 4;
	ip->ihl = 5;
	ip->tos = tos & DSCP_MASK;
	ip->tot_len = bpf_htons(sizeof(*ip) + length);
	ip->frag_off = bpf_htons(IP_DONT_FRAGMENT);
	ip->ttl = ENCAPSULATION_HOP_LIMIT;
	ip->protocol = protocol;
	ip->saddr = flow->src_addr.word[3];
	ip->daddr = flow->dst_addr.word[3];
	sum = (__u64)ip->saddr + ip->daddr + ip->tot_len + ip->frag_off +
	      bpf_htons(0x4500 | ip->tos) + bpf_htons(ENCAPSULATION_HOP_LIMIT << 8 | protocol);
	ip->check = ~checksum_fold(sum);
}

inline_always void outer_v6(struct ipv6hdr *ip, const struct weft_flow *flow, __u32 length, __u8 protocol, __u8 tos)
{
	*(__be32 *)ip = bpf_htonl(6U << 28 | (__u32)(tos & DSCP_MASK) << 20);
	ip->payload_len = bpf_htons(length);
	ip->nexthdr = protocol;
	ip->hop_limit = ENCAPSULATION_HOP_LIMIT;
	__builtin_memcpy(&ip->saddr, &flow->src_addr, 16);
	__builtin_memcpy(&ip->daddr, &flow->dst_addr, 16);
}

/* RFC 6935 and 6936 allow UDP over IPv6 without a checksum to a tunnel; the packet inside has its own. */
inline_always void outer_geneve(struct udphdr *udp, const struct weft_flow *flow, __u32 length, bool inner_v4)
{
	struct geneve_header *geneve = (void *)(udp + 1);

	udp->source = flow->src_port;
	udp->dest = bpf_htons(WEFT_GENEVE_PORT);
	udp->len = bpf_htons(UDP_GENEVE + length);
	udp->check = 0;
	geneve->version_options = 1 + GENEVE_OPTION_WORDS;
	geneve->flags = 0;
	geneve->protocol = inner_v4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);
	geneve->vni = 0;
	geneve->option_class = bpf_htons(WEFT_GENEVE_CLASS);
	geneve->option_type = WEFT_GENEVE_TYPE_BACKEND;
	geneve->option_length = GENEVE_OPTION_WORDS;
	__builtin_memcpy(&geneve->addr, &flow->dst_addr, 16);
	geneve->port = flow->dst_port;
	geneve->pad = 0;
}

/* All outer headers at `at`, for a packet of `length` bytes. The flags are constants where it is called. */
inline_always void outer_headers(void *at, const struct weft_flow *flow, __u32 length, __u8 tos, bool outer_is_v4,
				 bool inner_v4, bool geneve)
{
	__u8 protocol = geneve ? IPPROTO_UDP : inner_v4 ? IPPROTO_IPIP : IPPROTO_IPV6;
	__u32 header = outer_is_v4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);

	if (outer_is_v4)
		outer_v4(at, flow, length + (geneve ? UDP_GENEVE : 0), protocol, tos);
	else
		outer_v6(at, flow, length + (geneve ? UDP_GENEVE : 0), protocol, tos);
	if (geneve)
		outer_geneve(at + header, flow, length, inner_v4);
}
