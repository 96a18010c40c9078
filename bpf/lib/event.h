/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Records for the ring buffer. The reader is woken only when much is unread; otherwise it polls,
 * so that a new connection does not pay for a wake-up. */
#pragma once

#include "maps/config.h"
#include "maps/event.h"

inline_always struct weft_event *event_reserve(void)
{
	struct weft_event *event = bpf_ringbuf_reserve(&weft_events_v1, sizeof(*event), 0);

	if (!event)
		count(WEFT_STAT_EVENT_LOST);
	return event;
}

inline_always void event_submit(struct weft_event *event, const struct weft_config *config)
{
	__u64 unread = bpf_ringbuf_query(&weft_events_v1, BPF_RB_AVAIL_DATA);

	bpf_ringbuf_submit(event, unread >= config->event_wakeup_bytes ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP);
}
