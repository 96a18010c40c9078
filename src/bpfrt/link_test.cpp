#include "bpfrt/link.h"

#include <sys/stat.h>

#include "bpfrt/bpf_link.h"
#include "bpfrt/bpf_test_support.h"
#include "sys/netlink.h"

namespace weft::bpfrt {
namespace {

class LinkTest : public BpfTest {
 protected:
  void SetUp() override {
    BpfTest::SetUp();
    if (IsSkipped()) return;
    name_ = "weft-bpfrt-" + std::to_string(::getpid());
    ASSERT_TRUE(sys::create_named_netns(name_));
    netns_ = sys::open_netns(sys::named_netns_path(name_)).value();
    scope_.emplace(sys::NetnsScope::enter(netns_.get()).value());
    netlink_ = sys::open_netlink().value();
    device_ = make_device();
  }
  void TearDown() override {
    netlink_.reset();
    scope_.reset();
    if (!name_.empty()) (void)sys::delete_named_netns(name_);
    BpfTest::TearDown();
  }
  int make_device() { return netlink_->create_veth({"weft0", {}, "weft1", {}, 1500, -1}).value().index; }
  static std::uint32_t id(const Fd& program) { return program_id(program.get()).value(); }

  std::string name_;
  Fd netns_;
  std::optional<sys::NetnsScope> scope_;
  std::unique_ptr<sys::Netlink> netlink_;
  int device_ = 0;
  Fd first_ = load_program(BPF_PROG_TYPE_SCHED_CLS, 0);
  Fd second_ = load_program(BPF_PROG_TYPE_SCHED_CLS, 0);
};

TEST_F(LinkTest, ReplacesAndDetachesPrograms) {
  const AttachMode best = probe_attach_mode();
  std::vector<AttachMode> modes{AttachMode::clsact};
  if (best == AttachMode::tcx) modes.push_back(best);
  for (const AttachMode mode : modes) {
    for (const Hook hook : {Hook::ingress, Hook::egress}) {
      const std::string path = pin(hook == Hook::ingress ? "in" : "out");
      EXPECT_FALSE(is_attached(mode, device_, hook, path, id(first_)).value());
      EXPECT_TRUE(detach_device(mode, device_, hook, path)) << "absent is success";
      auto attached = attach_device(mode, device_, hook, first_.get(), path);
      ASSERT_TRUE(attached) << attached.error().message;
      EXPECT_TRUE(is_attached(mode, device_, hook, path, id(first_)).value());
      ASSERT_TRUE(attach_device(mode, device_, hook, second_.get(), path));
      EXPECT_FALSE(is_attached(mode, device_, hook, path, id(first_)).value());
      EXPECT_TRUE(is_attached(mode, device_, hook, path, id(second_)).value());
      EXPECT_TRUE(detach_device(mode, device_, hook, path));
      EXPECT_FALSE(is_attached(mode, device_, hook, path, id(second_)).value());
      EXPECT_TRUE(list_pins(directory_).empty());
    }
  }
}

TEST_F(LinkTest, ProbingLeavesNothingBehind) {
  const AttachMode mode = probe_attach_mode();
  EXPECT_EQ(probe_attach_mode(), mode);
  EXPECT_TRUE(list_pins(directory_).empty());
}

TEST_F(LinkTest, AnAttachedProgramOutlivesItsOwner) {
  if (probe_attach_mode() != AttachMode::tcx) GTEST_SKIP() << "this kernel has no tcx";
  const std::uint32_t program = id(first_);
  ASSERT_TRUE(attach_device(AttachMode::tcx, device_, Hook::ingress, first_.get(), pin("link")));
  first_.reset();
  EXPECT_TRUE(is_attached(AttachMode::tcx, device_, Hook::ingress, pin("link"), program).value());
}

TEST_F(LinkTest, ReplacesTheLinkOfADeviceThatIsGone) {
  if (probe_attach_mode() != AttachMode::tcx) GTEST_SKIP() << "this kernel has no tcx";
  ASSERT_TRUE(attach_device(AttachMode::tcx, device_, Hook::ingress, first_.get(), pin("link")));
  ASSERT_TRUE(netlink_->delete_device(device_));
  EXPECT_FALSE(is_attached(AttachMode::tcx, device_, Hook::ingress, pin("link"), id(first_)).value());
  device_ = make_device();
  ASSERT_TRUE(attach_device(AttachMode::tcx, device_, Hook::ingress, first_.get(), pin("link")));
  EXPECT_TRUE(is_attached(AttachMode::tcx, device_, Hook::ingress, pin("link"), id(first_)).value());
  // A pin of another hook is not taken for this one's.
  ASSERT_TRUE(attach_device(AttachMode::tcx, device_, Hook::egress, first_.get(), pin("link")));
  EXPECT_TRUE(is_attached(AttachMode::tcx, device_, Hook::egress, pin("link"), id(first_)).value());
}

TEST_F(LinkTest, RefusesDevicesThatAreNotThere) {
  for (const AttachMode mode : {AttachMode::clsact, AttachMode::tcx}) {
    EXPECT_FALSE(attach_device(mode, 9999, Hook::ingress, first_.get(), pin("link")));
    EXPECT_TRUE(detach_device(mode, 9999, Hook::ingress, pin("link")));
    EXPECT_FALSE(is_attached(mode, 9999, Hook::ingress, pin("link"), 1).value());
  }
  EXPECT_TRUE(list_pins(directory_).empty());
}

TEST_F(LinkTest, AttachesToACgroup) {
  auto mount = sys::cgroup2_mount();
  if (!mount) GTEST_SKIP() << mount.error().message;
  const std::string cgroup = *mount + "/weft-bpfrt-" + std::to_string(::getpid());
  ASSERT_EQ(::mkdir(cgroup.c_str(), 0755), 0);
  const Fd program = load_program(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, 1, BPF_CGROUP_INET4_CONNECT);
  const Fd other = load_program(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, 1, BPF_CGROUP_INET4_CONNECT);
  const auto attached_id = [&] {
    LinkInfo info;
    const Fd link = open_pinned(pin("connect4")).value();
    EXPECT_EQ(read_link_info(link.get(), info), 0);
    return info.prog_id;
  };
  auto attached = attach_cgroup(cgroup, BPF_CGROUP_INET4_CONNECT, program.get(), pin("connect4"));
  EXPECT_TRUE(attached) << attached.error().message;
  EXPECT_EQ(attached_id(), id(program));
  EXPECT_TRUE(attach_cgroup(cgroup, BPF_CGROUP_INET4_CONNECT, other.get(), pin("connect4")));
  EXPECT_EQ(attached_id(), id(other));
  // Gone and made again: the pinned link is dead and must be replaced.
  ASSERT_EQ(::rmdir(cgroup.c_str()), 0);
  ASSERT_EQ(::mkdir(cgroup.c_str(), 0755), 0);
  EXPECT_TRUE(attach_cgroup(cgroup, BPF_CGROUP_INET4_CONNECT, program.get(), pin("connect4")));
  EXPECT_EQ(attached_id(), id(program));
  remove_pin(pin("connect4"));
  ASSERT_EQ(::rmdir(cgroup.c_str()), 0);
  EXPECT_EQ(attach_cgroup(cgroup, BPF_CGROUP_INET4_CONNECT, program.get(), pin("x")).error().code,
            ErrorCode::not_found);
}

}  // namespace
}  // namespace weft::bpfrt
