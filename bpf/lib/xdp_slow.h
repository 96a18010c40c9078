/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Packets that begin or end a flow. The decision is tc's own (lib/external.h says for whom), made a hook earlier,
 * with the same entries in the flow table: a flow to a backend here is entered and passes on to tc, one to a
 * backend elsewhere leaves at once. What tc would answer (no backend, too large, a closed epoch) is left to it. */
#pragma once

#include "lib/enter.h"
#include "lib/known_flow.h"
#include "lib/xdp_fast.h"

inline_always void xdp_scratch_packet(struct scratch *s, const struct xdp_view *view, bool v4)
{
	struct packet *packet = &s->packet;

	xdp_view_tuple(&packet->tuple, view, v4);
	packet->l4_offset = ETH_HLEN + (v4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr));
	packet->length = view->length;
	packet->fragment_id = 0;
	packet->flags = v4 ? PACKET_V4 : 0;
	packet->tcp_flags = view->protocol == IPPROTO_TCP ? view->l4[13] : 0;
	packet->icmp_type = 0;
	packet->hop_limit = view->hop_limit;
}

inline_always void xdp_scratch_reset(struct xdp_md *ctx, struct scratch *s, const struct weft_config *config)
{
	context_reset(s, config, WEFT_HOOK_XDP, ctx->ingress_ifindex);
	s->context.direction = WEFT_INGRESS;
	decision_reset(s, WEFT_FLOW_EXTERNAL);
}

inline_always int xdp_refuse(struct scratch *s, const struct weft_config *config, enum weft_drop_reason reason)
{
	s->context.type = WEFT_EVENT_DENIED;
	s->context.drop_reason = reason;
	event_emit(&s->packet.tuple, &s->context, config);
	count_drop(reason, s->packet.length + ETH_HLEN);
	return XDP_DROP;
}

/* The reply leaves by the device of the route to the client, whoever sends it. `device`: of scratch->forward, or
 * NULL. */
inline_always void xdp_exit_to_client(struct xdp_md *ctx, struct scratch *s, const struct weft_device *device)
{
	struct weft_flow *reply = &s->reply;

	reply->exit = WEFT_EXIT_NEIGH;
	if (xdp_route(ctx, reply, &s->packet.tuple.daddr, &s->packet.tuple.saddr, s->pair.protocol) <= 0)
		reply->out_ifindex = ctx->ingress_ifindex;
	if (!device || reply->out_ifindex != s->forward.out_ifindex)
		device = bpf_map_lookup_elem(&weft_dev_v1, &reply->out_ifindex);
	reply->mtu = device ? device->mtu : 0;
}

/* A backend reached by a tunnel: tc puts the packets in, and finds the entries made here. */
inline_always enum weft_drop_reason xdp_exit_to_tunnel(struct xdp_md *ctx, struct scratch *s,
							const struct weft_config *config)
{
	const struct weft_node *node = node_get(s->dst_node);
	struct weft_flow *forward = &s->forward;

	if (!node)
		return WEFT_DROP_NODE_UNKNOWN;
	if (node->way == WEFT_WAY_REFUSED)
		return WEFT_DROP_UNENCRYPTED;
	forward->out_ifindex = node_device(node, config);
	if (!node_has_device(node) &&
	    xdp_route(ctx, forward, &node->source, &node->addr, tunnel_protocol(node->way)) <= 0)
		return WEFT_DROP_NO_ROUTE;
	exit_into_tunnel(forward, node, s->dst_node);
	outside_by_tunnel(s, config);
	xdp_exit_to_client(ctx, s, NULL);
	return forward->out_ifindex ? WEFT_DROP_NONE : WEFT_DROP_NODE_UNKNOWN;
}

inline_always enum weft_drop_reason xdp_exit_to_remote(struct xdp_md *ctx, struct scratch *s,
							const struct weft_config *config)
{
	const struct weft_device *device;
	enum weft_drop_reason reason;

	if (unlikely(node_is_tunneled(s->dst_node)))
		return xdp_exit_to_tunnel(ctx, s, config);
	if (s->dst_ip_flags & WEFT_IP_RESERVED)
		return WEFT_DROP_UNKNOWN_ENDPOINT;
	if (evades_gateway(s, config))
		return WEFT_DROP_NOT_EGRESS_GATEWAY;
	if (xdp_route(ctx, &s->forward, &s->pair.saddr, &s->pair.daddr, s->pair.protocol) <= 0)
		return WEFT_DROP_NO_ROUTE;
	s->forward.exit = WEFT_EXIT_NEIGH;
	reason = exit_by_device(s, config, &device);
	if (s->translate_source)
		xdp_exit_to_client(ctx, s, device);
	return reason;
}

/* Exits of a client's flow, once policy has allowed it. */
inline_always enum weft_drop_reason xdp_exit(struct xdp_md *ctx, struct scratch *s, const struct weft_config *config,
					     const struct weft_endpoint *dst)
{
	enum weft_drop_reason reason = check_backend(s, config, dst);

	if (reason)
		return reason;
	if (endpoint_is_host(dst)) {
		exit_to_host(s);
		return WEFT_DROP_NONE;
	}
	if (!endpoint_is_pod(dst))
		return xdp_exit_to_remote(ctx, s, config);
	xdp_exit_to_client(ctx, s, NULL);
	exit_to_pod(s, dst);
	return WEFT_DROP_NONE;
}

