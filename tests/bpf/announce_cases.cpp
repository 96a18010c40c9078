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
    };
  }
  const auto group = ip("ff02::1:ff00:10");
  const auto solicit =
      neighbour_message(135, net.client, group, net.service, 1, kAsking).with_macs(kBroadcast, kAsking);
  auto advert = neighbour_message(136, net.service, net.client, net.service, 2, kDevice).with_macs(kAsking, kDevice);
  advert.icmp_id = 0x6000;  // no router; solicited, override
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
  };
}

}  // namespace weft::test
