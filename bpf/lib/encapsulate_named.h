/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The other end of direct server return: what another node's packet says of the client's inside it, whether that is
 * believed, and the flow that makes of it. The backend must be here, a packet is not sent on to a third node, and of
 * the client's family, as both packets are. */
#pragma once

#include "lib/external.h"

/* A run may hold a Maglev table, or more backends than can be looked at: these many slots are, from the one on that
 * a hash leads to. */
#define NAMED_SLOTS 128

#define NAMED_KNOWN WEFT_DROP_REASON_COUNT /* no reason to drop: the flow has an entry */

/* RFC 8926: one option of ours and nothing else is what our nodes send. */
inline_always bool geneve_is_ours(const struct geneve_header *geneve, bool v4)
{
	return geneve->base.version_options == 1 + GENEVE_OPTION_WORDS && !(geneve->base.flags & (GENEVE_CONTROL | GENEVE_CRITICAL)) &&
	       geneve->base.protocol == (v4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6)) &&
	       geneve->option_class == bpf_htons(WEFT_GENEVE_CLASS) && geneve->option_type == WEFT_GENEVE_TYPE_BACKEND &&
	       geneve->option_length == GENEVE_OPTION_WORDS;
}

/* Whether another node that balances has this address. Never a pod's, nor the node's own, whatever range holds it. */
verified_once bool is_balancer(const struct weft_addr *addr)
{
	struct weft_lpm_key key = { .prefix_length = 128 };
	struct weft_ip_identity *found;

	if (!addr)
		return false;
	key.addr = *addr;
	found = bpf_map_lookup_elem(&weft_ipid_v2, &key);
	return found && (found->flags & (WEFT_IP_BALANCER | WEFT_IP_RESERVED)) == WEFT_IP_BALANCER &&
	       !endpoint_find(&key.addr);
}

inline_always bool backend_is_named(const struct scratch *s, const struct weft_backend *backend, __u32 service_id)
{
	return backend && backend->service_id == service_id && addr_equal(&backend->addr, &s->named_addr) &&
	       (!s->named_port || backend->port == s->named_port);
}

/* Where the run is looked at first: a hash leads to the same slot on every node. */
inline_always __u32 named_slot(const struct scratch *s, const struct weft_config *config,
			       const struct weft_service *service)
{
	__u32 hash;

	if (service->algorithm == WEFT_ALGORITHM_MAGLEV)
		hash = weft_hash_flow(config->hash_seed, &s->pair.saddr, s->pair.sport, s->pair.protocol);
	else if (service->algorithm == WEFT_ALGORITHM_SOURCE_HASH)
		hash = weft_hash_client(config->hash_seed, &s->pair.saddr);
	else
		return 0;
	return weft_hash_slot(hash, service->external_slot_count);
}

/* The id of the service's backend of that name; 0: not found. Fills in the port. */
verified_once __u32 named_backend(const struct weft_config *config, const struct weft_service *service)
{
	struct scratch *s = scratch_get();

	if (!s || !config || !service)
		return 0;
	__u32 count = service->external_slot_count;
	__u32 start = named_slot(s, config, service);

	for (__u32 i = 0; i < NAMED_SLOTS && i < count; i++) {
		/* without a branch: the verifier would follow both ways of each round */
		__u32 slot = service->external_first_slot + (start + i) % count;
		__u32 *id = bpf_map_lookup_elem(&weft_slot_v2, &slot);
		struct weft_backend *backend = id ? backend_find(*id) : NULL;

		if (backend_is_named(s, backend, service->service_id)) {
			s->named_port = backend->port;
			return *id;
		}
	}
	return 0;
}

/* The frontend of the packet inside, for clients outside, or NULL. */
inline_always struct weft_service *named_service(const struct scratch *s)
{
	struct weft_service *service = service_find(&s->pair.daddr, s->pair.dport, s->pair.protocol);

	/* a node port, of the other node's address: an answer will have it for its source */
	if (!service && is_balancer(&s->pair.daddr))
		service = service_find_node(packet_is_v4(&s->packet), s->pair.dport, s->pair.protocol);
	if (!service || !(service->flags & WEFT_SERVICE_EXTERNAL))
		return NULL;
	/* No other node vouches for an option: any client can write it, and it is believed where it is expected. */
	if (s->named_by == WEFT_ENCAPSULATION_OPTION && service->forwarding != WEFT_FORWARD_DSR_OPTION)
		return NULL;
	return service;
}

