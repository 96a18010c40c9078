/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Policy as data: endpoints with the same set of policies share one class. */
#pragma once

#include "abi/types.h"

/* Map weft_policy_v1. Lookup order for one direction: for each peer identity of (identity of the
 * address, its CIDR identity, WEFT_IDENTITY_ANY), for each prefix length of the endpoint's
 * prefix_mask from 16 down to 0, the key below; at length 0 first with the packet's protocol, then
 * with protocol 0 (any). The first hit decides. Nothing: denied under default_rule. */
struct weft_policy_key {
	__u32 policy_class;
	__u32 identity;
	__u16 port; /* host byte order, bits beyond the prefix zero; destination port */
	__u8 protocol; /* IANA number, 0: any (only with prefix length 0) */
	__u8 direction_prefix; /* weft_direction << 7 | prefix length 0..16 */
};
WEFT_ABI_ASSERT(sizeof(struct weft_policy_key) == 12);
#define WEFT_POLICY_ROWS 131072 /* of weft_policy_v1 */
#define WEFT_POLICY_CIDRS 8192 /* of what policies name, in weft_ipid_v2 */

enum weft_policy_verdict {
	WEFT_POLICY_ALLOW = 1,
	WEFT_POLICY_DENY = 2,
};

struct weft_policy_entry {
	__u32 rule; /* weft rule id */
	__u8 verdict; /* weft_policy_verdict */
	__u8 pad[3];
};
WEFT_ABI_ASSERT(sizeof(struct weft_policy_entry) == 8);
