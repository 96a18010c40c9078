/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once

#include "lib/common.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct weft_l2_key);
	__type(value, struct weft_l2);
} weft_l2_v1 SEC(".maps");

/* Until when an agent looks after conflicts about those addresses, CLOCK_MONOTONIC in nanoseconds. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} weft_l2watch_v1 SEC(".maps");
