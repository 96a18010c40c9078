/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What happens to a flow that has an entry: decided again under a new epoch, ended by FIN or RST, its
 * reply's entry made. */
#pragma once

#include "lib/decide.h"
#include "lib/node.h"

/* Fills scratch->pair with the ends as policy sees them, for a packet of a known flow. */
inline_always void pair_of_flow(struct scratch *s, const struct weft_flow *flow)
{
	struct weft_flow_key_v6 *tuple = &s->packet.tuple;

	if (flow->flags & WEFT_FLOW_REPLY) {
		tuple_reverse(&s->pair, tuple);
		if (flow->flags & WEFT_FLOW_DNAT) {
			s->pair.saddr = flow->dst_addr;
			s->pair.sport = flow->dst_port;
		}
	} else {
		s->pair = *tuple;
		if ((flow->flags & WEFT_FLOW_DNAT) || flow->encapsulation) {
			s->pair.daddr = flow->dst_addr;
			s->pair.dport = flow->dst_port;
		}
	}
}

/* Devices may have been replaced since, and nodes' ways: where the entry's packets come from and go to. `node`: of the
 * sender's address, 0: none. */
inline_always void flow_redirect(struct weft_flow *flow, const struct weft_endpoint *from, const struct weft_endpoint *to,
				 __u32 node)
{
	flow->in_ifindex = endpoint_is_pod(from) ? from->ifindex : node_in_ifindex(node);
	if (flow->exit == WEFT_EXIT_PEER && endpoint_is_pod(to))
		flow->out_ifindex = to->ifindex;
}

/* The two entries of a flow that ends, in either order. */
inline_always void flow_count_close(struct weft_flow *flow, struct weft_flow *other)
{
	if (!(flow->flags & WEFT_FLOW_REPLY))
		backend_count_close(flow, other);
	else if (other)
		backend_count_close(other, flow);
}

inline_always void flow_forget(struct scratch *s, struct weft_flow *flow, bool v4)
{
	flow_count_close(flow, flow_find(&s->peer, v4));
	flow_delete(&s->packet.tuple, v4);
	flow_delete(&s->peer, v4);
}

/* Whether the original direction of an outbound flow still leaves as it was decided. */
inline_always bool route_holds(struct __sk_buff *skb, struct scratch *s, const struct weft_flow *flow, bool v4)
{
	SCRATCH_ZERO(&s->forward);
	return route_outside(skb, s, v4) && s->forward.exit == WEFT_EXIT_NEIGH &&
	       s->forward.out_ifindex == flow->out_ifindex;
}

/* A client's flow, or its replies, may leave by another device since. */
inline_always void flow_reroute(struct __sk_buff *skb, struct scratch *s, struct weft_flow *flow, bool v4)
{
	struct weft_flow_key_v6 out;
	int device;

	tuple_rewrite(&out, &s->packet.tuple, flow);
	if (flow->encapsulation) {
		out.saddr = flow->src_addr;
		out.daddr = flow->dst_addr;
	}
	s->answer = out;
	device = route_find(skb, &s->answer.saddr, &s->answer.daddr, out.protocol, v4);
	if (device > 0)
		flow->out_ifindex = device;
	flow->mac_checked = 0; /* XDP asks anew */
}

enum redecision {
	REDECIDED_ALLOWED,
	REDECIDED_REFUSED, /* for scratch->drop_reason */
	REDECIDED_AS_NEW, /* the flow is over, its packet starts another */
	REDECIDED_RESET, /* the backend is gone: both ends are told, scratch->forward was the packet's entry */
	REDECIDED_UNREACHABLE, /* the same for a datagram that cannot move to another backend */
};

/* Whether a socket has chosen another backend since, at the gone one's address: its port is an earlier socket's, or
 * that one's choice came back, and its datagram is not about the flow that ended. */
verified_once bool hint_leads_on(void)
{
	struct scratch *s = scratch_get();
	const struct weft_endpoint *src = s ? endpoint_find(&s->pair.saddr) : NULL;

	if (!src)
		return false;
	s->forward.backend_id = 0;
	decide_hint(s, src->endpoint_id);
	return s->forward.backend_id;
}

