// A lab's life with the real supervisor and plugin and a stand-in for the agent, in directories of
// the test's own. What has to do with packets is tested with the real agent elsewhere.
#include "lab/lifecycle.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "api/answer.h"
#include "api/client.h"
#include "lab/inspect.h"
#include "lab/readiness.h"
#include "supervise/process.h"
#include "sys/netns.h"

namespace weft::lab {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

std::string pod_manifest(const std::string& name, const std::string& more = "", const std::string& annotations = "") {
  return "apiVersion: v1\nkind: Pod\nmetadata:\n  name: " + name + "\n  namespace: shop\n" + annotations +
         "spec:\n  containers:\n  - name: main\n    image: none\n    ports:\n    - containerPort: 80\n" + more +
         "---\n";
}

class LifecycleTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root for network namespaces";
    std::string pattern = "/tmp/weft-lab-test.XXXXXX";
    root_ = ::mkdtemp(pattern.data());
    std::filesystem::create_directories(root_ + "/bin");
    std::filesystem::create_symlink(WEFT_LAB_HELPER, root_ + "/bin/weftd");
    std::filesystem::create_symlink(WEFT_CNI_BINARY, root_ + "/bin/weft-cni");
    machine_.roots = {root_ + "/run", root_ + "/state", root_ + "/bpffs"};
    machine_.binary_directory = root_ + "/bin";
    machine_.supervisor_command = {WEFT_LAB_HELPER, "supervise", root_, root_ + "/bin"};
  }
  void TearDown() override {
    for (const auto& name : {name_, name_ + "-2"})
      if (const auto gone = down(machine_, name, tell()); !gone) ADD_FAILURE() << gone.error().message;
    if (!root_.empty()) std::filesystem::remove_all(root_);
    while (::waitpid(-1, nullptr, WNOHANG) > 0) {
    }
  }

  Progress tell() {
    return [this](const std::string& line) { told_ += line + "\n"; };
  }
  std::string write(const std::string& text) {
    const std::string path = root_ + "/manifest-" + std::to_string(++files_) + ".yaml";
    std::ofstream(path) << text;
    return path;
  }
  Result<void> start(const std::string& text, const std::string& name = {}) {
    return up(machine_, {.name = name.empty() ? name_ : name, .files = {write(text)}, .timeout = 60s}, tell());
  }
  [[nodiscard]] Layout layout(const std::string& name = {}) const {
    return machine_.layout(name.empty() ? name_ : name);
  }
  void expect_up(const std::string& text) {
    const auto started = start(text);
    ASSERT_TRUE(started) << started.error().message << "\n" << started.error().hint;
  }
  [[nodiscard]] LabInfo info(const std::string& name = {}) const {
    for (auto& lab : list_labs(machine_))
      if (lab.name == (name.empty() ? name_ : name)) return lab;
    return {};
  }
  // Kills it and waits until it is gone.
  static void kill_process(const std::string& pid_file) {
    const auto process = supervise::read_pid_file(pid_file);
    ASSERT_TRUE(process) << pid_file;
    const auto fd = supervise::open_pidfd(*process);
    ASSERT_TRUE(fd);
    ::kill(process->pid, SIGKILL);
    pollfd watched{fd->get(), POLLIN, 0};
    ASSERT_EQ(::poll(&watched, 1, 20'000), 1);
  }
  // Talks to 127.0.0.1:port inside a namespace.
  static std::string ask(const std::string& netns_name, std::uint16_t port, const std::string& text) {
    const auto netns = sys::open_netns(sys::named_netns_path(netns_name));
    if (!netns) return netns.error().message;
    const auto scope = sys::NetnsScope::enter(netns->get());
    const Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) return "refused";
    ::send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL);
    ::shutdown(fd.get(), SHUT_WR);
    std::string answer;
    char chunk[1024];
    for (ssize_t n = 0; (n = ::recv(fd.get(), chunk, sizeof chunk, 0)) > 0;)
      answer.append(chunk, static_cast<std::size_t>(n));
    return answer;
  }
  [[nodiscard]] std::string ask_pod(const std::string& pod) const {
    return ask(layout().pod_netns("shop", pod), 80, "GET / HTTP/1.0\r\n\r\n");
  }
  void expect_nothing_left() {
    EXPECT_THAT(namespaces_of(name_), IsEmpty());
    EXPECT_THAT(find_labs(machine_.roots), Not(Contains(name_)));  // others may have labs too
    std::set<std::string> left;
    for (const auto& entry : std::filesystem::directory_iterator(root_)) left.insert(entry.path().filename());
    left.erase("bin");
    std::erase_if(left, [](const std::string& name) { return name.starts_with("manifest-"); });
    EXPECT_THAT(left, IsEmpty());
  }

  const std::string name_ = "t" + std::to_string(::getpid());
  std::string root_;
  Machine machine_;
  std::string told_;
  int files_ = 0;
};

