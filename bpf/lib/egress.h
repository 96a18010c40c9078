/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Egress gateways: the node by which a pod's flow leaves the cluster, and whether this node is it. How it gets there, and
 * out, is decided with the flow's other exits. */
#pragma once

#include "abi/hash.h"
#include "lib/node.h"
#include "lib/scratch.h"
#include "maps/egress.h"

/* What says by which gateways the source of scratch->pair leaves for its destination; NULL: by none. */
inline_always const struct weft_egress *egress_find(struct scratch *s)
{
	struct weft_egress_key *key = &s->egress_key;
	const struct weft_egress *row;

	/* Another node's addresses are nobody's outside, though they are reached alike. */
	if (s->dst_node || s->context.dst_identity == WEFT_IDENTITY_REMOTE_NODE || (s->dst_ip_flags & WEFT_IP_RESERVED))
		return NULL;
	key->prefix_length = (sizeof(*key) - sizeof(key->prefix_length)) * 8;
	key->identity = s->context.src_identity;
	key->addr = s->pair.daddr;
	row = bpf_map_lookup_elem(&weft_egress_v1, key);
	return row && !(row->flags & WEFT_EGRESS_EXCLUDED) ? row : NULL;
}

/* This node is the gateway. */
inline_always void egress_here(struct scratch *s, const struct weft_egress *row)
{
	s->nat_address = row->address;
	s->egress_ifindex = row->ifindex;
}

inline_always void egress_mark(struct scratch *s, __u32 node)
{
	s->egress_node = node;
	s->context.egress_node = node;
	s->forward.flags |= WEFT_FLOW_EGRESS;
	s->reply.flags |= WEFT_FLOW_EGRESS;
}

/* Of the first `spread` gateways the one that the source's address likes most: when one goes, only its sources move. */
inline_always __u32 egress_liked(const struct weft_egress *row, const struct weft_addr *source)
{
	__u32 hash = weft_hash_client(0, source);
	__u32 liked = 0;
	__u32 most = 0;

	for (__u32 i = 0; i < WEFT_EGRESS_GATEWAYS; i++) {
		if (i >= row->spread)
			break;
		__u32 score = weft_hash_final(weft_hash_word(hash, row->node[i]));

		if (!liked || score > most) {
			liked = row->node[i];
			most = score;
		}
	}
	return liked;
}

/* The gateway of a new flow from a pod here to an address that nothing in the cluster has: scratch->egress_node, 0 where
 * it needs none. */
verified_once enum weft_drop_reason egress_choose(void)
{
	struct scratch *s = scratch_get();
	const struct weft_egress *row;
	__u32 node;

	if (!s)
		return WEFT_DROP_NO_EGRESS_GATEWAY;
	s->egress_node = 0;
	row = egress_find(s);
	if (!row)
		return WEFT_DROP_NONE;
	node = row->spread > 1 ? egress_liked(row, &s->pair.saddr) : row->node[0];
	if (!row->count || !node)
		return WEFT_DROP_NO_EGRESS_GATEWAY;
	egress_mark(s, node);
	egress_here(s, row);
	return WEFT_DROP_NONE;
}

/* The same for a flow from another node's pod: whether that sent it to the right one. */
verified_once enum weft_drop_reason egress_admit(void)
{
	struct scratch *s = scratch_get();
	const struct weft_egress *row;

	if (!s)
		return WEFT_DROP_NOT_EGRESS_GATEWAY;
	s->egress_node = 0;
	row = egress_find(s);
	if (!row || !(row->flags & WEFT_EGRESS_GATEWAY))
		return WEFT_DROP_NOT_EGRESS_GATEWAY;
	/* The address that its server knows it by, or the port, may be another gateway's. */
	if (s->packet.tuple.protocol == IPPROTO_TCP && !tcp_begins(s->packet.tcp_flags))
		return WEFT_DROP_EGRESS_UNKNOWN_FLOW;
	egress_mark(s, WEFT_EGRESS_HERE);
	egress_here(s, row);
	return WEFT_DROP_NONE;
}

inline_always bool egress_has(const struct weft_egress *row, __u32 node)
{
	bool found = false;

	for (__u32 i = 0; i < WEFT_EGRESS_GATEWAYS; i++)
		found = found || (i < row->count && row->node[i] == node);
	return found;
}

/* Of a flow that is decided again, scratch->pair: whether it may go on by the gateway it has, or by none. Otherwise it
 * is over: its server knows it by an address that it no longer has. `forward` may be NULL: evicted. Fills
 * scratch->dst_node with the gateway, if that is another node. */
verified_once bool egress_holds(const struct weft_flow *forward, bool by_gateway)
{
	struct scratch *s = scratch_get();
	const struct weft_egress *row = NULL;

	if (!s)
		return false;
	s->egress_node = 0;
	if ((s->src_node || endpoint_is_pod(endpoint_find(&s->pair.saddr))) && !endpoint_find(&s->pair.daddr))
		row = egress_find(s);
	if (!row || !by_gateway)
		return !row && !by_gateway;
	if (!forward)
		return false;
	if (forward->exit != WEFT_EXIT_TUNNEL) {
		s->egress_node = WEFT_EGRESS_HERE;
		egress_here(s, row);
		return (row->flags & WEFT_EGRESS_GATEWAY) && addr_equal(&forward->src_addr, &row->address);
	}
	if (!egress_has(row, forward->node))
		return false;
	s->egress_node = forward->node;
	s->dst_node = forward->node;
	return true;
}
