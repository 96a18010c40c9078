#include "agent/node_health.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <functional>

#include "sys/netlink.h"
#include "sys/netns.h"

namespace weft::agent {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using What = HealthProbe::What;

IpAddress ip(std::string_view text) { return IpAddress::parse(text).value(); }

HealthTarget target(weft_way way = WEFT_WAY_VXLAN) {
  return {.addresses = {ip("192.0.2.2")},
          .gateways = {ip("10.244.2.1")},
          .mtu = 1450,
          .way = way,
          .tunnel_port = 8472,
          .wireguard_port = 51871};
}

const std::chrono::system_clock::time_point then{std::chrono::seconds(1'800'000'000)};

// Which of node, pods, large are lost.
HealthVerdict verdict(const HealthTarget& of, bool node, bool pods, bool large) {
  std::vector<HealthResult> results;
  for (const auto& probe : probes_of(of)) {
    const bool lost = probe.what == What::node ? node : probe.what == What::pods ? pods : large;
    results.push_back(
        {.probe = probe, .sent = 9, .answered = 7, .lost_in_row = lost ? 3U : 0U, .confirmed = !lost, .heard = then});
  }
  return diagnose("b", of, results);
}

std::string said(const HealthTarget& of, bool node, bool pods, bool large) {
  const auto all = verdict(of, node, pods, large);
  EXPECT_EQ(all.problem.empty(), all.remedy.empty()) << all.problem;
  return all.problem + ": " + all.remedy;
}

TEST(NodeHealth, AsksTheNodeAndItsPodsBySmallAndLargePackets) {
  const auto probes = probes_of(target());
  ASSERT_EQ(probes.size(), 3U);
  EXPECT_EQ(probes[1].address, ip("10.244.2.1"));
  EXPECT_EQ(probes[2].size, 1450U);
  EXPECT_EQ(probes_of(target(WEFT_WAY_NONE)).size(), 1U);
}

TEST(NodeHealth, TellsApartWhatIsWrong) {
  EXPECT_EQ(verdict(target(), false, false, false), HealthVerdict{});
  EXPECT_THAT(said(target(), true, true, true), HasSubstr("node b does not answer at 192.0.2.2"));
  EXPECT_THAT(said(target(), false, true, true), HasSubstr("not at its pods' 10.244.2.1 (vxlan)"));
  EXPECT_THAT(said(target(), false, true, true), HasSubstr("UDP port 8472 (VXLAN, tunnel_port)"));
  EXPECT_THAT(said(target(WEFT_WAY_IPIP), false, true, true), HasSubstr("protocols 4 and 41"));
  EXPECT_THAT(said(target(WEFT_WAY_WIREGUARD), false, true, true), HasSubstr("UDP ports 51871 and 51872"));
  EXPECT_THAT(said(target(WEFT_WAY_REFUSED), false, true, true), HasSubstr("no key of it yet"));
  EXPECT_THAT(said(target(WEFT_WAY_DIRECT), false, true, true), HasSubstr("route its blocks"));
  EXPECT_THAT(said(target(), false, false, true), HasSubstr("packets of 1450 bytes to the pods of node b are lost"));
  auto two = target();
  two.addresses.push_back(ip("2001:db8::2"));
  std::vector<HealthResult> results;
  for (const auto& probe : probes_of(two))
    results.push_back({.probe = probe, .lost_in_row = probe.address == ip("2001:db8::2") ? 9U : 0U});
  EXPECT_THAT(diagnose("b", two, results).problem,
              HasSubstr("does not answer at 2001:db8::2, though at another address"));
}

TEST(NodeHealth, ANodeThatIsAwayIsAFaultAndWhatStillAnswersIsTold) {
  auto away = target();
  away.alive = false;
  EXPECT_THAT(said(away, true, true, true),
              AllOf(HasSubstr("node b is away"), HasSubstr("its machine does not answer at 192.0.2.2"),
                    HasSubstr("see to the machine"), HasSubstr("weft node delete b")));
  EXPECT_THAT(said(away, false, false, false),
              AllOf(HasSubstr("Its machine answers at 192.0.2.2"), HasSubstr("its datapath carries"),
                    HasSubstr("start weftd there")));
  EXPECT_THAT(said(away, false, true, true), HasSubstr("but not at its pods' 10.244.2.1"));
  // Asked once: nothing is said of the machine yet.
  std::vector<HealthResult> fresh;
  for (const auto& probe : probes_of(away)) fresh.push_back({.probe = probe, .sent = 1});
  EXPECT_THAT(diagnose("b", away, fresh).problem, AllOf(HasSubstr("node b is away"), Not(HasSubstr("machine"))));
  EXPECT_THAT(diagnose("b", away, fresh).remedy, HasSubstr("see whether its machine and weftd run"));
  for (auto& result : fresh) result.sent = 0;
  EXPECT_EQ(diagnose("b", away, fresh), HealthVerdict{}) << "its lease may be on its way";
}

// Its last answer may be of before the machine died.
TEST(NodeHealth, OfANodeThatIsAwayNothingIsClaimedThatTheLastAnswerCannotTell) {
  auto away = target();
  away.alive = false;
  std::vector<HealthResult> results;
  for (const auto& probe : probes_of(away))
    results.push_back({.probe = probe, .sent = 9, .answered = 9, .heard = then});
  auto told = diagnose("b", away, results);
  EXPECT_THAT(told.problem,
              AllOf(HasSubstr("Its machine answered last at 2027-01-15T08:00:00Z; whether it does now is not known"),
                    Not(HasSubstr("machine answers")), Not(HasSubstr("datapath"))));
  EXPECT_THAT(told.remedy, HasSubstr("see whether its machine and weftd run"));
  results[0].confirmed = true;
  told = diagnose("b", away, results);
  EXPECT_THAT(told.problem, AllOf(HasSubstr("Its machine answers at 192.0.2.2"), Not(HasSubstr("datapath"))));
  EXPECT_THAT(told.remedy, HasSubstr("start weftd there"));
}

TEST(NodeHealth, ANodeAtTheEdgeMayBeAway) {
  auto away = target();
  away.alive = false;
  away.edge = true;
  const auto told = verdict(away, true, true, true);
  EXPECT_THAT(told.problem, IsEmpty());
  EXPECT_THAT(told.note, AllOf(HasSubstr("node b is away"), HasSubstr("at the edge")));
  away.alive = true;
  EXPECT_THAT(verdict(away, true, true, true).problem, HasSubstr("does not answer"));
}

TEST(NodeHealth, ADifferenceOfTheConfigurationsComesBeforeTheNetwork) {
  auto other = target();
  other.differences = "tunnel: geneve there, vxlan here";
  EXPECT_THAT(said(other, false, true, true),
              AllOf(HasSubstr("configured otherwise: tunnel: geneve there, vxlan here"), HasSubstr("give every node")));
  EXPECT_EQ(verdict(other, false, false, false), HealthVerdict{}) << "packets pass";
}

TEST(NodeHealth, ANodeThatTheOthersHaveForgottenBlamesItsOwnAbsence) {
  std::vector<HealthResult> results;
  for (const auto& probe : probes_of(target()))
    results.push_back({.probe = probe, .sent = 9, .lost_in_row = probe.what == What::node ? 0U : 3U});
  const Absence forgotten{.since = then, .reclaim = std::chrono::seconds(600)};
  const auto told = diagnose("b", target(), results, forgotten);
  EXPECT_THAT(told.problem,
              AllOf(HasSubstr("not at its pods' 10.244.2.1 (vxlan)"),
                    HasSubstr("this node is without what the nodes share since 2027-01-15T08:00:00Z, for longer than "
                              "reclaim_seconds (600 s): nodes that have it have forgotten this one"),
                    HasSubstr("drop reason tunnel-sender there")));
  EXPECT_THAT(told.remedy, HasSubstr("see why this node does not reach what the nodes share"));
  EXPECT_THAT(diagnose("b", target(WEFT_WAY_DIRECT), results, forgotten).problem, Not(HasSubstr("tunnel-sender")));
  for (auto& result : results) result.lost_in_row = 0;
  EXPECT_EQ(diagnose("b", target(), results, forgotten), HealthVerdict{}) << "who answers has not forgotten it";
}

// Of none of these a packet is lost, at first.
TEST(NodeHealth, ANodeThatIsConfiguredOtherwiseIsAProblemThoughItAnswers) {
  auto other = target();
  other.settings = "encryption: none there, wireguard here";
  EXPECT_THAT(said(other, false, false, false),
              AllOf(HasSubstr("node b is configured otherwise than this one: encryption: none there, wireguard here"),
                    HasSubstr("give every node the same")));
  EXPECT_THAT(said(other, true, true, true), HasSubstr("node b does not answer"));
  other.alive = false;
  EXPECT_THAT(said(other, true, true, true), Not(HasSubstr("configured")));
  EXPECT_THAT(settings_fault({"b", "c", "d", "e", "f"}, other.settings).text,
              HasSubstr("nodes b, c, d and 2 more are configured otherwise than this one: encryption: none"));
}

// Other nodes in a network namespace: this one answers at all its addresses, and of the network of a dummy device
// nobody answers.
class AskedNodes : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    ASSERT_TRUE(sys::create_named_netns(name_));
    const auto netns = sys::open_netns(sys::named_netns_path(name_));
    ASSERT_TRUE(netns);
    auto scope = sys::NetnsScope::enter(netns->get());
    ASSERT_TRUE(scope);
    scope_.emplace(std::move(*scope));
    const auto netlink = sys::open_netlink().value();
    ASSERT_TRUE(netlink->set_up(1, true));
    const auto device = netlink->create_dummy("nodes", {});
    ASSERT_TRUE(device) << device.error().text();
    ASSERT_TRUE(netlink->set_up(device->index, true));
    ASSERT_TRUE(netlink->add_address({.index = device->index, .address = ip("192.0.2.1"), .length = 24}));
  }
  void TearDown() override {
    scope_.reset();
    EXPECT_TRUE(sys::delete_named_netns(name_));
  }

  static HealthTarget at(const std::string& address, bool alive) {
    return {.addresses = {ip(address)}, .gateways = {ip(address)}, .way = WEFT_WAY_VXLAN, .alive = alive};
  }

  const std::string name_ = "weft-health-" + std::to_string(::getpid());
  std::optional<sys::NetnsScope> scope_;
  asio::io_context loop_;
};

// Services would send to a machine that is gone until its ordinary turns have shown it, which takes three of them.
TEST_F(AskedNodes, WhoIsAwayAtTheStartIsFoundSilentAtOnceAndWhoHasALeaseIsNot) {
  const auto started = std::chrono::steady_clock::now();
  std::optional<std::chrono::steady_clock::duration> took;
  NodeHealth health(loop_, [&] { took = std::chrono::steady_clock::now() - started; });
  ASSERT_TRUE(health.start());
  health.set_targets({{"agent-away", at("127.0.0.1", false)},
                      {"gone", at("192.0.2.9", false)},
                      {"with-lease", at("192.0.2.8", true)}});
  // Busy with what a start does: answers wait meanwhile.
  asio::steady_timer busy(loop_, std::chrono::milliseconds(150));
  busy.async_wait([](const std::error_code&) { ::usleep(1'000'000); });
  while (!took && loop_.run_one_for(std::chrono::seconds(10)) != 0) {
  }
  ASSERT_TRUE(took);
  EXPECT_LT(*took, std::chrono::milliseconds(3500));
  EXPECT_EQ(health.silent(), (SilentNodes{.any = {"gone"}, .pods = {"gone"}}));
}

TEST_F(AskedNodes, ALeaseThatComesLateEndsTheHurry) {
  NodeHealth health(loop_);
  ASSERT_TRUE(health.start());
  health.set_targets({{"late", at("192.0.2.9", false)}});
  loop_.run_for(std::chrono::milliseconds(1100));
  health.set_targets({{"late", at("192.0.2.9", true)}});
  loop_.run_for(std::chrono::milliseconds(800));
  EXPECT_EQ(health.silent(), SilentNodes{});
}

}  // namespace
}  // namespace weft::agent
