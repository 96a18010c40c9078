// Fragments: the first carries the ports, the others follow it.
#include "fixture.h"

namespace weft::test {

Cases fragment_cases(const Net& net) {
  const auto whole = udp(net.a, 40000, net.b, 53).with_payload(1400);
  const auto first = whole.first_fragment(99);
  const auto rest = whole.with_payload(200).later_fragment(99, 1408);
  const auto to_service = whole.to(net.service, 80);
  const auto outside = whole.to(net.world, 53);
  const EventWant created{.type = WEFT_EVENT_NEW, .source_port = 40000};
  const auto hop = [](const Packet& packet) { return packet.with_hop_limit(63); };
  return {
      {"the first, then the rest",
       {standard(net)},
       {send(Hook::from_pod, kPodA, first).redirected().event(created), send(Hook::from_pod, kPodA, rest).redirected(),
        flow(whole, {.packets = 2}), send(Hook::from_pod, kPodB, first.reversed()).redirected(),
        send(Hook::from_pod, kPodB, rest.reversed()).redirected()}},
      {"the rest before the first",
       {standard(net)},
       {send(Hook::from_pod, kPodA, rest).dropped(WEFT_DROP_FRAGMENT_UNKNOWN),
        send(Hook::from_pod, kPodA, first).redirected().event(created),
        send(Hook::from_pod, kPodA, rest).redirected()}},
      {"another datagram's rest",
       {standard(net)},
       {send(Hook::from_pod, kPodA, first).redirected().event(created),
        send(Hook::from_pod, kPodA, whole.with_payload(200).later_fragment(98, 1408))
            .dropped(WEFT_DROP_FRAGMENT_UNKNOWN)}},
      {"to a service",
       {standard(net), backend(3, net.b, 53, kUdp), service(net.service, 80, kUdp, 7, {3})},
       {send(Hook::from_pod, kPodA, first.to(net.service, 80)).redirected().becomes(first).event(created),
        send(Hook::from_pod, kPodA, rest.to(net.service, 80)).redirected().becomes(rest),
        send(Hook::from_pod, kPodB, first.reversed()).redirected().becomes(first.to(net.service, 80).reversed()),
        send(Hook::from_pod, kPodB, rest.reversed()).redirected().becomes(rest.to(net.service, 80).reversed()),
        flow(to_service, {.packets = 2})}},
      {"to the outside",
       {standard(net)},
       {send(Hook::from_pod, kPodA, first.to(net.world, 53))
            .redirected()
            .becomes(hop(first.to(net.world, 53).from(net.nat, 40000)))
            .event(created),
        send(Hook::from_pod, kPodA, rest.to(net.world, 53))
            .redirected()
            .becomes(hop(rest.to(net.world, 53).from(net.nat, 40000))),
        flow(outside, {.packets = 2})}},
      {"the rest of a denied first is denied",
       {standard(net), pod(net, 'b', {.policy_class = 5, .ingress_enforced = true, .prefix_mask = 1u << 16})},
       {send(Hook::from_pod, kPodA, first).dropped(WEFT_DROP_POLICY_DENIED),
        send(Hook::from_pod, kPodA, rest).dropped(WEFT_DROP_POLICY_DENIED).silently()}},
      {"a device without the first leaves the rest to the stack",
       {standard(net)},
       {send(Hook::from_device, kUplink, rest.from(net.world, 1).to(net.nat, 2)),
        send(Hook::to_device, kUplink, rest.from(net.nat, 1).to(net.world, 2))}},
      {"from the node into a pod",
       {standard(net)},
       {send(Hook::to_pod, kPodA, first.from(net.host, 40000).to(net.a, 53)).event(created),
        send(Hook::to_pod, kPodA, rest.from(net.host, 40000).to(net.a, 53))}},
  };
}

}  // namespace weft::test
