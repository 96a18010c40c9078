// What a pod says to be taken for its node, or to choose its packets' way.
#include <arpa/inet.h>

#include "fixture.h"

namespace weft::test {
namespace {

const EventWant kCreated{.type = WEFT_EVENT_NEW};

// A pod does not choose the routers of its packets (RFC 7126, 4.3 and 4.4).
Cases source_routes(const Net& net) {
  if (!net.v4) return {};
  const auto datagram = udp(net.a, 40000, net.world, 53);
  const auto refused = [&](const Packet& packet) {
    return send(Hook::from_pod, kPodA, packet)
        .dropped(WEFT_DROP_SOURCE_ROUTE, {.type = WEFT_EVENT_DENIED, .source = net.a});
  };
  const Octets loose{131, 7, 4, 10, 2, 0, 10, 0};
  const Octets strict{1, 0x94, 4, 0, 0, 137, 7, 4, 10, 2, 0, 10};
  const Octets record{7, 7, 4, 0, 0, 0, 0, 0};
  return {
      {"a source route of a pod",
       {standard(net)},
       {refused(datagram.with_options(loose)), refused(datagram.to(net.b, 53).with_options(strict)),
        refused(tcp(net.a, 1, net.host, 80, kSyn).with_options(loose)),
        send(Hook::from_pod, kPodA, datagram.later_fragment(7, 16).with_options(loose)).dropped(WEFT_DROP_SOURCE_ROUTE),
        // which comes first is told
        refused(datagram.to(net.world2, 53).with_options({137, 3, 4, 0x9a, 8, 0, 80, 10, 2, 0, 10, 0})),
        // where it has been, and what stands behind the end
        send(Hook::from_pod, kPodA, datagram.to(net.b, 53).with_options(record)).redirected().event(kCreated),
        send(Hook::from_pod, kPodA, datagram.to(net.b, 53).with_options({0, 131, 3, 4})).redirected()}}};
}

// A router knows the node's BGP by the node's address, which is what a pod has that is masqueraded.
Cases forged_bgp(const Net& net) {
  constexpr std::uint16_t kBgp = 179;
  const Row speaks = configure([](weft_config& config) { config.flags |= WEFT_CONFIG_BGP; });
  const Row silent = configure([](weft_config& config) { config.flags &= ~std::uint32_t{WEFT_CONFIG_BGP}; });
  const Row bare =
      configure([](weft_config& config) { config.flags &= ~(WEFT_CONFIG_MASQUERADE_V4 | WEFT_CONFIG_MASQUERADE_V6); });
  const auto syn = tcp(net.a, 40000, net.world, kBgp, kSyn);
  const auto hop = [](const Packet& packet) { return packet.with_hop_limit(63); };
  const auto from_pod = [](const Packet& packet) { return send(Hook::from_pod, kPodA, packet); };
  const auto forged = [&](const Packet& packet) {
    return from_pod(packet).dropped(WEFT_DROP_BGP, {.type = WEFT_EVENT_DENIED, .source = net.a});
  };
  const auto as_node = [&](const Packet& packet) {
    return from_pod(packet).redirected().becomes(hop(packet.from(net.nat, 40000)));
  };
  const auto by = [&](const IpAddress& address) {
    return [at = host_at(address), by = egress(net, {.nodes = {WEFT_EGRESS_HERE}, .address = address})](Datapath& d) {
      at(d);
      by(d);
    };
  };
  const EventWant gateway{.type = WEFT_EVENT_NEW, .egress_node = WEFT_EGRESS_HERE};
  const auto client = tcp(net.client, 50000, net.service, 80, kSyn);
  const auto relayed = [&](const IpAddress& address) {
    return Rows{standard(net),
                speaks,
                serving_outside(WEFT_CONFIG_HOST_BACKENDS),
                backend(3, address, kBgp, kTcp),
                frontend(net.service, 80, kTcp, {.backends = {3}}),
                configure([](weft_config& config) { config.lb_port_min = config.lb_port_max = 61000; })};
  };
  return {
      {"BGP of a pod",
       {standard(net), speaks},
       {forged(syn), no_flow(syn), forged(syn.to(net.remote, kBgp)),
        from_pod(syn.with_flags(kAck)).dropped(WEFT_DROP_BGP).silently(),
        as_node(syn.to(net.world, 180)).event(kCreated),
        // with its own address
        from_pod(syn.to(net.b, kBgp)).redirected().event(kCreated), from_pod(syn.to(net.host, kBgp)).event(kCreated)}},
      {"BGP of a pod where the node speaks none", {standard(net)}, {as_node(syn).event(kCreated)}},
      {"BGP of a pod that is not masqueraded",
       {standard(net), speaks, bare},
       {from_pod(syn).redirected().becomes(hop(syn)).event(kCreated), change(bump()),
        from_pod(syn.with_flags(kAck)).redirected().becomes(hop(syn.with_flags(kAck))).counts(WEFT_STAT_REDECIDED)}},
      {"BGP of a pod through a service",
       {standard(net), speaks, backend(3, net.remote, kBgp, kTcp), frontend(net.service, 80, kTcp, {.backends = {3}})},
       {forged(syn.to(net.service, 80))}},
      {"BGP of a pod that began before the node's",
       {standard(net)},
       {as_node(syn).event(kCreated), change(speaks), change(bump()),
        from_pod(syn.with_flags(kAck)).dropped(WEFT_DROP_BGP), no_flow(syn),
        from_pod(syn.with_flags(kAck)).dropped(WEFT_DROP_BGP).silently(), change(silent), change(bump()),
        as_node(syn).event(kCreated)}},
      {"the same, by what the router says",
       {standard(net)},
       {as_node(syn).event(kCreated), change(speaks), change(bump()),
        send(Hook::from_device, kUplink, syn.from(net.nat, 40000).reversed().with_flags(kAck)).dropped(WEFT_DROP_BGP),
        no_flow(syn)}},
      {"BGP of a pod by an egress gateway's address",
       {standard(net), speaks, by(net.egress)},
       {from_pod(syn).redirected().becomes(hop(syn.from(net.egress, 40000))).event(gateway), change(bump()),
        from_pod(syn.with_flags(kAck))
            .redirected()
            .becomes(hop(syn.from(net.egress, 40000).with_flags(kAck)))
            .counts(WEFT_STAT_REDECIDED)}},
      {"BGP of a pod by an egress gateway that has the node's address",
       {standard(net), speaks, by(net.nat)},
       {from_pod(syn).dropped(WEFT_DROP_BGP)}},
      {"BGP of another node's pod by an egress gateway that has the node's address",
       {standard(net), speaks, far_node(net, WEFT_WAY_DIRECT), host_at(net.nat),
        egress(net, {.identity = kFarIdentity, .nodes = {WEFT_EGRESS_HERE}, .address = net.nat})},
       {send(Hook::from_device, kUplink, syn.from(net.far, 40000)).dropped(WEFT_DROP_BGP)}},
      {"outside: BGP through a service",
       relayed(net.remote),
       {send(Hook::from_device, kUplink, client).dropped(WEFT_DROP_BGP),
        send(Hook::xdp, kUplink, client).dropped(WEFT_DROP_BGP), no_flow(client)}},
      {"outside: BGP through a service, to a pod here",
       relayed(net.b),
       {send(Hook::from_device, kUplink, client)
            .redirected()
            .becomes(client.to(net.b, kBgp))
            .event({.type = WEFT_EVENT_NEW, .source = net.client})}},
  };
}

// Nodes' WireGuard proves who sends, but what it takes to refuse a handshake is counted by address.
Cases forged_wireguard(const Net& net) {
  const Row ports = configure([](weft_config& config) {
    config.wireguard_port = htons(51871);
    config.wireguard_next_port = htons(51872);
  });
  const auto away = udp(net.a, 40000, net.remote, 51871);
  const auto from_pod = [](const Packet& packet) { return send(Hook::from_pod, kPodA, packet); };
  const auto forged = [&](const Packet& packet) {
    return from_pod(packet).dropped(WEFT_DROP_ENCAPSULATION, {.type = WEFT_EVENT_DENIED, .source = net.a});
  };
  const auto client = udp(net.client, 50000, net.service, 53);
  const auto passes = [&](const Packet& packet) {
    return from_pod(packet).redirected().becomes(packet.from(net.nat, 40000).with_hop_limit(63)).event(kCreated);
  };
  return {
      {"WireGuard of a pod",
       {standard(net), far_node(net, WEFT_WAY_DIRECT), ports},
       {forged(away), forged(away.to(net.remote, 51872)), forged(away.to(net.host, 51871)), no_flow(away),
        from_pod(away.first_fragment(7)).dropped(WEFT_DROP_ENCAPSULATION).silently(),
        from_pod(away.later_fragment(7, 16)).dropped(WEFT_DROP_ENCAPSULATION).silently(),
        passes(away.to(net.remote, 51873)), from_pod(away.to(net.b, 51871)).redirected().event(kCreated),
        passes(tcp(net.a, 40000, net.remote, 51871, kSyn)),
        // a server of somebody else's
        passes(away.to(net.world, 51871))}},
      {"WireGuard of a pod where nodes have none", {standard(net), far_node(net, WEFT_WAY_DIRECT)}, {passes(away)}},
      {"WireGuard of a pod that began before the nodes'",
       {standard(net), far_node(net, WEFT_WAY_DIRECT)},
       {passes(away), change(ports), change(bump()), from_pod(away).dropped(WEFT_DROP_ENCAPSULATION), no_flow(away)}},
      {"WireGuard of a pod through a service",
       {standard(net), far_node(net, WEFT_WAY_DIRECT), ports, backend(3, net.remote, 51871, kUdp),
        frontend(net.service, 53, kUdp, {.backends = {3}})},
       {forged(away.to(net.service, 53))}},
      {"outside: WireGuard through a service",
       {standard(net), far_node(net, WEFT_WAY_DIRECT), ports, serving_outside(), backend(3, net.remote, 51871, kUdp),
        frontend(net.service, 53, kUdp, {.backends = {3}}),
        configure([](weft_config& config) { config.lb_port_min = config.lb_port_max = 61000; })},
       {send(Hook::from_device, kUplink, client).dropped(WEFT_DROP_ENCAPSULATION),
        send(Hook::xdp, kUplink, client).dropped(WEFT_DROP_ENCAPSULATION), no_flow(client)}},
  };
}

}  // namespace

Cases forged_node_cases(const Net& net) {
  Cases all;
  for (const CaseTable table : {forged_bgp, forged_wireguard, source_routes})
    for (auto& each : table(net)) all.push_back(std::move(each));
  return all;
}

}  // namespace weft::test
