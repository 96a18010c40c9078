/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Takes other nodes' packets out of their tunnels: out of the kernel's VXLAN device and out of WireGuard devices,
 * which have taken off what was outside, and out of Geneve and IP-in-IP at an uplink. Who sent them is scratch->outer_source, and what that node says
 * of the one inside scratch->tunnel_identity. */
#pragma once

#include "lib/encapsulate_take.h"

#define PACKET_TYPE_HOST 0 /* linux/if_packet.h */

/* What a node may say of another one's endpoint (lib/tunnel_send.h). */
inline_always bool identity_is_abroad(__u32 identity)
{
	return identity > WEFT_IDENTITY_HOST && identity <= WEFT_IDENTITY_LAST;
}

/* The node that has the source of the packet of that family at `offset`; 0: none. */
inline_always __u32 tunnel_source_node(struct __sk_buff *skb, __u32 offset, bool v4)
{
	struct weft_addr source;
	__be32 source_v4;

	if (v4) {
		if (bpf_skb_load_bytes(skb, offset + offsetof(struct iphdr, saddr), &source_v4, sizeof(source_v4)))
			return 0;
		addr_from_v4(&source, source_v4);
	} else if (bpf_skb_load_bytes(skb, offset + offsetof(struct ipv6hdr, saddr), &source, sizeof(source))) {
		return 0;
	}
	return node_of(&source);
}

/* Whether scratch->outer_source, out of whose tunnel in clear the packet of that family at `offset` came, may send it: a
 * node of the cluster, which speaks for nobody on another one, nor in clear for itself if it encrypts. Where its tunnels end
 * they also begin. What nobody in the cluster has may be what a gateway sends on. Fills scratch->sender_node. A reason to
 * drop the packet, or none. */
verified_once int tunnel_check_sender(struct __sk_buff *skb, __u32 offset, bool v4)
{
	struct scratch *s = scratch_get();
	const struct weft_node *node;
	bool encrypts;

	if (!s)
		return WEFT_DROP_TUNNEL_SENDER;
	s->sender_node = tunnel_source_node(skb, offset, v4);
	node = s->sender_node ? node_get(s->sender_node) : NULL;
	encrypts = node && node_encrypts(node);
	if (likely(node && !encrypts && addr_equal(&node->addr, &s->outer_source)))
		return WEFT_DROP_NONE;
	if (!sender_is_node(&s->outer_source))
		return WEFT_DROP_TUNNEL_SENDER;
	if (!s->sender_node)
		return WEFT_DROP_NONE;
	return encrypts ? WEFT_DROP_OUTSIDE_TUNNEL : WEFT_DROP_TUNNEL_SOURCE;
}

/* The packet comes out of the VXLAN device. A reason to drop it, or none. */
verified_once int vxlan_take(struct __sk_buff *skb)
{
	struct scratch *s = scratch_get();
	struct bpf_tunnel_key key = {};
	int reason;

	if (!s)
		return WEFT_DROP_TUNNEL_SENDER;
	if (!bpf_skb_get_tunnel_key(skb, &key, sizeof(key), 0))
		addr_from_v4(&s->outer_source, bpf_htonl(key.remote_ipv4));
	else if (!bpf_skb_get_tunnel_key(skb, &key, sizeof(key), BPF_F_TUNINFO_IPV6))
		__builtin_memcpy(&s->outer_source, key.remote_ipv6, 16);
	else
		return WEFT_DROP_TUNNEL_SENDER;
	if (!identity_is_abroad(key.tunnel_id))
		return WEFT_DROP_TUNNEL_SENDER;
	s->tunnel_identity = key.tunnel_id;
	reason = tunnel_check_sender(skb, ETH_HLEN, skb->protocol == bpf_htons(ETH_P_IP));
	if (unlikely(reason))
		return reason;
	/* Its Ethernet header is the sending node's business. */
	if (skb->pkt_type != PACKET_TYPE_HOST)
		bpf_skb_change_type(skb, PACKET_TYPE_HOST);
	return WEFT_DROP_NONE;
}

