/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Only the first fragment carries ports; the others find them by (addresses, id, protocol). */
#pragma once

#include "lib/packet.h"
#include "maps/flow.h"

/* Where extension headers follow the fragment header (RFC 8200 4.5), only the first fragment says which
 * transport protocol it is: the key then has it beside, and the others try each. */
inline_always struct weft_fragment *fragment_find(struct weft_fragment_key *key, struct packet *packet)
{
	const __u8 protocols[] = { IPPROTO_UDP, IPPROTO_TCP, IPPROTO_ICMPV6, IPPROTO_SCTP };
	struct weft_fragment *ports = bpf_map_lookup_elem(&weft_frag_v1, key);

	if (ports || packet_is_v4(packet))
		return ports;
	if (key->protocol != IPPROTO_DSTOPTS && key->protocol != IPPROTO_ROUTING && key->protocol != IPPROTO_HOPOPTS)
		return NULL;
	for (__u32 i = 0; i < sizeof(protocols); i++) {
		key->pad[0] = protocols[i];
		ports = bpf_map_lookup_elem(&weft_frag_v1, key);
		if (ports) {
			packet->tuple.protocol = protocols[i];
			return ports;
		}
	}
	return NULL;
}

verified_once enum weft_drop_reason fragment_ports(struct packet *packet)
{
	if (!packet)
		return WEFT_DROP_MALFORMED;
	struct weft_fragment_key key = {
		.saddr = packet->tuple.saddr,
		.daddr = packet->tuple.daddr,
		.id = packet->fragment_id,
		.protocol = packet->fragment_protocol,
	};

	if (packet->flags & PACKET_FRAGMENT) {
		struct weft_fragment ports = { .sport = packet->tuple.sport, .dport = packet->tuple.dport };

		if (packet->tuple.protocol != packet->fragment_protocol)
			key.pad[0] = packet->tuple.protocol;
		bpf_map_update_elem(&weft_frag_v1, &key, &ports, BPF_ANY);
	} else if (packet->flags & PACKET_LATER_FRAGMENT) {
		struct weft_fragment *ports = fragment_find(&key, packet);

		if (!ports)
			return WEFT_DROP_FRAGMENT_UNKNOWN;
		packet->tuple.sport = ports->sport;
		packet->tuple.dport = ports->dport;
		packet->l4_offset = 0;
	}
	return WEFT_DROP_NONE;
}
