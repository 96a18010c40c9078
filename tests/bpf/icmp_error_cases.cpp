// ICMP errors: they reach the sender of the packet they quote, told in the sender's own terms.
#include "fixture.h"

namespace weft::test {
namespace {

const EventWant kCreated{.type = WEFT_EVENT_NEW};

Packet hop(const Packet& packet) { return packet.with_hop_limit(static_cast<std::uint8_t>(packet.hop_limit - 1)); }

// `translated` as the error quotes it after translation: the quoted transport checksum is left alone.
Packet quoted_as(const Packet& translated, const Packet& sent) {
  return translated.protocol == kUdp || translated.protocol == 1 || translated.protocol == 58
             ? translated.with_checksum(sent.transport_checksum())
             : translated;
}

Row web_service(const Net& net, std::uint8_t protocol) {
  return [rows = Rows{backend(3, net.b, 8080, protocol), service(net.service, 80, protocol, 7, {3})}](Datapath& d) {
    for (const auto& row : rows) row(d);
  };
}

Cases related(const Net& net) {
  const auto plain = udp(net.a, 40000, net.b, 53);
  const auto to_service = udp(net.a, 40000, net.service, 80);
  const auto to_backend = to_service.to(net.b, 8080);
  const auto segment = tcp(net.a, 40000, net.service, 80);
  const auto outside = udp(net.a, 40000, net.world, 33434);
  const auto masked = outside.from(net.nat, 40000);
  const auto ping = echo_request(net.a, net.world, 40001);
  const auto masked_ping = ping.from(net.nat, 0);
  return {
      {"about an untranslated flow",
       {standard(net)},
       {send(Hook::from_pod, kPodA, plain).redirected().event(kCreated),
        send(Hook::from_pod, kPodB, unreachable(net.b, net.a, plain)).redirected()}},
      {"from a service's backend",
       {standard(net), web_service(net, kUdp)},
       {send(Hook::from_pod, kPodA, to_service).redirected().becomes(to_backend).event(kCreated),
        send(Hook::from_pod, kPodB, unreachable(net.b, net.a, to_backend))
            .redirected()
            .becomes(unreachable(net.service, net.a, quoted_as(to_service, to_backend)))}},
      {"from a service's backend, quoting tcp",
       {standard(net), web_service(net, kTcp)},
       {send(Hook::from_pod, kPodA, segment).redirected().becomes(segment.to(net.b, 8080)).event(kCreated),
        send(Hook::from_pod, kPodB, unreachable(net.b, net.a, segment.to(net.b, 8080)))
            .redirected()
            .becomes(unreachable(net.service, net.a, segment))}},
      {"from the destination of a masqueraded flow",
       {standard(net)},
       {send(Hook::from_pod, kPodA, outside).redirected().becomes(hop(masked)).event(kCreated),
        send(Hook::from_device, kUplink, unreachable(net.world, net.nat, masked))
            .redirected()
            .becomes(unreachable(net.world, net.a, quoted_as(outside, masked)))}},
      {"from a router on the way of a masqueraded flow",
       {standard(net)},
       {send(Hook::from_pod, kPodA, outside).redirected().becomes(hop(masked)).event(kCreated),
        send(Hook::from_device, kUplink, unreachable(net.world2, net.nat, masked.with_hop_limit(1)))
            .redirected()
            .becomes(unreachable(net.world2, net.a, quoted_as(outside.with_hop_limit(1), masked)))}},
      {"about a masqueraded echo",
       {standard(net)},
       {send(Hook::from_pod, kPodA, ping).redirected().becomes(hop(masked_ping)).event(kCreated),
        send(Hook::from_device, kUplink, unreachable(net.world2, net.nat, masked_ping))
            .redirected()
            .becomes(unreachable(net.world2, net.a, quoted_as(ping, masked_ping)))}},
      {"about a masqueraded flow to a service with its backend outside",
       {standard(net), backend(3, net.world, 8080, kUdp), service(net.service, 80, kUdp, 7, {3})},
       {send(Hook::from_pod, kPodA, to_service).redirected().becomes(hop(masked.to(net.world, 8080))).event(kCreated),
        send(Hook::from_device, kUplink, unreachable(net.world, net.nat, masked.to(net.world, 8080)))
            .redirected()
            .becomes(unreachable(net.service, net.a, quoted_as(to_service, masked.to(net.world, 8080))))}},
      {"about a reply, from the client",
       {standard(net), web_service(net, kUdp)},
       {send(Hook::from_pod, kPodA, to_service).redirected().becomes(to_backend).event(kCreated),
        send(Hook::from_pod, kPodB, to_backend.reversed()).redirected().becomes(to_service.reversed()),
        send(Hook::from_pod, kPodA, unreachable(net.a, net.service, to_service.reversed()))
            .redirected()
            .becomes(unreachable(net.a, net.b, quoted_as(to_backend.reversed(), to_service.reversed())))}},
      {"about a moved port", {standard(net)}, {then([=](Datapath& d) {
         const auto low = udp(net.a, 68, net.world, 53);
         d.run(Hook::from_pod, low, {.ifindex = kPodA});
         d.events();
         const auto entry = find_flow(d, low).value();
         const auto port = static_cast<std::uint16_t>(entry.src_port >> 8 | entry.src_port << 8);
         const auto out = low.from(net.nat, port);
         return std::vector<Step>{send(Hook::from_device, kUplink, unreachable(net.world, net.nat, out))
                                      .redirected()
                                      .becomes(unreachable(net.world, net.a, quoted_as(low, out)))};
       })}},
      {"by the node about its own limits",
       {standard(net)},
       {send(Hook::from_pod, kPodA, outside).redirected().becomes(hop(masked)).event(kCreated),
        send(Hook::to_pod, kPodA, unreachable(net.host, net.a, outside))}},
  };
}

Cases unrelated(const Net& net) {
  const auto plain = udp(net.a, 40000, net.b, 53);
  return {
      {"a pod's error about no flow",
       {standard(net)},
       {send(Hook::from_pod, kPodB, unreachable(net.b, net.a, plain)).dropped(WEFT_DROP_ICMP_UNRELATED).silently()}},
      {"a pod's error about others' flow",
       {standard(net), pod(net, 'c')},
       {send(Hook::from_pod, kPodA, plain).redirected().event(kCreated),
        send(Hook::from_pod, kPodC, unreachable(net.c, net.a, plain)).dropped(WEFT_DROP_ICMP_UNRELATED).silently()}},
      {"from outside about no flow of ours",
       {standard(net)},
       {send(Hook::from_device, kUplink, unreachable(net.world, net.nat, udp(net.nat, 1, net.world, 2))),
        send(Hook::to_pod, kPodA, unreachable(net.world, net.a, udp(net.a, 1, net.world, 2)))
            .dropped(WEFT_DROP_ICMP_UNRELATED)
            .silently()}},
      {"quoting too little", {standard(net)}, {then([=](Datapath&) {
         auto error = unreachable(net.b, net.a, plain);
         error.quoted_bytes = 2;
         return std::vector<Step>{send(Hook::from_pod, kPodB, error).dropped(WEFT_DROP_ICMP_UNRELATED).silently()};
       })}},
  };
}

}  // namespace

Cases icmp_error_cases(const Net& net) {
  auto all = related(net);
  for (auto& each : unrelated(net)) all.push_back(std::move(each));
  return all;
}

}  // namespace weft::test
