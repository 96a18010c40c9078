#include "agent/event_reader.h"

#include <bpf/bpf.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <iterator>
#include <span>
#include <string>

#include "base/fd.h"
#include "bpfrt/object.h"
#include "bpfrt/ring_buffer.h"

namespace weft::agent {
namespace {

using namespace std::chrono_literals;

// The timer never fires in these tests: what is read was read because of a wake-up.
constexpr auto never = std::chrono::hours(24);

// A ring of 4096 bytes, and a program that writes one record of 16 bytes with its header each run.
class EventReaderTest : public ::testing::Test {
 protected:
  static constexpr int room = 4096 / 16;

  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    std::ifstream file(WEFT_TEST_OBJECT, std::ios::binary);
    const std::string elf((std::istreambuf_iterator<char>(file)), {});
    auto opened = bpfrt::Object::open(std::as_bytes(std::span(elf)), "test");
    ASSERT_TRUE(opened) << opened.error().message;
    object_.emplace(std::move(*opened));
    ASSERT_TRUE(object_->skip_program("broken"));
    const auto loaded = object_->load();
    ASSERT_TRUE(loaded) << loaded.error().message;
    map_ = object_->map("events").value();
    auto ring = bpfrt::RingBuffer::open(map_->fd(), [this](std::span<const std::byte>) { ++seen_; });
    ASSERT_TRUE(ring) << ring.error().message;
    ring_.emplace(std::move(*ring));
    auto reader = EventReader::start(loop_, ring_->epoll_fd(), never, [this] {
      ++reads_;
      (void)ring_->consume();
    });
    ASSERT_TRUE(reader) << reader.error().message;
    reader_ = std::move(*reader);
  }

  // One call to the kernel: a burst that nobody reads in between.
  void burst(int records) {
    std::array<char, 64> packet{};
    bpf_test_run_opts options{};
    options.sz = sizeof options;
    options.data_in = packet.data();
    options.data_size_in = packet.size();
    options.repeat = records;
    ASSERT_EQ(bpf_prog_test_run_opts(object_->program_fd("count").value(), &options), 0);
  }
  // Until the loop has read so many, or ten seconds.
  void read_until(int records) {
    const auto deadline = std::chrono::steady_clock::now() + 10s;
    while (seen_ < records && std::chrono::steady_clock::now() < deadline) loop_.run_one_for(1s);
  }

  asio::io_context loop_{1};
  std::optional<bpfrt::Object> object_;
  std::unique_ptr<bpfrt::RawMap> map_;
  std::optional<bpfrt::RingBuffer> ring_;
  std::unique_ptr<EventReader> reader_;
  int seen_ = 0;
  int reads_ = 0;
};

TEST_F(EventReaderTest, ReadsEveryBurstWhenWokenAndLosesNone) {
  constexpr int records = room - 1;
  for (int round = 1; round <= 20; ++round) {
    burst(records);
    read_until(round * records);
    ASSERT_EQ(seen_, round * records) << "round " << round << ": twenty times what the ring holds";
  }
}

TEST_F(EventReaderTest, DoesNotMissAWakeupWhileItReads) {
  // Woken before the loop runs, and again between reading and waiting.
  burst(10);
  (void)ring_->consume();
  burst(10);
  read_until(20);
  EXPECT_EQ(seen_, 20);
  const auto reads = reads_;
  loop_.run_for(50ms);
  EXPECT_EQ(reads_, reads) << "nothing more to read: the loop rests";
}

TEST(EventReader, ReadsAtTheIntervalWhatNobodyWasWokenFor) {
  asio::io_context loop{1};
  const Fd silent(::eventfd(0, EFD_CLOEXEC));
  int reads = 0;
  const auto reader = EventReader::start(loop, silent.get(), 1ms, [&] {
    if (++reads == 3) loop.stop();
  });
  ASSERT_TRUE(reader);
  loop.run_for(10s);
  EXPECT_EQ(reads, 3);
}

}  // namespace
}  // namespace weft::agent
