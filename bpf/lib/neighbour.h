/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Answers ARP requests (RFC 826) and neighbour solicitations (RFC 4861): of pods for their gateway (they know it
 * from a permanent entry; this serves those that flushed it), of the network for announced addresses. */
#pragma once

#include "lib/exit.h"
#include "lib/packet.h"
#include "lib/service.h"
#include "maps/l2.h"

#define ARP_REQUEST 1
#define ARP_REPLY 2
#define ND_SOLICIT 135
#define ND_ADVERT 136
#define ND_TARGET_LINK_ADDRESS 2
#define ND_ADVERT_ROUTER 0x80
#define ND_ADVERT_FLAGS 0x60 /* solicited, override */

/* Neighbour and group discovery of the node with its pod: what the node itself sends from an address of
 * the link, or from none while it checks that one. */
inline_always bool neighbour_talk(struct __sk_buff *skb, const struct packet *packet)
{
	const struct weft_addr *from = &packet->tuple.saddr;
	bool link_local = (from->word[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000);
	bool unspecified = !from->word[0] && !from->word[1] && !from->word[2] && !from->word[3];

	return !packet_is_v4(packet) && !skb->ingress_ifindex && (link_local || unspecified);
}

/* A solicitation as RFC 4861 7.1.1 wants it: of the link, because no router forwarded it, and whole. */
inline_always bool solicit_is_valid(const struct packet *packet)
{
	return !packet_is_v4(packet) && (packet->flags & PACKET_ICMP_OTHER) && packet->icmp_type == ND_SOLICIT &&
	       packet->hop_limit == 255 && packet->l4_offset == ETH_HLEN + sizeof(struct ipv6hdr) &&
	       packet->length >= sizeof(struct ipv6hdr) + 24;
}

struct arp_packet {
	__be16 hardware;
	__be16 protocol;
	__u8 hardware_length;
	__u8 protocol_length;
	__be16 operation;
	__u8 sender_mac[6];
	__u8 sender_ip[4];
	__u8 target_mac[6];
	__u8 target_ip[4];
} __attribute__((packed));

inline_always int neighbour_return(struct __sk_buff *skb, const __u8 *to, const __u8 *from)
{
	__u8 macs[12];

	__builtin_memcpy(macs, to, 6);
	__builtin_memcpy(macs + 6, from, 6);
	if (bpf_skb_store_bytes(skb, 0, macs, sizeof(macs), 0))
		return drop(skb, WEFT_DROP_REWRITE);
	return bpf_redirect(skb->ifindex, 0);
}

/* The request becomes the reply of the one who has the address it asks for. */
inline_always int arp_answer(struct __sk_buff *skb, struct arp_packet *arp, const __u8 *mac)
{
	__u8 requester[6];
	__u8 asked[4];

	__builtin_memcpy(requester, arp->sender_mac, 6);
	__builtin_memcpy(asked, arp->target_ip, 4);
	arp->operation = bpf_htons(ARP_REPLY);
	__builtin_memcpy(arp->target_mac, arp->sender_mac, 6);
	__builtin_memcpy(arp->target_ip, arp->sender_ip, 4);
	__builtin_memcpy(arp->sender_mac, mac, 6);
	__builtin_memcpy(arp->sender_ip, asked, 4);
	if (bpf_skb_store_bytes(skb, ETH_HLEN, arp, sizeof(*arp), 0))
		return drop(skb, WEFT_DROP_REWRITE);
	return neighbour_return(skb, requester, mac);
}

verified_once int arp_from_pod(struct __sk_buff *skb, const struct weft_config *config)
{
	struct arp_packet arp;

	if (!config || bpf_skb_load_bytes(skb, ETH_HLEN, &arp, sizeof(arp)))
		return drop(skb, WEFT_DROP_MALFORMED);
	if (arp.operation != bpf_htons(ARP_REQUEST) || arp.protocol != bpf_htons(ETH_P_IP) ||
	    __builtin_memcmp(arp.target_ip, &config->gateway_v4, 4) || !config->gateway_v4)
		return drop(skb, WEFT_DROP_ARP_UNKNOWN);
	count(WEFT_STAT_ARP_REPLY);
	return arp_answer(skb, &arp, config->gateway_mac);
}

/* Another host says that an address announced here is its own. While there is an agent it weighs that; without one
 * for longer than another node may have taken it for dead, the address has gone over to that node. */
inline_always void give_up_claimed(const struct weft_l2_key *key, const __u8 *claimant)
{
	struct weft_l2 *announced = bpf_map_lookup_elem(&weft_l2_v1, key);
	__u32 zero = 0;
	__u64 *until;

	if (!announced || !__builtin_memcmp(announced->mac, claimant, ETH_ALEN))
		return;
	until = bpf_map_lookup_elem(&weft_l2watch_v1, &zero);
	if (!until || bpf_ktime_get_ns() < *until)
		return;
	if (!bpf_map_delete_elem(&weft_l2_v1, key))
		count(WEFT_STAT_L2_GIVEN_UP);
}

/* What is not announced here is the stack's to answer. */
verified_once int arp_from_device(struct __sk_buff *skb)
{
	struct arp_packet arp;
	struct weft_l2_key key = { .ifindex = skb->ifindex };
	struct weft_l2 *announced;
	__be32 target;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &arp, sizeof(arp)) || arp.protocol != bpf_htons(ETH_P_IP))
		return TC_ACT_OK;
	__builtin_memcpy(&target, arp.sender_ip, 4);
	addr_from_v4(&key.addr, target);
	give_up_claimed(&key, arp.sender_mac);
	if (arp.operation != bpf_htons(ARP_REQUEST))
		return TC_ACT_OK;
	__builtin_memcpy(&target, arp.target_ip, 4);
	addr_from_v4(&key.addr, target);
	announced = bpf_map_lookup_elem(&weft_l2_v1, &key);
	if (!announced)
		return TC_ACT_OK;
	count(WEFT_STAT_L2_REPLY);
	return arp_answer(skb, &arp, announced->mac);
}

