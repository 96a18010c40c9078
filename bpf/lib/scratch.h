/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The slow path's working memory: too large for the 512 bytes of BPF stack. Programs run with
 * bottom halves off, so the per-CPU slot is not shared while one runs. */
#pragma once

#include "lib/flow_event.h"

struct scratch {
	struct packet packet;
	struct weft_flow_key_v6 peer; /* key of the reply direction */
	struct weft_flow_key_v6 taken; /* original direction of the flow that has the peer's key */
	struct weft_flow_key_v6 quoted; /* by an ICMP error: the reverse of the packet it is about */
	struct weft_flow_key_v6 pair; /* source and destination as policy sees them: after DNAT, before SNAT */
	struct weft_flow forward;
	struct weft_flow reply;
	struct event_context context;
	__u32 epoch; /* read before any table the decision depends on */
	__u32 src_cidr;
	__u32 dst_cidr;
	__u32 src_ip_flags;
	__u32 dst_ip_flags;
	struct weft_addr nat_address; /* to translate the source to, if translate_source */
	bool translate_source;
	__u8 drop_reason;
	bool taken_movable; /* whether the flow of `taken` may lose its port */
	__u8 pad;
	struct weft_flow_key_v6 hog; /* a flow of the pod that has most of the source ports tried */
	__u32 hog_votes;
	__be16 hog_port;
	__u16 pad2;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} weft_scratch SEC(".maps");

inline_always struct scratch *scratch_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&weft_scratch, &zero);
}
