/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The slow path's view of a packet, the same for IPv4 and IPv6. The tuple has the layout of an
 * IPv6 flow key; IPv4 addresses in it are IPv4-mapped. */
#pragma once

#include "lib/common.h"
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>

/* RFC 792, RFC 4443; linux/icmp.h drags libc in. */
enum icmp_type {
	ICMP_ECHOREPLY = 0,
	ICMP_DEST_UNREACH = 3,
	ICMP_ECHO = 8,
	ICMP_TIME_EXCEEDED = 11,
	ICMP_PARAMETERPROB = 12,
	ICMPV6_ECHO_REQUEST = 128,
	ICMPV6_ECHO_REPLY = 129,
};

enum packet_flag {
	PACKET_V4 = 1 << 0,
	PACKET_FRAGMENT = 1 << 1, /* the first of several */
	PACKET_LATER_FRAGMENT = 1 << 2, /* carries no transport header */
	PACKET_ICMP_ERROR = 1 << 3,
	PACKET_ICMP_OTHER = 1 << 4, /* neither echo nor error */
	PACKET_LOOSE = 1 << 5, /* IPv4 without DF, as tc parsed it: routers may cut it, its sender need not heed sizes */
};

struct packet {
	struct weft_flow_key_v6 tuple;
	__u32 l4_offset;
	__u32 length; /* L3 bytes */
	__be32 fragment_id;
	__u8 flags;
	__u8 tcp_flags;
	__u8 icmp_type;
	__u8 hop_limit;
	__u8 fragment_protocol; /* as every fragment of the packet says it, extension headers included */
	__u8 pad[3];
};

inline_always void addr_from_v4(struct weft_addr *addr, __be32 v4)
{
	addr->word[0] = 0;
	addr->word[1] = 0;
	addr->word[2] = bpf_htonl(0xffff);
	addr->word[3] = v4;
}

inline_always bool addr_is_v4(const struct weft_addr *addr)
{
	return !addr->word[0] && !addr->word[1] && addr->word[2] == bpf_htonl(0xffff);
}

inline_always bool addr_equal(const struct weft_addr *a, const struct weft_addr *b)
{
	return a->word[3] == b->word[3] && a->word[2] == b->word[2] && a->word[1] == b->word[1] &&
	       a->word[0] == b->word[0];
}

/* Loopback, "this network", unspecified, and IPv4 in IPv6 clothes, which tables here would take for IPv4. */
inline_always bool address_reserved(const struct weft_addr *addr, bool v4)
{
	if (v4)
		return (addr->word[3] & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000) ||
		       !(addr->word[3] & bpf_htonl(0xff000000));
	return !addr->word[0] && !addr->word[1] && (!addr->word[2] || addr->word[2] == bpf_htonl(0xffff));
}

/* Multicast and broadcast. */
inline_always bool address_is_group(const struct weft_addr *addr, bool v4)
{
	if (v4)
		return (addr->word[3] & bpf_htonl(0xf0000000)) == bpf_htonl(0xe0000000) ||
		       addr->word[3] == bpf_htonl(0xffffffff);
	return (addr->word[0] & bpf_htonl(0xff000000)) == bpf_htonl(0xff000000);
}

