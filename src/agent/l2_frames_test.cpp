#include "agent/l2_frames.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::agent {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

const MacAddress mac{{0x02, 0x57, 0x45, 0x46, 0x54, 0x09}};

IpAddress ip(std::string_view text) { return IpAddress::parse(text).value(); }

// One's complement sum over pseudo header and message, checksum included: all ones when it holds.
std::uint32_t icmp_sum(const std::vector<std::uint8_t>& frame) {
  std::uint32_t sum = static_cast<std::uint32_t>(frame.size()) - 54 + 58;
  for (std::size_t i = 22; i < frame.size(); i += 2) sum += static_cast<std::uint32_t>(frame[i] << 8 | frame[i + 1]);
  while ((sum >> 16) != 0) sum = (sum & 0xffff) + (sum >> 16);
  return sum;
}

TEST(L2Frames, GratuitousArpAsRfc5227SaysIt) {
  EXPECT_THAT(announcement_frame(ip("192.0.2.5"), mac),
              ElementsAre(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0x57, 0x45, 0x46, 0x54, 0x09, 0x08, 0x06,  //
                          0, 1, 0x08, 0, 6, 4, 0, 1, 0x02, 0x57, 0x45, 0x46, 0x54, 0x09, 192, 0, 2, 5,         //
                          0, 0, 0, 0, 0, 0, 192, 0, 2, 5));
}

TEST(L2Frames, AdvertisementToAllNodesWithAChecksumThatHolds) {
  const auto frame = announcement_frame(ip("2001:db8::5"), mac);
  ASSERT_THAT(frame, SizeIs(14 + 40 + 32));
  EXPECT_EQ(frame[0], 0x33);
  EXPECT_EQ(frame[12] << 8 | frame[13], 0x86dd);
  EXPECT_EQ(frame[14 + 4] << 8 | frame[14 + 5], 32) << "payload length";
  EXPECT_EQ(frame[14 + 6], 58);
  EXPECT_EQ(frame[14 + 7], 255) << "hop limit: neighbours refuse any other";
  EXPECT_EQ(frame[54], 136);
  EXPECT_EQ(frame[58], 0x20) << "override, unsolicited";
  EXPECT_EQ(icmp_sum(frame), 0xffffU);
}

TEST(L2Frames, AProbeHasNoSender) {
  EXPECT_THAT(probe_frame(ip("192.0.2.5"), mac),
              ElementsAre(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0x57, 0x45, 0x46, 0x54, 0x09, 0x08, 0x06,  //
                          0, 1, 0x08, 0, 6, 4, 0, 1, 0x02, 0x57, 0x45, 0x46, 0x54, 0x09, 0, 0, 0, 0,           //
                          0, 0, 0, 0, 0, 0, 192, 0, 2, 5));
}

TEST(L2Frames, ASolicitationAsDuplicateAddressDetectionSendsIt) {
  const auto frame = probe_frame(ip("2001:db8::a1:b2c3"), mac);
  ASSERT_THAT(frame, SizeIs(14 + 40 + 24)) << "without an option: whoever answers, answers to all";
  EXPECT_THAT((std::vector(frame.begin(), frame.begin() + 6)), ElementsAre(0x33, 0x33, 0xff, 0xa1, 0xb2, 0xc3));
  EXPECT_THAT((std::vector(frame.begin() + 22, frame.begin() + 38)), ::testing::Each(0));
  EXPECT_THAT((std::vector(frame.begin() + 38, frame.begin() + 54)),
              ElementsAre(0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xa1, 0xb2, 0xc3));
  EXPECT_EQ(frame[21], 255);
  EXPECT_EQ(frame[54], 135);
  EXPECT_EQ(icmp_sum(frame), 0xffffU);
}

TEST(L2Frames, WhatIsSentIsUnderstood) {
  for (const auto* text : {"192.0.2.5", "2001:db8::5"}) {
    EXPECT_EQ(heard(announcement_frame(ip(text), mac)), (Heard{Heard::Kind::claim, ip(text), mac}));
    EXPECT_EQ(heard(probe_frame(ip(text), mac)), (Heard{Heard::Kind::probe, ip(text), mac}));
  }
}

TEST(L2Frames, AnyArpSaysWhoSentIt) {
  auto frame = announcement_frame(ip("192.0.2.5"), mac);
  frame[41] = 9;  // asks for another
  EXPECT_EQ(heard(frame), (Heard{Heard::Kind::claim, ip("192.0.2.5"), mac}));
  frame[21] = 2;  // answers
  EXPECT_EQ(heard(frame), (Heard{Heard::Kind::claim, ip("192.0.2.5"), mac}));
  auto padded = frame;
  padded.resize(60);
  EXPECT_EQ(heard(padded), heard(frame));
}

TEST(L2Frames, AnAdvertisementNamesItsAddressOfTheLinkOrCameFromIt) {
  auto frame = announcement_frame(ip("2001:db8::5"), mac);
  frame[11] = 0x77;  // a switch answers for it
  EXPECT_EQ(heard(frame)->mac, mac);
  frame.resize(14 + 40 + 24);
  frame[19] = 24;
  auto from = mac;
  from.bytes[5] = 0x77;
  EXPECT_EQ(heard(frame)->mac, from);
}

TEST(L2Frames, WhatIsCutShortOrFromElsewhereSaysNothing) {
  for (const auto& whole : {announcement_frame(ip("192.0.2.5"), mac), probe_frame(ip("2001:db8::5"), mac),
                            announcement_frame(ip("2001:db8::5"), mac)})
    for (std::size_t size = 0; size < whole.size(); ++size) EXPECT_FALSE(heard(std::span(whole).first(size))) << size;
  auto routed = announcement_frame(ip("2001:db8::5"), mac);
  routed[21] = 254;
  EXPECT_FALSE(heard(routed)) << "a hop limit of 254 came through a router";
  auto endless = announcement_frame(ip("2001:db8::5"), mac);
  endless[78] = 14;  // some other option, of no length
  endless[79] = 0;
  EXPECT_EQ(heard(endless)->mac, mac);
  auto asking = announcement_frame(ip("2001:db8::5"), mac);
  asking[54] = 135;  // a question of one who has an address of its own
  EXPECT_FALSE(heard(asking));
  auto mapped = announcement_frame(ip("2001:db8::5"), mac);
  const auto v4 = ip("192.0.2.5").bytes();
  std::ranges::copy(v4, mapped.begin() + 62);
  EXPECT_FALSE(heard(mapped)) << "of IPv4 only ARP tells";
  auto token_ring = announcement_frame(ip("192.0.2.5"), mac);
  token_ring[15] = 6;
  EXPECT_FALSE(heard(token_ring));
}

}  // namespace
}  // namespace weft::agent
