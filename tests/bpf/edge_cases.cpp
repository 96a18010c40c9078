// What is no ordinary packet of a flow: refused, answered or left to the node.
#include "fixture.h"

namespace weft::test {
namespace {

constexpr std::array<std::uint8_t, 6> kPodMac{2, 0, 0, 0, 0, 2};
constexpr std::array<std::uint8_t, 6> kGatewayMac{2, 0, 0, 0, 0, 0x99};
constexpr std::array<std::uint8_t, 6> kBroadcast{0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
constexpr std::array<std::uint8_t, 6> kNoMac{};

IpAddress ip(const char* text) { return IpAddress::parse(text).value(); }

}  // namespace

Cases from_pod_cases(const Net& net) {
  const auto packet = tcp(net.a, 40000, net.b, 80, kSyn);
  Packet gre = packet;
  gre.protocol = 47;
  Packet other_family_icmp = packet;
  other_family_icmp.protocol = net.v4 ? 58 : 1;
  Cases all{
      {"a source that is not the pod's",
       {standard(net)},
       {send(Hook::from_pod, kPodA, packet.from(net.b, 40000))
            .dropped(WEFT_DROP_SPOOFED_SOURCE, {.type = WEFT_EVENT_DENIED, .source = net.b}),
        send(Hook::from_pod, kPodA, packet.from(net.world, 40000)).dropped(WEFT_DROP_SPOOFED_SOURCE),
        send(Hook::from_pod, kPodA, packet.from(net.host, 40000)).dropped(WEFT_DROP_SPOOFED_SOURCE)}},
      {"a device without an endpoint",
       {standard(net)},
       {send(Hook::from_pod, kPodC, packet.from(net.c, 40000)).dropped(WEFT_DROP_SPOOFED_SOURCE)}},
      {"nobody has this address",
       {standard(net)},
       {send(Hook::from_pod, kPodA, packet.to(net.nobody, 80))
            .dropped(WEFT_DROP_UNKNOWN_ENDPOINT, {.type = WEFT_EVENT_DENIED, .source_identity = 1001}),
        no_flow(packet.to(net.nobody, 80))}},
      {"multicast",
       {standard(net)},
       {send(Hook::from_pod, kPodA, packet.to(ip(net.v4 ? "224.0.0.251" : "ff02::fb"), 5353))
            .dropped(WEFT_DROP_MULTICAST)}},
      {"neither IP nor ARP",
       {standard(net)},
       {send(Hook::from_pod, kPodA, raw_frame(0x88cc, Octets(40, 1))).dropped(WEFT_DROP_UNKNOWN_L3).silently()}},
      {"a protocol not carried",
       {standard(net)},
       {send(Hook::from_pod, kPodA, gre).dropped(WEFT_DROP_UNKNOWN_L4),
        send(Hook::from_pod, kPodA, other_family_icmp).dropped(WEFT_DROP_UNKNOWN_L4)}},
      {"an ICMP type not carried",
       {standard(net)},
       {send(Hook::from_pod, kPodA, icmp_message(net.a, net.b, net.v4 ? 13 : 139, 0))
            .dropped(WEFT_DROP_ICMP_UNSUPPORTED)}},
  };
  if (net.v4)
    all.push_back(
        {"broadcast",
         {standard(net)},
         {send(Hook::from_pod, kPodA, udp(net.a, 68, ip("255.255.255.255"), 67)).dropped(WEFT_DROP_MULTICAST)}});
  else
    all.push_back(
        {"what every pod's kernel says by itself is counted, no news",
         {standard(net)},
         {send(Hook::from_pod, kPodA,
               icmp_message(ip("fe80::1"), ip("ff02::16"), 143, 0).with_extension(0, {0, 0, 5, 2, 0, 0, 1, 0}))
              .dropped(WEFT_DROP_MULTICAST)
              .silently(),
          send(Hook::from_pod, kPodA, icmp_message(ip("fe80::1"), ip("ff02::2"), 133, 0))
              .dropped(WEFT_DROP_MULTICAST)
              .silently(),
          send(Hook::from_pod, kPodA, udp(ip("fe80::1"), 1, net.b, 2)).dropped(WEFT_DROP_LINK_LOCAL).silently(),
          send(Hook::from_pod, kPodA, udp(net.a, 1, ip("fe80::1"), 2)).dropped(WEFT_DROP_LINK_LOCAL).silently()}});
  return all;
}

Cases neighbour_cases(const Net& net) {
  if (net.v4) {
    const auto request = arp(1, kPodMac, net.a, kNoMac, net.gateway).with_macs(kBroadcast, kPodMac);
    return {
        {"arp for the gateway",
         {standard(net)},
         {send(Hook::from_pod, kPodA, request)
              .redirected()
              .becomes(arp(2, kGatewayMac, net.gateway, kPodMac, net.a).with_macs(kPodMac, kGatewayMac))
              .counts(WEFT_STAT_ARP_REPLY)}},
        {"arp for another",
         {standard(net)},
         {send(Hook::from_pod, kPodA, arp(1, kPodMac, net.a, kNoMac, net.b)).dropped(WEFT_DROP_ARP_UNKNOWN).silently(),
          send(Hook::from_pod, kPodA, arp(2, kPodMac, net.gateway, kNoMac, net.a))
              .dropped(WEFT_DROP_ARP_UNKNOWN)
              .silently()}},
        {"arp without a gateway",
         {standard(net), configure([](weft_config& config) { config.gateway_v4 = 0; })},
         {send(Hook::from_pod, kPodA, request).dropped(WEFT_DROP_ARP_UNKNOWN).silently()}},
        {"arp cut short",
         {standard(net)},
         {send(Hook::from_pod, kPodA, raw_frame(0x0806, {0, 1, 8, 0, 6, 4, 0, 1}))
              .dropped(WEFT_DROP_MALFORMED)
              .silently()}},
        {"arp elsewhere is the node's business",
         {standard(net)},
         {send(Hook::to_pod, kPodA, request), send(Hook::from_device, kUplink, request),
          send(Hook::to_device, kUplink, request)}},
    };
  }
  const auto group = ip("ff02::1:ff00:1");
  const auto solicit = neighbour_message(135, net.a, group, net.gateway, 1, kPodMac);
  return {
      {"neighbour solicitation for the gateway",
       {standard(net)},
       {send(Hook::from_pod, kPodA, solicit)
            .redirected()
            .becomes(
                neighbour_message(136, net.gateway, net.a, net.gateway, 2, kGatewayMac).with_macs(kPodMac, kGatewayMac))
            .counts(WEFT_STAT_NDP_REPLY)}},
      {"neighbour solicitation for another, or without an address to answer to",
       {standard(net)},
       {send(Hook::from_pod, kPodA, neighbour_message(135, net.a, group, net.b, 1, kPodMac))
            .dropped(WEFT_DROP_ARP_UNKNOWN)
            .silently(),
        send(Hook::from_pod, kPodA, neighbour_message(135, ip("::"), group, net.a, 0, kPodMac))
            .dropped(WEFT_DROP_ARP_UNKNOWN)
            .silently()}},
      {"neighbour discovery elsewhere is the node's business",
       {standard(net)},
       {send(Hook::to_pod, kPodA, neighbour_message(135, net.host, net.a, net.a, 1, kGatewayMac)),
        send(Hook::from_device, kUplink, neighbour_message(135, net.world, net.nat, net.nat, 1, kGatewayMac)),
        send(Hook::to_device, kUplink, neighbour_message(136, net.nat, net.world, net.nat, 2, kGatewayMac))}},
  };
}

Cases host_cases(const Net& net) {
  const auto own = tcp(net.nat, 50000, net.world, 443);
  Packet gre = own;
  gre.protocol = 47;
  Cases all{
      {"the node's own traffic passes",
       {standard(net)},
       {send(Hook::to_device, kUplink, own), send(Hook::to_device, kUplink, own.with_flags(kSyn)),
        send(Hook::from_device, kUplink, own.reversed()),
        send(Hook::from_device, kUplink, own.reversed().with_flags(kSyn)), no_flow(own), no_flow(own.reversed()),
        send(Hook::from_device, kUplink, echo_request(net.world, net.nat, 5)),
        send(Hook::to_device, kUplink, echo_reply(net.nat, net.world, 5)),
        send(Hook::from_device, kUplink, gre.reversed()), send(Hook::to_device, kUplink, gre),
        send(Hook::from_device, kUplink, raw_frame(0x88cc, Octets(40, 1))),
        send(Hook::from_device, kUplink, own.reversed().cut(net.v4 ? 25 : 45)),
        send(Hook::to_device, kUplink, own.cut(net.v4 ? 25 : 45))}},
      {"the node's own traffic from a masqueraded port",
       {standard(net)},
       {send(Hook::from_pod, kPodA, tcp(net.a, 50000, net.world, 443))
            .redirected()
            .becomes(own.with_hop_limit(63))
            .event({.type = WEFT_EVENT_NEW}),
        send(Hook::to_device, kUplink, own)}},
      {"what a pod may be told by the node",
       {standard(net)},
       {send(Hook::to_pod, kPodA, icmp_message(net.host, net.a, net.v4 ? 13 : 139, 0)),
        send(Hook::to_pod, kPodA, raw_frame(0x88cc, Octets(40, 1)))}},
  };
  if (net.v4)
    all.push_back({"what a pod may not be told from outside",
                   {standard(net)},
                   {send(Hook::to_pod, kPodA, icmp_message(net.world, net.a, 13, 0))
                        .dropped(WEFT_DROP_ICMP_UNSUPPORTED)
                        .silently()}});
  return all;
}

Cases malformed_cases(const Net& net) {
  const auto header = net.v4 ? 20u : 40u;
  const auto segment = tcp(net.a, 40000, net.b, 80, kSyn);
  const auto datagram = udp(net.a, 40000, net.b, 80);
  const auto refused = [](const Packet& packet) {
    return send(Hook::from_pod, kPodA, packet).dropped(WEFT_DROP_MALFORMED);
  };
  // Each has a tuple of its own, so that no event is muted. A length that is honest about the cut
  // makes the transport header, not the packet, too short.
  const auto honest = [&](const Packet& packet, std::size_t transport) {
    auto bytes = packet.l3_bytes();
    bytes.resize(header + transport);
    const auto length = net.v4 ? bytes.size() : transport;
    bytes[net.v4 ? 2 : 4] = static_cast<std::uint8_t>(length >> 8);
    bytes[net.v4 ? 3 : 5] = static_cast<std::uint8_t>(length);
    return raw_frame(net.v4 ? 0x0800 : 0x86dd, bytes);
  };
  auto bad_version = segment.l3_bytes();
  bad_version[0] = static_cast<std::uint8_t>(0x70 | (bad_version[0] & 0xf));
  Cases all{
      {"shorter than its length says", {standard(net)}, {refused(segment.cut(header + 10))}},
      {"a TCP header cut short",
       {standard(net)},
       {refused(honest(segment, 19)), refused(honest(segment.to(net.b, 81), 13)).silently(),
        refused(honest(segment.to(net.b, 82), 3)).silently()}},
      {"a UDP header cut short", {standard(net)}, {refused(honest(datagram, 7))}},
      {"an SCTP header cut short", {standard(net)}, {refused(honest(sctp(net.a, 1, net.b, 2), 11))}},
      {"an ICMP header cut short", {standard(net)}, {refused(honest(echo_request(net.a, net.b, 1), 7))}},
      {"another version in the header", {standard(net)}, {refused(raw_frame(net.v4 ? 0x0800 : 0x86dd, bad_version))}},
  };
  if (net.v4) {
    auto short_header = segment.l3_bytes();
    short_header[0] = 0x44;
    auto short_total = segment.l3_bytes();
    short_total[2] = 0;
    short_total[3] = 12;
    all.push_back({"a total length below the header's", {standard(net)}, {refused(raw_frame(0x0800, short_total))}});
    all.push_back({"a header length below the least", {standard(net)}, {refused(raw_frame(0x0800, short_header))}});
  } else {
    all.push_back({"extension headers cut short",
                   {standard(net)},
                   {refused(segment.with_extension(60, {0, 9, 1, 4, 0, 0, 0, 0}))}});
  }
  return all;
}

}  // namespace weft::test
