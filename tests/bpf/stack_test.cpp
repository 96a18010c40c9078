// Every program's chains of calls fit the stack of Linux 6.1, whichever kernel runs the test. 6.1 rounds each
// frame up to 32 bytes where a newer one with a JIT rounds to 16 (check_max_stack_depth of its verifier).
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

namespace weft::test {
namespace {

constexpr int kStack = 512;
constexpr int kRounding = 32;
constexpr std::size_t kMostFrames = 8;

using Instructions = std::span<const bpf_insn>;

bool calls_function(const bpf_insn& instruction) {
  return (instruction.code == (BPF_JMP | BPF_CALL) && instruction.src_reg == BPF_PSEUDO_CALL) ||
         (instruction.code == (BPF_LD | BPF_IMM | BPF_DW) && instruction.src_reg == BPF_PSEUDO_FUNC);
}

// How far below the frame's top a function reaches, by every access and every address it makes. What the verifier
// finds unreachable counts too, so the result is never less than the kernel's.
class Frame {
 public:
  explicit Frame(Instructions function) {
    below_.fill(std::nullopt);
    below_[BPF_REG_10] = 0;
    for (const auto& instruction : function) look_at(instruction);
  }
  [[nodiscard]] int rounded() const { return (std::max(depth_, 1) + kRounding - 1) / kRounding * kRounding; }

 private:
  void reach(int offset) { depth_ = std::max(depth_, -offset); }

  void look_at(const bpf_insn& instruction) {
    const auto kind = BPF_CLASS(instruction.code);
    auto& target = below_[instruction.dst_reg];
    if (kind == BPF_ST || kind == BPF_STX) {
      if (target) reach(*target + instruction.off);
    } else if (kind == BPF_LDX) {
      if (const auto base = below_[instruction.src_reg]) reach(*base + instruction.off);
      target.reset();
    } else if (instruction.code == (BPF_ALU64 | BPF_MOV | BPF_X)) {
      target = below_[instruction.src_reg];
    } else if (instruction.code == (BPF_ALU64 | BPF_ADD) && target) {  // BPF_K is 0
      *target += instruction.imm;
      reach(*target);
    } else if (kind == BPF_ALU64 || kind == BPF_ALU || kind == BPF_LD) {
      target.reset();
    }
  }

