/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Whose an address is, on this node or another one, and how packets get to that one. */
#pragma once

#include "abi/flow.h"
#include "maps/config.h"
#include "maps/endpoint.h"

inline_always struct weft_endpoint *endpoint_find(const struct weft_addr *addr)
{
	return bpf_map_lookup_elem(&weft_ep_v1, addr);
}

inline_always bool endpoint_is_pod(const struct weft_endpoint *endpoint)
{
	return endpoint && endpoint->ifindex;
}

inline_always bool endpoint_is_host(const struct weft_endpoint *endpoint)
{
	return endpoint && (endpoint->flags & WEFT_ENDPOINT_HOST);
}

struct owner {
	__u32 identity;
	__u32 cidr_identity;
	__u32 ip_flags; /* weft_ip_flag; 0: an endpoint's */
	__u32 node; /* the other node whose way leads there; 0: none */
	bool unsettled; /* of another node's block, and what has it there is not known yet */
};

/* What weft_remote_v1 says, then the longest prefix. `nodes`: there are other nodes to ask about. */
inline_always void owner_outside(struct owner *owner, const struct weft_addr *addr, bool nodes)
{
	struct weft_lpm_key key = { .prefix_length = 128, .addr = *addr };
	struct weft_ip_identity *found;
	struct weft_remote *remote = NULL;

	if (unlikely(nodes))
		remote = bpf_map_lookup_elem(&weft_remote_v1, &key.addr);
	if (remote) {
		owner->identity = remote->identity;
		owner->cidr_identity = remote->cidr_identity;
		owner->node = remote->node;
		owner->ip_flags = WEFT_IP_NATIVE;
		if (owner->node)
			return;
	}
	found = bpf_map_lookup_elem(&weft_ipid_v2, &key);
	owner->ip_flags = found ? found->flags : 0;
	if (remote)
		return;
	owner->identity = found ? found->identity : WEFT_IDENTITY_WORLD;
	if (unlikely(nodes) && found && found->node) {
		owner->node = found->node;
		owner->ip_flags = WEFT_IP_NATIVE;
		owner->unsettled = true;
	}
}

/* `endpoint`: what has the address here, or NULL. */
inline_always void owner_find(struct owner *owner, const struct weft_addr *addr, const struct weft_endpoint *endpoint,
			      bool nodes)
{
	__builtin_memset(owner, 0, sizeof(*owner));
	if (endpoint) {
		owner->identity = endpoint->identity;
		owner->cidr_identity = endpoint->cidr_identity;
		return;
	}
	owner_outside(owner, addr, nodes);
}

/* The other node whose way leads to an address that nothing here has; 0: none. With WEFT_CONFIG_NODES only. */
verified_once __u32 node_of(const struct weft_addr *addr)
{
	struct weft_addr copy;
	struct owner owner = {};

	if (!addr)
		return 0;
	copy = *addr;
	owner_outside(&owner, &copy, true);
	return owner.node;
}

/* NULL: no node has this number. */
inline_always const struct weft_node *node_get(__u32 index)
{
	const struct weft_node *node = bpf_map_lookup_elem(&weft_node_v1, &index);

	return node && node->way != WEFT_WAY_NONE ? node : NULL;
}

inline_always bool node_is_tunneled(__u32 index)
{
	const struct weft_node *node = index ? node_get(index) : NULL;

	return node && node->way != WEFT_WAY_DIRECT;
}

/* Whether only WireGuard brings packets from there: a node that is encrypted to encrypts, and where nothing in clear may
 * go to a node, nothing in clear is that node's. */
inline_always bool node_encrypts(const struct weft_node *node)
{
	return node->way == WEFT_WAY_WIREGUARD || node->way == WEFT_WAY_REFUSED;
}

/* Whether packets of a flow with these flags (weft_flow_flag) are put into IP-in-IP before WireGuard takes them. */
inline_always bool node_wraps(const struct weft_node *node, __u32 flow_flags)
{
	return unlikely(flow_flags & WEFT_FLOW_EGRESS) && node->way == WEFT_WAY_WIREGUARD;
}

/* Whether a device of the kernel's is the way there, whatever routes say. */
inline_always bool node_has_device(const struct weft_node *node)
{
	return node->way == WEFT_WAY_VXLAN || node->way == WEFT_WAY_WIREGUARD;
}

/* That device; 0: there is none. */
inline_always __u32 node_device(const struct weft_node *node, const struct weft_config *config)
{
	return node->way == WEFT_WAY_WIREGUARD ? node->ifindex : config->overlay_ifindex;
}

/* weft_flow.in_ifindex of what comes from there. */
inline_always __u32 node_in_ifindex(__u32 index)
{
	return unlikely(index) && node_is_tunneled(index) ? WEFT_IN_TUNNEL : 0;
}

/* Whether a node of the cluster sends by this address, and tunnels to it end there. It has others as well, and its
 * gateways' are reached by a tunnel themselves: no tunnel's own packet has them. */
inline_always bool sender_is_node(const struct weft_addr *addr)
{
	struct weft_addr key = *addr;
	struct weft_remote *remote = bpf_map_lookup_elem(&weft_remote_v1, &key);

	return remote && (remote->flags & WEFT_REMOTE_NODE) && !remote->node;
}
