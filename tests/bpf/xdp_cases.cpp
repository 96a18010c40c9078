// Before the stack: clients' flows to backends elsewhere leave by XDP, all else passes to tc with the same entries.
#include <arpa/inet.h>
#include <sys/socket.h>

#include <memory>
#include <stdexcept>

#include "base/fd.h"
#include "fixture.h"

namespace weft::test {
namespace {

using Mac = std::array<std::uint8_t, 6>;
constexpr Mac kUplinkMac{2, 0, 0, 0, 1, 0x10};
constexpr Mac kOtherMac{2, 0, 0, 0, 1, 0x11};
constexpr Mac kRouterMac{2, 0, 0, 0, 0, 0xfe};
constexpr Mac kRemoteMac{2, 0, 0, 0, 0, 0x77};
constexpr Mac kSubnetMac{2, 0, 0, 0, 0, 9};
constexpr std::uint16_t kLbPort = 61000;

const EventWant kCreated{.type = WEFT_EVENT_NEW};

Packet hop(const Packet& packet) { return packet.with_hop_limit(63); }
Packet to_remote(const Packet& packet) { return hop(packet).with_macs(kRemoteMac, kUplinkMac); }
Packet to_router(const Packet& packet) { return hop(packet).with_macs(kRouterMac, kUplinkMac); }

Step xdp(const Packet& packet) { return send(Hook::xdp, kUplink, packet); }
Step xdp_sends(const Packet& packet, const Packet& output) {
  Step step = xdp(packet);
  step.want_verdict = kXdpTx;
  return step.becomes(output).counts(WEFT_STAT_XDP_FORWARDED);
}

Row all(Rows rows) {
  return [rows = std::move(rows)](Datapath& d) {
    for (const auto& row : rows) row(d);
  };
}

Row base(const Net& net) {
  return all({standard(net), serving_outside(), port_in(WEFT_PORTS_DEVICE, kTcp, kLbPort),
              port_in(WEFT_PORTS_DEVICE, kUdp, kLbPort),
              configure([](weft_config& config) { config.lb_port_min = config.lb_port_max = kLbPort; })});
}

Row elsewhere(const Net& net, const ServiceOptions& options = {.backends = {3}}) {
  return all({base(net), backend(3, net.remote, 8080, kTcp), frontend(net.service, 80, kTcp, options)});
}

Row sends_by(std::uint32_t ifindex) {
  return [=](Datapath& d) { d.put("weft_xdpdev_v1", ifindex, std::uint32_t{1}); };
}

Step expect(const char* what, std::function<bool(Datapath&)> holds) {
  return then([=](Datapath& d) {
    if (!holds(d)) throw std::runtime_error(what);
    return Steps{};
  });
}

// A socket of the node's own, for as long as the case that opened it needs it.
class NodeSocket {
 public:
  explicit NodeSocket(int type) : type_(type) {}
  [[nodiscard]] Row open() const {
    return [fd = fd_, type = type_](Datapath&) {
      *fd = Fd(socket(AF_INET6, type | SOCK_CLOEXEC, 0));
      sockaddr_in6 any{};
      any.sin6_family = AF_INET6;
      any.sin6_port = htons(kLbPort);
      if (bind(fd->get(), reinterpret_cast<const sockaddr*>(&any), sizeof any) != 0 ||
          (type == SOCK_STREAM && listen(fd->get(), 1) != 0))
        throw std::runtime_error("cannot bind a socket of the node's");
    };
  }
  [[nodiscard]] Step close() const {
    return change([fd = fd_](Datapath&) { fd->reset(); });
  }