TEST_F(LifecycleTest, UpAttachesAndAnswersAndDownLeavesNothing) {
  expect_up(pod_manifest("a") + pod_manifest("b"));
  EXPECT_THAT(told_, HasSubstr("2/2 pods attached and answering"));
  EXPECT_THAT(ask_pod("a"), HasSubstr("\r\n\r\na\n"));
  EXPECT_THAT(ask_pod("b"), HasSubstr("\r\n\r\nb\n"));
  EXPECT_THAT(ask(layout().world_netns(), 443, "hi"), HasSubstr("world\n"));
  const auto lab = info();
  EXPECT_EQ(lab.state, "running");
  EXPECT_EQ(lab.pods_ready, 2U);
  ASSERT_EQ(lab.nodes.size(), 1U);
  EXPECT_EQ(lab.nodes[0].socket, layout().node().socket());
  EXPECT_THAT(lab.nodes[0].pods, ElementsAre("shop/a", "shop/b"));
  const auto processes = supervise::processes_in_named_netns(layout().node().netns);
  ASSERT_EQ(processes.size(), 1U) << "the agent";
  EXPECT_EQ(*down(machine_, name_, tell()), true);
  EXPECT_FALSE(supervise::is_alive(processes[0]));
  expect_nothing_left();
  EXPECT_EQ(*down(machine_, name_, tell()), false);
}

TEST_F(LifecycleTest, UpIsRepeatable) {
  expect_up(pod_manifest("a"));
  const auto supervisor = info().supervisor_pid;
  expect_up(pod_manifest("a") + pod_manifest("b"));
  EXPECT_EQ(info().supervisor_pid, supervisor);
  EXPECT_EQ(info().pods_ready, 2U);
}

TEST_F(LifecycleTest, ApplyAndDeleteFollow) {
  expect_up(pod_manifest("a"));
  const auto more = write(pod_manifest("b", "    - containerPort: 81\n"));
  ASSERT_TRUE(apply(machine_, {.name = name_, .files = {more}}, tell()));
  EXPECT_THAT(ask_pod("b"), HasSubstr("b\n"));
  // Another set of ports for the same pod.
  const auto changed = write(pod_manifest("b", "    - containerPort: 82\n"));
  ASSERT_TRUE(apply(machine_, {.name = name_, .files = {changed}}, tell()));
  EXPECT_EQ(ask(layout().pod_netns("shop", "b"), 82, "echo"), "b\necho");
  EXPECT_EQ(ask(layout().pod_netns("shop", "b"), 81, ""), "refused");
  ASSERT_TRUE(remove(machine_, {.name = name_, .files = {changed}}, tell()));
  EXPECT_FALSE(std::filesystem::exists(sys::named_netns_path(layout().pod_netns("shop", "b"))));
  EXPECT_THAT(info().nodes[0].pods, ElementsAre("shop/a"));
}

TEST_F(LifecycleTest, AKilledAgentIsStartedAgain) {
  expect_up(pod_manifest("a"));
  kill_process(layout().node().pid_file());
  // Ends when the new one serves and the pods are compared anew.
  ASSERT_TRUE(start(pod_manifest("b")));
  EXPECT_THAT(ask_pod("a"), HasSubstr("a\n"));
  EXPECT_THAT(ask_pod("b"), HasSubstr("b\n"));
}

