/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once

#include "lib/common.h"

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, WEFT_EGRESS_ROWS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct weft_egress_key);
	__type(value, struct weft_egress);
} weft_egress_v1 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct weft_next_hop);
} weft_nexthop_v1 SEC(".maps");
