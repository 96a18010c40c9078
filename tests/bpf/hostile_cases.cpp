// What a hostile pod, or a hostile neighbour of the node, may try.
#include "fixture.h"

namespace weft::test {
namespace {

const EventWant kCreated{.type = WEFT_EVENT_NEW};

// Pod b takes what rule 21 says: UDP 53 from pod a.
Rows guarded(const Net& net) {
  return {standard(net), pod(net, 'b', {.policy_class = 5, .ingress_enforced = true, .prefix_mask = 1u << 16}),
          policy(5, WEFT_INGRESS, 1001, kUdp, 53, 16, 21)};
}

Cases icmp_error_smuggling(const Net& net) {
  const auto allowed = udp(net.a, 40000, net.b, 53);
  const auto outside = udp(net.a, 40000, net.world, 53);
  const auto inbound = udp(net.world, 40000, net.a, 53);
  const auto revoke = no_policy(5, WEFT_INGRESS, 1001, kUdp, 53, 16);
  const auto unrelated = [](Hook hook, std::uint32_t device, const Packet& packet) {
    return send(hook, device, packet).dropped(WEFT_DROP_ICMP_UNRELATED).silently();
  };
  auto closing = tcp(net.a, 40000, net.b, 53, kSyn);
  const auto reset = tcp(net.b, 53, net.a, 40000, kRst | kAck);
  auto open = guarded(net);
  open.push_back(policy(5, WEFT_INGRESS, 1001, kTcp, 53, 16, 22));
  return {
      {"an icmp error of a pod to another than the quoted packet's sender",
       guarded(net),
       {send(Hook::from_pod, kPodA, allowed).redirected().event(kCreated),
        // a quotes what b could have sent it
        unrelated(Hook::from_pod, kPodA, unreachable(net.a, net.world, allowed.reversed())),
        unrelated(Hook::from_pod, kPodA, unreachable(net.a, net.c, allowed.reversed())),
        unrelated(Hook::from_pod, kPodA, unreachable(net.a, net.host, allowed.reversed())),
        send(Hook::from_pod, kPodA, unreachable(net.a, net.b, allowed.reversed())).redirected()}},
      {"an icmp error that leaves an uplink but quotes another destination",
       {standard(net)},
       {send(Hook::from_pod, kPodA, outside)
            .redirected()
            .becomes(outside.from(net.nat, 40000).with_hop_limit(63))
            .event(kCreated),
        unrelated(Hook::from_pod, kPodA, unreachable(net.a, net.world2, outside.reversed()))}},
      {"an icmp error from outside to another pod than the flow's",
       {standard(net)},
       {send(Hook::to_pod, kPodA, inbound).event(kCreated), send(Hook::from_pod, kPodA, inbound.reversed()),
        unrelated(Hook::to_pod, kPodB, unreachable(net.world, net.b, inbound.reversed())),
        send(Hook::to_pod, kPodA, unreachable(net.world, net.a, inbound.reversed()))}},
      {"an icmp error about a revoked flow",
       guarded(net),
       {send(Hook::from_pod, kPodA, allowed).redirected().event(kCreated), change(revoke), change(bump()),
        send(Hook::from_pod, kPodA, unreachable(net.a, net.b, allowed.reversed()))
            .dropped(WEFT_DROP_POLICY_REVOKED,
                     {.type = WEFT_EVENT_DENIED, .source = net.a, .destination = net.b, .destination_port = 53}),
        send(Hook::from_pod, kPodB, unreachable(net.b, net.a, allowed)).dropped(WEFT_DROP_POLICY_REVOKED).silently()}},
      {"an icmp error is the first to ask after a change",
       guarded(net),
       {send(Hook::from_pod, kPodA, allowed).redirected().event(kCreated), change(bump()),
        send(Hook::from_pod, kPodB, unreachable(net.b, net.a, allowed)).redirected(),
        flow(allowed, {.epoch = 2, .packets = 1})}},
      {"an icmp error about a connection that has ended",
       open,
       {send(Hook::from_pod, kPodA, closing).redirected().event(kCreated),
        send(Hook::from_pod, kPodB, reset).redirected().event({.type = WEFT_EVENT_CLOSED}),
        unrelated(Hook::from_pod, kPodA, unreachable(net.a, net.b, reset))}},
      {"an icmp error whose quote is the frame's padding", {standard(net)}, {then([=](Datapath& d) {
         d.run(Hook::from_pod, allowed, {.ifindex = kPodA});
         d.events();
         auto bytes = unreachable(net.b, net.a, allowed).l3_bytes();
         const auto length = bytes.size() - (net.v4 ? 0 : 40) - 4;
         bytes[net.v4 ? 2 : 4] = static_cast<std::uint8_t>(length >> 8);
         bytes[net.v4 ? 3 : 5] = static_cast<std::uint8_t>(length);
         return Steps{unrelated(Hook::from_pod, kPodB, raw_frame(net.v4 ? 0x0800 : 0x86dd, bytes))};
       })}},
  };
}

}  // namespace

Cases hostile_cases(const Net& net) {
  Cases all;
  for (const CaseTable table : {icmp_error_smuggling})
    for (auto& each : table(net)) all.push_back(std::move(each));
  return all;
}

}  // namespace weft::test