TEST_F(LifecycleTest, AKilledSupervisorIsReplacedAndAdoptsWhatRuns) {
  expect_up(pod_manifest("a") + pod_manifest("b"));
  const auto agent = supervise::read_pid_file(layout().node().pid_file());
  ASSERT_TRUE(agent);
  kill_process(layout().supervisor_pid_file());
  EXPECT_EQ(info().state, "stopped");
  EXPECT_EQ(ask_pod("a"), "refused");
  // Meanwhile a pod is deleted that nobody detaches.
  auto client = api::Client::connect(layout().node().socket());
  ASSERT_TRUE(client);
  ASSERT_TRUE(client->call("delete", {{"documents", {{{"file", "x"}, {"text", pod_manifest("b")}}}}}));
  expect_up(pod_manifest("a"));
  EXPECT_EQ(supervise::read_pid_file(layout().node().pid_file())->pid, agent->pid);
  EXPECT_THAT(ask_pod("a"), HasSubstr("a\n"));
  EXPECT_FALSE(std::filesystem::exists(sys::named_netns_path(layout().pod_netns("shop", "b"))));
  EXPECT_EQ(*client->call("test.attached", json::object()), 1);
}

TEST_F(LifecycleTest, UpWaitsForASupervisorThatIsEnding) {
  expect_up(pod_manifest("a"));
  const auto supervisor = supervise::read_pid_file(layout().supervisor_pid_file());
  ASSERT_TRUE(supervisor);
  // As it is between its last answer and its end: nobody listens, and the process is there.
  std::filesystem::remove(layout().supervisor_socket());
  std::promise<Result<void>> ended;
  std::thread upper([&] { ended.set_value(start(pod_manifest("b"))); });
  auto waiting = ended.get_future();
  EXPECT_EQ(waiting.wait_for(300ms), std::future_status::timeout) << "the old one is still there";
  kill_process(layout().supervisor_pid_file());
  upper.join();
  const auto started = waiting.get();
  ASSERT_TRUE(started) << started.error().message;
  EXPECT_NE(supervise::read_pid_file(layout().supervisor_pid_file())->pid, supervisor->pid);
  EXPECT_EQ(info().pods_ready, 2U);
}

TEST_F(LifecycleTest, UpRightAfterAKillOrAnEndIsNoError) {
  expect_up(pod_manifest("a"));
  for (const int signal : {SIGKILL, SIGTERM, SIGKILL, SIGTERM}) {
    const auto supervisor = supervise::read_pid_file(layout().supervisor_pid_file());
    ASSERT_TRUE(supervisor);
    ASSERT_EQ(::kill(supervisor->pid, signal), 0);  // and nobody waits for it
    const auto started = start(pod_manifest("a"));
    ASSERT_TRUE(started) << "after signal " << signal << ": " << started.error().message;
    EXPECT_EQ(info().pods_ready, 1U);
  }
}

TEST_F(LifecycleTest, DownClearsWhatACrashLeft) {
  expect_up(pod_manifest("a"));
  const auto agent = supervise::read_pid_file(layout().node().pid_file());
  kill_process(layout().supervisor_pid_file());
  EXPECT_EQ(*down(machine_, name_, tell()), true);
  EXPECT_FALSE(supervise::is_alive(*agent)) << "the agent outlived its supervisor, not `down`";
  expect_nothing_left();
}

TEST_F(LifecycleTest, DownClearsAHalfBuiltLab) {
  ASSERT_TRUE(sys::create_named_netns(layout().world_netns()));
  ASSERT_TRUE(sys::create_named_netns(layout().pod_netns("shop", "a")));
  std::filesystem::create_directories(layout().node().bpffs + "/maps");
  std::ofstream(layout().node().bpffs + "/maps/flow") << "pinned";
  EXPECT_EQ(info().state, "stopped");
  EXPECT_EQ(*down(machine_, name_, tell()), true);
  expect_nothing_left();
}

TEST_F(LifecycleTest, BadManifestsBuildNothing) {
  const auto started = start("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containres: []}\n");
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().code, ErrorCode::invalid);
  EXPECT_THAT(started.error().message, HasSubstr("manifest-1.yaml:"));
  expect_nothing_left();
}