/* Whether a packet without MAC header is what another node itself says to this one (encryption_node_to_node): the
 * stack's, like all that nodes say to each other. */
verified_once int wireguard_between_nodes(struct __sk_buff *skb)
{
	struct weft_addr source, destination;
	struct weft_remote *remote;

	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		__be32 pair[2];

		if (bpf_skb_load_bytes(skb, offsetof(struct iphdr, saddr), pair, sizeof(pair)))
			return false;
		addr_from_v4(&source, pair[0]);
		addr_from_v4(&destination, pair[1]);
	} else if (bpf_skb_load_bytes(skb, offsetof(struct ipv6hdr, saddr), &source, sizeof(source)) ||
		   bpf_skb_load_bytes(skb, offsetof(struct ipv6hdr, daddr), &destination, sizeof(destination))) {
		return false;
	}
	remote = bpf_map_lookup_elem(&weft_remote_v1, &source);
	return remote && !remote->node && (remote->flags & WEFT_REMOTE_NODE) &&
	       endpoint_is_host(endpoint_find(&destination));
}

/* The packet comes out of a WireGuard device, from the node whose key has its source address (AllowedIPs). It has no
 * MAC header, which everything after here begins with. A reason to drop it, or none. */
verified_once int wireguard_take(struct __sk_buff *skb)
{
	struct scratch *s = scratch_get();
	__be16 type = skb->protocol;

	if (!s || (type != bpf_htons(ETH_P_IP) && type != bpf_htons(ETH_P_IPV6)))
		return WEFT_DROP_UNKNOWN_L3;
	s->tunnel_identity = 0; /* it says nothing */
	if (bpf_skb_change_head(skb, ETH_HLEN, 0) ||
	    bpf_skb_store_bytes(skb, offsetof(struct ethhdr, h_proto), &type, sizeof(type), 0))
		return WEFT_DROP_ENCAPSULATION;
	return WEFT_DROP_NONE;
}

/* Whether the packet may be a tunnel's: few instructions for what is none. */
inline_always bool tunnel_suspected(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	struct iphdr *ip4 = data + ETH_HLEN;
	struct ipv6hdr *ip6 = data + ETH_HLEN;
	struct udphdr *udp;
	__u8 protocol;

	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		if ((void *)(ip4 + 1) > end)
			return false;
		protocol = ip4->protocol;
		udp = (void *)(ip4 + 1);
	} else if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		if ((void *)(ip6 + 1) > end)
			return false;
		protocol = ip6->nexthdr;
		udp = (void *)(ip6 + 1);
	} else {
		return false;
	}
	if (protocol == IPPROTO_UDP)
		return (void *)(udp + 1) <= end && udp->dest == bpf_htons(WEFT_GENEVE_PORT);
	return protocol == IPPROTO_IPIP || protocol == IPPROTO_IPV6;
}

enum geneve_content {
	GENEVE_OF_TUNNEL, /* as a node's tunnel sends it */
	GENEVE_OTHER, /* with options, Ethernet or an operator's message: some other use of the port */
	GENEVE_BROKEN, /* of which RFC 8926 says that whoever ends a tunnel drops it (3.4, 3.5) */
};

/* What the datagram to the port holds whose `length` bytes from `offset` on these are; of a tunnel's, fills
 * scratch->tunnel_identity. */
inline_always enum geneve_content tunnel_read_geneve(struct __sk_buff *skb, struct scratch *s, __u32 offset, __u32 length,
						     bool *inner_v4)
{
	struct {
		struct udphdr udp;
		struct geneve_base geneve;
	} header;

	if (length < sizeof(header) || bpf_skb_load_bytes(skb, offset, &header, sizeof(header)))
		return GENEVE_BROKEN;
	__u32 options = (header.geneve.version_options & 0x3f) * 4;

	if (header.geneve.version_options >> 6 || (header.geneve.flags & GENEVE_CRITICAL) || sizeof(header) + options > length)
		return GENEVE_BROKEN;
	if (options || (header.geneve.flags & GENEVE_CONTROL) || (bpf_ntohs(header.udp.len) != length && length <= 0xffff))
		return GENEVE_OTHER;
	*inner_v4 = header.geneve.protocol == bpf_htons(ETH_P_IP);
	s->tunnel_identity = bpf_ntohl(header.geneve.vni) >> 8;
	return *inner_v4 || header.geneve.protocol == bpf_htons(ETH_P_IPV6) ? GENEVE_OF_TUNNEL : GENEVE_OTHER;
}

