/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once

#include "lib/common.h"

/* Denied tuples reported lately: direct-mapped, private to each program object. */
struct weft_mute {
	__u64 time;
	struct weft_flow_key_v6 tuple;
};

#define WEFT_MUTE_SLOTS 1024

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, WEFT_MUTE_SLOTS);
	__type(key, __u32);
	__type(value, struct weft_mute);
} weft_mute_v1 SEC(".maps");
