// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Service translation before a packet exists: connect and sendmsg towards a frontend go to a
 * backend, recvmsg and getpeername show the frontend again. The hooks see every socket below the
 * cgroup they hang on; only sockets in a network namespace listed in weft_netns_v1 are ours. */
#include "lib/event.h"
#include "lib/rate.h"
#include "lib/socket_peer.h"
#include "maps/endpoint.h"

/* errno-base.h, errno.h: what connect(2) reports */
#define ERROR_CONNECTION_REFUSED 111

#define VERDICT_PROCEED 1
#define VERDICT_REFUSE 0

inline_always struct weft_netns *namespace_of(struct bpf_sock_addr *context)
{
	__u64 cookie = bpf_get_netns_cookie(context);

	return bpf_map_lookup_elem(&weft_netns_v1, &cookie);
}

inline_always void get_address(struct bpf_sock_addr *context, bool v4, struct socket_address *address)
{
	if (v4) {
		addr_from_v4(&address->addr, context->user_ip4);
	} else {
		address->addr.word[0] = context->user_ip6[0];
		address->addr.word[1] = context->user_ip6[1];
		address->addr.word[2] = context->user_ip6[2];
		address->addr.word[3] = context->user_ip6[3];
	}
	address->port = context->user_port;
}

inline_always void set_address(struct bpf_sock_addr *context, bool v4, const struct weft_addr *addr, __be16 port)
{
	if (v4) {
		context->user_ip4 = addr->word[3];
	} else {
		context->user_ip6[0] = addr->word[0];
		context->user_ip6[1] = addr->word[1];
		context->user_ip6[2] = addr->word[2];
		context->user_ip6[3] = addr->word[3];
	}
	context->user_port = port;
}

/* Connecting to the zero address means the local host. */
inline_always bool addr_is_loopback(const struct weft_addr *addr)
{
	if (addr_is_zero(addr))
		return true;
	if (addr_is_v4(addr))
		return (addr->word[3] & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000);
	return !addr->word[0] && !addr->word[1] && !addr->word[2] && addr->word[3] == bpf_htonl(1);
}

/* A node port, asked for at one of the node's addresses. */
inline_always struct weft_service *find_node_port(const struct weft_netns *netns, const struct socket_address *to,
						  __u8 protocol)
{
	if (addr_is_loopback(&to->addr)) {
		if (netns->endpoint_id != WEFT_ENDPOINT_ID_HOST)
			return NULL;
	} else {
		struct weft_endpoint *endpoint = bpf_map_lookup_elem(&weft_ep_v1, &to->addr);

		if (!endpoint || !(endpoint->flags & WEFT_ENDPOINT_HOST))
			return NULL;
	}
	return service_find_node(addr_is_v4(&to->addr), to->port, protocol);
}

/* The one event of this hook: a flow that is translated tells its service by itself. */
inline_always void emit_refused(struct bpf_sock_addr *context, const struct weft_config *config,
				const struct weft_netns *netns, const struct socket_address *frontend, __u32 service_id)
{
	__u32 slot = netns->endpoint_id % WEFT_RATE_SLOTS;
	struct weft_rate *rate = bpf_map_lookup_elem(&weft_skrate_v1, &slot);
	struct weft_event *event;

	if (!(config->flags & WEFT_CONFIG_EVENTS))
		return;
	if (rate && !rate_take_event(rate)) {
		count(WEFT_STAT_EVENT_LIMITED);
		return;
	}
	event = event_reserve();
	if (!event)
		return;
	__builtin_memset(event, 0, sizeof(*event));
	event->time = bpf_ktime_get_ns();
	event->daddr = frontend->addr;
	event->dport = frontend->port;
	event->protocol = context->protocol;
	event->type = WEFT_EVENT_DENIED;
	event->drop_reason = WEFT_DROP_NO_BACKEND;
	event->direction = WEFT_EGRESS;
	event->hook = WEFT_HOOK_SOCKET;
	event->service_id = service_id;
	event->src_endpoint = netns->endpoint_id;
	event_submit(event, config);
}

inline_always int refuse(struct bpf_sock_addr *context, const struct weft_config *config,
			 const struct weft_netns *netns, const struct socket_address *frontend, __u32 service_id)
{
	struct weft_service_state *state = service_state(service_id);

	if (state)
		__sync_fetch_and_add(&state->refused, 1);
	count(WEFT_STAT_SOCKET_NO_BACKEND);
	emit_refused(context, config, netns, frontend, service_id);
	bpf_set_retval(-ERROR_CONNECTION_REFUSED);
	return VERDICT_REFUSE;
}

/* Well below the jiffies after which a new flow does not believe a hint (HINT_JIFFIES in lib/decide.h). */
#define HINT_REFRESH 400

/* So that the flow to the backend can name its service and counts for its backend. Whoever writes the hint of a key
 * leaves its mark in the one slot of that key, so a mark that matches says that the hint is as it should be. */
inline_always void remember_hint(const struct weft_netns *netns, const struct weft_backend *backend, __u8 protocol,
				 __u32 service_id, __u32 backend_id)
{
	struct weft_hint_key key = {
		.endpoint_id = netns->endpoint_id,
		.addr = backend->addr,
		.port = backend->port,
		.protocol = protocol,
	};
	__u32 mixed = (key.addr.word[3] ^ ((__u32)key.port << 16 | protocol)) * 0x9e3779b1U ^ key.addr.word[2];
	__u32 slot = ((mixed ^ key.endpoint_id * 0x85ebca6bU) * 0x9e3779b1U) / (0xffffffffU / HINT_LATELY_SLOTS + 1);
	__u64 who = (__u64)key.endpoint_id << 32 | backend_id;
	struct weft_hint_lately *lately = bpf_map_lookup_elem(&weft_hlately_v1, &slot);
	struct weft_hint hint = { .service_id = service_id, .backend_id = backend_id, .written = bpf_jiffies64() };

	if (lately && lately->who == who && hint.written - lately->written < HINT_REFRESH)
		return;
	bpf_map_update_elem(&weft_hint_v2, &key, &hint, BPF_ANY);
	if (lately) {
		lately->who = who;
		lately->written = hint.written;
	}
}

