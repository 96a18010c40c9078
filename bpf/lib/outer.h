/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The headers before a packet that is inside another one: from a node to a node. */
#pragma once

#include "lib/checksum.h"
#include "lib/packet.h"

#define ENCAPSULATION_HOP_LIMIT 64
#define GENEVE_SOURCE_PORTS 0xc000 /* first of 16384 */
#define DSCP_MASK 0xfc /* congestion marks stay inside: routers drop instead (RFC 6040, compatibility mode) */

#define GENEVE_CONTROL 0x80 /* an operator's packet */
#define GENEVE_CRITICAL 0x40 /* it has options that whoever does not know them has to drop it for */

/* RFC 8926, without options. The packet inside has no Ethernet header. */
struct geneve_base {
	__u8 version_options; /* two bits, words of options */
	__u8 flags;
	__be16 protocol; /* Ethernet type of the packet inside */
	__be32 vni; /* upper 24 bits */
};

/* The outer IP header at `ip`, of a packet of `length` bytes after it. */
inline_always void outer_v4(struct iphdr *ip, const struct weft_addr *source, const struct weft_addr *destination,
			    __u32 length, __u8 protocol, __u8 tos)
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
	ip->saddr = source->word[3];
	ip->daddr = destination->word[3];
	sum = (__u64)ip->saddr + ip->daddr + ip->tot_len + ip->frag_off +
	      bpf_htons(0x4500 | ip->tos) + bpf_htons(ENCAPSULATION_HOP_LIMIT << 8 | protocol);
	ip->check = ~checksum_fold(sum);
}

inline_always void outer_v6(struct ipv6hdr *ip, const struct weft_addr *source, const struct weft_addr *destination,
			    __u32 length, __u8 protocol, __u8 tos)
{
	*(__be32 *)ip = bpf_htonl(6U << 28 | (__u32)(tos & DSCP_MASK) << 20);
	ip->payload_len = bpf_htons(length);
	ip->nexthdr = protocol;
	ip->hop_limit = ENCAPSULATION_HOP_LIMIT;
	__builtin_memcpy(&ip->saddr, source, 16);
	__builtin_memcpy(&ip->daddr, destination, 16);
}

/* UDP and the fixed part of Geneve, with `length` bytes of options and packet after it. RFC 6935 and 6936 allow UDP
 * over IPv6 without a checksum to a tunnel; the packet inside has its own. */
inline_always void outer_geneve(struct udphdr *udp, __be16 source_port, __u32 length, bool inner_v4, __u8 option_words,
				__u32 vni)
{
	struct geneve_base *geneve = (void *)(udp + 1);

	udp->source = source_port;
	udp->dest = bpf_htons(WEFT_GENEVE_PORT);
	udp->len = bpf_htons(sizeof(*udp) + sizeof(*geneve) + length);
	udp->check = 0;
	geneve->version_options = option_words;
	geneve->flags = 0;
	geneve->protocol = inner_v4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);
	geneve->vni = bpf_htonl(vni << 8);
}

/* The type of service of the IP header that starts with these two bytes. */
inline_always __u8 ip_tos(const __u8 *start, bool v4)
{
	return v4 ? start[1] : start[0] << 4 | start[1] >> 4;
}
