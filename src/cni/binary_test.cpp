// The real plugin against a socket of our own: the parts that only a process shows.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <thread>
#include <vector>

#include "base/fd.h"
#include "cni/invocation.h"

namespace weft::cni {
namespace {

struct Finished {
  int exit_code = -1;
  std::string text;
};

class Process {
 public:
  Process(const Environment& environment, const std::string& input) {
    int in[2];
    int out[2];
    if (::pipe2(in, O_CLOEXEC) != 0 || ::pipe2(out, O_CLOEXEC) != 0) std::abort();
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(in[0], STDIN_FILENO);
      ::dup2(out[1], STDOUT_FILENO);
      ::clearenv();
      for (const auto& [name, value] : environment) ::setenv(name.c_str(), value.c_str(), 1);
      ::execl(WEFT_CNI_BINARY, "weft-cni", nullptr);
      ::_exit(127);
    }
    ::close(in[0]);
    ::close(out[1]);
    output_ = Fd(out[0]);
    const Fd writer(in[1]);
    EXPECT_EQ(::write(writer.get(), input.data(), input.size()), static_cast<ssize_t>(input.size()));
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
  }
  Finished wait() {
    Finished finished;
    char chunk[4096];
    for (ssize_t n = 0; (n = ::read(output_.get(), chunk, sizeof chunk)) > 0;)
      finished.text.append(chunk, static_cast<std::size_t>(n));
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = -1;
    finished.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return finished;
  }
  void kill() const { ::kill(pid_, SIGKILL); }

 private:
  pid_t pid_ = -1;
  Fd output_;
};

class Listener {
 public:
  Listener() {
    std::string pattern = "/tmp/weft-cni-test.XXXXXX";
    directory_ = ::mkdtemp(pattern.data());
    path_ = directory_ + "/weft.sock";
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path_.data(), path_.size());
    fd_ = Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::bind(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(fd_.get(), 4), 0);
  }
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;
  ~Listener() {
    ::unlink(path_.c_str());
    ::rmdir(directory_.c_str());
  }
  [[nodiscard]] Fd accept() const { return Fd(::accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC)); }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string directory_;
  std::string path_;
  Fd fd_;
};

// A line, or what came before the end of the connection.
std::string read_line(const Fd& connection) {
  std::string line;
  char c = 0;
  while (::read(connection.get(), &c, 1) == 1 && c != '\n') line += c;
  return line;
}

void answer(const Fd& connection, const std::string& line) {
  EXPECT_EQ(::write(connection.get(), line.data(), line.size()), static_cast<ssize_t>(line.size()));
}

Environment add_environment() {
  return {{"CNI_COMMAND", "ADD"}, {"CNI_CONTAINERID", "c0"}, {"CNI_NETNS", "/run/netns/x"}, {"CNI_IFNAME", "eth0"}};
}

std::string config_for(const std::string& socket, const std::string& more = "") {
  return R"({"cniVersion":"1.1.0","name":"weft","socket":")" + socket + "\"" + more + "}";
}

TEST(Binary, AddSpeaksOneLineAndAcknowledges) {
  const Listener listener;
  Process plugin(add_environment(), config_for(listener.path()));
  const Fd connection = listener.accept();
  const Json request = Json::parse(read_line(connection));
  EXPECT_EQ(request["method"], "cni.add");
  // In two parts: a stream has no message borders.
  answer(connection, R"({"id":1,"result":{"interfaces":[{"na)");
  answer(connection, "me\":\"eth0\"}]}}\n");
  const Json acknowledgement = Json::parse(read_line(connection));
  EXPECT_EQ(acknowledgement["method"], "cni.ack");
  EXPECT_EQ(acknowledgement["params"]["container_id"], "c0");
  const auto finished = plugin.wait();
  EXPECT_EQ(finished.exit_code, 0);
  EXPECT_EQ(Json::parse(finished.text)["interfaces"][0]["name"], "eth0");
}

