// Services for clients outside: in by the uplink, to a backend here, on the node itself or elsewhere, and back.
#include <arpa/inet.h>

#include "fixture.h"

namespace weft::test {
namespace {

constexpr std::uint16_t kNodePort = 30080;
constexpr std::array<std::uint8_t, 6> kRouterMac{2, 0, 0, 0, 0, 2};
constexpr std::array<std::uint8_t, 6> kNodeMac{2, 0, 0, 0, 0, 1};

const EventWant kCreated{.type = WEFT_EVENT_NEW};

Packet hop(const Packet& packet) { return packet.with_hop_limit(63); }
// An answer goes back to where the packet came from.
Packet back(const Packet& packet) { return packet.with_macs(kRouterMac, kNodeMac); }

Row base(const Net& net, std::uint32_t flags = 0) {
  const Rows rows{standard(net), serving_outside(flags)};
  return [rows](Datapath& d) {
    for (const auto& row : rows) row(d);
  };
}

Row one_port(std::uint16_t port) {
  return configure([port](weft_config& config) { config.lb_port_min = config.lb_port_max = port; });
}

// No port of any set.
Row change_ports_off() {
  return [](Datapath& d) {
    for (std::uint32_t word = 0; word < WEFT_PORTS_WORDS; ++word) d.put("weft_ports_v1", word, std::uint64_t{0});
  };
}

Row change_endpoint(const IpAddress& address, std::uint32_t flags) {
  return [=](Datapath& d) {
    auto endpoint = d.get<weft_endpoint>("weft_ep_v1", to_abi(address)).value();
    endpoint.flags |= flags;
    d.put("weft_ep_v1", to_abi(address), endpoint);
  };
}

Step expect(const char* what, std::function<bool(Datapath&)> holds) {
  return then([=](Datapath& d) {
    if (!holds(d)) throw std::runtime_error(what);
    return Steps{};
  });
}

Cases to_a_pod(const Net& net) {
  const auto syn = tcp(net.client, 50000, net.service, 80, kSyn);
  const auto ack = syn.with_flags(kAck);
  const auto answer = tcp(net.b, 8080, net.client, 50000, kSyn | kAck);
  const auto datagram = udp(net.client, 50000, net.service, 53);
  const auto to_node = tcp(net.client, 50000, net.host, kNodePort, kSyn);
  const Row tcp_service = frontend(net.service, 80, kTcp, {.backends = {3}});
  const Row to_b = backend(3, net.b, 8080, kTcp);
  return {
      {"a client's connection to a pod here",
       {base(net), to_b, tcp_service},
       {send(Hook::from_device, kUplink, syn)
            .redirected()
            .becomes(syn.to(net.b, 8080))
            .counts(WEFT_STAT_EXTERNAL_FLOW)
            .event({.type = WEFT_EVENT_NEW,
                    .source = net.client,
                    .destination = net.service,
                    .backend = net.b,
                    .source_port = 50000,
                    .destination_port = 80,
                    .backend_port = 8080,
                    .source_identity = WEFT_IDENTITY_WORLD,
                    .destination_identity = 1002,
                    .service_id = kService,
                    .source_endpoint = 0,
                    .destination_endpoint = 12,
                    .hook = WEFT_HOOK_FROM_DEVICE}),
        flow(syn, {.exit = WEFT_EXIT_PEER,
                   .out_ifindex = kPodB,
                   .in_ifindex = 0,
                   .service_id = kService,
                   .backend_id = 3,
                   .packets = 1,
                   .flags_set = WEFT_FLOW_DNAT | WEFT_FLOW_EXTERNAL | WEFT_FLOW_COUNTED,
                   .flags_clear = WEFT_FLOW_SNAT}),
        flow(answer, {.exit = WEFT_EXIT_NEIGH,
                      .out_ifindex = kUplink,
                      .in_ifindex = kPodB,
                      .mtu = 1500,
                      .flags_set = WEFT_FLOW_REPLY | WEFT_FLOW_SNAT | WEFT_FLOW_EXTERNAL,
                      .flags_clear = WEFT_FLOW_COUNTED}),
        send(Hook::from_pod, kPodB, answer).redirected().becomes(hop(answer.from(net.service, 80))),
        // what was sent out passes the device's other hook unharmed
        send(Hook::to_device, kUplink, hop(answer.from(net.service, 80))).entering(kPodB),
        send(Hook::from_device, kUplink, ack).redirected().becomes(ack.to(net.b, 8080)),
        send(Hook::from_pod, kPodB, answer.with_flags(kAck))
            .redirected()
            .becomes(hop(answer.with_flags(kAck).from(net.service, 80))),
        flow(syn, {.packets = 2}), flow(answer, {.packets = 2})}},
      {"a client's datagram to a pod here",
       {base(net), backend(3, net.b, 5353, kUdp), frontend(net.service, 53, kUdp, {.backends = {3}})},
       {send(Hook::from_device, kUplink, datagram)
            .redirected()
            .becomes(datagram.to(net.b, 5353))
            .event({.type = WEFT_EVENT_NEW, .source = net.client, .service_id = kService}),
        send(Hook::from_device, kUplink, datagram.with_checksum(0))
            .redirected()
            .becomes(datagram.with_checksum(0).to(net.b, 5353)),
        send(Hook::from_pod, kPodB, datagram.to(net.b, 5353).reversed())
            .redirected()
            .becomes(hop(datagram.reversed()))}},
      {"a client's association to a pod here keeps its port",
       {base(net), backend(3, net.b, 80, kSctp), frontend(net.service, 80, kSctp, {.backends = {3}})},
       {send(Hook::from_device, kUplink, sctp(net.client, 5, net.service, 80))
            .redirected()
            .becomes(sctp(net.client, 5, net.b, 80))
            .event(kCreated),
        send(Hook::from_pod, kPodB, sctp(net.b, 80, net.client, 5))
            .redirected()
            .becomes(hop(sctp(net.service, 80, net.client, 5)))}},
      {"a node port",
       {base(net), to_b, node_port(net, kNodePort, kTcp, {.backends = {3}})},
       {send(Hook::from_device, kUplink, to_node)
            .redirected()
            .becomes(to_node.to(net.b, 8080))
            .event({.type = WEFT_EVENT_NEW, .destination = net.host, .destination_port = kNodePort}),
        send(Hook::from_pod, kPodB, answer).redirected().becomes(hop(answer.from(net.host, kNodePort))),
        // at the node's addresses only
        send(Hook::from_device, kUplink, to_node.to(net.world, kNodePort)),
        send(Hook::from_device, kUplink, to_node.to(net.nobody, kNodePort)),
        send(Hook::from_device, kUplink, to_node.to(net.host, 30081))}},
      {"an exact address wins over the node port",
       {base(net), to_b, backend(4, net.a, 9090, kTcp, WEFT_BACKEND_ACTIVE, 8),
        node_port(net, kNodePort, kTcp, {.backends = {3}}),
        frontend(net.host, kNodePort, kTcp, {.backends = {4}, .id = 8, .first_slot = 20})},
       {send(Hook::from_device, kUplink, to_node)
            .redirected()
            .becomes(to_node.to(net.a, 9090))
            .event({.type = WEFT_EVENT_NEW, .service_id = 8})}},
      {"the all-zero address is no way to a node port",
       {base(net), to_b, node_port(net, kNodePort, kTcp, {.backends = {3}})},
       {send(Hook::from_device, kUplink, to_node.to(IpAddress::parse(net.v4 ? "0.0.0.0" : "::").value(), kNodePort)),
        no_flow(to_node.to(IpAddress::parse(net.v4 ? "0.0.0.0" : "::").value(), kNodePort))}},
      {"what is not for clients outside is the stack's",
       {base(net), to_b, frontend(net.service, 80, kTcp, {.backends = {3}, .flags = 0}),
        port_in(WEFT_PORTS_DEVICE, kTcp, 80)},
       {send(Hook::from_device, kUplink, syn), no_flow(syn)}},
      {"a port that no set has is not looked at",
       {base(net), to_b, tcp_service, change_ports_off()},
       {send(Hook::from_device, kUplink, syn), no_flow(syn)}},
      {"switched off", {standard(net), to_b, tcp_service}, {send(Hook::from_device, kUplink, syn), no_flow(syn)}},
      {"a client that claims an address of ours",
       {base(net), to_b, tcp_service},
       {send(Hook::from_device, kUplink, syn.from(net.a, 1))
            .dropped(WEFT_DROP_SPOOFED_SOURCE, {.type = WEFT_EVENT_DENIED, .source = net.a}),
        send(Hook::from_device, kUplink, syn.from(net.host, 1))
            .dropped(WEFT_DROP_SPOOFED_SOURCE, {.type = WEFT_EVENT_DENIED, .source = net.host}),
        no_flow(syn.from(net.host, 1))}},
      {"decided again, whoever asks first",
       {base(net), to_b, tcp_service},
       {send(Hook::from_device, kUplink, syn).redirected().becomes(syn.to(net.b, 8080)).event(kCreated), change(bump()),
        send(Hook::from_pod, kPodB, answer)
            .redirected()
            .becomes(hop(answer.from(net.service, 80)))
            .counts(WEFT_STAT_REDECIDED),
        send(Hook::from_device, kUplink, ack).redirected().becomes(ack.to(net.b, 8080)), change(bump()),
        send(Hook::from_device, kUplink, ack).redirected().becomes(ack.to(net.b, 8080)).counts(WEFT_STAT_REDECIDED),
        flow(answer, {.out_ifindex = kUplink, .epoch = 3}), flow(ack, {.out_ifindex = kPodB, .epoch = 3})}},
      {"two frontends, one client port, one backend: told apart",
       {base(net), to_b, tcp_service, node_port(net, kNodePort, kTcp, {.backends = {3}}), one_port(61000)},
       {send(Hook::from_device, kUplink, syn).redirected().becomes(syn.to(net.b, 8080)).event(kCreated),
        send(Hook::from_device, kUplink, to_node)
            .redirected()
            .becomes(to_node.to(net.b, 8080).from(net.client, 61000))
            .event(kCreated),
        send(Hook::from_pod, kPodB, answer).redirected().becomes(hop(answer.from(net.service, 80))),
        send(Hook::from_pod, kPodB, answer.to(net.client, 61000))
            .redirected()
            .becomes(hop(answer.from(net.host, kNodePort)))}},
  };
}

Cases to_a_pod_by_policy(const Net& net) {
  const auto syn = tcp(net.client, 50000, net.service, 80, kSyn);
  const Row tcp_service = frontend(net.service, 80, kTcp, {.backends = {3}});
  const Row to_b = backend(3, net.b, 8080, kTcp);
  const Row isolated = pod(net, 'b', {.policy_class = 5, .ingress_enforced = true, .prefix_mask = 1u << 16});
  const auto client_range = net.v4 ? "203.0.114.0/24" : "2001:db8:c::/64";
  return {
      {"policy sees the client",
       {base(net), to_b, tcp_service, isolated, policy(5, WEFT_INGRESS, 1 << 24, kTcp, 8080, 16, 33)},
       {send(Hook::from_device, kUplink, syn)
            .dropped(WEFT_DROP_POLICY_DENIED, {.type = WEFT_EVENT_DENIED,
                                               .source = net.client,
                                               .destination = net.service,
                                               .backend = net.b,
                                               .source_identity = WEFT_IDENTITY_WORLD,
                                               .ingress_rule = 70,
                                               .service_id = kService,
                                               .direction = WEFT_INGRESS}),
        no_flow(syn), change(prefix(client_range, 1 << 24, 0)),
        send(Hook::from_device, kUplink, syn)
            .redirected()
            .becomes(syn.to(net.b, 8080))
            .event({.type = WEFT_EVENT_NEW, .source_identity = 1 << 24, .ingress_rule = 33}),
        change(no_policy(5, WEFT_INGRESS, 1 << 24, kTcp, 8080, 16)), change(bump()),
        send(Hook::from_device, kUplink, syn.with_flags(kAck)).dropped(WEFT_DROP_POLICY_REVOKED).silently()}},
      {"source ranges",
       {base(net), to_b,
        frontend(net.service, 80, kTcp, {.backends = {3}, .flags = WEFT_SERVICE_EXTERNAL | WEFT_SERVICE_SOURCE_RANGES}),
        source_range(8, net.v4 ? "0.0.0.0/0" : "::/0"), source_range(kService, net.v4 ? "9.0.0.0/8" : "2620:fe::/32")},
       {send(Hook::from_device, kUplink, syn)
            .dropped(WEFT_DROP_SOURCE_RANGE, {.type = WEFT_EVENT_DENIED, .source = net.client, .service_id = kService}),
        no_flow(syn),
        expect("denied source not counted",
               [](Datapath& d) {
                 return service_state(d, kService).source_denied == 1 && service_state(d, kService).refused == 0;
               }),
        send(Hook::from_device, kUplink, syn.from(net.world2, 1))
            .redirected()
            .becomes(syn.from(net.world2, 1).to(net.b, 8080))
            .event(kCreated),
        send(Hook::from_pod, kPodA, syn.from(net.a, 1)).dropped(WEFT_DROP_SOURCE_RANGE),
        change(source_range(kService, client_range)),
        send(Hook::from_device, kUplink, syn).redirected().becomes(syn.to(net.b, 8080)).event(kCreated)}},
      {"nobody is left to answer",
       {base(net), tcp_service, frontend(net.service, 53, kUdp, {.backends = {3}})},
       {send(Hook::from_device, kUplink, syn)
            .answered(WEFT_DROP_NO_BACKEND, back(syn.refused()),
                      {.type = WEFT_EVENT_DENIED, .source = net.client, .service_id = kService})
            .counts(WEFT_STAT_REJECTED),
        send(Hook::from_device, kUplink, udp(net.client, 5, net.service, 53))
            .answered(WEFT_DROP_NO_BACKEND, back(udp(net.client, 5, net.service, 53).unreachable_port())),
        expect("refusals not counted", [](Datapath& d) { return service_state(d, kService).refused == 2; })}},
      {"backends elsewhere only, and the policy is Local: no answer, so that the client tries another node",
       {base(net), to_b,
        frontend(net.service, 80, kTcp,
                 {.backends = {3},
                  .outside = std::vector<std::uint32_t>{},
                  .flags = WEFT_SERVICE_EXTERNAL | WEFT_SERVICE_EXTERNAL_LOCAL})},
       {send(Hook::from_device, kUplink, syn).dropped(WEFT_DROP_NO_BACKEND),
        send(Hook::from_pod, kPodA, syn.from(net.a, 1))
            .redirected()
            .becomes(syn.from(net.a, 1).to(net.b, 8080))
            .event(kCreated)}},
  };
}

Cases to_the_node(const Net& net) {
  const auto syn = tcp(net.client, 50000, net.host, kNodePort, kSyn);
  const auto inside = syn.to(net.host, 6443);
  const auto answer = inside.reversed().with_flags(kSyn | kAck);
  const Row rows =
      [r = Rows{backend(3, net.host, 6443, kTcp), node_port(net, kNodePort, kTcp, {.backends = {3}})}](Datapath& d) {
        for (const auto& row : r) row(d);
      };
  return {
      {"a backend on the node: its replies are translated on the way out",
       {base(net, WEFT_CONFIG_HOST_BACKENDS), rows},
       {send(Hook::from_device, kUplink, syn)
            .becomes(inside)
            .event({.type = WEFT_EVENT_NEW, .backend = net.host, .destination_identity = WEFT_IDENTITY_HOST}),
        send(Hook::to_device, kUplink, answer).becomes(answer.from(net.host, kNodePort)),
        send(Hook::from_device, kUplink, syn.with_flags(kAck)).becomes(inside.with_flags(kAck)),
        send(Hook::to_device, kUplink, answer.with_flags(kAck))
            .becomes(answer.with_flags(kAck).from(net.host, kNodePort)),
        flow(syn, {.packets = 2}), flow(answer, {.packets = 2}),
        // the node's other traffic
        send(Hook::to_device, kUplink, answer.from(net.host, 22))}},
      {"the node's replies stay as they are while no backend is the node",
       {base(net), rows},
       {send(Hook::from_device, kUplink, syn).becomes(inside).event(kCreated), send(Hook::to_device, kUplink, answer)}},
      {"an error of the node about a client's packet",
       {base(net, WEFT_CONFIG_HOST_BACKENDS), rows},
       {send(Hook::from_device, kUplink, syn).becomes(inside).event(kCreated),
        send(Hook::to_device, kUplink, unreachable(net.host, net.client, inside))
            .becomes(unreachable(net.host, net.client, syn))}},
  };
}

Cases to_elsewhere(const Net& net) {
  const auto syn = tcp(net.client, 50000, net.service, 80, kSyn);
  const auto ack = syn.with_flags(kAck);
  const auto out = syn.to(net.remote, 8080).from(net.nat, 61000);
  const auto answer = out.reversed().with_flags(kSyn | kAck);
  const auto datagram = udp(net.client, 50000, net.service, 80);
  const Row rows = [r = Rows{backend(3, net.remote, 8080, kTcp), frontend(net.service, 80, kTcp, {.backends = {3}}),
                             one_port(61000)}](Datapath& d) {
    for (const auto& row : r) row(d);
  };
  const auto outward = [&](const Packet& packet) { return packet.to(net.remote, 8080).from(net.nat, 61000); };
  const auto inward = [&](const Packet& packet) { return packet.from(net.service, 80).to(net.client, 50000); };
  return {
      {"a backend elsewhere sees the node, the client the service",
       {base(net), rows},
       {send(Hook::from_device, kUplink, syn)
            .redirected()
            .becomes(hop(out))
            .event({.type = WEFT_EVENT_NEW, .source = net.client, .backend = net.remote, .service_id = kService}),
        flow(syn, {.exit = WEFT_EXIT_NEIGH,
                   .out_ifindex = kUplink,
                   .backend_id = 3,
                   .mtu = 1500,
                   .flags_set = WEFT_FLOW_DNAT | WEFT_FLOW_SNAT | WEFT_FLOW_EXTERNAL | WEFT_FLOW_COUNTED}),
        flow(answer, {.exit = WEFT_EXIT_NEIGH,
                      .out_ifindex = kUplink,
                      .mtu = 1500,
                      .flags_set = WEFT_FLOW_REPLY | WEFT_FLOW_DNAT | WEFT_FLOW_SNAT | WEFT_FLOW_EXTERNAL}),
        send(Hook::to_device, kUplink, hop(out)).entering(kUplink),
        send(Hook::from_device, kUplink, answer).redirected().becomes(hop(inward(answer))),
        send(Hook::to_device, kUplink, hop(inward(answer))).entering(kUplink),
        send(Hook::from_device, kUplink, ack).redirected().becomes(hop(outward(ack))), flow(syn, {.packets = 2}),
        flow(answer, {.packets = 1}), change(bump()),
        send(Hook::from_device, kUplink, answer).redirected().becomes(hop(inward(answer))), change(bump()),
        send(Hook::from_device, kUplink, ack).redirected().becomes(hop(outward(ack)))}},
      {"no source port left towards a backend elsewhere",
       {base(net), rows},
       {send(Hook::from_device, kUplink, syn).redirected().becomes(hop(out)).event(kCreated),
        send(Hook::from_device, kUplink, syn.from(net.client, 50001)).dropped(WEFT_DROP_NAT_EXHAUSTED),
        no_flow(syn.from(net.client, 50001)),
        // closed by both: given back
        send(Hook::from_device, kUplink, ack.with_flags(kFin | kAck))
            .redirected()
            .becomes(hop(outward(ack.with_flags(kFin | kAck)))),
        send(Hook::from_device, kUplink, answer.with_flags(kFin | kAck))
            .redirected()
            .becomes(hop(inward(answer.with_flags(kFin | kAck))))
            .event({.type = WEFT_EVENT_CLOSED}),
        send(Hook::from_device, kUplink, syn.from(net.client, 50001)).redirected().becomes(hop(out)).event(kCreated)}},
      {"no address to translate a client to",
       {base(net), rows, uplink(net, 1500, false)},
       {send(Hook::from_device, kUplink, syn).dropped(WEFT_DROP_NAT_NO_ADDRESS)}},
      {"no route to a backend elsewhere",
       {base(net), rows, backend(3, net.unreachable, 8080, kTcp)},
       {send(Hook::from_device, kUplink, syn).dropped(WEFT_DROP_NO_ROUTE)}},
      {"a backend nobody has",
       {base(net), rows, backend(3, net.nobody, 8080, kTcp)},
       {send(Hook::from_device, kUplink, syn).dropped(WEFT_DROP_UNKNOWN_ENDPOINT)}},
      {"too large for the way to a backend elsewhere",
       {base(net), rows, uplink(net, 1400)},
       {send(Hook::from_device, kUplink, syn).redirected().becomes(hop(out)).event(kCreated),
        send(Hook::from_device, kUplink, ack.with_payload(1400))
            .answered(WEFT_DROP_TOO_BIG, back(ack.with_payload(1400).too_big(1400)))
            .silently()
            .counts(WEFT_STAT_TOO_BIG_SENT),
        send(Hook::from_device, kUplink, answer.with_flags(kAck).with_payload(1400))
            .answered(WEFT_DROP_TOO_BIG, back(answer.with_flags(kAck).with_payload(1400).too_big(1400)))
            .silently(),
        send(Hook::from_device, kUplink, ack.with_payload(3000).with_gso(1000))
            .redirected()
            .becomes(hop(outward(ack).with_payload(3000)))}},
      {"the last hop ends behind us, not at us",
       {base(net), rows},
       {send(Hook::from_device, kUplink, syn.with_hop_limit(1))
            .redirected()
            .becomes(out.with_hop_limit(1))
            .event(kCreated),
        send(Hook::from_device, kUplink, ack.with_hop_limit(1)).redirected().becomes(outward(ack).with_hop_limit(1))}},
      {"datagrams to a backend elsewhere and back",
       {base(net), rows, backend(3, net.remote, 8080, kUdp), frontend(net.service, 80, kUdp, {.backends = {3}})},
       {send(Hook::from_device, kUplink, datagram).redirected().becomes(hop(outward(datagram))).event(kCreated),
        send(Hook::from_device, kUplink, outward(datagram).reversed()).redirected().becomes(hop(datagram.reversed()))}},
  };
}

Cases parts_and_errors(const Net& net) {
  const auto datagram = udp(net.client, 50000, net.service, 80).with_payload(1400);
  const auto first = datagram.first_fragment(99);
  const auto rest = datagram.with_payload(200).later_fragment(99, 1408);
  const auto ack = tcp(net.client, 50000, net.service, 80);
  const auto inside = ack.to(net.b, 8080);
  const auto outward = ack.to(net.remote, 8080).from(net.nat, 61000);
  const Row here =
      [r = Rows{backend(3, net.b, 8080, kTcp), frontend(net.service, 80, kTcp, {.backends = {3}})}](Datapath& d) {
        for (const auto& row : r) row(d);
      };
  const Row elsewhere = [r = Rows{backend(3, net.remote, 8080, kTcp),
                                  frontend(net.service, 80, kTcp, {.backends = {3}}), one_port(61000)}](Datapath& d) {
    for (const auto& row : r) row(d);
  };
  const auto router = net.world2;
  return {
      {"a client's fragments",
       {base(net), backend(3, net.b, 53, kUdp), frontend(net.service, 80, kUdp, {.backends = {3}})},
       {send(Hook::from_device, kUplink, rest),
        send(Hook::from_device, kUplink, first).redirected().becomes(first.to(net.b, 53)).event(kCreated),
        send(Hook::from_device, kUplink, rest).redirected().becomes(rest.to(net.b, 53)), flow(datagram, {.packets = 2}),
        send(Hook::from_pod, kPodB, first.to(net.b, 53).reversed()).redirected().becomes(hop(first.reversed())),
        send(Hook::from_pod, kPodB, rest.to(net.b, 53).reversed()).redirected().becomes(hop(rest.reversed()))}},
      {"a client's fragments to a backend elsewhere",
       {base(net), elsewhere, backend(3, net.remote, 53, kUdp), frontend(net.service, 80, kUdp, {.backends = {3}})},
       {send(Hook::from_device, kUplink, first)
            .redirected()
            .becomes(hop(first.to(net.remote, 53).from(net.nat, 61000)))
            .event(kCreated),
        send(Hook::from_device, kUplink, rest)
            .redirected()
            .becomes(hop(rest.to(net.remote, 53).from(net.nat, 61000)))}},
      {"a router's error about a reply reaches the backend",
       {base(net), here},
       {send(Hook::from_device, kUplink, ack).redirected().becomes(inside).event(kCreated),
        send(Hook::from_device, kUplink, unreachable(router, net.service, ack.reversed()))
            .redirected()
            .becomes(unreachable(router, net.b, inside.reversed()))}},
      {"a backend's error about a client's packet comes from the service",
       {base(net), here},
       {send(Hook::from_device, kUplink, ack).redirected().becomes(inside).event(kCreated),
        send(Hook::from_pod, kPodB, unreachable(net.b, net.client, inside))
            .redirected()
            .becomes(unreachable(net.service, net.client, ack))}},
      {"errors about a flow to a backend elsewhere",
       {base(net), elsewhere},
       {send(Hook::from_device, kUplink, ack).redirected().becomes(hop(outward)).event(kCreated),
        // the backend's own, a router's on the way to it, a router's on the way to the client
        send(Hook::from_device, kUplink, unreachable(net.remote, net.nat, outward))
            .redirected()
            .becomes(unreachable(net.service, net.client, ack)),
        send(Hook::from_device, kUplink, unreachable(router, net.nat, outward))
            .redirected()
            .becomes(unreachable(router, net.client, ack)),
        send(Hook::from_device, kUplink, unreachable(router, net.service, ack.reversed()))
            .redirected()
            .becomes(unreachable(router, net.remote, outward.reversed()))}},
      {"a reply too large: the stack takes it, the device translates it",
       {base(net), here},
       {send(Hook::from_device, kUplink, ack).redirected().becomes(inside).event(kCreated),
        send(Hook::from_pod, kPodB, inside.reversed().with_payload(2000)).counts(WEFT_STAT_TO_STACK_MTU),
        send(Hook::to_device, kUplink, hop(inside.reversed())).entering(kPodB).becomes(hop(ack.reversed()))}},
      {"options in the header",
       {base(net), here},
       net.v4 ? Steps{send(Hook::from_device, kUplink, ack.with_options({1, 1, 1, 0}))
                          .redirected()
                          .becomes(inside.with_options({1, 1, 1, 0}))
                          .event(kCreated)}
              : Steps{send(Hook::from_device, kUplink, ack.with_extension(60, {0, 0, 1, 4, 0, 0, 0, 0}))
                          .redirected()
                          .becomes(inside.with_extension(60, {0, 0, 1, 4, 0, 0, 0, 0}))
                          .event(kCreated)}},
  };
}

// What a pod sends to frontends that stand for the node's addresses, or are served to the outside.
Cases from_pods(const Net& net) {
  const auto syn = tcp(net.a, 40000, net.host, kNodePort, kSyn);
  const auto ack = syn.with_flags(kAck);
  const auto hairpin = ack.to(net.a, 8080).from(net.gateway, 40000);
  const Row node = node_port(net, kNodePort, kTcp, {.backends = {3}});
  return {
      {"a pod to a node port",
       {standard(net), backend(3, net.b, 8080, kTcp), node},
       {send(Hook::from_pod, kPodA, syn)
            .redirected()
            .becomes(syn.to(net.b, 8080))
            .event({.type = WEFT_EVENT_NEW, .destination = net.host, .backend = net.b, .service_id = kService}),
        send(Hook::from_pod, kPodB, syn.to(net.b, 8080).reversed().with_flags(kSyn | kAck))
            .redirected()
            .becomes(syn.reversed().with_flags(kSyn | kAck)),
        send(Hook::from_pod, kPodA, syn.to(net.host, 22)).event({.type = WEFT_EVENT_NEW, .service_id = 0})}},
      {"a pod to itself by a node port",
       {standard(net), backend(3, net.a, 8080, kTcp), node},
       {send(Hook::from_pod, kPodA, ack).redirected().becomes(hairpin).event(kCreated),
        send(Hook::from_pod, kPodA, hairpin.reversed()).redirected().becomes(ack.reversed())}},
      {"a pod to itself by an address for the outside",
       {standard(net), backend(3, net.a, 8080, kTcp), frontend(net.world2, 80, kTcp, {.backends = {3}})},
       {send(Hook::from_pod, kPodA, ack.to(net.world2, 80)).redirected().becomes(hairpin).event(kCreated),
        send(Hook::from_pod, kPodA, hairpin.reversed()).redirected().becomes(ack.to(net.world2, 80).reversed())}},
      {"pods take the run for this node",
       {standard(net), backend(3, net.b, 8080, kTcp), backend(4, net.a, 8080, kTcp),
        node_port(net, kNodePort, kTcp, {.backends = {3}, .outside = std::vector<std::uint32_t>{4}}),
        serving_outside()},
       {send(Hook::from_pod, kPodA, syn).redirected().becomes(syn.to(net.b, 8080)).event(kCreated),
        send(Hook::from_device, kUplink, syn.from(net.client, 1))
            .redirected()
            .becomes(syn.from(net.client, 1).to(net.a, 8080))
            .event(kCreated)}},
      {"the pods a local redirect leads to go past it",
       {standard(net), backend(3, net.b, 53, kUdp), backend(4, net.world, 53, kUdp),
        frontend(net.service, 53, kUdp,
                 {.backends = {3}, .outside = std::vector<std::uint32_t>{4}, .flags = WEFT_SERVICE_LOCAL_REDIRECT}),
        change_endpoint(net.b, WEFT_ENDPOINT_REDIRECT_TARGET)},
       {send(Hook::from_pod, kPodA, udp(net.a, 40000, net.service, 53))
            .redirected()
            .becomes(udp(net.a, 40000, net.b, 53))
            .event(kCreated),
        send(Hook::from_pod, kPodB, udp(net.b, 40000, net.service, 53))
            .redirected()
            .becomes(hop(udp(net.nat, 40000, net.world, 53)))
            .event({.type = WEFT_EVENT_NEW, .backend = net.world})}},
  };
}

}  // namespace

Cases external_cases(const Net& net) {
  Cases all;
  for (const auto table : {to_a_pod, to_a_pod_by_policy, to_the_node, to_elsewhere, parts_and_errors, from_pods})
    for (auto& each : table(net)) all.push_back(std::move(each));
  return all;
}

}  // namespace weft::test
