/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once

#include "lib/common.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct weft_config);
} weft_config_v3 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, WEFT_DROP_REASON_COUNT);
	__type(key, __u32);
	__type(value, struct weft_counter);
} weft_drops_v1 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, WEFT_STAT_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} weft_stats_v1 SEC(".maps");

inline_always const struct weft_config *config_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&weft_config_v3, &zero);
}

inline_always void count(enum weft_stat stat)
{
	__u32 index = stat;
	__u64 *value = bpf_map_lookup_elem(&weft_stats_v1, &index);

	if (value)
		*value += 1;
}

inline_always void count_drop(enum weft_drop_reason reason, __u64 bytes)
{
	__u32 index = reason;
	struct weft_counter *counter = bpf_map_lookup_elem(&weft_drops_v1, &index);

	if (counter) {
		counter->packets += 1;
		counter->bytes += bytes;
	}
}
