// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* As packet_bench.bpf.c, for XDP: puts the packet back to where it began and as it was, another flow's each
 * time, and tail-calls the program under test. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "abi/flow.h"
#include "tests/bpf/bench_frame.bpf.h"

SEC(".maps");

SEC("xdp")
int bench_wrap(struct xdp_md* ctx) {
  __u32 length;
  struct bench_control* control = bench_next_flow(&length);

  if (!control) return XDP_ABORTED;
  long grown = (void*)(long)ctx->data_end - (void*)(long)ctx->data - (long)control->packet_length;

  if (grown && bpf_xdp_adjust_head(ctx, grown)) return XDP_ABORTED;
  bpf_xdp_store_bytes(ctx, 0, control->header, length);
  bpf_tail_call(ctx, &bench_target, 0);
  return XDP_ABORTED;
}

/* The peer of a new flow: the kernel's part of it alone, one entry for each direction that has one. */
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 1);
  __type(key, struct weft_flow_key_v4);
  __type(value, struct weft_flow);
} bench_flows4 SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 1);
  __type(key, struct weft_flow_key_v6);
  __type(value, struct weft_flow);
} bench_flows6 SEC(".maps");

/* The packet's tuple; the second entry's has another protocol. */
static __always_inline int enter_v4(void* data, void* end, __u32 entries) {
  struct iphdr* ip = data + ETH_HLEN;
  __be16* ports = (void*)(ip + 1);
  struct weft_flow_key_v4 key = {};
  struct weft_flow flow = {};

  if ((void*)(ports + 2) > end) return XDP_ABORTED;
  key.saddr = ip->saddr;
  key.daddr = ip->daddr;
  key.sport = ports[0];
  key.dport = ports[1];
  for (__u32 i = 0; i < entries; i++) {
    key.protocol = ip->protocol + i;
    if (bpf_map_update_elem(&bench_flows4, &key, &flow, BPF_NOEXIST)) return XDP_ABORTED;
  }
  return XDP_TX;
}

static __always_inline int enter_v6(void* data, void* end, __u32 entries) {
  struct ipv6hdr* ip = data + ETH_HLEN;
  __be16* ports = (void*)(ip + 1);
  struct weft_flow_key_v6 key = {};
  struct weft_flow flow = {};

  if ((void*)(ports + 2) > end) return XDP_ABORTED;
  __builtin_memcpy(&key.saddr, &ip->saddr, 16);
  __builtin_memcpy(&key.daddr, &ip->daddr, 16);
  key.sport = ports[0];
  key.dport = ports[1];
  for (__u32 i = 0; i < entries; i++) {
    key.protocol = ip->nexthdr + i;
    if (bpf_map_update_elem(&bench_flows6, &key, &flow, BPF_NOEXIST)) return XDP_ABORTED;
  }
  return XDP_TX;
}

static __always_inline int enter(struct xdp_md* ctx, __u32 entries) {
  void* data = (void*)(long)ctx->data;
  void* end = (void*)(long)ctx->data_end;
  struct ethhdr* ethernet = data;

  if ((void*)(ethernet + 1) > end) return XDP_ABORTED;
  return ethernet->h_proto == bpf_htons(ETH_P_IP) ? enter_v4(data, end, entries) : enter_v6(data, end, entries);
}

SEC("xdp")
int bench_enter_one(struct xdp_md* ctx) { return enter(ctx, 1); }

SEC("xdp")
int bench_enter_two(struct xdp_md* ctx) { return enter(ctx, 2); }

SEC("xdp")
int bench_noop(struct xdp_md* ctx) {
  (void)ctx;
  return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
