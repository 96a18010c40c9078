/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Access to the flow table by tuple, for either family. */
#pragma once

#include "lib/packet.h"
#include "maps/flow.h"

/* Keys are written in words of 8 bytes: the kernel hashes and compares them in words of 4 and 8 at once after, and
 * a load of what several smaller stores wrote waits for them to reach the cache. */
struct flow_words_v4 {
	__u64 addresses; /* saddr, daddr */
	__u64 rest; /* sport, dport, protocol, zeroes */
};

_Static_assert(sizeof(struct flow_words_v4) == sizeof(struct weft_flow_key_v4), "one key, two views");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the words are put together for little-endian machines");

/* `ports`: both as they stand in a header. */
inline_always __u64 flow_word_rest(__u32 ports, __u8 protocol)
{
	return (__u64)protocol << 32 | ports;
}

inline_always void flow_key_v4(struct flow_words_v4 *key, const struct weft_flow_key_v6 *tuple)
{
	key->addresses = (__u64)tuple->daddr.word[3] << 32 | tuple->saddr.word[3];
	key->rest = flow_word_rest((__u32)tuple->dport << 16 | tuple->sport, tuple->protocol);
}

/* The compiler must not merge the calls of two families into one whose map is a variable: the verifier makes a
 * call direct, or inlines it, where it knows the map, and an indirect one costs up to 100 ns. */
#define SEPARATE_CALL(family) asm volatile("" : : "i"(family))

inline_always struct weft_flow *flow_find(const struct weft_flow_key_v6 *tuple, bool v4)
{
	struct weft_flow *flow;

	if (v4) {
		struct flow_words_v4 key;

		flow_key_v4(&key, tuple);
		flow = bpf_map_lookup_elem(&weft_flow4_v2, &key);
		SEPARATE_CALL(4);
	} else {
		flow = bpf_map_lookup_elem(&weft_flow6_v2, tuple);
		SEPARATE_CALL(6);
	}
	return flow;
}

/* 0 or a negative error. Before Linux 6.4 the function called directly returns an int: the upper half of what it
 * leaves in the register is no sign. */
inline_always int flow_insert(const struct weft_flow_key_v6 *tuple, const struct weft_flow *flow, bool v4, __u64 mode)
{
	int error;

	if (v4) {
		struct flow_words_v4 key;

		flow_key_v4(&key, tuple);
		error = bpf_map_update_elem(&weft_flow4_v2, &key, flow, mode);
		SEPARATE_CALL(4);
	} else {
		error = bpf_map_update_elem(&weft_flow6_v2, tuple, flow, mode);
		SEPARATE_CALL(6);
	}
	return error;
}

inline_always void flow_delete(const struct weft_flow_key_v6 *tuple, bool v4)
{
	if (v4) {
		struct flow_words_v4 key;

		flow_key_v4(&key, tuple);
		bpf_map_delete_elem(&weft_flow4_v2, &key);
		SEPARATE_CALL(4);
	} else {
		bpf_map_delete_elem(&weft_flow6_v2, tuple);
		SEPARATE_CALL(6);
	}
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
