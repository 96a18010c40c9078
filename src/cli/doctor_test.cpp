// What `weft doctor` makes of facts, and how it tells it.
#include "cli/doctor.h"

#include <gmock/gmock.h>

#include <atomic>

#include "cli/fake_agent.h"

namespace weft::cli {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Each;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::Not;
using State = Finding::State;

const HostFacts sound_host{.release = "6.12.1-amd64"};

AgentFacts sound_agent() {
  AgentFacts agent;
  agent.status = json::parse(R"({"version":"0.1.0","node":"a","problems":[],"pods":{"attached":3},
    "uplinks":[{"name":"eth0","attached":true}],"datapath":{"drops":[{"reason":"policy-denied","packets":9,"meaning":"m"}]},
    "cluster":{"name":"west","joined":true,"since":"now","alive":2,"nodes":2,"endpoints":["http://x"],"blocks":[]}})");
  agent.nodes = json::parse(R"([{"name":"a","self":true,"mode":"vxlan","state":"alive","way":"self","problem":""},
    {"name":"b","self":false,"mode":"vxlan","state":"alive","way":"vxlan","problem":"","differences":[],"clock_difference_seconds":0}])");
  agent.health = json::parse(R"([{"node":"b","problem":""}])");
  return agent;
}

auto is(State state, const char* area, const char* what) {
  return AllOf(Field(&Finding::state, state), Field(&Finding::area, area), Field(&Finding::what, HasSubstr(what)));
}

TEST(Doctor, NothingIsFoundWhereNothingIsWrong) {
  const auto findings = diagnose(sound_host, sound_agent(), true);
  EXPECT_THAT(findings, Each(Field(&Finding::state, State::good)));
  EXPECT_THAT(findings, Contains(is(State::good, "node b", "vxlan")));
}

TEST(Doctor, TheMachineIsJudged) {
  HostFacts host{.release = "5.10.0", .btf = false, .bpffs = false, .cgroup2 = false};
  auto findings = diagnose(host, sound_agent(), true);
  EXPECT_THAT(findings, Contains(is(State::problem, "kernel", "5.10.0 is older than 6.1")));
  EXPECT_THAT(findings, Contains(is(State::problem, "kernel", "btf")));
  EXPECT_THAT(findings, Contains(is(State::problem, "kernel", "BPF file system")));
  EXPECT_THAT(findings, Contains(is(State::problem, "kernel", "cgroup")));
  host = {.release = "6.1.0", .forwards_v4 = false, .plugin = false, .network_list = false};
  findings = diagnose(host, sound_agent(), true);
  EXPECT_THAT(findings, Contains(is(State::warning, "forwarding", "IPv4")));
  EXPECT_THAT(findings, Contains(is(State::warning, "plugin", "weft-cni is in none")));
  EXPECT_THAT(findings, Contains(is(State::warning, "plugin", "no network")));
  EXPECT_THAT(diagnose(host, sound_agent(), false), Not(Contains(Field(&Finding::area, "plugin")))) << "a lab's node";
}

TEST(Doctor, AnAgentThatDoesNotAnswerIsOneProblem) {
  AgentFacts agent;
  agent.unreachable = Error{ErrorCode::unavailable, "does not answer at /x", "start weftd"};
  EXPECT_THAT(diagnose(sound_host, agent, false),
              Contains(Finding{"agent", State::problem, "does not answer at /x", "start weftd"}));
}

