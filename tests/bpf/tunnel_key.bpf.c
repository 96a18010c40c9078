// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* A test run's packet has been in no tunnel: gives it the key of one, as the kernel's device would, and goes on with
 * the program under test. What the key has as its local address stands where a received one has the sender's. */
#include <linux/types.h>
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct bpf_tunnel_key);
} tunnel_key SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} tunnel_target SEC(".maps");

static __always_inline int go_on(struct __sk_buff *skb, __u64 flags)
{
	__u32 zero = 0;
	struct bpf_tunnel_key *key = bpf_map_lookup_elem(&tunnel_key, &zero);

	if (!key || bpf_skb_set_tunnel_key(skb, key, sizeof(*key), flags))
		return TC_ACT_UNSPEC;
	bpf_tail_call(skb, &tunnel_target, 0);
	return TC_ACT_UNSPEC;
}

SEC("tc")
int tunnel_of_v4(struct __sk_buff *skb)
{
	return go_on(skb, 0);
}

SEC("tc")
int tunnel_of_v6(struct __sk_buff *skb)
{
	return go_on(skb, BPF_F_TUNINFO_IPV6);
}

char _license[] SEC("license") = "Dual BSD/GPL";
