// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The least a packet between two pods of one node can cost: one redirect to the other's device,
 * nothing looked at, nothing rewritten. The benchmark compares Weft with it. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

const volatile __u32 target_ifindex;

SEC("tc")
int redirect_peer(struct __sk_buff *skb)
{
	(void)skb;
	return bpf_redirect_peer(target_ifindex, 0);
}

char _license[] SEC("license") = "Dual BSD/GPL";