TEST_F(LifecycleTest, AnAgentThatCannotStartIsReportedAndNothingStays) {
  std::filesystem::remove(root_ + "/bin/weftd");
  std::filesystem::create_symlink("/bin/false", root_ + "/bin/weftd");
  const auto started = up(machine_, {.name = name_, .files = {}, .timeout = 1h}, tell());
  ASSERT_FALSE(started) << "long before the timeout, as it ends every time";
  EXPECT_THAT(started.error().message, HasSubstr("weftd"));
  expect_nothing_left();
}

TEST_F(LifecycleTest, LabsSideBySideDoNotSeeEachOther) {
  expect_up(pod_manifest("a"));
  ASSERT_TRUE(start(pod_manifest("a") + pod_manifest("b"), name_ + "-2"));
  EXPECT_EQ(info().pods_ready, 1U);
  EXPECT_EQ(info(name_ + "-2").pods_ready, 2U);
  EXPECT_EQ(*down(machine_, name_, tell()), true);
  EXPECT_EQ(info(name_ + "-2").state, "running");
  EXPECT_THAT(ask(layout(name_ + "-2").pod_netns("shop", "b"), 80, "GET / HTTP/1.0\r\n\r\n"), HasSubstr("b\n"));
}

TEST_F(LifecycleTest, AnnotatedPodsRunTheirCommandInTheirNamespace) {
  const std::string fifo = root_ + "/fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  expect_up(pod_manifest("a",
                         "    command: [/bin/sh, -c, 'readlink /proc/self/ns/net > " + fifo +
                             "; echo $WHO; exec sleep 1000']\n    env: [{name: WHO, value: weft}]\n",
                         "  annotations: {weft.dev/run: \"true\"}\n"));
  std::string shown;
  std::getline(std::ifstream(fifo), shown);
  const auto netns = sys::open_netns(sys::named_netns_path(layout().pod_netns("shop", "a")));
  ASSERT_TRUE(netns);
  EXPECT_EQ(shown, "net:[" + std::to_string(*sys::netns_inode(netns->get())) + "]");
  EXPECT_EQ(ask_pod("a"), "refused") << "its own command answers, or nobody";
  const auto processes = supervise::processes_in_named_netns(layout().pod_netns("shop", "a"));
  ASSERT_FALSE(processes.empty());
  ASSERT_TRUE(remove(machine_, {.name = name_, .files = {root_ + "/manifest-1.yaml"}}, tell()));
  for (const auto& process : processes) EXPECT_FALSE(supervise::is_alive(process));
}

class NodesTest : public LifecycleTest {
 protected:
  // By themselves, as the stand-in for the agent knows no etcd.
  Result<void> start_nodes(unsigned nodes, const std::string& text) {
    return up(machine_,
              {.name = name_,
               .files = {write(text)},
               .timeout = 60s,
               .settings = {.nodes = nodes, .store = nodes > 1 ? "embedded" : ""}},
              tell());
  }
  void expect_nodes_up(unsigned nodes, const std::string& text) {
    const auto started = start_nodes(nodes, text);
    ASSERT_TRUE(started) << started.error().message << "\n" << started.error().hint;
  }
  static std::string pods(std::initializer_list<const char*> names) {
    std::string text;
    for (const auto* name : names) text += pod_manifest(name);
    return text;
  }
  [[nodiscard]] int attached_at(const NodeLayout& node) const {
    auto client = api::Client::connect(node.socket());
    const auto count = client ? client->call("test.attached", json::object()) : api::Answer(fail(Error{}));
    return count ? count->get<int>() : -1;
  }
};

TEST_F(NodesTest, EachNodeHasItsAgentAndItsSharesOfThePods) {
  expect_nodes_up(3, pods({"a", "b", "c", "d"}));
  const auto lab = info();
  EXPECT_EQ(lab.state, "running");
  ASSERT_EQ(lab.nodes.size(), 3U);
  EXPECT_THAT(lab.nodes[0].pods, ElementsAre("shop/a", "shop/d"));
  EXPECT_THAT(lab.nodes[1].pods, ElementsAre("shop/b"));
  EXPECT_THAT(lab.nodes[2].pods, ElementsAre("shop/c"));
  EXPECT_EQ(attached_at(layout().nodes()[0]), 2);
  EXPECT_EQ(attached_at(layout().nodes()[2]), 1);
  EXPECT_THAT(ask_pod("c"), HasSubstr("c\n"));
  EXPECT_EQ(find_place(layout(), "shop/b")->node->name, "node2");
  EXPECT_EQ(find_place(layout(), "node3")->netns, layout().nodes()[2].netns);
  EXPECT_EQ(*down(machine_, name_, tell()), true);
  expect_nothing_left();
}

