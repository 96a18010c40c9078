/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Whether a packet may have the source it claims. */
#pragma once

#include "lib/decide.h"
#include "lib/external.h"

#define IP_OPTION_END 0
#define IP_OPTION_NOOP 1
#define IP_OPTION_BYTES 40 /* at most */

/* Whether an IPv4 packet has the option that names a frontend, which only nodes send each other (docs/xdp.md). */
verified_once bool find_frontend_option(struct __sk_buff *skb, __u32 end)
{
	__u32 at = ETH_HLEN + sizeof(struct iphdr);
	__u8 option[2];

	for (int i = 0; i < IP_OPTION_BYTES; i++) {
		if (at >= end || bpf_skb_load_bytes(skb, at, option, 1) || option[0] == IP_OPTION_END)
			return false;
		if (option[0] == WEFT_IP_OPTION_FRONTEND)
			return true;
		option[1] = 1;
		if (option[0] != IP_OPTION_NOOP && (bpf_skb_load_bytes(skb, at + 1, option + 1, 1) || option[1] < 2))
			return false;
		at += option[1];
	}
	return false;
}

inline_always bool carries_frontend(struct __sk_buff *skb, const struct packet *packet)
{
	__u32 options = ETH_HLEN + sizeof(struct iphdr);

	return packet_is_v4(packet) && unlikely(packet->l4_offset > options) && find_frontend_option(skb, packet->l4_offset);
}

/* Checks only a pod's own device makes. Non-zero: the drop reason; `silent` when it is no news.
 * Zero: *source is the pod. */
inline_always __u8 check_from_pod(struct __sk_buff *skb, struct packet *packet, bool *silent,
				  struct weft_endpoint **source)
{
	struct weft_flow_key_v6 *tuple = &packet->tuple;
	bool v4 = packet_is_v4(packet);
	struct weft_endpoint *src;

	*silent = false;
	if (address_is_group(&tuple->daddr, v4)) {
		*silent = packet->flags & PACKET_ICMP_OTHER;
		return WEFT_DROP_MULTICAST;
	}
	if (!v4 && ((tuple->saddr.word[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000) ||
		    (tuple->daddr.word[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000))) {
		*silent = true;
		return WEFT_DROP_LINK_LOCAL;
	}
	if (address_reserved(&tuple->saddr, v4) || address_reserved(&tuple->daddr, v4))
		return WEFT_DROP_RESERVED_ADDRESS;
	src = endpoint_find(&tuple->saddr);
	if (!src || src->ifindex != skb->ifindex)
		return WEFT_DROP_SPOOFED_SOURCE;
	*source = src;
	return 0;
}

/* What the node itself sent to a group comes back to its own programs (ip(7), IP_MULTICAST_LOOP). */
#define PACKET_TYPE_LOOPBACK 5 /* linux/if_packet.h */

/* Whether nobody outside can have this source: a pod's address, or the node's. */
inline_always bool source_is_inside(struct __sk_buff *skb, const struct weft_addr *addr)
{
	return endpoint_find(addr) && skb->pkt_type != PACKET_TYPE_LOOPBACK;
}

/* Whether the slow path has to look at a plain packet of no flow at an uplink: it claims an address from inside,
 * or may be a client's. Cheaper than the slow path. */
inline_always bool device_concerned(struct __sk_buff *skb, const struct weft_config *config)
{
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	struct weft_addr addr;
	__u8 *l4;
	__u8 protocol;

	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = data + ETH_HLEN;

		if ((void *)(ip + 1) > end)
			return true;
		addr_from_v4(&addr, ip->saddr);
		protocol = ip->protocol;
		l4 = (void *)(ip + 1);
	} else {
		struct ipv6hdr *ip = data + ETH_HLEN;

		if ((void *)(ip + 1) > end)
			return true;
		__builtin_memcpy(&addr, &ip->saddr, 16);
		protocol = ip->nexthdr;
		l4 = (void *)(ip + 1);
	}
	if ((void *)(l4 + 4) > end || external_wanted(config, protocol, *(__be16 *)(l4 + 2)))
		return true;
	return source_is_inside(skb, &addr);
}

/* Whether a packet from the stack wears a pod's address without having come from that pod, or the
 * node's without having been made there. */
inline_always bool forged_towards_pod(struct __sk_buff *skb, const struct weft_endpoint *src)
{
	return src && skb->ingress_ifindex && skb->ingress_ifindex != src->ifindex;
}
