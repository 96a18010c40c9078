/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Flows of clients outside the node to its services, seen at an uplink. A backend here keeps the client's
 * address; one elsewhere sees the node's, so that the replies come by here again, unless its node takes the
 * client's packet out of another one and answers by itself (lib/encapsulate.h). */
#pragma once

#include "lib/decide.h"
#include "lib/encapsulate.h"

#define DECIDE_NOT_OURS WEFT_DROP_REASON_COUNT /* the stack's business */

/* Whether a packet of no flow may start one: few instructions for the node's own traffic. */
inline_always bool external_wanted(const struct weft_config *config, __u8 protocol, __be16 port)
{
	return (config->flags & WEFT_CONFIG_EXTERNAL) && port_is_in(WEFT_PORTS_DEVICE, protocol, port);
}

/* Whether a packet has addresses that a client outside and a frontend can have: the stack, which drops it
 * otherwise, has not seen it yet. */
inline_always bool client_is_plausible(const struct packet *packet)
{
	const struct weft_flow_key_v6 *tuple = &packet->tuple;
	bool v4 = packet_is_v4(packet);

	return !address_reserved(&tuple->saddr, v4) && !address_is_group(&tuple->saddr, v4) &&
	       !address_reserved(&tuple->daddr, v4) && !address_is_group(&tuple->daddr, v4);
}

/* Whether the client of scratch->packet has an address that only a service answers from. A forged one: what is
 * answered goes out, comes back as a client's, and is answered. */
verified_once bool client_is_frontend(void)
{
	struct scratch *s = scratch_get();

	if (!s)
		return false;
	const struct weft_flow_key_v6 *tuple = &s->packet.tuple;

	return addr_equal(&tuple->saddr, &tuple->daddr) ||
	       (unlikely(port_is_in(WEFT_PORTS_DEVICE, tuple->protocol, tuple->sport)) &&
		service_find(&tuple->saddr, tuple->sport, tuple->protocol));
}

/* As check_destination. What goes inside another packet may be of another family than that. A backend may be a node's
 * tunnel, and what comes there from this node's address be believed, whoever the client is. */
inline_always enum weft_drop_reason check_backend(const struct scratch *s, const struct weft_config *config,
						  const struct weft_endpoint *dst)
{
	if (pair_speaks_as_node(s, config, dst))
		return WEFT_DROP_ENCAPSULATION;
	bool inside = !dst && s->forwarding != WEFT_FORWARD_SNAT && !node_is_tunneled(s->dst_node);

	return check_destination(s, inside ? addr_is_v4(&s->pair.daddr) : packet_is_v4(&s->packet));
}

verified_once enum weft_drop_reason decide_external_service(const struct weft_config *config)
{
	struct scratch *s = scratch_get();
	struct service_client client = {};
	struct weft_service *service;

	if (!s || !config)
		return DECIDE_NOT_OURS;
	service = service_for_outside(s);
	if (!service || !(service->flags & WEFT_SERVICE_EXTERNAL))
		return DECIDE_NOT_OURS;
	if (client_is_frontend())
		return WEFT_DROP_LOOP;
	client.addr = s->pair.saddr;
	client.port = s->pair.sport;
	client.protocol = s->pair.protocol;
	client.external = true;
	s->forward.flags |= WEFT_FLOW_EXTERNAL;
	s->reply.flags |= WEFT_FLOW_EXTERNAL;
	/* Backends elsewhere are for other nodes: the client is to try those. */
	s->silent = !service->external_slot_count && service->slot_count && (service->flags & WEFT_SERVICE_EXTERNAL_LOCAL);
	s->forwarding = service->forwarding;
	return service_apply(s, config, service, &client);
}

/* The reply leaves by the device of the route to the client, whoever sends it. */
inline_always void exit_to_client(struct __sk_buff *skb, struct scratch *s, bool v4)
{
	struct weft_device *device;
	int ifindex = route_find(skb, &s->packet.tuple.daddr, &s->packet.tuple.saddr, s->pair.protocol, v4);
	__u32 out = ifindex > 0 ? (__u32)ifindex : skb->ifindex;

	s->reply.exit = WEFT_EXIT_NEIGH;
	s->reply.out_ifindex = out;
	device = bpf_map_lookup_elem(&weft_dev_v1, &out);
	s->reply.mtu = device ? device->mtu : 0;
}

