/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What a flow owes its backend: to be counted while it is open, and to end when the backend is gone. */
#pragma once

#include "lib/flow.h"
#include "lib/service.h"

#define ACTIVE_TRIES 4 /* of a compare and exchange that other CPUs disturb */

/* Before the original direction's entry is inserted, and once that has happened. */
inline_always void backend_count_mark(struct weft_flow *original)
{
	if (original->backend_id)
		original->flags |= WEFT_FLOW_COUNTED;
}

inline_always void backend_count_open(__u32 backend_id)
{
	struct weft_backend_stats *stats = backend_id ? bpf_map_lookup_elem(&weft_bstat_v1, &backend_id) : NULL;

	if (!stats)
		return;
	__sync_fetch_and_add(&stats->connections, 1);
	__sync_fetch_and_add(&stats->active, 1);
}

/* The sweep sets `active` right now and then, so it may be zero already. */
inline_always void active_drop(struct weft_backend_stats *stats)
{
	for (int i = 0; i < ACTIVE_TRIES; i++) {
		__u32 active = *(volatile __u32 *)&stats->active;

		if (!active || __sync_val_compare_and_swap(&stats->active, active, active - 1) == active)
			return;
	}
}

/* `original` ends, `reply` or NULL with it. Whoever takes the mark away counts. */
inline_always void backend_count_close(struct weft_flow *original, const struct weft_flow *reply)
{
	struct weft_backend_stats *stats;
	__u32 backend_id = original->backend_id;
	void *flags = &original->flags; /* with exit and encapsulation one aligned word */

	if (!(original->flags & WEFT_FLOW_COUNTED))
		return;
	__u32 flags_before = __sync_fetch_and_and((__u32 *)flags, ~(__u32)WEFT_FLOW_COUNTED);

	if (!(flags_before & WEFT_FLOW_COUNTED))
		return;
	stats = bpf_map_lookup_elem(&weft_bstat_v1, &backend_id);
	if (!stats)
		return;
	__sync_fetch_and_add(&stats->packets, original->packets + (reply ? reply->packets : 0));
	__sync_fetch_and_add(&stats->bytes, original->bytes + (reply ? reply->bytes : 0));
	/* Of what was reset it has been taken already. */
	if (!(flags_before & WEFT_FLOW_RESET))
		active_drop(stats);
}

/* Whether the flow's backend is gone; ids are given to another service only long after. */
inline_always bool backend_is_gone(const struct weft_flow *flow)
{
	struct weft_backend *backend;

	if (!flow->backend_id)
		return false;
	backend = backend_find(flow->backend_id);
	return !backend || backend->service_id != flow->service_id;
}

/* What a packet of the direction tells by coming along: that nobody has reset the flow, which is then open for its
 * backend again; and, without SYN, that a client has heard the answer to its own, which a forged one does not. Other
 * CPUs change the flags at the same time. */
inline_always void flow_heard(struct weft_flow *flow, __u8 tcp_flags)
{
	void *flags = &flow->flags; /* with exit and encapsulation one aligned word */
	__u32 over = tcp_flags & TCP_SYN ? WEFT_FLOW_RESET : WEFT_FLOW_RESET | WEFT_FLOW_OPENING;
	struct weft_backend_stats *stats;
	__u32 backend_id;

	if ((tcp_flags & TCP_RST) || likely(!(flow->flags & over)))
		return;
	__u32 before = __sync_fetch_and_and((__u32 *)flags, ~over);

	if (!(before & WEFT_FLOW_RESET) || !(before & WEFT_FLOW_COUNTED))
		return;
	backend_id = flow->backend_id;
	stats = bpf_map_lookup_elem(&weft_bstat_v1, &backend_id);
	if (stats)
		__sync_fetch_and_add(&stats->active, 1);
}

/* A reset that anybody may have written is only noted, and the flow no longer weighs on its backend: what either end
 * says after it takes that back. */
inline_always void flow_doubt(struct weft_flow *flow)
{
	void *flags = &flow->flags;
	__u32 before = __sync_fetch_and_or((__u32 *)flags, (__u32)WEFT_FLOW_RESET);
	struct weft_backend_stats *stats;
	__u32 backend_id = flow->backend_id;

	if ((before & WEFT_FLOW_RESET) || !(before & WEFT_FLOW_COUNTED))
		return;
	stats = bpf_map_lookup_elem(&weft_bstat_v1, &backend_id);
	if (stats)
		active_drop(stats);
}

/* Whether a SYN along the entry begins another flow: this one is over or runs the other way, or was reset as
 * somebody outside says, and never worked or has a backend that takes no new ones. */
inline_always bool flow_begins_anew(const struct weft_flow *flow)
{
	if (flow->flags & (WEFT_FLOW_CLOSED | WEFT_FLOW_REPLY))
		return true;
	if (!(flow->flags & WEFT_FLOW_RESET))
		return false;
	return (flow->flags & WEFT_FLOW_OPENING) ||
	       (flow->backend_id && !backend_takes(backend_find(flow->backend_id), flow->service_id));
}