/* The backend is gone for good. A connection cannot go on elsewhere; a datagram can, if it is we who translate. */
inline_always enum redecision flow_bereaved(struct scratch *s, struct weft_flow *flow, const struct weft_config *config,
					    bool v4, bool is_syn)
{
	bool tcp = s->pair.protocol == IPPROTO_TCP;
	bool translated = (flow->flags & WEFT_FLOW_DNAT) || flow->encapsulation;

	if (is_syn || !tcp) {
		flow_forget(s, flow, v4);
		return is_syn || translated || hint_leads_on() ? REDECIDED_AS_NEW : REDECIDED_UNREACHABLE;
	}
	struct weft_flow *other = flow_find(&s->peer, v4);

	s->forward = *flow;
	s->context.src_identity = flow->src_identity;
	s->context.dst_identity = flow->dst_identity;
	if (!(flow->flags & WEFT_FLOW_CLOSED))
		event_closed(&s->packet.tuple, flow, other, config, &s->context);
	flow_forget(s, flow, v4);
	return REDECIDED_RESET;
}

/* Brings an entry to the way of the node its packets go to. Not the same flow any more where the address has come to
 * another node, or back from one, and the source it was translated to does not go with the way. */
inline_always bool flow_reway(struct __sk_buff *skb, struct weft_flow *flow, __u32 node, enum way_use use)
{
	if (likely(!node))
		return !flow || flow->exit != WEFT_EXIT_TUNNEL;
	if (!flow)
		return true;
	if (use != WAY_BACK && flow->exit != WEFT_EXIT_TUNNEL && (flow->flags & WEFT_FLOW_SNAT) && node_is_tunneled(node))
		return false;
	return !exit_to_node(skb, flow, node, use);
}

verified_once bool flow_rewayed(struct __sk_buff *skb, struct weft_flow *forward, struct weft_flow *backward)
{
	struct scratch *s = scratch_get();
	const struct weft_config *config = config_get();
	bool by_gateway = (forward && (forward->flags & WEFT_FLOW_EGRESS)) || (backward && (backward->flags & WEFT_FLOW_EGRESS));

	if (!s || !config)
		return false;
	if (unlikely(by_gateway || (config->flags & WEFT_CONFIG_EGRESS))) {
		if (!egress_holds(forward, by_gateway))
			return false;
		if (s->egress_node == WEFT_EGRESS_HERE && forward && route_from_gateway(skb) != (int)forward->out_ifindex)
			return false;
	}
	return flow_reway(skb, forward, s->dst_node, by_gateway ? WAY_GATEWAY : WAY_TO) &&
	       flow_reway(skb, backward, s->src_node, WAY_BACK);
}

/* Whether a flow, `forward` its original direction's entry or NULL, has begun before what it says was for nodes to say. */
inline_always enum weft_drop_reason flow_speaks_as_node(const struct scratch *s, const struct weft_flow *forward,
							const struct weft_config *config, const struct weft_endpoint *dst)
{
	if (!forward || !(forward->flags & WEFT_FLOW_SNAT) || forward->exit != WEFT_EXIT_NEIGH)
		return WEFT_DROP_NONE;
	if (pair_speaks_as_node(s, config, dst))
		return WEFT_DROP_ENCAPSULATION;
	__u32 out = forward->out_ifindex;
	const struct weft_device *device = bpf_map_lookup_elem(&weft_dev_v1, &out);

	return device && pair_speaks_bgp(s, config, device, &forward->src_addr) ? WEFT_DROP_BGP : WEFT_DROP_NONE;
}

/* The epoch moved on: the flow is decided again, by either direction's packet, on its original
 * direction's terms. scratch->peer is the other direction's key afterwards. */
