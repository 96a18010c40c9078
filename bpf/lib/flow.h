/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Access to the flow table by tuple, for either family. */
#pragma once

#include "lib/packet.h"
#include "maps/flow.h"

inline_always void flow_key_v4(struct weft_flow_key_v4 *key, const struct weft_flow_key_v6 *tuple)
{
	key->saddr = tuple->saddr.word[3];
	key->daddr = tuple->daddr.word[3];
	key->sport = tuple->sport;
	key->dport = tuple->dport;
	key->protocol = tuple->protocol;
	key->pad[0] = 0;
	key->pad[1] = 0;
	key->pad[2] = 0;
}

inline_always struct weft_flow *flow_find(const struct weft_flow_key_v6 *tuple, bool v4)
{
	if (v4) {
		struct weft_flow_key_v4 key;

		flow_key_v4(&key, tuple);
		return bpf_map_lookup_elem(&weft_flow4_v2, &key);
	}
	return bpf_map_lookup_elem(&weft_flow6_v2, tuple);
}

inline_always long flow_insert(const struct weft_flow_key_v6 *tuple, const struct weft_flow *flow, bool v4, __u64 mode)
{
	if (v4) {
		struct weft_flow_key_v4 key;

		flow_key_v4(&key, tuple);
		return bpf_map_update_elem(&weft_flow4_v2, &key, flow, mode);
	}
	return bpf_map_update_elem(&weft_flow6_v2, tuple, flow, mode);
}

inline_always void flow_delete(const struct weft_flow_key_v6 *tuple, bool v4)
{
	if (v4) {
		struct weft_flow_key_v4 key;

		flow_key_v4(&key, tuple);
		bpf_map_delete_elem(&weft_flow4_v2, &key);
		return;
	}
	bpf_map_delete_elem(&weft_flow6_v2, tuple);
}

inline_always void tuple_reverse(struct weft_flow_key_v6 *to, const struct weft_flow_key_v6 *from)
{
	to->saddr = from->daddr;
	to->daddr = from->saddr;
	to->sport = from->dport;
	to->dport = from->sport;
	to->protocol = from->protocol;
	to->pad[0] = 0;
	to->pad[1] = 0;
	to->pad[2] = 0;
}

/* The tuple after the flow's rewrite: what leaves when `from` arrives. */
inline_always void tuple_rewrite(struct weft_flow_key_v6 *to, const struct weft_flow_key_v6 *from,
				 const struct weft_flow *flow)
{
	*to = *from;
	if (flow->flags & WEFT_FLOW_DNAT) {
		to->daddr = flow->dst_addr;
		to->dport = flow->dst_port;
	}
	if (flow->flags & WEFT_FLOW_SNAT) {
		to->saddr = flow->src_addr;
		to->sport = flow->src_port;
	}
}

/* Key of the other direction's entry: the reverse of what leaves. */
inline_always void tuple_peer(struct weft_flow_key_v6 *to, const struct weft_flow_key_v6 *from,
			      const struct weft_flow *flow)
{
	struct weft_flow_key_v6 out;

	tuple_rewrite(&out, from, flow);
	tuple_reverse(to, &out);
}

inline_always bool tuple_equal(const struct weft_flow_key_v6 *a, const struct weft_flow_key_v6 *b)
{
	return a->sport == b->sport && a->dport == b->dport && a->protocol == b->protocol &&
	       addr_equal(&a->saddr, &b->saddr) && addr_equal(&a->daddr, &b->daddr);
}

inline_always void flow_account(struct weft_flow *flow, __u32 length)
{
	__sync_fetch_and_add(&flow->packets, 1);
	__sync_fetch_and_add(&flow->bytes, length);
	flow->last_seen = bpf_jiffies64();
}
