/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Services: frontend -> slots -> backends. */
#pragma once

#include "abi/types.h"

/* Map weft_svc_v1: frontend. */
struct weft_service_key {
	struct weft_addr addr;
	__be16 port;
	__u8 protocol;
	__u8 pad; /* zero */
};
WEFT_ABI_ASSERT(sizeof(struct weft_service_key) == 20);

/* Slots first_slot .. first_slot + backend_count - 1 of weft_slot_v1 hold backend ids. A change
 * writes a fresh run of slots and then replaces this value, so a reader sees one set or the other. */
struct weft_service {
	__u32 service_id; /* one id per (Service, port, family); 0 is none */
	__u32 first_slot;
	__u32 backend_count;
	__u32 affinity_seconds; /* 0: none */
};
WEFT_ABI_ASSERT(sizeof(struct weft_service) == 16);

/* Map weft_backend_v1: backend id -> address. */
struct weft_backend {
	struct weft_addr addr;
	__be16 port;
	__u8 protocol;
	__u8 pad;
};
WEFT_ABI_ASSERT(sizeof(struct weft_backend) == 20);

/* Map weft_affin_v1. */
struct weft_affinity_key {
	__u32 endpoint_id; /* the client; WEFT_ENDPOINT_ID_HOST for the node */
	__u32 service_id;
};
struct weft_affinity {
	__u64 last_used; /* nanoseconds, CLOCK_MONOTONIC */
	__u32 backend_id;
	__u32 pad;
};

/* Map weft_skrev_v1: what a translated socket called, for recvmsg and getpeername. */
struct weft_socket_key {
	__u64 cookie;
	struct weft_addr addr; /* the backend */
	__be16 port;
	__u16 pad[3];
};
WEFT_ABI_ASSERT(sizeof(struct weft_socket_key) == 32);

struct weft_socket_frontend {
	struct weft_addr addr;
	__be16 port;
	__u16 pad;
	__u32 service_id;
};
WEFT_ABI_ASSERT(sizeof(struct weft_socket_frontend) == 24);

/* Map weft_hint_v1: through which service an endpoint last reached a backend; written by the
 * socket hook, read once per new flow so that flows name their service. */
struct weft_hint_key {
	__u32 endpoint_id;
	struct weft_addr addr;
	__be16 port;
	__u8 protocol;
	__u8 pad;
};
WEFT_ABI_ASSERT(sizeof(struct weft_hint_key) == 24);
