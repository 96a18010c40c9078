// Tunnels between nodes: what goes into each kind of them, and what comes out, over either family.
#include <arpa/inet.h>
#include <fmt/format.h>

#include "tunneled.h"

namespace weft::test {
namespace {

Cases pods(const Tunneled& t) {
  const auto& net = t.net;
  const auto out = tcp(net.a, 40000, net.far, 80, kSyn);
  const auto back = out.reversed().with_flags(kSyn | kAck);
  const auto in = tcp(net.far, 50000, net.b, 8080, kSyn);
  const auto answer = in.reversed().with_flags(kSyn | kAck);
  const auto answered = [t](const Packet& packet) { return t.out(Hook::from_pod, kPodB, packet, hop(packet), 1002); };
  const auto exit = t.way == WEFT_WAY_VXLAN ? kOther : kUplink;
  const Row isolated = pod(net, 'b', {.policy_class = 5, .ingress_enforced = true, .prefix_mask = 1u << 16});
  return {
      {"to a pod and back",
       {t.base()},
       {t.out(out).event({.type = WEFT_EVENT_NEW, .source_identity = 1001, .destination_identity = kFarIdentity}),
        flow(out, {.exit = WEFT_EXIT_TUNNEL,
                   .out_ifindex = exit,
                   .in_ifindex = kPodA,
                   .mtu = kMtu,
                   .node = kFarNode,
                   .flags_clear = WEFT_FLOW_SNAT | WEFT_FLOW_DNAT}),
        flow(back, {.exit = WEFT_EXIT_PEER, .out_ifindex = kPodA, .in_ifindex = WEFT_IN_TUNNEL}),
        t.in(back).redirected(), t.out(out.with_flags(kAck)), t.in(back.with_flags(kAck)).redirected(),
        flow(out, {.packets = 2}), flow(back, {.packets = 2})}},
      {"from a pod and back",
       {t.base()},
       {t.in(in).redirected().event({.type = WEFT_EVENT_NEW,
                                     .source = net.far,
                                     .destination = net.b,
                                     .source_identity = kFarIdentity,
                                     .destination_identity = 1002,
                                     .destination_endpoint = 12,
                                     .hook = WEFT_HOOK_FROM_OVERLAY}),
        flow(in, {.exit = WEFT_EXIT_PEER, .out_ifindex = kPodB, .in_ifindex = WEFT_IN_TUNNEL, .packets = 1}),
        flow(answer,
             {.exit = WEFT_EXIT_TUNNEL, .out_ifindex = exit, .in_ifindex = kPodB, .mtu = kMtu, .node = kFarNode}),
        answered(answer), t.in(in.with_flags(kAck)).redirected(), answered(answer.with_flags(kAck)),
        flow(in, {.packets = 2}), flow(answer, {.packets = 2}),
        // a reply whose entry was evicted makes it again
        then([=](Datapath& d) {
          erase_flow(d, answer);
          return Steps{answered(answer.with_flags(kAck)),
                       flow(answer, {.exit = WEFT_EXIT_TUNNEL, .out_ifindex = exit, .mtu = kMtu, .node = kFarNode})};
        })}},
      {"datagrams and echoes",
       {t.base()},
       {t.in(udp(net.far, 5, net.b, 53)).redirected().event(kCreated), answered(udp(net.b, 53, net.far, 5)),
        t.out(echo_request(net.a, net.far, 8)).event(kCreated), t.in(echo_reply(net.far, net.a, 8)).redirected(),
        t.in(echo_request(net.far, net.b, 9)).redirected().event(kCreated), answered(echo_reply(net.b, net.far, 9))}},
      {"policy sees whom the tunnel names",
       {t.base(), isolated, policy(5, WEFT_INGRESS, t.says_identity() ? 1888 : kFarIdentity, kTcp, 8080, 16, 33)},
       {t.in(in, 1888).redirected().event(
            {.type = WEFT_EVENT_NEW, .source_identity = t.says_identity() ? 1888 : kFarIdentity, .ingress_rule = 33}),
        t.in(in.from(net.far_gateway, 9), WEFT_IDENTITY_REMOTE_NODE)
            .dropped(WEFT_DROP_POLICY_DENIED,
                     {.type = WEFT_EVENT_DENIED, .source_identity = WEFT_IDENTITY_REMOTE_NODE, .ingress_rule = 70})}},
      {"decided again, whoever asks first",
       {t.base(), isolated, policy(5, WEFT_INGRESS, kFarIdentity, kTcp, 8080, 16, 33)},
       {t.in(in).redirected().event(kCreated), answered(answer), change(bump()),
        answered(answer.with_flags(kAck)).counts(WEFT_STAT_REDECIDED), t.in(in.with_flags(kAck)).redirected(),
        change(bump()), t.in(in.with_flags(kAck)).redirected().counts(WEFT_STAT_REDECIDED),
        flow(answer, {.exit = WEFT_EXIT_TUNNEL, .in_ifindex = kPodB, .epoch = 3, .mtu = kMtu, .node = kFarNode}),
        flow(in, {.exit = WEFT_EXIT_PEER, .in_ifindex = WEFT_IN_TUNNEL, .epoch = 3}),
        change(no_policy(5, WEFT_INGRESS, kFarIdentity, kTcp, 8080, 16)), change(bump()),
        answered(answer.with_flags(kAck)).dropped(WEFT_DROP_POLICY_REVOKED),
        t.in(in.with_flags(kAck)).dropped(WEFT_DROP_POLICY_REVOKED)}},
      {"the node goes away under a flow",
       {t.base()},
       {t.out(out).event(kCreated), t.in(back).redirected(), change(way_to(kFarNode, WEFT_WAY_NONE, net)),
        send(Hook::from_pod, kPodA, out.with_flags(kAck)).dropped(WEFT_DROP_NODE_UNKNOWN).silently(), change(bump()),
        send(Hook::from_pod, kPodA, out.with_flags(kAck)).dropped(WEFT_DROP_NODE_UNKNOWN)}},
      {"a reset of the pod there ends the connection",
       {t.base()},
       {t.out(out).event(kCreated), t.in(back).redirected(),
        t.in(back.with_flags(kRst)).redirected().event({.type = WEFT_EVENT_CLOSED}).counts(WEFT_STAT_CLOSED_FLOW)}},
  };
}

Cases shapes(const Tunneled& t) {
  const auto& net = t.net;
  const auto out = tcp(net.a, 40000, net.far, 80);
  const auto in = tcp(net.far, 50000, net.b, 8080);
  const auto datagram = udp(net.a, 40000, net.far, 80);
  const auto overhead = net.v4 ? 40u : 60u;
  const auto fits = out.with_payload(kMtu - overhead);
  const auto large = out.with_payload(kMtu - overhead + 1);
  return {
      {"as large as the way takes, and larger",
       {t.base()},
       {t.out(fits).event(kCreated), t.out(fits),
        send(Hook::from_pod, kPodA, large)
            .answered(WEFT_DROP_TOO_BIG, large.too_big(kMtu))
            .silently()
            .counts(WEFT_STAT_TOO_BIG_SENT)}},
      {"segments to be made are measured, not their sum",
       {t.base()},
       // a test run's packet has no segments of a kind that could be put into another one: traffic_test has
       t.way != WEFT_WAY_VXLAN ? Steps{}
                               : Steps{t.out(out.with_payload(3000).with_gso(kMtu - overhead)).event(kCreated),
                                       t.out(out.with_payload(3000).with_gso(kMtu - overhead)),
                                       send(Hook::from_pod, kPodA, out.with_payload(3000).with_gso(kMtu - overhead + 1))
                                           .answered(WEFT_DROP_TOO_BIG, out.with_payload(3000).too_big(kMtu))
                                           .silently(),
                                       t.in(in.with_payload(3000).with_gso(1000)).redirected().event(kCreated),
                                       t.in(in.with_payload(3000).with_gso(1000)).redirected()}},
      {"fragments",
       {t.base()},
       {t.out(datagram.first_fragment(77)).event(kCreated), t.out(datagram.later_fragment(77, 1400)),
        t.in(datagram.reversed().first_fragment(78)).redirected(),
        t.in(datagram.reversed().later_fragment(78, 1400)).redirected(),
        t.in(udp(net.far, 9, net.b, 9).first_fragment(79)).redirected().event(kCreated),
        t.in(udp(net.far, 9, net.b, 9).later_fragment(79, 1400)).redirected(),
        t.in(udp(net.far, 9, net.b, 9).later_fragment(80, 1400)).dropped(WEFT_DROP_FRAGMENT_UNKNOWN)}},
      {"class and hop limit",
       {t.base()},
       {t.out(out.with_traffic_class(0xb8 | 3)).event(kCreated), t.out(out.with_traffic_class(0xb8 | 3)),
        t.out(Hook::from_pod, kPodA, out.with_hop_limit(1), out.with_hop_limit(1), 1001)}},
      {"errors",
       {t.base()},
       {t.out(datagram).event(kCreated), t.in(unreachable(net.far, net.a, hop(datagram))).redirected(),
        t.in(udp(net.far, 9, net.b, 9)).redirected().event(kCreated),
        t.out(Hook::from_pod, kPodB, unreachable(net.b, net.far, udp(net.far, 9, net.b, 9)),
              unreachable(net.b, net.far, udp(net.far, 9, net.b, 9)), 1002),
        t.in(unreachable(net.far, net.a, hop(datagram.to(net.far, 81)))).dropped(WEFT_DROP_ICMP_UNRELATED).silently(),
        // nobody outside the tunnel speaks of what is inside
        send(Hook::from_device, kUplink, unreachable(net.world, net.a, hop(datagram))),
        t.in(icmp_message(net.far, net.b, net.v4 ? 13 : 138, 0)).dropped(WEFT_DROP_ICMP_UNSUPPORTED)}},
  };
}

Cases refused(const Tunneled& t) {
  const auto& net = t.net;
  const auto in = tcp(net.far, 50000, net.b, 8080, kSyn);
  const auto stranger = t.underlay.world;
  const bool device = t.way == WEFT_WAY_VXLAN;
  Cases cases{
      {"an address of ours, or of nobody, inside",
       {t.base()},
       {t.in(in.from(net.a, 9)).dropped(t.way == WEFT_WAY_IPIP ? WEFT_DROP_NONE : WEFT_DROP_SPOOFED_SOURCE)}},
      {"to an address that nothing has here",
       {t.base()},
       {t.in(in.to(net.nobody, 9)).dropped(WEFT_DROP_UNKNOWN_ENDPOINT),
        t.in(in.to(net.world, 9)).dropped(WEFT_DROP_NOT_EGRESS_GATEWAY)}},
      {"the same addresses outside the tunnel",
       {t.base()},
       {t.in(in).redirected().event(kCreated),
        send(Hook::from_device, kUplink, in.with_flags(kAck)).dropped(WEFT_DROP_OUTSIDE_TUNNEL),
        send(Hook::from_device, kUplink, in).dropped(WEFT_DROP_OUTSIDE_TUNNEL).silently(),
        send(Hook::from_device, kUplink, in.from(net.far_unknown, 8)).dropped(WEFT_DROP_OUTSIDE_TUNNEL),
        send(Hook::from_device, kUplink, in.to(net.host, 22)).dropped(WEFT_DROP_OUTSIDE_TUNNEL),
        send(Hook::to_pod, kPodB, in.with_flags(kAck)).entering(kOther).dropped(WEFT_DROP_OUTSIDE_TUNNEL),
        flow(in, {.packets = 1})}},
      {"a node of the cluster, at its own addresses, is nobody's pod",
       {t.base()},
       {send(Hook::from_device, kUplink, tcp(t.underlay.remote, 9, t.underlay.host, 22)),
        send(Hook::from_device, kUplink, tcp(t.underlay.remote, 9, t.underlay.host, 22, kSyn))}},
  };
  if (t.way == WEFT_WAY_IPIP) {
    // another tunnel of the nodes', as far as one can see
    cases[0].steps = {
        t.in(in.from(net.a, 9)).becomes(ipip_tunnel(t.underlay.remote, t.underlay.host, in.from(net.a, 9))),
        t.in(in.from(net.world, 9)).becomes(ipip_tunnel(t.underlay.remote, t.underlay.host, in.from(net.world, 9)))};
  } else {
    cases[0].steps.push_back(t.in(in.from(net.host, 9)).dropped(WEFT_DROP_SPOOFED_SOURCE));
    cases[0].steps.push_back(t.in(in.from(net.world, 9)).dropped(WEFT_DROP_SPOOFED_SOURCE));
    Case odd{"who says nothing of the sender", {t.base()}, {}};
    for (const std::uint32_t vni : {0u, 1u, 65536u})
      if (vni != 0 || device) odd.steps.push_back(t.in(in, vni).dropped(WEFT_DROP_TUNNEL_SENDER).silently());
    cases.push_back(odd);
    cases.push_back(
        {"known by the tunnel alone",
         {t.base()},
         {t.in(in.from(net.far_unknown, 9), 1888).redirected().event({.type = WEFT_EVENT_NEW, .source_identity = 1888}),
          flow(in.from(net.far_unknown, 9), {.epoch = 1}), change(bump()),
          // asked by the side that is not told
          t.out(Hook::from_pod, kPodB, in.from(net.far_unknown, 9).reversed().with_flags(kAck),
                hop(in.from(net.far_unknown, 9).reversed().with_flags(kAck)), 1002),
          flow(in.from(net.far_unknown, 9), {.source_identity = 1888})}});
  }
  // An outer source that no node's tunnel has, though it is a node's.
  auto by_gateway = t.in_from(t.underlay.far_gateway, in, kFarIdentity);
  by_gateway.want_packet.reset();
  cases.push_back({"from a node's gateway",
                   {t.base(), remote(t.underlay.far_gateway, WEFT_IDENTITY_REMOTE_NODE, kFarNode, WEFT_REMOTE_NODE)},
                   // Geneve is a datagram of that address, which comes by a tunnel; IP-in-IP may be the administrator's
                   {device                     ? by_gateway.dropped(WEFT_DROP_TUNNEL_SENDER).silently()
                    : t.way == WEFT_WAY_GENEVE ? by_gateway.dropped(WEFT_DROP_OUTSIDE_TUNNEL)
                                               : by_gateway,
                    no_flow(in), t.in(in).redirected().event(kCreated), flow(in, {.packets = 1})}});
  if (device) {
    cases.push_back({"from no node",
                     {t.base()},
                     {t.in_from(stranger, in, kFarIdentity).dropped(WEFT_DROP_TUNNEL_SENDER).silently(),
                      send(Hook::from_overlay, kOther, in).dropped(WEFT_DROP_TUNNEL_SENDER).silently(),
                      send(Hook::from_overlay, kOther, arp(1, {2, 0, 0, 0, 0, 2}, net_v4().far, {}, net_v4().b))
                          .sent_by(t.underlay.remote, kFarIdentity)
                          .dropped(WEFT_DROP_UNKNOWN_L3)
                          .silently()}});
  } else {
    const auto left = [&](Step step) {
      step.want_packet.reset();
      return step;
    };
    cases.push_back({"from no node: some tunnel of the administrator's",
                     {t.base()},
                     {left(t.in_from(stranger, in, kFarIdentity)),
                      left(t.in_from(t.underlay.a, in, kFarIdentity).dropped(WEFT_DROP_SPOOFED_SOURCE).silently())}});
    cases.back().steps.pop_back();
    cases.push_back(
        {"not to the node",
         {t.base()},
         {send(Hook::from_device, kUplink,
               t.way == WEFT_WAY_GENEVE ? geneve_tunnel(t.underlay.remote, t.underlay.world, in, kFarIdentity)
                                        : ipip_tunnel(t.underlay.remote, t.underlay.world, in))}});
    cases.push_back({"switched off",
                     {t.base(), configure([](weft_config& config) {
                        config.flags &= ~static_cast<std::uint32_t>(WEFT_CONFIG_TUNNEL);
                      })},
                     {left(t.in(in))}});
  }
  return cases;
}

Cases node_itself(const Tunneled& t) {
  const auto& net = t.net;
  const auto out = tcp(net.gateway, 40000, net.far, 80, kSyn);
  const auto other = tcp(net.host, 40000, net.far, 80, kSyn);
  const auto in = tcp(net.far, 50000, net.gateway, 4240, kSyn);
  const auto seen = other.from(net.gateway, 40000);
  const auto node_id = WEFT_IDENTITY_REMOTE_NODE;
  const auto sent = [&](const Packet& packet, const Packet& inner) {
    return t.out(Hook::from_host, kOther, packet, inner, node_id);
  };
  return {
      {"the node to a pod there and back",
       {t.base()},
       {sent(out, out).event({.type = WEFT_EVENT_NEW,
                              .source_identity = WEFT_IDENTITY_HOST,
                              .destination_identity = kFarIdentity,
                              .source_endpoint = 1,
                              .hook = WEFT_HOOK_FROM_HOST}),
        flow(out, {.exit = WEFT_EXIT_TUNNEL,
                   .in_ifindex = 0,
                   .mtu = kMtu,
                   .node = kFarNode,
                   .flags_set = WEFT_FLOW_FROM_HOST | WEFT_FLOW_HOST_SOURCE}),
        t.in(out.reversed().with_flags(kSyn | kAck)), sent(out.with_flags(kAck), out.with_flags(kAck)),
        t.in(out.reversed().with_flags(kAck)),
        flow(out.reversed(), {.exit = WEFT_EXIT_STACK, .in_ifindex = WEFT_IN_TUNNEL, .packets = 2})}},
      {"from an address that leads there no other way: by the gateway's",
       {t.base()},
       {sent(other, seen).event({.type = WEFT_EVENT_NEW, .source = net.host}),
        t.in(seen.reversed().with_flags(kSyn | kAck)).becomes(other.reversed().with_flags(kSyn | kAck)),
        sent(other.with_flags(kAck), seen.with_flags(kAck))}},
      {"a pod there to the node and back",
       {t.base()},
       {t.in(in).event(
            {.type = WEFT_EVENT_NEW, .source_identity = kFarIdentity, .destination_identity = WEFT_IDENTITY_HOST}),
        sent(in.reversed().with_flags(kSyn | kAck), in.reversed().with_flags(kSyn | kAck)), t.in(in.with_flags(kAck)),
        // only the node itself answers
        send(Hook::from_device, kUplink, in.reversed()).dropped(WEFT_DROP_SPOOFED_SOURCE)}},
      {"too large for the way",
       {t.base()},
       {sent(out, out).event(kCreated),
        send(Hook::from_host, kOther, out.with_flags(kAck).with_payload(1500))
            .answered(WEFT_DROP_TOO_BIG,
                      out.with_flags(kAck).with_payload(1500).too_big(kMtu).with_macs(out.from_mac, out.to_mac))
            .silently()}},
      {"what is not the node's does not leave as its own",
       {t.base()},
       {send(Hook::from_host, kOther, out.from(net.world, 9)).dropped(WEFT_DROP_SPOOFED_SOURCE),
        send(Hook::from_host, kOther, out.to(net.world, 9)), no_flow(out.to(net.world, 9))}},
  };
}

Cases served(const Tunneled& t) {
  const auto& net = t.net;
  const auto syn = tcp(net.a, 40000, net.service, 80, kSyn);
  const auto inside = syn.to(net.far, 8080);
  const auto client = tcp(net.client, 50000, net.service, 80, kSyn);
  const auto outward = client.to(net.far, 8080).from(net.gateway, 61000);
  const auto service = [&](weft_forwarding forwarding) {
    return all({t.base(), serving_outside(), backend(3, net.far, 8080, kTcp),
                frontend(net.service, 80, kTcp, {.backends = {3}, .forwarding = forwarding}),
                configure([](weft_config& config) { config.lb_port_min = config.lb_port_max = 61000; })});
  };
  const auto to_backend = [&](const Packet& packet) { return packet.to(net.far, 8080).from(net.gateway, 61000); };
  const auto world = WEFT_IDENTITY_WORLD;
  const auto answer = outward.reversed().with_flags(kAck);
  const auto to_client = client.reversed().with_flags(kAck);
  const auto overhead = net.v4 ? 40u : 60u;
  Cases cases{
      {"a pod's service with a backend there",
       {service(WEFT_FORWARD_SNAT)},
       {t.out(Hook::from_pod, kPodA, syn, hop(inside), 1001)
            .event({.type = WEFT_EVENT_NEW, .backend = net.far, .destination_identity = kFarIdentity}),
        t.in(inside.reversed().with_flags(kSyn | kAck)).redirected().becomes(syn.reversed().with_flags(kSyn | kAck)),
        t.out(Hook::from_pod, kPodA, syn.with_flags(kAck), hop(inside.with_flags(kAck)), 1001)}},
      {"too large on its way back to the client",
       {service(WEFT_FORWARD_SNAT), uplink(net, 1000)},
       {t.out(Hook::from_device, kUplink, client, hop(outward), world).event(kCreated),
        t.in(answer.with_payload(1000 - overhead)).redirected().becomes(hop(to_client.with_payload(1000 - overhead))),
        t.in(answer.with_payload(1000))
            .answered(WEFT_DROP_TOO_BIG, t.wrapped(answer.with_payload(1000).too_big(1000), WEFT_IDENTITY_REMOTE_NODE))
            .silently()}},
      {"too large on its way to the backend",
       {service(WEFT_FORWARD_SNAT)},
       {t.out(Hook::from_device, kUplink, client, hop(outward), world).event(kCreated),
        send(Hook::from_device, kUplink, client.with_flags(kAck).with_payload(1450))
            .answered(WEFT_DROP_TOO_BIG, client.with_flags(kAck).with_payload(1450).too_big(kMtu).with_macs(
                                             client.from_mac, client.to_mac))
            .silently()}},
      {"a pod here at the other end of somebody else's balancing",
       {t.base()},
       {t.in(tcp(net.far_gateway, 61000, net.b, 8080, kSyn), world)
            .redirected()
            .event(
                {.type = WEFT_EVENT_NEW, .source_identity = t.says_identity() ? world : WEFT_IDENTITY_REMOTE_NODE})}},
  };
  for (const auto forwarding : {WEFT_FORWARD_SNAT, WEFT_FORWARD_DSR_IPIP, WEFT_FORWARD_DSR_GENEVE})
    cases.push_back(
        {fmt::format("a client's service with a backend there, forwarding {}", static_cast<int>(forwarding)),
         {service(forwarding)},
         {t.out(Hook::from_device, kUplink, client, hop(outward), world)
              .event({.type = WEFT_EVENT_NEW, .source = net.client, .backend = net.far, .service_id = kService})
              .counts(WEFT_STAT_EXTERNAL_FLOW),
          t.in(answer.with_flags(kSyn | kAck)).redirected().becomes(hop(to_client.with_flags(kSyn | kAck))),
          send(Hook::xdp, kUplink, client.with_flags(kAck)),
          t.out(Hook::from_device, kUplink, client.with_flags(kAck), hop(to_backend(client.with_flags(kAck))), world),
          t.in(answer).redirected().becomes(hop(to_client)), flow(client, {.packets = 2}),
          flow(answer, {.exit = WEFT_EXIT_NEIGH, .in_ifindex = WEFT_IN_TUNNEL, .packets = 2})}});
  cases.push_back(
      {"a client's flow that XDP chooses the backend of, once",
       {service(WEFT_FORWARD_SNAT)},
       {send(Hook::xdp, kUplink, client)
            .event({.type = WEFT_EVENT_NEW, .backend = net.far, .hook = WEFT_HOOK_XDP})
            .counts(WEFT_STAT_EXTERNAL_FLOW),
        flow(client, {.exit = WEFT_EXIT_TUNNEL,
                      .out_ifindex = t.way == WEFT_WAY_VXLAN ? kOther : kUplink,
                      .mtu = kMtu,
                      .node = kFarNode,
                      .packets = 0,
                      .flags_set = WEFT_FLOW_SNAT | WEFT_FLOW_DNAT | WEFT_FLOW_EXTERNAL}),
        t.out(Hook::from_device, kUplink, client, hop(outward), world),
        t.in(answer.with_flags(kSyn | kAck)).redirected().becomes(hop(to_client.with_flags(kSyn | kAck))),
        flow(client, {.packets = 1}), flow(answer, {.exit = WEFT_EXIT_NEIGH, .in_ifindex = WEFT_IN_TUNNEL})}});
  return cases;
}

// A tunnel's packet is left as it is, for whoever else may know it, if it is not in every part what a node sends. What
// no end of Geneve may take is dropped, where nodes speak it.
Cases misshapen(const Net& net) {
  const auto in = tcp(net.far, 50000, net.b, 8080, kSyn);
  Cases cases;
  for (const auto way : {WEFT_WAY_GENEVE, WEFT_WAY_IPIP}) {
    const Tunneled t{net, net, way};
    const auto outer = way == WEFT_WAY_GENEVE ? geneve_tunnel(net.remote, net.host, in, kFarIdentity)
                                              : ipip_tunnel(net.remote, net.host, in);
    const auto with = [&](auto change) {
      auto packet = outer;
      change(packet);
      return send(Hook::from_device, kUplink, packet);
    };
    const auto header = way == WEFT_WAY_GENEVE ? 8u : 0u;  // before the packet inside
    Case odd{fmt::format("tunnels: odd packets of {}", way == WEFT_WAY_GENEVE ? "Geneve" : "IP-in-IP"), {t.base()}, {}};
    const auto broken = [&](auto change) {
      auto step = with(change);
      return way == WEFT_WAY_GENEVE ? step.dropped(WEFT_DROP_MALFORMED).silently() : step;
    };
    odd.steps = {broken([&](Packet& p) { p.payload.resize(p.payload.size() - 1); }),
                 broken([&](Packet& p) { p.payload.resize(header + 12); }),
                 broken([&](Packet& p) { p.payload.resize(header); }),
                 broken([&](Packet& p) { p.payload[header] = 0x25; }), with([&](Packet& p) {
                   p.fragment = 0;
                   p.more_fragments = true;
                 })};
    if (way == WEFT_WAY_GENEVE) {
      // options, an operator's packet, another protocol, another port
      odd.steps.push_back(with([](Packet& p) { p.payload[0] = 1; }));
      odd.steps.push_back(with([](Packet& p) { p.payload[1] = 0x80; }));
      odd.steps.push_back(with([](Packet& p) { p.payload[2] = 0x65; }));
      odd.steps.push_back(with([](Packet& p) { p.destination_port = 6082; }));
      // an unknown version, options that do not fit, or have to be known, half a header
      odd.steps.push_back(broken([](Packet& p) { p.payload[0] = 0x40; }));
      odd.steps.push_back(broken([](Packet& p) { p.payload[0] = 0x3f; }));
      odd.steps.push_back(broken([](Packet& p) { p.payload[0] = 1, p.payload[1] = 0x40; }));
      odd.steps.push_back(broken([](Packet& p) { p.payload.resize(7); }));
      // of a stranger, and to somebody else
      const auto version = [](Packet& p) { p.payload[0] = 0x40; };
      odd.steps.push_back(with([&](Packet& p) { version(p), p.source = net.world; }));
      odd.steps.push_back(with([&](Packet& p) { version(p), p.destination = net.world; }));
    }
    // more room than the packet inside takes: the stack cuts it off
    auto padded = in.l3_bytes();
    padded.push_back(0);
    odd.steps.push_back(with([](Packet& p) { p.payload.push_back(0); }).redirected());
    odd.steps.back().becomes(raw_frame(net.v4 ? 0x0800 : 0x86dd, padded)).event(kCreated);
    cases.push_back(odd);
  }
  const Tunneled vxlan{net, net, WEFT_WAY_VXLAN};
  auto foreign = geneve_tunnel(net.remote, net.host, in, kFarIdentity);
  foreign.payload[1] = 0x40;
  cases.push_back({"tunnels: where nodes speak something else, Geneve's odd packets are somebody else's",
                   {vxlan.base()},
                   {send(Hook::from_device, kUplink, foreign)}});
  return cases;
}

// What only nodes say to nodes.
Cases impostors(const Net& net) {
  const Tunneled t{net, net, WEFT_WAY_VXLAN};
  const auto datagram = udp(net.a, 40000, net.remote, 4789);
  return {
      {"tunnels: a pod does not speak as its node",
       {t.base()},
       {send(Hook::from_pod, kPodA, datagram).dropped(WEFT_DROP_ENCAPSULATION),
        send(Hook::from_pod, kPodA, datagram.to(net.host, 4789)).dropped(WEFT_DROP_ENCAPSULATION),
        send(Hook::from_pod, kPodA, datagram.to(net.b, 4789)).redirected().event(kCreated),
        t.out(datagram.to(net.far, 4789)).event(kCreated), t.out(datagram.to(net.far, 6081)).event(kCreated),
        send(Hook::from_pod, kPodA, tcp(net.a, 40000, net.remote, 4789, kSyn))
            .redirected()
            .becomes(hop(tcp(net.nat, 40000, net.remote, 4789, kSyn)))
            .event(kCreated)}},
      {"tunnels: nor as an answer",
       {t.base(), serving_outside(), backend(3, net.b, 53, kUdp), frontend(net.service, 53, kUdp, {.backends = {3}})},
       {send(Hook::from_device, kUplink, udp(net.client, 4789, net.service, 53))
            .redirected()
            .becomes(udp(net.client, 4789, net.b, 53))
            .event(kCreated),
        send(Hook::from_pod, kPodB, udp(net.b, 53, net.client, 4789)).dropped(WEFT_DROP_ENCAPSULATION)}}};
}

// By a device without MAC headers, which a test run has none of: what comes out of one is overlay_test's.
Cases encrypted(const Net& net) {
  const Tunneled t{net, net, WEFT_WAY_WIREGUARD};
  const auto out = tcp(net.a, 40000, net.far, 80, kSyn);
  const auto large = out.with_payload(kMtu).with_flags(kAck);
  const auto in = tcp(net.far, 50000, net.b, 8080, kSyn);
  const auto refused = way_to(kFarNode, WEFT_WAY_REFUSED, net);
  return {
      {"encrypted: to a pod, by the node's device",
       {t.base()},
       {t.out(out).event({.type = WEFT_EVENT_NEW, .source_identity = 1001, .destination_identity = kFarIdentity}),
        flow(out,
             {.exit = WEFT_EXIT_TUNNEL, .out_ifindex = kOther, .in_ifindex = kPodA, .mtu = kMtu, .node = kFarNode}),
        flow(out.reversed(), {.exit = WEFT_EXIT_PEER, .out_ifindex = kPodA, .in_ifindex = WEFT_IN_TUNNEL}),
        t.out(out.with_flags(kAck)),
        send(Hook::from_pod, kPodA, large).answered(WEFT_DROP_TOO_BIG, large.too_big(kMtu)).silently()}},
      {"encrypted: from the node itself",
       {t.base()},
       {t.out(Hook::from_host, kOther, tcp(net.gateway, 40000, net.far, 80, kSyn),
              tcp(net.gateway, 40000, net.far, 80, kSyn), WEFT_IDENTITY_REMOTE_NODE)
            .event(kCreated)}},
      {"encrypted: nothing in clear is that node's",
       {t.base()},
       {send(Hook::from_device, kUplink, in).dropped(WEFT_DROP_OUTSIDE_TUNNEL),
        send(Hook::to_pod, kPodB, in).entering(kOther).dropped(WEFT_DROP_OUTSIDE_TUNNEL)}},
      {"encrypted: a device that is not there yet",
       {t.base(),
        [](Datapath& d) {
          weft_node node{};
          node.way = WEFT_WAY_WIREGUARD;
          d.put("weft_node_v1", std::uint32_t{kFarNode}, node);
        }},
       {send(Hook::from_pod, kPodA, out).dropped(WEFT_DROP_NODE_UNKNOWN)}},
      {"encrypted: nothing goes to a node without a key",
       {t.base(), refused},
       {send(Hook::from_pod, kPodA, out)
            .dropped(WEFT_DROP_UNENCRYPTED, {.type = WEFT_EVENT_DENIED, .destination_identity = kFarIdentity}),
        send(Hook::from_pod, kPodA, out.to(net.far_unknown, 80)).dropped(WEFT_DROP_UNENCRYPTED),
        send(Hook::from_pod, kPodA, out.to(net.far_gateway, 80)).dropped(WEFT_DROP_UNENCRYPTED),
        send(Hook::from_host, kOther, tcp(net.gateway, 40000, net.far, 80, kSyn)).dropped(WEFT_DROP_UNENCRYPTED),
        send(Hook::from_device, kUplink, in).dropped(WEFT_DROP_OUTSIDE_TUNNEL)}},
      {"encrypted: the key is lost under a flow",
       {t.base()},
       {t.out(out).event(kCreated), change(refused),
        send(Hook::from_pod, kPodA, out.with_flags(kAck)).dropped(WEFT_DROP_UNENCRYPTED).silently(), change(bump()),
        send(Hook::from_pod, kPodA, out.with_flags(kAck)).dropped(WEFT_DROP_UNENCRYPTED)}},
  };
}

// What a tunnel in clear brings with the address of somebody on a node that encrypts is not that node's.
Cases in_clear(const Tunneled& t) {
  const auto& net = t.net;
  const auto out = tcp(net.a, 40000, net.far, 80, kSyn);
  const auto in = tcp(net.far, 50000, net.b, 8080, kSyn);
  const Tunneled encrypts{net, t.underlay, WEFT_WAY_WIREGUARD};
  const auto refused = [&](const Packet& packet) { return t.in(packet).dropped(WEFT_DROP_OUTSIDE_TUNNEL).silently(); };
  // another node, which tells no key
  constexpr std::uint32_t kClearNode = 5;
  const auto clear = net.far_unknown;
  Cases cases;
  for (const auto way : {WEFT_WAY_WIREGUARD, WEFT_WAY_REFUSED})
    cases.push_back({way == WEFT_WAY_WIREGUARD ? "of a node that encrypts" : "of a node that has to encrypt",
                     {encrypts.base(), way_to(kFarNode, way, t.underlay, kMtu)},
                     {refused(in), refused(in.from(net.far_gateway, 9)), refused(in.from(net.far_unknown, 9)),
                      refused(udp(net.far, 9, net.host, 53)), refused(unreachable(net.far, net.a, out)), no_flow(in)}});
  cases.push_back({"within a connection",
                   {encrypts.base()},
                   {encrypts.out(out).event(kCreated), refused(out.reversed().with_flags(kAck)),
                    flow(out.reversed(), {.packets = 0})}});
  cases.push_back({"of others, as ever",
                   {encrypts.base(), remote(clear, 1888, kClearNode), way_to(kClearNode, t.way, t.underlay, kMtu)},
                   {t.in(in.from(clear, 9), 1888).redirected().event(kCreated),
                    t.in(in.from(clear, 9).with_flags(kAck), 1888).redirected(), refused(in)}});
  cases.push_back({"from when the node no longer does",
                   {encrypts.base()},
                   {refused(in), change(way_to(kFarNode, t.way, t.underlay, kMtu)), change(bump()),
                    t.in(in).redirected().event(kCreated)}});
  return cases;
}

}  // namespace

Cases tunnel_cases(const Net& net) {
  Cases all = impostors(net);
  for (const auto& one : misshapen(net)) all.push_back(one);
  for (const auto& one : encrypted(net)) all.push_back(one);
  for (const auto way : {WEFT_WAY_VXLAN, WEFT_WAY_GENEVE, WEFT_WAY_IPIP})
    for (const auto* underlay : {&net_v4(), &net_v6()}) {
      const Tunneled tunneled{net, *underlay, way};
      const auto* name = way == WEFT_WAY_VXLAN ? "VXLAN" : way == WEFT_WAY_GENEVE ? "Geneve" : "IP-in-IP";
      for (const auto& part :
           {pods(tunneled), shapes(tunneled), refused(tunneled), node_itself(tunneled), served(tunneled),
            path_mtu_cases(tunneled), in_clear(tunneled), tunnel_sender_cases(tunneled)})
        for (const auto& one : part) {
          all.push_back(one);
          all.back().name = fmt::format("tunnels: {} over {}: {}", name, underlay->name(), one.name);
        }
    }
  return all;
}

}  // namespace weft::test