TEST(Doctor, WhatTheAgentSaysIsToldOnceWithWhatToDo) {
  auto agent = sound_agent();
  agent.status["problems"] = {"node b answers, but not large packets", "BGP: no session with 192.0.2.1/rack"};
  agent.status["remedies"] = {{"node b answers, but not large packets", "set mtu"},
                              {"BGP: no session with 192.0.2.1/rack", "see the router"}};
  agent.health[0]["problem"] = "node b answers, but not large packets";
  agent.health[0]["remedy"] = "set mtu";
  agent.status["reconcile"] = {{"failed", 2}, {"last_error", "no memory"}};
  agent.status["uplinks"][0]["attached"] = false;
  const auto findings = diagnose(sound_host, agent, false);
  EXPECT_EQ(std::ranges::count(findings, "node b answers, but not large packets", &Finding::what), 1);
  EXPECT_THAT(findings,
              Contains(Finding{"node b", State::problem, "node b answers, but not large packets", "set mtu"}));
  EXPECT_THAT(findings,
              Contains(Finding{"agent", State::problem, "BGP: no session with 192.0.2.1/rack", "see the router"}));
  EXPECT_THAT(findings, Contains(is(State::problem, "agent", "2 changes of the kernel failed: no memory")));
  EXPECT_THAT(findings, Contains(is(State::problem, "agent", "the uplink eth0 has no program")));
}

TEST(Doctor, PodsWithoutANetworkAreNamed) {
  auto agent = sound_agent();
  agent.status["unattached"] = json::parse(R"([{"namespace":"shop","pod":"web-0","reason":"there is no pool \"bleu\"",
    "remedy":"apply it","tries":4,"since":"then","last":"now"}])");
  const auto findings = diagnose(sound_host, agent, false);
  EXPECT_THAT(findings, Contains(is(State::problem, "pods",
                                    "pod shop/web-0 has no network, tried 4 times since then: "
                                    "there is no pool \"bleu\"")));
  EXPECT_THAT(findings, Contains(Field(&Finding::remedy, "apply it")));
}

TEST(Doctor, ANodeThatIsAwayIsAProblemAndOneAtTheEdgeIsNot) {
  auto agent = sound_agent();
  agent.nodes[1]["state"] = "away";
  EXPECT_THAT(diagnose(sound_host, agent, false), Contains(is(State::warning, "node b", "is away")))
      << "not probed yet";
  agent.health[0]["problem"] = "node b is away: its agent has told nothing";
  agent.health[0]["remedy"] = "start weftd there";
  agent.status["problems"] = {"node b is away: its agent has told nothing"};
  auto findings = diagnose(sound_host, agent, false);
  EXPECT_THAT(findings, Contains(Finding{"node b", State::problem, "node b is away: its agent has told nothing",
                                         "start weftd there"}));
  EXPECT_EQ(std::ranges::count(findings, State::good, &Finding::state), std::ssize(findings) - 1) << "told once";
  agent.status["problems"] = json::array();
  agent.health[0]["problem"] = "";
  agent.health[0]["note"] = "node b is away; it is at the edge";
  findings = diagnose(sound_host, agent, false);
  EXPECT_THAT(findings, Contains(is(State::warning, "node b", "it is at the edge")));
  EXPECT_EQ(std::ranges::count(findings, State::problem, &Finding::state), 0);
}

TEST(Doctor, WhatNodesAreConfiguredWithIsCompared) {
  auto agent = sound_agent();
  agent.nodes[1]["differences"] = json::parse(R"([{"setting":"tunnel","here":"vxlan","there":"geneve"},
    {"setting":"pod_block_length_v4","here":"24","there":"26"}])");
  agent.health[0]["problem"] = "node b answers by itself, but not at its pods' 10.0.0.1";
  const auto findings = diagnose(sound_host, agent, false);
  EXPECT_THAT(findings, Contains(is(State::problem, "node b", "tunnel: geneve, this node with vxlan")));
  EXPECT_THAT(findings, Contains(is(State::problem, "node b", "pod_block_length_v4: 26, this node with 24")));
  const auto of = [&](const char* text) {
    return std::ranges::find_if(findings, [&](const Finding& one) { return one.what.find(text) != one.what.npos; });
  };
  EXPECT_LT(of("tunnel: geneve"), of("answers by itself")) << "the cause comes first";
  agent.health[0]["problem"] = "node b is configured otherwise than this one: tunnel: geneve there, vxlan here";
  agent.health[0]["of_settings"] = true;
  agent.status["problems"] = {"nodes b, c are configured otherwise than this one: tunnel: geneve there, vxlan here"};
  EXPECT_THAT(diagnose(sound_host, agent, false), Not(Contains(Field(&Finding::what, HasSubstr("otherwise than")))));
}