struct neighbour_message {
	/* pseudo header, RFC 8200 8.1 */
	struct weft_addr saddr;
	struct weft_addr daddr;
	__be32 length;
	__be32 next_header;
	/* RFC 4861 4.3, 4.4 with one link-layer address option */
	__u8 type;
	__u8 code;
	__be16 checksum;
	__u8 flags;
	__u8 reserved[3];
	struct weft_addr target;
	__u8 option_type;
	__u8 option_length; /* units of 8 bytes */
	__u8 option_mac[6];
};

#define ND_MESSAGE_OFFSET offsetof(struct neighbour_message, type)
#define ND_MESSAGE_SIZE (sizeof(struct neighbour_message) - ND_MESSAGE_OFFSET)

/* An advertisement of message->target at `mac`, to whoever sent the solicitation in its place. */
inline_always int solicit_answer(struct __sk_buff *skb, struct neighbour_message *message, const __u8 *mac, __u8 flags)
{
	__u8 requester[6];
	struct weft_addr addresses[2];

	if (bpf_skb_load_bytes(skb, ETH_HLEN + offsetof(struct ipv6hdr, saddr), &message->daddr, 16) ||
	    bpf_skb_load_bytes(skb, ETH_ALEN, requester, 6))
		return drop(skb, WEFT_DROP_MALFORMED);
	message->saddr = message->target;
	message->length = bpf_htonl(ND_MESSAGE_SIZE);
	message->next_header = bpf_htonl(IPPROTO_ICMPV6);
	message->type = ND_ADVERT;
	message->checksum = 0;
	message->flags = flags;
	message->option_type = ND_TARGET_LINK_ADDRESS;
	message->option_length = 1;
	__builtin_memcpy(message->option_mac, mac, 6);

	__u64 sum = bpf_csum_diff(NULL, 0, (__be32 *)message, sizeof(*message), 0);

	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	message->checksum = ~sum;
	addresses[0] = message->saddr;
	addresses[1] = message->daddr;
	if (bpf_skb_store_bytes(skb, ETH_HLEN + offsetof(struct ipv6hdr, saddr), addresses, sizeof(addresses), 0) ||
	    bpf_skb_store_bytes(skb, ETH_HLEN + sizeof(struct ipv6hdr), &message->type, ND_MESSAGE_SIZE, 0))
		return drop(skb, WEFT_DROP_REWRITE);
	return neighbour_return(skb, requester, mac);
}

