/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The decision about a flow: who the two ends are, what policy says of them, where each direction
 * leaves. It is made once, by whichever hook sees the flow first, and entered into the flow table
 * for both directions. */
#pragma once

#include "lib/backend.h"
#include "lib/egress.h"
#include "lib/exit.h"
#include "lib/policy.h"
#include "lib/route.h"
#include "lib/service.h"

/* Identities and nodes of both ends of scratch->pair. What a tunnel said of the sender is that one's own word; what the
 * flow knew of it before stands in for an address nothing is known of yet. */
inline_always void identify(struct scratch *s, const struct weft_endpoint *src, const struct weft_endpoint *dst)
{
	const struct weft_config *config = config_get();
	bool nodes = config && (config->flags & WEFT_CONFIG_NODES);
	struct owner owner;

	owner_find(&owner, &s->pair.daddr, dst, nodes);
	s->context.dst_identity = owner.identity;
	s->dst_cidr = owner.cidr_identity;
	s->dst_ip_flags = owner.ip_flags;
	s->dst_node = owner.node;
	s->unsettled = owner.unsettled;
	owner_find(&owner, &s->pair.saddr, src, nodes);
	if (unlikely(owner.node) && s->carried_identity) {
		owner.identity = s->carried_identity;
		owner.unsettled = false;
	} else if (owner.unsettled && s->former_identity) {
		owner.identity = s->former_identity;
	}
	s->context.src_identity = owner.identity;
	s->src_cidr = owner.cidr_identity;
	s->src_ip_flags = owner.ip_flags;
	s->src_node = owner.node;
	s->unsettled |= owner.unsettled;
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
	identify(s, src, dst);
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

/* Copies the decision into both directions' entries. */
inline_always void flow_stamp(struct weft_flow *flow, const struct scratch *s)
{
	/* of no epoch: each packet asks again, until it is known whose the address is */
	flow->epoch = unlikely(s->unsettled) ? 0 : s->epoch;
	flow->src_identity = s->context.src_identity;
	flow->dst_identity = s->context.dst_identity;
	flow->egress_rule = s->context.egress_rule;
	flow->ingress_rule = s->context.ingress_rule;
	flow->service_id = s->context.service_id;
}

/* The same for both entries of a new flow. */
inline_always void decision_stamp(struct scratch *s)
{
	flow_stamp(&s->forward, s);
	s->forward.created = bpf_ktime_get_ns();
	s->forward.last_seen = bpf_jiffies64();
	flow_stamp(&s->reply, s);
	s->reply.created = s->forward.created;
	s->reply.last_seen = s->forward.last_seen;
}

/* A connection begins at once after connect(); this many jiffies are a second at least. */
#define HINT_JIFFIES 1000

/* The service through which the socket hook sent this flow to a backend. A datagram socket may have been
 * connected long ago. */
inline_always void decide_hint(struct scratch *s, __u32 endpoint_id)
{
	struct weft_hint_key key = {
		.endpoint_id = endpoint_id,
		.addr = s->pair.daddr,
		.port = s->pair.dport,
		.protocol = s->pair.protocol,
	};
	struct weft_hint *hint = bpf_map_lookup_elem(&weft_hint_v2, &key);
	struct weft_backend *backend;

	if (!hint || (s->pair.protocol == IPPROTO_TCP && bpf_jiffies64() - hint->written > HINT_JIFFIES))
		return;
	__u32 backend_id = hint->backend_id;

	backend = backend_find(backend_id);
	if (backend_id && (!backend || backend->service_id != hint->service_id))
		return;
	s->context.service_id = hint->service_id;
	s->forward.backend_id = backend_id;
	s->reply.backend_id = backend_id;
}

/* Sends the flow of scratch->pair to a backend of the service. */
inline_always enum weft_drop_reason service_apply(struct scratch *s, const struct weft_config *config,
						  const struct weft_service *service,
						  const struct service_client *client)
{
	struct weft_service_state *state;
	struct weft_backend *backend;
	__u32 backend_id = 0;
	bool to_remember;

	s->context.service_id = service->service_id;
	state = service_state(service->service_id);
	if (!service_takes_source(service, &s->pair.saddr)) {
		if (state)
			__sync_fetch_and_add(&state->source_denied, 1);
		return WEFT_DROP_SOURCE_RANGE;
	}
	backend = service_select(config, service, client, &backend_id, &to_remember);
	if (!backend) {
		if (state)
			__sync_fetch_and_add(&state->refused, 1);
		return WEFT_DROP_NO_BACKEND;
	}
	/* The CRC of SCTP covers the ports and all the data: only the address can change. */
	if (s->pair.protocol == IPPROTO_SCTP && backend->port != s->pair.dport)
		return WEFT_DROP_SCTP_PORT;
	if (to_remember) {
		s->affinity.client = client->addr;
		s->affinity.service_id = service->service_id;
	}
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
	return WEFT_DROP_NONE;
}

/* The frontend scratch->pair goes to; `dst` has its destination address. */
inline_always struct weft_service *service_of_packet(const struct scratch *s, const struct weft_endpoint *dst)
{
	struct weft_service *service = service_find(&s->pair.daddr, s->pair.dport, s->pair.protocol);

	if (service || !endpoint_is_host(dst))
		return service;
	return service_find_node(packet_is_v4(&s->packet), s->pair.dport, s->pair.protocol);
}

/* The same for a client outside. Whose the destination is matters only where no frontend is at exactly it. */
inline_always struct weft_service *service_for_outside(const struct scratch *s)
{
	struct weft_service *service = service_find(&s->pair.daddr, s->pair.dport, s->pair.protocol);

	if (service || !endpoint_is_host(endpoint_find(&s->pair.daddr)))
		return service;
	return service_find_node(packet_is_v4(&s->packet), s->pair.dport, s->pair.protocol);
}

/* Resolves a service in the packet path: for pods whose sockets the socket hook does not see, and where it
 * needs the packet to decide. A pod's address is no frontend; that it was reached through one only the
 * socket hook's hint can tell. */
verified_once enum weft_drop_reason decide_service(struct scratch *s, const struct weft_endpoint *src,
						   const struct weft_endpoint *dst, const struct weft_config *config)
{
	struct service_client client = {};
	struct weft_service *service;
	enum weft_drop_reason reason;

	if (!s || !src || !config || !(config->flags & WEFT_CONFIG_SERVICES))
		return WEFT_DROP_NONE;
	service = endpoint_is_pod(dst) ? NULL : service_of_packet(s, dst);
	if (!service) {
		decide_hint(s, src->endpoint_id);
		return WEFT_DROP_NONE;
	}
	client_is_endpoint(&client, src->endpoint_id);
	client.port = s->pair.sport;
	client.protocol = s->pair.protocol;
	client.external = (service->flags & WEFT_SERVICE_LOCAL_REDIRECT) && (src->flags & WEFT_ENDPOINT_REDIRECT_TARGET);
	reason = service_apply(s, config, service, &client);
	if (!reason)
		count(WEFT_STAT_PACKET_TRANSLATED);
	return reason;
}

inline_always void want_source_translation(struct scratch *s, const struct weft_addr *address)
{
	s->translate_source = true;
	s->nat_address = *address;
}

/* The address of this node that other nodes reach by its way. */
inline_always void want_gateway_source(struct scratch *s, const struct weft_config *config, bool v4)
{
	s->translate_source = true;
	s->nat_address = config->gateway_v6;
	if (v4)
		addr_from_v4(&s->nat_address, config->gateway_v4);
}

/* Whether a datagram of scratch->pair, which may have a node's address for its source when it leaves, would reach a node
 * at a port where that believes nodes. `dst`: what has the destination here, or NULL. */
inline_always bool pair_speaks_as_node(const struct scratch *s, const struct weft_config *config,
				       const struct weft_endpoint *dst)
{
	if (s->pair.protocol != IPPROTO_UDP)
		return false;
	if (unlikely(wireguard_is_nodes(config, s->pair.dport)))
		return s->context.dst_identity == WEFT_IDENTITY_REMOTE_NODE || endpoint_is_host(dst);
	return unlikely(port_is_nodes(config, s->pair.dport)) && !endpoint_is_pod(dst) && !node_is_tunneled(s->dst_node);
}

#define BGP_PORT 179 /* RFC 4271, 4.2 */

/* Whether scratch->pair, with the source `nat` when it leaves by the device, would be for a router what the node's own
 * BGP is: it knows that by the address. */
inline_always bool pair_speaks_bgp(const struct scratch *s, const struct weft_config *config,
				   const struct weft_device *device, const struct weft_addr *nat)
{
	return unlikely(s->pair.dport == bpf_htons(BGP_PORT)) && s->pair.protocol == IPPROTO_TCP &&
	       (config->flags & WEFT_CONFIG_BGP) && (addr_equal(nat, &device->nat_v4) || addr_equal(nat, &device->nat_v6));
}

/* Looks at the destination of scratch->pair, after policy: a service may have put anything there. */
inline_always enum weft_drop_reason check_destination(const struct scratch *s, bool v4)
{
	if ((s->forward.flags & WEFT_FLOW_DNAT) && address_reserved(&s->pair.daddr, v4))
		return WEFT_DROP_RESERVED_ADDRESS;
	if (address_is_group(&s->pair.daddr, v4) || (s->dst_ip_flags & WEFT_IP_BROADCAST))
		return WEFT_DROP_MULTICAST;
	return WEFT_DROP_NONE;
}

/* The flow leaves the cluster here, from the address that egress_choose() or egress_admit() found. */
inline_always enum weft_drop_reason exit_as_gateway(struct __sk_buff *skb, struct scratch *s,
						    const struct weft_config *config)
{
	int device = route_from_gateway(skb);
	struct weft_device *row;
	__u32 out = device;

	if (device <= 0)
		return WEFT_DROP_NO_ROUTE;
	row = bpf_map_lookup_elem(&weft_dev_v1, &out);
	/* The answers have to come in by an uplink. */
	if (!row)
		return WEFT_DROP_NO_ROUTE;
	if (pair_speaks_bgp(s, config, row, &s->nat_address))
		return WEFT_DROP_BGP;
	s->forward.exit = WEFT_EXIT_NEIGH;
	s->forward.out_ifindex = out;
	s->forward.mtu = row->mtu;
	s->translate_source = true;
	return WEFT_DROP_NONE;
}

/* Exits of a flow that starts in a pod. */
inline_always enum weft_drop_reason decide_exit_from_pod(struct __sk_buff *skb, struct scratch *s, bool v4,
							 const struct weft_endpoint *src,
							 const struct weft_endpoint *dst,
							 const struct weft_config *config)
{
	struct weft_flow *forward = &s->forward;
	struct weft_flow *reply = &s->reply;

	enum weft_drop_reason reason = check_destination(s, v4);

	if (reason)
		return reason;
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
		want_gateway_source(s, config, v4);
		return WEFT_DROP_NONE;
	}
	if (endpoint_is_host(dst)) {
		forward->exit = WEFT_EXIT_STACK;
		reply->flags |= WEFT_FLOW_HOST_SOURCE;
		return WEFT_DROP_NONE;
	}
	__u32 to = s->dst_node;

	if (unlikely(config->flags & WEFT_CONFIG_EGRESS)) {
		reason = egress_choose();
		if (reason)
			return reason;
		if (s->egress_node == WEFT_EGRESS_HERE)
			return exit_as_gateway(skb, s, config);
		if (s->egress_node)
			to = s->egress_node;
	}
	if (unlikely(to)) {
		reply->in_ifindex = node_in_ifindex(to);
		return exit_to_node(skb, forward, to, to == s->dst_node ? WAY_TO : WAY_GATEWAY);
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
	if (pair_speaks_bgp(s, config, device, &nat))
		return WEFT_DROP_BGP;
	want_source_translation(s, &nat);
	return WEFT_DROP_NONE;
}