TEST(Doctor, AClockThatIsFarFromThisOneIsNamed) {
  auto agent = sound_agent();
  agent.nodes[1]["clock_difference_seconds"] = -86400;
  EXPECT_THAT(diagnose(sound_host, agent, false), Contains(is(State::warning, "node b", "86400 s or more behind")));
  agent.nodes[1]["clock_difference_seconds"] = 12;
  EXPECT_THAT(diagnose(sound_host, agent, false), Contains(is(State::warning, "node b", "12 s or more ahead of")));
}

TEST(Doctor, AnotherAgentOfThisNameIsNotEtcdBeingAway) {
  auto agent = sound_agent();
  agent.status["cluster"]["joined"] = false;
  agent.status["cluster"]["refused"] = "node \"a\" cannot join: one of this name (192.0.2.3) is alive";
  agent.status["problems"] = {"node \"a\" cannot join: one of this name (192.0.2.3) is alive"};
  const auto findings = diagnose(sound_host, agent, false);
  EXPECT_THAT(findings, Contains(is(State::problem, "cluster", "one of this name (192.0.2.3) is alive")));
  EXPECT_THAT(findings, Not(Contains(Field(&Finding::what, HasSubstr("away from etcd")))));
  EXPECT_EQ(std::ranges::count(findings, State::problem, &Finding::state), 1);
}

TEST(Doctor, TheClusterIsJudged) {
  auto agent = sound_agent();
  agent.status["cluster"]["joined"] = false;
  agent.status["cluster"]["problem"] = "connection refused";
  agent.status["cluster"]["blocks"] = json::parse(R"([{"cidr":"10.0.1.0/24","usable":false}])");
  agent.status["problems"] = {"etcd (http://x) is away since then: connection refused; traffic goes on, changes wait"};
  agent.nodes[1]["problem"] = "both claim 10.0.1.0/24";
  agent.nodes[1]["mtu"] = 1450;
  agent.nodes[1]["path_mtu"] = json::parse(R"({"packet":1400,"inside":1350,"seconds_left":599})");
  agent.health[0]["problem"] = "does not answer";
  const auto findings = diagnose(sound_host, agent, false);
  EXPECT_THAT(findings, Contains(is(State::problem, "cluster", "connection refused")));
  EXPECT_THAT(findings, Contains(is(State::warning, "addresses", "10.0.1.0/24")));
  EXPECT_THAT(findings, Not(Contains(is(State::problem, "agent", "")))) << "told with the cluster";
  EXPECT_THAT(findings, Contains(is(State::problem, "node b", "both claim")));
  EXPECT_THAT(findings,
              Contains(is(State::warning, "node b", "takes packets of 1400 bytes: pods that send 1450 are told 1350")));
  EXPECT_THAT(findings, Contains(is(State::problem, "node b", "does not answer")));
}

TEST(Doctor, AnEtcdThatCannotBeReachedIsNamedWhileTheLeaseStands) {
  auto agent = sound_agent();
  agent.status["cluster"]["unreachable_since"] = "then";
  agent.status["cluster"]["problem"] = "connection refused";
  agent.status["problems"] = {"etcd (http://x) is away since then: connection refused; traffic goes on, changes wait"};
  const auto findings = diagnose(sound_host, agent, false);
  EXPECT_THAT(findings, Contains(is(State::problem, "cluster", "away from etcd (http://x) since then")));
  EXPECT_EQ(std::ranges::count(findings, State::problem, &Finding::state), 1);
}

TEST(Doctor, DropsOfStrangersTunnelsNameNodesThatWereRemoved) {
  auto agent = sound_agent();
  agent.status["datapath"]["drops_recent_seconds"] = 600;
  agent.status["datapath"]["drops"].push_back(
      {{"reason", "tunnel-sender"}, {"packets", 400}, {"recent", 4}, {"meaning", "m"}});
  const auto remedy = [&] {
    const auto findings = diagnose(sound_host, agent, false);
    const auto found = std::ranges::find(findings, "drops", &Finding::area);
    return found == findings.end() ? std::string() : found->remedy;
  };
  EXPECT_THAT(remedy(), HasSubstr("without the store for longer than reclaim_seconds, and still runs"));
  agent.status["cluster"]["removed"] = {
      {{"name", "node3"}, {"addresses", {"192.0.2.3"}}, {"silent_since", "then"}, {"removed", "later"}}};
  EXPECT_THAT(remedy(), HasSubstr("node3 at 192.0.2.3, removed later, silent since then"));
}

