// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The node's uplinks: replies to translated flows come in and go straight to their pod; what the
 * stack forwarded for a pod (too large, or fragmented) is translated on the way out. */
#include "lib/fast.h"
#include "lib/slow.h"

inline_always int handle(struct __sk_buff *skb, enum weft_event_hook hook)
{
	const struct weft_config *config = config_get();

	if (!config)
		return TC_ACT_OK;
	int verdict = fast_path(skb, config, hook);

	return verdict != FAST_MISS ? verdict : slow_path(skb, config, hook);
}

SEC("tc")
int weft_from_device(struct __sk_buff *skb)
{
	return handle(skb, WEFT_HOOK_FROM_DEVICE);
}

SEC("tc")
int weft_to_device(struct __sk_buff *skb)
{
	return handle(skb, WEFT_HOOK_TO_DEVICE);
}

char _license[] SEC("license") = "Dual BSD/GPL";
