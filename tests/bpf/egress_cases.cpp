// Egress gateways: a pod's flow by another node, another node's by this one, and by this one from here.
#include <arpa/inet.h>
#include <fmt/format.h>

#include "tunneled.h"

namespace weft::test {
namespace {

constexpr std::uint16_t kOtherGateway = 4;

Row next_hop(std::uint32_t node) {
  return [node](Datapath& d) {
    const weft_next_hop row{to_abi(net_v4().remote), to_abi(net_v6().remote)};
    d.put("weft_nexthop_v1", node, row);
  };
}

// One way between the pod's node and the gateway.
struct Gateway : Tunneled {
  [[nodiscard]] bool wraps() const { return way != WEFT_WAY_DIRECT; }
  [[nodiscard]] Row base() const {
    return all(
        {Tunneled::base(), way_to(kOtherGateway, way, underlay, kMtu), next_hop(kFarNode), next_hop(kOtherGateway)});
  }
  [[nodiscard]] Row by(std::vector<std::uint16_t> nodes, std::uint8_t spread = 1) const {
    return egress(net, {.nodes = std::move(nodes), .spread = spread});
  }
  [[nodiscard]] std::uint32_t in_ifindex() const { return wraps() ? WEFT_IN_TUNNEL : 0; }
  [[nodiscard]] std::uint32_t device() const { return way == WEFT_WAY_VXLAN ? kOther : kUplink; }
  // Untranslated by an uplink, where that is no mistake.
  [[nodiscard]] Step leaves_here(const Packet& packet) const {
    return send(Hook::from_pod, kPodA, packet).redirected().becomes(hop(packet.from(net.nat, packet.source_port)));
  }
  // What a server outside answers, sent on by the gateway.
  [[nodiscard]] Step answered(const Packet& packet) const { return in(packet, WEFT_IDENTITY_WORLD).redirected(); }
  // At the gateway: a pod there sends.
  [[nodiscard]] Step taken(const Packet& packet) const {
    return in(packet).redirected().becomes(hop(packet.from(net.egress, packet.source_port)));
  }
  // At the gateway: the server's answer comes in by the uplink and goes to the pod's node.
  [[nodiscard]] Step sent_back(const Packet& packet) const {
    auto seen = packet;
    seen.destination = net.egress;
    return send(Hook::from_device, kUplink, seen).redirected().becomes(wrapped(hop(packet), WEFT_IDENTITY_WORLD));
  }
  [[nodiscard]] Row gateway() const {
    return all({base(), host_at(net.egress),
                egress(net, {.identity = kFarIdentity, .nodes = {WEFT_EGRESS_HERE}, .address = net.egress})});
  }
};

Cases at_the_source(const Gateway& t) {
  const auto& net = t.net;
  const auto out = tcp(net.a, 40000, net.world, 443, kSyn);
  const auto back = out.reversed().with_flags(kSyn | kAck);
  const auto datagram = udp(net.a, 40000, net.world, 53);
  const std::string world = net.v4 ? "8.8.8.0/24" : "2620:fe::fe/128";
  const EventWant created{.type = WEFT_EVENT_NEW, .egress_node = kFarNode};
  const auto overhead = net.v4 ? 40u : 60u;
  return {
      {"to the gateway and back",
       {t.base(), t.by({kFarNode})},
       {t.out(out).event({.type = WEFT_EVENT_NEW,
                          .source_identity = 1001,
                          .destination_identity = WEFT_IDENTITY_WORLD,
                          .egress_node = kFarNode}),
        flow(out, {.exit = WEFT_EXIT_TUNNEL,
                   .out_ifindex = t.device(),
                   .in_ifindex = kPodA,
                   .mtu = kMtu,
                   .node = kFarNode,
                   .flags_set = WEFT_FLOW_EGRESS,
                   .flags_clear = WEFT_FLOW_SNAT | WEFT_FLOW_DNAT}),
        flow(back, {.exit = WEFT_EXIT_PEER,
                    .out_ifindex = kPodA,
                    .in_ifindex = t.in_ifindex(),
                    .flags_set = WEFT_FLOW_EGRESS}),
        t.answered(back), t.out(out.with_flags(kAck)), t.answered(back.with_flags(kAck)), flow(out, {.packets = 2}),
        flow(back, {.packets = 2}), t.out(out.with_flags(kFin | kAck)),
        t.answered(back.with_flags(kFin | kAck)).event({.type = WEFT_EVENT_CLOSED, .egress_node = kFarNode})}},
      {"datagrams, echoes, fragments",
       {t.base(), t.by({kFarNode})},
       {t.out(datagram).event(created), t.answered(datagram.reversed()),
        t.out(echo_request(net.a, net.world, 8)).event(created), t.answered(echo_reply(net.world, net.a, 8)),
        t.out(datagram.first_fragment(77)), t.out(datagram.later_fragment(77, 1400)),
        t.answered(datagram.reversed().first_fragment(78)), t.answered(datagram.reversed().later_fragment(78, 1400))}},
      {"others, and elsewhere, as ever",
       {t.base(), t.by({kFarNode}), egress(world, {.excluded = true}),
        remote(net.remote, WEFT_IDENTITY_REMOTE_NODE, 0, WEFT_REMOTE_NODE)},
       {t.leaves_here(out).event({.type = WEFT_EVENT_NEW, .egress_node = 0}),
        t.out(out.to(net.world2, 443)).event(created),
        send(Hook::from_pod, kPodB, out.from(net.b, 40001))
            .redirected()
            .becomes(hop(out.from(net.nat, 40001)))
            .event({.type = WEFT_EVENT_NEW, .egress_node = 0}),
        // inside the cluster: a pod here, the node, a node's own address
        send(Hook::from_pod, kPodA, out.to(net.b, 80)).redirected().event(kCreated),
        send(Hook::from_pod, kPodA, out.to(net.host, 80)).event(kCreated),
        t.leaves_here(out.to(net.remote, 80)).event({.type = WEFT_EVENT_NEW, .egress_node = 0})}},
      {"no gateway: nothing leaves",
       {t.base(), t.by({})},
       {send(Hook::from_pod, kPodA, out).dropped(WEFT_DROP_NO_EGRESS_GATEWAY), no_flow(out),
        send(Hook::from_pod, kPodA, datagram).dropped(WEFT_DROP_NO_EGRESS_GATEWAY), change(t.by({kFarNode})),
        t.out(out).event(created)}},
      {"policy is asked first",
       {t.base(), t.by({kFarNode}), pod(net, 'a', {.policy_class = 5, .egress_enforced = true})},
       {send(Hook::from_pod, kPodA, out).dropped(WEFT_DROP_POLICY_DENIED)}},
      {"errors from beyond the gateway",
       {t.base(), t.by({kFarNode})},
       {t.out(datagram).event(created), t.in(unreachable(net.world2, net.a, hop(datagram)), 2).redirected(),
        t.out(Hook::from_pod, kPodA, unreachable(net.a, net.world, datagram.reversed()),
              unreachable(net.a, net.world, datagram.reversed()), 1001)}},
      {"larger than the way takes",
       {t.base(), t.by({kFarNode})},
       {t.out(out).event(created), t.out(out.with_flags(kAck).with_payload(kMtu - overhead)),
        send(Hook::from_pod, kPodA, out.with_flags(kAck).with_payload(kMtu - overhead + 1))
            .answered(WEFT_DROP_TOO_BIG, out.with_flags(kAck).with_payload(kMtu - overhead + 1).too_big(kMtu))
            .silently()}},
      {"a flow stays at its gateway while that can be used",
       {t.base(), t.by({kFarNode})},
       {t.out(out).event(created), t.answered(back), change(t.by({kOtherGateway, kFarNode})), change(bump()),
        t.out(out.with_flags(kAck)).counts(WEFT_STAT_REDECIDED), t.answered(back.with_flags(kAck)),
        flow(out, {.exit = WEFT_EXIT_TUNNEL, .in_ifindex = kPodA, .epoch = 2, .mtu = kMtu, .node = kFarNode}),
        flow(back, {.in_ifindex = t.in_ifindex(), .epoch = 2}),
        t.out(out.from(net.a, 40001)).event({.type = WEFT_EVENT_NEW, .egress_node = kOtherGateway}),
        // asked by the answer first
        change(bump()), t.answered(back.with_flags(kAck)).counts(WEFT_STAT_REDECIDED),
        flow(out, {.epoch = 3, .node = kFarNode}), flow(back, {.in_ifindex = t.in_ifindex(), .epoch = 3}),
        // it goes away
        change(t.by({kOtherGateway})), change(bump()),
        t.out(out.with_flags(kAck)).event({.type = WEFT_EVENT_NEW, .egress_node = kOtherGateway}),
        flow(out, {.epoch = 4, .node = kOtherGateway}),
        // and the other too
        change(t.by({})), change(bump()),
        send(Hook::from_pod, kPodA, out.with_flags(kAck)).dropped(WEFT_DROP_NO_EGRESS_GATEWAY), no_flow(out)}},
      {"gateways come and go under a flow",
       {t.base()},
       {t.leaves_here(out).event(kCreated), change(t.by({kFarNode})), change(bump()),
        t.out(out.with_flags(kAck)).event(created), change(no_egress(net, 1001)), change(bump()),
        t.leaves_here(out.with_flags(kAck)).event({.type = WEFT_EVENT_NEW, .egress_node = 0})}},
      {"several share the pods", {t.base(), t.by({kFarNode, kOtherGateway}, 2)}, {then([=](Datapath& d) {
         d.run(Hook::from_pod, out, {.ifindex = kPodA});
         d.events();
         const auto first = find_flow(d, out).value().node;
         // all of one pod the same way; it alone moves when that is gone
         return Steps{
             t.out(out.from(net.a, 1)).event({.type = WEFT_EVENT_NEW, .egress_node = first}),
             t.out(datagram).event({.type = WEFT_EVENT_NEW, .egress_node = first}),
             change(t.by({static_cast<std::uint16_t>(first == kFarNode ? +kOtherGateway : +kFarNode)}, 1)),
             t.out(out.from(net.a, 2))
                 .event({.type = WEFT_EVENT_NEW, .egress_node = first == kFarNode ? +kOtherGateway : +kFarNode})};
       })}},
  };
}

// What a tunnel brings from outside the cluster is an answer, or nothing.
Cases uninvited(const Gateway& t) {
  const auto& net = t.net;
  const auto out = tcp(net.a, 40000, net.world, 443, kSyn);
  const auto back = out.reversed().with_flags(kSyn | kAck);
  const auto datagram = udp(net.a, 40000, net.world, 53);
  const auto reset = back.with_flags(kRst);
  return {
      {"from outside to a pod, uninvited",
       {t.base(), t.by({kFarNode})},
       {t.in(back, WEFT_IDENTITY_WORLD).dropped(WEFT_DROP_SPOOFED_SOURCE),
        t.in(tcp(net.world, 5, net.a, 80, kSyn), WEFT_IDENTITY_WORLD).dropped(WEFT_DROP_SPOOFED_SOURCE), no_flow(back),
        t.in(unreachable(net.world2, net.a, hop(datagram)), 2).dropped(WEFT_DROP_ICMP_UNRELATED).silently()}},
      {"about a flow that goes by no gateway",
       {t.base(), egress(net, {.identity = 1002, .nodes = {kFarNode}})},
       {t.leaves_here(datagram).event(kCreated), t.in(datagram.reversed(), 2).dropped(WEFT_DROP_SPOOFED_SOURCE),
        send(Hook::from_pod, kPodA, datagram.to(net.b, 53)).redirected().event(kCreated),
        t.in(datagram.reversed().from(net.world2, 53), 2).dropped(WEFT_DROP_SPOOFED_SOURCE)}},
      {"a reset from there may be forged",
       {t.base(), t.by({kFarNode})},
       {t.out(out).event(kCreated), t.answered(back), t.answered(reset),
        flow(out, {.flags_set = WEFT_FLOW_RESET, .flags_clear = WEFT_FLOW_CLOSED}), t.out(out.with_flags(kAck)),
        flow(out, {.flags_clear = WEFT_FLOW_RESET})}},
      {"an answer whose entry was evicted makes it again",
       {t.base(), t.by({kFarNode})},
       {t.out(out).event(kCreated), t.answered(back), then([=](Datapath& d) {
          erase_flow(d, back);
          return Steps{t.answered(back.with_flags(kAck)),
                       flow(back, {.exit = WEFT_EXIT_PEER,
                                   .in_ifindex = WEFT_IN_TUNNEL,
                                   .flags_set = WEFT_FLOW_EGRESS | WEFT_FLOW_REPLY})};
        })}},
  };
}

Cases at_the_gateway(const Gateway& t) {
  const auto& net = t.net;
  const auto in = tcp(net.far, 50000, net.world, 443, kSyn);
  const auto back = in.reversed().with_flags(kSyn | kAck);
  const auto seen = back.to(net.egress, 50000);
  const auto datagram = udp(net.far, 50000, net.world, 53);
  const auto mtu = t.wraps() ? kMtu : 1500u;
  const auto overhead = net.v4 ? 40u : 60u;
  const EventWant created{.type = WEFT_EVENT_NEW,
                          .source = net.far,
                          .destination = net.world,
                          .source_identity = kFarIdentity,
                          .destination_identity = WEFT_IDENTITY_WORLD,
                          .egress_node = WEFT_EGRESS_HERE};
  const auto answer_to = [&](const Packet& packet) {
    return t.wraps() ? t.wrapped(packet, WEFT_IDENTITY_REMOTE_NODE) : packet.with_macs(in.from_mac, in.to_mac);
  };
  return {
      {"out for another node's pod, and back",
       {t.gateway()},
       {t.taken(in).event(created),
        flow(in, {.exit = WEFT_EXIT_NEIGH,
                  .out_ifindex = kUplink,
                  .in_ifindex = t.in_ifindex(),
                  .mtu = 1500,
                  .flags_set = WEFT_FLOW_EGRESS | WEFT_FLOW_SNAT}),
        flow(seen, {.exit = t.wraps() ? WEFT_EXIT_TUNNEL : WEFT_EXIT_NEIGH,
                    .out_ifindex = t.device(),
                    .in_ifindex = 0,
                    .mtu = mtu,
                    .flags_set = WEFT_FLOW_EGRESS | WEFT_FLOW_DNAT}),
        t.sent_back(back), t.taken(in.with_flags(kAck)), t.sent_back(back.with_flags(kAck)), flow(in, {.packets = 2}),
        flow(seen, {.packets = 2})}},
      {"datagrams, echoes, fragments of another node's pod",
       {t.gateway()},
       {t.taken(datagram).event(created), t.sent_back(datagram.reversed()), t.taken(datagram.first_fragment(77)),
        t.in(datagram.later_fragment(77, 1400))
            .redirected()
            .becomes(hop(datagram.later_fragment(77, 1400).from(net.egress, 50000))),
        then([=](Datapath& d) {
          const auto ping = echo_request(net.far, net.world, 40000);
          const auto step = t.in(ping);
          d.run(step.hook, *step.packet, step.options);
          d.events();
          const auto id = ntohs(find_flow(d, ping).value().src_port);
          auto out = echo_request(net.egress, net.world, id);
          return Steps{t.in(ping).redirected().becomes(hop(out)),
                       send(Hook::from_device, kUplink, echo_reply(net.world, net.egress, id))
                           .redirected()
                           .becomes(t.wrapped(hop(echo_reply(net.world, net.far, 40000)), WEFT_IDENTITY_WORLD))};
        })}},
      {"no gateway of that pod",
       {t.base(), egress(net, {.identity = kFarIdentity, .nodes = {kOtherGateway}})},
       {t.in(in).dropped(WEFT_DROP_NOT_EGRESS_GATEWAY), no_flow(in)}},
      {"no gateway of that pod in that direction",
       {t.gateway(), egress(net.v4 ? "8.8.8.0/24" : "2620:fe::fe/128", {.identity = kFarIdentity, .excluded = true})},
       {t.wraps() ? t.in(in).dropped(WEFT_DROP_NOT_EGRESS_GATEWAY) : t.in(in),
        t.taken(in.to(net.world2, 443)).event(kCreated)}},
      {"a connection that began elsewhere is reset",
       {t.gateway()},
       {t.in(in.with_flags(kAck)).answered(WEFT_DROP_EGRESS_UNKNOWN_FLOW, answer_to(in.with_flags(kAck).refused())),
        no_flow(in), t.in(in.with_flags(kRst)).dropped(WEFT_DROP_EGRESS_UNKNOWN_FLOW).silently(),
        t.taken(in).event(created)}},
      {"errors of the way beyond, and of the pod",
       {t.gateway()},
       {t.taken(datagram).event(created),
        send(Hook::from_device, kUplink, unreachable(net.world2, net.egress, hop(datagram.from(net.egress, 50000))))
            .redirected()
            // what is quoted of the payload, its checksum too, stays
            .becomes(t.wrapped(
                unreachable(net.world2, net.far,
                            hop(datagram.with_checksum(datagram.from(net.egress, 50000).transport_checksum()))),
                WEFT_IDENTITY_WORLD)),
        t.in(unreachable(net.far, net.world, datagram.reversed()))
            .redirected()
            .becomes(unreachable(
                net.egress, net.world,
                datagram.reversed().to(net.egress, 50000).with_checksum(datagram.reversed().transport_checksum())))}},
      {"larger than the device, or the way back, takes",
       {t.gateway(), uplink(net, 1000)},
       {t.taken(in).event(created),
        t.in(in.with_flags(kAck).with_payload(1000))
            .answered(WEFT_DROP_TOO_BIG, answer_to(in.with_flags(kAck).with_payload(1000).too_big(1000)))
            .silently(),
        t.sent_back(back), then([=](Datapath&) {
          const auto large = seen.with_flags(kAck).with_payload((t.wraps() ? kMtu : 1000u) - overhead + 1);
          return Steps{send(Hook::from_device, kUplink, large)
                           .answered(WEFT_DROP_TOO_BIG,
                                     large.too_big(t.wraps() ? kMtu : 1000).with_macs(large.from_mac, large.to_mac))
                           .silently()};
        })}},
      {"on its last hop",
       {t.gateway()},
       {t.in(in.with_hop_limit(1)).redirected().becomes(in.from(net.egress, 50000).with_hop_limit(1)).event(created)}},
      {"decided again",
       {t.gateway()},
       {t.taken(in).event(created), change(bump()), t.taken(in.with_flags(kAck)).counts(WEFT_STAT_REDECIDED),
        t.sent_back(back), flow(in, {.in_ifindex = t.in_ifindex(), .epoch = 2}),
        flow(seen, {.in_ifindex = 0, .epoch = 2}), change(bump()), t.sent_back(back).counts(WEFT_STAT_REDECIDED),
        flow(in, {.in_ifindex = t.in_ifindex(), .epoch = 3})}},
      {"no longer the gateway, or of another address",
       {t.gateway()},
       {t.taken(in).event(created),
        change(egress(net, {.identity = kFarIdentity, .nodes = {WEFT_EGRESS_HERE}, .address = net.nat})),
        change(bump()),
        t.in(in.with_flags(kAck)).answered(WEFT_DROP_EGRESS_UNKNOWN_FLOW, answer_to(in.with_flags(kAck).refused())),
        no_flow(in), no_flow(seen), t.in(in).redirected().becomes(hop(in.from(net.nat, 50000))).event(created),
        change(egress(net, {.identity = kFarIdentity, .nodes = {kOtherGateway}})), change(bump()),
        t.in(in.with_flags(kAck)).dropped(WEFT_DROP_NOT_EGRESS_GATEWAY).silently(), no_flow(in)}},
      {"to nobody of the cluster",
       {t.gateway()},
       {t.wraps() ? t.in(in.to(net.nobody, 9)).dropped(WEFT_DROP_UNKNOWN_ENDPOINT) : t.in(in.to(net.nobody, 9)),
        t.wraps() ? t.in(in.to(net.far_unknown, 9)).dropped(WEFT_DROP_UNKNOWN_ENDPOINT)
                  : t.in(in.to(net.far_unknown, 9)),
        // to a pod here as ever
        t.in(in.to(net.b, 80)).redirected().event({.type = WEFT_EVENT_NEW, .destination_endpoint = 12})}},
  };
}

// The pod is on the gateway itself.
Cases at_home(const Net& net) {
  const auto out = tcp(net.a, 40000, net.world, 443, kSyn);
  const auto back = out.reversed().with_flags(kSyn | kAck);
  const auto translated = [&](const Packet& packet) { return hop(packet.from(net.egress, 40000)); };
  const EgressOptions here{.nodes = {WEFT_EGRESS_HERE}, .address = net.egress};
  const auto sent = [&](const Packet& packet) {
    return send(Hook::from_pod, kPodA, packet).redirected().becomes(translated(packet));
  };
  auto by_other = here;
  by_other.ifindex = kOther;
  const weft_device second{to_abi(net_v4().nat), to_abi(net_v6().nat), 1500, 0};
  return {
      {"egress: from the gateway's own pod",
       {standard(net), host_at(net.egress), egress(net, here)},
       {sent(out).event({.type = WEFT_EVENT_NEW, .egress_node = WEFT_EGRESS_HERE}),
        flow(out, {.exit = WEFT_EXIT_NEIGH,
                   .out_ifindex = kUplink,
                   .in_ifindex = kPodA,
                   .mtu = 1500,
                   .flags_set = WEFT_FLOW_EGRESS | WEFT_FLOW_SNAT}),
        send(Hook::from_device, kUplink, back.to(net.egress, 40000)).redirected().becomes(back),
        sent(out.with_flags(kAck)), change(bump()), sent(out.with_flags(kAck)).counts(WEFT_STAT_REDECIDED),
        // its stack translates what it fragments
        send(Hook::to_device, kUplink, hop(out.with_flags(kAck)))
            .entering(kPodA)
            .becomes(translated(out.with_flags(kAck)))}},
      {"egress: by a device that is told",
       {standard(net), host_at(net.egress), egress(net, by_other),
        [second](Datapath& d) { d.put("weft_dev_v1", std::uint32_t{kOther}, second); }},
       {send(Hook::from_pod, kPodA, out.to(net.other_subnet, 443))
            .redirected()
            .becomes(translated(out.to(net.other_subnet, 443)))
            .event({.type = WEFT_EVENT_NEW, .egress_node = WEFT_EGRESS_HERE}),
        flow(out.to(net.other_subnet, 443), {.exit = WEFT_EXIT_NEIGH, .out_ifindex = kOther})}},
      {"egress: no way out",
       {standard(net), egress(net, here)},
       {send(Hook::from_pod, kPodA, out.to(net.unreachable, 443)).dropped(WEFT_DROP_NO_ROUTE),
        // not by an uplink: the answers would not be ours
        send(Hook::from_pod, kPodA, out.to(net.other_subnet, 443)).dropped(WEFT_DROP_NO_ROUTE)}},
  };
}

// Without a tunnel another node's packets to outside may be routed by way of this node.
Cases routed(const Net& net) {
  const Gateway t{{net, net, WEFT_WAY_DIRECT}};
  const auto in = tcp(net.far, 50000, net.world, 443, kSyn);
  return {
      {"egress: routed by way of a node, as without gateways",
       {t.base(), egress(net, {.identity = 1001, .nodes = {kFarNode}})},
       {send(Hook::from_device, kUplink, in), no_flow(in)}},
      {"egress: of a pod that nothing is known of yet nothing leaves",
       {t.gateway()},
       {send(Hook::from_device, kUplink, in.from(net.far_unknown, 9)).dropped(WEFT_DROP_NOT_EGRESS_GATEWAY),
        send(Hook::from_device, kUplink, in.from(net.far_unknown, 9).with_flags(kAck))
            .dropped(WEFT_DROP_NOT_EGRESS_GATEWAY)
            .silently()}},
      {"egress: a gateway whose next hop is not known",
       {standard(net), far_node(net, WEFT_WAY_DIRECT), egress(net, {.nodes = {9}})},
       {send(Hook::from_pod, kPodA, tcp(net.a, 40000, net.world, 443, kSyn)).dropped(WEFT_DROP_NODE_UNKNOWN)}},
  };
}

// By WireGuard, which takes addresses of the cluster only. What comes out of it is overlay_test's.
Cases encrypted(const Net& net, const Net& ends) {
  const Gateway t{{net, ends, WEFT_WAY_WIREGUARD}};
  const auto out = tcp(net.a, 40000, net.world, 443, kSyn);
  const auto ack = out.with_flags(kAck);
  const auto mtu = kMtu - (ends.v4 ? 20 : 40);
  const auto most = mtu - (net.v4 ? 40 : 60);
  const auto inside = [&](const Packet& packet) { return ipip_tunnel(ends.nat, ends.remote, hop(packet)); };
  const auto sent = [&](const Packet& packet) {
    return send(Hook::from_pod, kPodA, packet).redirected().becomes(inside(packet));
  };
  auto of_no_family = weft_node{};
  of_no_family.way = WEFT_WAY_WIREGUARD;
  of_no_family.ifindex = kOther;
  of_no_family.mtu = kMtu;
  const auto without_ends = [of_no_family](Datapath& d) {
    d.put("weft_node_v1", std::uint32_t{kFarNode}, of_no_family);
  };
  const auto to_pod = tcp(net.a, 40000, net.far, 80, kSyn);
  return {
      {"to the gateway, between the nodes' gateways",
       {t.base(), t.by({kFarNode})},
       {sent(out).event({.type = WEFT_EVENT_NEW, .egress_node = kFarNode}),
        flow(out, {.exit = WEFT_EXIT_TUNNEL, .out_ifindex = kOther, .mtu = static_cast<std::uint32_t>(mtu)}),
        sent(ack.with_payload(most)),
        send(Hook::from_pod, kPodA, ack.with_payload(most + 1))
            .answered(WEFT_DROP_TOO_BIG, ack.with_payload(most + 1).too_big(mtu))
            .silently()}},
      {"to a pod there, as it is",
       {t.base(), t.by({kFarNode})},
       {send(Hook::from_pod, kPodA, to_pod).redirected().becomes(hop(to_pod)).event(kCreated),
        flow(to_pod, {.exit = WEFT_EXIT_TUNNEL, .mtu = kMtu})}},
      {"a node whose gateway is of another family",
       {t.base(), without_ends, t.by({kFarNode})},
       {send(Hook::from_pod, kPodA, out).dropped(WEFT_DROP_ENCAPSULATION, kCreated)}},
      {"a gateway that begins to encrypt",
       {t.base(), t.by({kFarNode}), way_to(kFarNode, WEFT_WAY_GENEVE, ends, kMtu)},
       {send(Hook::from_pod, kPodA, out)
            .redirected()
            .becomes(geneve_tunnel(ends.nat, ends.remote, hop(out), 1001))
            .event(kCreated),
        change(way_to(kFarNode, WEFT_WAY_WIREGUARD, ends, kMtu)), sent(ack), change(bump()),
        sent(ack).counts(WEFT_STAT_REDECIDED), flow(out, {.mtu = static_cast<std::uint32_t>(mtu)})}},
  };
}

// A node's address may be any of its pods', which would leave by a service here past their gateway.
Cases by_service(const Net& net) {
  constexpr std::uint16_t kNodePort = 30080;
  const auto of_node = tcp(net.remote, 50000, net.host, kNodePort, kSyn);
  const auto of_pod = tcp(net.far, 50000, net.host, kNodePort, kSyn);
  const auto client = tcp(net.client, 50000, net.host, kNodePort, kSyn);
  const Gateway t{{net, net, WEFT_WAY_DIRECT}};
  const auto rows = [&](const IpAddress& server) {
    return all({t.base(), serving_outside(WEFT_CONFIG_HOST_BACKENDS), backend(3, server, 80, kTcp),
                node_port(net, kNodePort, kTcp, {.backends = {3}}),
                configure([](weft_config& config) { config.lb_port_min = config.lb_port_max = 61000; })});
  };
  const auto served = [&](const Packet& packet, const IpAddress& server) {
    return send(Hook::from_device, kUplink, packet)
        .redirected()
        .becomes(hop(packet.to(server, 80).from(net.nat, 61000)))
        .event(kCreated);
  };
  const auto refused = [&](Hook hook, const Packet& packet) {
    return send(hook, kUplink, packet).dropped(WEFT_DROP_NOT_EGRESS_GATEWAY);
  };
  return {
      {"egress: not by another node's service",
       {rows(net.world), t.by({})},
       {refused(Hook::xdp, of_node), no_flow(of_node), refused(Hook::from_device, of_node), no_flow(of_node),
        refused(Hook::from_device, of_pod), no_flow(of_pod)}},
      {"egress: a client outside by a service, as ever", {rows(net.world), t.by({})}, {served(client, net.world)}},
      {"egress: by another node's service where there are no gateways",
       {rows(net.world)},
       {served(of_node, net.world)}},
      {"egress: by another node's service to a third node",
       {rows(net.world2), t.by({}), remote(net.world2, WEFT_IDENTITY_REMOTE_NODE, 0, WEFT_REMOTE_NODE)},
       {served(of_node, net.world2)}},
      {"egress: by another node's service to a pod here",
       {rows(net.b), t.by({})},
       {send(Hook::from_device, kUplink, of_node).redirected().becomes(of_node.to(net.b, 80)).event(kCreated)}},
  };
}

}  // namespace

Cases egress_cases(const Net& net) {
  Cases all = at_home(net);
  for (const auto& one : routed(net)) all.push_back(one);
  for (const auto& one : by_service(net)) all.push_back(one);
  for (const auto* ends : {&net_v4(), &net_v6()})
    for (auto& one : encrypted(net, *ends)) {
      one.name = fmt::format("egress: encrypted between {} gateways: {}", ends->name(), one.name);
      all.push_back(std::move(one));
    }
  for (const auto way : {WEFT_WAY_VXLAN, WEFT_WAY_GENEVE, WEFT_WAY_IPIP, WEFT_WAY_DIRECT})
    for (const auto* underlay : {&net_v4(), &net_v6()}) {
      const Gateway gateway{{net, *underlay, way}};
      auto parts = std::vector{at_the_source(gateway), at_the_gateway(gateway)};
      if (way != WEFT_WAY_DIRECT) parts.push_back(uninvited(gateway));
      for (const auto& part : parts)
        for (const auto& one : part) {
          all.push_back(one);
          all.back().name =
              fmt::format("egress: way {} over {}: {}", static_cast<int>(way), underlay->name(), one.name);
        }
    }
  return all;
}

}  // namespace weft::test