TEST(Doctor, AnEtcdThatWasAwayForTooLongHasMadeTheOthersForgetThisNode) {
  auto agent = sound_agent();
  agent.status["cluster"]["joined"] = false;
  agent.status["cluster"]["forgotten"] = true;
  const auto findings = diagnose(sound_host, agent, false);
  const auto found = std::ranges::find(findings, "cluster", &Finding::area);
  ASSERT_NE(found, findings.end());
  EXPECT_THAT(found->remedy, AllOf(HasSubstr("have forgotten this one"), HasSubstr("comes back by itself")));
}

TEST(Doctor, DropsThatTellOfAWrongSetUpAreWarnings) {
  auto agent = sound_agent();
  agent.status["datapath"]["drops_recent_seconds"] = 600;
  agent.status["datapath"]["drops"].push_back(
      {{"reason", "outside-tunnel"}, {"packets", 400}, {"recent", 4}, {"meaning", "m"}});
  agent.status["datapath"]["drops"].push_back(
      {{"reason", "no-route"}, {"packets", 9}, {"recent", 0}, {"meaning", "m"}});
  const auto findings = diagnose(sound_host, agent, false);
  EXPECT_THAT(findings,
              Contains(is(State::warning, "drops", "4 packets dropped as outside-tunnel in the last 10m00s")));
  EXPECT_THAT(findings, Not(Contains(Field(&Finding::what, HasSubstr("no-route"))))) << "of before";
  EXPECT_THAT(findings, Not(Contains(Field(&Finding::what, HasSubstr("policy-denied")))));
}

using DoctorCommand = testing::FakeAgent;

TEST_F(DoctorCommand, SaysWhatToDoAndEndsAccordingly) {
  auto agent = sound_agent();
  answers("status", agent.status.dump());
  refuses("node.list", ErrorCode::unsupported, "by itself");
  refuses("node.health", ErrorCode::unsupported, "by itself");
  EXPECT_THAT(weft({"doctor"}).out, HasSubstr("✓ agent"));
  agent.status["problems"] = {"the disk is full"};
  answers("status", agent.status.dump());
  const auto ran = weft({"doctor"});
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.out, HasSubstr("the disk is full"));
  const auto items = json::parse(weft({"doctor", "-o", "json"}).out);
  EXPECT_THAT(items.dump(), HasSubstr(R"("state":"problem","what":"the disk is full")"));
  const auto none = run_bare({"--socket", directory_ + "/none", "doctor"});
  EXPECT_EQ(none.code, 1);
  EXPECT_THAT(none.out, AllOf(HasSubstr("✗ agent"), HasSubstr("does not answer")));
}

TEST_F(DoctorCommand, WhatIsWrongWithAnAgentThatHasJustStartedIsAskedForAgain) {
  auto agent = sound_agent();
  refuses("node.list", ErrorCode::unsupported, "by itself");
  refuses("node.health", ErrorCode::unsupported, "by itself");
  agent.status["uptime_seconds"] = 1;
  std::atomic<int> asked = 0;
  on_loop([&] {
    server_->handle("status", [&asked, status = agent.status](const json&) mutable -> api::Answer {
      status["cluster"]["joined"] = ++asked > 1;
      return status;
    });
  });
  EXPECT_EQ(weft({"doctor"}).code, 0);
  EXPECT_EQ(asked, 2);
  agent.status["problems"] = {"the disk is full"};
  agent.status["uptime_seconds"] = 14;
  answers("status", agent.status.dump());
  EXPECT_EQ(weft({"doctor"}).code, 1) << "it has had its time";
}

}  // namespace
}  // namespace weft::cli