/* Of what is broken in a datagram to this node's Geneve: from another node's it is dropped. Who else sends such is left to
 * whoever else may listen there. */
inline_always int tunnel_refuse_broken(const struct scratch *s, const struct weft_config *config)
{
	return config && (config->flags & WEFT_CONFIG_GENEVE) && sender_is_node(&s->outer_source) ? WEFT_DROP_MALFORMED :
												     WEFT_DROP_NONE;
}

/* Whether the packet of that family at `offset`, from nobody on another node, is what an egress gateway sends a pod
 * here: of IP-in-IP between nodes the rest has a client's packet inside, or is a tunnel of somebody else's. */
inline_always bool tunnel_answers_pod(struct __sk_buff *skb, __u32 offset, bool v4)
{
	const struct weft_config *config = config_get();
	struct weft_addr destination;
	__be32 destination_v4;

	if (!config || !(config->flags & WEFT_CONFIG_EGRESS))
		return false;
	if (v4) {
		if (bpf_skb_load_bytes(skb, offset + offsetof(struct iphdr, daddr), &destination_v4, sizeof(destination_v4)))
			return false;
		addr_from_v4(&destination, destination_v4);
	} else if (bpf_skb_load_bytes(skb, offset + offsetof(struct ipv6hdr, daddr), &destination, sizeof(destination))) {
		return false;
	}
	return endpoint_is_pod(endpoint_find(&destination));
}

/* The bytes before the packet inside; 0: it is no tunnel's of a node to this one. `*reason`: why it is dropped, or none. */
inline_always __u32 tunnel_read(struct __sk_buff *skb, struct scratch *s, const struct weft_config *config, bool v4,
				bool *inner_v4, int *reason)
{
	__u32 strip = v4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
	__u8 protocol = 0;
	__u32 room = take_read_ip(skb, s, v4, &protocol);
	bool geneve = protocol == IPPROTO_UDP;
	__u32 length;

	s->tunnel_identity = 0;
	if (!room || !endpoint_is_host(endpoint_find(&s->named_addr)))
		return 0;
	*inner_v4 = protocol == IPPROTO_IPIP;
	if (geneve) {
		enum geneve_content content = tunnel_read_geneve(skb, s, ETH_HLEN + strip, room, inner_v4);

		if (content == GENEVE_BROKEN)
			*reason = tunnel_refuse_broken(s, config);
		if (content != GENEVE_OF_TUNNEL)
			return 0;
		strip += sizeof(struct udphdr) + sizeof(struct geneve_base);
		room -= sizeof(struct udphdr) + sizeof(struct geneve_base);
	}
	length = take_length(skb, ETH_HLEN + strip, *inner_v4);
	if (!length || length > room) {
		*reason = geneve ? tunnel_refuse_broken(s, config) : WEFT_DROP_NONE;
		return 0;
	}
	*reason = tunnel_check_sender(skb, ETH_HLEN + strip, *inner_v4);
	if (*reason == WEFT_DROP_TUNNEL_SENDER ||
	    (!geneve && !s->sender_node && !tunnel_answers_pod(skb, ETH_HLEN + strip, *inner_v4))) {
		*reason = WEFT_DROP_NONE; /* somebody else's, to whoever else may know it */
		return 0;
	}
	return strip;
}

/* Takes `strip` bytes off before a packet of the other family than the outer one's, which alone tells the kernel of
 * its family: that is changed with the difference of both headers. */
