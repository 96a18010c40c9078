#include "supervise/kept_process.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <vector>

#include "base/fd.h"

namespace weft::supervise {
namespace {

using std::chrono::milliseconds;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

class KeptProcessTest : public ::testing::Test {
 protected:
  KeptProcessTest() {
    char name[] = "/tmp/weft-kept-XXXXXX";
    directory_ = ::mkdtemp(name);
  }
  ~KeptProcessTest() override { std::filesystem::remove_all(directory_); }
  KeptProgram program() {
    return {.what = "sleep",
            .pid_file = directory_ + "/pid",
            .log_file = directory_ + "/log",
            .prepare =
                [this] {
                  return std::vector<std::string>{"/bin/sleep", std::to_string(seconds_)};
                },
            .log = [this](const std::string& line) { lines_.push_back(line); }};
  }
  void run_for(milliseconds time) {
    loop_.restart();
    loop_.run_for(time);
  }
  // How many of ours there are.
  [[nodiscard]] int running() const {
    int count = 0;
    std::error_code gone;
    for (const auto& entry : std::filesystem::directory_iterator("/proc", gone)) {
      std::ifstream file(entry.path() / "cmdline");
      std::string words((std::istreambuf_iterator<char>(file)), {});
      std::ranges::replace(words, '\0', ' ');
      if (words == "/bin/sleep " + std::to_string(seconds_) + " ") ++count;
    }
    return count;
  }
  // Until it has ended; the loop hears of it later.
  static void kill_and_wait(int pid) {
    const Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    ::kill(pid, SIGKILL);
    pollfd ended{.fd = pidfd.get(), .events = POLLIN, .revents = 0};
    ASSERT_EQ(::poll(&ended, 1, 5000), 1);
  }

  std::string directory_;
  asio::io_context loop_;
  std::vector<std::string> lines_;
  int changes_ = 0;
  const int seconds_ = 100000 + ::getpid();  // by which it is found
};

TEST_F(KeptProcessTest, OneThatEndsIsStartedAgain) {
  KeptProcess kept(loop_, program(), [this] { ++changes_; });
  kept.start();
  const int first = kept.pid();
  ASSERT_NE(first, 0);
  kill_and_wait(first);
  run_for(milliseconds(500));
  EXPECT_NE(kept.pid(), 0);
  EXPECT_NE(kept.pid(), first);
  EXPECT_EQ(kept.restarts(), 1);
  kept.stop(SIGTERM);
  EXPECT_EQ(kept.pid(), 0);
}

// What the loop had heard of the one before, and not told yet, is not about the one that was started meanwhile.
TEST_F(KeptProcessTest, TheEndOfTheOneBeforeIsNotThatOfTheNext) {
  // Its end is ready to be told, on one turn of the loop or another, when somebody asks for another one first.
  for (int turns = 0; turns < 5; ++turns) {
    KeptProcess kept(loop_, program(), [this] { ++changes_; });
    kept.start();
    std::function<void(int)> later = [&](int left) {
      if (left > 0) return asio::post(loop_, [&, left] { later(left - 1); });
      kept.stop(SIGTERM);
      kept.start();
    };
    asio::post(loop_, [&] {
      kill_and_wait(kept.pid());
      later(turns);
    });
    run_for(milliseconds(300));
    EXPECT_LE(kept.restarts(), 1) << turns;
    EXPECT_THAT(lines_, Not(Contains(HasSubstr(fmt::format("process {}, ended", kept.pid()))))) << turns;
    kept.stop(SIGTERM);
    EXPECT_EQ(running(), 0) << turns;
  }
}

}  // namespace
}  // namespace weft::supervise
