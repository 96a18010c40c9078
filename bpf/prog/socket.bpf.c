// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Service translation before a packet exists: connect and sendmsg towards a frontend go to a
 * backend, recvmsg and getpeername show the frontend again. The hooks see every socket below the
 * cgroup they hang on; only sockets in a network namespace listed in weft_netns_v1 are ours. */
#include "lib/event.h"
#include "lib/packet.h"
#include "lib/service.h"
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

inline_always void address_v6(struct bpf_sock_addr *context, struct weft_addr *addr)
{
	addr->word[0] = context->user_ip6[0];
	addr->word[1] = context->user_ip6[1];
	addr->word[2] = context->user_ip6[2];
	addr->word[3] = context->user_ip6[3];
}

inline_always void set_address_v6(struct bpf_sock_addr *context, const struct weft_addr *addr)
{
	context->user_ip6[0] = addr->word[0];
	context->user_ip6[1] = addr->word[1];
	context->user_ip6[2] = addr->word[2];
	context->user_ip6[3] = addr->word[3];
}

inline_always void emit_translated(struct bpf_sock_addr *context, const struct weft_config *config,
				   const struct weft_netns *netns, const struct weft_addr *frontend, __be16 port,
				   const struct weft_backend *backend, __u32 service_id)
{
	struct weft_event *event;

	if (!(config->flags & WEFT_CONFIG_EVENTS))
		return;
	event = event_reserve();
	if (!event)
		return;
	__builtin_memset(event, 0, sizeof(*event));
	event->time = bpf_ktime_get_ns();
	event->daddr = *frontend;
	event->dport = port;
	event->protocol = context->protocol;
	event->type = backend ? WEFT_EVENT_TRANSLATED : WEFT_EVENT_DENIED;
	event->drop_reason = backend ? WEFT_DROP_NONE : WEFT_DROP_NO_BACKEND;
	event->direction = WEFT_EGRESS;
	event->hook = WEFT_HOOK_SOCKET;
	event->service_id = service_id;
	event->src_endpoint = netns->endpoint_id;
	if (backend) {
		event->backend_addr = backend->addr;
		event->backend_port = backend->port;
	}
	event_submit(event, config);
}

/* So that the flow to the backend can name its service. */
inline_always void remember_hint(const struct weft_netns *netns, const struct weft_backend *backend, __u8 protocol,
				 __u32 service_id)
{
	struct weft_hint_key key = {
		.endpoint_id = netns->endpoint_id,
		.addr = backend->addr,
		.port = backend->port,
		.protocol = protocol,
	};
	__u32 *known = bpf_map_lookup_elem(&weft_hint_v2, &key);

	if (!known || *known != service_id)
		bpf_map_update_elem(&weft_hint_v2, &key, &service_id, BPF_ANY);
}

/* Chooses a backend for (addr, port) and puts it there; the verdict for the hook. */
inline_always int translate(struct bpf_sock_addr *context, struct weft_addr *addr, __be16 *port, bool connected)
{
	const struct weft_config *config = config_get();
	struct weft_netns *netns;
	struct weft_service *service;
	struct weft_backend *backend;
	struct weft_addr frontend = *addr;
	__u8 protocol = context->protocol;
	__u32 backend_id = 0;

	if (!config || !(config->flags & WEFT_CONFIG_SERVICES))
		return VERDICT_PROCEED;
	service = service_find(addr, *port, protocol);
	if (!service)
		return VERDICT_PROCEED;
	netns = namespace_of(context);
	if (!netns)
		return VERDICT_PROCEED;
	backend = service_select(service, netns->endpoint_id, &backend_id);
	if (!backend) {
		count(WEFT_STAT_SOCKET_NO_BACKEND);
		emit_translated(context, config, netns, &frontend, *port, NULL, service->service_id);
		bpf_set_retval(-ERROR_CONNECTION_REFUSED);
		return VERDICT_REFUSE;
	}
	count(WEFT_STAT_SOCKET_TRANSLATED);
	/* TCP needs it for getpeername only, UDP for every answer. */
	struct weft_socket_key key = {
		.cookie = bpf_get_socket_cookie(context),
		.addr = backend->addr,
		.port = backend->port,
	};
	struct weft_socket_frontend value = {
		.addr = frontend,
		.port = *port,
		.service_id = service->service_id,
	};

	bpf_map_update_elem(&weft_skrev_v1, &key, &value, BPF_ANY);
	remember_hint(netns, backend, protocol, service->service_id);
	if (connected)
		emit_translated(context, config, netns, &frontend, *port, backend, service->service_id);
	*addr = backend->addr;
	*port = backend->port;
	return VERDICT_PROCEED;
}

