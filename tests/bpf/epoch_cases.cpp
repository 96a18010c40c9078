// After a change of epoch a flow is decided again, whichever direction speaks first.
#include "fixture.h"

namespace weft::test {
namespace {

constexpr std::uint32_t kClass = 5;

Row isolate_b(const Net& net, std::uint32_t policy_class = kClass) {
  return pod(net, 'b', {.policy_class = policy_class, .ingress_enforced = true, .prefix_mask = 1u << 16 | 1});
}

Cases allowed(const Net& net) {
  const auto data = tcp(net.a, 40000, net.b, 80);
  const auto reply = data.reversed();
  const auto out = udp(net.a, 40000, net.world, 53);
  const FlowWant renewed{.exit = WEFT_EXIT_PEER, .epoch = 2, .ingress_rule = 20};
  return {
      {"allowed again, asked by the original direction",
       {standard(net)},
       {send(Hook::from_pod, kPodA, data).redirected().event({.type = WEFT_EVENT_NEW}), change(isolate_b(net)),
        change(policy(kClass, WEFT_INGRESS, 1001, kTcp, 80, 16, 20)), change(bump()),
        send(Hook::from_pod, kPodA, data).redirected().counts(WEFT_STAT_REDECIDED), flow(data, renewed),
        flow(reply, renewed), send(Hook::from_pod, kPodB, reply).redirected(), flow(data, {.packets = 2})}},
      {"allowed again, asked by the reply direction",
       {standard(net)},
       {send(Hook::from_pod, kPodA, data).redirected().event({.type = WEFT_EVENT_NEW}), change(isolate_b(net)),
        change(policy(kClass, WEFT_INGRESS, 1001, kTcp, 80, 16, 20)), change(bump()),
        send(Hook::from_pod, kPodB, reply).redirected().counts(WEFT_STAT_REDECIDED), flow(data, renewed),
        flow(reply, renewed), flow(reply, {.packets = 1})}},
      {"a pod's new device is taken over",
       {standard(net)},
       {send(Hook::from_pod, kPodA, data).redirected().event({.type = WEFT_EVENT_NEW}),
        change(pod(net, 'b', {.ifindex = kPodC})), change(bump()), send(Hook::from_pod, kPodA, data).redirected(),
        flow(data, {.out_ifindex = kPodC, .in_ifindex = kPodA}),
        flow(reply, {.out_ifindex = kPodA, .in_ifindex = kPodC}), send(Hook::from_pod, kPodC, reply).redirected()}},
      {"the node's flow into a pod",
       {standard(net)},
       {send(Hook::to_pod, kPodA, tcp(net.host, 5, net.a, 80, kSyn)).event({.type = WEFT_EVENT_NEW}), change(bump()),
        send(Hook::from_pod, kPodA, tcp(net.a, 80, net.host, 5, kSyn | kAck)).counts(WEFT_STAT_REDECIDED),
        send(Hook::from_pod, kPodA, tcp(net.a, 80, net.host, 5)),
        send(Hook::to_pod, kPodA, tcp(net.host, 5, net.a, 80))}},
      {"the translated reply from outside",
       {standard(net)},
       {send(Hook::from_pod, kPodA, out)
            .redirected()
            .becomes(out.from(net.nat, 40000).with_hop_limit(63))
            .event({.type = WEFT_EVENT_NEW}),
        change(bump()),
        send(Hook::from_device, kUplink, out.from(net.nat, 40000).reversed())
            .redirected()
            .becomes(out.reversed())
            .counts(WEFT_STAT_REDECIDED),
        send(Hook::from_pod, kPodA, out).redirected().becomes(out.from(net.nat, 40000).with_hop_limit(63)),
        flow(out, {.exit = WEFT_EXIT_NEIGH, .out_ifindex = kUplink, .epoch = 2, .packets = 2})}},
  };
}

Cases revoked(const Net& net) {
  const auto data = tcp(net.a, 40000, net.b, 80);
  const auto reply = data.reversed();
  const auto datagram = udp(net.a, 40000, net.b, 53);
  const EventWant told{.type = WEFT_EVENT_DENIED,
                       .source = net.a,
                       .destination = net.b,
                       .source_identity = 1001,
                       .destination_identity = 1002,
                       .ingress_rule = 70,
                       .direction = WEFT_INGRESS};
  return {
      {"revoked, seen by the original direction",
       {standard(net)},
       {send(Hook::from_pod, kPodA, data).redirected().event({.type = WEFT_EVENT_NEW}), change(isolate_b(net)),
        change(bump()), send(Hook::from_pod, kPodA, data).dropped(WEFT_DROP_POLICY_REVOKED, told),
        // the server may open connections, but what it still has to say belongs to the revoked flow
        send(Hook::from_pod, kPodB, reply).dropped(WEFT_DROP_POLICY_REVOKED).silently(),
        send(Hook::from_pod, kPodA, data).dropped(WEFT_DROP_POLICY_REVOKED).silently(),
        // a new attempt is denied as one
        send(Hook::from_pod, kPodA, data.with_flags(kSyn)).dropped(WEFT_DROP_POLICY_DENIED).silently()}},
      {"revoked, seen by the reply direction",
       {standard(net)},
       {send(Hook::from_pod, kPodA, data).redirected().event({.type = WEFT_EVENT_NEW}), change(isolate_b(net)),
        change(bump()), send(Hook::from_pod, kPodB, reply).dropped(WEFT_DROP_POLICY_REVOKED, told),
        send(Hook::from_pod, kPodB, reply).dropped(WEFT_DROP_POLICY_REVOKED).silently(),
        send(Hook::from_pod, kPodA, data).dropped(WEFT_DROP_POLICY_REVOKED).silently()}},
      {"revoked before it was answered, or with the reply's entry evicted",
       {standard(net)},
       {send(Hook::from_pod, kPodA, data.with_flags(kSyn)).redirected().event({.type = WEFT_EVENT_NEW}),
        change(isolate_b(net)), change(bump()),
        send(Hook::from_pod, kPodB, reply.with_flags(kSyn | kAck)).dropped(WEFT_DROP_POLICY_REVOKED, told),
        change([=](Datapath& d) { erase_flow(d, reply); }),
        send(Hook::from_pod, kPodB, reply).dropped(WEFT_DROP_POLICY_REVOKED).silently(),
        send(Hook::from_pod, kPodA, data).dropped(WEFT_DROP_POLICY_REVOKED).silently()}},
      {"revoked for datagrams",
       {standard(net)},
       {send(Hook::from_pod, kPodA, datagram).redirected().event({.type = WEFT_EVENT_NEW}), change(isolate_b(net)),
        change(bump()), send(Hook::from_pod, kPodA, datagram).dropped(WEFT_DROP_POLICY_REVOKED, told),
        send(Hook::from_pod, kPodB, datagram.reversed()).dropped(WEFT_DROP_POLICY_REVOKED).silently()}},
      {"given back, a revoked flow goes on",
       {standard(net)},
       {send(Hook::from_pod, kPodA, data).redirected().event({.type = WEFT_EVENT_NEW}), change(isolate_b(net)),
        change(bump()), send(Hook::from_pod, kPodA, data).dropped(WEFT_DROP_POLICY_REVOKED, told),
        change(policy(kClass, WEFT_INGRESS, 1001, kTcp, 80, 16, 21)), change(bump()),
        send(Hook::from_pod, kPodB, reply).redirected(), send(Hook::from_pod, kPodA, data).redirected(),
        flow(data, {.epoch = 3, .ingress_rule = 21, .packets = 2})}},
      {"revoked by egress policy",
       {standard(net)},
       {send(Hook::from_pod, kPodA, data).redirected().event({.type = WEFT_EVENT_NEW}),
        change(pod(net, 'a', {.policy_class = kClass, .egress_enforced = true, .prefix_mask = 1u << 16})),
        change(bump()),
        send(Hook::from_pod, kPodB, reply)
            .dropped(WEFT_DROP_POLICY_REVOKED,
                     {.type = WEFT_EVENT_DENIED, .source = net.a, .egress_rule = 71, .direction = WEFT_EGRESS})}},
      {"revoked by an identity that changed",
       {standard(net), isolate_b(net), policy(kClass, WEFT_INGRESS, 1001, kTcp, 80, 16, 22)},
       {send(Hook::from_pod, kPodA, data).redirected().event({.type = WEFT_EVENT_NEW, .ingress_rule = 22}),
        change(pod(net, 'a', {.identity = 2001})), change(bump()),
        send(Hook::from_pod, kPodA, data)
            .dropped(WEFT_DROP_POLICY_REVOKED, {.type = WEFT_EVENT_DENIED, .source_identity = 2001})}},
      {"revoked for the outside, through the translation",
       {standard(net)},
       {send(Hook::from_pod, kPodA, data.to(net.world, 80))
            .redirected()
            .becomes(data.to(net.world, 80).from(net.nat, 40000).with_hop_limit(63))
            .event({.type = WEFT_EVENT_NEW}),
        change(pod(net, 'a', {.policy_class = kClass, .egress_enforced = true, .prefix_mask = 1u << 16})),
        change(bump()),
        send(Hook::from_device, kUplink, data.to(net.world, 80).from(net.nat, 40000).reversed())
            .dropped(WEFT_DROP_POLICY_REVOKED,
                     {.type = WEFT_EVENT_DENIED, .source = net.a, .destination = net.world, .source_port = 40000})}},
  };
}

Cases gone(const Net& net) {
  const auto data = tcp(net.a, 40000, net.b, 80);
  return {
      {"the destination is gone",
       {standard(net)},
       {send(Hook::from_pod, kPodA, data).redirected().event({.type = WEFT_EVENT_NEW}), change(no_pod(net, 'b')),
        change(bump()), send(Hook::from_pod, kPodA, data).dropped(WEFT_DROP_UNKNOWN_ENDPOINT), no_flow(data),
        no_flow(data.reversed())}},
      {"the source is gone",
       {standard(net)},
       {send(Hook::from_pod, kPodA, data).redirected().event({.type = WEFT_EVENT_NEW}), change(no_pod(net, 'a')),
        change(bump()), send(Hook::from_pod, kPodB, data.reversed()).dropped(WEFT_DROP_UNKNOWN_ENDPOINT), no_flow(data),
        no_flow(data.reversed())}},
      {"the address went to another device within the same epoch",
       {standard(net)},
       {send(Hook::from_pod, kPodA, data).redirected().event({.type = WEFT_EVENT_NEW}),
        change(pod(net, 'a', {.ifindex = kPodC})),
        send(Hook::from_pod, kPodC, data).redirected().event({.type = WEFT_EVENT_NEW}),
        flow(data, {.in_ifindex = kPodC}), flow(data.reversed(), {.out_ifindex = kPodC})}},
  };
}

}  // namespace

Cases epoch_cases(const Net& net) {
  Cases all;
  for (const auto table : {allowed, revoked, gone})
    for (auto& each : table(net)) all.push_back(std::move(each));
  return all;
}

}  // namespace weft::test
