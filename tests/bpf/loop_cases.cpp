// Packets whose answer would come back: from where they go to, or from an address that only a service answers from.
#include "fixture.h"

namespace weft::test {
namespace {

const EventWant kCreated{.type = WEFT_EVENT_NEW};

Cases from_pods(const Net& net) {
  const auto land = [&](const Packet& packet) {
    return send(Hook::from_pod, kPodA, packet).dropped(WEFT_DROP_LOOP, {.type = WEFT_EVENT_DENIED, .source = net.a});
  };
  const auto through = tcp(net.a, 40000, net.service, 40000, kSyn);
  return {
      {"loop: a pod's packet to where it comes from",
       {standard(net)},
       {land(tcp(net.a, 80, net.a, 80, kSyn)), land(udp(net.a, 53, net.a, 53)), land(sctp(net.a, 9, net.a, 9)),
        no_flow(tcp(net.a, 80, net.a, 80)), no_flow(udp(net.a, 53, net.a, 53))}},
      // Through a service it has the gateway's address there, and so has the answer.
      {"loop: a pod to itself by a service, from the port it serves at",
       {standard(net), backend(3, net.a, 40000, kTcp), service(net.service, 40000, kTcp, kService, {3})},
       {send(Hook::from_pod, kPodA, through)
            .redirected()
            .becomes(through.to(net.a, 40000).from(net.gateway, 40000))
            .event(kCreated),
        send(Hook::from_pod, kPodA,
             through.to(net.a, 40000).from(net.gateway, 40000).reversed().with_flags(kSyn | kAck))
            .redirected()
            .becomes(through.reversed().with_flags(kSyn | kAck))}},
      // A source that is not the pod's is another's.
      {"loop: a pod's packet from and to the service",
       {standard(net), backend(3, net.b, 8080, kTcp), service(net.service, 80, kTcp, kService, {3})},
       {send(Hook::from_pod, kPodA, tcp(net.service, 80, net.service, 80, kSyn)).dropped(WEFT_DROP_SPOOFED_SOURCE)}},
  };
}

Cases from_outside(const Net& net) {
  constexpr std::uint16_t kNodePort = 30080;
  const auto to_node = tcp(net.client, 50000, net.host, kNodePort, kSyn);
  const auto to_service = udp(net.client, 50000, net.service, 53);
  const auto second = net.service.plus(1);
  const auto of = [&](const IpAddress& at) {
    return Rows{standard(net),
                serving_outside(WEFT_CONFIG_HOST_BACKENDS),
                backend(3, at, 5353, kUdp),
                backend(4, net.b, 5354, kUdp, WEFT_BACKEND_ACTIVE, 8),
                frontend(net.service, 53, kUdp, {.backends = {3}}),
                frontend(second, 54, kUdp, {.backends = {4}, .id = 8, .first_slot = 30})};
  };
  const auto both = [&](const Packet& packet) {
    return Steps{
        send(Hook::xdp, kUplink, packet).dropped(WEFT_DROP_LOOP, {.type = WEFT_EVENT_DENIED, .hook = WEFT_HOOK_XDP}),
        send(Hook::from_device, kUplink, packet)
            .dropped(WEFT_DROP_LOOP, {.type = WEFT_EVENT_DENIED, .hook = WEFT_HOOK_FROM_DEVICE}),
        no_flow(packet)};
  };
  const auto forged = [&](const Packet& packet) {
    return send(Hook::from_device, kUplink, packet).dropped(WEFT_DROP_SPOOFED_SOURCE);
  };
  Cases all{
      {"loop: outside, what has the node's address",
       {standard(net), serving_outside(WEFT_CONFIG_HOST_BACKENDS), backend(3, net.host, 6443, kTcp),
        node_port(net, kNodePort, kTcp, {.backends = {3}})},
       {send(Hook::xdp, kUplink, to_node.from(net.host, kNodePort)), forged(to_node.from(net.host, kNodePort)),
        no_flow(to_node.from(net.host, kNodePort))}},
      {"loop: outside, what has a pod's address",
       {standard(net)},
       {forged(tcp(net.b, 80, net.b, 80, kSyn)), no_flow(tcp(net.b, 80, net.b, 80))}},
      // Without a service there it is the stack's, which has no such address either.
      {"loop: outside, to nobody's address from itself",
       {standard(net), serving_outside()},
       {send(Hook::from_device, kUplink, udp(net.nobody, 53, net.nobody, 53)),
        no_flow(udp(net.nobody, 53, net.nobody, 53))}},
      {"loop: outside, a client from a service's port is a client",
       of(net.b),
       {send(Hook::from_device, kUplink, to_service.from(net.client, 53))
            .redirected()
            .becomes(to_service.from(net.client, 53).to(net.b, 5353))
            .event(kCreated)}},
  };
  for (const auto& [where, at] :
       {std::pair{"a pod", net.b}, std::pair{"the node", net.host}, {"elsewhere", net.remote}})
    for (const auto& [what, packet] : {std::pair{"the service itself", to_service.from(net.service, 53)},
                                       std::pair{"another port of its address", to_service.from(net.service, 1024)},
                                       std::pair{"another service", to_service.from(second, 54)}})
      all.push_back({std::string("loop: outside, from ") + what + ", a backend at " + where, of(at), both(packet)});
  return all;
}

}  // namespace

Cases loop_cases(const Net& net) {
  Cases all;
  for (const auto table : {from_pods, from_outside})
    for (auto& each : table(net)) all.push_back(std::move(each));
  return all;
}

}  // namespace weft::test
