// A connection's life: opened, closed, reset, opened again, forgotten.
#include "fixture.h"

namespace weft::test {
namespace {

const EventWant kCreated{.type = WEFT_EVENT_NEW};

Cases closing(const Net& net) {
  const auto syn = tcp(net.a, 40000, net.b, 80, kSyn);
  const auto ack = syn.with_flags(kAck);
  const auto fin = syn.with_flags(kFin | kAck);
  const auto to_service = tcp(net.a, 40000, net.service, 80, kSyn);
  const auto answer = tcp(net.b, 8080, net.a, 40000, kSyn | kAck);
  const auto length = syn.l3_bytes().size();
  const Steps opened{send(Hook::from_pod, kPodA, syn).redirected().event(kCreated),
                     send(Hook::from_pod, kPodB, syn.reversed().with_flags(kSyn | kAck)).redirected(),
                     send(Hook::from_pod, kPodA, ack).redirected()};
  const auto after = [&](Steps more) {
    auto steps = opened;
    for (auto& each : more) steps.push_back(std::move(each));
    return steps;
  };
  const EventWant closed{.type = WEFT_EVENT_CLOSED,
                         .source = net.a,
                         .destination = net.b,
                         .source_port = 40000,
                         .destination_port = 80,
                         .source_identity = 1001,
                         .destination_identity = 1002,
                         .packets = 3,
                         .bytes = 3 * length,
                         .reply_packets = 2,
                         .reply_bytes = 2 * length};
  auto reset_by_server = closed;
  reset_by_server.packets = 2;
  reset_by_server.bytes = 2 * length;
  return {
      {"closed by FIN from both sides",
       {standard(net)},
       after({send(Hook::from_pod, kPodA, fin).redirected(), flow(syn, {.flags_set = WEFT_FLOW_FIN}),
              flow(syn, {.flags_clear = WEFT_FLOW_CLOSED}),
              send(Hook::from_pod, kPodB, fin.reversed()).redirected().counts(WEFT_STAT_CLOSED_FLOW).event(closed),
              flow(syn, {.flags_set = WEFT_FLOW_CLOSED}), flow(syn.reversed(), {.flags_set = WEFT_FLOW_CLOSED}),
              // the last acknowledgement, and a FIN sent again: no second event
              send(Hook::from_pod, kPodA, ack).redirected(),
              send(Hook::from_pod, kPodB, fin.reversed()).redirected()})},
      {"reset by the server",
       {standard(net)},
       after({send(Hook::from_pod, kPodB, syn.reversed().with_flags(kRst)).redirected().event(reset_by_server)})},
      {"opened again after its end",
       {standard(net)},
       after({send(Hook::from_pod, kPodA, ack.with_flags(kRst)).redirected().event({.type = WEFT_EVENT_CLOSED}),
              send(Hook::from_pod, kPodA, syn).redirected().counts(WEFT_STAT_NEW_FLOW).event(kCreated),
              flow(syn, {.packets = 1, .flags_clear = WEFT_FLOW_CLOSED | WEFT_FLOW_FIN}),
              send(Hook::from_pod, kPodB, syn.reversed().with_flags(kSyn | kAck)).redirected()})},
      {"opening until each side has sent something without SYN",
       {standard(net)},
       {send(Hook::from_pod, kPodA, syn).redirected().event(kCreated), flow(syn, {.flags_set = WEFT_FLOW_OPENING}),
        send(Hook::from_pod, kPodA, syn).redirected(), flow(syn, {.packets = 2, .flags_set = WEFT_FLOW_OPENING}),
        send(Hook::from_pod, kPodB, syn.reversed().with_flags(kSyn | kAck)).redirected(),
        // Whoever forged the client's address never hears that.
        flow(syn, {.flags_set = WEFT_FLOW_OPENING}), send(Hook::from_pod, kPodA, ack).redirected(),
        flow(syn, {.flags_clear = WEFT_FLOW_OPENING}), flow(syn.reversed(), {.flags_set = WEFT_FLOW_OPENING}),
        send(Hook::from_pod, kPodB, ack.reversed()).redirected(),
        flow(syn.reversed(), {.flags_clear = WEFT_FLOW_OPENING})}},
      {"begun without a SYN it is not opening",
       {standard(net)},
       {send(Hook::from_pod, kPodA, ack).redirected().event(kCreated), flow(syn, {.flags_clear = WEFT_FLOW_OPENING})}},
      {"a service's connection is opening in both entries",
       {standard(net), backend(3, net.b, 8080, kTcp), service(net.service, 80, kTcp, 7, {3})},
       {send(Hook::from_pod, kPodA, to_service).redirected().becomes(to_service.to(net.b, 8080)).event(kCreated),
        flow(to_service, {.flags_set = WEFT_FLOW_OPENING}), flow(answer, {.flags_set = WEFT_FLOW_OPENING}),
        send(Hook::from_pod, kPodB, answer).redirected().becomes(answer.from(net.service, 80)),
        send(Hook::from_pod, kPodA, to_service.with_flags(kAck))
            .redirected()
            .becomes(to_service.to(net.b, 8080).with_flags(kAck)),
        flow(to_service, {.flags_set = WEFT_FLOW_COUNTED, .flags_clear = WEFT_FLOW_OPENING})}},
      {"a SYN sent again is no new flow",
       {standard(net)},
       {send(Hook::from_pod, kPodA, syn).redirected().event(kCreated), send(Hook::from_pod, kPodA, syn).redirected(),
        flow(syn, {.packets = 2})}},
      {"closing a service's connection names both",
       {standard(net), backend(3, net.b, 8080, kTcp), service(net.service, 80, kTcp, 7, {3})},
       {send(Hook::from_pod, kPodA, syn.to(net.service, 80)).redirected().becomes(syn.to(net.b, 8080)).event(kCreated),
        send(Hook::from_pod, kPodB, ack.to(net.b, 8080).reversed().with_flags(kRst))
            .redirected()
            .becomes(ack.to(net.service, 80).reversed().with_flags(kRst))
            .event({.type = WEFT_EVENT_CLOSED,
                    .source = net.a,
                    .destination = net.service,
                    .backend = net.b,
                    .source_port = 40000,
                    .destination_port = 80,
                    .backend_port = 8080,
                    .service_id = 7,
                    .packets = 1,
                    .reply_packets = 1})}},
      {"a FIN after the other entry was evicted ends nothing yet",
       {standard(net)},
       after({change([=](Datapath& d) { erase_flow(d, syn.reversed()); }),
              send(Hook::from_pod, kPodA, fin).redirected(), flow(syn, {.flags_set = WEFT_FLOW_FIN})})},
  };
}

Cases direction(const Net& net) {
  const auto syn = tcp(net.a, 40000, net.b, 80, kSyn);
  const auto isolated_a = pod(net, 'a', {.policy_class = 5, .ingress_enforced = true, .prefix_mask = 1u << 16});
  return {
      {"a SYN along the reply direction is no reply",
       {standard(net), isolated_a},
       {send(Hook::from_pod, kPodA, syn).redirected().event(kCreated),
        send(Hook::from_pod, kPodB, syn.reversed())
            .dropped(WEFT_DROP_POLICY_DENIED, {.type = WEFT_EVENT_DENIED, .source = net.b, .ingress_rule = 70}),
        send(Hook::from_pod, kPodB, syn.reversed().with_flags(kSyn | kAck)).redirected(),
        send(Hook::from_pod, kPodA, syn.with_flags(kAck)).redirected()}},
      {"a connection met half-way is taken up if policy allows",
       {standard(net)},
       {send(Hook::from_pod, kPodA, syn.with_flags(kAck)).redirected().event(kCreated),
        send(Hook::from_pod, kPodB, syn.with_flags(kAck).reversed()).redirected()}},
  };
}

Cases evicted(const Net& net) {
  const auto ack = tcp(net.a, 40000, net.b, 80);
  const auto isolated_a = pod(net, 'a', {.policy_class = 5, .ingress_enforced = true, .prefix_mask = 1u << 16});
  const auto forget = [](const Packet& packet) { return change([=](Datapath& d) { erase_flow(d, packet); }); };
  const auto from_host = tcp(net.host, 50000, net.a, 80);
  const auto inbound = tcp(net.world, 50000, net.a, 80);
  const auto outbound = tcp(net.a, 40000, net.world, 80);
  const Row plain =
      configure([](weft_config& c) { c.flags &= ~(WEFT_CONFIG_MASQUERADE_V4 | WEFT_CONFIG_MASQUERADE_V6); });
  return {
      {"the reply entry between pods is restored",
       {standard(net), isolated_a},
       {send(Hook::from_pod, kPodA, ack).redirected().event(kCreated), forget(ack.reversed()),
        send(Hook::from_pod, kPodB, ack.reversed()).redirected(),
        flow(ack.reversed(), {.exit = WEFT_EXIT_PEER,
                              .out_ifindex = kPodA,
                              .in_ifindex = kPodB,
                              .packets = 1,
                              .flags_set = WEFT_FLOW_REPLY}),
        send(Hook::from_pod, kPodB, ack.reversed()).redirected(), flow(ack.reversed(), {.packets = 2})}},
      {"what is still said after the end starts nothing",
       {standard(net)},
       {send(Hook::from_pod, kPodA, ack).redirected().event(kCreated),
        send(Hook::from_pod, kPodA, ack.with_flags(kRst)).redirected().event({.type = WEFT_EVENT_CLOSED}),
        forget(ack.reversed()), send(Hook::from_pod, kPodB, ack.reversed()).redirected(),
        flow(ack.reversed(), {.flags_set = WEFT_FLOW_REPLY | WEFT_FLOW_CLOSED})}},
      {"the reply entry towards the node is restored",
       {standard(net)},
       {send(Hook::to_pod, kPodA, from_host).event(kCreated), forget(from_host.reversed()),
        send(Hook::from_pod, kPodA, from_host.reversed()),
        flow(from_host.reversed(),
             {.exit = WEFT_EXIT_STACK, .in_ifindex = kPodA, .packets = 1, .flags_set = WEFT_FLOW_FROM_HOST}),
        send(Hook::from_pod, kPodA, from_host.reversed()), flow(from_host.reversed(), {.packets = 2})}},
      {"the reply entry from the node is restored",
       {standard(net), isolated_a},
       {send(Hook::from_pod, kPodA, ack.to(net.host, 80)).event(kCreated), forget(ack.to(net.host, 80).reversed()),
        send(Hook::to_pod, kPodA, ack.to(net.host, 80).reversed()),
        flow(ack.to(net.host, 80).reversed(), {.packets = 1, .flags_set = WEFT_FLOW_REPLY}),
        send(Hook::to_pod, kPodA, ack.to(net.host, 80).reversed())}},
      {"the reply entry of an inbound flow is restored",
       {standard(net)},
       {send(Hook::to_pod, kPodA, inbound).event(kCreated), forget(inbound.reversed()),
        send(Hook::from_pod, kPodA, inbound.reversed()),
        flow(inbound.reversed(), {.exit = WEFT_EXIT_STACK, .in_ifindex = kPodA, .flags_set = WEFT_FLOW_REPLY})}},
      {"the reply entry from outside is restored at the pod, and the device uses it",
       {standard(net), isolated_a, plain},
       {send(Hook::from_pod, kPodA, outbound).redirected().becomes(outbound.with_hop_limit(63)).event(kCreated),
        forget(outbound.reversed()), send(Hook::from_device, kUplink, outbound.reversed()),
        send(Hook::to_pod, kPodA, outbound.reversed()),
        send(Hook::from_device, kUplink, outbound.reversed()).redirected(),
        flow(outbound.reversed(), {.exit = WEFT_EXIT_PEER, .out_ifindex = kPodA, .packets = 2})}},
  };
}

}  // namespace

Cases tcp_cases(const Net& net) {
  Cases all;
  for (const auto table : {closing, direction, evicted})
    for (auto& each : table(net)) all.push_back(std::move(each));
  return all;
}

}  // namespace weft::test
