/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Routers between nodes say by ICMP which packets of tunnels are too large for them (RFC 1191, RFC 8201). Nobody else
 * hears it: no socket sends what is built here, and the kernel's VXLAN device does not tell the pod. Anybody may have
 * written such an error, so it counts only about what this node sends another one, and down to a floor. The kernel believes
 * more, and its VXLAN device drops in silence what exceeds what it believes: it is not to hear of less than counts here. */
#pragma once

#include "lib/path_mtu.h"
#include "lib/reject.h"

/* What the error says, and what of the packet it quotes matters. */
struct path_quote {
	struct weft_addr source;
	struct weft_addr destination;
	__u32 mtu;
	__u32 length; /* of the quoted packet, as it was sent */
	__u32 l4_offset;
	__u8 protocol;
	bool odd; /* not as this node sends packets, or routers such errors */
	__u8 pad[2];
};

/* Before the packet inside VXLAN over IPv6. */
#define VXLAN_V6_OVERHEAD (sizeof(struct ipv6hdr) + VXLAN_OVERHEAD)

/* False: it is another error, or quotes no packet. */
inline_always bool path_quote_read_v4(struct __sk_buff *skb, const struct packet *packet, struct path_quote *quote)
{
	struct {
		struct icmp_error_header icmp;
		struct iphdr ip;
	} header;

	if (!load_within(skb, packet, packet->l4_offset, &header, sizeof(header)) ||
	    header.icmp.type != ICMP_DEST_UNREACH || header.icmp.code != ICMP_FRAGMENTATION_NEEDED)
		return false;
	quote->odd = *(__u8 *)&header.ip != 0x45 || (header.ip.frag_off & bpf_htons(IP_FRAGMENT_OFFSET));
	addr_from_v4(&quote->source, header.ip.saddr);
	addr_from_v4(&quote->destination, header.ip.daddr);
	quote->mtu = bpf_ntohl(header.icmp.rest) & 0xffff;
	quote->length = bpf_ntohs(header.ip.tot_len);
	quote->protocol = header.ip.protocol;
	quote->l4_offset = packet->l4_offset + sizeof(header);
	return true;
}

inline_always bool path_quote_read_v6(struct __sk_buff *skb, const struct packet *packet, struct path_quote *quote)
{
	struct {
		struct icmp_error_header icmp;
		struct ipv6hdr ip;
	} header;

	if (!load_within(skb, packet, packet->l4_offset, &header, sizeof(header)) ||
	    header.icmp.type != ICMPV6_PACKET_TOO_BIG)
		return false;
	quote->odd = header.icmp.code || *(__u8 *)&header.ip >> 4 != 6;
	__builtin_memcpy(&quote->source, &header.ip.saddr, 16);
	__builtin_memcpy(&quote->destination, &header.ip.daddr, 16);
	quote->mtu = bpf_ntohl(header.icmp.rest);
	quote->length = bpf_ntohs(header.ip.payload_len) + sizeof(struct ipv6hdr);
	quote->protocol = header.ip.nexthdr;
	quote->l4_offset = packet->l4_offset + sizeof(header);
	return true;
}

/* Whether the quoted packet is a tunnel's. The kernel's VXLAN device sends nothing larger than what the kernel has been
 * told of the node's address on account of any packet, and is silent about it: with VXLAN all of them count. */
inline_always bool path_quote_of_tunnel(struct __sk_buff *skb, const struct packet *packet,
					const struct path_quote *quote, const struct weft_config *config)
{
	__be16 ports[4];

	if (config->overlay_port || quote->protocol == IPPROTO_IPIP || quote->protocol == IPPROTO_IPV6)
		return true;
	return quote->protocol == IPPROTO_UDP && load_within(skb, packet, quote->l4_offset, ports, sizeof(ports)) &&
	       ports[1] == bpf_htons(WEFT_GENEVE_PORT);
}

