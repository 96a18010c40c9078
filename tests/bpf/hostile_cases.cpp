// What a hostile pod, or a hostile neighbour of the node, may try.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "fixture.h"

namespace weft::test {
namespace {

const EventWant kCreated{.type = WEFT_EVENT_NEW};

IpAddress ip(const char* text) { return IpAddress::parse(text).value(); }

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

// `l3` with another length in its header; what is cut off stays in the frame.
Packet with_length(const Net& net, Octets l3, std::size_t length) {
  if (!net.v4) length -= 40;
  l3[net.v4 ? 2 : 4] = static_cast<std::uint8_t>(length >> 8);
  l3[net.v4 ? 3 : 5] = static_cast<std::uint8_t>(length);
  return raw_frame(net.v4 ? 0x0800 : 0x86dd, std::move(l3));
}

Cases padded_headers(const Net& net) {
  const auto header = net.v4 ? 20u : 40u;
  const auto fragment = net.v4 ? 0u : 8u;
  const auto opened = tcp(net.a, 40000, net.b, 53, kSyn);
  const auto data = opened.with_flags(kAck);
  const auto datagram = udp(net.a, 40000, net.b, 53);
  const auto refused = [](const Packet& packet) {
    return send(Hook::from_pod, kPodA, packet).dropped(WEFT_DROP_MALFORMED).silently();
  };
  const auto short_of = [&](const Packet& packet, std::size_t length) {
    return refused(with_length(net, packet.l3_bytes(), length));
  };
  Cases all{
      {"a transport header in the frame's padding",
       {standard(net)},
       {short_of(data, header + 8).event({.type = WEFT_EVENT_DENIED}), short_of(data.from(net.a, 1), header + 19),
        short_of(datagram, header + 4).event({.type = WEFT_EVENT_DENIED}),
        send(Hook::from_pod, kPodA, opened).redirected().event(kCreated),
        send(Hook::from_pod, kPodA, data).redirected(), short_of(data, header + 19), short_of(data, header + 8),
        send(Hook::from_pod, kPodA, with_length(net, data.l3_bytes(), header + 20)).redirected()}},
      {"a tiny first fragment with flags in the frame's padding",
       {standard(net)},
       {short_of(data.first_fragment(7), header + fragment + 8).event({.type = WEFT_EVENT_DENIED}),
        short_of(echo_request(net.a, net.b, 3).first_fragment(7), header + fragment + 4)
            .event({.type = WEFT_EVENT_DENIED})}},
  };
  if (!net.v4)
    all.push_back(
        {"an extension header in the frame's padding",
         {standard(net)},
         {short_of(data.with_extension(60, {0, 0, 1, 4, 0, 0, 0, 0}), 40 + 4).event({.type = WEFT_EVENT_DENIED})}});
  return all;
}

Cases forged_host(const Net& net) {
  const auto denied = pod(net, 'a', {.policy_class = 5, .ingress_enforced = true});
  const auto opening = tcp(net.host, 50000, net.a, 80, kSyn);
  const auto to_host = tcp(net.a, 40000, net.host, 443, kSyn);
  const auto spoofed = [](Hook hook, std::uint32_t device, const Packet& packet) {
    return send(hook, device, packet).dropped(WEFT_DROP_SPOOFED_SOURCE);
  };
  return {
      {"the node's address from outside",
       {standard(net), denied},
       {spoofed(Hook::from_device, kUplink, opening),
        spoofed(Hook::from_device, kUplink, echo_request(net.host, net.a, 5)),
        spoofed(Hook::from_device, kUplink, udp(net.host, 1, net.a, 2)),
        spoofed(Hook::to_pod, kPodA, opening.from(net.host, 50001)).entering(kUplink),
        spoofed(Hook::to_pod, kPodA, icmp_message(net.host, net.a, net.v4 ? 13 : 139, 0)).entering(kOther),
        send(Hook::to_pod, kPodA, opening).event(kCreated)}},
      {"the node's address from outside along a flow of the node",
       {standard(net), denied},
       {send(Hook::to_pod, kPodA, opening).event(kCreated),
        send(Hook::from_pod, kPodA, opening.reversed().with_flags(kSyn | kAck)),
        spoofed(Hook::from_device, kUplink, opening.with_flags(kAck)),
        spoofed(Hook::to_pod, kPodA, opening.with_flags(kAck)).entering(kOther),
        send(Hook::to_pod, kPodA, opening.with_flags(kAck))}},
      {"the node's address from outside along a pod's flow to the node",
       {standard(net), denied},
       {send(Hook::from_pod, kPodA, to_host).event(kCreated),
        send(Hook::to_pod, kPodA, to_host.reversed().with_flags(kSyn | kAck)),
        spoofed(Hook::from_device, kUplink, to_host.reversed().with_flags(kAck)),
        spoofed(Hook::to_pod, kPodA, to_host.reversed().with_flags(kAck)).entering(kOther),
        send(Hook::to_pod, kPodA, to_host.reversed().with_flags(kAck))}},
  };
}

Cases other_icmp(const Net& net) {
  const auto unsupported = [](const Packet& packet) {
    return send(Hook::to_pod, kPodA, packet).entering(kUplink).dropped(WEFT_DROP_ICMP_UNSUPPORTED).silently();
  };
  if (net.v4) return {};
  Steps steps;
  for (const std::uint8_t type : {134, 137, 139, 200, 255})
    steps.push_back(unsupported(icmp_message(net.world, net.a, type, 0).with_hop_limit(255)));
  steps.push_back(unsupported(neighbour_message(135, net.world, net.a, net.a, 1, {2, 0, 0, 0, 0, 9})));
  steps.push_back(unsupported(neighbour_message(135, net.link_local, net.a, net.a, 1, {2, 0, 0, 0, 0, 9})));
  steps.push_back(
      send(Hook::to_pod, kPodA, neighbour_message(135, net.link_local, net.a, net.a, 1, {2, 0, 0, 0, 0, 9})));
  return {{"icmp from outside that is neither echo nor error", {standard(net)}, std::move(steps)}};
}

Cases reserved_addresses(const Net& net) {
  const auto packet = udp(net.a, 40000, net.b, 53);
  Steps steps;
  for (const char* address : net.v4 ? std::vector<const char*>{"127.0.0.1", "127.255.0.9", "0.0.0.0", "0.1.2.3"}
                                    : std::vector<const char*>{"::1", "::", "::10.1.0.2"}) {
    steps.push_back(send(Hook::from_pod, kPodA, packet.to(ip(address), 53)).dropped(WEFT_DROP_RESERVED_ADDRESS));
    steps.push_back(send(Hook::from_pod, kPodA, packet.from(ip(address), 40000)).dropped(WEFT_DROP_RESERVED_ADDRESS));
  }
  Cases all{{"an address that does not leave a pod", {standard(net)}, steps}};
  if (!net.v4) {
    // As IPv4 the source would be the pod's own.
    auto mapped = packet.l3_bytes();
    const auto source = net_v4().a.bytes();
    std::copy(source.begin(), source.end(), mapped.begin() + 8);
    all.push_back({"an IPv4-mapped source",
                   {standard(net), standard(net_v4())},
                   {send(Hook::from_pod, kPodA, raw_frame(0x86dd, mapped)).dropped(WEFT_DROP_RESERVED_ADDRESS)}});
  }
  return all;
}

Cases groups(const Net& net) {
  const auto packet = udp(net.a, 40000, net.service, 80);
  const auto group = ip(net.v4 ? "255.255.255.255" : "ff02::1");
  const auto loopback = ip(net.v4 ? "127.0.0.1" : "::1");
  Cases all{{"a service whose backend is a group, or the node's loopback",
             {standard(net), backend(3, group, 80, kUdp), service(net.service, 80, kUdp, 7, {3}),
              backend(4, loopback, 80, kUdp), service(net.service, 81, kUdp, 8, {4}, 0, 20)},
             {send(Hook::from_pod, kPodA, packet).dropped(WEFT_DROP_MULTICAST),
              send(Hook::from_pod, kPodA, packet.to(net.service, 81)).dropped(WEFT_DROP_RESERVED_ADDRESS)}}};
  if (net.v4)
    all.push_back({"the broadcast address of the uplink's network",
                   {standard(net), prefix("192.0.2.255/32", WEFT_IDENTITY_WORLD, WEFT_IP_BROADCAST)},
                   {send(Hook::from_pod, kPodA, packet.to(ip("192.0.2.255"), 53)).dropped(WEFT_DROP_MULTICAST)}});
  return all;
}

Cases echo_without_identifier(const Net& net) {
  const auto ping = echo_request(net.a, net.b, 0);
  return {{"an echo request without identifier is no reply to one",
           {standard(net), pod(net, 'a', {.policy_class = 5, .ingress_enforced = true})},
           {send(Hook::from_pod, kPodA, ping).redirected().event(kCreated),
            send(Hook::from_pod, kPodB, echo_reply(net.b, net.a, 0)).redirected(),
            send(Hook::from_pod, kPodB, echo_request(net.b, net.a, 0)).dropped(WEFT_DROP_POLICY_DENIED),
            send(Hook::from_pod, kPodB, echo_reply(net.b, net.a, 0)).redirected()}}};
}

// The same from clients outside, whose packets start flows at an uplink.
Cases outside(const Net& net) {
  constexpr std::uint16_t kNodePort = 30080;
  const auto syn = tcp(net.client, 50000, net.service, 80, kSyn);
  const auto datagram = udp(net.client, 50000, net.service, 53);
  const auto to_node = tcp(net.client, 50000, net.host, kNodePort, kSyn);
  const auto answer = tcp(net.host, 6443, net.client, 50000, kSyn | kAck);
  const auto group = ip(net.v4 ? "224.0.0.5" : "ff02::5");
  const auto loopback = ip(net.v4 ? "127.0.0.1" : "::1");
  const auto to_remote = syn.to(net.remote, 8080).from(net.nat, 61000).with_hop_limit(63);
  const Row one_port = configure([](weft_config& config) { config.lb_port_min = config.lb_port_max = 61000; });
  const auto backend_at = [&](const IpAddress& address) {
    return Rows{standard(net), serving_outside(), backend(3, address, 8080, kTcp),
                frontend(net.service, 80, kTcp, {.backends = {3}}), one_port};
  };
  const auto refused = [&](Hook hook, weft_drop_reason reason) { return send(hook, kUplink, syn).dropped(reason); };
  Cases all{
      {"outside: a backend that is a group",
       backend_at(group),
       {refused(Hook::from_device, WEFT_DROP_MULTICAST), refused(Hook::xdp, WEFT_DROP_MULTICAST), no_flow(syn)}},
      {"outside: a backend that is the loopback",
       backend_at(loopback),
       {refused(Hook::xdp, WEFT_DROP_RESERVED_ADDRESS), refused(Hook::from_device, WEFT_DROP_RESERVED_ADDRESS),
        no_flow(syn)}},
      {"outside: a client whose address is nobody's",
       backend_at(net.b),
       {send(Hook::from_device, kUplink, syn.from(loopback, 1)), no_flow(syn.from(loopback, 1)),
        send(Hook::xdp, kUplink, syn.from(loopback, 1)), no_flow(syn.from(loopback, 1)),
        send(Hook::from_device, kUplink, syn.from(group, 1)), no_flow(syn.from(group, 1)),
        send(Hook::xdp, kUplink, syn.from(group, 1)), no_flow(syn.from(group, 1))}},
      {"outside: the node's answer to a client, forged",
       {standard(net), serving_outside(WEFT_CONFIG_HOST_BACKENDS), backend(3, net.host, 6443, kTcp),
        node_port(net, kNodePort, kTcp, {.backends = {3}})},
       {send(Hook::from_device, kUplink, to_node).becomes(to_node.to(net.host, 6443)).event(kCreated),
        send(Hook::from_device, kUplink, answer.with_flags(kAck)).dropped(WEFT_DROP_SPOOFED_SOURCE),
        send(Hook::to_device, kUplink, answer.with_flags(kAck)).entering(kOther),
        send(Hook::to_device, kUplink, answer).becomes(answer.from(net.host, kNodePort))}},
      {"outside: the node's answer to a client, forged, where XDP met it first",
       {standard(net), serving_outside(WEFT_CONFIG_HOST_BACKENDS), backend(3, net.host, 6443, kTcp),
        node_port(net, kNodePort, kTcp, {.backends = {3}})},
       {send(Hook::xdp, kUplink, to_node).event(kCreated),
        send(Hook::from_device, kUplink, answer.with_flags(kAck)).dropped(WEFT_DROP_SPOOFED_SOURCE)}},
      {"outside: an icmp error to another than the quoted packet's sender",
       backend_at(net.remote),
       {send(Hook::from_device, kUplink, syn).redirected().becomes(to_remote).event(kCreated),
        send(Hook::from_device, kUplink, unreachable(net.remote, net.host, to_remote))
            .becomes(unreachable(net.remote, net.host, to_remote)),
        send(Hook::from_device, kUplink, unreachable(net.remote, net.b, to_remote)),
        send(Hook::from_device, kUplink, unreachable(net.remote, net.nat, to_remote))
            .redirected()
            .becomes(unreachable(net.service, net.client, syn.with_hop_limit(63)))}},
      {"outside: an icmp error about a revoked flow",
       {standard(net), serving_outside(), backend(3, net.b, 8080, kTcp),
        frontend(net.service, 80, kTcp, {.backends = {3}})},
       {send(Hook::from_device, kUplink, syn).redirected().becomes(syn.to(net.b, 8080)).event(kCreated),
        change(pod(net, 'b', {.policy_class = 5, .ingress_enforced = true})), change(bump()),
        send(Hook::from_pod, kPodB, unreachable(net.b, net.client, syn.to(net.b, 8080)))
            .dropped(WEFT_DROP_POLICY_REVOKED, {.type = WEFT_EVENT_DENIED, .source = net.client}),
        send(Hook::from_device, kUplink, unreachable(net.world, net.service, syn.reversed()))
            .dropped(WEFT_DROP_POLICY_REVOKED)}},
      {"outside: an icmp error does not end a flow whose backend is gone",
       {standard(net), serving_outside(), backend(3, net.b, 8080, kTcp),
        frontend(net.service, 80, kTcp, {.backends = {3}})},
       {send(Hook::from_device, kUplink, syn).redirected().becomes(syn.to(net.b, 8080)).event(kCreated),
        change(no_backend(3)), change(bump()),
        send(Hook::from_pod, kPodB, unreachable(net.b, net.client, syn.to(net.b, 8080)))
            .dropped(WEFT_DROP_ICMP_UNRELATED)
            .silently(),
        flow(syn, {.packets = 1})}},
      {"outside: an icmp error about a flow that another node answers",
       {standard(net), serving_outside(), backend(3, net.remote, 8080, kTcp),
        frontend(net.service, 80, kTcp, {.backends = {3}, .forwarding = WEFT_FORWARD_DSR_IPIP})},
       {change([=](Datapath& d) {
          d.run(Hook::xdp, syn, {.ifindex = kUplink});
          d.events();
        }),
        flow(syn, {.exit = WEFT_EXIT_NEIGH}),
        send(Hook::from_device, kUplink, unreachable(net.world, net.service, syn.reversed()))}},
      {"outside: a header in the frame's padding",
       backend_at(net.b),
       {send(Hook::from_device, kUplink, with_length(net, syn.l3_bytes(), (net.v4 ? 20 : 40) + 8)),
        send(Hook::xdp, kUplink, with_length(net, syn.l3_bytes(), (net.v4 ? 20 : 40) + 8)), no_flow(syn)}},
      {"outside: a reset of no flow is told",
       backend_at(net.b),
       {send(Hook::from_device, kUplink, syn.with_flags(kRst))
            .redirected()
            .becomes(syn.with_flags(kRst).to(net.b, 8080))
            .event({.type = WEFT_EVENT_NEW, .source = net.client})
            .event({.type = WEFT_EVENT_CLOSED, .source = net.client, .packets = 1}),
        no_flow(syn), no_flow(syn.to(net.b, 8080).reversed())}},
  };
  if (net.v4)
    all.push_back({"outside: a backend that is a broadcast address",
                   {standard(net), serving_outside(), backend(3, ip("192.0.2.255"), 8080, kTcp),
                    frontend(net.service, 80, kTcp, {.backends = {3}}), one_port,
                    prefix("192.0.2.255/32", WEFT_IDENTITY_WORLD, WEFT_IP_BROADCAST)},
                   {refused(Hook::from_device, WEFT_DROP_MULTICAST), refused(Hook::xdp, WEFT_DROP_MULTICAST)}});
  if (!net.v4) {
    auto mapped = syn.l3_bytes();
    const auto source = ip("203.0.114.50").bytes();
    std::copy(source.begin(), source.end(), mapped.begin() + 8);
    all.push_back({"outside: an IPv4-mapped client",
                   backend_at(net.b),
                   {send(Hook::from_device, kUplink, raw_frame(0x86dd, mapped)),
                    send(Hook::xdp, kUplink, raw_frame(0x86dd, mapped))}});
  }
  return all;
}

// The fragment header of the builder comes last: these put options behind it, as RFC 8200 lets them be.
Packet options_in_fragment(const Packet& packet, bool first) {
  const Octets options{packet.protocol, 0, 1, 4, 0, 0, 0, 0};
  const Octets fragment{60, 0, 0, static_cast<std::uint8_t>(first ? 1 : 16), 0, 0, 0, 9};
  auto bytes = packet.l3_bytes();
  bytes[6] = 44;
  auto more = fragment;
  if (first) more.insert(more.end(), options.begin(), options.end());
  bytes.insert(bytes.begin() + 40, more.begin(), more.end());
  bytes[5] = static_cast<std::uint8_t>(bytes.size() - 40);
  return raw_frame(0x86dd, bytes);
}

Cases options_behind_fragment_header(const Net& net) {
  if (net.v4) return {};
  const auto datagram = udp(net.a, 40000, net.b, 53);
  return {{"options behind the fragment header",
           {standard(net)},
           {send(Hook::from_pod, kPodA, options_in_fragment(datagram, false)).dropped(WEFT_DROP_FRAGMENT_UNKNOWN),
            send(Hook::from_pod, kPodA, options_in_fragment(datagram, true)).redirected().event(kCreated),
            send(Hook::from_pod, kPodA, options_in_fragment(datagram, false)).redirected(),
            flow(datagram, {.packets = 2})}}};
}

// What a pod cannot say for a node: docs/xdp.md, "Who may send".
Cases forged_encapsulation(const Net& net) {
  constexpr std::uint16_t kGeneve = 6081;
  const auto away = udp(net.a, 40000, net.remote, kGeneve);
  const auto from_pod = [](const Packet& packet) { return send(Hook::from_pod, kPodA, packet); };
  const auto forged = [&](const Packet& packet) {
    return from_pod(packet).dropped(WEFT_DROP_ENCAPSULATION, {.type = WEFT_EVENT_DENIED, .source = net.a});
  };
  const auto unknown = [&](std::uint8_t protocol) {
    auto packet = udp(net.a, 0, net.remote, 0);
    packet.protocol = protocol;
    return from_pod(packet).dropped(WEFT_DROP_UNKNOWN_L4).silently();
  };
  const auto client = udp(net.client, kGeneve, net.service, 53);
  Cases all{
      {"Geneve of a pod",
       {standard(net), pod(net, 'c')},
       {forged(away), forged(away.to(net.host, kGeneve)), forged(away.to(net.world, kGeneve)), no_flow(away),
        // to itself, to another pod of the node, and TCP: nothing takes that out
        from_pod(away.to(net.b, kGeneve)).redirected().event(kCreated), from_pod(away.to(net.b, kGeneve)).redirected(),
        from_pod(tcp(net.a, 40000, net.remote, kGeneve))
            .redirected()
            .becomes(tcp(net.nat, 40000, net.remote, kGeneve).with_hop_limit(63))
            .event(kCreated)}},
      {"Geneve of a pod, in fragments",
       {standard(net)},
       {forged(away.first_fragment(7)),
        from_pod(away.later_fragment(7, 16)).dropped(WEFT_DROP_ENCAPSULATION).silently(),
        from_pod(away.later_fragment(8, 16)).dropped(WEFT_DROP_FRAGMENT_UNKNOWN)}},
      {"Geneve of a pod through a service",
       {standard(net), backend(3, net.remote, kGeneve, kUdp), frontend(net.service, 53, kUdp, {.backends = {3}})},
       {forged(away.to(net.service, 53))}},
      {"Geneve of a pod as an answer",
       {standard(net), serving_outside(), backend(3, net.b, 53, kUdp),
        frontend(net.service, 53, kUdp, {.backends = {3}})},
       {send(Hook::from_device, kUplink, client).redirected().becomes(client.to(net.b, 53)).event(kCreated),
        send(Hook::from_pod, kPodB, client.to(net.b, 53).reversed())
            .dropped(WEFT_DROP_ENCAPSULATION, {.type = WEFT_EVENT_DENIED, .source = net.b})}},
      {"IP in IP of a pod",
       {standard(net)},
       {unknown(4).event({.type = WEFT_EVENT_DENIED}), unknown(41).event({.type = WEFT_EVENT_DENIED})}},
  };
  if (!net.v4) {
    auto inside = away.with_extension(60, {0, 0, 1, 4, 0, 0, 0, 0});
    auto ipip = inside;
    ipip.protocol = 41;
    all.push_back({"what only nodes send, of a pod, behind extension headers",
                   {standard(net)},
                   {forged(inside), from_pod(ipip).dropped(WEFT_DROP_UNKNOWN_L4)}});
    return all;
  }
  const auto datagram = udp(net.a, 40000, net.world, 53);
  const Octets option{0x9a, 8, 0, 80, 10, 2, 0, 10};
  const Octets behind{1, 0x94, 4, 0, 0, 1, 1, 1, 0x9a, 8, 0, 80, 10, 2, 0, 10};
  all.push_back({"the option of a node, of a pod",
                 {standard(net)},
                 {forged(datagram.with_options(option)), forged(datagram.to(net.b, 54).with_options(behind)),
                  forged(tcp(net.a, 1, net.host, 80, kSyn).with_options(option)),
                  forged(echo_request(net.a, net.world, 3).with_options(option)),
                  from_pod(datagram.later_fragment(7, 16).with_options(option)).dropped(WEFT_DROP_ENCAPSULATION),
                  // another one, a list that ends before, one that is broken
                  from_pod(datagram.to(net.b, 53).with_options({0x94, 4, 0, 0})).redirected().event(kCreated),
                  from_pod(datagram.to(net.b, 53).with_options({0, 0x9a, 4, 0})).redirected(),
                  from_pod(datagram.to(net.b, 53).with_options({0x94, 0, 0x9a, 4})).redirected()}});
  return all;
}

// The same by a Service of another node, which sends what it translates from its own address.
Cases relayed_encapsulation(const Net& net) {
  const auto client = udp(net.client, 50000, net.service, 53);
  const auto to_backend = [&](const IpAddress& address, std::uint16_t port, weft_forwarding forwarding) {
    return Rows{standard(net),
                far_node(net, WEFT_WAY_GENEVE),
                serving_outside(WEFT_CONFIG_HOST_BACKENDS),
                backend(3, address, port, kUdp),
                frontend(net.service, 53, kUdp, {.backends = {3}, .forwarding = forwarding}),
                configure([](weft_config& config) { config.lb_port_min = config.lb_port_max = 61000; })};
  };
  const Steps refused{
      send(Hook::from_device, kUplink, client).dropped(WEFT_DROP_ENCAPSULATION),
      send(Hook::xdp, kUplink, client).dropped(WEFT_DROP_ENCAPSULATION), no_flow(client),
      send(Hook::from_device, kUplink, client.from(net.remote, 50000)).dropped(WEFT_DROP_ENCAPSULATION)};
  Cases all;
  for (const auto forwarding : {WEFT_FORWARD_SNAT, WEFT_FORWARD_DSR_IPIP, WEFT_FORWARD_DSR_GENEVE})
    for (const std::uint16_t port : {6081, 4789})
      for (const auto& address : {net.remote, net.world, net.host})
        all.push_back({fmt::format("outside: a tunnel's packet through a service, to {} port {}, forwarding {}",
                                   address.to_string(), port, static_cast<int>(forwarding)),
                       to_backend(address, port, forwarding), refused});
  auto direct = to_backend(net.far_gateway, 6081, WEFT_FORWARD_SNAT);
  direct.push_back(far_node(net, WEFT_WAY_DIRECT));
  all.push_back({"outside: a tunnel's packet through a service, to another node's gateway", direct, refused});
  all.push_back({"outside: a pod here may have a tunnel's port",
                 to_backend(net.b, 6081, WEFT_FORWARD_SNAT),
                 {send(Hook::from_device, kUplink, client)
                      .redirected()
                      .becomes(client.to(net.b, 6081))
                      .event({.type = WEFT_EVENT_NEW, .source = net.client})}});
  return all;
}

}  // namespace

Cases hostile_cases(const Net& net) {
  Cases all;
  for (const CaseTable table :
       {icmp_error_smuggling, padded_headers, forged_host, other_icmp, reserved_addresses, groups,
        echo_without_identifier, options_behind_fragment_header, forged_encapsulation, relayed_encapsulation, outside})
    for (auto& each : table(net)) all.push_back(std::move(each));
  return all;
}

}  // namespace weft::test