TEST(Binary, AgentAwayIsTryAgainAtOnce) {
  for (const auto& [command, number] : {std::pair{"ADD", 11}, {"DEL", 11}, {"CHECK", 11}, {"GC", 11}, {"STATUS", 50}}) {
    auto environment = add_environment();
    environment["CNI_COMMAND"] = command;
    const auto started = std::chrono::steady_clock::now();
    const auto finished =
        Process(environment, config_for("/tmp/weft-cni-test-absent.sock",
                                        R"(,"prevResult":{},"cni.dev/valid-attachments":[],"timeoutSeconds":60)"))
            .wait();
    EXPECT_EQ(finished.exit_code, 1);
    EXPECT_EQ(Json::parse(finished.text)["code"], number) << command;
    EXPECT_LT(std::chrono::steady_clock::now() - started, std::chrono::seconds(20));
  }
}

TEST(Binary, AgentThatDiesMeanwhileIsTryAgain) {
  const Listener listener;
  Process plugin(add_environment(), config_for(listener.path()));
  {
    const Fd connection = listener.accept();
    read_line(connection);
    answer(connection, R"({"id":1,"res)");
  }
  const auto finished = plugin.wait();
  EXPECT_EQ(finished.exit_code, 1);
  EXPECT_EQ(Json::parse(finished.text)["code"], 11);
}

TEST(Binary, SilentAgentIsTryAgainAfterTheTimeout) {
  const Listener listener;
  Process plugin(add_environment(), config_for(listener.path(), R"(,"timeoutSeconds":0.05)"));
  const Fd connection = listener.accept();
  const auto finished = plugin.wait();
  EXPECT_EQ(finished.exit_code, 1);
  const auto error = Json::parse(finished.text);
  EXPECT_EQ(error["code"], 11);
  // It is there, and was told what to do.
  EXPECT_EQ(error["msg"], "weftd took the request on " + listener.path() + " and has not answered it within 50 ms");
}

TEST(Binary, KilledPluginIsSeenAsAClosedConnectionWithoutAcknowledgement) {
  const Listener listener;
  const Process plugin(add_environment(), config_for(listener.path()));
  const Fd connection = listener.accept();
  EXPECT_FALSE(read_line(connection).empty());
  plugin.kill();
  EXPECT_EQ(read_line(connection), "");
}

TEST(Binary, VersionWithEmptyInput) {
  const auto finished = Process({{"CNI_COMMAND", "VERSION"}}, "").wait();
  EXPECT_EQ(finished.exit_code, 0);
  EXPECT_EQ(Json::parse(finished.text)["supportedVersions"].size(), 4U);
}

// A namespace of its own, which lasts as long as somebody has it open.
TEST(Binary, SetsTheLoopbackUpWithoutAnAgent) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  int ready[2];
  ASSERT_EQ(::pipe2(ready, O_CLOEXEC), 0);
  const pid_t keeper = ::fork();
  if (keeper == 0) {
    const bool made = ::unshare(CLONE_NEWNET) == 0;
    (void)!::write(ready[1], made ? "y" : "n", 1);
    ::pause();
    ::_exit(0);
  }
  char said = 'n';
  ASSERT_EQ(::read(ready[0], &said, 1), 1);
  ASSERT_EQ(said, 'y');
  const auto call = [&](const std::string& command) {
    Process process({{"CNI_COMMAND", command},
                     {"CNI_CONTAINERID", "c1"},
                     {"CNI_NETNS", "/proc/" + std::to_string(keeper) + "/ns/net"},
                     {"CNI_IFNAME", "lo"},
                     {"CNI_PATH", "/nowhere"}},
                    R"({"cniVersion": "1.0.0", "name": "cni-loopback", "type": "loopback", "prevResult": {}})");
    return process.wait();
  };
  const auto down = call("CHECK");
  EXPECT_EQ(down.exit_code, 1);
  EXPECT_THAT(down.text, testing::HasSubstr("is down"));
  const auto added = call("ADD");
  EXPECT_EQ(added.exit_code, 0) << added.text;
  EXPECT_THAT(added.text, testing::HasSubstr("127.0.0.1/8"));
  EXPECT_EQ(call("CHECK").exit_code, 0);
  EXPECT_EQ(call("ADD").exit_code, 0);
  EXPECT_EQ(call("DEL").exit_code, 0);
  ::kill(keeper, SIGKILL);
  ::waitpid(keeper, nullptr, 0);
  EXPECT_EQ(call("DEL").exit_code, 0);
  EXPECT_THAT(call("ADD").text, testing::HasSubstr("the network namespace"));
}

}  // namespace
}  // namespace weft::cni
