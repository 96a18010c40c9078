// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Devices of the node. Its uplinks: replies to translated flows come in and go straight to their pod, clients' packets
 * to their service's backend; what the stack forwarded for a pod (too large, or fragmented), and what the
 * node answers as a backend, is translated on the way out. The rest of the node's traffic is none of our
 * business and must cost next to nothing. Its VXLAN and WireGuard devices, out of which other nodes' packets come, and the device whose
 * routes lead the node's own packets into tunnels. */
#include "lib/encapsulate_take.h"
#include "lib/fast.h"
#include "lib/slow.h"
#include "lib/tunnel_take.h"

/* A VLAN is another network: its own device, if there is one, sees the packet too. */
inline_always bool of_a_vlan(struct __sk_buff *skb)
{
	return unlikely(skb->vlan_present && (skb->vlan_tci & VLAN_ID_MASK));
}

/* What a tunnel held: scratch has who sent it. */
inline_always int out_of_tunnel(struct __sk_buff *skb, const struct weft_config *config)
{
	int verdict = fast_path(skb, config, WEFT_HOOK_FROM_OVERLAY);

	return verdict >= 0 ? verdict : slow_path(skb, config, WEFT_HOOK_FROM_OVERLAY, verdict == FAST_ABSENT);
}

SEC("tc")
int weft_from_device(struct __sk_buff *skb)
{
	const struct weft_config *config = config_get();

	if (!config || of_a_vlan(skb))
		return TC_ACT_OK;
	if (unlikely(config->flags & WEFT_CONFIG_TUNNEL) && tunnel_suspected(skb)) {
		int taken = tunnel_take(skb, config);

		if (taken != TAKE_PLAIN)
			return taken == TAKE_TAKEN ? out_of_tunnel(skb, config) : taken;
	}
	int verdict = fast_path(skb, config, WEFT_HOOK_FROM_DEVICE);

	if (verdict < 0 && unlikely(config->flags & WEFT_CONFIG_DECAPSULATE)) {
		int taken = take_out(skb);

		if (taken == TAKE_TAKEN) {
			taken = take_admit(skb, config);
			verdict = FAST_MISS;
		}
		if (taken >= 0)
			return taken;
	}
	if (verdict == FAST_ABSENT && !device_concerned(skb, config))
		return TC_ACT_OK;
	return verdict >= 0 ? verdict : slow_path(skb, config, WEFT_HOOK_FROM_DEVICE, verdict == FAST_ABSENT);
}

SEC("tc")
int weft_to_device(struct __sk_buff *skb)
{
	const struct weft_config *config = config_get();

	/* 0: made by the node, not forwarded; ours only as a backend's reply to a client outside */
	if (!config || (!skb->ingress_ifindex && !(config->flags & WEFT_CONFIG_HOST_BACKENDS)) || of_a_vlan(skb))
		return TC_ACT_OK;
	int verdict = fast_path(skb, config, WEFT_HOOK_TO_DEVICE);

	if (verdict == FAST_ABSENT)
		return TC_ACT_OK;
	return verdict >= 0 ? verdict : slow_path(skb, config, WEFT_HOOK_TO_DEVICE, false);
}

SEC("tc")
int weft_from_overlay(struct __sk_buff *skb)
{
	const struct weft_config *config = config_get();
	int reason;

	if (!config)
		return TC_ACT_SHOT;
	reason = vxlan_take(skb);
	return reason ? drop(skb, reason) : out_of_tunnel(skb, config);
}

SEC("tc")
int weft_from_wireguard(struct __sk_buff *skb)
{
	const struct weft_config *config = config_get();
	int reason;

	if (!config)
		return TC_ACT_SHOT;
	if (wireguard_between_nodes(skb))
		return TC_ACT_OK;
	reason = wireguard_take(skb);
	if (!reason && unlikely(config->flags & WEFT_CONFIG_EGRESS))
		reason = wireguard_unwrap(skb);
	return reason ? drop(skb, reason) : out_of_tunnel(skb, config);
}

/* On egress: what the device's routes lead to is reached by a tunnel. */
SEC("tc")
int weft_from_host(struct __sk_buff *skb)
{
	const struct weft_config *config = config_get();

	if (!config || !(config->flags & WEFT_CONFIG_NODES))
		return TC_ACT_OK;
	/* The stack is too short for the fast path's registers beside a tunnel's. */
	return slow_path(skb, config, WEFT_HOOK_FROM_HOST, false);
}

char _license[] SEC("license") = "Dual BSD/GPL";
