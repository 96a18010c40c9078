/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* A pod's packet inside another one, to the node that has its destination: by a VXLAN or WireGuard device, or put
 * into Geneve or IP-in-IP here. Segments of a large packet each get the outer headers when they are made. */
#pragma once

#include "abi/hash.h"
#include "lib/node.h"
#include "lib/path_mtu.h"
#include "maps/egress.h"
#include "lib/outer.h"
#include "lib/scratch.h"

/* All outer headers at most: IPv6, UDP, Geneve. */
struct tunnel_room {
	__u8 bytes[sizeof(struct ipv6hdr) + sizeof(struct udphdr) + sizeof(struct geneve_base)];
};

/* Identities that another node understands: those of CIDRs are this node's own, and its host is another's remote node. */
inline_always __u32 identity_abroad(__u32 identity)
{
	if (identity == WEFT_IDENTITY_HOST)
		return WEFT_IDENTITY_REMOTE_NODE;
	return identity > WEFT_IDENTITY_LAST ? WEFT_IDENTITY_WORLD : identity;
}

/* Of who sends the packets of the entry's direction. */
inline_always __u32 tunnel_identity(const struct weft_flow *flow)
{
	return identity_abroad(flow->flags & WEFT_FLOW_REPLY ? flow->dst_identity : flow->src_identity);
}

inline_always int vxlan_send(struct __sk_buff *skb, const struct weft_flow *flow, const struct weft_node *node, __u8 tos)
{
	struct bpf_tunnel_key key = {};
	__u64 flags = BPF_F_ZERO_CSUM_TX | BPF_F_DONT_FRAGMENT;

	key.tunnel_id = tunnel_identity(flow);
	key.tunnel_ttl = ENCAPSULATION_HOP_LIMIT;
	key.tunnel_tos = tos & DSCP_MASK;
	/* The kernel puts fragments together before its device sees them. */
	if (unlikely(path_mtus_known()) && may_be_fragmented(skb))
		flags &= ~BPF_F_DONT_FRAGMENT;
	if (addr_is_v4(&node->addr)) {
		key.remote_ipv4 = bpf_ntohl(node->addr.word[3]);
		key.local_ipv4 = bpf_ntohl(node->source.word[3]);
	} else {
		__builtin_memcpy(key.remote_ipv6, &node->addr, 16);
		__builtin_memcpy(key.local_ipv6, &node->source, 16);
		flags |= BPF_F_TUNINFO_IPV6;
	}
	if (bpf_skb_set_tunnel_key(skb, &key, sizeof(key), flags))
		return -1;
	return bpf_redirect(flow->out_ifindex, 0);
}

/* Another source port for every flow, so that routers spread them: from what stands where a packet without options
 * has its addresses and ports. */
inline_always __be16 tunnel_port(struct __sk_buff *skb, bool v4)
{
	__u32 words[3] = {}; /* of source and destination the last, ports */

	if (v4)
		bpf_skb_load_bytes(skb, ETH_HLEN + offsetof(struct iphdr, saddr), words, sizeof(words));
	else if (!bpf_skb_load_bytes(skb, ETH_HLEN + offsetof(struct ipv6hdr, saddr) + 12, words, 4))
		bpf_skb_load_bytes(skb, ETH_HLEN + offsetof(struct ipv6hdr, daddr) + 12, words + 1, 8);
	__u32 hash = weft_hash_final(weft_hash_word(weft_hash_word(words[0], words[1]), words[2]));

	return bpf_htons(GENEVE_SOURCE_PORTS | (hash & 0x3fff));
}

/* The first three flags are constants where it is called. */
inline_always long tunnel_wrap(struct __sk_buff *skb, const struct weft_node *node, __u32 vni, __u8 tos,
			       bool outer_is_v4, bool geneve, bool inner_v4)
{
	__u32 header = outer_is_v4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
	__u32 udp = geneve ? sizeof(struct udphdr) + sizeof(struct geneve_base) : 0;
	__u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO |
		      (outer_is_v4 ? BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 : BPF_F_ADJ_ROOM_ENCAP_L3_IPV6) |
		      (geneve ? BPF_F_ADJ_ROOM_ENCAP_L4_UDP : 0);
	__be16 type = outer_is_v4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);
	__u8 protocol = geneve ? IPPROTO_UDP : inner_v4 ? IPPROTO_IPIP : IPPROTO_IPV6;
	__u32 length = skb->len - ETH_HLEN;
	struct tunnel_room room;

	if (outer_is_v4)
		outer_v4((void *)&room, &node->source, &node->addr, length + udp, protocol, tos);
	else
		outer_v6((void *)&room, &node->source, &node->addr, length + udp, protocol, tos);
	if (geneve)
		outer_geneve((void *)&room + header, tunnel_port(skb, inner_v4), length, inner_v4, 0, vni);
	if (bpf_skb_adjust_room(skb, header + udp, BPF_ADJ_ROOM_MAC, flags))
		return -1;
	if (outer_is_v4 != inner_v4 && bpf_skb_store_bytes(skb, offsetof(struct ethhdr, h_proto), &type, 2, 0))
		return -1;
	return bpf_skb_store_bytes(skb, ETH_HLEN, &room, header + udp, 0);
}

