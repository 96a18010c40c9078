#include "agent/key_change.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::agent {
namespace {

using ::testing::HasSubstr;

// Both have both keys, and each is sent by the newest.
KeyWait wait() {
  return {.node = "b",
          .alive = true,
          .offered = {.keys = {{1, "k", 51872}, {2, "l", 51871}}, .settled = 2},
          .newest = 2,
          .sends_by = 2,
          .address = "192.0.2.2:51871"};
}

TEST(KeyChange, ANodeWithoutASessionOfTheNewestKeyIsNamedWithItsPort) {
  auto stuck = wait();
  stuck.sends_by = 1;
  stuck.offered.settled = 1;
  const auto why = why_waiting(stuck);
  EXPECT_THAT(why.text, HasSubstr("node b makes no handshake by its key of generation 2, at 192.0.2.2:51871"));
  EXPECT_THAT(why.remedy, HasSubstr("let UDP port 51871"));
  stuck.address.clear();
  EXPECT_THAT(why_waiting(stuck).text, HasSubstr("at UDP port 51871"));
  stuck.sends_by.reset();
  EXPECT_THAT(why_waiting(stuck).text, HasSubstr("no handshake"));
}

TEST(KeyChange, ANodeWithoutTheNewestKeyIsNotReproachedForItsNetwork) {
  auto late = wait();
  late.offered.keys.pop_back();
  late.sends_by = 1;
  EXPECT_THAT(why_waiting(late).text, HasSubstr("node b has no key of generation 2 yet"));
}

TEST(KeyChange, ANodeThatIsAwayIsWaitedFor) {
  auto away = wait();
  away.alive = false;
  away.offered.keys.pop_back();
  EXPECT_THAT(why_waiting(away).text, HasSubstr("node b is away"));
  EXPECT_THAT(why_waiting(away).remedy, HasSubstr("weft node delete b"));
}

TEST(KeyChange, ANodeThatWaitsForAThirdIsAsked) {
  auto busy = wait();
  busy.offered.settled = 1;
  EXPECT_THAT(why_waiting(busy).text, HasSubstr("still needs an earlier one for others"));
  EXPECT_THAT(why_waiting(busy).remedy, HasSubstr("weft encryption status there"));
}

TEST(KeyChange, ANodeWithoutAKeyIsAProblemOnceItLasts) {
  Keyless keyless;
  const auto at = [](int seconds) { return Keyless::Time(std::chrono::seconds(seconds)); };
  EXPECT_FALSE(keyless.lasts("b", at(9)));
  keyless.take({"b"}, at(10));
  keyless.take({"b", "c"}, at(13));
  EXPECT_FALSE(keyless.lasts("b", at(14)));
  EXPECT_TRUE(keyless.lasts("b", at(15)));
  EXPECT_FALSE(keyless.lasts("c", at(15)));
  keyless.take({"c"}, at(16));
  keyless.take({"b", "c"}, at(17));
  EXPECT_FALSE(keyless.lasts("b", at(18))) << "it had one meanwhile";
  EXPECT_TRUE(keyless.lasts("c", at(18)));
}

}  // namespace
}  // namespace weft::agent
