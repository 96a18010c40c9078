// Attachments when the kernel or the disk fails: all of it, or nothing.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string_view>

#include "agent/attachment_testing.h"

namespace weft::agent {
namespace {

using namespace testing;  // NOLINT: the rig is made for these tests

TEST(AttachmentFaults, AFailedAddLeavesNothing) {
  for (std::uint64_t step = 1;; ++step) {
    Machine machine("faults");
    AgentRun run(machine);
    machine.steps.fail_at = step;
    const auto result = run.attachment.add(request());
    machine.steps.fail_at = 0;
    const auto when = fmt::format("step {}", step);
    if (machine.steps.count < step) {
      ASSERT_GT(step, 20U) << "too few steps were tried";
      break;
    }
    if (result) {  // an IPv6 address that is refused is asked for again
      expect_attached(machine, run, *result);
      continue;
    }
    EXPECT_THAT(result.error().message, ::testing::HasSubstr("injected fault")) << when;
    expect_nothing_left(machine, run, when + ": " + result.error().message);
    const auto retried = run.attachment.add(request());
    ASSERT_TRUE(retried) << when << ": " << retried.error().message;
    expect_attached(machine, run, *retried);
  }
}

// Every call from some step on fails, the undoing included: it is finished when the trouble is over.
TEST(AttachmentFaults, AnUndoingThatFailsIsFinishedLater) {
  for (std::uint64_t step = 1; step < 20; ++step) {
    Machine machine("undo");
    AgentRun run(machine);
    machine.maps.fails = [&](std::uint64_t, const std::string&) { return machine.steps.count >= step; };
    machine.steps.fail_at = step;
    (void)run.attachment.add(request());
    machine.maps.heal();
    machine.steps.fail_at = 0;
    if (run.attachment.records().empty()) continue;
    run.attachment.finish_removals();
    if (run.attachment.records().empty()) expect_nothing_left(machine, run, fmt::format("step {}", step));
  }
}

TEST(AttachmentFaults, AStoreThatCannotWriteLeavesNothing) {
  Machine machine("disk");
  AgentRun run(machine);
  {
    const DiskFull full;
    EXPECT_FALSE(run.attachment.add(request()));
  }
  expect_nothing_left(machine, run, "the first write failed");
  std::optional<DiskFull> full;
  run.attachment.set_checkpoint([&](const char* done) {
    if (std::string_view(done) == "host-configured") full.emplace();
  });
  EXPECT_FALSE(run.attachment.add(request()));
  full.reset();
  run.attachment.set_checkpoint({});
  EXPECT_EQ(machine.kernel.at().devices.size(), 1U) << "the device goes even when the store cannot say so";
  run.attachment.finish_removals();
  expect_nothing_left(machine, run, "the last write failed");
  const auto retried = run.attachment.add(request());
  ASSERT_TRUE(retried) << retried.error().message;
  expect_attached(machine, run, *retried);
}

TEST(AttachmentFaults, ADelNeedsNoRoomOnTheDisk) {
  Machine machine("disk-del");
  {
    AgentRun run(machine);
    ASSERT_TRUE(run.attachment.add(request()));
    {
      const DiskFull full;
      ASSERT_TRUE(run.remove(request().key));
      EXPECT_EQ(machine.kernel.at().devices.size(), 1U);
      run.attachment.finish_removals();
      EXPECT_EQ(run.attachment.records().size(), 1U) << "its addresses are its own until the store knows";
    }
    run.attachment.finish_removals();
    expect_nothing_left(machine, run, "with room again");
    ASSERT_TRUE(run.attachment.add(request()));
    const DiskFull full;
    ASSERT_TRUE(run.remove(request().key));
  }
  // The process ended before there was room.
  AgentRun run(machine);
  run.start();
  expect_nothing_left(machine, run, "after a start");
}

}  // namespace
}  // namespace weft::agent