verified_once enum redecision flow_redecide(struct __sk_buff *skb, struct weft_flow *flow,
					     const struct weft_config *config)
{
	struct scratch *s = scratch_get();

	if (!s || !flow || !config)
		return REDECIDED_AS_NEW;
	bool v4 = packet_is_v4(&s->packet);
	bool is_reply = flow->flags & WEFT_FLOW_REPLY;
	bool is_syn = tcp_begins(s->packet.tcp_flags);
	struct weft_flow *other;

	pair_of_flow(s, flow);
	tuple_peer(&s->peer, &s->packet.tuple, flow);
	s->context.service_id = flow->service_id;
	if (flow->backend_id) {
		s->context.backend_addr = s->pair.daddr;
		s->context.backend_port = s->pair.dport;
	}
	/* What a backend that is gone still answers to datagrams may pass; a reset ends the flow by itself. */
	if (backend_is_gone(flow) && !(s->packet.tcp_flags & TCP_RST) &&
	    (!is_reply || s->pair.protocol == IPPROTO_TCP))
		return flow_bereaved(s, flow, config, v4, is_syn && !is_reply);
	struct weft_endpoint *src = endpoint_find(&s->pair.saddr);
	struct weft_endpoint *dst = endpoint_find(&s->pair.daddr);

	s->former_identity = flow->src_identity;
	if (is_reply)
		s->carried_identity = 0;
	if (!decide_policy(s, src, dst)) {
		/* The entries stay, of an old epoch: what either end still says is part of this flow and
		 * must not pass for a new one in the opposite direction. */
		s->drop_reason = WEFT_DROP_POLICY_REVOKED;
		return is_syn && !is_reply ? REDECIDED_AS_NEW : REDECIDED_REFUSED;
	}
	if ((!dst && (s->dst_ip_flags & WEFT_IP_RESERVED)) ||
	    (!src && (s->src_ip_flags & WEFT_IP_RESERVED) && !(flow->flags & WEFT_FLOW_EXTERNAL))) {
		s->drop_reason = WEFT_DROP_UNKNOWN_ENDPOINT;
		flow_forget(s, flow, v4);
		return REDECIDED_REFUSED;
	}
	other = flow_find(&s->peer, v4);
	s->drop_reason = flow_speaks_as_node(s, is_reply ? other : flow, config, dst);
	if (unlikely(s->drop_reason)) {
		flow_forget(s, flow, v4);
		return REDECIDED_REFUSED;
	}
	if (!is_reply && flow->exit == WEFT_EXIT_NEIGH && s->context.hook == WEFT_HOOK_FROM_POD &&
	    !(flow->flags & WEFT_FLOW_EGRESS) && !route_holds(skb, s, flow, v4)) {
		flow_forget(s, flow, v4);
		return REDECIDED_AS_NEW;
	}
	if ((flow->flags & WEFT_FLOW_EXTERNAL) && flow->exit == WEFT_EXIT_NEIGH)
		flow_reroute(skb, s, flow, v4);
	if (!flow_rewayed(skb, is_reply ? other : flow, is_reply ? flow : other)) {
		flow_forget(s, flow, v4);
		return REDECIDED_AS_NEW;
	}
	count(WEFT_STAT_REDECIDED);
	flow_redirect(flow, is_reply ? dst : src, is_reply ? src : dst, is_reply ? s->dst_node : s->src_node);
	flow_stamp(flow, s);
	if (other) {
		flow_redirect(other, is_reply ? src : dst, is_reply ? dst : src, is_reply ? s->src_node : s->dst_node);
		flow_stamp(other, s);
	}
	return REDECIDED_ALLOWED;
}

/* FIN and RST move both directions towards closed. A FIN alone, or one whose other direction's entry
 * was evicted, leaves the flow open: the other side may go on sending. So does a reset unless its sender is known:
 * without the windows of both ends a forged one looks the same. True when it ended. */
