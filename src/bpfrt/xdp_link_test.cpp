#include <bpf/libbpf.h>
#include <linux/if_link.h>

#include "bpfrt/bpf_link.h"
#include "bpfrt/bpf_test_support.h"
#include "bpfrt/link.h"
#include "sys/netlink.h"

namespace weft::bpfrt {
namespace {

class XdpLinkTest : public BpfTest {
 protected:
  void SetUp() override {
    BpfTest::SetUp();
    if (IsSkipped()) return;
    name_ = "weft-xdplink-" + std::to_string(::getpid());
    ASSERT_TRUE(sys::create_named_netns(name_));
    netns_ = sys::open_netns(sys::named_netns_path(name_)).value();
    scope_.emplace(sys::NetnsScope::enter(netns_.get()).value());
    netlink_ = sys::open_netlink().value();
    device_ = netlink_->create_veth({"weft0", {}, "weft1", {}, 1500, -1}).value().index;
  }
  void TearDown() override {
    netlink_.reset();
    scope_.reset();
    if (!name_.empty()) (void)sys::delete_named_netns(name_);
    BpfTest::TearDown();
  }
  static std::uint32_t id(const Fd& program) { return program_id(program.get()).value(); }
  // The program the device runs in this mode; 0: none.
  [[nodiscard]] std::uint32_t attached(XdpMode mode, int device) const {
    LIBBPF_OPTS(bpf_xdp_query_opts, query);
    if (bpf_xdp_query(device, 0, &query) != 0) return 0;
    return mode == XdpMode::native ? query.drv_prog_id : query.skb_prog_id;
  }
  void attach(XdpMode mode, const Fd& program) {
    const auto result = attach_xdp(mode, device_, program.get(), pin("xdp"));
    EXPECT_TRUE(result) << (result ? "" : result.error().message);
  }
  [[nodiscard]] bool attached_through_pin(const Fd& program) const {
    return is_xdp_attached(device_, pin("xdp"), id(program)).value();
  }

  std::string name_;
  Fd netns_;
  std::optional<sys::NetnsScope> scope_;
  std::unique_ptr<sys::Netlink> netlink_;
  int device_ = 0;
  Fd first_ = load_program(BPF_PROG_TYPE_XDP, XDP_PASS, BPF_XDP);
  Fd second_ = load_program(BPF_PROG_TYPE_XDP, XDP_PASS, BPF_XDP);
};

TEST_F(XdpLinkTest, ARepeatedAttachPutsTheProgramBehindThePinnedLink) {
  EXPECT_FALSE(attached_through_pin(first_));
  attach(XdpMode::native, first_);
  EXPECT_EQ(attached(XdpMode::native, device_), id(first_));
  EXPECT_TRUE(attached_through_pin(first_));
  LinkInfo before;
  LinkInfo after;
  ASSERT_EQ(0, read_link_info(open_pinned(pin("xdp")).value().get(), before));
  attach(XdpMode::native, second_);
  ASSERT_EQ(0, read_link_info(open_pinned(pin("xdp")).value().get(), after));
  EXPECT_EQ(before.id, after.id);
  EXPECT_EQ(attached(XdpMode::native, device_), id(second_));
  EXPECT_TRUE(attached_through_pin(second_));
  EXPECT_FALSE(attached_through_pin(first_));
  detach_xdp(pin("xdp"));
  EXPECT_EQ(attached(XdpMode::native, device_), 0u);
  EXPECT_FALSE(attached_through_pin(second_));
  EXPECT_TRUE(list_pins(directory_).empty());
  detach_xdp(pin("xdp"));
}

TEST_F(XdpLinkTest, ADriverThatCannotIsAnError) {
  const int loopback = static_cast<int>(::if_nametoindex("lo"));
  EXPECT_FALSE(attach_xdp(XdpMode::native, loopback, first_.get(), pin("lo")));
  EXPECT_TRUE(list_pins(directory_).empty());
  EXPECT_TRUE(attach_xdp(XdpMode::generic, loopback, first_.get(), pin("lo")));
  EXPECT_EQ(attached(XdpMode::generic, loopback), id(first_));
}

TEST_F(XdpLinkTest, TheWantedModeReplacesAnother) {
  attach(XdpMode::generic, first_);
  EXPECT_EQ(attached(XdpMode::generic, device_), id(first_));
  attach(XdpMode::native, second_);
  EXPECT_EQ(attached(XdpMode::native, device_), id(second_));
  attach(XdpMode::off, first_);
  EXPECT_EQ(attached(XdpMode::native, device_), 0u);
  EXPECT_TRUE(list_pins(directory_).empty());
}

TEST_F(XdpLinkTest, AnothersProgramStays) {
  ASSERT_EQ(0, bpf_xdp_attach(device_, second_.get(), XDP_FLAGS_DRV_MODE, nullptr));
  EXPECT_FALSE(attach_xdp(XdpMode::native, device_, first_.get(), pin("xdp")));
  EXPECT_EQ(attached(XdpMode::native, device_), id(second_));
  EXPECT_TRUE(list_pins(directory_).empty());
}

}  // namespace
}  // namespace weft::bpfrt