/* Whether a packet with these flags opens a connection (RFC 9293, 3.5). */
inline_always bool tcp_begins(__u8 flags)
{
	return (flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

inline_always bool packet_is_v4(const struct packet *packet)
{
	return packet->flags & PACKET_V4;
}

inline_always bool icmp4_is_error(__u8 type)
{
	return type == ICMP_DEST_UNREACH || type == ICMP_TIME_EXCEEDED || type == ICMP_PARAMETERPROB;
}

inline_always bool icmp6_is_error(__u8 type)
{
	return type < 128; /* RFC 4443 2.1 */
}

/* From within the packet: what a frame carries beyond its IP length is nobody's header. */
inline_always bool load_within(struct __sk_buff *skb, const struct packet *packet, __u32 offset, void *to, __u32 length)
{
	return offset + length <= ETH_HLEN + packet->length && !bpf_skb_load_bytes(skb, offset, to, length);
}

/* Ports of `protocol` at `offset` into the tuple; for ICMP the echo identifier. */
inline_always enum weft_drop_reason parse_l4(struct __sk_buff *skb, struct packet *packet)
{
	struct weft_flow_key_v6 *tuple = &packet->tuple;
	__u8 header[20]; /* the fixed part of each must be there, also in a first fragment */
	__u8 *icmp = header;
	__u32 length = 8;

	switch (tuple->protocol) {
	case IPPROTO_TCP:
		if (!load_within(skb, packet, packet->l4_offset, header, 20))
			return WEFT_DROP_MALFORMED;
		packet->tcp_flags = header[13];
		tuple->sport = *(__be16 *)&header[0];
		tuple->dport = *(__be16 *)&header[2];
		return WEFT_DROP_NONE;
	case IPPROTO_SCTP:
		length = 12;
		__attribute__((fallthrough));
	case IPPROTO_UDP:
		if (!load_within(skb, packet, packet->l4_offset, header, length))
			return WEFT_DROP_MALFORMED;
		tuple->sport = *(__be16 *)&header[0];
		tuple->dport = *(__be16 *)&header[2];
		return WEFT_DROP_NONE;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		break;
	default:
		return WEFT_DROP_UNKNOWN_L4;
	}
	if ((tuple->protocol == IPPROTO_ICMP) != packet_is_v4(packet))
		return WEFT_DROP_UNKNOWN_L4;
	if (!load_within(skb, packet, packet->l4_offset, header, length))
		return WEFT_DROP_MALFORMED;
	packet->icmp_type = icmp[0];
	__be16 identifier = *(__be16 *)&icmp[4];

	if (tuple->protocol == IPPROTO_ICMP) {
		if (icmp[0] == ICMP_ECHO)
			tuple->sport = identifier;
		else if (icmp[0] == ICMP_ECHOREPLY)
			tuple->dport = identifier;
		else
			packet->flags |= icmp4_is_error(icmp[0]) ? PACKET_ICMP_ERROR : PACKET_ICMP_OTHER;
	} else {
		if (icmp[0] == ICMPV6_ECHO_REQUEST)
			tuple->sport = identifier;
		else if (icmp[0] == ICMPV6_ECHO_REPLY)
			tuple->dport = identifier;
		else
			packet->flags |= icmp6_is_error(icmp[0]) ? PACKET_ICMP_ERROR : PACKET_ICMP_OTHER;
	}
	return WEFT_DROP_NONE;
}

verified_once enum weft_drop_reason parse_v4(struct __sk_buff *skb, struct packet *packet)
{
	struct iphdr ip;

	if (!packet || bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)))
		return WEFT_DROP_MALFORMED;
	__u32 total = bpf_ntohs(ip.tot_len);

	/* A GSO packet over 64 KiB (BIG TCP) has tot_len 0: trust the buffer's length. */
	if (!total && skb->gso_size)
		total = skb->len - ETH_HLEN;
	if (ip.version != 4 || ip.ihl < 5 || total < ip.ihl * 4 || total > skb->len - ETH_HLEN)
		return WEFT_DROP_MALFORMED;
	packet->flags |= PACKET_V4;
	addr_from_v4(&packet->tuple.saddr, ip.saddr);
	addr_from_v4(&packet->tuple.daddr, ip.daddr);
	packet->tuple.protocol = ip.protocol;
	packet->l4_offset = ETH_HLEN + ip.ihl * 4;
	packet->length = total;
	packet->hop_limit = ip.ttl;
	packet->fragment_id = ip.id;
	packet->fragment_protocol = ip.protocol;
	if (!(ip.frag_off & bpf_htons(IP_DONT_FRAGMENT)))
		packet->flags |= PACKET_LOOSE;
	if (ip.frag_off & bpf_htons(IP_FRAGMENT_OFFSET)) {
		packet->flags |= PACKET_LATER_FRAGMENT;
		return WEFT_DROP_NONE;
	}
	if (ip.frag_off & bpf_htons(IP_MORE_FRAGMENTS))
		packet->flags |= PACKET_FRAGMENT;
	return parse_l4(skb, packet);
}

/* RFC 8200 4.5 */
struct ipv6_fragment_header {
	__u8 next;
	__u8 reserved;
	__be16 offset_more;
	__be32 id;
};

#define IPV6_EXTENSIONS 6 /* extension headers walked before giving up */

verified_once enum weft_drop_reason parse_v6(struct __sk_buff *skb, struct packet *packet)
{
	struct ipv6hdr ip;

	if (!packet || bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)))
		return WEFT_DROP_MALFORMED;
	if (ip.version != 6)
		return WEFT_DROP_MALFORMED;
	__builtin_memcpy(&packet->tuple.saddr, &ip.saddr, 16);
	__builtin_memcpy(&packet->tuple.daddr, &ip.daddr, 16);
	packet->length = ip.payload_len ? bpf_ntohs(ip.payload_len) + sizeof(ip) : skb->len - ETH_HLEN;
	if (packet->length > skb->len - ETH_HLEN)
		return WEFT_DROP_MALFORMED;
	packet->hop_limit = ip.hop_limit;

	__u32 offset = ETH_HLEN + sizeof(ip);
	__u8 next = ip.nexthdr;

	for (int i = 0; i < IPV6_EXTENSIONS; i++) {
		if (next == IPPROTO_FRAGMENT) {
			struct ipv6_fragment_header fragment;

			if (!load_within(skb, packet, offset, &fragment, sizeof(fragment)))
				return WEFT_DROP_MALFORMED;
			packet->fragment_id = fragment.id;
			packet->fragment_protocol = fragment.next;
			next = fragment.next;
			offset += sizeof(fragment);
			if (fragment.offset_more & bpf_htons(0xfff8)) {
				packet->flags |= PACKET_LATER_FRAGMENT;
				break;
			}
			if (fragment.offset_more & bpf_htons(1))
				packet->flags |= PACKET_FRAGMENT;
		} else if (next == IPPROTO_HOPOPTS || next == IPPROTO_DSTOPTS || next == IPPROTO_ROUTING) {
			__u8 header[2];

			if (!load_within(skb, packet, offset, header, sizeof(header)))
				return WEFT_DROP_MALFORMED;
			next = header[0];
			offset += (header[1] + 1) * 8;
		} else {
			break;
		}
	}
	packet->tuple.protocol = next;
	packet->l4_offset = offset;
	if (packet->flags & PACKET_LATER_FRAGMENT)
		return WEFT_DROP_NONE;
	return parse_l4(skb, packet);
}
