/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The lookup abi/policy.h states; control/policy/evaluate is its twin in words, and the tests
 * compare the two. */
#pragma once

#include "maps/policy.h"

struct policy_answer {
	__u32 rule;
	bool allowed;
};

inline_always bool policy_try(struct weft_policy_key *key, struct policy_answer *answer)
{
	struct weft_policy_entry *entry = bpf_map_lookup_elem(&weft_policy_v1, key);

	if (!entry)
		return false;
	answer->rule = entry->rule;
	answer->allowed = entry->verdict == WEFT_POLICY_ALLOW;
	return true;
}

/* One peer identity, all prefix lengths in use, longest first. */
verified_once bool policy_peer(const struct weft_policy_key *peer, struct policy_answer *answer, __u32 mask,
			       __u32 port, __u32 protocol)
{
	if (!peer || !answer)
		return false;
	struct weft_policy_key key = *peer;
	__u8 direction = key.direction_prefix & 0x80;

	if (mask & (1U << 16)) {
		key.port = port;
		key.protocol = protocol;
		key.direction_prefix = direction | 16;
		if (policy_try(&key, answer))
			return true;
	}
	if (mask & 0xfffe) {
		for (__u32 length = 15; length > 0; length--) {
			if (!(mask & (1U << length)))
				continue;
			key.port = port & (0xffffU << (16 - length));
			key.protocol = protocol;
			key.direction_prefix = direction | length;
			if (policy_try(&key, answer))
				return true;
		}
	}
	if (mask & 1) {
		key.port = 0;
		key.protocol = protocol;
		key.direction_prefix = direction;
		if (policy_try(&key, answer))
			return true;
		key.protocol = 0;
		if (policy_try(&key, answer))
			return true;
	}
	return false;
}

/* `port` is the destination port in network byte order. */
inline_always void policy_check(const struct weft_endpoint *endpoint, enum weft_direction direction, __u32 identity,
				__u32 cidr_identity, __u8 protocol, __be16 port, struct policy_answer *answer)
{
	struct weft_policy_key key = {
		.policy_class = endpoint->policy_class,
		.identity = identity,
		.direction_prefix = direction << 7,
	};
	__u32 mask = endpoint->prefix_mask[direction];
	__u32 host_port = bpf_ntohs(port);
	__u32 enforced = direction == WEFT_EGRESS ? WEFT_ENDPOINT_EGRESS_ENFORCED : WEFT_ENDPOINT_INGRESS_ENFORCED;

	answer->rule = 0;
	answer->allowed = true;
	if (!(endpoint->flags & enforced))
		return;
	if (policy_peer(&key, answer, mask, host_port, protocol))
		return;
	if (cidr_identity && cidr_identity != identity) {
		key.identity = cidr_identity;
		if (policy_peer(&key, answer, mask, host_port, protocol))
			return;
	}
	key.identity = WEFT_IDENTITY_ANY;
	if (policy_peer(&key, answer, mask, host_port, protocol))
		return;
	answer->allowed = false;
	answer->rule = endpoint->default_rule[direction];
}
