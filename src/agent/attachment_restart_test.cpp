// Attachments when the agent ends in the middle, and starts again.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string_view>

#include "agent/attachment_testing.h"

namespace weft::agent {
namespace {

using namespace testing;  // NOLINT: the rig is made for these tests

// The process ends before any call into the kernel, map writes included, or after any named step.
// The next run undoes or keeps what it finds, and ADD, asked again, succeeds.
void expect_recovery(Machine& machine, const std::string& when) {
  SCOPED_TRACE(when);
  machine.steps.kill_at = 0;
  machine.maps.heal();
  AgentRun run(machine);
  run.start();
  if (run.attachment.records().empty()) expect_nothing_left(machine, run, "after recovery");
  const auto result = run.attachment.add(request());
  ASSERT_TRUE(result) << result.error().message;
  expect_attached(machine, run, *result);
  ASSERT_TRUE(run.remove(request().key));
  expect_nothing_left(machine, run, "after DEL");
}

TEST(AttachmentRestart, AKillInAnAddIsRecovered) {
  std::uint64_t steps = 0;
  for (std::uint64_t step = 1;; ++step) {
    Machine machine("kill-add");
    bool killed = false;
    {
      AgentRun run(machine);
      machine.steps.kill_at = step;
      machine.maps.fails = [&](std::uint64_t, const std::string&) { return !machine.steps.take("map write"); };
      try {
        (void)run.attachment.add(request());
      } catch (const Killed&) {
        killed = true;
      }
      machine.steps.kill_at = 0;
    }
    if (!killed) break;
    steps = step;
    expect_recovery(machine, fmt::format("killed before step {}", step));
  }
  EXPECT_GT(steps, 20U);
}

TEST(AttachmentRestart, AKillAfterEachNamedStepIsRecovered) {
  std::set<std::string> seen;
  for (const auto* step :
       {"record-stored", "device-made", "maps-written", "programs-attached", "pod-configured", "host-configured",
        "ready-stored", "deleting-stored", "left-maps", "device-gone", "record-gone"}) {
    Machine machine("kill-step");
    {
      AgentRun run(machine);
      run.attachment.set_checkpoint([&](const char* done) {
        if (std::string_view(done) != step) return;
        seen.insert(step);
        throw Killed{};
      });
      try {
        (void)run.attachment.add(request());
        (void)run.remove(request().key);
      } catch (const Killed&) {
      }
    }
    expect_recovery(machine, step);
  }
  EXPECT_EQ(seen.size(), 11U) << "every named step is one that happens";
}

TEST(AttachmentRestart, AKillInADelIsRecovered) {
  for (std::uint64_t step = 1;; ++step) {
    Machine machine("kill-del");
    bool killed = false;
    {
      AgentRun run(machine);
      ASSERT_TRUE(run.attachment.add(request()));
      machine.steps.count = 0;
      machine.steps.kill_at = step;
      machine.maps.fails = [&](std::uint64_t, const std::string&) { return !machine.steps.take("map write"); };
      try {
        (void)run.remove(request().key);
      } catch (const Killed&) {
        killed = true;
      }
      machine.steps.kill_at = 0;
    }
    if (!killed) break;
    expect_recovery(machine, fmt::format("killed before step {} of DEL", step));
  }
}

TEST(AttachmentRestart, ARestartKeepsWhatIsReady) {
  Machine machine("restart");
  json result;
  {
    AgentRun run(machine);
    result = *run.attachment.add(request());
  }
  AgentRun run(machine);
  run.start();
  expect_attached(machine, run, result);
  const auto again = run.attachment.add(request());
  ASSERT_TRUE(again);
  EXPECT_EQ(*again, result) << "not acknowledged: the same answer";
}

}  // namespace
}  // namespace weft::agent
