/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Services: frontend -> slots -> backends. Written by the agent, read by every hook. */
#pragma once

#include "abi/types.h"

enum weft_service_flag {
	WEFT_SERVICE_EXTERNAL = 1 << 0, /* also serves clients outside the node */
	WEFT_SERVICE_SOURCE_RANGES = 1 << 1, /* clients must stand in weft_srange_v1 */
	WEFT_SERVICE_EXTERNAL_LOCAL = 1 << 2, /* externalTrafficPolicy Local: outside clients keep their address */
	WEFT_SERVICE_LOCAL_REDIRECT = 1 << 3, /* clients of the redirect's own pods take the external run */
};

/* How a slot is chosen for a new flow. User space shapes the run: weighted services repeat a backend
 * in proportion, Maglev and source hash fill a table whose size is a prime. */
enum weft_algorithm {
	WEFT_ALGORITHM_RANDOM = 0,
	WEFT_ALGORITHM_ROUND_ROBIN = 1, /* also weighted, by repeated slots in an even order */
	WEFT_ALGORITHM_LEAST_CONNECTIONS = 2, /* fewest open of all (up to 16 slots) or of 4 random slots */
	WEFT_ALGORITHM_MAGLEV = 3, /* weft_hash_flow of the flow's addresses and ports */
	WEFT_ALGORITHM_SOURCE_HASH = 4, /* weft_hash_client of the client's address */
};

/* How a flow of an outside client reaches a backend that is not on this node. */
enum weft_forwarding {
	WEFT_FORWARD_SNAT = 0, /* both addresses rewritten, the reply passes this node again */
	WEFT_FORWARD_DSR_IPIP = 1, /* IP-in-IP to the backend's address, client and frontend inside */
	WEFT_FORWARD_DSR_GENEVE = 2, /* Geneve, the chosen backend in an option */
	WEFT_FORWARD_DSR_OPTION = 3, /* IPv4 option with the frontend; IPv6 falls back to Geneve */
};

/* Map weft_svc_v2, hash: frontend. An address of all zero (IPv4: ::ffff:0.0.0.0) stands for every address
 * of the node (node ports, host ports); the node's own clients also reach it by loopback. Exact
 * addresses win. weft_ports_v1 tells at which ports such a lookup is worth while. */
struct weft_service_key {
	struct weft_addr addr;
	__be16 port;
	__u8 protocol;
	__u8 pad; /* zero */
};
WEFT_ABI_ASSERT(sizeof(struct weft_service_key) == 20);

/* first .. first + count - 1 of weft_slot_v2 hold backend ids. A change writes a fresh run of slots and
 * then replaces this value, so a reader sees one set or the other. Clients on the node (pods, the node
 * itself) take the internal run, others the external one; both may be the same run. */
struct weft_service {
	__u32 service_id; /* one id per (Service, port, family); 0 is none; index of weft_svcstate_v1 */
	__u32 first_slot; /* internal run */
	__u32 slot_count; /* 0: no usable backend */
	__u32 affinity_seconds; /* 0: none */
	__u32 external_first_slot;
	__u32 external_slot_count;
	__u16 flags; /* weft_service_flag */
	__u8 algorithm; /* weft_algorithm */
	__u8 forwarding; /* weft_forwarding */
	__u32 pad; /* zero */
};
WEFT_ABI_ASSERT(sizeof(struct weft_service) == 32);

enum weft_backend_state {
	WEFT_BACKEND_GONE = 0, /* flows to it end: TCP is reset, datagrams move to another backend */
	WEFT_BACKEND_ACTIVE = 1,
	WEFT_BACKEND_DRAINING = 2, /* in no run; the flows it has stay */
};

enum weft_backend_flag {
	WEFT_BACKEND_LOCAL = 1 << 0, /* a pod of this node, or the node itself */
};

/* Map weft_backend_v2, memory-mapped array: backend id -> address. A backend belongs to one service id: two
 * services with the same pod behind them have two backends. Id 0 is none. */
struct weft_backend {
	struct weft_addr addr;
	__be16 port;
	__u8 protocol;
	__u8 state; /* weft_backend_state */
	__u32 service_id;
	__u32 flags; /* weft_backend_flag */
	__u32 pad; /* zero */
};
WEFT_ABI_ASSERT(sizeof(struct weft_backend) == 32);

/* Map weft_bstat_v1, memory-mapped array: backend id -> counters, atomic, by the datapath. `active` is corrected by
 * the agent's sweep of the flow table, because an evicted entry says no goodbye. */
struct weft_backend_stats {
	__u64 connections; /* flows entered */
	__u64 packets; /* of flows that ended, both directions */
	__u64 bytes;
	__u32 active; /* open flows; never below zero */
	__u32 pad;
};
WEFT_ABI_ASSERT(sizeof(struct weft_backend_stats) == 32);

/* Map weft_svcstate_v1, memory-mapped array: service id -> cursor and counters. */
struct weft_service_state {
	__u64 refused; /* clients turned away: no backend */
	__u64 source_denied; /* not in loadBalancerSourceRanges */
	__u32 cursor; /* of round robin */
	__u32 pad;
};
WEFT_ABI_ASSERT(sizeof(struct weft_service_state) == 24);

