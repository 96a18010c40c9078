/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Direct server return: a client's packet inside another, to the node that has the backend, which answers the
 * client by itself. Sizes and headers, without a context; encapsulate_tc.h and encapsulate_xdp.h put them on
 * packets. A flow of weft_flow.encapsulation has neither WEFT_FLOW_DNAT nor WEFT_FLOW_SNAT and no reply entry:
 * dst_* is the backend, src_addr this node, src_port the flow's source port of Geneve. */
#pragma once

#include "abi/hash.h"
#include "lib/outer.h"
#include "lib/scratch.h"
#include "maps/config.h"

/* RFC 8926 with one option: the backend. */
struct geneve_header {
	struct geneve_base base;
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

/* The backend of the flow as the option of a Geneve header. */
inline_always void outer_backend(struct udphdr *udp, const struct weft_flow *flow, __u32 length, bool inner_v4)
{
	struct geneve_header *geneve = (void *)(udp + 1);

	outer_geneve(udp, flow->src_port, sizeof(*geneve) - sizeof(geneve->base) + length, inner_v4,
		     1 + GENEVE_OPTION_WORDS, 0);
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
		outer_v4(at, &flow->src_addr, &flow->dst_addr, length + (geneve ? UDP_GENEVE : 0), protocol, tos);
	else
		outer_v6(at, &flow->src_addr, &flow->dst_addr, length + (geneve ? UDP_GENEVE : 0), protocol, tos);
	if (geneve)
		outer_backend(at + header, flow, length, inner_v4);
}
