/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Shares of what all pods have in common, so that one cannot use it up. */
#pragma once

#include "maps/rate.h"

inline_always struct weft_rate *rate_of(__u32 ifindex)
{
	__u32 slot = ifindex % WEFT_RATE_SLOTS;

	return bpf_map_lookup_elem(&weft_rate_v1, &slot);
}

/* Takes one of those that come each `interval` nanoseconds and add up to `burst`. */
inline_always bool rate_take(__u64 *paid, __u64 interval, __u64 burst)
{
	__u64 now = bpf_ktime_get_coarse_ns();
	__u64 saved = interval * burst;

	if (*paid + saved < now)
		*paid = now - saved;
	if (*paid > now)
		return false;
	*paid += interval;
	return true;
}

/* A device is heard so often on one CPU, whatever it makes up: it must not drown the others. */
#define DENIED_EVENT_INTERVAL 5000000 /* nanoseconds */
#define DENIED_EVENT_BURST 1000

inline_always bool rate_take_event(struct weft_rate *rate)
{
	return rate_take(&rate->events, DENIED_EVENT_INTERVAL, DENIED_EVENT_BURST);
}
