/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The other end of direct server return: what another node's packet says of the client's inside it, and the flow
 * that makes of it. The backend must be here, a packet is not sent on to a third node. */
#pragma once

#include "lib/decide.h"
#include "lib/encapsulate.h"

/* A run may hold a Maglev table: with more backends than this the one named may not be found, and only its
 * counters miss the flow. */
#define NAMED_SLOTS 128


/* RFC 8926: one option of ours and nothing else is what our nodes send. */
inline_always bool geneve_is_ours(const struct geneve_header *geneve)
{
	return geneve->version_options == 1 + GENEVE_OPTION_WORDS && !(geneve->flags & 0x80) &&
	       (geneve->protocol == bpf_htons(ETH_P_IP) || geneve->protocol == bpf_htons(ETH_P_IPV6)) &&
	       geneve->option_class == bpf_htons(WEFT_GENEVE_CLASS) && geneve->option_type == WEFT_GENEVE_TYPE_BACKEND &&
	       geneve->option_length == GENEVE_OPTION_WORDS;
}

inline_always bool backend_is_named(const struct scratch *s, const struct weft_backend *backend)
{
	return backend && addr_equal(&backend->addr, &s->named_addr) && (!s->named_port || backend->port == s->named_port);
}

/* The id of the service's backend of that name; 0: not found. Fills in the port. */
verified_once __u32 named_backend(const struct weft_service *service)
{
	struct scratch *s = scratch_get();

	if (!s || !service)
		return 0;
	for (__u32 i = 0; i < NAMED_SLOTS && i < service->external_slot_count; i++) {
		__u32 slot = service->external_first_slot + i;
		__u32 *id = bpf_map_lookup_elem(&weft_slot_v2, &slot);
		struct weft_backend *backend = id ? backend_find(*id) : NULL;

		if (backend_is_named(s, backend)) {
			s->named_port = backend->port;
			return *id;
		}
	}
	return 0;
}

inline_always struct weft_service *named_service(const struct scratch *s)
{
	struct weft_service *service = service_find(&s->pair.daddr, s->pair.dport, s->pair.protocol);

	/* a node port, of the other node's address */
	return service ? service : service_find_node(packet_is_v4(&s->packet), s->pair.dport, s->pair.protocol);
}

/* Decides the flow of scratch->packet, just taken out, towards the backend named; the exits are still to be found.
 * The caller has zeroed the entries. */
verified_once enum weft_drop_reason named_decide(const struct weft_config *config)
{
	struct scratch *s = scratch_get();
	struct weft_service *service;
	const struct weft_endpoint *dst;
	__u32 backend_id = 0;

	if (!s || !config)
		return WEFT_DROP_ENCAPSULATION;
	service = named_service(s);
	if (service && (service->flags & WEFT_SERVICE_EXTERNAL)) {
		s->context.service_id = service->service_id;
		backend_id = named_backend(service);
	}
	dst = endpoint_find(&s->named_addr);
	if (!dst || !s->named_port)
		return WEFT_DROP_ENCAPSULATION;
	s->pair.daddr = s->named_addr;
	s->pair.dport = s->named_port;
	s->forward.flags |= WEFT_FLOW_DNAT;
	s->forward.dst_addr = s->named_addr;
	s->forward.dst_port = s->named_port;
	s->forward.backend_id = backend_id;
	s->reply.flags |= WEFT_FLOW_SNAT;
	s->reply.src_addr = s->packet.tuple.daddr;
	s->reply.src_port = s->packet.tuple.dport;
	s->reply.backend_id = backend_id;
	s->context.backend_addr = s->named_addr;
	s->context.backend_port = s->named_port;
	count(WEFT_STAT_EXTERNAL_FLOW);
	return decide_policy(s, NULL, dst) ? WEFT_DROP_NONE : WEFT_DROP_POLICY_DENIED;
}

/* Whether the packet taken out goes on along an entry: one that leads to a backend here. */
inline_always bool named_flow_known(const struct scratch *s, const struct weft_flow *flow)
{
	if (!flow || flow->exit == WEFT_EXIT_NEIGH || flow->in_ifindex)
		return false;
	return (s->packet.tcp_flags & (TCP_SYN | TCP_ACK)) != TCP_SYN ||
	       !(flow->flags & (WEFT_FLOW_CLOSED | WEFT_FLOW_REPLY));
}
