/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Only the first fragment carries ports; the others find them by (addresses, id, protocol). */
#pragma once

#include "lib/packet.h"
#include "maps/flow.h"

verified_once enum weft_drop_reason fragment_ports(struct packet *packet)
{
	if (!packet)
		return WEFT_DROP_MALFORMED;
	struct weft_fragment_key key = {
		.saddr = packet->tuple.saddr,
		.daddr = packet->tuple.daddr,
		.id = packet->fragment_id,
		.protocol = packet->tuple.protocol,
	};

	if (packet->flags & PACKET_FRAGMENT) {
		struct weft_fragment ports = { .sport = packet->tuple.sport, .dport = packet->tuple.dport };

		bpf_map_update_elem(&weft_frag_v1, &key, &ports, BPF_ANY);
	} else if (packet->flags & PACKET_LATER_FRAGMENT) {
		struct weft_fragment *ports = bpf_map_lookup_elem(&weft_frag_v1, &key);

		if (!ports)
			return WEFT_DROP_FRAGMENT_UNKNOWN;
		packet->tuple.sport = ports->sport;
		packet->tuple.dport = ports->dport;
		packet->l4_offset = 0;
	}
	return WEFT_DROP_NONE;
}
