/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Frontend to backend: one code for sockets, tc and XDP, without their contexts. */
#pragma once

#include "abi/hash.h"
#include "maps/config.h"
#include "maps/service.h"

/* A slot may name a backend that has just gone: so many neighbours are tried instead. */
#define SERVICE_SLOT_TRIES 4
#define LEAST_CONNECTIONS_ALL 16 /* with so many slots or fewer each is looked at */
#define LEAST_CONNECTIONS_SAMPLE 4

/* Which run of slots a client takes, and who it is to affinity and hashes. */
struct service_client {
	struct weft_addr addr;
	__be16 port; /* to be hashed by Maglev; sockets have none yet and bring a random number */
	__u8 protocol;
	bool external; /* takes the external run */
};

/* Pods and the node are known by their endpoint, whichever of their addresses they use. */
inline_always void client_is_endpoint(struct service_client *client, __u32 endpoint_id)
{
	client->addr.word[0] = 0;
	client->addr.word[1] = 0;
	client->addr.word[2] = 0;
	client->addr.word[3] = bpf_htonl(endpoint_id);
}

inline_always bool addr_is_zero(const struct weft_addr *addr)
{
	return !addr->word[3] && !addr->word[0] && !addr->word[1] &&
	       (!addr->word[2] || addr->word[2] == bpf_htonl(0xffff));
}

inline_always struct weft_service *service_find_key(const struct weft_service_key *key)
{
	return bpf_map_lookup_elem(&weft_svc_v2, key);
}

/* The frontend at exactly this address. */
inline_always struct weft_service *service_find(const struct weft_addr *addr, __be16 port, __u8 protocol)
{
	struct weft_service_key key = {
		.addr = *addr,
		.port = port,
		.protocol = protocol,
	};

	/* The all-zero address is a key of another meaning. */
	if (unlikely(addr_is_zero(addr)))
		return NULL;
	return service_find_key(&key);
}

/* Whether `set` has this port. */
inline_always bool port_is_in(enum weft_port_set set, __u8 protocol, __be16 port)
{
	__u32 protocol_index = weft_port_protocol(protocol);
	__u16 number = bpf_ntohs(port);
	__u32 index;
	__u64 *word;

	if (protocol_index > 2)
		return false;
	index = weft_port_word(set, protocol_index, number);
	word = bpf_map_lookup_elem(&weft_ports_v1, &index);
	return word && (*word >> (number & 63) & 1);
}

/* The frontend that stands for all of the node's addresses at this port. The caller knows that the packet
 * goes to one of them. */
inline_always struct weft_service *service_find_node(bool v4, __be16 port, __u8 protocol)
{
	struct weft_service_key key = { .port = port, .protocol = protocol };

	if (!port_is_in(WEFT_PORTS_NODE, protocol, port))
		return NULL;
	if (v4)
		key.addr.word[2] = bpf_htonl(0xffff);
	return service_find_key(&key);
}

/* loadBalancerSourceRanges; `source` is the client's real address. */
inline_always bool service_takes_source(const struct weft_service *service, const struct weft_addr *source)
{
	struct weft_source_range_key key = {
		.prefix_length = 160,
		.service_id = service->service_id,
		.addr = *source,
	};

	return !(service->flags & WEFT_SERVICE_SOURCE_RANGES) || bpf_map_lookup_elem(&weft_srange_v1, &key);
}

/* NULL: none, or gone. */
inline_always struct weft_backend *backend_find(__u32 backend_id)
{
	struct weft_backend *backend = bpf_map_lookup_elem(&weft_backend_v2, &backend_id);

	return backend && backend->state != WEFT_BACKEND_GONE ? backend : NULL;
}

/* Whether the backend takes new flows of this service. */
inline_always bool backend_takes(const struct weft_backend *backend, __u32 service_id)
{
	return backend && backend->state == WEFT_BACKEND_ACTIVE && backend->service_id == service_id;
}

inline_always struct weft_service_state *service_state(__u32 service_id)
{
	return bpf_map_lookup_elem(&weft_svcstate_v1, &service_id);
}

inline_always __u32 slot_random(__u32 count)
{
	return weft_hash_slot(bpf_get_prandom_u32(), count);
}

inline_always __u32 slot_round_robin(__u32 service_id, __u32 count)
{
	struct weft_service_state *state = service_state(service_id);

	return state ? __sync_fetch_and_add(&state->cursor, 1) % count : 0;
}

