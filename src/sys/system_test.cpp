#include "sys/system.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "sys/mountinfo.h"
#include "sys/netns.h"

namespace weft::sys {
namespace {

class SystemTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "weft-sys-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
  }
  void TearDown() override {
    ::umount2((directory_ + "/bpf").c_str(), MNT_DETACH);
    std::filesystem::remove_all(directory_);
  }
  std::string directory_;
};

TEST(Mountinfo, FindsTheUnifiedHierarchyBesideVersionOne) {
  const char* text =
      "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
      "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n"
      "40 31 0:37 /part /elsewhere rw shared:3 master:4 - cgroup2 none rw\n"
      "41 31 0:38 / /sys/fs/cgroup/with\\040space rw,relatime shared:9 - cgroup2 cgroup2 rw\n";
  EXPECT_EQ(find_cgroup2_mount(text), "/sys/fs/cgroup/with space");
  EXPECT_EQ(find_cgroup2_mount("40 31 0:37 /part /elsewhere rw - cgroup2 none rw\n"), "/elsewhere");
  EXPECT_EQ(find_cgroup2_mount(""), std::nullopt);
  EXPECT_EQ(find_cgroup2_mount("- cgroup2\n- - - -\n\\\n1 2 3 / /x rw -"), std::nullopt);
}

TEST(Mountinfo, FindsTheUnifiedPathOfAProcess) {
  EXPECT_EQ(find_cgroup2_path("2:cpu:/a\n0::/system.slice/x\n"), "/system.slice/x");
  EXPECT_EQ(find_cgroup2_path("0::/\n"), "/");
  EXPECT_EQ(find_cgroup2_path("2:cpu:/a\n"), std::nullopt);
}

TEST_F(SystemTest, FindsCgroup2OnThisMachine) {
  auto mount = cgroup2_mount();
  if (!mount) GTEST_SKIP() << mount.error().message;
  EXPECT_TRUE(std::filesystem::exists(*mount + "/cgroup.controllers"));
  auto own = cgroup2_of(::getpid());
  ASSERT_TRUE(own) << own.error().message;
  EXPECT_EQ(own->front(), '/');
}

TEST_F(SystemTest, ReplacesAFileAtomically) {
  const std::string path = directory_ + "/file";
  ASSERT_TRUE(write_file_atomically(path, "one", 0600));
  ASSERT_TRUE(write_file_atomically(path, std::string(100000, 'x'), 0666));
  EXPECT_EQ(read_file(path).value(), std::string(100000, 'x'));
  struct stat status {};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0666U) << "the umask was applied";
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory_), {}), 1) << "a temporary file is left";
  EXPECT_EQ(write_file_atomically(directory_ + "/none/file", "", 0600).error().code, ErrorCode::not_found);
  ASSERT_TRUE(make_directories(directory_ + "/taken", 0700));
  EXPECT_FALSE(write_file_atomically(directory_ + "/taken", "x", 0600));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory_), {}), 2) << "a temporary file is left";
}

TEST_F(SystemTest, MakesDirectories) {
  EXPECT_TRUE(make_directories(directory_ + "/a/b/c", 0700));
  EXPECT_TRUE(make_directories(directory_ + "/a/b/c", 0700));
  ASSERT_TRUE(write_file_atomically(directory_ + "/file", "", 0600));
  EXPECT_FALSE(make_directories(directory_ + "/file", 0700));
  EXPECT_FALSE(make_directories(directory_ + "/file/below", 0700));
}

TEST_F(SystemTest, MountsBpffsOnce) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  const std::string path = directory_ + "/bpf";
  ASSERT_TRUE(ensure_bpffs(path));
  ASSERT_TRUE(ensure_bpffs(path + "/below")) << "a directory inside counts";
  ASSERT_TRUE(ensure_bpffs(path));
  ASSERT_EQ(::umount2(path.c_str(), 0), 0);
  EXPECT_NE(::umount2(path.c_str(), 0), 0) << "it was mounted twice";
}