inline_always long tunnel_change_family(struct __sk_buff *skb, __u32 *strip, bool inner_v4)
{
	const __u32 difference = sizeof(struct ipv6hdr) - sizeof(struct iphdr);
	__be16 type = inner_v4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);

	*strip += inner_v4 ? -difference : difference;
	return bpf_skb_change_proto(skb, type, 0) ||
	       bpf_skb_store_bytes(skb, offsetof(struct ethhdr, h_proto), &type, sizeof(type), 0);
}

/* Takes `strip` bytes off before the packet inside. */
inline_always long tunnel_strip(struct __sk_buff *skb, __u32 strip, bool v4, bool inner_v4)
{
	if (inner_v4 != v4 && tunnel_change_family(skb, &strip, inner_v4))
		return -1;
	return bpf_skb_adjust_room(skb, -(int)strip, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO);
}

/* Takes what an egress gateway is sent, or sends back, out of the IP-in-IP that came out of a WireGuard device. Its
 * sender is the node whose gateway's address the outer packet has (AllowedIPs): it may have pods of that node inside,
 * and answers to pods here. A reason to drop it, or none; what is no such packet stays as it is. */
verified_once int wireguard_unwrap(struct __sk_buff *skb)
{
	struct scratch *s = scratch_get();
	bool v4 = skb->protocol == bpf_htons(ETH_P_IP);
	__u32 strip = v4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
	__u32 inside = ETH_HLEN + strip;
	struct weft_remote *sender;
	__u8 protocol = 0;
	__u32 length;
	__u32 room;

	if (!s)
		return WEFT_DROP_TUNNEL_SENDER;
	room = take_read_ip(skb, s, v4, &protocol);
	bool inner_v4 = protocol == IPPROTO_IPIP;

	if (!room || (!inner_v4 && protocol != IPPROTO_IPV6))
		return WEFT_DROP_NONE;
	sender = bpf_map_lookup_elem(&weft_remote_v1, &s->outer_source);
	if (!sender || !sender->node || !(sender->flags & WEFT_REMOTE_NODE) || !endpoint_is_host(endpoint_find(&s->named_addr)))
		return WEFT_DROP_TUNNEL_SENDER;
	__u32 node = sender->node;

	s->sender_node = tunnel_source_node(skb, inside, inner_v4);
	if (s->sender_node && s->sender_node != node)
		return WEFT_DROP_TUNNEL_SOURCE;
	if (!s->sender_node && !tunnel_answers_pod(skb, inside, inner_v4))
		return WEFT_DROP_TUNNEL_SENDER;
	length = take_length(skb, inside, inner_v4);
	if (!length || length > room)
		return WEFT_DROP_ENCAPSULATION;
	return tunnel_strip(skb, strip, v4, inner_v4) ? WEFT_DROP_ENCAPSULATION : WEFT_DROP_NONE;
}

/* The same of a tunnel built by another node's programs, at an uplink: TAKE_PLAIN, TAKE_TAKEN or a verdict. */
verified_once int tunnel_take(struct __sk_buff *skb, const struct weft_config *config)
{
	struct scratch *s = scratch_get();
	bool v4 = skb->protocol == bpf_htons(ETH_P_IP);
	bool inner_v4 = false;
	int reason = WEFT_DROP_NONE;
	__u32 strip;

	if (!s || !config || (!v4 && skb->protocol != bpf_htons(ETH_P_IPV6)))
		return TAKE_PLAIN;
	strip = tunnel_read(skb, s, config, v4, &inner_v4, &reason);
	if (unlikely(reason))
		return drop(skb, reason);
	if (!strip)
		return TAKE_PLAIN;
	/* IP-in-IP says nothing */
	if (s->tunnel_identity && !identity_is_abroad(s->tunnel_identity))
		return drop(skb, WEFT_DROP_TUNNEL_SENDER);
	if (tunnel_strip(skb, strip, v4, inner_v4))
		return drop(skb, WEFT_DROP_ENCAPSULATION);
	return TAKE_TAKEN;
}
