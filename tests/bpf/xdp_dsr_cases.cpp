// Direct server return: a client's packet goes to its backend's node inside another one, from XDP and from tc.
#include <arpa/inet.h>

#include "abi/hash.h"
#include "fixture.h"

namespace weft::test {
namespace {

using Mac = std::array<std::uint8_t, 6>;
constexpr Mac kUplinkMac{2, 0, 0, 0, 1, 0x10};
constexpr Mac kRemoteMac{2, 0, 0, 0, 0, 0x77};
constexpr Mac kSenderMac{2, 0, 0, 0, 0, 2};
constexpr Mac kNodeMac{2, 0, 0, 0, 0, 1};

const EventWant kCreated{.type = WEFT_EVENT_NEW};

Packet hop(const Packet& packet) { return packet.with_hop_limit(63); }

// From the node to the backend, on the wire.
Packet outer(const Net& net, std::uint8_t protocol, Octets payload) {
  Packet packet;
  packet.source = net.nat;
  packet.destination = net.remote;
  packet.protocol = protocol;
  packet.id = 0;
  packet.dont_fragment = true;
  packet.payload = std::move(payload);
  return packet.with_macs(kRemoteMac, kUplinkMac);
}

Packet ipip(const Net& net, const Packet& inner) { return outer(net, net.v4 ? 4 : 41, inner.l3_bytes()); }

std::uint16_t geneve_port(const Net& net, const Packet& inner) {
  const auto client = to_abi(inner.source);
  auto hash = weft_hash_word(0x5eed, client.word[3] ^ client.word[1]);
  hash = weft_hash_word(hash, std::uint32_t{htons(inner.source_port)} << 16 | htons(inner.destination_port));
  (void)net;
  return static_cast<std::uint16_t>(0xc000 | (weft_hash_final(hash) & 0x3fff));
}

Packet geneve(const Net& net, const Packet& inner) {
  auto packet = outer(net, kUdp, geneve_payload(inner, net.remote, 8080));
  packet.source_port = geneve_port(net, inner);
  packet.destination_port = 6081;
  return packet.with_checksum(0);
}

Packet with_frontend(const Net& net, const Packet& inner) {
  return inner.to(net.remote, 8080).with_options(frontend_option(inner)).with_macs(kRemoteMac, kUplinkMac);
}

// tc leaves the link's addresses to the kernel.
Packet by_tc(const Packet& packet) { return packet.with_macs(kNodeMac, kSenderMac); }

Row elsewhere(const Net& net, weft_forwarding forwarding, std::uint8_t protocol = kTcp) {
  const Rows rows{standard(net), serving_outside(), backend(3, net.remote, 8080, protocol),
                  frontend(net.service, 80, protocol, {.backends = {3}, .forwarding = forwarding})};
  return [rows](Datapath& d) {
    for (const auto& row : rows) row(d);
  };
}

Step xdp(const Packet& packet) { return send(Hook::xdp, kUplink, packet); }
Step xdp_sends(const Packet& packet, const Packet& output) {
  Step step = xdp(packet);
  step.want_verdict = kXdpTx;
  return step.becomes(output).counts(WEFT_STAT_ENCAPSULATED);
}
Step tc_sends(const Packet& packet, const Packet& output) {
  return send(Hook::from_device, kUplink, packet).redirected().becomes(by_tc(output)).counts(WEFT_STAT_ENCAPSULATED);
}

using Wrap = Packet (*)(const Net& net, const Packet& inner);

// One way of forwarding, in both hooks.
Cases forwarded(const Net& net, const std::string& name, weft_forwarding forwarding, Wrap wrap, std::uint16_t overhead,
                weft_encapsulation encapsulation) {
  const auto syn = tcp(net.client, 50000, net.service, 80, kSyn);
  const auto ack = syn.with_flags(kAck);
  const auto fin = syn.with_flags(kFin | kAck);
  const auto reset = syn.with_flags(kRst);
  const auto datagram = udp(net.client, 50000, net.service, 80);
  const auto out = [&](const Packet& packet) { return wrap(net, hop(packet)); };
  const auto too_large = ack.with_payload(1500u - (net.v4 ? 40u : 60u) - overhead + 1);
  const auto largest = ack.with_payload(1500u - (net.v4 ? 40u : 60u) - overhead);
  const auto mtu = static_cast<std::uint16_t>(1500 - overhead);
  const EventWant closed{.type = WEFT_EVENT_CLOSED,
                         .source = net.client,
                         .destination = net.service,
                         .backend = net.remote,
                         .backend_port = 8080,
                         .service_id = kService};
  return {
      {name + ": from XDP",
       {elsewhere(net, forwarding)},
       {xdp_sends(syn, out(syn))
            .event({.type = WEFT_EVENT_NEW, .backend = net.remote, .backend_port = 8080, .hook = WEFT_HOOK_XDP}),
        flow(syn, {.exit = WEFT_EXIT_NEIGH,
                   .out_ifindex = kUplink,
                   .backend_id = 3,
                   .mtu = mtu,
                   .packets = 1,
                   .flags_set = WEFT_FLOW_EXTERNAL | WEFT_FLOW_COUNTED | WEFT_FLOW_OPENING,
                   .flags_clear = WEFT_FLOW_DNAT | WEFT_FLOW_SNAT}),
        then([=](Datapath& d) {
          if (find_flow(d, syn).value().encapsulation != encapsulation) throw std::runtime_error("another way");
          return Steps{};
        }),
        xdp_sends(ack, out(ack)), flow(syn, {.packets = 2, .flags_clear = WEFT_FLOW_OPENING}),
        xdp_sends(largest, out(largest)), xdp(too_large),
        send(Hook::from_device, kUplink, too_large)
            .answered(WEFT_DROP_TOO_BIG, too_large.too_big(mtu).with_macs(kSenderMac, kNodeMac))
            .silently()
            .counts(WEFT_STAT_TOO_BIG_SENT),
        xdp_sends(fin, out(fin)), xdp_sends(ack, out(ack)), xdp_sends(reset, out(reset)),
        flow(syn, {.flags_set = WEFT_FLOW_RESET, .flags_clear = WEFT_FLOW_CLOSED})}},
      {name + ": from tc, and on by XDP",
       {elsewhere(net, forwarding)},
       {tc_sends(syn, out(syn)).event({.type = WEFT_EVENT_NEW, .backend = net.remote, .hook = WEFT_HOOK_FROM_DEVICE}),
        flow(syn, {.mtu = mtu, .packets = 1, .flags_clear = WEFT_FLOW_DNAT | WEFT_FLOW_SNAT}), tc_sends(ack, out(ack)),
        xdp_sends(ack, out(ack)), flow(syn, {.packets = 3}), change(bump()), xdp(ack), tc_sends(ack, out(ack)),
        xdp_sends(ack, out(ack)), tc_sends(reset, out(reset)),
        flow(syn, {.flags_set = WEFT_FLOW_RESET | WEFT_FLOW_COUNTED, .flags_clear = WEFT_FLOW_CLOSED}),
        xdp_sends(ack, out(ack)), flow(syn, {.flags_clear = WEFT_FLOW_RESET})}},
      {name + ": datagrams",
       {elsewhere(net, forwarding, kUdp)},
       {xdp_sends(datagram, out(datagram)).event(kCreated), xdp_sends(datagram, out(datagram)),
        tc_sends(datagram, out(datagram)),
        net.v4 ? xdp_sends(datagram.with_checksum(0), out(datagram.with_checksum(0)))
               : xdp_sends(datagram, out(datagram))}},
      {name + ": the backend leaves",
       {elsewhere(net, forwarding)},
       {xdp_sends(syn, out(syn)).event(kCreated), change(no_backend(3)), change(bump()), xdp(ack),
        send(Hook::from_device, kUplink, ack)
            .dropped(WEFT_DROP_BACKEND_GONE, closed)
            .event({.type = WEFT_EVENT_DENIED}),
        no_flow(syn)}},
      {name + ": no address of the device",
       {elsewhere(net, forwarding), uplink(net, 1500, false)},
       {xdp(syn).dropped(WEFT_DROP_NAT_NO_ADDRESS)}},
  };
}

}  // namespace

Cases xdp_dsr_cases(const Net& net) {
  const std::uint16_t header = net.v4 ? 20 : 40;
  Cases cases = forwarded(net, "IP in IP", WEFT_FORWARD_DSR_IPIP, ipip, header, WEFT_ENCAPSULATION_IPIP);
  for (auto& each : forwarded(net, "Geneve", WEFT_FORWARD_DSR_GENEVE, geneve, header + 40, WEFT_ENCAPSULATION_GENEVE))
    cases.push_back(std::move(each));
  if (net.v4) {
    for (auto& each : forwarded(net, "IP option", WEFT_FORWARD_DSR_OPTION, with_frontend, 8, WEFT_ENCAPSULATION_OPTION))
      cases.push_back(std::move(each));
  } else {
    for (auto& each : forwarded(net, "IP option falls back to Geneve", WEFT_FORWARD_DSR_OPTION, geneve, header + 40,
                                WEFT_ENCAPSULATION_GENEVE))
      cases.push_back(std::move(each));
  }
  return cases;
}

}  // namespace weft::test
