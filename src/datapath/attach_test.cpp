// On the running kernel: the devices of tunnels get their programs, keep them past a restart, and lose them with their
// pins.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "datapath/datapath.h"
#include "sys/netlink.h"
#include "sys/netns.h"

namespace weft::datapath {
namespace {

class Attach : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    ASSERT_TRUE(sys::create_named_netns(name_));
    netns_ = sys::open_netns(sys::named_netns_path(name_)).value();
    scope_.emplace(sys::NetnsScope::enter(netns_.get()).value());
    netlink_ = sys::open_netlink().value();
    ASSERT_TRUE(netlink_->set_up(1, true));
    options_.pin_directory = "/sys/fs/bpf/" + name_;
    options_.flow_entries = options_.service_entries = options_.backend_entries = options_.slot_entries = 1024;
    options_.remote_entries = 512;
  }
  void TearDown() override {
    scope_.reset();
    (void)sys::delete_named_netns(name_);
    std::error_code ignored;
    std::filesystem::remove_all(options_.pin_directory, ignored);
  }
  std::uint32_t overlay() {
    const auto device = netlink_->create_vxlan("weft_vx0", 8472, {}).value();
    EXPECT_TRUE(netlink_->set_up(device.index, true));
    return static_cast<std::uint32_t>(device.index);
  }
  std::uint32_t wireguard() {
    const auto device = netlink_->create_tun("weft-wg0").value();
    EXPECT_TRUE(netlink_->set_up(device.index, true));
    return static_cast<std::uint32_t>(device.index);
  }
  std::uint32_t host() {
    const auto device = netlink_->create_dummy("weft0", *MacAddress::parse("02:00:00:00:00:09")).value();
    EXPECT_TRUE(netlink_->set_up(device.index, true));
    return static_cast<std::uint32_t>(device.index);
  }

  std::string name_ = "weft-attach-" + std::to_string(::getpid());
  Fd netns_;
  std::optional<sys::NetnsScope> scope_;
  std::unique_ptr<sys::Netlink> netlink_;
  Options options_;
};

TEST_F(Attach, TheDevicesOfTunnels) {
  const auto overlay_index = overlay();
  const auto host_index = host();
  const auto wireguard_index = wireguard();
  auto datapath = Datapath::open(options_);
  ASSERT_TRUE(datapath) << datapath.error().message;
  EXPECT_EQ((*datapath)->map("weft_remote_v1")->info()->max_entries, 512U);
  EXPECT_EQ((*datapath)->map("weft_node_v1")->info()->max_entries, static_cast<std::uint32_t>(WEFT_NODES));
  EXPECT_FALSE((*datapath)->overlay_attached(overlay_index).value_or(true));
  EXPECT_FALSE((*datapath)->host_attached(host_index).value_or(true));
  ASSERT_TRUE((*datapath)->attach_overlay(overlay_index));
  ASSERT_TRUE((*datapath)->attach_host(host_index));
  ASSERT_TRUE((*datapath)->attach_wireguard(wireguard_index));
  EXPECT_TRUE((*datapath)->overlay_attached(overlay_index).value());
  EXPECT_TRUE((*datapath)->host_attached(host_index).value());
  (*datapath)->prune({}, overlay_index, host_index, {wireguard_index});
  EXPECT_TRUE((*datapath)->wireguard_attached(wireguard_index).value());
  EXPECT_TRUE((*datapath)->overlay_attached(overlay_index).value());
  EXPECT_TRUE((*datapath)->host_attached(host_index).value());

  datapath->reset();
  datapath = Datapath::open(options_);
  ASSERT_TRUE(datapath) << datapath.error().message;
  EXPECT_FALSE((*datapath)->overlay_attached(overlay_index).value()) << "the last run's program, not this one's";
  ASSERT_TRUE((*datapath)->attach_overlay(overlay_index));
  ASSERT_TRUE((*datapath)->attach_host(host_index));
  EXPECT_TRUE((*datapath)->overlay_attached(overlay_index).value());
  if ((*datapath)->features().attach != bpfrt::AttachMode::tcx) return;
  (*datapath)->prune({});
  EXPECT_FALSE((*datapath)->overlay_attached(overlay_index).value());
  EXPECT_FALSE((*datapath)->host_attached(host_index).value());
}

}  // namespace
}  // namespace weft::datapath