// As a container's runtime leaves them: in a process of its own, whose mounts and sysctls are nobody else's.
TEST_F(SystemTest, SysctlsThatARuntimeHasMadeReadOnlyAreWritableAgain) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  EXPECT_EXIT(
      {
        const auto writes = [] {
          return write_sysctl("net/ipv4/ip_forward", read_sysctl("net/ipv4/ip_forward").value() == "1" ? "0" : "1")
              .has_value();
        };
        if (::unshare(CLONE_NEWNS | CLONE_NEWNET) != 0) std::_Exit(1);
        if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) std::_Exit(2);
        if (::mount("/proc/sys", "/proc/sys", nullptr, MS_BIND, nullptr) != 0) std::_Exit(3);
        if (::mount(nullptr, "/proc/sys", nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY, nullptr) != 0) std::_Exit(4);
        if (writes()) std::_Exit(5);
        make_sysctls_writable();
        std::_Exit(writes() ? 0 : 6);
      },
      testing::ExitedWithCode(0), "");
}

TEST_F(SystemTest, SysctlsBelongToTheNamespaceOfTheThread) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  const std::string name = "weft-sysctl-" + std::to_string(::getpid());
  ASSERT_TRUE(create_named_netns(name));
  EXPECT_EQ(create_named_netns(name).error().code, ErrorCode::exists);
  const auto outside = read_sysctl("net/ipv4/ip_forward").value();
  {
    const Fd netns = open_netns(named_netns_path(name)).value();
    const auto scope = NetnsScope::enter(netns.get()).value();
    const std::string flipped = outside == "1" ? "0" : "1";
    EXPECT_TRUE(write_sysctl("net/ipv4/ip_forward", flipped));
    EXPECT_EQ(read_sysctl("net/ipv4/ip_forward").value(), flipped);
    EXPECT_EQ(write_sysctl("net/ipv4/none", "1").error().code, ErrorCode::not_found);
  }
  EXPECT_EQ(read_sysctl("net/ipv4/ip_forward").value(), outside);
  EXPECT_TRUE(delete_named_netns(name));
  EXPECT_TRUE(delete_named_netns(name)) << "absent is success";
}

TEST_F(SystemTest, TellsNamespacesApart) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  const std::string name = "weft-apart-" + std::to_string(::getpid());
  ASSERT_TRUE(create_named_netns(name));
  const Fd other = open_netns(named_netns_path(name)).value();
  const Fd own = current_netns().value();
  EXPECT_NE(netns_inode(own.get()).value(), netns_inode(other.get()).value());
  EXPECT_NE(netns_cookie(own.get()).value(), netns_cookie(other.get()).value());
  EXPECT_EQ(netns_cookie(own.get()).value(), netns_cookie(own.get()).value());
  EXPECT_TRUE(processes_in_netns(netns_inode(other.get()).value()).empty());
  const auto pids = processes_in_netns(netns_inode(own.get()).value());
  EXPECT_NE(std::find(pids.begin(), pids.end(), ::getpid()), pids.end());
  EXPECT_TRUE(delete_named_netns(name));
}

TEST_F(SystemTest, RefusesWhatIsNoNetworkNamespace) {
  EXPECT_EQ(open_netns(directory_).error().code, ErrorCode::invalid);
  EXPECT_EQ(open_netns("/proc/self/ns/mnt").error().code, ErrorCode::invalid);
  EXPECT_EQ(open_netns(directory_ + "/none").error().code, ErrorCode::not_found);
  ASSERT_EQ(::mkfifo((directory_ + "/fifo").c_str(), 0600), 0);
  EXPECT_EQ(open_netns(directory_ + "/fifo").error().code, ErrorCode::invalid) << "and it must not block";
  EXPECT_EQ(create_named_netns("../x").error().code, ErrorCode::invalid);
  EXPECT_EQ(delete_named_netns("").error().code, ErrorCode::invalid);
}

TEST_F(SystemTest, ReadsItself) {
  EXPECT_GT(resident_bytes(::getpid()).value(), 1U << 20);
  EXPECT_FALSE(resident_bytes(1 << 30));
  EXPECT_FALSE(kernel_release().empty());
}

}  // namespace
}  // namespace weft::sys
