#include "agent/l2.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::agent {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

const MacAddress mac{{0x02, 0x57, 0x45, 0x46, 0x54, 0x09}};

IpAddress ip(std::string_view text) { return IpAddress::parse(text).value(); }

std::pair<weft_l2_key, weft_l2> row(std::string_view address, std::uint32_t ifindex, std::uint8_t last_byte = 9) {
  weft_l2 value{};
  std::ranges::copy(mac.bytes, value.mac);
  value.mac[5] = last_byte;
  return {{datapath::to_abi(ip(address)), ifindex}, value};
}

TEST(AnnouncementFrame, GratuitousArpAsRfc5227SaysIt) {
  EXPECT_THAT(announcement_frame(ip("192.0.2.5"), mac),
              ElementsAre(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0x57, 0x45, 0x46, 0x54, 0x09, 0x08, 0x06,  //
                          0, 1, 0x08, 0, 6, 4, 0, 1, 0x02, 0x57, 0x45, 0x46, 0x54, 0x09, 192, 0, 2, 5,         //
                          0, 0, 0, 0, 0, 0, 192, 0, 2, 5));
}

TEST(AnnouncementFrame, AdvertisementToAllNodesWithAChecksumThatHolds) {
  const auto frame = announcement_frame(ip("2001:db8::5"), mac);
  ASSERT_THAT(frame, SizeIs(14 + 40 + 32));
  EXPECT_EQ(frame[0], 0x33);
  EXPECT_EQ(frame[12] << 8 | frame[13], 0x86dd);
  EXPECT_EQ(frame[14 + 4] << 8 | frame[14 + 5], 32) << "payload length";
  EXPECT_EQ(frame[14 + 6], 58);
  EXPECT_EQ(frame[14 + 7], 255) << "hop limit: neighbours refuse any other";
  EXPECT_EQ(frame[54], 136);
  EXPECT_EQ(frame[58], 0x20) << "override, unsolicited";
  // One's complement sum over pseudo header and message, checksum included, is all ones.
  std::uint32_t sum = 32 + 58;
  for (std::size_t i = 22; i < frame.size(); i += 2) sum += static_cast<std::uint32_t>(frame[i] << 8 | frame[i + 1]);
  while ((sum >> 16) != 0) sum = (sum & 0xffff) + (sum >> 16);
  EXPECT_EQ(sum, 0xffffU);
}

class L2Test : public ::testing::Test {
 protected:
  L2Test()
      : announcer_(
            loop_,
            [this](std::uint32_t ifindex, std::span<const std::uint8_t> frame) -> Result<void> {
              sent_.emplace_back(ifindex, frame.back());
              if (broken_) return fail(ErrorCode::unavailable, "the device is down");
              return {};
            },
            std::chrono::milliseconds(2)) {}
  asio::io_context loop_;
  std::vector<std::pair<std::uint32_t, std::uint8_t>> sent_;
  bool broken_ = false;
  L2Announcer announcer_;
};

TEST_F(L2Test, ANewRowIsAnnouncedThreeTimesAndAnOldOneNever) {
  announcer_.want({row("192.0.2.5", 3)});
  EXPECT_THAT(sent_, SizeIs(1)) << "the first one at once";
  loop_.run();
  EXPECT_THAT(sent_, ElementsAre(std::pair(3U, 5), std::pair(3U, 5), std::pair(3U, 5)));
  sent_.clear();
  loop_.restart();
  announcer_.want({row("192.0.2.5", 3), row("192.0.2.6", 3)});
  loop_.run();
  EXPECT_THAT(sent_, ElementsAre(std::pair(3U, 6), std::pair(3U, 6), std::pair(3U, 6)));
  sent_.clear();
  loop_.restart();
  announcer_.want({row("192.0.2.6", 3, 10)});
  loop_.run();
  EXPECT_THAT(sent_, SizeIs(3)) << "the device has another MAC address";
}

TEST_F(L2Test, ARowThatLeavesIsNotAnnouncedAnyMore) {
  announcer_.want({row("192.0.2.5", 3)});
  announcer_.want({});
  loop_.run();
  EXPECT_THAT(sent_, SizeIs(1));
}

TEST_F(L2Test, WhatCannotBeSentIsToldAndTriedAgain) {
  broken_ = true;
  announcer_.want({row("192.0.2.5", 3)});
  EXPECT_EQ(announcer_.last_error(), "the device is down");
  broken_ = false;
  loop_.run();
  EXPECT_EQ(announcer_.last_error(), "");
  EXPECT_THAT(sent_, SizeIs(3));
}

}  // namespace
}  // namespace weft::agent
