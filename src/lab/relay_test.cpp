#include "lab/relay.h"

#include <gmock/gmock.h>

namespace weft::lab {
namespace {

using namespace std::chrono_literals;
using Clock = WireQueue::Clock;
using Frame = WireQueue::Frame;

constexpr Clock::time_point start{};

// An Ethernet frame of TCP (or what `protocol` is) between these ports.
Frame frame(bool v6, unsigned protocol, std::uint16_t source, std::uint16_t destination, unsigned options = 0) {
  Frame bytes(wire_header + 14 + (v6 ? 40 : 20 + options) + 20);
  auto* ethernet = bytes.data() + wire_header;
  ethernet[12] = v6 ? std::byte{0x86} : std::byte{0x08};
  ethernet[13] = v6 ? std::byte{0xdd} : std::byte{0x00};
  auto* packet = ethernet + 14;
  packet[0] = static_cast<std::byte>(v6 ? 0x60 : 0x40 + 5 + options / 4);
  packet[v6 ? 6 : 9] = static_cast<std::byte>(protocol);
  auto* ports = packet + (v6 ? 40 : 20 + options);
  ports[0] = static_cast<std::byte>(source >> 8);
  ports[1] = static_cast<std::byte>(source);
  ports[2] = static_cast<std::byte>(destination >> 8);
  ports[3] = static_cast<std::byte>(destination);
  return bytes;
}

TEST(Relay, FramesComeThroughInOrderAfterTheDelay) {
  WireQueue queue({.delay = 20ms}, 1);
  EXPECT_EQ(queue.due(), std::nullopt);
  queue.put(frame(false, 17, 1, 1), start);
  queue.put(frame(false, 17, 2, 2), start + 5ms);
  EXPECT_EQ(queue.due(), start + 20ms);
  EXPECT_EQ(queue.take(start + 19ms), std::nullopt);
  EXPECT_EQ(queue.take(start + 20ms), frame(false, 17, 1, 1)) << "unchanged";
  EXPECT_EQ(queue.take(start + 20ms), std::nullopt);
  EXPECT_EQ(queue.take(start + 25ms), frame(false, 17, 2, 2));
  EXPECT_EQ(queue.due(), std::nullopt);
}

TEST(Relay, LosesAboutAsManyAsItIsTold) {
  const auto arrived = [](std::uint32_t ppm) {
    WireQueue queue({.loss_ppm = ppm}, 7);
    int count = 0;
    for (int i = 0; i < 10'000; ++i) {
      queue.put(frame(false, 17, 1, 1), start);
      count += queue.take(start) ? 1 : 0;
    }
    return count;
  };
  EXPECT_EQ(arrived(0), 10'000);
  EXPECT_EQ(arrived(1'000'000), 0);
  EXPECT_NEAR(arrived(50'000), 9'500, 100);
}

TEST(Relay, CutsOneTcpPortInBothDirections) {
  const auto passes = [](const Frame& one) {
    WireQueue queue({.cut_tcp_port = 2379}, 1);
    queue.put(one, start);
    return queue.take(start).has_value();
  };
  for (const bool v6 : {false, true}) {
    EXPECT_FALSE(passes(frame(v6, 6, 40000, 2379))) << v6;
    EXPECT_FALSE(passes(frame(v6, 6, 2379, 40000))) << v6;
    EXPECT_TRUE(passes(frame(v6, 6, 40000, 80))) << v6;
    EXPECT_TRUE(passes(frame(v6, 17, 40000, 2379))) << v6;
  }
  EXPECT_FALSE(passes(frame(false, 6, 40000, 2379, 8))) << "behind IP options";
  Frame cut = frame(false, 6, 40000, 2379);
  for (std::size_t size = wire_header; size < cut.size() - 20; ++size)
    EXPECT_TRUE(passes(Frame(cut.begin(), cut.begin() + static_cast<std::ptrdiff_t>(size)))) << "cut at " << size;
}

TEST(Relay, HoldsNoMoreThanItCan) {
  WireQueue queue({.delay = 1s}, 1);
  const Frame big(65'000);
  for (int i = 0; i < 3'000; ++i) queue.put(big, start);
  int count = 0;
  while (queue.take(start + 1s)) ++count;
  EXPECT_GT(count, 500);
  EXPECT_LT(count, 1'100);
  queue.put(big, start);
  EXPECT_TRUE(queue.due()) << "and has room again";
}

}  // namespace
}  // namespace weft::lab
