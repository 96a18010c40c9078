#include "agent/own_reason.h"

#include <gtest/gtest.h>

#include "sys/fake_netlink.h"

namespace weft::agent {
namespace {

IpAddress ip(const char* text) { return *IpAddress::parse(text); }

class OwnReasonTest : public testing::Test {
 protected:
  OwnReasonTest() {
    uplink = netlink->create_dummy("up0", {}).value().index;
    EXPECT_TRUE(netlink->set_up(uplink, true));
    EXPECT_TRUE(netlink->add_address({uplink, ip("192.0.2.2"), 24}));
    EXPECT_TRUE(netlink->replace_route({.destination = *Cidr::parse("192.0.2.0/24"), .device = uplink}));
  }
  std::string of(const std::vector<std::string>& servers) { return own_reason(*netlink, servers); }

  sys::FakeKernel kernel;
  std::unique_ptr<sys::Netlink> netlink = kernel.open();
  int uplink = 0;
};

TEST_F(OwnReasonTest, AWayThatIsThereIsNoReason) {
  EXPECT_EQ(of({"https://192.0.2.1:6443"}), "");
  EXPECT_EQ(of({"https://api.example:6443", "https://127.0.0.1:6443", "https://[::1]:6443", ""}), "");
}

TEST_F(OwnReasonTest, AnAddressOfTheMachineItselfIsNamedWithItsDevices) {
  for (const auto* name : {"weft0", "lan9"}) {
    const int device = netlink->create_dummy(name, {}).value().index;
    ASSERT_TRUE(netlink->add_address({device, ip("192.0.2.1"), 32}));
  }
  EXPECT_EQ(of({"https://192.0.2.1:6443", "192.0.2.1:6444"}),
            "192.0.2.1 is an address of this machine itself, on lan9 and weft0");
}

TEST_F(OwnReasonTest, NoRouteAndADeviceThatIsDownAreNamedForEachServer) {
  EXPECT_EQ(of({"https://198.51.100.1:6443", "https://[2001:db8::1]:6443"}),
            "this machine has no route to 198.51.100.1 (Network is unreachable), "
            "this machine has no route to 2001:db8::1 (Network is unreachable)");
  kernel.at().devices.at(uplink).running = false;
  EXPECT_EQ(of({"https://192.0.2.1:6443"}), "192.0.2.1 is sent to by up0, which has no carrier");
  kernel.at().devices.at(uplink).up = false;
  EXPECT_EQ(of({"https://192.0.2.1:6443"}), "192.0.2.1 is sent to by up0, which is down");
}

}  // namespace
}  // namespace weft::agent