  std::array<std::optional<int>, 16> below_{};  // the frame's top, for a register that holds such an address
  int depth_ = 0;
};

struct Function {
  std::string name;
  int frame = 0;
  std::vector<std::size_t> callees;
};

struct Chain {
  int bytes = 0;
  std::vector<std::string> names;
};

// The program as loaded: the function it begins with, then all that are called.
std::vector<Function> functions_of(Instructions program, const std::vector<std::string>& names) {
  std::set<std::size_t> starts{0};
  const auto target = [&](std::size_t at) { return at + 1 + static_cast<std::size_t>(program[at].imm); };
  for (std::size_t at = 0; at < program.size(); ++at)
    if (calls_function(program[at])) starts.insert(target(at));
  const std::vector<std::size_t> begin(starts.begin(), starts.end());
  std::vector<Function> functions(begin.size());
  for (std::size_t i = 0; i < begin.size(); ++i) {
    const auto end = i + 1 < begin.size() ? begin[i + 1] : program.size();
    functions[i].name = names.size() == begin.size() ? names[i] : fmt::format("function {}", i);
    functions[i].frame = Frame(program.subspan(begin[i], end - begin[i])).rounded();
    for (std::size_t at = begin[i]; at < end; ++at)
      if (calls_function(program[at]))
        functions[i].callees.push_back(
            static_cast<std::size_t>(std::ranges::lower_bound(begin, target(at)) - begin.begin()));
  }
  return functions;
}

// The verifier allows no recursion.
Chain deepest(const std::vector<Function>& functions, std::size_t from, std::vector<std::optional<Chain>>& known) {
  if (known[from]) return *known[from];
  Chain below;
  for (const auto callee : functions[from].callees)
    if (auto chain = deepest(functions, callee, known); chain.bytes > below.bytes) below = std::move(chain);
  below.bytes += functions[from].frame;
  below.names.insert(below.names.begin(), fmt::format("{} {}", functions[from].name, functions[from].frame));
  known[from] = below;
  return below;
}

Chain deepest(const std::vector<Function>& functions) {
  std::vector<std::optional<Chain>> known(functions.size());
  return deepest(functions, 0, known);
}

// Of the program's functions in their order; empty where the kernel does not tell.
std::vector<std::string> names_of(int program) {
  std::vector<std::string> names;
  bpf_prog_info info{};
  std::uint32_t length = sizeof info;
  if (bpf_obj_get_info_by_fd(program, &info, &length) || !info.nr_func_info || !info.btf_id) return names;
  std::vector<bpf_func_info> found(info.nr_func_info);
  const auto btf_id = info.btf_id;
  info = {};
  info.nr_func_info = static_cast<std::uint32_t>(found.size());
  info.func_info_rec_size = sizeof found.front();
  info.func_info = reinterpret_cast<std::uintptr_t>(found.data());
  if (bpf_obj_get_info_by_fd(program, &info, &length)) return names;
  const std::unique_ptr<btf, decltype(&btf__free)> types(btf__load_from_kernel_by_id(btf_id), btf__free);
  if (!types) return names;
  for (const auto& function : found)
    names.emplace_back(btf__name_by_offset(types.get(), btf__type_by_id(types.get(), function.type_id)->name_off));
  return names;
}

TEST(Stack, FitsTheOldestKernel) {
  std::size_t programs = 0;
  for (const auto& entry : std::filesystem::directory_iterator(WEFT_BPF_DIR)) {
    if (!entry.path().string().ends_with(".bpf.o")) continue;
    const std::unique_ptr<bpf_object, decltype(&bpf_object__close)> object(
        bpf_object__open_file(entry.path().c_str(), nullptr), bpf_object__close);
    ASSERT_TRUE(object) << entry.path();
    ASSERT_EQ(0, bpf_object__load(object.get())) << entry.path() << " does not load";
    bpf_program* program = nullptr;
    bpf_object__for_each_program(program, object.get()) {
      const auto functions = functions_of({bpf_program__insns(program), bpf_program__insn_cnt(program)},
                                          names_of(bpf_program__fd(program)));
      const auto chain = deepest(functions);
      fmt::print("{:24} {:>4} bytes: {}\n", bpf_program__name(program), chain.bytes, fmt::join(chain.names, ", "));
      EXPECT_LE(chain.bytes, kStack) << bpf_program__name(program);
      EXPECT_LE(chain.names.size(), kMostFrames) << bpf_program__name(program);
      ++programs;
    }
  }
  EXPECT_GE(programs, 5u);
}

// The count itself: a frame of 40 bytes calls one that makes an address 264 bytes down and one that does nothing.
TEST(Stack, CountsAsTheVerifierDoes) {
  const std::vector<bpf_insn> program{
      {.code = BPF_STX | BPF_MEM | BPF_DW, .dst_reg = BPF_REG_10, .src_reg = BPF_REG_1, .off = -40, .imm = 0},
      {.code = BPF_JMP | BPF_CALL, .dst_reg = 0, .src_reg = BPF_PSEUDO_CALL, .off = 0, .imm = 2},
      {.code = BPF_JMP | BPF_CALL, .dst_reg = 0, .src_reg = BPF_PSEUDO_CALL, .off = 0, .imm = 5},
      {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0},
      {.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = BPF_REG_2, .src_reg = BPF_REG_10, .off = 0, .imm = 0},
      {.code = BPF_ALU64 | BPF_ADD, .dst_reg = BPF_REG_2, .src_reg = 0, .off = 0, .imm = -264},
      {.code = BPF_JMP | BPF_CALL, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = BPF_FUNC_map_lookup_elem},
      {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0},
      {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}};
  const auto chain = deepest(functions_of(program, {"top", "deep", "flat"}));
  EXPECT_EQ(64 + 288, chain.bytes);
  EXPECT_EQ((std::vector<std::string>{"top 64", "deep 288"}), chain.names);
}

}  // namespace
}  // namespace weft::test