verified_once bool flow_tcp(struct weft_flow *flow, const struct weft_config *config, bool sender_known)
{
	struct scratch *s = scratch_get();
	struct weft_flow *other;

	if (!s || !flow || !config)
		return false;
	__u8 flags = s->packet.tcp_flags;

	if (!(flags & (TCP_FIN | TCP_RST)) || (flow->flags & WEFT_FLOW_CLOSED))
		return false;
	tuple_peer(&s->peer, &s->packet.tuple, flow);
	other = flow_find(&s->peer, packet_is_v4(&s->packet));
	if ((flags & TCP_RST) && !sender_known) {
		flow_doubt(flow);
		if (other)
			flow_doubt(other);
		return false;
	}
	flow->flags |= WEFT_FLOW_FIN;
	/* The other direction does not come by here. */
	if (flow->encapsulation)
		flow_count_close(flow, NULL);
	if (!(flags & TCP_RST) && (!other || !(other->flags & WEFT_FLOW_FIN)))
		return false;
	flow->flags |= WEFT_FLOW_CLOSED;
	if (other)
		other->flags |= WEFT_FLOW_CLOSED;
	flow_count_close(flow, other);
	event_closed(&s->packet.tuple, flow, other, config, &s->context);
	return true;
}

/* Whether the packet, a SYN along `flow`, begins another flow. An acknowledgement that the reset overtook on another CPU
 * takes the note back in its own direction's entry only: what answers would come along still has it. Where the
 * backend takes nobody new that is enough, or who uses the port again is sent to a dead one. */
verified_once bool syn_begins_anew(struct weft_flow *flow)
{
	struct scratch *s = scratch_get();
	struct weft_flow *other;

	if (!s || !flow)
		return true;
	if (flow_begins_anew(flow))
		return true;
	if (!flow->backend_id || backend_takes(backend_find(flow->backend_id), flow->service_id))
		return false;
	tuple_peer(&s->peer, &s->packet.tuple, flow);
	other = flow_find(&s->peer, packet_is_v4(&s->packet));
	if (!other || !(other->flags & WEFT_FLOW_RESET))
		return false;
	flow_doubt(flow);
	return true;
}

/* Whether the packet, out of a tunnel, is from nobody of the cluster: an egress gateway sends on what a pod here is
 * answered. */
inline_always bool sent_by_gateway(const struct scratch *s, enum weft_event_hook hook)
{
	return hook == WEFT_HOOK_FROM_OVERLAY && !s->sender_node;
}

/* A reply without an entry, because it is the first or because that was evicted: the original
 * direction's entry makes it, of whatever epoch that is. Translated flows cannot be found this way,
 * their reply is no mirror of them. */
inline_always struct weft_flow *flow_restore_reply(struct __sk_buff *skb, struct scratch *s, enum weft_event_hook hook)
{
	bool v4 = packet_is_v4(&s->packet);
	struct weft_flow *original;

	tuple_reverse(&s->peer, &s->packet.tuple);
	original = flow_find(&s->peer, v4);
	if (!original || (original->flags & (WEFT_FLOW_REPLY | WEFT_FLOW_DNAT | WEFT_FLOW_SNAT)) ||
	    (sent_by_gateway(s, hook) && !(original->flags & WEFT_FLOW_EGRESS)))
		return NULL;
	s->reply = *original;
	s->reply.flags = WEFT_FLOW_REPLY | (original->flags & (WEFT_FLOW_FROM_HOST | WEFT_FLOW_CLOSED | WEFT_FLOW_OPENING | WEFT_FLOW_EGRESS));
	if (hook == WEFT_HOOK_FROM_HOST || (hook == WEFT_HOOK_TO_POD && !skb->ingress_ifindex))
		s->reply.flags |= WEFT_FLOW_HOST_SOURCE;
	s->reply.packets = 0;
	s->reply.bytes = 0;
	s->reply.mtu = 0;
	s->reply.in_ifindex = arrived_by(skb, hook);
	s->reply.out_ifindex = original->in_ifindex;
	s->reply.exit = original->in_ifindex ? WEFT_EXIT_PEER : WEFT_EXIT_STACK;
	if (unlikely(original->in_ifindex == WEFT_IN_TUNNEL)) {
		s->pair = s->peer;
		if (exit_to_node(skb, &s->reply, node_of(&s->pair.saddr), WAY_BACK))
			return NULL;
	}
	flow_insert(&s->packet.tuple, &s->reply, v4, BPF_ANY);
	return flow_find(&s->packet.tuple, v4);
}
