/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The decision about a flow: who the two ends are, what policy says of them, where each direction
 * leaves. It is made once, by whichever hook sees the flow first, and entered into the flow table
 * for both directions. */
#pragma once

#include "lib/exit.h"
#include "lib/policy.h"
#include "lib/scratch.h"
#include "lib/service.h"
#include "maps/endpoint.h"

#define ADDRESS_FAMILY_V4 2 /* AF_INET */
#define ADDRESS_FAMILY_V6 10 /* AF_INET6 */

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

/* The identity of an address; returns its weft_ip_flag bits, 0 for an endpoint's. */
inline_always __u32 identify(const struct weft_addr *addr, const struct weft_endpoint *endpoint, __u32 *identity,
			     __u32 *cidr_identity)
{
	struct weft_lpm_key key = { .prefix_length = 128, .addr = *addr };
	struct weft_ip_identity *found;

	if (endpoint) {
		*identity = endpoint->identity;
		*cidr_identity = endpoint->cidr_identity;
		return 0;
	}
	*cidr_identity = 0;
	found = bpf_map_lookup_elem(&weft_ipid_v1, &key);
	if (!found) {
		*identity = WEFT_IDENTITY_WORLD;
		return 0;
	}
	*identity = found->identity;
	return found->flags;
}

/* Policy between the ends of scratch->pair. Fills the context; true when allowed. */
verified_once bool decide_policy(struct scratch *s, const struct weft_endpoint *src, const struct weft_endpoint *dst)
{
	struct policy_answer answer = {};

	if (!s)
		return false;
	struct event_context *context = &s->context;

	context->src_endpoint = src ? src->endpoint_id : 0;
	context->dst_endpoint = dst ? dst->endpoint_id : 0;
	context->egress_rule = 0;
	context->ingress_rule = 0;
	s->src_ip_flags = identify(&s->pair.saddr, src, &context->src_identity, &s->src_cidr);
	s->dst_ip_flags = identify(&s->pair.daddr, dst, &context->dst_identity, &s->dst_cidr);
	/* A pod cannot block access to itself. */
	if (src && dst && src->endpoint_id == dst->endpoint_id)
		return true;
	if (endpoint_is_pod(src)) {
		policy_check(src, WEFT_EGRESS, context->dst_identity, s->dst_cidr, s->pair.protocol, s->pair.dport,
			     &answer);
		context->egress_rule = answer.rule;
		if (!answer.allowed) {
			context->direction = WEFT_EGRESS;
			return false;
		}
	}
	if (endpoint_is_host(src) && endpoint_is_pod(dst)) {
		context->ingress_rule = 1; /* RuleTable::host_allowed */
	} else if (endpoint_is_pod(dst)) {
		policy_check(dst, WEFT_INGRESS, context->src_identity, s->src_cidr, s->pair.protocol, s->pair.dport,
			     &answer);
		context->ingress_rule = answer.rule;
		if (!answer.allowed) {
			context->direction = WEFT_INGRESS;
			return false;
		}
	}
	return true;
}

/* The device towards an address outside; 0 when there is no route. Fills the exit of scratch->forward. */
verified_once bool route_outside(struct __sk_buff *skb, struct scratch *s, bool v4)
{
	struct bpf_fib_lookup fib = {};

	if (!s)
		return false;
	struct weft_flow *flow = &s->forward;
	long result;

	fib.ifindex = skb->ifindex;
	fib.l4_protocol = s->pair.protocol;
	if (v4) {
		fib.family = ADDRESS_FAMILY_V4;
		fib.ipv4_src = s->pair.saddr.word[3];
		fib.ipv4_dst = s->pair.daddr.word[3];
	} else {
		fib.family = ADDRESS_FAMILY_V6;
		__builtin_memcpy(fib.ipv6_src, &s->pair.saddr, 16);
		__builtin_memcpy(fib.ipv6_dst, &s->pair.daddr, 16);
	}
	result = bpf_fib_lookup(skb, &fib, sizeof(fib), 0);
	if (result == BPF_FIB_LKUP_RET_BLACKHOLE || result == BPF_FIB_LKUP_RET_UNREACHABLE ||
	    result == BPF_FIB_LKUP_RET_PROHIBIT)
		return false;
	/* FRAG_NEEDED: this packet is too large for the device, the flow is not. */
	if (result != BPF_FIB_LKUP_RET_SUCCESS && result != BPF_FIB_LKUP_RET_NO_NEIGH &&
	    result != BPF_FIB_LKUP_RET_FRAG_NEEDED) {
		/* Local to the node, or something only the full stack can route. */
		flow->exit = WEFT_EXIT_STACK;
		return true;
	}
	flow->exit = WEFT_EXIT_NEIGH;
	flow->out_ifindex = fib.ifindex;
	return true;
}

/* Copies the decision into both directions' entries. */
inline_always void flow_stamp(struct weft_flow *flow, const struct scratch *s)
{
	flow->epoch = s->epoch;
	flow->src_identity = s->context.src_identity;
	flow->dst_identity = s->context.dst_identity;
	flow->egress_rule = s->context.egress_rule;
	flow->ingress_rule = s->context.ingress_rule;
	flow->service_id = s->context.service_id;
}