/* Whether it is the node's stack that hears the error. */
inline_always bool path_heard_by_kernel(const struct packet *packet)
{
	const struct weft_addr *to = &packet->tuple.daddr;

	if (packet_is_v4(packet))
		return endpoint_is_host(endpoint_find(to));
	return (to->word[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000) || address_is_group(to, false) ||
	       endpoint_is_host(endpoint_find(to));
}

/* Whether the packet may be an error to the kernel behind more extension headers than are walked here, which it walks. */
inline_always bool path_error_is_hidden(const struct packet *packet, const struct weft_config *config)
{
	__u8 next = packet->tuple.protocol;

	return (config->flags & WEFT_CONFIG_VXLAN) && !packet_is_v4(packet) &&
	       (next == IPPROTO_HOPOPTS || next == IPPROTO_DSTOPTS || next == IPPROTO_ROUTING || next == IPPROTO_FRAGMENT) &&
	       path_heard_by_kernel(packet);
}

/* The type alone, which the first fragment has. */
inline_always bool path_error_of_size(const struct packet *packet)
{
	return packet->icmp_type == (packet_is_v4(packet) ? ICMP_DEST_UNREACH : ICMPV6_PACKET_TOO_BIG);
}

inline_always void path_mtu_note(const struct weft_addr *node, __u32 mtu)
{
	struct weft_path_mtu *known = bpf_map_lookup_elem(&weft_pmtu_v1, node);
	__u64 now = bpf_ktime_get_ns();
	struct weft_path_mtu path = { .until = now + WEFT_PATH_MTU_SECONDS * 1000000000ULL, .mtu = mtu };
	__u32 zero = 0;
	__u64 *latest = bpf_map_lookup_elem(&weft_pmtuany_v1, &zero);

	/* An error that was long on its way, about packets larger than what is sent by now. */
	if (known && known->until > now && known->mtu < mtu)
		return;
	if (!known || known->until <= now || known->mtu != mtu)
		count(WEFT_STAT_PATH_MTU_LEARNT);
	if (latest && !bpf_map_update_elem(&weft_pmtu_v1, node, &path, BPF_ANY))
		*latest = path.until;
}

/* Whether the error is about a packet of this node's tunnels to another node's, and says something new of it. */
inline_always bool path_quote_counts(struct __sk_buff *skb, const struct packet *packet, const struct path_quote *quote,
				     const struct weft_config *config, bool to_node)
{
	if (quote->odd || !addr_equal(&quote->source, &packet->tuple.daddr) ||
	    !endpoint_is_host(endpoint_find(&quote->source)) || !path_quote_of_tunnel(skb, packet, quote, config))
		return false;
	if (to_node && quote->mtu < quote->length)
		return true;
	count(WEFT_STAT_PATH_MTU_REFUSED);
	return false;
}

/* Whether the kernel would believe the error, and its VXLAN device then drop what pods may still send. Of a connection it
 * believes only what quotes its sequence numbers; of ICMPv6 it believes all, whoever is said to have sent it. Over IPv4 that
 * device sends in fragments what exceeds what is known here. */
inline_always bool path_misleads_kernel(const struct path_quote *quote, bool v4, bool counts)
{
	if (quote->protocol == IPPROTO_TCP && !quote->odd)
		return false;
	return !counts || (!v4 && quote->mtu < WEFT_PATH_MTU_LEAST_V6 + VXLAN_V6_OVERHEAD);
}

/* scratch->packet is an ICMP error from outside, which goes on as if nobody had looked at it, unless there is a reason to
 * drop it. */
verified_once int path_mtu_learn(struct __sk_buff *skb)
{
	struct scratch *s = scratch_get();
	const struct weft_config *config = config_get();
	struct path_quote quote = {};

	if (!s || !config)
		return WEFT_DROP_NONE;
	const struct packet *packet = &s->packet;
	bool v4 = packet_is_v4(packet);
	bool vxlan = config->flags & WEFT_CONFIG_VXLAN;

	/* An error is never so large that it needs fragments, and in parts nobody sees here what it says. */
	if (unlikely(vxlan && (packet->flags & PACKET_FRAGMENT)) && path_error_of_size(packet) &&
	    path_heard_by_kernel(packet))
		return WEFT_DROP_PATH_MTU;
	if (!(v4 ? path_quote_read_v4(skb, packet, &quote) : path_quote_read_v6(skb, packet, &quote)))
		return WEFT_DROP_NONE;
	bool to_node = sender_is_node(&quote.destination);
	bool counts = path_quote_counts(skb, packet, &quote, config, to_node);
	bool misleads = vxlan && to_node && path_misleads_kernel(&quote, v4, counts) && path_heard_by_kernel(packet);

	if (counts) {
		/* no less than that of VXLAN's kernel, which would drop in silence what exceeds what it believes */
		__u32 least = path_mtu_least(v4 && config->overlay_port);

		if (quote.mtu < least) /* also 0: of a router older than RFC 1191 */
			quote.mtu = least;
		path_mtu_note(&quote.destination, quote.mtu);
	}
	return misleads ? WEFT_DROP_PATH_MTU : WEFT_DROP_NONE;
}