inline_always struct weft_backend *choose(const struct weft_config *config, const struct weft_netns *netns,
					  const struct weft_service *service, __u8 protocol, __u32 *backend_id)
{
	struct service_client client = { .protocol = protocol };
	struct weft_backend *backend;
	bool to_remember;

	client_is_endpoint(&client, netns->endpoint_id);
	client.external = (service->flags & WEFT_SERVICE_LOCAL_REDIRECT) && (netns->flags & WEFT_ENDPOINT_REDIRECT_TARGET);
	if (service->algorithm == WEFT_ALGORITHM_MAGLEV)
		client.port = bpf_get_prandom_u32(); /* the socket's own is not known yet */
	backend = service_select(config, service, &client, backend_id, &to_remember);
	/* What becomes of the packet is not known here. But a pod, by whatever address or port, is one client. */
	if (backend && to_remember) {
		struct weft_affinity_key key = { .client = client.addr, .service_id = service->service_id };

		affinity_remember(&key, *backend_id);
	}
	return backend;
}

/* Chooses a backend for where the socket wants to go and puts it there; the verdict for the hook. */
inline_always int translate(struct bpf_sock_addr *context, bool v4)
{
	const struct weft_config *config = config_get();
	struct weft_socket_frontends *frontends = NULL;
	struct weft_backend *backend = NULL;
	struct weft_service *service;
	struct weft_netns *netns;
	struct socket_address to;
	__u8 protocol = context->protocol;
	__u32 backend_id = 0;

	if (!config || !(config->flags & WEFT_CONFIG_SERVICES))
		return VERDICT_PROCEED;
	get_address(context, v4, &to);
	service = service_find(&to.addr, to.port, protocol);
	if (!service && !port_is_in(WEFT_PORTS_NODE, protocol, to.port))
		return VERDICT_PROCEED;
	netns = namespace_of(context);
	if (!netns)
		return VERDICT_PROCEED;
	if (!service)
		service = find_node_port(netns, &to, protocol);
	if (!service)
		return VERDICT_PROCEED;
	/* The packet knows the pod's address. The node may reach what it serves. */
	if ((service->flags & WEFT_SERVICE_SOURCE_RANGES) && netns->endpoint_id != WEFT_ENDPOINT_ID_HOST)
		return VERDICT_PROCEED;
	if (protocol == IPPROTO_UDP && context->sk) {
		frontends = bpf_sk_storage_get(&weft_skudp_v1, context->sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
		if (frontends)
			backend = datagram_backend(frontends, &to, service->service_id, &backend_id);
	}
	if (!backend) {
		backend = choose(config, netns, service, protocol, &backend_id);
		if (!backend)
			return refuse(context, config, netns, &to, service->service_id);
		if (frontends)
			datagram_remember(frontends, &to, backend, backend_id);
		else
			peer_remember(context, &to, backend_id);
	}
	count(WEFT_STAT_SOCKET_TRANSLATED);
	remember_hint(netns, backend, protocol, service->service_id, backend_id);
	set_address(context, v4, &backend->addr, backend->port);
	return VERDICT_PROCEED;
}

/* Shows the frontend a translated peer address stands for. */
inline_always int restore(struct bpf_sock_addr *context, bool v4)
{
	struct weft_socket_frontends *frontends;
	struct socket_address address;

	get_address(context, v4, &address);
	if (context->protocol == IPPROTO_UDP) {
		if (!context->sk)
			return VERDICT_PROCEED;
		frontends = bpf_sk_storage_get(&weft_skudp_v1, context->sk, NULL, 0);
		if (!frontends || !datagram_recall(frontends, &address))
			return VERDICT_PROCEED;
	} else if (!peer_recall(context, &address)) {
		return VERDICT_PROCEED;
	}
	set_address(context, v4, &address.addr, address.port);
	return VERDICT_PROCEED;
}

SEC("cgroup/connect4")
int weft_connect4(struct bpf_sock_addr *context)
{
	return translate(context, true);
}

/* Also the path of IPv4-mapped addresses on IPv6 sockets. */
SEC("cgroup/connect6")
int weft_connect6(struct bpf_sock_addr *context)
{
	return translate(context, false);
}

SEC("cgroup/sendmsg4")
int weft_sendmsg4(struct bpf_sock_addr *context)
{
	return translate(context, true);
}

SEC("cgroup/sendmsg6")
int weft_sendmsg6(struct bpf_sock_addr *context)
{
	return translate(context, false);
}

SEC("cgroup/recvmsg4")
int weft_recvmsg4(struct bpf_sock_addr *context)
{
	return restore(context, true);
}

SEC("cgroup/recvmsg6")
int weft_recvmsg6(struct bpf_sock_addr *context)
{
	return restore(context, false);
}

SEC("cgroup/getpeername4")
int weft_getpeername4(struct bpf_sock_addr *context)
{
	return restore(context, true);
}

SEC("cgroup/getpeername6")
int weft_getpeername6(struct bpf_sock_addr *context)
{
	return restore(context, false);
}

char _license[] SEC("license") = "Dual BSD/GPL";
