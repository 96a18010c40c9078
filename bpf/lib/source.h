/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Whether a packet may have the source it claims. */
#pragma once

#include "lib/decide.h"
#include "lib/external.h"

#define IP_OPTION_END 0
#define IP_OPTION_NOOP 1
#define IP_OPTION_BYTES 40 /* at most */

#define IP_OPTION_LOOSE_ROUTE 131
#define IP_OPTION_STRICT_ROUTE 137

/* Why an IPv4 packet's options do not leave a pod: one names a frontend, which only nodes send each other (docs/xdp.md), or
 * the routers of the way (RFC 7126, 4.3 and 4.4). */
verified_once int check_options(struct __sk_buff *skb, __u32 end)
{
	__u32 at = ETH_HLEN + sizeof(struct iphdr);
	__u8 option[2];

	for (int i = 0; i < IP_OPTION_BYTES; i++) {
		if (at >= end || bpf_skb_load_bytes(skb, at, option, 1) || option[0] == IP_OPTION_END)
			return WEFT_DROP_NONE;
		if (option[0] == WEFT_IP_OPTION_FRONTEND)
			return WEFT_DROP_ENCAPSULATION;
		if (option[0] == IP_OPTION_LOOSE_ROUTE || option[0] == IP_OPTION_STRICT_ROUTE)
			return WEFT_DROP_SOURCE_ROUTE;
		option[1] = 1;
		if (option[0] != IP_OPTION_NOOP && (bpf_skb_load_bytes(skb, at + 1, option + 1, 1) || option[1] < 2))
			return WEFT_DROP_NONE;
		at += option[1];
	}
	return WEFT_DROP_NONE;
}

inline_always __u8 options_refused(struct __sk_buff *skb, const struct packet *packet)
{
	__u32 options = ETH_HLEN + sizeof(struct iphdr);

	return packet_is_v4(packet) && unlikely(packet->l4_offset > options) ? check_options(skb, packet->l4_offset) :
									       WEFT_DROP_NONE;
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

/* Whether the packet's source, which nothing here has, is another node's that sends by a tunnel. Fills
 * scratch->sender_node. */
inline_always bool sender_must_tunnel(struct scratch *s, const struct weft_config *config)
{
	if (likely(!(config->flags & WEFT_CONFIG_NODES)))
		return false;
	s->sender_node = node_of(&s->packet.tuple.saddr);
	return node_is_tunneled(s->sender_node);
}

/* Whether the source of what came out of a tunnel is another node's: nobody there has an address of this one. With egress
 * gateways it may be anybody's outside, who answers. */
verified_once int check_from_tunnel(const struct weft_config *config)
{
	struct scratch *s = scratch_get();

	if (!s || !config)
		return WEFT_DROP_SPOOFED_SOURCE;
	s->sender_node = node_of(&s->packet.tuple.saddr);
	return (s->sender_node || (config->flags & WEFT_CONFIG_EGRESS)) && !endpoint_find(&s->packet.tuple.saddr) ?
		       WEFT_DROP_NONE :
		       WEFT_DROP_SPOOFED_SOURCE;
}

/* Whether the node itself sends the packet, and to another node's address: its neighbours and groups are the
 * device's own business, DECIDE_NOT_OURS. */
verified_once int check_from_host(void)
{
	struct scratch *s = scratch_get();

	if (!s || !node_of(&s->packet.tuple.daddr))
		return DECIDE_NOT_OURS;
	return endpoint_is_host(endpoint_find(&s->packet.tuple.saddr)) ? WEFT_DROP_NONE : WEFT_DROP_SPOOFED_SOURCE;
}

/* The same where there are other nodes: also one of another node's addresses, and any to a pod here, which a flow from
 * such an address may begin with. What nodes say to each other, tunnels too, is neither, and is known by one lookup. */
inline_always bool node_concerned(struct __sk_buff *skb, const struct weft_config *config,
				  const struct weft_addr *source, const struct weft_addr *destination)
{
	struct weft_remote *remote = bpf_map_lookup_elem(&weft_remote_v1, source);

	if (remote)
		return remote->node;
	/* A pod that nothing is known of yet is not to leave the cluster by the stack. */
	return source_is_inside(skb, source) || endpoint_is_pod(endpoint_find(destination)) ||
	       (unlikely(config->flags & WEFT_CONFIG_EGRESS) && node_of(source));
}

/* Whether the slow path has to look at a plain packet of no flow at an uplink: it claims an address from inside,
 * or may be a client's. Cheaper than the slow path. */
inline_always bool device_concerned(struct __sk_buff *skb, const struct weft_config *config)
{
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	struct weft_addr addr, to;
	__u8 *l4;
	__u8 protocol;

	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = data + ETH_HLEN;

		if ((void *)(ip + 1) > end)
			return true;
		addr_from_v4(&addr, ip->saddr);
		addr_from_v4(&to, ip->daddr);
		protocol = ip->protocol;
		l4 = (void *)(ip + 1);
	} else {
		struct ipv6hdr *ip = data + ETH_HLEN;

		if ((void *)(ip + 1) > end)
			return true;
		__builtin_memcpy(&addr, &ip->saddr, 16);
		__builtin_memcpy(&to, &ip->daddr, 16);
		protocol = ip->nexthdr;
		l4 = (void *)(ip + 1);
	}
	if ((void *)(l4 + 4) > end || external_wanted(config, protocol, *(__be16 *)(l4 + 2)))
		return true;
	if (unlikely(config->flags & WEFT_CONFIG_NODES))
		return node_concerned(skb, config, &addr, &to);
	return source_is_inside(skb, &addr);
}

/* Whether a packet from the stack wears a pod's address without having come from that pod, or the
 * node's without having been made there. */
inline_always bool forged_towards_pod(struct __sk_buff *skb, const struct weft_endpoint *src)
{
	return src && skb->ingress_ifindex && skb->ingress_ifindex != src->ifindex;
}