/* The frontend a translated peer address stands for. */
inline_always bool restore(struct bpf_sock_addr *context, struct weft_addr *addr, __be16 *port)
{
	struct weft_socket_key key = {
		.cookie = bpf_get_socket_cookie(context),
		.addr = *addr,
		.port = *port,
	};
	struct weft_socket_frontend *frontend = bpf_map_lookup_elem(&weft_skrev_v1, &key);

	if (!frontend)
		return false;
	*addr = frontend->addr;
	*port = frontend->port;
	return true;
}

inline_always int forward_v4(struct bpf_sock_addr *context, bool connected)
{
	struct weft_addr addr;
	__be16 port = context->user_port;

	addr_from_v4(&addr, context->user_ip4);
	int verdict = translate(context, &addr, &port, connected);

	context->user_ip4 = addr.word[3];
	context->user_port = port;
	return verdict;
}

/* Also the path of IPv4-mapped addresses on IPv6 sockets. */
inline_always int forward_v6(struct bpf_sock_addr *context, bool connected)
{
	struct weft_addr addr;
	__be16 port = context->user_port;

	address_v6(context, &addr);
	int verdict = translate(context, &addr, &port, connected);

	set_address_v6(context, &addr);
	context->user_port = port;
	return verdict;
}

inline_always int reverse_v4(struct bpf_sock_addr *context)
{
	struct weft_addr addr;
	__be16 port = context->user_port;

	addr_from_v4(&addr, context->user_ip4);
	if (restore(context, &addr, &port)) {
		context->user_ip4 = addr.word[3];
		context->user_port = port;
	}
	return VERDICT_PROCEED;
}

inline_always int reverse_v6(struct bpf_sock_addr *context)
{
	struct weft_addr addr;
	__be16 port = context->user_port;

	address_v6(context, &addr);
	if (restore(context, &addr, &port)) {
		set_address_v6(context, &addr);
		context->user_port = port;
	}
	return VERDICT_PROCEED;
}

SEC("cgroup/connect4")
int weft_connect4(struct bpf_sock_addr *context)
{
	return forward_v4(context, true);
}

SEC("cgroup/connect6")
int weft_connect6(struct bpf_sock_addr *context)
{
	return forward_v6(context, true);
}

SEC("cgroup/sendmsg4")
int weft_sendmsg4(struct bpf_sock_addr *context)
{
	return forward_v4(context, false);
}

SEC("cgroup/sendmsg6")
int weft_sendmsg6(struct bpf_sock_addr *context)
{
	return forward_v6(context, false);
}

SEC("cgroup/recvmsg4")
int weft_recvmsg4(struct bpf_sock_addr *context)
{
	return reverse_v4(context);
}

SEC("cgroup/recvmsg6")
int weft_recvmsg6(struct bpf_sock_addr *context)
{
	return reverse_v6(context);
}

SEC("cgroup/getpeername4")
int weft_getpeername4(struct bpf_sock_addr *context)
{
	return reverse_v4(context);
}

SEC("cgroup/getpeername6")
int weft_getpeername6(struct bpf_sock_addr *context)
{
	return reverse_v6(context);
}

char _license[] SEC("license") = "Dual BSD/GPL";