verified_once int solicit_from_pod(struct __sk_buff *skb, const struct weft_config *config)
{
	struct neighbour_message message = {};

	if (!config)
		return TC_ACT_SHOT;
	/* A solicitation without an option (duplicate address detection) is not answered. */
	if (bpf_skb_load_bytes(skb, ETH_HLEN + sizeof(struct ipv6hdr), &message.type, ND_MESSAGE_SIZE) ||
	    !addr_equal(&message.target, &config->gateway_v6) || message.option_type != 1)
		return drop(skb, WEFT_DROP_ARP_UNKNOWN);
	count(WEFT_STAT_NDP_REPLY);
	return solicit_answer(skb, &message, config->gateway_mac, ND_ADVERT_ROUTER | ND_ADVERT_FLAGS);
}

/* What is not announced here is the stack's to answer. A probe to a neighbour's own address may come without
 * the option: then the packet grows by the answer's. */
verified_once int solicit_from_device(struct __sk_buff *skb)
{
	struct neighbour_message message = {};
	struct weft_l2_key key = { .ifindex = skb->ifindex };
	struct weft_addr asking;
	struct weft_l2 *announced;
	__be16 length = bpf_htons(ND_MESSAGE_SIZE);
	__u8 mac[6];

	if (bpf_skb_load_bytes(skb, ETH_HLEN + sizeof(struct ipv6hdr), &message.type, ND_MESSAGE_SIZE - 8) ||
	    bpf_skb_load_bytes(skb, ETH_HLEN + offsetof(struct ipv6hdr, saddr), &asking, 16))
		return TC_ACT_OK;
	key.addr = message.target;
	announced = bpf_map_lookup_elem(&weft_l2_v1, &key);
	/* Duplicate address detection asks from the unspecified address: its answer would have to go to all. */
	if (!announced || addr_is_zero(&asking))
		return TC_ACT_OK;
	__builtin_memcpy(mac, announced->mac, 6);
	if (bpf_skb_change_tail(skb, ETH_HLEN + sizeof(struct ipv6hdr) + ND_MESSAGE_SIZE, 0) ||
	    bpf_skb_store_bytes(skb, ETH_HLEN + offsetof(struct ipv6hdr, payload_len), &length, 2, 0))
		return drop(skb, WEFT_DROP_REWRITE);
	count(WEFT_STAT_L2_REPLY);
	return solicit_answer(skb, &message, mac, ND_ADVERT_FLAGS);
}

/* An advertisement of an address as another host's (RFC 4861 7.2.4, 7.2.6): whose it is, the frame says. */
inline_always bool advert_is_valid(const struct packet *packet)
{
	return !packet_is_v4(packet) && (packet->flags & PACKET_ICMP_OTHER) && packet->icmp_type == ND_ADVERT &&
	       packet->hop_limit == 255 && packet->l4_offset == ETH_HLEN + sizeof(struct ipv6hdr) &&
	       packet->length >= sizeof(struct ipv6hdr) + 24;
}

verified_once int advert_from_device(struct __sk_buff *skb)
{
	struct weft_l2_key key = { .ifindex = skb->ifindex };
	__u8 claimant[ETH_ALEN];

	if (!bpf_skb_load_bytes(skb, ETH_HLEN + sizeof(struct ipv6hdr) + 8, &key.addr, 16) &&
	    !bpf_skb_load_bytes(skb, ETH_ALEN, claimant, ETH_ALEN))
		give_up_claimed(&key, claimant);
	return TC_ACT_OK;
}
