// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The node's uplinks before the stack: clients' flows to backends elsewhere, and what comes back of them. Whatever
 * it does not carry passes to tc (host.bpf.c), which works on the same entries. */
#include "lib/xdp_decapsulate.h"
#include "lib/xdp_slow.h"

SEC("xdp")
int weft_xdp(struct xdp_md *ctx)
{
	struct ethhdr *ethernet = (void *)(long)ctx->data;
	const struct weft_config *config;
	int verdict;

	if ((void *)(ethernet + 1) > (void *)(long)ctx->data_end)
		return XDP_PASS;
	config = config_get();
	if (!config)
		return XDP_PASS;
	if (unlikely(config->flags & WEFT_CONFIG_DECAPSULATE)) {
		if (xdp_inside(ctx, config->flags & WEFT_CONFIG_TUNNEL)) {
			verdict = xdp_admit(ctx, config);
			return verdict == XDP_PASS ? xdp_take_out(ctx) : verdict;
		}
		ethernet = (void *)(long)ctx->data;
		if ((void *)(ethernet + 1) > (void *)(long)ctx->data_end)
			return XDP_PASS;
	}
	if (ethernet->h_proto == bpf_htons(ETH_P_IP)) {
		verdict = xdp_fast(ctx, config, true);
		return likely(verdict >= 0) ? verdict : xdp_slow(ctx, config);
	}
	if (ethernet->h_proto == bpf_htons(ETH_P_IPV6)) {
		verdict = xdp_fast(ctx, config, false);
		return likely(verdict >= 0) ? verdict : xdp_slow(ctx, config);
	}
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