 private:
  int type_;
  std::shared_ptr<Fd> fd_ = std::make_shared<Fd>();
};

Row ports_reserved() {
  return configure([](weft_config& config) { config.flags |= WEFT_CONFIG_LB_PORTS_RESERVED; });
}

struct Talk {
  Packet syn, ack, out, out_ack, answer, answer_ack, back, back_ack;
  explicit Talk(const Net& net)
      : syn(tcp(net.client, 50000, net.service, 80, kSyn)),
        ack(syn.with_flags(kAck)),
        out(to_remote(syn.to(net.remote, 8080).from(net.nat, kLbPort))),
        out_ack(out.with_flags(kAck)),
        answer(tcp(net.remote, 8080, net.nat, kLbPort, kSyn | kAck)),
        answer_ack(answer.with_flags(kAck)),
        back(to_router(answer.from(net.service, 80).to(net.client, 50000))),
        back_ack(back.with_flags(kAck)) {}
  // As tc sends: the kernel writes the addresses of the link later.
  [[nodiscard]] static Packet by_tc(const Packet& packet) {
    return packet.with_macs(Packet{}.to_mac, Packet{}.from_mac);
  }
};

Cases translated(const Net& net) {
  const Talk talk(net);
  const NodeSocket stream_socket(SOCK_STREAM);
  const NodeSocket datagram_socket(SOCK_DGRAM);
  const auto datagram = udp(net.client, 50000, net.service, 53);
  const auto datagram_out = to_remote(datagram.to(net.remote, 5353).from(net.nat, kLbPort));
  const Row datagrams =
      all({base(net), backend(3, net.remote, 5353, kUdp), frontend(net.service, 53, kUdp, {.backends = {3}})});
  return {
      {"XDP: a connection to a backend elsewhere and back",
       {elsewhere(net)},
       {xdp_sends(talk.syn, talk.out)
            .event({.type = WEFT_EVENT_NEW,
                    .source = net.client,
                    .destination = net.service,
                    .backend = net.remote,
                    .source_port = 50000,
                    .destination_port = 80,
                    .backend_port = 8080,
                    .source_identity = WEFT_IDENTITY_WORLD,
                    .destination_identity = WEFT_IDENTITY_WORLD,
                    .service_id = kService,
                    .source_endpoint = 0,
                    .destination_endpoint = 0,
                    .hook = WEFT_HOOK_XDP}),
        flow(talk.syn, {.exit = WEFT_EXIT_NEIGH,
                        .out_ifindex = kUplink,
                        .in_ifindex = 0,
                        .epoch = 1,
                        .service_id = kService,
                        .backend_id = 3,
                        .mtu = 1500,
                        .packets = 1,
                        .bytes = talk.syn.l3_bytes().size(),
                        .flags_set = WEFT_FLOW_DNAT | WEFT_FLOW_SNAT | WEFT_FLOW_EXTERNAL | WEFT_FLOW_COUNTED |
                                     WEFT_FLOW_OPENING}),
        flow(talk.answer,
             {.exit = WEFT_EXIT_NEIGH,
              .out_ifindex = kUplink,
              .mtu = 1500,
              .packets = 0,
              .flags_set = WEFT_FLOW_REPLY | WEFT_FLOW_DNAT | WEFT_FLOW_SNAT | WEFT_FLOW_EXTERNAL | WEFT_FLOW_OPENING}),
        xdp_sends(talk.syn, talk.out),  // sent again
        xdp_sends(talk.answer, talk.back), flow(talk.syn, {.packets = 2, .flags_set = WEFT_FLOW_OPENING}),
        xdp_sends(talk.ack, talk.out_ack), xdp_sends(talk.answer_ack, talk.back_ack),
        flow(talk.syn, {.packets = 3, .flags_set = WEFT_FLOW_COUNTED, .flags_clear = WEFT_FLOW_OPENING}),
        flow(talk.answer, {.packets = 2, .flags_clear = WEFT_FLOW_OPENING}),
        expect("the backend's flow is not counted once",
               [](Datapath& d) { return backend_stats(d, 3).active == 1 && backend_stats(d, 3).connections == 1; })}},
      {"XDP: the end of a connection",
       {elsewhere(net)},
       {xdp_sends(talk.syn, talk.out).event(kCreated), xdp_sends(talk.answer, talk.back),
        xdp_sends(talk.ack.with_flags(kFin | kAck), talk.out.with_flags(kFin | kAck)),
        flow(talk.ack, {.flags_set = WEFT_FLOW_FIN, .flags_clear = WEFT_FLOW_CLOSED}),
        xdp_sends(talk.answer.with_flags(kFin | kAck), talk.back.with_flags(kFin | kAck))
            .event({.type = WEFT_EVENT_CLOSED,
                    .source = net.client,
                    .destination = net.service,
                    .backend = net.remote,
                    .service_id = kService,
                    .hook = WEFT_HOOK_XDP,
                    .packets = 2,
                    .reply_packets = 2}),
        expect("the backend is not free", [](Datapath& d) { return backend_stats(d, 3).active == 0; }),
        xdp_sends(talk.ack, talk.out_ack),
        // the same ports again
        xdp_sends(talk.syn, talk.out).event(kCreated), flow(talk.syn, {.packets = 1, .flags_clear = WEFT_FLOW_CLOSED}),
        expect("the backend is free", [](Datapath& d) { return backend_stats(d, 3).active == 1; })}},
      // Anybody may have written it.
      {"XDP: a reset ends nothing that goes on",
       {elsewhere(net)},
       {xdp_sends(talk.syn, talk.out).event(kCreated), xdp_sends(talk.answer, talk.back),
        xdp_sends(talk.ack, talk.out_ack), xdp_sends(talk.ack.with_flags(kRst), talk.out.with_flags(kRst)),
        flow(talk.syn, {.flags_set = WEFT_FLOW_RESET | WEFT_FLOW_COUNTED, .flags_clear = WEFT_FLOW_CLOSED}),
        flow(talk.answer, {.flags_set = WEFT_FLOW_RESET, .flags_clear = WEFT_FLOW_CLOSED}),
        xdp_sends(talk.ack, talk.out_ack), flow(talk.syn, {.flags_clear = WEFT_FLOW_RESET}),
        xdp_sends(talk.answer.with_flags(kRst), talk.back.with_flags(kRst)),
        flow(talk.answer, {.flags_set = WEFT_FLOW_RESET, .flags_clear = WEFT_FLOW_CLOSED}),
        xdp_sends(talk.answer_ack, talk.back_ack), flow(talk.answer, {.flags_clear = WEFT_FLOW_RESET}),
        xdp_sends(talk.ack, talk.out_ack),
        expect("the backend has lost its flow", [](Datapath& d) { return backend_stats(d, 3).active == 1; })}},
      {"XDP: datagrams, with and without a checksum",
       {datagrams},
       {xdp_sends(datagram, datagram_out).event(kCreated),
        xdp_sends(datagram.with_checksum(0), datagram_out.with_checksum(0)),
        xdp_sends(datagram.to(net.remote, 5353).from(net.nat, kLbPort).reversed(), to_router(datagram.reversed()))}},
      {"XDP: a checksum that becomes zero is written as its complement", {datagrams}, {then([=](Datapath&) {
         // the two bytes that make the sum of what leaves come out so
         auto packet = datagram.with_payload(2);
         auto sent = datagram_out.with_payload(2);
         packet.payload = sent.payload = {0, 0};
         const auto filler = sent.transport_checksum();
         sent.payload = packet.payload = {static_cast<std::uint8_t>(filler >> 8), static_cast<std::uint8_t>(filler)};
         return Steps{xdp_sends(packet, sent.with_checksum(0xffff)).event(kCreated)};
       })}},
      {"XDP: a port that a socket of the node has",
       {elsewhere(net), stream_socket.open()},
       {xdp(talk.syn).dropped(WEFT_DROP_NAT_EXHAUSTED), stream_socket.close(),
        xdp_sends(talk.syn, talk.out).event(kCreated)}},
      // (this one was asked for by number)
      {"XDP: of reserved ports nobody asks which the node's sockets have",
       {elsewhere(net), ports_reserved(), stream_socket.open()},
       {xdp_sends(talk.syn, talk.out).event(kCreated), stream_socket.close()}},
      {"XDP: a resolver's datagrams have ports of its own choice, reserved or not",
       {datagrams, ports_reserved(), datagram_socket.open()},
       {xdp(datagram).dropped(WEFT_DROP_NAT_EXHAUSTED), datagram_socket.close(),
        xdp_sends(datagram, datagram_out).event(kCreated)}},
      {"XDP and tc carry on each other's flows",
       {elsewhere(net)},
       {xdp_sends(talk.syn, talk.out).event(kCreated),
        send(Hook::from_device, kUplink, talk.answer).redirected().becomes(Talk::by_tc(talk.back)),
        send(Hook::from_device, kUplink, talk.ack).redirected().becomes(Talk::by_tc(talk.out_ack)),
        flow(talk.syn, {.packets = 2}), flow(talk.answer, {.packets = 1}),
        send(Hook::from_device, kUplink, talk.syn.from(net.client, 50001)).dropped(WEFT_DROP_NAT_EXHAUSTED),
        change(configure([](weft_config& config) { config.lb_port_min = config.lb_port_max = 61001; })),
        change(port_in(WEFT_PORTS_DEVICE, kTcp, 61001)),
        send(Hook::from_device, kUplink, talk.syn.from(net.client, 50001))
            .redirected()
            .becomes(Talk::by_tc(talk.out).from(net.nat, 61001))
            .event(kCreated),
        xdp_sends(talk.ack.from(net.client, 50001), talk.out_ack.from(net.nat, 61001)),
        xdp_sends(talk.answer.to(net.nat, 61001), talk.back.to(net.client, 50001))}},
      {"XDP: a change of epoch is decided by tc",
       {elsewhere(net)},
       {xdp_sends(talk.syn, talk.out).event(kCreated), change(bump()), xdp(talk.ack),
        send(Hook::from_device, kUplink, talk.ack)
            .redirected()
            .becomes(Talk::by_tc(talk.out_ack))
            .counts(WEFT_STAT_REDECIDED),
        xdp_sends(talk.ack, talk.out_ack), xdp_sends(talk.answer, talk.back), flow(talk.ack, {.packets = 3})}},
      {"XDP: sent by another device only where its driver takes it",
       {base(net), backend(3, net.other_subnet, 8080, kTcp), frontend(net.service, 80, kTcp, {.backends = {3}}),
        [](Datapath& d) {
          weft_device device{};
          device.nat_v4 = to_abi(IpAddress::parse("198.51.100.1").value());
          device.nat_v6 = to_abi(IpAddress::parse("2001:db8:5::1").value());
          device.mtu = 1400;
          d.put("weft_dev_v1", std::uint32_t{kOther}, device);
        }},
       {xdp(talk.syn).event(kCreated), flow(talk.syn, {.out_ifindex = kOther, .mtu = 1400, .packets = 0}),
        xdp(talk.ack), change(sends_by(kOther)),
        xdp(talk.ack)
            .redirected()
            .becomes(hop(talk.ack)
                         .to(net.other_subnet, 8080)
                         .from(IpAddress::parse(net.v4 ? "198.51.100.1" : "2001:db8:5::1").value(), kLbPort)
                         .with_macs(kSubnetMac, kOtherMac))
            .counts(WEFT_STAT_XDP_FORWARDED)}},
      {"XDP: an unknown neighbour is found by tc",
       {base(net), backend(3, IpAddress::parse(net.v4 ? "192.0.2.88" : "2001:db8::88").value(), 8080, kTcp),
        frontend(net.service, 80, kTcp, {.backends = {3}})},
       {xdp(talk.syn).event(kCreated), flow(talk.syn, {.packets = 0}), xdp(talk.ack),
        send(Hook::from_device, kUplink, talk.syn)
            .redirected()
            .becomes(Talk::by_tc(talk.out).to(IpAddress::parse(net.v4 ? "192.0.2.88" : "2001:db8::88").value(), 8080)),
        flow(talk.syn, {.packets = 1})}},
  };
}

Cases local(const Net& net) {
  const Talk talk(net);
  const auto to_node = tcp(net.client, 50000, net.host, 30080, kSyn);
  const Row isolated = pod(net, 'b', {.policy_class = 5, .ingress_enforced = true, .prefix_mask = 1u << 16});
  return {
      {"XDP: a flow to a pod here is entered and goes on in tc",
       {base(net), backend(3, net.b, 8080, kTcp), frontend(net.service, 80, kTcp, {.backends = {3}})},
       {xdp(talk.syn).event(
            {.type = WEFT_EVENT_NEW, .backend = net.b, .destination_endpoint = 12, .hook = WEFT_HOOK_XDP}),
        send(Hook::from_device, kUplink, talk.syn).redirected().becomes(talk.syn.to(net.b, 8080)),
        send(Hook::from_pod, kPodB, talk.ack.to(net.b, 8080).reversed()).redirected().becomes(hop(talk.ack.reversed())),
        xdp(talk.ack), send(Hook::from_device, kUplink, talk.ack).redirected().becomes(talk.ack.to(net.b, 8080)),
        flow(talk.syn, {.packets = 2}),
        expect("not one connection", [](Datapath& d) { return backend_stats(d, 3).connections == 1; })}},
      {"XDP: a flow to the node at its node port",
       {base(net), serving_outside(WEFT_CONFIG_HOST_BACKENDS), backend(3, net.host, 6443, kTcp),
        node_port(net, 30080, kTcp, {.backends = {3}})},
       {xdp(to_node).event(kCreated), send(Hook::from_device, kUplink, to_node).becomes(to_node.to(net.host, 6443)),
        send(Hook::to_device, kUplink, to_node.to(net.host, 6443).reversed().with_flags(kSyn | kAck))
            .becomes(to_node.reversed().with_flags(kSyn | kAck))}},
      {"XDP: round robin takes each backend once",
       {base(net), backend(3, net.b, 8080, kTcp), backend(4, net.remote, 8080, kTcp),
        frontend(net.service, 80, kTcp, {.backends = {3, 4}, .algorithm = WEFT_ALGORITHM_ROUND_ROBIN})},
       {xdp(talk.syn).event({.type = WEFT_EVENT_NEW, .backend = net.b}),
        send(Hook::from_device, kUplink, talk.syn).redirected().becomes(talk.syn.to(net.b, 8080)),
        xdp_sends(talk.syn.from(net.client, 50001), talk.out).event({.type = WEFT_EVENT_NEW, .backend = net.remote}),
        xdp(talk.syn.from(net.client, 50002)).event({.type = WEFT_EVENT_NEW, .backend = net.b})}},
      {"XDP: policy of a pod here",
       {base(net), backend(3, net.b, 8080, kTcp), frontend(net.service, 80, kTcp, {.backends = {3}}), isolated},
       {xdp(talk.syn).dropped(WEFT_DROP_POLICY_DENIED, {.type = WEFT_EVENT_DENIED,
                                                        .source = net.client,
                                                        .backend = net.b,
                                                        .ingress_rule = 70,
                                                        .service_id = kService,
                                                        .direction = WEFT_INGRESS,
                                                        .hook = WEFT_HOOK_XDP}),
        no_flow(talk.syn)}},
  };
}

Cases refused(const Net& net) {
  const Talk talk(net);
  return {
      {"XDP: source ranges",
       {elsewhere(net, {.backends = {3}, .flags = WEFT_SERVICE_EXTERNAL | WEFT_SERVICE_SOURCE_RANGES}),
        source_range(kService, net.v4 ? "9.0.0.0/8" : "2620:fe::/32")},
       {xdp(talk.syn).dropped(
            WEFT_DROP_SOURCE_RANGE,
            {.type = WEFT_EVENT_DENIED, .source = net.client, .service_id = kService, .hook = WEFT_HOOK_XDP}),
        no_flow(talk.syn), xdp(talk.syn).dropped(WEFT_DROP_SOURCE_RANGE).silently(),
        expect("not counted", [](Datapath& d) { return service_state(d, kService).source_denied == 2; }),
        xdp_sends(talk.syn.from(net.world2, 50000), talk.out).event(kCreated)}},
      {"XDP: no source port left",
       {elsewhere(net)},
       {xdp_sends(talk.syn, talk.out).event(kCreated),
        xdp(talk.syn.from(net.client, 50001)).dropped(WEFT_DROP_NAT_EXHAUSTED),
        no_flow(talk.syn.from(net.client, 50001))}},
      {"XDP: no address to translate to",
       {elsewhere(net), uplink(net, 1500, false)},
       {xdp(talk.syn).dropped(WEFT_DROP_NAT_NO_ADDRESS)}},
      {"XDP: no route to the backend",
       {elsewhere(net), backend(3, net.unreachable, 8080, kTcp)},
       {xdp(talk.syn).dropped(WEFT_DROP_NO_ROUTE)}},
      {"XDP: a backend nobody has",
       {elsewhere(net), backend(3, net.nobody, 8080, kTcp)},
       {xdp(talk.syn).dropped(WEFT_DROP_UNKNOWN_ENDPOINT)}},
      {"XDP: tc answers where no backend is",
       {base(net), frontend(net.service, 80, kTcp, {.backends = {}})},
       {xdp(talk.syn), no_flow(talk.syn),
        expect("counted twice", [](Datapath& d) { return service_state(d, kService).refused == 0; })}},
  };
}

Cases passed(const Net& net) {
  const Talk talk(net);
  const auto datagram = udp(net.client, 50000, net.service, 80).with_payload(1200);
  const auto large = talk.ack.with_payload(1480);
  // what a device is to complete: the sum of the pseudo header alone
  auto partial = talk.ack;
  {
    auto empty = partial;
    empty.payload.clear();
    const auto l3 = partial.l3_bytes();
    std::uint32_t sum = 6 + static_cast<std::uint32_t>(l3.size()) - (net.v4 ? 20 : 40);
    for (std::size_t i = net.v4 ? 12 : 8; i < (net.v4 ? 20u : 40u); i += 2)
      sum += static_cast<std::uint32_t>(l3[i] << 8 | l3[i + 1]);
    while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
    partial.checksum = static_cast<std::uint16_t>(sum);
  }
  return {
      {"XDP: none of ours",
       {elsewhere(net)},
       {xdp(tcp(net.client, 50000, net.service, 81, kSyn)), xdp(tcp(net.client, 50000, net.host, 22)),
        xdp(udp(net.client, 50000, net.service, 80)), xdp(echo_request(net.client, net.host, 7)),
        xdp(sctp(net.client, 5, net.service, 80)), xdp(tcp(net.client, 50000, net.host, 80, kSyn)),
        xdp(arp(1, kRouterMac, net.client, {}, net.host)), no_flow(talk.syn)}},
      {"XDP: switched off",
       {elsewhere(net), configure([](weft_config& config) { config.flags &= ~std::uint32_t{WEFT_CONFIG_EXTERNAL}; })},
       {xdp(talk.syn), no_flow(talk.syn)}},
      {"XDP: what only tc can do",
       {elsewhere(net)},
       {xdp_sends(talk.syn, talk.out).event(kCreated), xdp(talk.ack.with_hop_limit(1)), xdp(large), xdp(partial),
        xdp(talk.ack.cut(net.v4 ? 30 : 50)), xdp(talk.ack.cut(10)), xdp(datagram.first_fragment(9)),
        xdp(datagram.later_fragment(9, 1208)), xdp(unreachable(net.remote, net.nat, talk.out)),
        net.v4 ? xdp(talk.ack.with_options({1, 1, 1, 0}))
               : xdp(talk.ack.with_extension(60, Octets{0, 0, 1, 4, 0, 0, 0, 0})),
        flow(talk.ack, {.packets = 1})}},
      {"XDP: a first packet only tc can send enters its flow all the same",
       {elsewhere(net)},
       {xdp(talk.syn.with_hop_limit(1)).event(kCreated), flow(talk.syn, {.packets = 0}),
        send(Hook::from_device, kUplink, talk.syn.with_hop_limit(1))
            .redirected()
            .becomes(Talk::by_tc(talk.out).with_hop_limit(1)),
        flow(talk.syn, {.packets = 1})}},
      {"XDP: a source of ours from outside",
       {elsewhere(net)},
       {xdp(talk.syn.from(net.a, 50000)), xdp(talk.syn.from(net.host, 50000)), no_flow(talk.syn.from(net.a, 50000)),
        no_flow(talk.syn.from(net.host, 50000))}},
      {"XDP: a reset starts nothing", {elsewhere(net)}, {xdp(talk.syn.with_flags(kRst)), no_flow(talk.syn)}},
      {"XDP: a service that is not for clients outside",
       {elsewhere(net, {.backends = {3}, .flags = 0}), port_in(WEFT_PORTS_DEVICE, kTcp, 80)},
       {xdp(talk.syn), no_flow(talk.syn)}},
  };
}

}  // namespace

Cases xdp_cases(const Net& net) {
  Cases cases;
  for (const CaseTable table : {translated, local, refused, passed})
    for (auto& each : table(net)) cases.push_back(std::move(each));
  return cases;
}

}  // namespace weft::test
