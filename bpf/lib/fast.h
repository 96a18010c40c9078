/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The fast path: parse, one lookup, one epoch compare, rewrite, redirect. Everything unusual
 * (options, fragments, ICMP, SYN, FIN, RST, no entry, an old epoch) goes to the slow path. */
#pragma once

#include "lib/backend.h"
#include "lib/exit.h"

#define FAST_MISS (-100) /* not looked up, or not to be decided here */
#define FAST_ABSENT (-101) /* looked up: no such flow */

/* Whether a packet of a flow with the node comes from elsewhere; the slow path refuses it. */
inline_always bool forges_host(struct __sk_buff *skb, const struct weft_flow *flow, enum weft_event_hook hook)
{
	if (hook != WEFT_HOOK_FROM_DEVICE && hook != WEFT_HOOK_TO_POD)
		return false;
	return unlikely(flow->flags & WEFT_FLOW_HOST_SOURCE) &&
	       (hook == WEFT_HOOK_FROM_DEVICE || skb->ingress_ifindex);
}

/* An address can be forged, the device a packet came by cannot. */
inline_always bool fast_usable(const struct weft_flow *flow, const struct weft_config *config, struct __sk_buff *skb,
			       enum weft_event_hook hook)
{
	return flow->epoch == config->epoch && flow->in_ifindex == arrived_by(skb, hook) &&
	       !forges_host(skb, flow, hook);
}

/* Whether the transport header at l4 starts, ends or breaks a flow; `truncated` when it is not there. */
inline_always bool fast_is_control(const __u8 *l4, const void *end, __u8 protocol, bool *truncated)
{
	*truncated = false;
	if (protocol != IPPROTO_TCP)
		return false;
	if ((const void *)(l4 + 14) > end) {
		*truncated = true;
		return true;
	}
	return l4[13] & (TCP_FIN | TCP_SYN | TCP_RST);
}

/* The slow path answers, or encapsulates. */
inline_always bool fast_is_special(struct __sk_buff *skb, const struct weft_flow *flow, __u8 protocol, __u32 l4_offset,
				   enum weft_event_hook hook)
{
	if (!answers_size(flow, hook))
		return false;
	return flow->encapsulation || (flow->mtu && exceeds_mtu(skb, flow->mtu, protocol, l4_offset)) ||
	       (enters_tunnel(flow, hook) && path_exceeded(skb, flow, protocol, l4_offset));
}

/* Whether an IP length leaves out part of the header the fast path reads: a frame's padding would be read
 * as ports and flags. 0 is that of a GSO packet over 64 KiB. */
inline_always bool fast_too_short(__u16 length, __u16 before, __u8 protocol)
{
	__u16 needed = before + (protocol == IPPROTO_TCP ? 20 : 8);

	return (__u16)(length - 1) < needed - 1;
}

/* No flow has one of the protocols that only nodes speak: a device need not look for it. */
inline_always int fast_other(__u8 protocol, enum weft_event_hook hook)
{
	return hook_is_device(hook) && (protocol == IPPROTO_IPIP || protocol == IPPROTO_IPV6) ? FAST_ABSENT : FAST_MISS;
}

/* What leaves by a device is a reply, or its pod's device has seen it. */
inline_always void fast_account(struct __sk_buff *skb, struct weft_flow *flow, enum weft_event_hook hook)
{
	if (hook != WEFT_HOOK_TO_DEVICE)
		flow_heard(flow, 0);
	if (counts_here(flow, hook))
		flow_account(flow, skb->len - ETH_HLEN);
}

inline_always int fast_v4(struct __sk_buff *skb, const struct weft_config *config, enum weft_event_hook hook)
{
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	struct iphdr *ip = data + ETH_HLEN;
	__u8 *l4 = data + ETH_HLEN + sizeof(*ip);
	struct flow_words_v4 key;
	struct weft_flow *flow;
	__u8 protocol;
	bool truncated;

	if ((void *)(l4 + 8) > end)
		return FAST_MISS;
	if (*(__u8 *)ip != 0x45 || (ip->frag_off & bpf_htons(IP_MORE_FRAGMENTS | IP_FRAGMENT_OFFSET)))
		return FAST_MISS;
	protocol = ip->protocol;
	if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP)
		return fast_other(protocol, hook);
	if (fast_too_short(bpf_ntohs(ip->tot_len), sizeof(*ip), protocol))
		return FAST_MISS;
	bool control = fast_is_control(l4, end, protocol, &truncated);

	/* A device asks first whether the packet is of a pod's flow at all. */
	if (control && (truncated || !hook_is_device(hook)))
		return FAST_MISS;
	__u32 ports = *(__u32 *)l4;
	__u8 hop_limit = ip->ttl;

	key.addresses = *(__u64 *)&ip->saddr;
	key.rest = flow_word_rest(ports, protocol);

	flow = bpf_map_lookup_elem(&weft_flow4_v2, &key);
	if (!flow)
		return FAST_ABSENT;
	if (control || !fast_usable(flow, config, skb, hook) ||
	    unlikely(speaks_as_node(config, flow, protocol, ports >> 16, hook)) ||
	    fast_is_special(skb, flow, protocol, ETH_HLEN + sizeof(struct iphdr), hook))
		return FAST_MISS;
	fast_account(skb, flow, hook);
	if (likely(flow->exit == WEFT_EXIT_PEER && !(flow->flags & (WEFT_FLOW_DNAT | WEFT_FLOW_SNAT)) &&
		   hook_is_ingress(hook)))
		return bpf_redirect_peer(flow->out_ifindex, 0);
	struct weft_flow_key_v6 tuple = { .sport = ports, .dport = ports >> 16, .protocol = protocol };

	addr_from_v4(&tuple.saddr, key.addresses);
	addr_from_v4(&tuple.daddr, key.addresses >> 32);
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
	bool truncated;

	if ((void *)(l4 + 8) > end || ip->version != 6)
		return FAST_MISS;
	key.protocol = ip->nexthdr;
	if (key.protocol != IPPROTO_TCP && key.protocol != IPPROTO_UDP)
		return fast_other(key.protocol, hook);
	if (fast_too_short(bpf_ntohs(ip->payload_len), 0, key.protocol))
		return FAST_MISS;
	bool control = fast_is_control(l4, end, key.protocol, &truncated);

	if (control && (truncated || !hook_is_device(hook)))
		return FAST_MISS;
	__builtin_memcpy(&key.saddr, &ip->saddr, 16);
	__builtin_memcpy(&key.daddr, &ip->daddr, 16);
	key.sport = *(__be16 *)l4;
	key.dport = *(__be16 *)(l4 + 2);
	__u8 hop_limit = ip->hop_limit;

	flow = bpf_map_lookup_elem(&weft_flow6_v2, &key);
	if (!flow)
		return FAST_ABSENT;
	if (control || !fast_usable(flow, config, skb, hook) ||
	    unlikely(speaks_as_node(config, flow, key.protocol, key.dport, hook)) ||
	    fast_is_special(skb, flow, key.protocol, ETH_HLEN + sizeof(struct ipv6hdr), hook))
		return FAST_MISS;
	fast_account(skb, flow, hook);
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
