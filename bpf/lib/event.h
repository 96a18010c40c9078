/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Records for the ring buffer. The reader is woken each time event_wakeup_bytes more are unread;
 * otherwise it polls, so that a new connection does not pay for a wake-up (microseconds on a virtual
 * machine), not even while the reader lags behind. */
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

/* A record as the ring holds it, four times: CPUs that write at once each see the others' bytes. */
#define EVENT_WAKEUP_WINDOW (4 * (sizeof(struct weft_event) + BPF_RINGBUF_HDR_SZ))

inline_always void event_submit(struct weft_event *event, const struct weft_config *config)
{
	__u32 unread = bpf_ringbuf_query(&weft_events_v1, BPF_RB_AVAIL_DATA);
	__u32 step = config->event_wakeup_bytes;
	bool wake = !step || (unread >= step && unread % step < EVENT_WAKEUP_WINDOW);

	bpf_ringbuf_submit(event, wake ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP);
}
