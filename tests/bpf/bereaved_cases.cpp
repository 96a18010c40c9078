// Backends that leave: drained, or gone with connections reset and datagrams moved; and what a backend is
// counted for.
#include <arpa/inet.h>

#include "fixture.h"

namespace weft::test {
namespace {

const EventWant kCreated{.type = WEFT_EVENT_NEW};
const EventWant kClosed{.type = WEFT_EVENT_CLOSED};
constexpr std::array<std::uint8_t, 6> kRouterMac{2, 0, 0, 0, 0, 2};
constexpr std::array<std::uint8_t, 6> kNodeMac{2, 0, 0, 0, 0, 1};

Row all(const Rows& rows) {
  return [rows](Datapath& d) {
    for (const auto& row : rows) row(d);
  };
}

Row change_hint_age(std::uint32_t endpoint, const IpAddress& address, std::uint16_t port, std::uint8_t protocol) {
  const weft_hint_key key{endpoint, to_abi(address), htons(port), protocol, 0};
  return [key](Datapath& d) {
    auto value = d.get<weft_hint>("weft_hint_v2", key).value();
    value.written -= 2000;
    d.put("weft_hint_v2", key, value);
  };
}

Step expect(const char* what, std::function<bool(Datapath&)> holds) {
  return then([=](Datapath& d) {
    if (!holds(d)) throw std::runtime_error(what);
    return Steps{};
  });
}

// A step whose packet becomes a reset because the backend is gone: why, and the flow's last counters.
Step reset(Hook hook, std::uint32_t ifindex, const Packet& packet, const Packet& becomes, const EventWant& why) {
  auto step = send(hook, ifindex, packet).answered(WEFT_DROP_BACKEND_GONE, becomes, why);
  step.want_events.insert(step.want_events.begin(), kClosed);
  return step.counts(WEFT_STAT_REJECTED);
}

Cases connections(const Net& net) {
  const auto ack = tcp(net.a, 40000, net.service, 80);
  const auto inside = ack.to(net.b, 8080);
  const auto from_client = tcp(net.client, 50000, net.service, 80);
  const auto direct = tcp(net.a, 40000, net.b, 8080);
  const auto from_host = tcp(net.host, 40000, net.b, 8080);
  const Row setup = all({standard(net), backend(3, net.b, 8080, kTcp),
                         frontend(net.service, 80, kTcp, {.backends = {3}}), serving_outside()});
  const Row gone = all({frontend(net.service, 80, kTcp, {}), no_backend(3), bump()});
  const EventWant why{.type = WEFT_EVENT_DENIED,
                      .source = net.a,
                      .destination = net.service,
                      .backend = net.b,
                      .destination_port = 80,
                      .backend_port = 8080,
                      .service_id = kService};
  const EventWant why_outside{.type = WEFT_EVENT_DENIED, .source = net.client, .destination = net.service};
  return {
      {"gone: the client's packet becomes a reset for the backend",
       {setup},
       {send(Hook::from_pod, kPodA, ack).redirected().becomes(inside).event(kCreated), change(gone),
        reset(Hook::from_pod, kPodA, ack, inside.broken_off(), why), no_flow(ack), no_flow(inside.reversed()),
        // the rest of the connection meets a service without backends
        send(Hook::from_pod, kPodA, ack).answered(WEFT_DROP_NO_BACKEND, ack.refused()).silently()}},
      {"gone: the backend's packet becomes a reset for the client",
       {setup},
       {send(Hook::from_pod, kPodA, ack).redirected().becomes(inside).event(kCreated), change(gone),
        reset(Hook::from_pod, kPodB, inside.reversed(), ack.reversed().broken_off(), why), no_flow(ack),
        no_flow(inside.reversed())}},
      {"gone: a client outside",
       {setup},
       {send(Hook::from_device, kUplink, from_client).redirected().becomes(from_client.to(net.b, 8080)).event(kCreated),
        change(gone),
        reset(Hook::from_device, kUplink, from_client, from_client.to(net.b, 8080).broken_off(), why_outside)}},
      {"gone: told to a client outside by the backend's packet",
       {setup},
       {send(Hook::from_device, kUplink, from_client).redirected().becomes(from_client.to(net.b, 8080)).event(kCreated),
        change(gone),
        reset(Hook::from_pod, kPodB, from_client.to(net.b, 8080).reversed(), from_client.reversed().broken_off(),
              why_outside)}},
      {"gone: what the socket hook had translated",
       {setup, hint(11, net.b, 8080, kTcp, kService, 3)},
       {send(Hook::from_pod, kPodA, direct).redirected().event({.type = WEFT_EVENT_NEW, .service_id = kService}),
        flow(direct, {.service_id = kService, .backend_id = 3, .flags_set = WEFT_FLOW_COUNTED}), change(gone),
        reset(Hook::from_pod, kPodA, direct, direct.broken_off(),
              {.type = WEFT_EVENT_DENIED, .source = net.a, .destination = net.b, .service_id = kService}),
        // reached without the service from now on
        send(Hook::from_pod, kPodA, direct).redirected().event({.type = WEFT_EVENT_NEW, .service_id = 0}),
        flow(direct, {.backend_id = 0, .flags_clear = WEFT_FLOW_COUNTED})}},
      {"gone: the node's own connection",
       {setup, hint(1, net.b, 8080, kTcp, kService, 3)},
       {send(Hook::to_pod, kPodB, from_host).event({.type = WEFT_EVENT_NEW, .service_id = kService}),
        flow(from_host, {.backend_id = 3, .flags_set = WEFT_FLOW_COUNTED}), change(gone), then([=](Datapath& d) {
          auto step = reset(Hook::to_pod, kPodB, from_host, from_host.broken_off(), {.type = WEFT_EVENT_DENIED});
          step.want_verdict = kActOk;
          (void)d;
          return Steps{step};
        })}},
      {"a hint long written is not about this connection",
       {setup, hint(11, net.b, 8080, kTcp, kService, 3), change_hint_age(11, net.b, 8080, kTcp)},
       {send(Hook::from_pod, kPodA, direct).redirected().event({.type = WEFT_EVENT_NEW, .service_id = 0}),
        flow(direct, {.backend_id = 0})}},
      {"gone: a reset passes, a new connection goes elsewhere",
       {setup, pod(net, 'c'), backend(4, net.c, 8080, kTcp)},
       {send(Hook::from_pod, kPodA, ack).redirected().becomes(inside).event(kCreated),
        send(Hook::from_pod, kPodA, ack.from(net.a, 40001))
            .redirected()
            .becomes(inside.from(net.a, 40001))
            .event(kCreated),
        change(frontend(net.service, 80, kTcp, {.backends = {4}, .first_slot = 20})), change(no_backend(3)),
        change(bump()),
        send(Hook::from_pod, kPodA, ack.with_flags(kRst)).redirected().becomes(inside.with_flags(kRst)).event(kClosed),
        send(Hook::from_pod, kPodA, ack.from(net.a, 40001).with_flags(kSyn))
            .redirected()
            .becomes(ack.from(net.a, 40001).to(net.c, 8080).with_flags(kSyn))
            .event({.type = WEFT_EVENT_NEW, .backend = net.c}),
        expect("counts of a backend that is gone",
               [](Datapath& d) { return backend_stats(d, 3).active == 0 && backend_stats(d, 4).active == 1; })}},
      {"an id given to another service is not the flow's backend",
       {setup},
       {send(Hook::from_pod, kPodA, ack).redirected().becomes(inside).event(kCreated),
        change(backend(3, net.a, 9, kTcp, WEFT_BACKEND_ACTIVE, 99)), change(bump()),
        reset(Hook::from_pod, kPodA, ack, inside.broken_off(), why)}},
      {"draining: connections stay, with their client outside too",
       {setup},
       {send(Hook::from_pod, kPodA, ack).redirected().becomes(inside).event(kCreated),
        send(Hook::from_device, kUplink, from_client).redirected().becomes(from_client.to(net.b, 8080)).event(kCreated),
        change(
            all({frontend(net.service, 80, kTcp, {}), backend(3, net.b, 8080, kTcp, WEFT_BACKEND_DRAINING), bump()})),
        send(Hook::from_pod, kPodA, ack).redirected().becomes(inside),
        send(Hook::from_device, kUplink, from_client).redirected().becomes(from_client.to(net.b, 8080)),
        send(Hook::from_device, kUplink, from_client.from(net.client, 1).with_flags(kSyn))
            .answered(WEFT_DROP_NO_BACKEND,
                      from_client.from(net.client, 1).with_flags(kSyn).refused().with_macs(kRouterMac, kNodeMac))}},
  };
}

Cases datagrams(const Net& net) {
  const auto datagram = udp(net.client, 50000, net.service, 53);
  const auto direct = udp(net.a, 40000, net.b, 53);
  const auto from_host = udp(net.host, 40000, net.b, 53);
  return {
      {"gone: a client's datagrams move on",
       {standard(net), pod(net, 'c'), serving_outside(), backend(3, net.b, 53, kUdp), backend(4, net.c, 53, kUdp),
        frontend(net.service, 53, kUdp, {.backends = {3}})},
       {send(Hook::from_device, kUplink, datagram).redirected().becomes(datagram.to(net.b, 53)).event(kCreated),
        change(frontend(net.service, 53, kUdp, {.backends = {4}, .first_slot = 20})), change(no_backend(3)),
        change(bump()),
        send(Hook::from_device, kUplink, datagram)
            .redirected()
            .becomes(datagram.to(net.c, 53))
            .event({.type = WEFT_EVENT_NEW, .backend = net.c}),
        no_flow(datagram.to(net.b, 53).reversed()),
        expect("a datagram's backend is counted",
               [](Datapath& d) {
                 return backend_stats(d, 3).active == 0 && backend_stats(d, 3).connections == 1 &&
                        backend_stats(d, 4).active == 1;
               })}},
      {"gone: a connected datagram socket is told, once",
       {standard(net), backend(3, net.b, 53, kUdp), hint(11, net.b, 53, kUdp, kService, 3)},
       {send(Hook::from_pod, kPodA, direct).redirected().event({.type = WEFT_EVENT_NEW, .service_id = kService}),
        change(no_backend(3)), change(bump()),
        // what the backend still answers arrives
        send(Hook::from_pod, kPodB, direct.reversed()).redirected(), change(bump()),
        send(Hook::from_pod, kPodA, direct)
            .answered(WEFT_DROP_BACKEND_GONE, direct.unreachable_port(),
                      {.type = WEFT_EVENT_DENIED, .service_id = kService}),
        send(Hook::from_pod, kPodA, direct).redirected().event({.type = WEFT_EVENT_NEW, .service_id = 0})}},
      {"gone: a new socket from an old one's port keeps its first datagram",
       {standard(net), backend(3, net.b, 53, kUdp), hint(11, net.b, 53, kUdp, kService, 3)},
       {send(Hook::from_pod, kPodA, direct).redirected().event({.type = WEFT_EVENT_NEW, .service_id = kService}),
        change(no_backend(3)), change(backend(5, net.b, 53, kUdp)), change(hint(11, net.b, 53, kUdp, kService, 5)),
        change(bump()),
        send(Hook::from_pod, kPodA, direct).redirected().event({.type = WEFT_EVENT_NEW, .service_id = kService}),
        flow(direct, {.backend_id = 5, .packets = 1, .flags_set = WEFT_FLOW_COUNTED}),
        expect("counts of two backends at one address",
               [](Datapath& d) { return backend_stats(d, 3).active == 0 && backend_stats(d, 5).active == 1; })}},
      {"gone: a new socket of the node from an old one's port, by way of another service",
       {standard(net), backend(3, net.b, 53, kUdp), hint(1, net.b, 53, kUdp, kService, 3)},
       {send(Hook::to_pod, kPodB, from_host).event({.type = WEFT_EVENT_NEW, .service_id = kService}),
        change(no_backend(3)), change(backend(5, net.b, 53, kUdp, WEFT_BACKEND_ACTIVE, 8)),
        change(hint(1, net.b, 53, kUdp, 8, 5)), change(bump()),
        send(Hook::to_pod, kPodB, from_host).event({.type = WEFT_EVENT_NEW, .service_id = 8}),
        flow(from_host, {.service_id = 8, .backend_id = 5})}},
  };
}

Cases counting(const Net& net) {
  const auto syn = tcp(net.a, 40000, net.service, 80, kSyn);
  const auto inside = syn.to(net.b, 8080);
  const auto length = [](const Packet& packet) { return packet.l3_bytes().size(); };
  const auto ack = syn.with_flags(kAck);
  const auto answer = inside.reversed().with_flags(kSyn | kAck);
  const Row setup =
      all({standard(net), backend(3, net.b, 8080, kTcp), frontend(net.service, 80, kTcp, {.backends = {3}})});
  return {
      {"a backend's connections, open ones, packets and bytes",
       {setup},
       {send(Hook::from_pod, kPodA, syn).redirected().becomes(inside).event(kCreated),
        expect("opened",
               [](Datapath& d) {
                 const auto stats = backend_stats(d, 3);
                 return stats.connections == 1 && stats.active == 1 && stats.packets == 0;
               }),
        send(Hook::from_pod, kPodB, answer).redirected().becomes(answer.from(net.service, 80)),
        send(Hook::from_pod, kPodA, ack.with_flags(kFin | kAck)).redirected().becomes(inside.with_flags(kFin | kAck)),
        expect("half closed", [](Datapath& d) { return backend_stats(d, 3).active == 1; }),
        send(Hook::from_pod, kPodB, answer.with_flags(kFin | kAck))
            .redirected()
            .becomes(answer.with_flags(kFin | kAck).from(net.service, 80))
            .event(kClosed),
        expect("closed",
               [=](Datapath& d) {
                 const auto stats = backend_stats(d, 3);
                 return stats.connections == 1 && stats.active == 0 && stats.packets == 4 &&
                        stats.bytes == 4 * length(syn);
               }),
        // what follows the end is not counted again
        send(Hook::from_pod, kPodA, ack.with_flags(kRst)).redirected().becomes(inside.with_flags(kRst)),
        flow(syn, {.flags_clear = WEFT_FLOW_COUNTED}),
        expect("once", [](Datapath& d) { return backend_stats(d, 3).active == 0; }),
        send(Hook::from_pod, kPodA, syn).redirected().becomes(inside).event(kCreated),
        expect("anew",
               [](Datapath& d) { return backend_stats(d, 3).active == 1 && backend_stats(d, 3).connections == 2; })}},
      {"open connections are never fewer than none",
       {setup},
       {send(Hook::from_pod, kPodA, syn).redirected().becomes(inside).event(kCreated),
        change([](Datapath& d) { d.put("weft_bstat_v1", std::uint32_t{3}, weft_backend_stats{}); }),
        send(Hook::from_pod, kPodA, ack.with_flags(kRst)).redirected().becomes(inside.with_flags(kRst)).event(kClosed),
        expect("below zero", [](Datapath& d) { return backend_stats(d, 3).active == 0; })}},
      {"a reset that starts nothing counts nothing",
       {setup},
       {send(Hook::from_pod, kPodA, syn.with_flags(kRst))
            .redirected()
            .becomes(inside.with_flags(kRst))
            .event({.type = WEFT_EVENT_NEW, .service_id = kService})
            .event({.type = WEFT_EVENT_CLOSED, .service_id = kService}),
        no_flow(syn),
        expect("counted",
               [](Datapath& d) {
                 const auto stats = backend_stats(d, 3);
                 return stats.connections == 0 && stats.active == 0;
               })}},
      {"a denied flow counts nothing",
       {setup, pod(net, 'b', {.policy_class = 5, .ingress_enforced = true, .prefix_mask = 1u << 16})},
       {send(Hook::from_pod, kPodA, syn).dropped(WEFT_DROP_POLICY_DENIED),
        expect("counted", [](Datapath& d) { return backend_stats(d, 3).connections == 0; })}},
  };
}

}  // namespace

Cases bereaved_cases(const Net& net) {
  Cases all;
  for (const auto table : {connections, datagrams, counting})
    for (auto& each : table(net)) all.push_back(std::move(each));
  return all;
}

}  // namespace weft::test