/* Fewest open flows. Of equals the first met, starting at random: the idle share the work. */
verified_once __u32 slot_least_connections(__u32 first, __u32 count)
{
	bool all = count <= LEAST_CONNECTIONS_ALL;
	__u32 tries = all ? count : LEAST_CONNECTIONS_SAMPLE;
	__u32 index = slot_random(count);
	__u32 fewest = ~0U;
	__u32 best = index;

	/* The compiler must not see that the first of the two bounds follows from the second: Linux 6.1 does not. */
	barrier_var(tries);
	for (__u32 i = 0; i < LEAST_CONNECTIONS_ALL; i++) {
		if (i >= tries)
			break;
		__u32 slot = first + index;
		__u32 *id = bpf_map_lookup_elem(&weft_slot_v2, &slot);
		struct weft_backend_stats *stats = id ? bpf_map_lookup_elem(&weft_bstat_v1, id) : NULL;

		if (stats && stats->active < fewest) {
			fewest = stats->active;
			best = index;
		}
		if (!all) {
			index = slot_random(count);
			continue;
		}
		/* Not set to 0: a verifier that knew the index would look at every count by itself. */
		index += 1;
		index -= index >= count ? count : 0;
	}
	return best;
}

inline_always __u32 slot_choose(const struct weft_config *config, const struct weft_service *service,
				const struct service_client *client, __u32 first, __u32 count)
{
	switch (service->algorithm) {
	case WEFT_ALGORITHM_ROUND_ROBIN:
		return slot_round_robin(service->service_id, count);
	case WEFT_ALGORITHM_LEAST_CONNECTIONS:
		return slot_least_connections(first, count);
	case WEFT_ALGORITHM_MAGLEV:
		return weft_hash_slot(weft_hash_flow(config->hash_seed, &client->addr, client->port, client->protocol),
				      count);
	case WEFT_ALGORITHM_SOURCE_HASH:
		return weft_hash_slot(weft_hash_client(config->hash_seed, &client->addr), count);
	default:
		return slot_random(count);
	}
}

/* The backend affinity remembers for the client, if it still takes flows; 0 otherwise. */
inline_always __u32 affinity_recall(const struct weft_affinity_key *key, __u32 seconds, __u64 now)
{
	struct weft_affinity *affinity = bpf_map_lookup_elem(&weft_affin_v2, key);

	if (!affinity || now - affinity->last_used >= seconds * 1000000000ULL ||
	    !backend_takes(backend_find(affinity->backend_id), key->service_id))
		return 0;
	affinity->last_used = now;
	return affinity->backend_id;
}

inline_always void affinity_remember(const struct weft_affinity_key *key, __u32 backend_id)
{
	struct weft_affinity affinity = { .last_used = bpf_ktime_get_ns(), .backend_id = backend_id };

	bpf_map_update_elem(&weft_affin_v2, key, &affinity, BPF_ANY);
}

/* A backend for a new flow of `client`: the one affinity remembers, otherwise as the algorithm says. NULL when there
 * is none. `*to_remember`: affinity is to have it once the flow is admitted. */
inline_always struct weft_backend *service_select(const struct weft_config *config, const struct weft_service *service,
						  const struct service_client *client, __u32 *backend_id,
						  bool *to_remember)
{
	__u32 first = client->external ? service->external_first_slot : service->first_slot;
	__u32 count = client->external ? service->external_slot_count : service->slot_count;
	struct weft_affinity_key affinity_key = { .client = client->addr, .service_id = service->service_id };

	*to_remember = false;
	if (!count)
		return NULL;
	if (service->affinity_seconds) {
		*backend_id = affinity_recall(&affinity_key, service->affinity_seconds, bpf_ktime_get_ns());
		if (*backend_id)
			return backend_find(*backend_id);
		*to_remember = true;
	}
	__u32 index = slot_choose(config, service, client, first, count);

	for (int i = 0; i < SERVICE_SLOT_TRIES; i++) {
		__u32 slot = first + index;
		__u32 *id = bpf_map_lookup_elem(&weft_slot_v2, &slot);

		struct weft_backend *backend = id ? backend_find(*id) : NULL;

		if (likely(backend)) {
			*backend_id = *id;
			return backend;
		}
		index = index + 1 < count ? index + 1 : 0;
	}
	return NULL;
}
