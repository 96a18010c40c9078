/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Encapsulation at tc: where XDP is off, or could not carry the packet. Segments of a large packet each get the
 * outer headers when they are made. */
#pragma once

#include "lib/encapsulate.h"
#include "lib/exit.h"

/* Both outer headers at most: IPv6, UDP, Geneve. */
struct outer_room {
	__u8 bytes[sizeof(struct ipv6hdr) + UDP_GENEVE];
};

/* The flags are constants where it is called. */
inline_always long tc_wrap(struct __sk_buff *skb, const struct weft_flow *flow, __u32 length, __u8 tos,
			   bool outer_is_v4, bool inner_v4, bool geneve)
{
	__u32 size = (outer_is_v4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr)) + (geneve ? UDP_GENEVE : 0);
	__u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO |
		      (outer_is_v4 ? BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 : BPF_F_ADJ_ROOM_ENCAP_L3_IPV6) |
		      (geneve ? BPF_F_ADJ_ROOM_ENCAP_L4_UDP : 0);
	__be16 type = outer_is_v4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);
	struct outer_room room;

	outer_headers(&room, flow, length, tos, outer_is_v4, inner_v4, geneve);
	if (bpf_skb_adjust_room(skb, size, BPF_ADJ_ROOM_MAC, flags))
		return -1;
	if (outer_is_v4 != inner_v4 && bpf_skb_store_bytes(skb, offsetof(struct ethhdr, h_proto), &type, 2, 0))
		return -1;
	return bpf_skb_store_bytes(skb, ETH_HLEN, &room, size, 0);
}

/* The backend as destination, the frontend in an option. */
inline_always long tc_wrap_option(struct __sk_buff *skb, const struct packet *packet, const struct weft_flow *flow)
{
	const struct weft_flow_key_v6 *tuple = &packet->tuple;
	struct {
		struct iphdr ip;
		struct frontend_option option;
	} header = {};

	if (rewrite_destination_v4(skb, tuple, packet->l4_offset, &flow->dst_addr, flow->dst_port) ||
	    bpf_skb_adjust_room(skb, sizeof(header.option), BPF_ADJ_ROOM_NET, BPF_F_ADJ_ROOM_FIXED_GSO) ||
	    bpf_skb_load_bytes(skb, ETH_HLEN, &header.ip, sizeof(header.ip)))
		return -1;
	header.option.type = WEFT_IP_OPTION_FRONTEND;
	header.option.length = sizeof(header.option);
	header.option.addr = tuple->daddr.word[3];
	header.option.port = tuple->dport;
	header.ip.ihl = sizeof(header) / 4;
	header.ip.tot_len = bpf_htons(bpf_ntohs(header.ip.tot_len) + sizeof(header.option));
	header.ip.check = 0;
	header.ip.check = ~checksum_fold(bpf_csum_diff(NULL, 0, (__be32 *)&header, sizeof(header), 0));
	return bpf_skb_store_bytes(skb, ETH_HLEN, &header, sizeof(header), 0);
}

inline_always long tc_wrap_family(struct __sk_buff *skb, const struct weft_flow *flow, __u32 length, __u8 tos, bool inner_v4)
{
	bool geneve = flow->encapsulation == WEFT_ENCAPSULATION_GENEVE;

	if (addr_is_v4(&flow->dst_addr))
		return geneve ? tc_wrap(skb, flow, length, tos, true, inner_v4, true) :
				tc_wrap(skb, flow, length, tos, true, inner_v4, false);
	return geneve ? tc_wrap(skb, flow, length, tos, false, inner_v4, true) :
			tc_wrap(skb, flow, length, tos, false, inner_v4, false);
}

/* Sends scratch->packet to the backend of scratch->forward, a flow that is encapsulated. A verdict. */
verified_once int encapsulate(struct __sk_buff *skb)
{
	struct scratch *s = scratch_get();
	__u8 start[2];
	long failed;

	if (!s || bpf_skb_load_bytes(skb, ETH_HLEN, start, sizeof(start)))
		return TC_ACT_SHOT;
	const struct packet *packet = &s->packet;
	const struct weft_flow *flow = &s->forward;
	bool v4 = packet_is_v4(packet);

	count(WEFT_STAT_ENCAPSULATED);
	if (packet->hop_limit > 1 && decrement_hop_limit(skb, v4, packet->hop_limit))
		return drop(skb, WEFT_DROP_REWRITE);
	if (!v4)
		failed = tc_wrap_family(skb, flow, packet->length, ip_tos(start, false), false);
	else if (flow->encapsulation == WEFT_ENCAPSULATION_OPTION)
		failed = start[0] == 0x45 && !(packet->flags & (PACKET_FRAGMENT | PACKET_LATER_FRAGMENT)) ?
				 tc_wrap_option(skb, packet, flow) :
				 -1;
	else
		failed = tc_wrap_family(skb, flow, packet->length, start[1], true);
	if (failed)
		return drop(skb, WEFT_DROP_ENCAPSULATION);
	return bpf_redirect_neigh(flow->out_ifindex, NULL, 0, 0);
}
