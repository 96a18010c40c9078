// For this room's tests: a bpffs, a network namespace and a two-instruction program of their own.
#pragma once

#include <bpf/bpf.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <sys/mount.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>

#include "sys/netns.h"
#include "sys/system.h"

namespace weft::bpfrt {

class BpfTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    std::string pattern = testing::TempDir() + "weft-bpfrt-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    auto mounted = sys::ensure_bpffs(directory_);
    ASSERT_TRUE(mounted) << mounted.error().message;
  }
  void TearDown() override {
    if (directory_.empty()) return;
    ::umount2(directory_.c_str(), MNT_DETACH);
    std::filesystem::remove(directory_);
  }
  [[nodiscard]] std::string pin(const std::string& name) const { return directory_ + "/" + name; }

  // r0 = `value`; exit
  static Fd load_program(bpf_prog_type type, int value, int attach_type = 0) {
    std::array<bpf_insn, 2> code{};
    code[0].code = BPF_ALU64 | BPF_MOV | BPF_K;
    code[0].imm = value;
    code[1].code = BPF_JMP | BPF_EXIT;
    bpf_prog_load_opts options{};
    options.sz = sizeof options;
    options.expected_attach_type = static_cast<bpf_attach_type>(attach_type);
    Fd program(bpf_prog_load(type, "weft_test", "Dual BSD/GPL", code.data(), code.size(), &options));
    EXPECT_TRUE(program.valid()) << std::strerror(errno);
    return program;
  }

  std::string directory_;
};

}  // namespace weft::bpfrt
