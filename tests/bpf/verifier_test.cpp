// Every object passes the running kernel's verifier; what it had to look at is printed.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <vector>

namespace weft::test {
namespace {

struct ObjectCloser {
  void operator()(bpf_object* object) const { bpf_object__close(object); }
};

// The kernel gives up at a million; an older one walks more paths than this one for the same program.
constexpr std::uint32_t kMostVerified = 250'000;

std::vector<std::filesystem::path> objects() {
  std::vector<std::filesystem::path> found;
  for (const auto& entry : std::filesystem::directory_iterator(WEFT_BPF_DIR))
    if (entry.path().string().ends_with(".bpf.o")) found.push_back(entry.path());
  std::ranges::sort(found);
  return found;
}

TEST(Verifier, AcceptsEveryObject) {
  const auto paths = objects();
  ASSERT_GE(paths.size(), 3u);
  fmt::print("{:12} {:24} {:>12} {:>12} {:>10}\n", "object", "program", "instructions", "verified", "JIT bytes");
  for (const auto& path : paths) {
    const std::unique_ptr<bpf_object, ObjectCloser> object(bpf_object__open_file(path.c_str(), nullptr));
    ASSERT_TRUE(object) << path;
    ASSERT_EQ(0, bpf_object__load(object.get())) << path << " does not load";
    bpf_program* program = nullptr;
    bpf_object__for_each_program(program, object.get()) {
      bpf_prog_info info{};
      std::uint32_t length = sizeof info;
      ASSERT_EQ(0, bpf_obj_get_info_by_fd(bpf_program__fd(program), &info, &length));
      fmt::print("{:12} {:24} {:>12} {:>12} {:>10}\n", path.filename().string(), bpf_program__name(program),
                 info.xlated_prog_len / 8, info.verified_insns, info.jited_prog_len);
      EXPECT_LT(info.verified_insns, kMostVerified) << bpf_program__name(program);
    }
  }
}

// Map names carry a layout version and fit the kernel's 15 characters.
TEST(Verifier, MapNames) {
  for (const auto& path : objects()) {
    const std::unique_ptr<bpf_object, ObjectCloser> object(bpf_object__open_file(path.c_str(), nullptr));
    ASSERT_TRUE(object) << path;
    bpf_map* map = nullptr;
    bpf_object__for_each_map(map, object.get()) {
      const std::string name = bpf_map__name(map);
      // weft_svcstate_v1 is shown without its last digit by the kernel, pinned and found by the whole name
      EXPECT_LE(name.size(), name == "weft_svcstate_v1" ? 16u : 15u) << name;
      EXPECT_TRUE(name.starts_with("weft_")) << name << " in " << path;
    }
  }
}

}  // namespace
}  // namespace weft::test
