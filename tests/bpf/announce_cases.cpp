// Addresses this node answers ARP and neighbour solicitations for at a device.
#include "fixture.h"

namespace weft::test {
namespace {

constexpr std::array<std::uint8_t, 6> kAsking{2, 0, 0, 0, 0, 0x33};
constexpr std::array<std::uint8_t, 6> kDevice{2, 0, 0, 0, 0, 0x44};
constexpr std::array<std::uint8_t, 6> kBroadcast{0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
constexpr std::array<std::uint8_t, 6> kNoMac{};

IpAddress ip(const char* text) { return IpAddress::parse(text).value(); }

}  // namespace

Cases announce_cases(const Net& net) {
  const Row on = configure([](weft_config& config) { config.flags |= WEFT_CONFIG_L2; });
  const Row row = announced(net.service, kUplink, kDevice);
  if (net.v4) {
    const auto request = arp(1, kAsking, net.client, kNoMac, net.service).with_macs(kBroadcast, kAsking);
    const auto claim = arp(1, kAsking, net.service, kNoMac, net.service).with_macs(kBroadcast, kAsking);
    const auto claim_by_reply = arp(2, kAsking, net.service, kDevice, net.host).with_macs(kDevice, kAsking);
    const auto answered = send(Hook::from_device, kUplink, request)
                              .redirected()
                              .becomes(arp(2, kDevice, net.service, kAsking, net.client).with_macs(kAsking, kDevice))
                              .counts(WEFT_STAT_L2_REPLY);
    return {
        {"arp for an announced address",
         {standard(net), on, row},
         {send(Hook::from_device, kUplink, request)
              .redirected()
              .becomes(arp(2, kDevice, net.service, kAsking, net.client).with_macs(kAsking, kDevice))
              .counts(WEFT_STAT_L2_REPLY),
          // at that device only, that address only, requests only
          send(Hook::from_device, kOther, request),
          send(Hook::from_device, kUplink,
               arp(1, kAsking, net.client, kNoMac, net.host).with_macs(kBroadcast, kAsking)),
          send(Hook::from_device, kUplink, arp(2, kAsking, net.client, kNoMac, net.service)),
          send(Hook::from_device, kUplink, raw_frame(0x0806, {0, 1, 8, 0, 6, 4, 0, 1})),
          send(Hook::to_device, kUplink, request)}},
        {"announcements off", {standard(net), row}, {send(Hook::from_device, kUplink, request)}},
        // As a host says it when it comes (gratuitous ARP), and as it answers.
        {"another host claims it while an agent is there",
         {standard(net), on, row, l2_watch(~0ULL)},
         {// a request that names the address as its own asks for it, too
          send(Hook::from_device, kUplink, claim)
              .redirected()
              .becomes(arp(2, kDevice, net.service, kAsking, net.service).with_macs(kAsking, kDevice))
              .counts(WEFT_STAT_L2_REPLY),
          send(Hook::from_device, kUplink, claim_by_reply), answered}},
        {"another host claims it and no agent is there",
         {standard(net), on, row, l2_watch(1)},
         {// by the device itself, of another address, at another device
          send(Hook::from_device, kUplink, arp(2, kDevice, net.service, kAsking, net.host)),
          send(Hook::from_device, kUplink, arp(1, kAsking, net.host, kNoMac, net.host)),
          send(Hook::from_device, kOther, claim), answered,
          send(Hook::from_device, kUplink, claim).counts(WEFT_STAT_L2_GIVEN_UP),
          send(Hook::from_device, kUplink, request)}},
        {"another host answers for it and no agent is there",
         {standard(net), on, row, l2_watch(1)},
         {send(Hook::from_device, kUplink, claim_by_reply).counts(WEFT_STAT_L2_GIVEN_UP),
          send(Hook::from_device, kUplink, request)}},
    };
  }
  const auto group = ip("ff02::1:ff00:10");
  const auto solicit =
      neighbour_message(135, net.client, group, net.service, 1, kAsking).with_macs(kBroadcast, kAsking);
  auto advert = neighbour_message(136, net.service, net.client, net.service, 2, kDevice).with_macs(kAsking, kDevice);
  advert.icmp_id = 0x6000;  // no router; solicited, override
  const auto all_nodes = ip("ff02::1");
  const auto claim =
      neighbour_message(136, net.service, all_nodes, net.service, 2, kAsking).with_macs(kBroadcast, kAsking);
  const auto answered =
      send(Hook::from_device, kUplink, solicit).redirected().becomes(advert).counts(WEFT_STAT_L2_REPLY);
  auto bare = solicit;
  bare.payload.resize(bare.payload.size() - 8);
  return {
      {"neighbour solicitation for an announced address",
       {standard(net), on, row},
       {send(Hook::from_device, kUplink, solicit).redirected().becomes(advert).counts(WEFT_STAT_L2_REPLY),
        // a probe without its link-layer address
        send(Hook::from_device, kUplink, bare).redirected().becomes(advert), send(Hook::from_device, kOther, solicit),
        send(Hook::from_device, kUplink, neighbour_message(135, net.client, group, net.host, 1, kAsking)),
        // a router forwarded it: not of the link
        send(Hook::from_device, kUplink, solicit.with_hop_limit(254)),
        send(Hook::from_device, kUplink, neighbour_message(135, ip("::"), group, net.service, 0, kAsking))}},
      {"announcements off", {standard(net), row}, {send(Hook::from_device, kUplink, solicit)}},
      {"another host claims it while an agent is there",
       {standard(net), on, row, l2_watch(~0ULL)},
       {send(Hook::from_device, kUplink, claim), answered}},
      {"another host claims it and no agent is there",
       {standard(net), on, row, l2_watch(1)},
       {// of another address, at another device, by the device itself, from beyond a router
        send(Hook::from_device, kUplink, neighbour_message(136, net.client, all_nodes, net.client, 2, kAsking)),
        send(Hook::from_device, kOther, claim), send(Hook::from_device, kUplink, claim.with_macs(kBroadcast, kDevice)),
        send(Hook::from_device, kUplink, claim.with_hop_limit(254)), answered,
        send(Hook::from_device, kUplink, claim).counts(WEFT_STAT_L2_GIVEN_UP),
        send(Hook::from_device, kUplink, solicit)}},
  };
}

}  // namespace weft::test
