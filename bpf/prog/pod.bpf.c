// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Both directions of a pod, at the host side of its veth: from_pod on ingress sees what the pod
 * sends, to_pod on egress what the host's stack sends to the pod. */
#include "lib/fast.h"
#include "lib/slow.h"

/* The tag would go with the packet wherever it goes. One that only carries a priority is taken off. */
verified_once int strip_vlan(struct __sk_buff *skb)
{
	if (skb->vlan_tci & VLAN_ID_MASK)
		return drop(skb, WEFT_DROP_VLAN);
	return bpf_skb_vlan_pop(skb) ? drop(skb, WEFT_DROP_MALFORMED) : TC_ACT_OK;
}

inline_always int handle(struct __sk_buff *skb, enum weft_event_hook hook)
{
	const struct weft_config *config = config_get();

	if (!config)
		return drop(skb, WEFT_DROP_UNKNOWN_ENDPOINT);
	if (hook == WEFT_HOOK_FROM_POD && unlikely(skb->vlan_present)) {
		int stripped = strip_vlan(skb);

		if (stripped)
			return stripped;
	}
	int verdict = fast_path(skb, config, hook);

	return verdict >= 0 ? verdict : slow_path(skb, config, hook, verdict == FAST_ABSENT);
}

SEC("tc")
int weft_from_pod(struct __sk_buff *skb)
{
	return handle(skb, WEFT_HOOK_FROM_POD);
}

SEC("tc")
int weft_to_pod(struct __sk_buff *skb)
{
	return handle(skb, WEFT_HOOK_TO_POD);
}

char _license[] SEC("license") = "Dual BSD/GPL";
