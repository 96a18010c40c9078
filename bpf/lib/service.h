/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Frontend to backend, shared by the socket hook and the packet path. */
#pragma once

#include "maps/service.h"

inline_always struct weft_service *service_find(const struct weft_addr *addr, __be16 port, __u8 protocol)
{
	struct weft_service_key key = {
		.addr = *addr,
		.port = port,
		.protocol = protocol,
	};

	return bpf_map_lookup_elem(&weft_svc_v2, &key);
}

/* A backend for a new flow of `client` (an endpoint id): the one affinity remembers, otherwise a
 * random slot. NULL when there is none. */
inline_always struct weft_backend *service_select(const struct weft_service *service, __u32 client, __u32 *backend_id)
{
	struct weft_affinity_key affinity_key = { .endpoint_id = client, .service_id = service->service_id };
	struct weft_backend *backend;
	__u64 now = 0;

	if (!service->slot_count)
		return NULL;
	if (service->affinity_seconds) {
		struct weft_affinity *affinity = bpf_map_lookup_elem(&weft_affin_v2, &affinity_key);

		now = bpf_ktime_get_ns();
		if (affinity && now - affinity->last_used < service->affinity_seconds * 1000000000ULL) {
			backend = bpf_map_lookup_elem(&weft_backend_v2, &affinity->backend_id);
			if (backend) {
				affinity->last_used = now;
				*backend_id = affinity->backend_id;
				return backend;
			}
		}
	}
	__u32 slot = service->first_slot + bpf_get_prandom_u32() % service->slot_count;
	__u32 *id = bpf_map_lookup_elem(&weft_slot_v2, &slot);

	if (!id)
		return NULL;
	*backend_id = *id;
	backend = bpf_map_lookup_elem(&weft_backend_v2, backend_id);
	if (backend && service->affinity_seconds) {
		struct weft_affinity affinity = { .last_used = now, .backend_id = *backend_id };

		bpf_map_update_elem(&weft_affin_v2, &affinity_key, &affinity, BPF_ANY);
	}
	return backend;
}
