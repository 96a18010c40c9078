#include "agent/egress_addresses.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/l2_frames.h"
#include "sys/fake_netlink.h"

namespace weft::agent {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

IpAddress ip(const char* text) { return IpAddress::parse(text).value(); }

class EgressAddressesTest : public ::testing::Test {
 protected:
  EgressAddressesTest() {
    for (const auto* name : {"eth0", "eth1"}) {
      const auto device = netlink_->create_dummy(name, MacAddress{{2, 0, 0, 0, 0, 1}}).value();
      Uplink uplink;
      uplink.name = name;
      uplink.mac = device.mac;
      node_.uplinks[static_cast<std::uint32_t>(device.index)] = uplink;
    }
    EXPECT_TRUE(netlink_->add_address({index("eth0"), ip("192.0.2.1"), 24}));
  }
  int index(const char* name) { return netlink_->device(name)->index; }
  std::vector<std::string> ours() {
    std::vector<std::string> all;
    const auto rows = netlink_->addresses().value();
    for (const auto& row : rows)
      if (row.protocol == sys::address_protocol_weft)
        all.push_back(netlink_->device(row.index)->name + " " + row.address.to_string());
    return all;
  }
  bool want(const std::set<control::EgressAddress>& wanted) { return addresses_.want(wanted, node_); }

  sys::FakeKernel kernel_;
  std::unique_ptr<sys::Netlink> netlink_ = kernel_.open();
  Node node_;
  asio::io_context loop_;
  Faults faults_;
  std::vector<std::pair<std::uint32_t, std::size_t>> sent_;
  EgressAddresses addresses_{loop_, *netlink_, faults_,
                             [this](std::uint32_t ifindex, std::span<const std::uint8_t> frame) -> Result<void> {
                               sent_.emplace_back(ifindex, frame.size());
                               return {};
                             }};
};

TEST_F(EgressAddressesTest, AreAddedAnnouncedAndTakenAway) {
  want({{ip("192.0.2.9"), "eth0"}, {ip("2001:db8::9"), "eth1"}});
  EXPECT_THAT(ours(), ElementsAre("eth0 192.0.2.9", "eth1 2001:db8::9"));
  EXPECT_FALSE(sent_.empty());
  sent_.clear();
  want({{ip("192.0.2.9"), "eth0"}, {ip("2001:db8::9"), "eth1"}});
  EXPECT_THAT(sent_, IsEmpty()) << "nothing has changed";
  addresses_.announce_again();
  EXPECT_FALSE(sent_.empty());
  want({{ip("2001:db8::9"), "eth1"}});
  EXPECT_THAT(ours(), ElementsAre("eth1 2001:db8::9"));
  want({});
  EXPECT_THAT(ours(), IsEmpty());
  EXPECT_EQ(netlink_->addresses()->size(), 1U) << "others' stay";
}

TEST_F(EgressAddressesTest, WhatAnEarlierRunLeftIsFoundAgain) {
  ASSERT_TRUE(netlink_->add_address({index("eth0"), ip("192.0.2.9"), 32, sys::address_protocol_weft}));
  ASSERT_TRUE(netlink_->add_address({index("eth0"), ip("192.0.2.8"), 32, sys::address_protocol_weft}));
  want({{ip("192.0.2.9"), "eth0"}});
  EXPECT_THAT(ours(), ElementsAre("eth0 192.0.2.9"));
}

TEST_F(EgressAddressesTest, MovesToAnotherDevice) {
  want({{ip("192.0.2.9"), "eth0"}});
  want({{ip("192.0.2.9"), "eth1"}});
  EXPECT_THAT(ours(), ElementsAre("eth1 192.0.2.9"));
}

TEST_F(EgressAddressesTest, AnAddressOfTheNodesOwnIsLeftAlone) {
  want({{ip("192.0.2.1"), "eth0"}});
  EXPECT_THAT(ours(), IsEmpty());
  EXPECT_THAT(sent_, IsEmpty());
  want({});
  EXPECT_EQ(netlink_->addresses()->size(), 1U);
}

TEST_F(EgressAddressesTest, WhatFailsIsAFaultUntilItIsDone) {
  sys::FaultyNetlink faulty(kernel_.open(), 1);
  EgressAddresses failing(loop_, faulty, faults_, [](auto, auto) -> Result<void> { return {}; });
  EXPECT_FALSE(failing.want({{ip("192.0.2.9"), "eth0"}}, node_));
  EXPECT_TRUE(faults_.has("egress address 192.0.2.9"));
  EXPECT_TRUE(want({{ip("192.0.2.9"), "eth0"}}));
  EXPECT_FALSE(faults_.has("egress address 192.0.2.9"));
}

}  // namespace
}  // namespace weft::agent
