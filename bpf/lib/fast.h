/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The fast path: parse, one lookup, one epoch compare, rewrite, redirect. Everything unusual
 * (options, fragments, ICMP, SYN, FIN, RST, a miss, an old epoch) goes to the slow path. */
#pragma once

#include "lib/exit.h"

#define FAST_MISS (-100)

inline_always bool fast_usable(const struct weft_flow *flow, const struct weft_config *config, __u32 ifindex,
			       enum weft_event_hook hook)
{
	if (flow->epoch != config->epoch)
		return false;
	/* An address can be forged, the device a packet came from cannot. */
	return hook != WEFT_HOOK_FROM_POD || flow->in_ifindex == ifindex;
}

inline_always int fast_v4(struct __sk_buff *skb, const struct weft_config *config, enum weft_event_hook hook)
{
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	struct iphdr *ip = data + ETH_HLEN;
	__u8 *l4 = data + ETH_HLEN + sizeof(*ip);
	struct weft_flow_key_v4 key = {};
	struct weft_flow *flow;

	if ((void *)(l4 + 8) > end)
		return FAST_MISS;
	if (*(__u8 *)ip != 0x45 || (ip->frag_off & bpf_htons(IP_MORE_FRAGMENTS | IP_FRAGMENT_OFFSET)))
		return FAST_MISS;
	key.protocol = ip->protocol;
	if (key.protocol == IPPROTO_TCP) {
		if ((void *)(l4 + 14) > end || (l4[13] & (TCP_FIN | TCP_SYN | TCP_RST)))
			return FAST_MISS;
	} else if (key.protocol != IPPROTO_UDP) {
		return FAST_MISS;
	}
	key.saddr = ip->saddr;
	key.daddr = ip->daddr;
	key.sport = *(__be16 *)l4;
	key.dport = *(__be16 *)(l4 + 2);
	__u8 hop_limit = ip->ttl;

	flow = bpf_map_lookup_elem(&weft_flow4_v1, &key);
	if (!flow || !fast_usable(flow, config, skb->ifindex, hook))
		return FAST_MISS;
	if (likely(flow->exit == WEFT_EXIT_PEER && !(flow->flags & (WEFT_FLOW_DNAT | WEFT_FLOW_SNAT)) &&
		   hook_is_ingress(hook))) {
		flow_account(flow, skb->len - ETH_HLEN);
		return bpf_redirect_peer(flow->out_ifindex, 0);
	}
	struct weft_flow_key_v6 tuple = { .sport = key.sport, .dport = key.dport, .protocol = key.protocol };

	addr_from_v4(&tuple.saddr, key.saddr);
	addr_from_v4(&tuple.daddr, key.daddr);
	return flow_forward(skb, true, flow, &tuple, ETH_HLEN + sizeof(struct iphdr), hop_limit, hook);
}

inline_always int fast_v6(struct __sk_buff *skb, const struct weft_config *config, enum weft_event_hook hook)
{
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	struct ipv6hdr *ip = data + ETH_HLEN;
	__u8 *l4 = data + ETH_HLEN + sizeof(*ip);
	struct weft_flow_key_v6 key = {};
	struct weft_flow *flow;

	if ((void *)(l4 + 8) > end || ip->version != 6)
		return FAST_MISS;
	key.protocol = ip->nexthdr;
	if (key.protocol == IPPROTO_TCP) {
		if ((void *)(l4 + 14) > end || (l4[13] & (TCP_FIN | TCP_SYN | TCP_RST)))
			return FAST_MISS;
	} else if (key.protocol != IPPROTO_UDP) {
		return FAST_MISS;
	}
	__builtin_memcpy(&key.saddr, &ip->saddr, 16);
	__builtin_memcpy(&key.daddr, &ip->daddr, 16);
	key.sport = *(__be16 *)l4;
	key.dport = *(__be16 *)(l4 + 2);
	__u8 hop_limit = ip->hop_limit;

	flow = bpf_map_lookup_elem(&weft_flow6_v1, &key);
	if (!flow || !fast_usable(flow, config, skb->ifindex, hook))
		return FAST_MISS;
	return flow_forward(skb, false, flow, &key, ETH_HLEN + sizeof(struct ipv6hdr), hop_limit, hook);
}

inline_always int fast_path(struct __sk_buff *skb, const struct weft_config *config, enum weft_event_hook hook)
{
	if (skb->protocol == bpf_htons(ETH_P_IP))
		return fast_v4(skb, config, hook);
	if (skb->protocol == bpf_htons(ETH_P_IPV6))
		return fast_v6(skb, config, hook);
	return FAST_MISS;
}
