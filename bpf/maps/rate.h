/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once

#include "lib/common.h"

/* What a device has used up of its shares on this CPU: each the time until which it has paid. Devices
 * whose indexes are WEFT_RATE_SLOTS apart share. */
struct weft_rate {
	__u64 flows;
	__u64 events;
};

#define WEFT_RATE_SLOTS 1024

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, WEFT_RATE_SLOTS);
	__type(key, __u32);
	__type(value, struct weft_rate);
} weft_rate_v1 SEC(".maps");
