// Services translated packet by packet, for pods whose sockets the socket hook does not see.
#include <set>

#include <arpa/inet.h>

#include "fixture.h"

namespace weft::test {
namespace {

// Who a pod is to affinity and hashes.
weft_addr client_address(std::uint32_t endpoint) { return {{0, 0, 0, htonl(endpoint)}}; }

Row one_backend(const Net& net, std::uint8_t protocol, const IpAddress& at, std::uint16_t port) {
  const Rows rows{backend(3, at, port, protocol), service(net.service, 80, protocol, kService, {3})};
  return [rows](Datapath& d) {
    for (const auto& row : rows) row(d);
  };
}

Cases translated(const Net& net) {
  const auto syn = tcp(net.a, 40000, net.service, 80, kSyn);
  const auto answer = tcp(net.b, 8080, net.a, 40000, kSyn | kAck);
  const auto datagram = udp(net.a, 40000, net.service, 80);
  return {
      {"tcp to a service and back",
       {standard(net), one_backend(net, kTcp, net.b, 8080)},
       {send(Hook::from_pod, kPodA, syn)
            .redirected()
            .becomes(syn.to(net.b, 8080))
            .counts(WEFT_STAT_PACKET_TRANSLATED)
            .event({.type = WEFT_EVENT_NEW,
                    .destination = net.service,
                    .backend = net.b,
                    .destination_port = 80,
                    .backend_port = 8080,
                    .destination_identity = 1002,
                    .service_id = kService,
                    .destination_endpoint = 12}),
        flow(syn, {.exit = WEFT_EXIT_PEER,
                   .out_ifindex = kPodB,
                   .service_id = kService,
                   .backend_id = 3,
                   .flags_set = WEFT_FLOW_DNAT}),
        flow(answer, {.service_id = kService, .backend_id = 3, .flags_set = WEFT_FLOW_REPLY | WEFT_FLOW_SNAT}),
        send(Hook::from_pod, kPodB, answer).redirected().becomes(answer.from(net.service, 80)),
        send(Hook::from_pod, kPodA, syn.with_flags(kAck)).redirected().becomes(syn.with_flags(kAck).to(net.b, 8080)),
        send(Hook::from_pod, kPodB, answer.with_flags(kAck))
            .redirected()
            .becomes(answer.with_flags(kAck).from(net.service, 80))}},
      {"udp to a service and back",
       {standard(net), one_backend(net, kUdp, net.b, 53)},
       {send(Hook::from_pod, kPodA, datagram)
            .redirected()
            .becomes(datagram.to(net.b, 53))
            .event({.type = WEFT_EVENT_NEW, .service_id = kService}),
        send(Hook::from_pod, kPodA, datagram).redirected().becomes(datagram.to(net.b, 53)),
        send(Hook::from_pod, kPodB, datagram.to(net.b, 53).reversed()).redirected().becomes(datagram.reversed())}},
      {"a datagram without checksum stays without",
       {standard(net), one_backend(net, kUdp, net.b, 53)},
       {send(Hook::from_pod, kPodA, datagram.with_checksum(0))
            .redirected()
            .becomes(datagram.with_checksum(0).to(net.b, 53))
            .event({.type = WEFT_EVENT_NEW}),
        send(Hook::from_pod, kPodA, datagram.with_checksum(0))
            .redirected()
            .becomes(datagram.with_checksum(0).to(net.b, 53))}},
      {"sctp keeps its port",
       {standard(net), one_backend(net, kSctp, net.b, 80)},
       {send(Hook::from_pod, kPodA, sctp(net.a, 40000, net.service, 80))
            .redirected()
            .becomes(sctp(net.a, 40000, net.b, 80))
            .event({.type = WEFT_EVENT_NEW}),
        send(Hook::from_pod, kPodB, sctp(net.b, 80, net.a, 40000))
            .redirected()
            .becomes(sctp(net.service, 80, net.a, 40000))}},
      {"sctp to another port cannot be",
       {standard(net), one_backend(net, kSctp, net.b, 81)},
       {send(Hook::from_pod, kPodA, sctp(net.a, 40000, net.service, 80))
            .dropped(WEFT_DROP_SCTP_PORT, {.type = WEFT_EVENT_DENIED, .service_id = kService}),
        no_flow(sctp(net.a, 40000, net.service, 80))}},
      {"policy sees the backend",
       {standard(net), one_backend(net, kTcp, net.b, 8080),
        pod(net, 'b', {.policy_class = 5, .ingress_enforced = true, .prefix_mask = 1u << 16}),
        policy(5, WEFT_INGRESS, 1001, kTcp, 8080, 16, 33)},
       {send(Hook::from_pod, kPodA, syn)
            .redirected()
            .becomes(syn.to(net.b, 8080))
            .event({.type = WEFT_EVENT_NEW, .ingress_rule = 33}),
        change(no_policy(5, WEFT_INGRESS, 1001, kTcp, 8080, 16)), change(bump()),
        send(Hook::from_pod, kPodA, syn.with_flags(kAck))
            .dropped(WEFT_DROP_POLICY_REVOKED, {.type = WEFT_EVENT_DENIED,
                                                .destination = net.service,
                                                .backend = net.b,
                                                .destination_port = 80,
                                                .ingress_rule = 70,
                                                .service_id = kService})}},
      {"a revoked service flow seen by the backend",
       {standard(net), one_backend(net, kTcp, net.b, 8080)},
       {send(Hook::from_pod, kPodA, syn).redirected().becomes(syn.to(net.b, 8080)).event({.type = WEFT_EVENT_NEW}),
        change(pod(net, 'b', {.policy_class = 5, .ingress_enforced = true, .prefix_mask = 1u << 16})), change(bump()),
        send(Hook::from_pod, kPodB, answer.with_flags(kAck))
            .dropped(WEFT_DROP_POLICY_REVOKED, {.type = WEFT_EVENT_DENIED,
                                                .source = net.a,
                                                .destination = net.service,
                                                .backend = net.b,
                                                .destination_port = 80,
                                                .backend_port = 8080,
                                                .service_id = kService})}},
  };
}

Cases far_ends(const Net& net) {
  const auto syn = tcp(net.a, 40000, net.service, 80, kSyn);
  const auto ack = syn.with_flags(kAck);
  const auto inside = ack.to(net.a, 8080).from(net.gateway, 40000);
  const auto outside = ack.to(net.world, 443).from(net.nat, 40000);
  const auto datagram = udp(net.a, 40000, net.service, 80);
  return {
      {"hairpin: a pod's own service",
       {standard(net), one_backend(net, kTcp, net.a, 8080)},
       {send(Hook::from_pod, kPodA, ack)
            .redirected()
            .becomes(inside)
            .event({.type = WEFT_EVENT_NEW, .backend = net.a, .service_id = kService}),
        send(Hook::from_pod, kPodA, inside.reversed()).redirected().becomes(ack.reversed()),
        send(Hook::from_pod, kPodA, ack).redirected().becomes(inside)}},
      {"a backend on the node",
       {standard(net), one_backend(net, kTcp, net.host, 6443)},
       {send(Hook::from_pod, kPodA, ack)
            .becomes(ack.to(net.host, 6443))
            .event({.type = WEFT_EVENT_NEW, .destination_identity = WEFT_IDENTITY_HOST}),
        send(Hook::to_pod, kPodA, ack.to(net.host, 6443).reversed()).becomes(ack.reversed()),
        send(Hook::from_pod, kPodA, ack).becomes(ack.to(net.host, 6443))}},
      {"a backend outside is reached from the node's address",
       {standard(net), one_backend(net, kTcp, net.world, 443)},
       {send(Hook::from_pod, kPodA, ack)
            .redirected()
            .becomes(outside.with_hop_limit(63))
            .event({.type = WEFT_EVENT_NEW, .backend = net.world}),
        send(Hook::from_device, kUplink, outside.reversed()).redirected().becomes(ack.reversed()),
        send(Hook::from_pod, kPodA, ack).redirected().becomes(outside.with_hop_limit(63))}},
      {"a service without backends",
       {standard(net), service(net.service, 80, kTcp, kService, {})},
       {send(Hook::from_pod, kPodA, syn)
            .answered(WEFT_DROP_NO_BACKEND, syn.refused(),
                      {.type = WEFT_EVENT_DENIED,
                       .destination = net.service,
                       .source_identity = 1001,
                       .service_id = kService,
                       .source_endpoint = 11})
            .counts(WEFT_STAT_REJECTED),
        then([](Datapath& d) {
          if (service_state(d, kService).refused != 1) throw std::runtime_error("refusal not counted");
          return Steps{};
        })}},
      {"a service without backends, asked by datagrams",
       {standard(net), service(net.service, 80, kUdp, kService, {})},
       {send(Hook::from_pod, kPodA, datagram).answered(WEFT_DROP_NO_BACKEND, datagram.unreachable_port()),
        send(Hook::from_pod, kPodA, datagram.with_payload(1000).with_checksum(0))
            .answered(WEFT_DROP_NO_BACKEND, datagram.with_payload(1000).with_checksum(0).unreachable_port())
            .silently()}},
      {"a service without backends, asked by others",
       {standard(net), service(net.service, 80, kSctp, kService, {})},
       {send(Hook::from_pod, kPodA, sctp(net.a, 40000, net.service, 80))
            .answered(WEFT_DROP_NO_BACKEND, sctp(net.a, 40000, net.service, 80).unreachable_port())}},
      {"a service without backends, met half way",
       {standard(net), service(net.service, 80, kTcp, kService, {})},
       {send(Hook::from_pod, kPodA, ack).answered(WEFT_DROP_NO_BACKEND, ack.refused()),
        send(Hook::from_pod, kPodA, ack.with_flags(kAck | kFin))
            .answered(WEFT_DROP_NO_BACKEND, ack.with_flags(kAck | kFin).refused())
            .silently(),
        // a reset is not answered
        send(Hook::from_pod, kPodA, ack.with_flags(kRst)).dropped(WEFT_DROP_NO_BACKEND).silently()}},
      {"a slot whose backend is gone",
       {standard(net), service(net.service, 80, kTcp, kService, {9})},
       {send(Hook::from_pod, kPodA, syn).answered(WEFT_DROP_NO_BACKEND, syn.refused())}},
      {"a slot whose backend is gone has neighbours",
       {standard(net), backend(3, net.b, 8080, kTcp), service(net.service, 80, kTcp, kService, {9, 9, 9, 3})},
       {send(Hook::from_pod, kPodA, syn)
            .redirected()
            .becomes(syn.to(net.b, 8080))
            .event({.type = WEFT_EVENT_NEW, .backend = net.b})}},
      {"what the service does not offer",
       {standard(net), one_backend(net, kTcp, net.b, 8080)},
       {send(Hook::from_pod, kPodA, syn.to(net.service, 81)).dropped(WEFT_DROP_UNKNOWN_ENDPOINT),
        send(Hook::from_pod, kPodA, udp(net.a, 1, net.service, 80)).dropped(WEFT_DROP_UNKNOWN_ENDPOINT),
        send(Hook::from_pod, kPodA, echo_request(net.a, net.service, 5)).dropped(WEFT_DROP_UNKNOWN_ENDPOINT)}},
  };
}

Cases backends_change(const Net& net) {
  const auto ack = tcp(net.a, 40000, net.service, 80);
  const auto datagram = udp(net.a, 40000, net.service, 80);
  const EventWant created{.type = WEFT_EVENT_NEW};
  return {
      {"datagrams move on when their backend is gone",
       {standard(net), pod(net, 'c'), one_backend(net, kUdp, net.b, 53)},
       {send(Hook::from_pod, kPodA, datagram).redirected().becomes(datagram.to(net.b, 53)).event(created),
        change(backend(4, net.c, 53, kUdp)), change(service(net.service, 80, kUdp, kService, {4}, 0, 20)),
        change(no_backend(3)), change(bump()),
        send(Hook::from_pod, kPodA, datagram).redirected().becomes(datagram.to(net.c, 53)).event(created),
        no_flow(datagram.to(net.b, 53).reversed()),
        send(Hook::from_pod, kPodC, datagram.to(net.c, 53).reversed()).redirected().becomes(datagram.reversed())}},
      {"datagrams stay with their backend while it is there",
       {standard(net), pod(net, 'c'), one_backend(net, kUdp, net.b, 53)},
       {send(Hook::from_pod, kPodA, datagram).redirected().becomes(datagram.to(net.b, 53)).event(created),
        change(backend(4, net.c, 53, kUdp)), change(service(net.service, 80, kUdp, kService, {4}, 0, 20)),
        change(bump()), send(Hook::from_pod, kPodA, datagram).redirected().becomes(datagram.to(net.b, 53))}},
      {"a connection stays with a backend that is leaving",
       {standard(net), one_backend(net, kTcp, net.b, 8080)},
       {send(Hook::from_pod, kPodA, ack).redirected().becomes(ack.to(net.b, 8080)).event(created),
        change(backend(3, net.b, 8080, kTcp, WEFT_BACKEND_DRAINING)),
        change(service(net.service, 80, kTcp, kService, {})), change(bump()),
        send(Hook::from_pod, kPodA, ack).redirected().becomes(ack.to(net.b, 8080)),
        send(Hook::from_pod, kPodB, ack.to(net.b, 8080).reversed()).redirected().becomes(ack.reversed())}},
      {"a connection ends with the pod behind it",
       {standard(net), one_backend(net, kTcp, net.b, 8080)},
       {send(Hook::from_pod, kPodA, ack).redirected().becomes(ack.to(net.b, 8080)).event(created),
        change(service(net.service, 80, kTcp, kService, {})), change(no_pod(net, 'b')), change(bump()),
        send(Hook::from_pod, kPodA, ack).dropped(WEFT_DROP_UNKNOWN_ENDPOINT), no_flow(ack),
        no_flow(ack.to(net.b, 8080).reversed())}},
      {"a change of epoch keeps the translation in both directions",
       {standard(net), one_backend(net, kTcp, net.b, 8080)},
       {send(Hook::from_pod, kPodA, ack).redirected().becomes(ack.to(net.b, 8080)).event(created), change(bump()),
        send(Hook::from_pod, kPodB, ack.to(net.b, 8080).reversed()).redirected().becomes(ack.reversed()),
        send(Hook::from_pod, kPodA, ack).redirected().becomes(ack.to(net.b, 8080)), change(bump()),
        send(Hook::from_pod, kPodA, ack).redirected().becomes(ack.to(net.b, 8080)),
        flow(ack, {.epoch = 3, .service_id = kService}),
        flow(ack.to(net.b, 8080).reversed(), {.epoch = 3, .service_id = kService})}},
  };
}

// The backend a new flow from this port got, read from its entry.
IpAddress chosen(Datapath& datapath, const Packet& packet) {
  const auto entry = find_flow(datapath, packet).value();
  IpAddress::Bytes bytes{};
  std::memcpy(bytes.data(), &entry.dst_addr, sizeof entry.dst_addr);
  return IpAddress(bytes);
}

std::set<IpAddress> choices(Datapath& datapath, const Net& net, std::uint16_t first_port) {
  std::set<IpAddress> found;
  for (std::uint16_t port = first_port; port < first_port + 64; ++port) {
    const auto packet = tcp(net.a, port, net.service, 80, kSyn);
    datapath.run(Hook::from_pod, packet, {.ifindex = kPodA});
    found.insert(chosen(datapath, packet));
  }
  datapath.events();
  return found;
}

Cases balancing(const Net& net) {
  const Row two = [rows = Rows{backend(3, net.b, 8080, kTcp), backend(4, net.c, 8080, kTcp)}](Datapath& d) {
    for (const auto& row : rows) row(d);
  };
  const auto expect = [](bool holds, const char* what) {
    if (!holds) throw std::runtime_error(what);
    return std::vector<Step>{};
  };
  return {
      {"both backends get connections",
       {standard(net), pod(net, 'c'), two, service(net.service, 80, kTcp, kService, {3, 4})},
       {then([=](Datapath& d) { return expect(choices(d, net, 1000).size() == 2, "one backend got everything"); })}},
      {"affinity keeps a client with one backend, until that is gone",
       {standard(net), pod(net, 'c'), two, service(net.service, 80, kTcp, kService, {3, 4}, 600)},
       {then([=](Datapath& d) {
         const auto first = choices(d, net, 1000);
         if (first.size() != 1) return expect(false, "affinity did not hold");
         no_backend (*first.begin() == net.b ? 3 : 4)(d);
         service(net.service, 80, kTcp, kService, {*first.begin() == net.b ? 4u : 3u}, 600, 30)(d);
         const auto second = choices(d, net, 2000);
         return expect(second.size() == 1 && *second.begin() != *first.begin(), "affinity to a backend that is gone");
       })}},
      {"affinity ends with its time",
       {standard(net), pod(net, 'c'), two, service(net.service, 80, kTcp, kService, {3, 4}, 600)},
       {then([=](Datapath& d) {
         choices(d, net, 1000);
         const weft_affinity_key key{client_address(11), kService, 0};
         auto affinity = d.get<weft_affinity>("weft_affin_v2", key).value();
         const auto last = affinity.backend_id;
         bool moved = false;
         for (std::uint16_t port = 2000; port < 2064 && !moved; ++port) {
           affinity.last_used = 0;  // at boot: more than ten minutes ago only on a machine that is up so long
           d.put("weft_affin_v2", key, affinity);
           service(net.service, 80, kTcp, kService, {3, 4}, 1)(d);
           d.run(Hook::from_pod, tcp(net.a, port, net.service, 80, kSyn), {.ifindex = kPodA});
           moved = d.get<weft_affinity>("weft_affin_v2", key).value().backend_id != last;
         }
         d.events();
         return expect(moved, "affinity never ended");
       })}},
  };
}

// The backend is reached directly and through the service, from one source port: the replies look
// the same, so the second flow leaves from another port.
Cases one_port_two_ways(const Net& net) {
  const auto direct = tcp(net.a, 40000, net.b, 8080);
  const auto through = tcp(net.a, 40000, net.service, 80);
  const EventWant created{.type = WEFT_EVENT_NEW};
  const auto other_way = [=](const Packet& first, const Packet& first_out, const Packet& opening) {
    return then([=](Datapath& d) {
      d.run(Hook::from_pod, opening, {.ifindex = kPodA});
      const auto second = opening.with_flags(kAck);
      d.events();
      const auto port = ntohs(find_flow(d, second).value().src_port);
      if (port == 40000 || port < 32768 || port > 60999) throw std::runtime_error("not given a port of its own");
      const auto second_out = direct.from(net.a, port);
      return std::vector<Step>{
          send(Hook::from_pod, kPodA, second).redirected().becomes(second_out),
          send(Hook::from_pod, kPodB, second_out.reversed()).redirected().becomes(second.reversed()),
          send(Hook::from_pod, kPodA, first).redirected().becomes(first_out),
          send(Hook::from_pod, kPodB, first_out.reversed()).redirected().becomes(first.reversed()),
      };
    });
  };
  return {
      {"directly, then through the service",
       {standard(net), one_backend(net, kTcp, net.b, 8080)},
       {send(Hook::from_pod, kPodA, direct).redirected().event(created), other_way(direct, direct, through)}},
      {"directly but not yet answered, then through the service",
       {standard(net), one_backend(net, kTcp, net.b, 8080)},
       {send(Hook::from_pod, kPodA, direct.with_flags(kSyn)).redirected().event(created),
        other_way(direct, direct, through)}},
      {"through the service, then directly by a new connection",
       {standard(net), one_backend(net, kTcp, net.b, 8080)},
       {send(Hook::from_pod, kPodA, through).redirected().becomes(direct).event(created),
        other_way(through, direct, direct.with_flags(kSyn))}},
      {"through the service, then directly",
       {standard(net), one_backend(net, kTcp, net.b, 8080)},
       {send(Hook::from_pod, kPodA, through).redirected().becomes(direct).event(created),
        other_way(through, direct, direct)}},
      {"through the service after a direct connection has closed",
       {standard(net), one_backend(net, kTcp, net.b, 8080)},
       {send(Hook::from_pod, kPodA, direct).redirected().event(created),
        send(Hook::from_pod, kPodA, direct.with_flags(kRst)).redirected().event({.type = WEFT_EVENT_CLOSED}),
        send(Hook::from_pod, kPodA, through.with_flags(kSyn))
            .redirected()
            .becomes(direct.with_flags(kSyn))
            .event(created)}},
  };
}

}  // namespace

Cases service_cases(const Net& net) {
  Cases all;
  for (const auto table : {translated, far_ends, backends_change, balancing, one_port_two_ways})
    for (auto& each : table(net)) all.push_back(std::move(each));
  return all;
}

}  // namespace weft::test
