/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The slow path's working memory: too large for the 512 bytes of BPF stack. Programs run with
 * bottom halves off, so the per-CPU slot is not shared while one runs. */
#pragma once

#include "lib/flow_event.h"

#define ADDRESS_FAMILY_V4 2 /* AF_INET */
#define ADDRESS_FAMILY_V6 10 /* AF_INET6 */

/* lib/reject.h */
struct reset {
	__be32 seq;
	__be32 ack;
	__be32 own_seq; /* of the packet that is answered */
	bool has_ack;
	bool partial; /* a device completes the checksum */
	__u8 pad[2];
};

/* RFC 8200 8.1; of a pair of IPv4-mapped addresses it sums to IPv4's own (with 2 * 0xffff, which is nothing). */
struct pseudo_header {
	struct weft_addr saddr;
	struct weft_addr daddr;
	__be32 length;
	__be32 protocol;
};

/* Headers being read, summed or made. */
struct answer_parts {
	struct pseudo_header pseudo;
	union {
		struct iphdr v4;
		struct ipv6hdr v6;
		__u8 bytes[sizeof(struct ipv6hdr)];
	} network;
	union {
		struct tcphdr tcp;
		__u8 bytes[sizeof(struct tcphdr)];
	} transport;
};

struct scratch {
	struct packet packet;
	struct weft_flow_key_v6 peer; /* key of the reply direction */
	struct weft_flow_key_v6 taken; /* original direction of the flow that has the peer's key */
	struct weft_flow_key_v6 quoted; /* by an ICMP error: the reverse of the packet it is about */
	__u32 quoted_l4; /* where that packet's transport header is; 0: no such packet */
	struct weft_flow_key_v6 pair; /* source and destination as policy sees them: after DNAT, before SNAT */
	struct weft_flow_key_v6 answer; /* addresses and ports of a reset */
	struct weft_flow forward;
	struct weft_flow reply;
	struct event_context context;
	struct weft_affinity_key affinity; /* to be remembered of the flow if it is admitted; of no service: nothing */
	__u32 epoch; /* read before any table the decision depends on */
	__u32 src_cidr;
	__u32 dst_cidr;
	__u32 src_ip_flags;
	__u32 dst_ip_flags;
	__u32 src_node; /* the other node that has the source of `pair`; 0: none */
	__u32 dst_node;
	__u32 sender_node; /* the same of the packet's source, where WEFT_CONFIG_NODES is set */
	__u32 tunnel_identity; /* what the tunnel that the packet was taken out of says of its sender; 0: nothing */
	__u32 carried_identity; /* that, where it is about the source of `pair` */
	__u32 former_identity; /* of the flow's source when it was decided last; 0: never */
	bool unsettled; /* an end of `pair` is another node's, and what has it there is not known yet */
	struct weft_addr nat_address; /* to translate the source to, if translate_source */
	struct weft_egress_key egress_key; /* of a lookup: too large for the stack */
	struct bpf_redir_neigh next_hop; /* likewise */
	__u32 egress_node; /* the gateway by which the flow leaves the cluster, as in struct weft_egress; 0: none */
	__u32 egress_ifindex; /* the device it leaves by here; 0: by the route */
	bool translate_source;
	bool silent; /* a client that is refused gets no answer */
	__u8 drop_reason;
	__u8 forwarding; /* weft_forwarding of the client's service */
	__u32 answer_mtu;
	bool passes; /* what is answered as too large goes on all the same */
	struct weft_addr outer_source; /* the node that sent a client's packet inside its own */
	struct weft_addr named_addr; /* of the backend that node chose */
	__be16 named_port; /* 0: it did not say */
	__u8 named_by; /* weft_encapsulation */
	__u8 named_strip; /* bytes before the packet inside */
	struct reset reset;
	struct answer_parts parts;
	struct weft_flow_key_v6 hog; /* a flow of whoever has most of the source ports tried */
	struct weft_flow_key_v6 begun; /* one that has only begun, of begun_port */
	struct bpf_sock_tuple socket; /* of the node, that may have the source port tried */
	__u64 hog_seen; /* when it was last heard of, in jiffies */
	__u64 taken_seen; /* the same of the flow of `taken` */
	__u64 begun_seen; /* of `begun` */
	__u32 hog_votes;
	__be16 hog_port;
	__be16 begun_port;
	bool taken_movable; /* whether the flow of `taken` may lose its port */
	bool taken_begun; /* to anybody */
	bool ports_reserved; /* none of those tried can be a socket's of the node */
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

/* For a packet that scratch->packet may hold already: whose decision, seen where. */
inline_always void context_reset(struct scratch *s, const struct weft_config *config, enum weft_event_hook hook,
				 __u32 ifindex)
{
	s->epoch = config->epoch;
	s->sender_node = 0;
	s->carried_identity = 0;
	SCRATCH_ZERO(&s->context);
	s->context.hook = hook;
	s->context.ifindex = ifindex;
	s->context.tcp_flags = s->packet.tcp_flags;
}

/* For a decision about scratch->packet: nothing of the last one is left. `flags`: of both directions' entries. */
inline_always void decision_reset(struct scratch *s, __u16 flags)
{
	SCRATCH_ZERO(&s->forward);
	SCRATCH_ZERO(&s->reply);
	s->translate_source = false;
	s->silent = false;
	s->former_identity = 0;
	s->affinity.service_id = 0;
	if (tcp_begins(s->packet.tcp_flags))
		flags |= WEFT_FLOW_OPENING;
	s->forward.flags = flags;
	s->reply.flags = flags | WEFT_FLOW_REPLY;
}
