// Delivery: between pods, to and from the node, to and from the outside, without translation.
#include "fixture.h"

namespace weft::test {
namespace {

Row no_masquerade() {
  return configure(
      [](weft_config& config) { config.flags &= ~(WEFT_CONFIG_MASQUERADE_V4 | WEFT_CONFIG_MASQUERADE_V6); });
}

std::uint64_t l3_length(const Packet& packet) { return packet.l3_bytes().size(); }

Cases between_pods(const Net& net) {
  const auto syn = tcp(net.a, 40000, net.b, 80, kSyn);
  const auto synack = syn.reversed().with_flags(kSyn | kAck);
  const auto data = syn.with_flags(kAck).with_payload(100);
  const auto datagram = udp(net.a, 40000, net.b, 53);
  const auto ping = echo_request(net.a, net.b, 77);
  const auto pong = echo_reply(net.b, net.a, 77);
  const auto association = sctp(net.a, 40000, net.b, 9000);
  return {
      {"tcp pod to pod",
       {standard(net)},
       {send(Hook::from_pod, kPodA, syn)
            .redirected()
            .counts(WEFT_STAT_NEW_FLOW)
            .event({.type = WEFT_EVENT_NEW,
                    .source = net.a,
                    .destination = net.b,
                    .source_port = 40000,
                    .destination_port = 80,
                    .source_identity = 1001,
                    .destination_identity = 1002,
                    .egress_rule = 0,
                    .ingress_rule = 0,
                    .service_id = 0,
                    .source_endpoint = 11,
                    .destination_endpoint = 12,
                    .hook = WEFT_HOOK_FROM_POD}),
        flow(syn, {.exit = WEFT_EXIT_PEER,
                   .out_ifindex = kPodB,
                   .in_ifindex = kPodA,
                   .epoch = 1,
                   .packets = 1,
                   .bytes = l3_length(syn),
                   .flags_clear = WEFT_FLOW_REPLY}),
        // a SYN nobody answers takes one place in the table, the answer brings its own entry
        no_flow(synack), send(Hook::from_pod, kPodB, synack).redirected(),
        flow(synack, {.exit = WEFT_EXIT_PEER,
                      .out_ifindex = kPodA,
                      .in_ifindex = kPodB,
                      .packets = 1,
                      .flags_set = WEFT_FLOW_REPLY}),
        send(Hook::from_pod, kPodA, data).redirected(), send(Hook::from_pod, kPodA, data).redirected(),
        flow(syn, {.packets = 3, .bytes = l3_length(syn) + 2 * l3_length(data)}),
        flow(synack, {.packets = 1, .bytes = l3_length(synack)})}},
      {"udp pod to pod",
       {standard(net)},
       {send(Hook::from_pod, kPodA, datagram).redirected().event({.type = WEFT_EVENT_NEW, .destination_port = 53}),
        send(Hook::from_pod, kPodA, datagram).redirected(),
        send(Hook::from_pod, kPodB, datagram.reversed()).redirected(), flow(datagram, {.packets = 2}),
        flow(datagram.reversed(), {.packets = 1})}},
      {"sctp pod to pod",
       {standard(net)},
       {send(Hook::from_pod, kPodA, association).redirected().event({.type = WEFT_EVENT_NEW}),
        send(Hook::from_pod, kPodB, association.reversed()).redirected()}},
      {"echo pod to pod",
       {standard(net)},
       {send(Hook::from_pod, kPodA, ping)
            .redirected()
            .event({.type = WEFT_EVENT_NEW, .source_port = 77, .destination_port = 0}),
        send(Hook::from_pod, kPodB, pong).redirected(), send(Hook::from_pod, kPodA, ping).redirected(),
        flow(ping, {.packets = 2}), flow(pong, {.packets = 1, .flags_set = WEFT_FLOW_REPLY})}},
      {"segments to be cut later go to a pod whole",
       {standard(net)},
       {send(Hook::from_pod, kPodA, data.with_payload(3000).with_gso(1448))
            .redirected()
            .event({.type = WEFT_EVENT_NEW}),
        send(Hook::from_pod, kPodA, data.with_payload(3000).with_gso(1448)).redirected()}},
      {"events off",
       {standard(net), configure([](weft_config& config) { config.flags &= ~WEFT_CONFIG_EVENTS; })},
       {send(Hook::from_pod, kPodA, syn).redirected().counts(WEFT_STAT_NEW_FLOW),
        send(Hook::from_pod, kPodA, datagram.to(net.nobody, 1)).dropped(WEFT_DROP_UNKNOWN_ENDPOINT).silently()}},
      {"services off",
       {standard(net), configure([](weft_config& config) { config.flags &= ~WEFT_CONFIG_SERVICES; })},
       {send(Hook::from_pod, kPodA, syn).redirected().event({.type = WEFT_EVENT_NEW})}},
      {"a hint names the service of a flow translated in the socket",
       {standard(net), hint(11, net.b, 80, kTcp, 5), hint(12, net.a, 80, kTcp, 5)},
       {send(Hook::from_pod, kPodA, syn).redirected().event({.type = WEFT_EVENT_NEW, .service_id = 5}),
        send(Hook::from_pod, kPodB, synack).redirected(), flow(syn, {.service_id = 5}),
        flow(synack, {.service_id = 5})}},
  };
}

Cases with_the_node(const Net& net) {
  const auto to_host = tcp(net.a, 40000, net.host, 22, kSyn);
  const auto from_host = tcp(net.host, 50000, net.a, 8080, kSyn);
  return {
      {"pod to node",
       {standard(net)},
       {send(Hook::from_pod, kPodA, to_host).event({.type = WEFT_EVENT_NEW, .destination_identity = 1}),
        flow(to_host, {.exit = WEFT_EXIT_STACK, .in_ifindex = kPodA}),
        send(Hook::to_pod, kPodA, to_host.reversed().with_flags(kSyn | kAck)),
        send(Hook::to_pod, kPodA, to_host.reversed().with_flags(kAck)), flow(to_host.reversed(), {.packets = 2})}},
      {"node to pod",
       {standard(net)},
       {send(Hook::to_pod, kPodA, from_host)
            .event({.type = WEFT_EVENT_NEW,
                    .source_identity = 1,
                    .destination_identity = 1001,
                    .ingress_rule = 1,
                    .source_endpoint = WEFT_ENDPOINT_ID_HOST,
                    .destination_endpoint = 11,
                    .hook = WEFT_HOOK_TO_POD}),
        flow(from_host, {.exit = WEFT_EXIT_STACK, .flags_set = WEFT_FLOW_FROM_HOST}),
        flow(from_host.reversed(),
             {.exit = WEFT_EXIT_STACK, .in_ifindex = kPodA, .flags_set = WEFT_FLOW_FROM_HOST | WEFT_FLOW_REPLY}),
        send(Hook::from_pod, kPodA, from_host.reversed().with_flags(kSyn | kAck)),
        send(Hook::from_pod, kPodA, from_host.reversed().with_flags(kAck)),
        send(Hook::to_pod, kPodA, from_host.with_flags(kAck))}},
  };
}

Cases to_the_outside(const Net& net) {
  const auto syn = tcp(net.a, 40000, net.world, 443, kSyn);
  const auto data = syn.with_flags(kAck);
  const auto reply = syn.reversed().with_flags(kSyn | kAck);
  const auto hop = [](const Packet& packet) { return packet.with_hop_limit(63); };
  const auto big = udp(net.a, 40000, net.world, 53).with_payload(2000);
  return {
      {"pod to outside, not masqueraded",
       {standard(net), no_masquerade()},
       {send(Hook::from_pod, kPodA, syn)
            .redirected()
            .becomes(hop(syn))
            .event({.type = WEFT_EVENT_NEW, .destination_identity = WEFT_IDENTITY_WORLD, .destination_endpoint = 0}),
        flow(syn, {.exit = WEFT_EXIT_NEIGH, .out_ifindex = kUplink, .mtu = 1500}),
        send(Hook::from_device, kUplink, reply).redirected(),
        send(Hook::from_device, kUplink, reply.with_flags(kAck)).redirected(),
        flow(reply, {.exit = WEFT_EXIT_PEER, .out_ifindex = kPodA, .in_ifindex = 0, .packets = 2}),
        send(Hook::from_pod, kPodA, data).redirected().becomes(hop(data)),
        // the same packet on its way out of the device: counted once
        send(Hook::to_device, kUplink, hop(data)).entering(kPodA), flow(syn, {.packets = 2})}},
      {"native range is not masqueraded",
       {standard(net), prefix(net.v4 ? "8.8.0.0/16" : "2620:fe::/48", 300, WEFT_IP_NATIVE)},
       {send(Hook::from_pod, kPodA, syn)
            .redirected()
            .becomes(hop(syn))
            .event({.type = WEFT_EVENT_NEW, .destination_identity = 300})}},
      {"a device that is no uplink belongs to the stack",
       {standard(net)},
       {send(Hook::from_pod, kPodA, syn.to(net.other_subnet, 443)).event({.type = WEFT_EVENT_NEW}),
        flow(syn.to(net.other_subnet, 443), {.exit = WEFT_EXIT_STACK})}},
      {"no route",
       {standard(net)},
       {send(Hook::from_pod, kPodA, syn.to(net.unreachable, 443))
            .dropped(WEFT_DROP_NO_ROUTE, {.type = WEFT_EVENT_DENIED, .source_endpoint = 11, .direction = WEFT_EGRESS}),
        no_flow(syn.to(net.unreachable, 443)), no_flow(syn.to(net.unreachable, 443).reversed())}},
      {"the last hop is for the stack to refuse",
       {standard(net), no_masquerade()},
       {send(Hook::from_pod, kPodA, syn.with_hop_limit(1))
            .counts(WEFT_STAT_TO_STACK_MTU)
            .event({.type = WEFT_EVENT_NEW}),
        send(Hook::from_pod, kPodA, data.with_hop_limit(1)).counts(WEFT_STAT_TO_STACK_MTU),
        send(Hook::from_pod, kPodA, data.with_hop_limit(2)).redirected().becomes(data.with_hop_limit(1))}},
      {"too large for the uplink goes to the stack",
       {standard(net), no_masquerade()},
       {send(Hook::from_pod, kPodA, big.with_payload(10))
            .redirected()
            .becomes(hop(big.with_payload(10)))
            .event({.type = WEFT_EVENT_NEW}),
        send(Hook::from_pod, kPodA, big).counts(WEFT_STAT_TO_STACK_MTU),
        send(Hook::from_pod, kPodA, data.with_payload(3000).with_gso(1400))
            .redirected()
            .becomes(hop(data.with_payload(3000)))
            .event({.type = WEFT_EVENT_NEW}),
        send(Hook::from_pod, kPodA, data.with_payload(3000).with_gso(1480)).counts(WEFT_STAT_TO_STACK_MTU)}},
      {"too large from its first packet",
       {standard(net), no_masquerade()},
       {send(Hook::from_pod, kPodA, big).counts(WEFT_STAT_TO_STACK_MTU).event({.type = WEFT_EVENT_NEW}),
        flow(big, {.exit = WEFT_EXIT_NEIGH, .out_ifindex = kUplink}),
        send(Hook::from_pod, kPodA, big.with_payload(10)).redirected().becomes(hop(big.with_payload(10)))}},
  };
}

Cases from_the_outside(const Net& net) {
  const auto syn = tcp(net.world, 50000, net.a, 80, kSyn);
  const auto synack = syn.reversed().with_flags(kSyn | kAck);
  const auto forged = tcp(net.a, 40000, net.b, 80);
  return {
      {"outside to pod through the stack",
       {standard(net)},
       {send(Hook::from_device, kUplink, syn), no_flow(syn),
        send(Hook::to_pod, kPodA, syn)
            .event({.type = WEFT_EVENT_NEW, .source_identity = WEFT_IDENTITY_WORLD, .destination_identity = 1001}),
        send(Hook::from_pod, kPodA, synack), send(Hook::to_device, kUplink, synack).entering(kPodA),
        send(Hook::from_device, kUplink, syn.with_flags(kAck)), send(Hook::to_pod, kPodA, syn.with_flags(kAck)),
        // each packet counted once, at the pod
        flow(syn, {.packets = 2}), flow(synack, {.packets = 1})}},
      {"a pod's address from outside is forged",
       {standard(net)},
       {send(Hook::from_device, kUplink, forged).dropped(WEFT_DROP_SPOOFED_SOURCE),
        send(Hook::from_pod, kPodA, forged).redirected().event({.type = WEFT_EVENT_NEW}),
        send(Hook::from_device, kUplink, forged.with_payload(9))
            .dropped(WEFT_DROP_SPOOFED_SOURCE)
            .silently()
            .counts(WEFT_STAT_EVENT_MUTED),
        flow(forged, {.packets = 1})}},
      {"the same tuple from another pod's device is forged",
       {standard(net)},
       {send(Hook::from_pod, kPodA, forged).redirected().event({.type = WEFT_EVENT_NEW}),
        send(Hook::from_pod, kPodB, forged).dropped(WEFT_DROP_SPOOFED_SOURCE),
        send(Hook::from_pod, kPodA, forged).redirected(), flow(forged, {.packets = 2})}},
  };
}

Cases headers(const Net& net) {
  const auto packet = tcp(net.a, 40000, net.b, 80);
  if (net.v4)
    return {
        {"options are carried",
         {standard(net)},
         {send(Hook::from_pod, kPodA, packet.with_options({1, 1, 1, 0}))
              .redirected()
              .event({.type = WEFT_EVENT_NEW, .source_port = 40000, .destination_port = 80}),
          send(Hook::from_pod, kPodA, packet).redirected(),
          send(Hook::from_pod, kPodA, packet.with_options({1, 1, 1, 0})).redirected(), flow(packet, {.packets = 3})}}};
  const Octets padding{0, 0, 1, 4, 0, 0, 0, 0};
  return {{"extension headers are carried",
           {standard(net)},
           {send(Hook::from_pod, kPodA, packet.with_extension(60, padding).with_extension(43, padding))
                .redirected()
                .event({.type = WEFT_EVENT_NEW, .source_port = 40000, .destination_port = 80}),
            send(Hook::from_pod, kPodA, packet).redirected(),
            send(Hook::from_pod, kPodA, packet.with_extension(0, padding)).redirected(), flow(packet, {.packets = 3})}},
          {"too many extension headers",
           {standard(net)},
           {send(Hook::from_pod, kPodA,
                 packet.with_extension(60, padding)
                     .with_extension(60, padding)
                     .with_extension(60, padding)
                     .with_extension(60, padding)
                     .with_extension(60, padding)
                     .with_extension(60, padding)
                     .with_extension(60, padding))
                .dropped(WEFT_DROP_UNKNOWN_L4)}}};
}

}  // namespace

Cases forward_cases(const Net& net) {
  Cases all;
  for (const auto table : {between_pods, with_the_node, to_the_outside, from_the_outside, headers})
    for (auto& each : table(net)) all.push_back(std::move(each));
  return all;
}

}  // namespace weft::test