/* A backend on the node itself: the stack takes the packets and sends the answers. */
inline_always void exit_to_host(struct scratch *s)
{
	s->forward.exit = WEFT_EXIT_STACK;
	s->reply.exit = WEFT_EXIT_STACK;
	s->reply.flags |= WEFT_FLOW_HOST_SOURCE;
}

/* A pod here; how it answers is the hook's to find. */
inline_always void exit_to_pod(struct scratch *s, const struct weft_endpoint *dst)
{
	s->forward.exit = WEFT_EXIT_PEER;
	s->forward.out_ifindex = dst->ifindex;
	s->reply.in_ifindex = dst->ifindex;
}

/* A backend elsewhere, by the device of scratch->forward: inside another packet, or translated. `*row`: the device's, or NULL. */
inline_always enum weft_drop_reason exit_by_device(struct scratch *s, const struct weft_config *config,
						   const struct weft_device **row)
{
	__u32 out = s->forward.out_ifindex;
	struct weft_device *device = bpf_map_lookup_elem(&weft_dev_v1, &out);

	*row = device;
	if (!device)
		return WEFT_DROP_NAT_NO_ADDRESS;
	s->forward.mtu = device->mtu;
	if (s->forwarding != WEFT_FORWARD_SNAT)
		return encapsulation_decide(s, device, config);
	s->nat_address = packet_is_v4(&s->packet) ? device->nat_v4 : device->nat_v6;
	if (addr_is_zero(&s->nat_address))
		return WEFT_DROP_NAT_NO_ADDRESS;
	if (pair_speaks_bgp(s, config, device, &s->nat_address))
		return WEFT_DROP_BGP;
	s->translate_source = true;
	return WEFT_DROP_NONE;
}

/* The other node's answers have to find the tunnel back. */
inline_always void outside_by_tunnel(struct scratch *s, const struct weft_config *config)
{
	want_gateway_source(s, config, packet_is_v4(&s->packet));
	s->reply.in_ifindex = WEFT_IN_TUNNEL;
}

/* Whether the client of scratch->pair is another node, which may be any pod there, and the backend nobody of the
 * cluster: by the service that pod would leave past the gateway it has. Nobody else has to come by here for that: a
 * pod's node chooses its backend, but for node ports of other nodes' addresses. */
inline_always bool evades_gateway(const struct scratch *s, const struct weft_config *config)
{
	return unlikely(config->flags & WEFT_CONFIG_EGRESS) && !s->dst_node &&
	       s->context.dst_identity != WEFT_IDENTITY_REMOTE_NODE &&
	       (s->src_node || s->context.src_identity == WEFT_IDENTITY_REMOTE_NODE);
}

inline_always enum weft_drop_reason exit_to_remote(struct __sk_buff *skb, struct scratch *s,
						   const struct weft_config *config, bool v4)
{
	const struct weft_device *device;

	if (unlikely(node_is_tunneled(s->dst_node))) {
		outside_by_tunnel(s, config);
		return exit_to_node(skb, &s->forward, s->dst_node, WAY_TO);
	}
	if (s->dst_ip_flags & WEFT_IP_RESERVED)
		return WEFT_DROP_UNKNOWN_ENDPOINT;
	if (evades_gateway(s, config))
		return WEFT_DROP_NOT_EGRESS_GATEWAY;
	if (!route_outside(skb, s, v4) || s->forward.exit != WEFT_EXIT_NEIGH)
		return WEFT_DROP_NO_ROUTE;
	return exit_by_device(s, config, &device);
}

/* Exits of a client's flow, once policy has allowed it. */
verified_once enum weft_drop_reason decide_exit_external(struct __sk_buff *skb, const struct weft_endpoint *dst,
							 const struct weft_config *config)
{
	struct scratch *s = scratch_get();

	if (!s || !config)
		return DECIDE_NOT_OURS;
	bool v4 = packet_is_v4(&s->packet);
	enum weft_drop_reason reason = check_backend(s, config, dst);

	if (reason)
		return reason;
	if (endpoint_is_host(dst)) {
		exit_to_host(s);
		return WEFT_DROP_NONE;
	}
	exit_to_client(skb, s, v4);
	if (!endpoint_is_pod(dst))
		return exit_to_remote(skb, s, config, v4);
	exit_to_pod(s, dst);
	return WEFT_DROP_NONE;
}
