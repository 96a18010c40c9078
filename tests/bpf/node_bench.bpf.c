// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The frame for ways between nodes: as packet_bench's, and it gives the packet back its length, which tunnels change,
 * and the key of a tunnel that it came out of. The peers are what the kernel's helpers cost alone. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>

#include "tests/bpf/bench_frame.bpf.h"

SEC(".maps");

#define GENEVE_ROOM 36 /* IPv4, UDP, Geneve */
#define IPIP_ROOM 20

static __always_inline int next_packet(struct __sk_buff* skb, __be32 sender) {
  struct bpf_tunnel_key key = {};
  __u32 length;
  struct bench_control* control = bench_next_flow(&length);

  if (!control) return TC_ACT_UNSPEC;
  int grown = (int)skb->len - (int)control->packet_length;

  if (grown && bpf_skb_adjust_room(skb, -grown, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO)) return TC_ACT_UNSPEC;
  bpf_skb_store_bytes(skb, 0, control->header, length, 0);
  if (sender) {
    key.tunnel_id = 1777;
    key.local_ipv4 = bpf_ntohl(sender);
    bpf_skb_set_tunnel_key(skb, &key, sizeof(key), 0);
  }
  skb->mark = 0;
  bpf_tail_call(skb, &bench_target, 0);
  return TC_ACT_UNSPEC;
}

SEC("tc")
int node_wrap(struct __sk_buff* skb) { return next_packet(skb, 0); }

/* From 192.0.2.77. */
SEC("tc")
int node_wrap_overlay(struct __sk_buff* skb) { return next_packet(skb, bpf_htonl(0xc000024d)); }

SEC("tc")
int node_noop(struct __sk_buff* skb) {
  (void)skb;
  return TC_ACT_REDIRECT;
}

SEC("tc")
int node_set_key(struct __sk_buff* skb) {
  struct bpf_tunnel_key key = {.tunnel_id = 1777, .remote_ipv4 = 0xc000024d, .local_ipv4 = 0xc0000201};

  bpf_skb_set_tunnel_key(skb, &key, sizeof(key), BPF_F_ZERO_CSUM_TX | BPF_F_DONT_FRAGMENT);
  return bpf_redirect(111, 0);
}

SEC("tc")
int node_get_key(struct __sk_buff* skb) {
  struct bpf_tunnel_key key = {};

  return bpf_skb_get_tunnel_key(skb, &key, sizeof(key), 0) ? TC_ACT_SHOT : TC_ACT_REDIRECT;
}

static __always_inline int room_out(struct __sk_buff* skb, __u32 room, __u64 flags) {
  __u8 header[GENEVE_ROOM] = {};

  if (bpf_skb_adjust_room(skb, room, BPF_ADJ_ROOM_MAC,
                          flags | BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_ENCAP_L3_IPV4) ||
      bpf_skb_store_bytes(skb, ETH_HLEN, header, room, 0))
    return TC_ACT_SHOT;
  return TC_ACT_REDIRECT;
}

SEC("tc")
int node_room_geneve(struct __sk_buff* skb) { return room_out(skb, GENEVE_ROOM, BPF_F_ADJ_ROOM_ENCAP_L4_UDP); }

SEC("tc")
int node_room_ipip(struct __sk_buff* skb) { return room_out(skb, IPIP_ROOM, 0); }

static __always_inline int room_in(struct __sk_buff* skb, int room) {
  return bpf_skb_adjust_room(skb, -room, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO) ? TC_ACT_SHOT : TC_ACT_REDIRECT;
}

SEC("tc")
int node_take_geneve(struct __sk_buff* skb) { return room_in(skb, GENEVE_ROOM); }

SEC("tc")
int node_take_ipip(struct __sk_buff* skb) { return room_in(skb, IPIP_ROOM); }

char _license[] SEC("license") = "Dual BSD/GPL";