inline_always long tunnel_wrap_family(struct __sk_buff *skb, const struct weft_node *node, __u32 vni, __u8 tos,
				      bool inner_v4)
{
	bool geneve = node->way == WEFT_WAY_GENEVE;

	if (addr_is_v4(&node->addr))
		return geneve ? tunnel_wrap(skb, node, vni, tos, true, true, inner_v4) :
				tunnel_wrap(skb, node, vni, tos, true, false, inner_v4);
	return geneve ? tunnel_wrap(skb, node, vni, tos, false, true, inner_v4) :
			tunnel_wrap(skb, node, vni, tos, false, false, inner_v4);
}

/* The row's device, not the flow's: a node's packets move to a new key's device all at once. Packets of an egress
 * gateway have an address of nobody's in the cluster, and WireGuard finds, and believes, by nodes' and pods' addresses
 * only: they go in IP-in-IP between the nodes' gateways. */
inline_always int wireguard_send(struct __sk_buff *skb, const struct weft_flow *flow, const struct weft_node *node, __u8 tos,
				 bool v4)
{
	if (!node->ifindex)
		return -1;
	if (node_wraps(node, flow->flags) &&
	    (addr_is_zero(&node->addr) || tunnel_wrap_family(skb, node, 0, tos, v4)))
		return -1;
	return bpf_redirect(node->ifindex, 0);
}

/* As it is, to an egress gateway on one network with this node. */
inline_always int next_hop_send(const struct weft_flow *flow, bool v4)
{
	struct scratch *s = scratch_get();
	const struct weft_next_hop *hop;
	__u32 index = flow->node;

	hop = bpf_map_lookup_elem(&weft_nexthop_v1, &index);
	if (!s || !hop)
		return -1;
	SCRATCH_ZERO(&s->next_hop);
	if (v4) {
		s->next_hop.nh_family = ADDRESS_FAMILY_V4;
		s->next_hop.ipv4_nh = hop->v4.word[3];
	} else {
		s->next_hop.nh_family = ADDRESS_FAMILY_V6;
		__builtin_memcpy(s->next_hop.ipv6_nh, &hop->v6, 16);
	}
	return bpf_redirect_neigh(flow->out_ifindex, &s->next_hop, sizeof(s->next_hop), 0);
}

/* Sends the packet along an entry of WEFT_EXIT_TUNNEL. A verdict. */
verified_once int tunnel_send(struct __sk_buff *skb, const struct weft_flow *flow)
{
	const struct weft_node *node;
	__u8 start[2];

	if (!flow || bpf_skb_load_bytes(skb, ETH_HLEN, start, sizeof(start)))
		return TC_ACT_SHOT;
	node = node_get(flow->node);
	if (!node) {
		count_drop(WEFT_DROP_NODE_UNKNOWN, skb->len);
		return TC_ACT_SHOT;
	}
	bool v4 = start[0] >> 4 == 4;
	__u8 tos = ip_tos(start, v4);
	int verdict = -1;

	if (node->way == WEFT_WAY_REFUSED) {
		count_drop(WEFT_DROP_UNENCRYPTED, skb->len);
		return TC_ACT_SHOT;
	}
	if (node->way == WEFT_WAY_VXLAN)
		verdict = vxlan_send(skb, flow, node, tos);
	else if (node->way == WEFT_WAY_WIREGUARD)
		verdict = wireguard_send(skb, flow, node, tos, v4);
	else if (node->way == WEFT_WAY_DIRECT)
		verdict = next_hop_send(flow, v4);
	else if (!tunnel_wrap_family(skb, node, tunnel_identity(flow), tos, v4))
		verdict = bpf_redirect_neigh(flow->out_ifindex, NULL, 0, 0);
	if (verdict < 0) {
		count_drop(WEFT_DROP_ENCAPSULATION, skb->len);
		return TC_ACT_SHOT;
	}
	return verdict;
}
