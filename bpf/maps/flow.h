/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Sizes are the loader's: it sets max_entries from the node's memory before load. */
#pragma once

#include "lib/common.h"

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct weft_flow_key_v4);
	__type(value, struct weft_flow);
} weft_flow4_v2 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct weft_flow_key_v6);
	__type(value, struct weft_flow);
} weft_flow6_v2 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct weft_fragment_key);
	__type(value, struct weft_fragment);
} weft_frag_v1 SEC(".maps");
