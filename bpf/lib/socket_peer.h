/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What a translated socket believes its peer to be. TCP asks by getpeername only: a ring of slots that
 * younger sockets take over. UDP needs it for every answer, and stays with a backend it has: that is
 * kept with the socket. */
#pragma once

#include "lib/packet.h"
#include "lib/service.h"
#include "maps/socket.h"

struct socket_address {
	struct weft_addr addr;
	__be16 port;
};

inline_always struct weft_socket_peer *peer_slot(__u64 cookie)
{
	__u32 slot = cookie & (WEFT_SOCKET_PEERS - 1);

	return bpf_map_lookup_elem(&weft_skpeer_v1, &slot);
}

inline_always void peer_remember(struct bpf_sock_addr *context, const struct socket_address *frontend, __u32 backend_id)
{
	__u64 cookie = bpf_get_socket_cookie(context);
	struct weft_socket_peer *peer = peer_slot(cookie);

	if (!peer)
		return;
	peer->cookie = cookie;
	peer->addr = frontend->addr;
	peer->port = frontend->port;
	peer->backend_id = backend_id;
}

inline_always bool peer_recall(struct bpf_sock_addr *context, struct socket_address *address)
{
	__u64 cookie = bpf_get_socket_cookie(context);
	struct weft_socket_peer *peer = peer_slot(cookie);
	struct weft_backend *backend;
	__u32 backend_id;

	if (!peer || peer->cookie != cookie)
		return false;
	/* The socket may have connected elsewhere since. */
	backend_id = peer->backend_id;
	backend = bpf_map_lookup_elem(&weft_backend_v2, &backend_id);
	if (!backend || backend->port != address->port || !addr_equal(&backend->addr, &address->addr))
		return false;
	address->addr = peer->addr;
	address->port = peer->port;
	return true;
}

/* The backend this socket has for the frontend, while that takes flows. */
inline_always struct weft_backend *datagram_backend(const struct weft_socket_frontends *frontends,
						    const struct socket_address *frontend, __u32 service_id,
						    __u32 *backend_id)
{
	for (int i = 0; i < WEFT_SOCKET_FRONTENDS; i++) {
		const struct weft_socket_frontend *last = &frontends->last[i];
		struct weft_backend *backend;
		__u32 id = last->backend_id;

		if (!id || last->port != frontend->port || !addr_equal(&last->addr, &frontend->addr))
			continue;
		backend = backend_find(id);
		if (!backend_takes(backend, service_id))
			continue;
		*backend_id = id;
		return backend;
	}
	return NULL;
}

inline_always void datagram_remember(struct weft_socket_frontends *frontends, const struct socket_address *frontend,
				     const struct weft_backend *backend, __u32 backend_id)
{
	struct weft_socket_frontend *last = &frontends->last[frontends->next++ & (WEFT_SOCKET_FRONTENDS - 1)];

	last->addr = frontend->addr;
	last->port = frontend->port;
	last->backend_addr = backend->addr;
	last->backend_port = backend->port;
	last->backend_id = backend_id;
}

/* Of two frontends with one backend the one spoken to last. */
inline_always bool datagram_recall(const struct weft_socket_frontends *frontends, struct socket_address *address)
{
	__u32 youngest = frontends->next + WEFT_SOCKET_FRONTENDS - 1;

	for (int i = 0; i < WEFT_SOCKET_FRONTENDS; i++) {
		const struct weft_socket_frontend *last =
			&frontends->last[(youngest - i) & (WEFT_SOCKET_FRONTENDS - 1)];

		if (!last->backend_id || last->backend_port != address->port ||
		    !addr_equal(&last->backend_addr, &address->addr))
			continue;
		address->addr = last->addr;
		address->port = last->port;
		return true;
	}
	return false;
}
