// The other end of direct server return: clients' packets inside another node's, taken out by XDP or by tc.
#include <arpa/inet.h>

#include "fixture.h"

namespace weft::test {
namespace {

const EventWant kCreated{.type = WEFT_EVENT_NEW};

Packet hop(const Packet& packet) { return packet.with_hop_limit(63); }

Octets joined(Octets first, const Octets& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

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
  Octets header{6,
                0,
                static_cast<std::uint8_t>(net.v4 ? 0x08 : 0x86),
                static_cast<std::uint8_t>(net.v4 ? 0 : 0xdd),
                0,
                0,
                0,
                0,
                0xff,
                0xf7,
                1,
                5};
  const auto address = to_abi(backend);
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(&address);
  header.insert(header.end(), bytes, bytes + sizeof address);
  header.push_back(static_cast<std::uint8_t>(port >> 8));
  header.push_back(static_cast<std::uint8_t>(port));
  header.insert(header.end(), 2, 0);
  auto packet = outer(net, backend, kUdp, joined(header, inner.l3_bytes()));
  packet.source_port = 50123;
  packet.destination_port = 6081;
  return packet.with_checksum(0);
}

Packet with_frontend(const Net& net, const Packet& inner, const IpAddress& backend, std::uint16_t port) {
  (void)net;
  Octets option{0x9a, 8, static_cast<std::uint8_t>(inner.destination_port >> 8),
                static_cast<std::uint8_t>(inner.destination_port)};
  const auto address = to_abi(inner.destination).word[3];
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(&address);
  option.insert(option.end(), bytes, bytes + 4);
  return inner.to(backend, port).with_options(option);
}

using Wrap = Packet (*)(const Net& net, const Packet& inner, const IpAddress& backend, std::uint16_t port);

Row all(Rows rows) {
  return [rows = std::move(rows)](Datapath& d) {
    for (const auto& row : rows) row(d);
  };
}

Row base(const Net& net) { return all({standard(net), serving_outside(WEFT_CONFIG_DECAPSULATE)}); }
Row serving(const Net& net, std::uint8_t protocol = kTcp) {
  return all({base(net), backend(4, net.remote, 9090, protocol), backend(3, net.b, 8080, protocol),
              frontend(net.service, 80, protocol, {.backends = {4, 3}})});
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
      {"IP in IP about a frontend nobody knows",
       {base(net)},
       {xdp(ipip(net, syn, net.b, 0)).dropped(WEFT_DROP_ENCAPSULATION),
        tc(ipip(net, syn.from(net.client, 50001), net.b, 0)).dropped(WEFT_DROP_ENCAPSULATION), no_flow(syn)}},
      {"Geneve names a backend of a frontend that is not known here",
       {base(net)},
       {xdp(geneve(net, syn, net.b, 8080))
            .becomes(syn)
            .event({.type = WEFT_EVENT_NEW, .backend = net.b, .service_id = 0}),
        tc(syn).redirected().becomes(syn.to(net.b, 8080))}},
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
  Cases cases = others(net);
  for (auto& each : taken(net, "IP in IP", ipip)) cases.push_back(std::move(each));
  for (auto& each : taken(net, "Geneve", geneve)) cases.push_back(std::move(each));
  if (net.v4)
    for (auto& each : taken(net, "IP option", with_frontend)) cases.push_back(std::move(each));
  return cases;
}

}  // namespace weft::test