/* Map weft_srange_v1, LPM trie: sources a service with WEFT_SERVICE_SOURCE_RANGES takes. Value: __u32 1. */
struct weft_source_range_key {
	__u32 prefix_length; /* 32 for service_id, then of 128 bits, IPv4 counts 96 more */
	__u32 service_id;
	struct weft_addr addr;
};
WEFT_ABI_ASSERT(sizeof(struct weft_source_range_key) == 24);

/* Map weft_ports_v1, memory-mapped array of __u64: bit (port & 63) of word
 * (set * 3 + protocol index) * 1024 + (port >> 6). Spares a lookup where nothing can be found. */
enum weft_port_set {
	WEFT_PORTS_NODE = 0, /* some frontend stands for all of the node's addresses at this port */
	WEFT_PORTS_DEVICE = 1, /* a packet from outside to this port may be ours: frontends, translated ports */
	WEFT_PORT_SET_COUNT = 2,
};
#define WEFT_PORTS_WORDS (WEFT_PORT_SET_COUNT * 3 * 1024)

/* Index of a protocol in a port set: TCP 0, UDP 1, SCTP 2; 3: no port set. */
static inline __u32 weft_port_protocol(__u8 protocol)
{
	return protocol == 6 ? 0 : protocol == 17 ? 1 : protocol == 132 ? 2 : 3;
}
static inline __u32 weft_port_word(__u32 set, __u32 protocol_index, __u16 port)
{
	return (set * 3 + protocol_index) * 1024 + (port >> 6);
}

/* Map weft_affin_v2, LRU hash. A pod, or the node, is the client by its endpoint id: address ::id. */
struct weft_affinity_key {
	struct weft_addr client;
	__u32 service_id;
	__u32 pad; /* zero */
};
WEFT_ABI_ASSERT(sizeof(struct weft_affinity_key) == 24);
struct weft_affinity {
	__u64 last_used; /* nanoseconds, CLOCK_MONOTONIC */
	__u32 backend_id;
	__u32 pad;
};

/* Map weft_l2_v1, hash: addresses this node answers ARP and neighbour solicitations for on a device. */
struct weft_l2_key {
	struct weft_addr addr;
	__u32 ifindex;
};
WEFT_ABI_ASSERT(sizeof(struct weft_l2_key) == 20);
struct weft_l2 {
	__u8 mac[6]; /* the device's */
	__u16 pad;
};
WEFT_ABI_ASSERT(sizeof(struct weft_l2) == 8);

/* Geneve option that carries the chosen backend (RFC 8926): class from the experimental range
 * 0xfff0..0xfffe, critical bit clear. */
#define WEFT_GENEVE_PORT 6081
#define WEFT_GENEVE_CLASS 0xfff7
#define WEFT_GENEVE_TYPE_BACKEND 0x01
/* IPv4 option with the frontend's address and port (RFC 791: copied, control; number unassigned). */
#define WEFT_IP_OPTION_FRONTEND 0x9a

/* Map weft_skpeer_v1, array: what a connected TCP socket called, for getpeername; slot cookie &
 * (WEFT_SOCKET_PEERS - 1). A younger socket takes an old one's slot, whose peer is the backend then. */
#define WEFT_SOCKET_PEERS 16384
struct weft_socket_peer {
	__u64 cookie;
	struct weft_addr addr; /* the frontend */
	__u32 backend_id;
	__be16 port;
	__u16 pad;
};
WEFT_ABI_ASSERT(sizeof(struct weft_socket_peer) == 32);

/* Map weft_skudp_v1, socket storage: the frontends a UDP socket spoke to last, each with its backend. */
#define WEFT_SOCKET_FRONTENDS 4
struct weft_socket_frontend {
	struct weft_addr addr;
	struct weft_addr backend_addr;
	__be16 port;
	__be16 backend_port;
	__u32 backend_id; /* 0: unused */
};
WEFT_ABI_ASSERT(sizeof(struct weft_socket_frontend) == 40);
struct weft_socket_frontends {
	struct weft_socket_frontend last[WEFT_SOCKET_FRONTENDS];
	__u32 next; /* slot to be overwritten next */
	__u32 pad;
};
WEFT_ABI_ASSERT(sizeof(struct weft_socket_frontends) == 168);

/* Map weft_hint_v2: through which service an endpoint last reached a backend; written by the socket
 * hook, read once per new flow so that flows name their service and count for its backend. */
struct weft_hint_key {
	__u32 endpoint_id;
	struct weft_addr addr;
	__be16 port;
	__u8 protocol;
	__u8 pad;
};
WEFT_ABI_ASSERT(sizeof(struct weft_hint_key) == 24);
struct weft_hint {
	__u32 service_id;
	__u32 backend_id;
	__u64 written; /* jiffies: a connection that begins much later was not made through the service */
};
WEFT_ABI_ASSERT(sizeof(struct weft_hint) == 16);
