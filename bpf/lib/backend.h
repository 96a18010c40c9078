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

/* `original` ends, `reply` or NULL with it. Whoever takes the mark away counts; the sweep sets `active` right
 * now and then, so it may be zero already. */
inline_always void backend_count_close(struct weft_flow *original, const struct weft_flow *reply)
{
	struct weft_backend_stats *stats;
	__u32 backend_id = original->backend_id;
	void *flags = &original->flags; /* with exit and encapsulation one aligned word */

	if (!(original->flags & WEFT_FLOW_COUNTED) ||
	    !(__sync_fetch_and_and((__u32 *)flags, ~(__u32)WEFT_FLOW_COUNTED) & WEFT_FLOW_COUNTED))
		return;
	stats = bpf_map_lookup_elem(&weft_bstat_v1, &backend_id);
	if (!stats)
		return;
	__sync_fetch_and_add(&stats->packets, original->packets + (reply ? reply->packets : 0));
	__sync_fetch_and_add(&stats->bytes, original->bytes + (reply ? reply->bytes : 0));
	for (int i = 0; i < ACTIVE_TRIES; i++) {
		__u32 active = *(volatile __u32 *)&stats->active;

		if (!active || __sync_val_compare_and_swap(&stats->active, active, active - 1) == active)
			return;
	}
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