TEST_F(NodesTest, PodsStayWhereTheyAreWhenTheLabGrowsAndTheSupervisorIsKilled) {
  expect_nodes_up(2, pods({"a", "b"}));
  const auto first = supervise::read_pid_file(layout().node().pid_file());
  expect_nodes_up(4, pods({"a", "b", "c"}));
  ASSERT_EQ(info().nodes.size(), 4U);
  EXPECT_THAT(info().nodes[2].pods, ElementsAre("shop/c"));
  kill_process(layout().supervisor_pid_file());
  expect_up(pods({"a", "b", "c", "d"}));
  const auto lab = info();
  ASSERT_EQ(lab.nodes.size(), 4U) << "without --nodes it has what it had";
  EXPECT_THAT(lab.nodes[0].pods, ElementsAre("shop/a"));
  EXPECT_THAT(lab.nodes[1].pods, ElementsAre("shop/b"));
  EXPECT_THAT(lab.nodes[2].pods, ElementsAre("shop/c"));
  EXPECT_THAT(lab.nodes[3].pods, ElementsAre("shop/d"));
  EXPECT_EQ(supervise::read_pid_file(layout().node().pid_file())->pid, first->pid);
  const auto shrunk = start_nodes(2, "");
  ASSERT_FALSE(shrunk);
  EXPECT_THAT(shrunk.error().message, HasSubstr("--nodes 2: the lab was made with 4 nodes"));
}

TEST_F(NodesTest, APodIsOnTheNodeItNames) {
  const auto named = [](const char* node) {
    return "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: shop}\nspec: {nodeName: " + std::string(node) +
           ", containers: [{name: c, image: none}]}\n";
  };
  const auto wrong = start_nodes(2, named("node7"));
  ASSERT_FALSE(wrong);
  EXPECT_THAT(wrong.error().message, HasSubstr("manifest-1.yaml:1:1: spec.nodeName: \"node7\" is no node of lab"));
  expect_nothing_left();
  expect_nodes_up(2, named("node2"));
  EXPECT_THAT(info().nodes[1].pods, ElementsAre("shop/a"));
  // Said anew, it moves.
  expect_nodes_up(2, named("node1"));
  EXPECT_THAT(info().nodes[0].pods, ElementsAre("shop/a"));
  EXPECT_EQ(attached_at(layout().nodes()[0]), 1);
  EXPECT_EQ(attached_at(layout().nodes()[1]), 0);
}

TEST_F(NodesTest, DownFindsNodesOfALabWhoseSettingsAreGone) {
  expect_nodes_up(3, pods({"a", "b", "c"}));
  const auto agent = supervise::read_pid_file(layout().nodes()[2].pid_file());
  kill_process(layout().supervisor_pid_file());
  std::filesystem::remove(layout().settings_file());
  EXPECT_EQ(*down(machine_, name_, tell()), true);
  EXPECT_FALSE(supervise::is_alive(*agent));
  expect_nothing_left();
}

TEST_F(LifecycleTest, ExecPassesTheExitCodeAndEntersOnlyTheNetwork) {
  expect_up(pod_manifest("a"));
  const pid_t child = ::fork();
  if (child == 0) {
    const auto error = execute(layout(), "shop/a", {"/bin/sh", "-c", "test -e " + root_ + "/bin/weftd && exit 42"});
    ::_exit(error.message.empty() ? 1 : 2);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(supervise::exit_code_of(status), 42);
  EXPECT_EQ(find_place(layout(), "world")->netns, layout().world_netns());
  EXPECT_EQ(find_place(layout(), "host")->netns, layout().node().netns);
  EXPECT_EQ(find_place(layout(), "shop/nope").error().code, ErrorCode::not_found);
  EXPECT_EQ(find_place(machine_.layout("nope"), "shop/a").error().code, ErrorCode::not_found);
}

}  // namespace
}  // namespace weft::lab
