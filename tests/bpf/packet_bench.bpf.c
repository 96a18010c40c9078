// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The frame of the packet benchmark. A test run repeats a program without restoring the packet, so
 * the wrapper puts the headers back (of another flow each time), clears mark and cb, and tail-calls
 * the program under test. What the wrapper costs is measured round a program that does nothing. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "abi/flow.h"
#include "tests/bpf/bench_frame.bpf.h"

SEC(".maps");

SEC("tc")
int bench_wrap(struct __sk_buff* skb) {
  __u32 length;
  struct bench_control* control = bench_next_flow(&length);

  if (!control) return TC_ACT_UNSPEC;
  bpf_skb_store_bytes(skb, 0, control->header, length, 0);
  skb->mark = 0;
  skb->cb[0] = 0;
  skb->cb[1] = 0;
  skb->cb[2] = 0;
  skb->cb[3] = 0;
  skb->cb[4] = 0;
  bpf_tail_call(skb, &bench_target, 0);
  return TC_ACT_UNSPEC;
}

/* What socket_bench subtracts. */
SEC("cgroup/connect4")
int bench_connect_noop(struct bpf_sock_addr* context) {
  (void)context;
  return 1;
}

SEC("tc")
int bench_noop(struct __sk_buff* skb) {
  (void)skb;
  return TC_ACT_REDIRECT;
}

/* The peer: the least a program with flow state can do. Parse, one LRU lookup, compare an epoch read
 * from an array, redirect. */
struct bench_peer_flow {
  __u32 epoch;
  __u32 out_ifindex;
};

struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 65536);
  __type(key, struct weft_flow_key_v4);
  __type(value, struct bench_peer_flow);
} bench_peer_flows SEC(".maps");

static __always_inline int peer_key(struct __sk_buff* skb, struct weft_flow_key_v4* key) {
  void* data = (void*)(long)skb->data;
  void* end = (void*)(long)skb->data_end;
  struct iphdr* ip = data + ETH_HLEN;
  __be16* ports = (void*)(ip + 1);

  if ((void*)(ports + 2) > end || ip->version != 4 || ip->ihl != 5 ||
      (ip->protocol != IPPROTO_TCP && ip->protocol != IPPROTO_UDP))
    return -1;
  key->saddr = ip->saddr;
  key->daddr = ip->daddr;
  key->sport = ports[0];
  key->dport = ports[1];
  key->protocol = ip->protocol;
  return 0;
}

SEC("tc")
int bench_peer(struct __sk_buff* skb) {
  struct weft_flow_key_v4 key = {};
  struct bench_peer_flow* flow;
  struct bench_control* control;
  __u32 zero = 0;

  if (skb->protocol != bpf_htons(ETH_P_IP) || peer_key(skb, &key)) return TC_ACT_SHOT;
  control = bpf_map_lookup_elem(&bench_control, &zero);
  flow = bpf_map_lookup_elem(&bench_peer_flows, &key);
  if (!control || !flow || flow->epoch != control->epoch) return TC_ACT_SHOT;
  return bpf_redirect_peer(flow->out_ifindex, 0);
}

SEC("tc")
int bench_peer_fill(struct __sk_buff* skb) {
  struct weft_flow_key_v4 key = {};
  struct bench_control* control;
  __u32 zero = 0;

  control = bpf_map_lookup_elem(&bench_control, &zero);
  if (!control || peer_key(skb, &key)) return TC_ACT_SHOT;
  struct bench_peer_flow flow = {.epoch = control->epoch, .out_ifindex = control->out_ifindex};

  return bpf_map_update_elem(&bench_peer_flows, &key, &flow, BPF_ANY) ? TC_ACT_SHOT : TC_ACT_REDIRECT;
}

char _license[] SEC("license") = "Dual BSD/GPL";
