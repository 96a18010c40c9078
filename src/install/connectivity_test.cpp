#include "install/connectivity.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <set>

#include "install/testing/cluster_world.h"

namespace weft::install {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using testing::ClusterWorld;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::json;

// --- What runs in pods

class ProbeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    port_ = static_cast<std::uint16_t>(20000 + ::getpid() % 20000);
    server_ = ::fork();
    if (server_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      serve("me", {port_});
      std::_Exit(1);
    }
  }
  void TearDown() override {
    ::kill(server_, SIGKILL);
    ::waitpid(server_, nullptr, 0);
  }
  ProbeResult one(const std::string& kind, const std::string& to, std::uint16_t port, bool answers = true) {
    return run_probes({{"a", kind, to, port, answers}}, 1s).front();
  }
  std::uint16_t port_ = 0;
  pid_t server_ = 0;
};

TEST_F(ProbeTest, SaysWhatItSaw) {
  for (const auto* kind : {"tcp", "udp"}) {
    const auto seen = one(kind, "127.0.0.1", port_);
    EXPECT_TRUE(seen.good) << kind << seen.saw;
    EXPECT_THAT(seen.saw, AllOf(HasSubstr("me in "), HasSubstr(" ms"))) << kind;
  }
  EXPECT_EQ(one("connect", "127.0.0.1", port_).saw, "connected");
  EXPECT_EQ(one("lookup", "localhost", 0).good, true);
  const auto refused = one("tcp", "127.0.0.1", 1);
  EXPECT_FALSE(refused.good);
  EXPECT_EQ(refused.saw, "Connection refused");
  // A label that is too long: no server of names is asked.
  EXPECT_THAT(one("lookup", std::string(70, 'a'), 0).saw, HasSubstr(" has no address"));
}

TEST_F(ProbeTest, WhatMustNotAnswerHasToKeepStill) {
  EXPECT_TRUE(one("tcp", "127.0.0.1", 1, false).good);
  const auto seen = one("tcp", "127.0.0.1", port_, false);
  EXPECT_FALSE(seen.good);
  EXPECT_THAT(seen.saw, HasSubstr("me in "));
}

TEST(ProbeTextTest, GoesThereAndBack) {
  const auto probes = probes_from(to_json(std::vector<Probe>{{"a", "tcp", "10.0.0.1", 80, false}}).dump());
  ASSERT_TRUE(probes);
  EXPECT_EQ(probes->front().to, "10.0.0.1");
  EXPECT_EQ(probes->front().port, 80);
  EXPECT_FALSE(probes->front().answers);
  const auto results = results_from(to_json(std::vector<ProbeResult>{{true, "x"}}).dump());
  ASSERT_TRUE(results);
  EXPECT_EQ(results->front().saw, "x");
  EXPECT_FALSE(results_from("panic"));
}

// --- The test on a cluster

class ConnectivityTest : public ::testing::Test {
 protected:
  ConnectivityTest() {
    for (const auto& [name, address] : {std::pair{"n1", "192.0.2.1"}, {"n2", "192.0.2.2"}}) {
      auto node = ClusterWorld::node(name);
      node["status"]["addresses"] = {{{"type", "InternalIP"}, {"address", address}},
                                     {{"type", "Hostname"}, {"address", name}}};
      world.put(std::string("/api/v1/nodes/") + name, node);
    }
    world.put("/api/v1/namespaces/kube-system/services/kube-dns", {{"spec", json::object()}});
    world.put("/api/v1/namespaces/default/services/kubernetes", {{"spec", {{"clusterIPs", {"10.96.0.1"}}}}});
    world.run_pod = [this](const json& pod) { return run_pod(pod); };
  }

  // A kubelet, whose pods see what the test says.
  json run_pod(const json& pod) {
    const auto name = text_at(pod, "/metadata/name");
    if (name == stuck) return nullptr;
    const auto& command = pod["spec"]["containers"][0]["command"];
    if (command[2] == "serve") {
      const std::scoped_lock lock(mutex);
      return {{"phase", "Running"}, {"podIPs", {{{"ip", fmt::format("10.0.0.{}", ++addresses)}}}}};
    }
    const auto probes = probes_from(command[3]);
    std::vector<ProbeResult> results;
    {
      const std::scoped_lock lock(mutex);
      for (const auto& probe : *probes) {
        const bool bad = broken.contains(probe.name);
        asked[name].push_back(fmt::format("{} {} {}", probe.kind, probe.to, probe.port));
        results.push_back({!bad, bad ? "no connection within 1000 ms" : "server in 0.1 ms"});
      }
    }
    return {
        {"phase", "Succeeded"},
        {"containerStatuses",
         {{{"name", "test"}, {"state", {{"terminated", {{"exitCode", 0}, {"message", to_json(results).dump()}}}}}}}}};
  }

  Result<std::vector<CheckResult>> test(TestOptions options = {}) {
    if (options.timeout == 120s) options.timeout = 5s;
    return test_connectivity(*world.cluster, options, world.progress(),
                             [this](const CheckResult& one) { told.push_back(one); });
  }
  [[nodiscard]] std::set<std::string> names(CheckResult::State state) const {
    std::set<std::string> found;
    for (const auto& one : told)
      if (one.state == state) found.insert(one.name);
    return found;
  }
  bool is_clean() { return world.get("/api/v1/namespaces/weft-connectivity-test").is_null(); }