/* Whether the packet taken out goes on along an entry: one that leads to a backend here. */
inline_always bool named_flow_known(const struct scratch *s, struct weft_flow *flow)
{
	if (!flow || flow->exit == WEFT_EXIT_NEIGH || flow->in_ifindex)
		return false;
	/* The other node has chosen again. */
	if (s->packet.tuple.protocol != IPPROTO_TCP && !(flow->flags & WEFT_FLOW_REPLY) && backend_is_gone(flow)) {
		backend_count_close(flow, NULL);
		return false;
	}
	return !tcp_begins(s->packet.tcp_flags) ||
	       !(flow->flags & (WEFT_FLOW_CLOSED | WEFT_FLOW_REPLY));
}

/* Finds service and backend of scratch->pair, and checks that they are each other's. */
inline_always enum weft_drop_reason named_choose(struct scratch *s, const struct weft_config *config)
{
	const struct weft_service *service = named_service(s);
	struct weft_service_state *state;
	__u32 backend_id;

	if (!service)
		return WEFT_DROP_ENCAPSULATION;
	s->context.service_id = service->service_id;
	if (client_is_frontend())
		return WEFT_DROP_LOOP;
	if (!service_takes_source(service, &s->pair.saddr)) {
		state = service_state(service->service_id);
		if (state)
			__sync_fetch_and_add(&state->source_denied, 1);
		return WEFT_DROP_SOURCE_RANGE;
	}
	backend_id = named_backend(config, service);
	/* Of a longer run not all was looked at: a balancer's word stands, and only counters miss the flow. */
	if (!backend_id &&
	    (s->named_by == WEFT_ENCAPSULATION_OPTION || service->external_slot_count <= NAMED_SLOTS || !s->named_port))
		return WEFT_DROP_ENCAPSULATION;
	if (s->pair.protocol == IPPROTO_SCTP && s->named_port != s->pair.dport)
		return WEFT_DROP_SCTP_PORT;
	s->forward.backend_id = backend_id;
	s->reply.backend_id = backend_id;
	return WEFT_DROP_NONE;
}

/* Decides the flow of scratch->packet, found inside another, towards the backend named; the exits are still to be
 * found. The caller has zeroed the entries. NAMED_KNOWN: it has one. */
verified_once enum weft_drop_reason named_decide(const struct weft_config *config)
{
	struct scratch *s = scratch_get();
	enum weft_drop_reason reason;
	const struct weft_endpoint *dst;

	if (!s || !config)
		return WEFT_DROP_ENCAPSULATION;
	if (endpoint_find(&s->packet.tuple.saddr) || !client_is_plausible(&s->packet))
		return WEFT_DROP_SPOOFED_SOURCE;
	if (named_flow_known(s, flow_find(&s->packet.tuple, packet_is_v4(&s->packet))))
		return NAMED_KNOWN;
	/* A reset starts nothing. */
	if (s->packet.tcp_flags & TCP_RST)
		return WEFT_DROP_ENCAPSULATION;
	s->pair = s->packet.tuple;
	reason = named_choose(s, config);
	if (reason)
		return reason;
	dst = endpoint_find(&s->named_addr);
	if (!dst || addr_is_v4(&s->named_addr) != packet_is_v4(&s->packet))
		return WEFT_DROP_ENCAPSULATION;
	s->pair.daddr = s->named_addr;
	s->pair.dport = s->named_port;
	s->forward.flags |= WEFT_FLOW_DNAT;
	s->forward.dst_addr = s->named_addr;
	s->forward.dst_port = s->named_port;
	s->reply.flags |= WEFT_FLOW_SNAT;
	s->reply.src_addr = s->packet.tuple.daddr;
	s->reply.src_port = s->packet.tuple.dport;
	s->context.backend_addr = s->named_addr;
	s->context.backend_port = s->named_port;
	count(WEFT_STAT_EXTERNAL_FLOW);
	return decide_policy(s, NULL, dst) ? WEFT_DROP_NONE : WEFT_DROP_POLICY_DENIED;
}
