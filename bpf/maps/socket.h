/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once

#include "lib/common.h"
#include "maps/rate.h"

/* As weft_rate_v1, by endpoint id: sockets have no device. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, WEFT_RATE_SLOTS);
	__type(key, __u32);
	__type(value, struct weft_rate);
} weft_skrate_v1 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, WEFT_SOCKET_PEERS);
	__type(key, __u32);
	__type(value, struct weft_socket_peer);
} weft_skpeer_v1 SEC(".maps");

/* Hints written lately, direct-mapped by their key: spares the lookup of one that is still as it was. */
#define HINT_LATELY_SLOTS 4096
struct weft_hint_lately {
	__u64 who; /* endpoint id << 32 | backend id */
	__u64 written; /* jiffies */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, HINT_LATELY_SLOTS);
	__type(key, __u32);
	__type(value, struct weft_hint_lately);
} weft_hlately_v1 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct weft_socket_frontends);
} weft_skudp_v1 SEC(".maps");