/* Resolves a service in the packet path (a pod whose sockets the socket hook does not see). A pod's
 * address is no frontend; that it was reached through one only the socket hook's hint can tell. */
verified_once enum weft_drop_reason decide_service(struct scratch *s, const struct weft_endpoint *src,
						   const struct weft_config *config, bool to_pod)
{
	struct weft_service *service;
	struct weft_backend *backend;
	__u32 backend_id = 0;

	if (!s || !src || !config || !(config->flags & WEFT_CONFIG_SERVICES))
		return WEFT_DROP_NONE;
	service = to_pod ? NULL : service_find(&s->pair.daddr, s->pair.dport, s->pair.protocol);
	if (!service) {
		struct weft_hint_key hint_key = {
			.endpoint_id = src->endpoint_id,
			.addr = s->pair.daddr,
			.port = s->pair.dport,
			.protocol = s->pair.protocol,
		};
		struct weft_hint *hint = bpf_map_lookup_elem(&weft_hint_v2, &hint_key);

		if (hint)
			s->context.service_id = hint->service_id;
		return WEFT_DROP_NONE;
	}
	s->context.service_id = service->service_id;
	struct service_client client = { .port = s->pair.sport, .protocol = s->pair.protocol };

	client_is_endpoint(&client, src->endpoint_id);
	backend = service_select(config, service, &client, &backend_id);
	if (!backend)
		return WEFT_DROP_NO_BACKEND;
	/* The CRC of SCTP covers the ports and all the data: only the address can change. */
	if (s->pair.protocol == IPPROTO_SCTP && backend->port != s->pair.dport)
		return WEFT_DROP_SCTP_PORT;
	s->pair.daddr = backend->addr;
	s->pair.dport = backend->port;
	s->forward.flags |= WEFT_FLOW_DNAT;
	s->forward.dst_addr = backend->addr;
	s->forward.dst_port = backend->port;
	s->forward.backend_id = backend_id;
	s->reply.flags |= WEFT_FLOW_SNAT;
	s->reply.src_addr = s->packet.tuple.daddr;
	s->reply.src_port = s->packet.tuple.dport;
	s->reply.backend_id = backend_id;
	s->context.backend_addr = backend->addr;
	s->context.backend_port = backend->port;
	count(WEFT_STAT_PACKET_TRANSLATED);
	return WEFT_DROP_NONE;
}

inline_always void want_source_translation(struct scratch *s, const struct weft_addr *address)
{
	s->translate_source = true;
	s->nat_address = *address;
}

/* Exits of a flow that starts in a pod. */
inline_always enum weft_drop_reason decide_exit_from_pod(struct __sk_buff *skb, struct scratch *s, bool v4,
							 const struct weft_endpoint *src,
							 const struct weft_endpoint *dst,
							 const struct weft_config *config)
{
	struct weft_flow *forward = &s->forward;
	struct weft_flow *reply = &s->reply;

	forward->in_ifindex = skb->ifindex;
	reply->exit = WEFT_EXIT_PEER;
	reply->out_ifindex = skb->ifindex;
	if (endpoint_is_pod(dst)) {
		forward->exit = WEFT_EXIT_PEER;
		forward->out_ifindex = dst->ifindex;
		reply->in_ifindex = dst->ifindex;
		if (dst->endpoint_id != src->endpoint_id)
			return WEFT_DROP_NONE;
		/* A pod does not take packets from its own address. */
		struct weft_addr gateway = config->gateway_v6;

		if (v4)
			addr_from_v4(&gateway, config->gateway_v4);
		want_source_translation(s, &gateway);
		return WEFT_DROP_NONE;
	}
	if (endpoint_is_host(dst)) {
		forward->exit = WEFT_EXIT_STACK;
		return WEFT_DROP_NONE;
	}
	if (s->dst_ip_flags & WEFT_IP_RESERVED)
		return WEFT_DROP_UNKNOWN_ENDPOINT;
	if (!route_outside(skb, s, v4))
		return WEFT_DROP_NO_ROUTE;
	if (forward->exit != WEFT_EXIT_NEIGH)
		return WEFT_DROP_NONE;
	struct weft_device *device = bpf_map_lookup_elem(&weft_dev_v1, &forward->out_ifindex);

	if (!device) {
		/* Not an uplink: leave it to the host's own configuration. */
		forward->exit = WEFT_EXIT_STACK;
		return WEFT_DROP_NONE;
	}
	forward->mtu = device->mtu;
	if (!(config->flags & (v4 ? WEFT_CONFIG_MASQUERADE_V4 : WEFT_CONFIG_MASQUERADE_V6)) ||
	    (s->dst_ip_flags & WEFT_IP_NATIVE))
		return WEFT_DROP_NONE;
	struct weft_addr nat = v4 ? device->nat_v4 : device->nat_v6;

	if (!nat.word[3] && !nat.word[0])
		return WEFT_DROP_NAT_NO_ADDRESS;
	want_source_translation(s, &nat);
	return WEFT_DROP_NONE;
}
