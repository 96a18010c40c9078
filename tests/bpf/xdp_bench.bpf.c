// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* As packet_bench.bpf.c, for XDP: puts the packet back to where it began and as it was, another flow's each
 * time, and tail-calls the program under test. */
#include <linux/bpf.h>

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

SEC("xdp")
int bench_wrap(struct xdp_md* ctx) {
  __u32 zero = 0;
  struct bench_control* control = bpf_map_lookup_elem(&bench_control, &zero);

  if (!control) return XDP_ABORTED;
  __u32 flow = control->cursor;
  __u32 port_offset = control->port_offset;
  __u32 address_offset = control->address_offset;
  __u32 length = control->header_length;
  long grown = (void*)(long)ctx->data_end - (void*)(long)ctx->data - (long)control->packet_length;

  if (port_offset > BENCH_HEADER_MAX - 2 || address_offset > BENCH_HEADER_MAX - 2 || length < 1 ||
      length > BENCH_HEADER_MAX)
    return XDP_ABORTED;
  control->cursor = (flow * 1664525 + 1013904223) & control->flow_mask;
  *(__be16*)&control->header[port_offset] = bpf_htons(0x8000 | (flow & 0x7fff));
  *(__be16*)&control->header[address_offset] = bpf_htons(control->address_base + (flow >> 15));
  if (grown && bpf_xdp_adjust_head(ctx, grown)) return XDP_ABORTED;
  bpf_xdp_store_bytes(ctx, 0, control->header, length);
  bpf_tail_call(ctx, &bench_target, 0);
  return XDP_ABORTED;
}

SEC("xdp")
int bench_noop(struct xdp_md* ctx) {
  (void)ctx;
  return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
