// The other end of direct server return: clients' packets inside another node's, taken out by XDP or by tc.
#include <arpa/inet.h>

#include "abi/hash.h"
#include "fixture.h"

namespace weft::test {
namespace {

const EventWant kCreated{.type = WEFT_EVENT_NEW};

Packet hop(const Packet& packet) { return packet.with_hop_limit(63); }

Packet outer(const Net& net, const IpAddress& destination, std::uint8_t protocol, Octets payload) {
  Packet packet;
  packet.source = net.remote;
  packet.destination = destination;
  packet.protocol = protocol;
  packet.dont_fragment = true;
  packet.payload = std::move(payload);
  return packet;
}

// `port` is not said by IP in IP, nor can the frontend differ from the packet inside.
Packet ipip(const Net& net, const Packet& inner, const IpAddress& backend, std::uint16_t port) {
  (void)port;
  return outer(net, backend, net.v4 ? 4 : 41, inner.l3_bytes());
}

Packet geneve(const Net& net, const Packet& inner, const IpAddress& backend, std::uint16_t port) {
  auto packet = outer(net, backend, kUdp, geneve_payload(inner, backend, port));
  packet.source_port = 50123;
  packet.destination_port = 6081;
  return packet.with_checksum(0);
}

Packet with_frontend(const Net& net, const Packet& inner, const IpAddress& backend, std::uint16_t port) {
  (void)net;
  return inner.to(backend, port).with_options(frontend_option(inner));
}

using Wrap = Packet (*)(const Net& net, const Packet& inner, const IpAddress& backend, std::uint16_t port);

Row all(Rows rows) {
  return [rows = std::move(rows)](Datapath& d) {
    for (const auto& row : rows) row(d);
  };
}

IpAddress ip(const char* text) { return IpAddress::parse(text).value(); }
std::string alone(const IpAddress& address) { return address.to_string() + (address.is_v4() ? "/32" : "/128"); }
Row balancer(const IpAddress& address) { return prefix(alone(address), WEFT_IDENTITY_WORLD, WEFT_IP_BALANCER); }

Row base(const Net& net) {
  return all({standard(net), serving_outside(WEFT_CONFIG_DECAPSULATE), balancer(net.remote)});
}
Row service_of(const Net& net, const ServiceOptions& options, std::uint8_t protocol = kTcp) {
  return all({base(net), backend(4, net.remote, 9090, protocol), backend(3, net.b, 8080, protocol),
              frontend(net.service, 80, protocol, options)});
}
Row serving(const Net& net, std::uint8_t protocol = kTcp) {
  return service_of(net, {.backends = {4, 3}, .forwarding = WEFT_FORWARD_DSR_OPTION}, protocol);
}

Step xdp(const Packet& packet) { return send(Hook::xdp, kUplink, packet); }
Step tc(const Packet& packet) { return send(Hook::from_device, kUplink, packet); }
Step expect(const char* what, std::function<bool(Datapath&)> holds) {
  return then([=](Datapath& d) {
    if (!holds(d)) throw std::runtime_error(what);
    return Steps{};
  });
}

Cases taken(const Net& net, const std::string& name, Wrap wrap) {
  const auto syn = tcp(net.client, 50000, net.service, 80, kSyn);
  const auto ack = syn.with_flags(kAck);
  const auto datagram = udp(net.client, 50000, net.service, 80);
  const auto in = [&](const Packet& packet) { return wrap(net, packet, net.b, 8080); };
  const auto answer = tcp(net.b, 8080, net.client, 50000, kSyn | kAck);
  const Row isolated = pod(net, 'b', {.policy_class = 5, .ingress_enforced = true, .prefix_mask = 1u << 16});
  const EventWant entered{.type = WEFT_EVENT_NEW,
                          .source = net.client,
                          .destination = net.service,
                          .backend = net.b,
                          .backend_port = 8080,
                          .service_id = kService,
                          .destination_endpoint = 12};
  return {
      {name + " taken out by XDP",
       {serving(net)},
       {xdp(in(syn)).becomes(syn).counts(WEFT_STAT_DECAPSULATED).event(entered),
        flow(syn, {.exit = WEFT_EXIT_PEER,
                   .out_ifindex = kPodB,
                   .service_id = kService,
                   .backend_id = 3,
                   .packets = 0,
                   .flags_set = WEFT_FLOW_DNAT | WEFT_FLOW_EXTERNAL | WEFT_FLOW_COUNTED}),
        tc(syn).redirected().becomes(syn.to(net.b, 8080)),
        send(Hook::from_pod, kPodB, answer).redirected().becomes(hop(answer.from(net.service, 80))),
        xdp(in(ack)).becomes(ack), tc(ack).redirected().becomes(ack.to(net.b, 8080)), flow(syn, {.packets = 2}),
        expect("not counted once", [](Datapath& d) { return backend_stats(d, 3).connections == 1; })}},
      {name + " taken out by tc",
       {serving(net)},
       {tc(in(syn)).redirected().becomes(syn.to(net.b, 8080)).counts(WEFT_STAT_DECAPSULATED).event(entered),
        send(Hook::from_pod, kPodB, answer).redirected().becomes(hop(answer.from(net.service, 80))),
        tc(in(ack)).redirected().becomes(ack.to(net.b, 8080)), xdp(in(ack)).becomes(ack),
        flow(syn, {.backend_id = 3, .packets = 2})}},
      {name + " taken out: datagrams",
       {serving(net, kUdp)},
       {xdp(in(datagram)).becomes(datagram).event(kCreated),
        tc(datagram).redirected().becomes(datagram.to(net.b, 8080)),
        tc(in(datagram)).redirected().becomes(datagram.to(net.b, 8080))}},
      {name + " to a backend that is not here",
       {serving(net), pod(net, 'c')},
       {xdp(wrap(net, syn, net.remote, 8080)), tc(wrap(net, syn, net.remote, 8080)), no_flow(syn)}},
      {name + " with a source of ours inside",
       {serving(net)},
       {xdp(in(syn.from(net.a, 1))).dropped(WEFT_DROP_SPOOFED_SOURCE),
        xdp(in(syn.from(net.host, 2))).dropped(WEFT_DROP_SPOOFED_SOURCE),
        tc(in(syn.from(net.a, 3))).dropped(WEFT_DROP_SPOOFED_SOURCE), no_flow(syn)}},
      {name + " whose answer would come back",
       {serving(net)},
       {xdp(in(syn.from(net.service, 80))).dropped(WEFT_DROP_LOOP), no_flow(syn.from(net.service, 80)),
        tc(in(syn.from(net.service, 80))).dropped(WEFT_DROP_LOOP), no_flow(syn.from(net.service, 80))}},
      {name + " by policy",
       {serving(net), isolated},
       {xdp(in(syn)).dropped(WEFT_DROP_POLICY_DENIED,
                             {.type = WEFT_EVENT_DENIED, .backend = net.b, .hook = WEFT_HOOK_XDP}),
        tc(in(syn)).dropped(WEFT_DROP_POLICY_DENIED, {.type = WEFT_EVENT_DENIED, .hook = WEFT_HOOK_FROM_DEVICE}),
        no_flow(syn)}},
      {name + " taken out: a reset starts nothing",
       {serving(net)},
       {xdp(in(syn.with_flags(kRst))).dropped(WEFT_DROP_ENCAPSULATION),
        tc(in(syn.with_flags(kRst))).dropped(WEFT_DROP_ENCAPSULATION), no_flow(syn)}},
  };
}

Step both_dropped(const Packet& packet, weft_drop_reason reason) {
  return then([=](Datapath& d) {
    (void)d;
    return Steps{xdp(packet).dropped(reason), tc(packet).dropped(reason)};
  });
}
Step both_left(const Packet& packet) {
  return then([=](Datapath& d) {
    (void)d;
    return Steps{xdp(packet), tc(packet)};
  });
}

// What is said of a packet inside is not believed as it stands.
Cases doubted(const Net& net, const std::string& name, Wrap wrap) {
  const auto syn = tcp(net.client, 50000, net.service, 80, kSyn);
  const auto in = [&](const Packet& packet) { return wrap(net, packet, net.b, 8080); };
  const auto ranges = [&](const char* range) {
    return all({service_of(net, {.backends = {4, 3},
                                 .flags = WEFT_SERVICE_EXTERNAL | WEFT_SERVICE_SOURCE_RANGES,
                                 .forwarding = WEFT_FORWARD_DSR_OPTION}),
                source_range(kService, range)});
  };
  Steps nobodys;
  for (const char* source : net.v4 ? std::vector<const char*>{"127.0.0.1", "0.0.0.0", "224.0.0.5", "255.255.255.255"}
                                   : std::vector<const char*>{"::1", "::", "ff02::5"})
    nobodys.push_back(both_dropped(in(syn.from(ip(source), 1)), WEFT_DROP_SPOOFED_SOURCE));
  auto padded = in(syn).l3_bytes();
  padded.insert(padded.end(), 9, 0xee);
  auto left_over = syn.l3_bytes();
  left_over.insert(left_over.end(), 9, 0xee);
  const auto type = static_cast<std::uint16_t>(net.v4 ? 0x0800 : 0x86dd);
  Cases cases{
      {name + " from a client whose address is nobody's", {serving(net)}, nobodys},
      {name + " from a client outside the source ranges",
       {ranges(net.v4 ? "10.0.0.0/8" : "fd00::/8")},
       {both_dropped(in(syn), WEFT_DROP_SOURCE_RANGE), no_flow(syn),
        expect("not counted", [](Datapath& d) { return service_state(d, kService).source_denied == 2; })}},
      {name + " from a client in the source ranges",
       {ranges(alone(net.client).c_str())},
       {xdp(in(syn)).becomes(syn).event(kCreated)}},
      {name + " to a pod that is no backend of the service",
       {serving(net), backend(9, net.a, 8080, kTcp, WEFT_BACKEND_ACTIVE, 8)},
       {both_dropped(wrap(net, syn, net.a, 8080), WEFT_DROP_ENCAPSULATION), no_flow(syn)}},
      {name + " to a frontend nobody knows",
       {base(net)},
       {both_dropped(in(syn), WEFT_DROP_ENCAPSULATION), no_flow(syn)}},
      {name + " to a frontend that is not for clients outside",
       {service_of(net, {.backends = {4, 3}, .flags = 0, .forwarding = WEFT_FORWARD_DSR_OPTION})},
       {both_dropped(in(syn), WEFT_DROP_ENCAPSULATION), no_flow(syn)}},
      {name + " to a node port of the other node, and of nobody",
       {base(net), backend(3, net.b, 8080, kTcp),
        node_port(net, 30080, kTcp, {.backends = {3}, .forwarding = WEFT_FORWARD_DSR_OPTION})},
       {xdp(in(syn.to(net.remote, 30080))).becomes(syn.to(net.remote, 30080)).event(kCreated),
        both_dropped(in(syn.to(net.world, 30080)), WEFT_DROP_ENCAPSULATION)}},
      {name + " with less in the buffer than it says",
       {serving(net)},
       {both_left(in(syn).cut(in(syn).l3_bytes().size() - 1)), no_flow(syn)}},
      {name + " in a padded frame",
       {serving(net)},
       {xdp(raw_frame(type, padded)).becomes(raw_frame(type, left_over)).event(kCreated)}},
  };
  return cases;
}

// By the outer packet's source, and by its lengths.
Cases outer_packets(const Net& net, const std::string& name, Wrap wrap, std::size_t overhead) {
  const auto syn = tcp(net.client, 50000, net.service, 80, kSyn);
  const auto first = udp(net.client, 50000, net.service, 80).with_payload(64).first_fragment(7);
  const auto later = udp(net.client, 50000, net.service, 80).later_fragment(7, 72);
  const auto ping = echo_request(net.client, net.service, 3);
  const auto in = [&](const Packet& packet) { return wrap(net, packet, net.b, 8080); };
  const auto from = [&](const IpAddress& source) { return in(syn).from(source, 50123); };
  // outer lengths that leave out the last bytes of the packet inside, which the frame still holds
  auto outer_short = in(syn).l3_bytes();
  const auto shorten = [&](std::size_t at) {
    const auto length = static_cast<std::uint16_t>((outer_short[at] << 8 | outer_short[at + 1]) - 4);
    outer_short[at] = static_cast<std::uint8_t>(length >> 8);
    outer_short[at + 1] = static_cast<std::uint8_t>(length);
  };
  shorten(net.v4 ? 2 : 4);
  if (overhead > 40) shorten((net.v4 ? 20 : 40) + 4);
  const auto type = static_cast<std::uint16_t>(net.v4 ? 0x0800 : 0x86dd);
  const auto translated = [&](const Packet& packet) { return packet.to(net.b, 8080); };
  return {
      {name + " of somebody else's", {serving(net)}, {both_left(from(net.world)), no_flow(syn)}},
      {name + " of an address in the pods' range",
       {serving(net),
        prefix(net.v4 ? "10.1.0.0/16" : "fd00:1::/64", WEFT_IDENTITY_WORLD, WEFT_IP_RESERVED | WEFT_IP_BALANCER)},
       {both_left(from(net.nobody)), no_flow(syn)}},
      {name + " of a pod's address", {serving(net), balancer(net.a)}, {xdp(from(net.a)), no_flow(syn)}},
      {name + " shorter than what is inside", {serving(net)}, {both_left(raw_frame(type, outer_short)), no_flow(syn)}},
      {name + " with fragments inside",
       {serving(net, kUdp)},
       {xdp(in(first)), xdp(in(later)), tc(in(first)).redirected().becomes(translated(first)).event(kCreated),
        tc(in(later)).redirected().becomes(translated(later)),
        tc(in(later.later_fragment(8, 72))).dropped(WEFT_DROP_FRAGMENT_UNKNOWN)}},
      {name + " with something else inside",
       {serving(net)},
       {xdp(in(ping)), tc(in(ping)).dropped(WEFT_DROP_ENCAPSULATION).silently()}},
      {name + " of datagrams whose backend is gone: the other node has chosen again",
       {serving(net, kUdp), pod(net, 'c')},
       {xdp(in(udp(net.client, 50000, net.service, 80)))
            .becomes(udp(net.client, 50000, net.service, 80))
            .event(kCreated),
        change(no_backend(3)), change(backend(5, net.c, 8080, kUdp)),
        change(frontend(net.service, 80, kUdp, {.backends = {4, 5}, .first_slot = 20})), change(bump()),
        tc(wrap(net, udp(net.client, 50000, net.service, 80), net.c, 8080))
            .redirected()
            .becomes(udp(net.client, 50000, net.c, 8080))
            .event({.type = WEFT_EVENT_NEW, .backend = net.c}),
        expect("counts of who left", [](Datapath& d) { return backend_stats(d, 3).active == 0; })}},
  };
}

// More slots than are looked at.
Cases long_runs(const Net& net) {
  constexpr std::uint32_t kSlots = 400;
  auto syn = tcp(net.client, 50000, net.service, 80, kSyn);
  const auto slot_of = [&] {
    const auto client = to_abi(net.client);
    return weft_hash_slot(weft_hash_flow(default_config().hash_seed, &client, htons(syn.source_port), kTcp), kSlots);
  };
  while (slot_of() < 200) ++syn.source_port;
  std::vector<std::uint32_t> run(kSlots, 4);
  run[slot_of()] = 3;
  const auto with = [&](weft_algorithm algorithm) {
    return service_of(net, {.backends = run, .algorithm = algorithm, .forwarding = WEFT_FORWARD_DSR_OPTION});
  };
  Cases cases{
      {"Geneve to a backend of a long run is believed",
       {with(WEFT_ALGORITHM_RANDOM)},
       {xdp(geneve(net, syn, net.b, 8080)).becomes(syn).event(kCreated), flow(syn, {.backend_id = 0})}},
      {"IP in IP to a backend of a long run does not say its port",
       {with(WEFT_ALGORITHM_RANDOM)},
       {both_dropped(ipip(net, syn, net.b, 0), WEFT_DROP_ENCAPSULATION)}},
      {"IP in IP to a backend of a Maglev table",
       {with(WEFT_ALGORITHM_MAGLEV)},
       {xdp(ipip(net, syn, net.b, 0)).becomes(syn).event(kCreated), flow(syn, {.backend_id = 3})}},
  };
  if (net.v4) {
    cases.push_back({"IP option: a backend of a long run is not believed",
                     {with(WEFT_ALGORITHM_RANDOM)},
                     {both_dropped(with_frontend(net, syn, net.b, 8080), WEFT_DROP_ENCAPSULATION)}});
    cases.push_back(
        {"IP option: a backend of a Maglev table",
         {with(WEFT_ALGORITHM_MAGLEV)},
         {xdp(with_frontend(net, syn, net.b, 8080)).becomes(syn).event(kCreated), flow(syn, {.backend_id = 3})}});
    cases.push_back({"IP option to a service that does not expect it",
                     {service_of(net, {.backends = {4, 3}, .forwarding = WEFT_FORWARD_DSR_GENEVE})},
                     {both_dropped(with_frontend(net, syn, net.b, 8080), WEFT_DROP_ENCAPSULATION)}});
  }
  return cases;
}

Cases others(const Net& net) {
  const auto syn = tcp(net.client, 50000, net.service, 80, kSyn);
  auto foreign = geneve(net, syn, net.b, 8080);
  foreign.payload[8] = 1;
  return {
      {"encapsulated packets stay as they are while nobody may send them",
       {serving(net), configure([](weft_config& config) { config.flags &= ~std::uint32_t{WEFT_CONFIG_DECAPSULATE}; })},
       {xdp(ipip(net, syn, net.b, 0)), xdp(geneve(net, syn, net.b, 8080)), tc(ipip(net, syn, net.b, 0)),
        tc(geneve(net, syn, net.b, 8080)), no_flow(syn)}},
      {"Geneve of somebody else", {serving(net)}, {xdp(foreign), tc(foreign), no_flow(syn)}},
      {"encapsulated packets cut short",
       {serving(net)},
       {xdp(geneve(net, syn, net.b, 8080).cut(net.v4 ? 40 : 60)),
        tc(geneve(net, syn, net.b, 8080).cut(net.v4 ? 40 : 60)), no_flow(syn)}},
      {"plain packets while others are taken out",
       {serving(net)},
       {xdp(tcp(net.client, 50000, net.host, 22)), tc(tcp(net.client, 50000, net.host, 22)),
        xdp(udp(net.client, 50000, net.host, 6081)), tc(udp(net.client, 50000, net.host, 6081)),
        xdp(echo_request(net.client, net.host, 7)), xdp(arp(1, Packet{}.from_mac, net.client, {}, net.host))}},
  };
}

}  // namespace

Cases xdp_decapsulate_cases(const Net& net) {
  const std::size_t header = net.v4 ? 20 : 40;
  Cases cases = others(net);
  const auto add = [&](Cases more) {
    for (auto& each : more) cases.push_back(std::move(each));
  };
  add(taken(net, "IP in IP", ipip));
  add(doubted(net, "IP in IP", ipip));
  add(outer_packets(net, "IP in IP", ipip, header));
  add(taken(net, "Geneve", geneve));
  add(doubted(net, "Geneve", geneve));
  add(outer_packets(net, "Geneve", geneve, header + 40));
  add(long_runs(net));
  if (net.v4) {
    add(taken(net, "IP option", with_frontend));
    add(doubted(net, "IP option", with_frontend));
  }
  return cases;
}

}  // namespace weft::test
