#include "supervise/process.h"

#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

namespace weft::supervise {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

SpawnRequest shell(const std::string& script) { return {.arguments = {"/bin/sh", "-c", script}}; }

TEST(Process, RunsWithInputAndEnvironment) {
  auto request = shell("cat; echo $WHO; exit 3");
  request.environment["WHO"] = "weft";
  const auto finished = run(request, "in ", 30s);
  ASSERT_TRUE(finished) << finished.error().message;
  EXPECT_EQ(finished->output, "in weft\n");
  EXPECT_EQ(finished->exit_code, 3);
}

TEST(Process, MovesMoreThanAPipeHolds) {
  const std::string much(1U << 20U, 'x');
  const auto finished = run(shell("cat"), much, 60s);
  ASSERT_TRUE(finished);
  EXPECT_EQ(finished->output.size(), much.size());
}

TEST(Process, EnvironmentCanBeEmpty) {
  auto request = shell("echo \"${HOME-none}\"");
  request.inherit_environment = false;
  EXPECT_EQ(run(request, "", 30s)->output, "none\n");
}

// A lock or a listening socket that a child had too would be taken for as long as the child lives.
TEST(Process, DescriptorsAreNotInherited) {
  const int open = ::dup(STDOUT_FILENO);  // not close-on-exec
  ASSERT_GT(open, 2);
  const auto finished = run(shell("ls /proc/self/fd/" + std::to_string(open) + " 2>&1 >/dev/null | wc -l"), "", 30s);
  EXPECT_EQ(::close(open), 0);
  ASSERT_TRUE(finished);
  EXPECT_EQ(finished->output, "1\n") << "it is there";
}

TEST(Process, TimeoutKills) {
  const auto finished = run(shell("exec sleep 1000"), "", 50ms);
  ASSERT_FALSE(finished);
  EXPECT_EQ(finished.error().code, ErrorCode::unavailable);
}

TEST(Process, AMissingProgramIsAnErrorOfTheCaller) {
  const auto spawned = spawn({.arguments = {"/no/such/program"}});
  ASSERT_FALSE(spawned);
  EXPECT_EQ(spawned.error().code, ErrorCode::not_found);
  EXPECT_THAT(spawned.error().message, HasSubstr("/no/such/program"));
}

class PidFile : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = "/tmp/weft-process-test.XXXXXX";
    directory_ = ::mkdtemp(pattern.data());
  }
  void TearDown() override {
    ::unlink(path().c_str());
    ::rmdir(directory_.c_str());
  }
  [[nodiscard]] std::string path() const { return directory_ + "/pid"; }
  std::string directory_;
};

TEST_F(PidFile, NamesOnlyTheProcessThatWroteIt) {
  const auto process = spawn(shell("exec sleep 1000"));
  ASSERT_TRUE(process);
  ASSERT_TRUE(write_pid_file(path(), *process));
  ASSERT_TRUE(read_pid_file(path()));
  EXPECT_EQ(read_pid_file(path())->pid, process->pid);
  // A pid used again by somebody else.
  ASSERT_TRUE(write_pid_file(path(), {process->pid, process->start_time + 1}));
  EXPECT_FALSE(read_pid_file(path()));
  ASSERT_TRUE(write_pid_file(path(), *process));
  terminate({*process}, 10s);
  EXPECT_FALSE(is_alive(*process));  // though it is still a zombie of ours
  EXPECT_FALSE(read_pid_file(path()));
  ::waitpid(process->pid, nullptr, 0);
}

TEST_F(PidFile, NonsenseNamesNobody) {
  for (const auto* text : {"", "x", "1 1", "-5 3", "99999999999999999999 1", "12", "0 0"}) {
    FILE* file = std::fopen(path().c_str(), "w");
    ASSERT_NE(file, nullptr);
    std::fputs(text, file);
    std::fclose(file);
    EXPECT_FALSE(read_pid_file(path())) << text;
  }
}

TEST(Process, TerminateInsists) {
  auto request = shell("trap '' TERM; echo ready; while :; do sleep 1; done");
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  request.standard_output = ends[1];
  const auto process = spawn(request);
  ::close(ends[1]);
  ASSERT_TRUE(process);
  char word[6];
  ASSERT_EQ(::read(ends[0], word, sizeof word), 6);  // the trap is set
  terminate({*process}, 50ms);
  EXPECT_FALSE(is_alive(*process));
  int status = 0;
  ::waitpid(process->pid, &status, 0);
  EXPECT_EQ(exit_code_of(status), 128 + SIGKILL);
  ::close(ends[0]);
}

TEST(Process, TerminateSparesItself) {
  terminate({{::getpid(), identify(::getpid())->start_time}}, 1ms);
  SUCCEED();
}

}  // namespace
}  // namespace weft::supervise
