#include "bpfrt/object.h"

#include <fstream>
#include <iterator>

#include "bpfrt/bpf_test_support.h"
#include "bpfrt/link.h"
#include "bpfrt/ring_buffer.h"

namespace weft::bpfrt {
namespace {

template <class T>
Bytes bytes_of(const T& value) {
  return std::as_bytes(std::span<const T, 1>(&value, 1));
}

class ObjectTest : public BpfTest {
 protected:
  static Object open() {
    std::ifstream file(WEFT_TEST_OBJECT, std::ios::binary);
    const std::string elf((std::istreambuf_iterator<char>(file)), {});
    return Object::open(std::as_bytes(std::span(elf)), "test").value();
  }
  static Object open_without_broken() {
    Object object = open();
    EXPECT_TRUE(object.skip_program("broken"));
    return object;
  }
  static void run(int program) {
    std::array<char, 64> packet{};
    bpf_test_run_opts options{};
    options.sz = sizeof options;
    options.data_in = packet.data();
    options.data_size_in = packet.size();
    ASSERT_EQ(bpf_prog_test_run_opts(program, &options), 0);
  }
  static std::optional<std::uint64_t> lookup(RawMap& map, std::uint32_t key) {
    return Map<std::uint32_t, std::uint64_t>(map).lookup(key).value();
  }
};

TEST_F(ObjectTest, SetsConstantsByName) {
  Object object = open_without_broken();
  ASSERT_TRUE(object.set_constant("first_constant", bytes_of(std::uint32_t{7})));
  ASSERT_TRUE(object.set_constant("second_constant", bytes_of(std::uint64_t{1} << 40)));
  EXPECT_EQ(object.set_constant("none", bytes_of(7)).error().code, ErrorCode::not_found);
  EXPECT_EQ(object.set_constant("first_constant", bytes_of('x')).error().code, ErrorCode::invalid);
  auto loaded = object.load();
  ASSERT_TRUE(loaded) << loaded.error().message;
  run(object.program_fd("count").value());
  EXPECT_EQ(lookup(*object.map("counts").value(), 7), std::uint64_t{1} << 40);
}

TEST_F(ObjectTest, SizesMaps) {
  Object object = open_without_broken();
  ASSERT_TRUE(object.set_max_entries("counts", 99));
  EXPECT_EQ(object.set_max_entries("none", 1).error().code, ErrorCode::not_found);
  ASSERT_TRUE(object.load());
  EXPECT_EQ(object.map("counts").value()->info().value().max_entries, 99U);
  EXPECT_EQ(object.map("none").error().code, ErrorCode::not_found);
}

TEST_F(ObjectTest, SharesPinnedMapsWithTheNextObject) {
  Object first = open_without_broken();
  ASSERT_TRUE(first.pin_maps(pin("maps")));
  EXPECT_TRUE(list_pins(pin("maps")).empty()) << "nothing is in the kernel before load()";
  ASSERT_TRUE(first.load());
  EXPECT_EQ(list_pins(pin("maps")), (std::vector<std::string>{"counts", "events"})) << "and .rodata stays private";
  Object second = open_without_broken();
  ASSERT_TRUE(second.set_constant("first_constant", bytes_of(std::uint32_t{5})));
  ASSERT_TRUE(second.pin_maps(pin("maps")));
  ASSERT_TRUE(second.load());
  run(second.program_fd("count").value());
  EXPECT_EQ(lookup(*first.map("counts").value(), 5), 2U);
  EXPECT_EQ(second.map("counts").value()->info().value().id, first.map("counts").value()->info().value().id);
}

TEST_F(ObjectTest, RefusesAPinnedMapOfAnotherLayout) {
  Object first = open_without_broken();
  ASSERT_TRUE(first.pin_maps(directory_));
  ASSERT_TRUE(first.load());
  Object second = open_without_broken();
  ASSERT_TRUE(second.set_max_entries("counts", 99));
  const auto refused = second.pin_maps(directory_);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::invalid);
  for (const char* part : {"counts", "16 entries", "99 entries", "hash"})
    EXPECT_NE(refused.error().message.find(part), std::string::npos) << refused.error().message;
  remove_pin(pin("counts"));
  ASSERT_TRUE(second.pin_maps(directory_)) << "the caller has decided";
  ASSERT_TRUE(second.load());
  EXPECT_EQ(open_pinned_map(pin("counts")).value()->info().value().max_entries, 99U);
}

TEST_F(ObjectTest, TellsTheVerifiersReasons) {
  Object object = open();
  ASSERT_TRUE(object.pin_maps(directory_));
  testing::internal::CaptureStderr();
  const auto refused = object.load();
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("broken"), std::string::npos);
  EXPECT_NE(refused.error().message.find("map_value_or_null"), std::string::npos) << refused.error().message;
  EXPECT_TRUE(list_pins(directory_).empty());
}

TEST_F(ObjectTest, RefusesWhatIsNoObject) {
  const std::string text = "not an ELF file";
  testing::internal::CaptureStderr();
  const auto refused = Object::open(std::as_bytes(std::span(text)), "text");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("text"), std::string::npos);
}

TEST_F(ObjectTest, PinsAndNamesPrograms) {
  Object object = open_without_broken();
  EXPECT_EQ(object.programs(), (std::vector<std::string>{"count", "broken"}));
  ASSERT_TRUE(object.load());
  ASSERT_TRUE(object.pin_program("count", pin("program")));
  const Fd program = open_pinned(pin("program")).value();
  EXPECT_EQ(program_id(program.get()).value(), program_id(object.program_fd("count").value()).value());
  EXPECT_EQ(object.program_fd("broken").error().code, ErrorCode::not_found) << "it was skipped";
  EXPECT_EQ(object.program_fd("none").error().code, ErrorCode::not_found);
}

TEST_F(ObjectTest, ReusesAGivenMap) {
  Object first = open_without_broken();
  ASSERT_TRUE(first.load());
  const auto shared = first.map("counts").value();
  Object second = open_without_broken();
  ASSERT_TRUE(second.reuse_map("counts", shared->fd()));
  EXPECT_EQ(second.reuse_map("events", shared->fd()).error().code, ErrorCode::invalid);
  ASSERT_TRUE(second.load());
  EXPECT_EQ(second.map("counts").value()->info().value().id, shared->info().value().id);
}

TEST_F(ObjectTest, RingBufferHandsOverRecords) {
  Object object = open_without_broken();
  ASSERT_TRUE(object.load());
  std::vector<std::uint64_t> seen;
  const auto events = object.map("events").value();
  auto ring = RingBuffer::open(events->fd(), [&](std::span<const std::byte> record) {
    ASSERT_EQ(record.size(), sizeof(std::uint64_t));
    std::memcpy(&seen.emplace_back(), record.data(), sizeof(std::uint64_t));
  });
  ASSERT_TRUE(ring);
  RingBuffer moved = std::move(*ring);
  EXPECT_GE(moved.epoll_fd(), 0);
  EXPECT_EQ(moved.consume().value(), 0);
  run(object.program_fd("count").value());
  run(object.program_fd("count").value());
  EXPECT_EQ(moved.consume().value(), 2);
  EXPECT_EQ(seen, (std::vector<std::uint64_t>{2, 2}));
  EXPECT_FALSE(RingBuffer::open(object.map("counts").value()->fd(), {})) << "not a ring buffer";
}

}  // namespace
}  // namespace weft::bpfrt
