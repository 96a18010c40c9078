// Source translation towards the outside: ports kept, moved, shared out, given back.
#include <arpa/inet.h>

#include "fixture.h"

namespace weft::test {
namespace {

const EventWant kCreated{.type = WEFT_EVENT_NEW};

Row one_port(std::uint16_t port) {
  return configure([port](weft_config& config) { config.nat_port_min = config.nat_port_max = port; });
}

Packet masked(const Net& net, const Packet& packet, std::uint16_t port) { return packet.from(net.nat, port); }
Packet hop(const Packet& packet) { return packet.with_hop_limit(static_cast<std::uint8_t>(packet.hop_limit - 1)); }

std::uint16_t port_given(Datapath& datapath, const Packet& packet) {
  return ntohs(find_flow(datapath, packet).value().src_port);
}

// Sends `packet` from `device`, then expects its flow to work under a port other than `taken`.
Step moved_from(const Net& net, std::uint32_t device, const Packet& packet, std::uint16_t taken) {
  return then([=](Datapath& d) {
    d.run(Hook::from_pod, packet, {.ifindex = device});
    d.events();
    const auto port = port_given(d, packet);
    if (port == taken || port < 32768 || port > 60999) throw std::runtime_error("source port not from the range");
    return std::vector<Step>{
        send(Hook::from_pod, device, packet).redirected().becomes(hop(masked(net, packet, port))),
        send(Hook::from_device, kUplink, masked(net, packet, port).reversed()).redirected().becomes(packet.reversed())};
  });
}

Cases out_and_back(const Net& net) {
  const auto syn = tcp(net.a, 40000, net.world, 443, kSyn);
  const auto ack = syn.with_flags(kAck);
  const auto datagram = udp(net.a, 40000, net.world, 53);
  const auto ping = echo_request(net.a, net.world, 40001);
  const auto out = [&](const Packet& packet) { return masked(net, packet, 40000); };
  return {
      {"tcp out and back",
       {standard(net)},
       {send(Hook::from_pod, kPodA, syn)
            .redirected()
            .becomes(hop(out(syn)))
            .event({.type = WEFT_EVENT_NEW, .source = net.a, .destination = net.world, .source_port = 40000}),
        flow(syn, {.exit = WEFT_EXIT_NEIGH, .out_ifindex = kUplink, .mtu = 1500, .flags_set = WEFT_FLOW_SNAT}),
        flow(out(syn).reversed(),
             {.exit = WEFT_EXIT_PEER, .out_ifindex = kPodA, .flags_set = WEFT_FLOW_REPLY | WEFT_FLOW_DNAT}),
        // on its way out of the device it is as it should be
        send(Hook::to_device, kUplink, hop(out(syn))).entering(kPodA),
        send(Hook::from_device, kUplink, out(ack).reversed()).redirected().becomes(ack.reversed()),
        send(Hook::from_pod, kPodA, ack).redirected().becomes(hop(out(ack))), flow(syn, {.packets = 2}),
        flow(out(ack).reversed(), {.packets = 1})}},
      {"udp out and back, with and without checksum",
       {standard(net)},
       {send(Hook::from_pod, kPodA, datagram).redirected().becomes(hop(out(datagram))).event(kCreated),
        send(Hook::from_pod, kPodA, datagram.with_checksum(0))
            .redirected()
            .becomes(hop(out(datagram).with_checksum(0))),
        send(Hook::from_device, kUplink, out(datagram).reversed()).redirected().becomes(datagram.reversed())}},
      {"echo out and back",
       {standard(net)},
       {send(Hook::from_pod, kPodA, ping).redirected().becomes(hop(ping.from(net.nat, 0))).event(kCreated),
        send(Hook::from_device, kUplink, echo_reply(net.world, net.nat, 40001))
            .redirected()
            .becomes(echo_reply(net.world, net.a, 40001)),
        send(Hook::from_pod, kPodA, ping).redirected().becomes(hop(ping.from(net.nat, 0)))}},
      {"echo under an identifier of the range", {standard(net)}, {then([=](Datapath& d) {
         const auto low = echo_request(net.a, net.world, 7);
         d.run(Hook::from_pod, low, {.ifindex = kPodA});
         d.events();
         const auto id = port_given(d, low);
         return std::vector<Step>{
             send(Hook::from_pod, kPodA, low).redirected().becomes(hop(low.from(net.nat, 0).with_echo_id(id))),
             send(Hook::from_device, kUplink, echo_reply(net.world, net.nat, id))
                 .redirected()
                 .becomes(echo_reply(net.world, net.a, 7))};
       })}},
      {"an echo reply starts nothing outside",
       {standard(net)},
       {send(Hook::from_pod, kPodA, echo_reply(net.a, net.world, 9)).dropped(WEFT_DROP_NAT_EXHAUSTED)}},
      {"sctp keeps its port, or is refused",
       {standard(net)},
       {send(Hook::from_pod, kPodA, sctp(net.a, 7, net.world, 80))
            .redirected()
            .becomes(hop(sctp(net.nat, 7, net.world, 80)))
            .event(kCreated),
        send(Hook::from_pod, kPodB, sctp(net.b, 7, net.world, 80)).dropped(WEFT_DROP_NAT_EXHAUSTED),
        send(Hook::from_device, kUplink, sctp(net.world, 80, net.nat, 7))
            .redirected()
            .becomes(sctp(net.world, 80, net.a, 7))}},
      {"an uplink without address",
       {standard(net), uplink(net, 1500, false)},
       {send(Hook::from_pod, kPodA, syn).dropped(WEFT_DROP_NAT_NO_ADDRESS), no_flow(syn)}},
  };
}

Cases ports(const Net& net) {
  const auto mine = udp(net.a, 40000, net.world, 53);
  const auto theirs = udp(net.b, 40000, net.world, 53);
  const auto mine_tcp = tcp(net.a, 40000, net.world, 443);
  const auto theirs_tcp = tcp(net.b, 40000, net.world, 443, kSyn);
  const auto old = [](const Packet& packet, std::uint64_t last_seen) {
    return change([=](Datapath& d) { change_flow(d, packet, [=](weft_flow& entry) { entry.last_seen = last_seen; }); });
  };
  return {
      {"a port below the range is moved into it",
       {standard(net)},
       {moved_from(net, kPodA, udp(net.a, 68, net.world, 53), 68)}},
      {"two pods with one port",
       {standard(net)},
       {send(Hook::from_pod, kPodA, mine).redirected().becomes(hop(masked(net, mine, 40000))).event(kCreated),
        moved_from(net, kPodB, theirs, 40000),
        send(Hook::from_device, kUplink, masked(net, mine, 40000).reversed()).redirected().becomes(mine.reversed())}},
      {"one port serves several destinations",
       {standard(net), one_port(40000)},
       {send(Hook::from_pod, kPodA, mine).redirected().becomes(hop(masked(net, mine, 40000))).event(kCreated),
        send(Hook::from_pod, kPodB, theirs.to(net.world2, 53))
            .redirected()
            .becomes(hop(masked(net, theirs.to(net.world2, 53), 40000)))
            .event(kCreated)}},
      {"no port left",
       {standard(net), one_port(40000)},
       {send(Hook::from_pod, kPodA, mine).redirected().becomes(hop(masked(net, mine, 40000))).event(kCreated),
        send(Hook::from_pod, kPodB, theirs)
            .dropped(WEFT_DROP_NAT_EXHAUSTED, {.type = WEFT_EVENT_DENIED, .source = net.b, .direction = WEFT_EGRESS}),
        no_flow(theirs)}},
      {"a closed connection gives its port back",
       {standard(net), one_port(40000)},
       {send(Hook::from_pod, kPodA, mine_tcp).redirected().becomes(hop(masked(net, mine_tcp, 40000))).event(kCreated),
        send(Hook::from_pod, kPodB, theirs_tcp).dropped(WEFT_DROP_NAT_EXHAUSTED),
        send(Hook::from_pod, kPodA, mine_tcp.with_flags(kRst))
            .redirected()
            .becomes(hop(masked(net, mine_tcp, 40000).with_flags(kRst)))
            .event({.type = WEFT_EVENT_CLOSED}),
        send(Hook::from_pod, kPodB, theirs_tcp)
            .redirected()
            .becomes(hop(masked(net, theirs_tcp, 40000)))
            .event(kCreated),
        // what the first still says does not come out as the second's
        send(Hook::from_device, kUplink, masked(net, theirs_tcp, 40000).reversed().with_flags(kSyn | kAck))
            .redirected()
            .becomes(theirs_tcp.reversed().with_flags(kSyn | kAck))}},
      {"the same client starts anew under its port",
       {standard(net), one_port(40000)},
       {send(Hook::from_pod, kPodA, mine_tcp).redirected().becomes(hop(masked(net, mine_tcp, 40000))).event(kCreated),
        send(Hook::from_pod, kPodA, mine_tcp.with_flags(kRst))
            .redirected()
            .becomes(hop(masked(net, mine_tcp, 40000).with_flags(kRst)))
            .event({.type = WEFT_EVENT_CLOSED}),
        send(Hook::from_pod, kPodA, mine_tcp.with_flags(kSyn))
            .redirected()
            .becomes(hop(masked(net, mine_tcp, 40000).with_flags(kSyn)))
            .event(kCreated)}},
      {"a flow whose entry was evicted finds its port again",
       {standard(net), one_port(40000)},
       {send(Hook::from_pod, kPodA, mine).redirected().becomes(hop(masked(net, mine, 40000))).event(kCreated),
        change([=](Datapath& d) { erase_flow(d, mine); }),
        send(Hook::from_pod, kPodA, mine).redirected().becomes(hop(masked(net, mine, 40000))).event(kCreated)}},
      {"datagrams long silent give their port back",
       {standard(net), one_port(40000)},
       {send(Hook::from_pod, kPodA, mine).redirected().becomes(hop(masked(net, mine, 40000))).event(kCreated),
        old(mine, 1), old(masked(net, mine, 40000).reversed(), 1),
        send(Hook::from_pod, kPodB, theirs).redirected().becomes(hop(masked(net, theirs, 40000))).event(kCreated),
        // the first one's entry must not speak under the second one's port
        then([=](Datapath& d) {
          const auto result = d.run(Hook::from_pod, mine, {.ifindex = kPodA});
          d.events();
          if (result.verdict != kActShot) throw std::runtime_error("two pods share one port");
          return std::vector<Step>{};
        })}},
  };
}

Cases through_the_stack(const Net& net) {
  const auto big = udp(net.a, 40000, net.world, 53).with_payload(2000);
  const auto small = big.with_payload(100);
  const auto first = big.with_payload(1400).first_fragment(77);
  const auto rest = big.with_payload(608).later_fragment(77, 1408);
  const auto out = [&](const Packet& packet) { return masked(net, packet, 40000); };
  return {
      {"too large: the stack fragments, the device translates",
       {standard(net)},
       {send(Hook::from_pod, kPodA, big).counts(WEFT_STAT_TO_STACK_MTU).event(kCreated),
        send(Hook::to_device, kUplink, hop(first)).entering(kPodA).becomes(hop(out(first))),
        send(Hook::to_device, kUplink, hop(rest)).entering(kPodA).becomes(hop(out(rest))),
        send(Hook::from_pod, kPodA, small).redirected().becomes(hop(out(small)))}},
      {"what the stack forwards whole",
       {standard(net)},
       {send(Hook::from_pod, kPodA, small).redirected().becomes(hop(out(small))).event(kCreated),
        send(Hook::from_pod, kPodA, big).counts(WEFT_STAT_TO_STACK_MTU),
        send(Hook::to_device, kUplink, hop(big)).entering(kPodA).becomes(hop(out(big))),
        // counted where it leaves
        flow(small, {.packets = 2})}},
      {"last hop",
       {standard(net)},
       {send(Hook::from_pod, kPodA, small.with_hop_limit(1)).counts(WEFT_STAT_TO_STACK_MTU).event(kCreated)}},
      {"fragments back in",
       {standard(net)},
       {send(Hook::from_pod, kPodA, small).redirected().becomes(hop(out(small))).event(kCreated),
        send(Hook::from_device, kUplink, out(first).reversed()).redirected().becomes(first.reversed()),
        send(Hook::from_device, kUplink, out(rest).reversed()).redirected().becomes(rest.reversed())}},
  };
}

}  // namespace

Cases nat_cases(const Net& net) {
  Cases all;
  for (const auto table : {out_and_back, ports, through_the_stack})
    for (auto& each : table(net)) all.push_back(std::move(each));
  return all;
}

}  // namespace weft::test