/* Both directions of scratch's decision, stamped and entered; tells of the new flow. */
verified_once enum weft_drop_reason xdp_enter(struct xdp_md *ctx, const struct weft_config *config)
{
	struct scratch *s = scratch_get();
	enum weft_drop_reason reason;

	if (!s || !config)
		return WEFT_DROP_FLOW_TABLE;
	decision_stamp(s);
	/* The helpers of source translation take any context. */
	reason = enter_flow((void *)ctx, s, config);
	if (reason)
		return reason;
	flow_entered(s, config);
	return WEFT_DROP_NONE;
}

/* A frontend for clients outside that has backends to offer, or NULL. */
inline_always struct weft_service *xdp_service(struct scratch *s)
{
	struct weft_service *service = service_for_outside(s);

	return service && (service->flags & WEFT_SERVICE_EXTERNAL) && service->external_slot_count ? service : NULL;
}

#define XDP_NOT_OURS WEFT_DROP_REASON_COUNT

/* The backend of a client's flow, in scratch->forward and scratch->reply; the reason to drop the packet otherwise. */
verified_once enum weft_drop_reason xdp_choose(struct xdp_md *ctx, const struct weft_config *config)
{
	struct scratch *s = scratch_get();
	struct service_client client = {};
	struct weft_service *service;

	/* the node's own address, a pod's or another node's, from outside: tc knows what to do */
	if (!s || !config || endpoint_find(&s->packet.tuple.saddr) || !client_is_plausible(&s->packet) ||
	    (unlikely(config->flags & WEFT_CONFIG_NODES) && node_of(&s->packet.tuple.saddr)))
		return XDP_NOT_OURS;
	s->pair = s->packet.tuple;
	service = xdp_service(s);
	if (!service)
		return XDP_NOT_OURS;
	xdp_scratch_reset(ctx, s, config);
	if (client_is_frontend())
		return WEFT_DROP_LOOP;
	client.external = true;
	client.addr = s->pair.saddr;
	client.port = s->pair.sport;
	client.protocol = s->pair.protocol;
	s->forwarding = service->forwarding;
	return service_apply(s, config, service, &client);
}

/* Fills scratch->forward and scratch->reply; the reason to drop the packet otherwise. Not a function of its own: the
 * stack under policy and routes is short. */
inline_always enum weft_drop_reason xdp_decide(struct xdp_md *ctx, struct scratch *s, const struct weft_config *config)
{
	enum weft_drop_reason reason = xdp_choose(ctx, config);
	const struct weft_endpoint *dst;

	if (reason)
		return reason;
	count(WEFT_STAT_EXTERNAL_FLOW);
	dst = endpoint_find(&s->pair.daddr);
	return decide_policy(s, NULL, dst) ? xdp_exit(ctx, s, config, dst) : WEFT_DROP_POLICY_DENIED;
}

/* scratch->packet starts a flow. */
inline_always int xdp_new(struct xdp_md *ctx, struct scratch *s, const struct weft_config *config)
{
	struct weft_flow *forward = &s->forward;
	enum weft_drop_reason reason;
	bool ours;

	/* A reset starts nothing. */
	if (s->packet.tcp_flags & TCP_RST)
		return XDP_PASS;
	reason = xdp_decide(ctx, s, config);
	if (reason == XDP_NOT_OURS || reason == WEFT_DROP_NO_BACKEND)
		return XDP_PASS;
	if (reason)
		return xdp_refuse(s, config, reason);
	ours = forward->exit == WEFT_EXIT_NEIGH && xdp_carries(ctx, forward);
	if (ours) {
		forward->packets = 1;
		forward->bytes = s->packet.length;
	}
	reason = xdp_enter(ctx, config);
	if (reason)
		return xdp_refuse(s, config, reason);
	return ours ? xdp_carry(ctx, forward, s->packet.length) : XDP_PASS;
}

/* scratch->packet is of a flow with an entry. */
inline_always int xdp_known(struct xdp_md *ctx, struct scratch *s, struct weft_flow *flow,
			    const struct weft_config *config)
{
	if (!xdp_flow_usable(flow, config->epoch) || !xdp_may_send_by(ctx, flow->out_ifindex))
		return XDP_PASS;
	if (!xdp_mac_is_fresh(flow, bpf_jiffies64()) && !xdp_find_next_hop(ctx, flow))
		return XDP_PASS;
	if (!xdp_carries(ctx, flow))
		return XDP_PASS;
	flow_account(flow, s->packet.length);
	context_reset(s, config, WEFT_HOOK_XDP, ctx->ingress_ifindex);
	flow_heard(flow, s->packet.tcp_flags);
	if (s->packet.tcp_flags & (TCP_FIN | TCP_RST))
		flow_tcp(flow, config, false);
	return xdp_carry(ctx, flow, s->packet.length);
}

inline_always bool xdp_fill_scratch(struct xdp_md *ctx, struct scratch *s, bool v4)
{
	struct xdp_view view;

	if (!xdp_parse(ctx, &view, v4))
		return false;
	xdp_scratch_packet(s, &view, v4);
	return true;
}

verified_once int xdp_slow(struct xdp_md *ctx, const struct weft_config *config)
{
	struct scratch *s = scratch_get();
	struct weft_flow *flow;
	bool v4 = xdp_is_v4(ctx);

	if (!s || !config || !(v4 ? xdp_fill_scratch(ctx, s, true) : xdp_fill_scratch(ctx, s, false)))
		return XDP_PASS;
	flow = flow_find(&s->packet.tuple, v4);
	/* As entry_applies of lib/slow.h: a SYN speaks for itself. */
	if (flow && (flow->epoch != config->epoch || !tcp_begins(s->packet.tcp_flags) || !syn_begins_anew(flow)))
		return xdp_known(ctx, s, flow, config);
	return xdp_new(ctx, s, config);
}
