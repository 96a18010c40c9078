/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What both frames of the packet benchmark share: their state, and the headers of the next flow. */
#pragma once

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "tests/bpf/packet_bench.h"

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct bench_control);
} bench_control SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PROG_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u32);
} bench_target SEC(".maps");

/* The control block with the next flow's headers in it, their length in `length`; NULL when it is not filled in. */
static __always_inline struct bench_control* bench_next_flow(__u32* length) {
  __u32 zero = 0;
  struct bench_control* control = bpf_map_lookup_elem(&bench_control, &zero);

  if (!control) return 0;
  __u32 flow = control->cursor;
  __u32 port_offset = control->port_offset;
  __u32 address_offset = control->address_offset;

  *length = control->header_length;
  if (port_offset > BENCH_HEADER_MAX - 2 || address_offset > BENCH_HEADER_MAX - 2 || *length < 1 ||
      *length > BENCH_HEADER_MAX)
    return 0;
  /* a full period over any power of two, in an order no prefetcher guesses */
  control->cursor = (flow * 1664525 + 1013904223) & control->flow_mask;
  *(__be16*)&control->header[port_offset] = bpf_htons(0x8000 | (flow & 0x7fff));
  *(__be16*)&control->header[address_offset] = bpf_htons(control->address_base + (flow >> 15));
  return control;
}