  std::string stuck;
  std::mutex mutex;
  std::set<std::string> broken;
  std::map<std::string, std::vector<std::string>> asked;
  std::vector<CheckResult> told;
  int addresses = 0;
  ClusterWorld world;
};

TEST_F(ConnectivityTest, AsksForAllAndCleansUp) {
  // What the API server would give the Service.
  const auto done = test({.outside = "198.51.100.1:80"});
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_THAT(names(CheckResult::State::failed), IsEmpty());
  EXPECT_THAT(names(CheckResult::State::good),
              ::testing::IsSupersetOf({"pod to pod, same node", "pod to pod, other node", "pod to pod, other node, UDP",
                                       "pod to Service by NodePort of its node",
                                       "pod to the API server by the Service kubernetes", "DNS: kubernetes.default",
                                       "pod to Service by its name", "pod to outside", "node to its pod",
                                       "node to pod of another node", "policy, ingress: who is not allowed does not",
                                       "policy, egress: what is not does not"}));
  EXPECT_THAT(asked["client"],
              ::testing::IsSupersetOf({"connect 198.51.100.1 80", "connect 10.96.0.1 443", "tcp server 80"}));
  EXPECT_TRUE(is_clean());
}

TEST_F(ConnectivityTest, AFailureSaysWhatWasExpectedSeenAndToDo) {
  broken = {"pod to pod, other node"};
  ASSERT_TRUE(test());
  ASSERT_THAT(names(CheckResult::State::failed), ::testing::ElementsAre("pod to pod, other node"));
  const auto failed = *std::ranges::find(told, CheckResult::State::failed, &CheckResult::state);
  EXPECT_EQ(failed.from, "pod on n1");
  EXPECT_EQ(failed.expected, "an answer");
  EXPECT_EQ(failed.saw, "no connection within 1000 ms");
  EXPECT_THAT(failed.hint, HasSubstr("weft health"));
  EXPECT_THAT(names(CheckResult::State::skipped), ::testing::ElementsAre("pod to outside"));
}

TEST_F(ConnectivityTest, OneNodeIsEnoughForWhatOneCanSay) {
  world.server.store().remove("/api/v1/nodes/n2");
  world.server.store().remove("/api/v1/namespaces/kube-system/services/kube-dns");
  ASSERT_TRUE(test());
  EXPECT_THAT(names(CheckResult::State::skipped),
              ::testing::ElementsAre("DNS", "pod to outside", "pod to pod, other node"));
  EXPECT_THAT(names(CheckResult::State::failed), IsEmpty());
}

TEST_F(ConnectivityTest, PodsThatDoNotRunAreNamed) {
  stuck = "guarded";
  world.put("/api/v1/namespaces/weft-connectivity-test/events/e", {{"involvedObject", {{"name", "guarded"}}},
                                                                   {"type", "Warning"},
                                                                   {"reason", "FailedCreatePodSandBox"},
                                                                   {"message", "weftd does not answer"}});
  const auto done = test({.timeout = 1s});
  ASSERT_FALSE(done);
  EXPECT_THAT(done.error().message, HasSubstr("guarded on node n2: FailedCreatePodSandBox: weftd does not answer"));
  EXPECT_TRUE(is_clean());
}

TEST_F(ConnectivityTest, AClientThatSaysNothingFailsWithItsReason) {
  stuck = "denied";
  ASSERT_TRUE(test({.timeout = 2s}));
  EXPECT_THAT(names(CheckResult::State::failed), ::testing::ElementsAre("policy, ingress: who is not allowed does not",
                                                                        "policy: where none counts everything goes"));
  EXPECT_THAT(std::ranges::find(told, CheckResult::State::failed, &CheckResult::state)->saw,
              HasSubstr("has told nothing: no kubelet has taken it"));
}

TEST_F(ConnectivityTest, AnInterruptLeavesNothing) {
  stuck = "guarded";
  std::thread user([&] {
    while (world.get("/api/v1/namespaces/weft-connectivity-test/pods/guarded").is_null())
      std::this_thread::sleep_for(5ms);
    ::kill(::getpid(), SIGINT);
  });
  const auto done = test({.timeout = 60s});
  user.join();
  ASSERT_FALSE(done);
  EXPECT_THAT(done.error().message, HasSubstr("interrupted; what the test made is deleted"));
  EXPECT_TRUE(is_clean());
}

TEST_F(ConnectivityTest, WhatIsNotItsOwnStays) {
  world.put("/api/v1/namespaces/weft-connectivity-test", {{"metadata", {{"labels", {{"team", "red"}}}}}});
  EXPECT_THAT(test().error().message, HasSubstr("this test has not made"));
  EXPECT_FALSE(is_clean());
  world.put("/api/v1/namespaces/weft-connectivity-test",
            {{"metadata", {{"labels", {{"app.kubernetes.io/managed-by", "weft-connectivity-test"}}}}}});
  ASSERT_TRUE(test({.keep = true}));
  EXPECT_THAT(world.told, HasSubstr("an earlier test left"));
  EXPECT_FALSE(is_clean());
}

}  // namespace
}  // namespace weft::install
