#include "sources/kubernetes/lease.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "sources/kubernetes/testing/world.h"

namespace weft::kubernetes::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// A candidate with a connection of its own, which can be cut.
struct Candidate {
  Candidate(World& world, const ApiServer& server, const std::string& identity, seconds clock_off = seconds(0))
      : http(world.connect(server.access())) {
    election = std::make_unique<Election>(
        *http, world.scheduler(), fixed_random(),
        ElectionOptions{.namespace_name = "kube-system",
                        .name = "weft-operator",
                        .identity = identity,
                        .duration = seconds(2),
                        .renew_within = milliseconds(1500),
                        .retry = milliseconds(100),
                        .most_trusted = milliseconds(2500),
                        .wall_clock = [clock_off] { return std::chrono::system_clock::now() + clock_off; }},
        ElectionHandlers{.elected = [this] { ++elected; },
                         .lost = [this](const std::string& reason) { ++lost, why = reason; }});
  }
  [[nodiscard]] bool leads() const { return election && election->leads(); }

  std::unique_ptr<Http> http;
  std::unique_ptr<Election> election;
  int elected = 0;
  int lost = 0;
  std::string why;
};

class LeaseTest : public ::testing::Test {
 protected:
  json spec() {
    const auto lease = server.store().get(*parse_path(path));
    return lease.code == 200 ? json::parse(lease.text)["spec"] : json();
  }

  inline static const std::string path = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/weft-operator";
  World world;
  ApiServer server;
};

TEST_F(LeaseTest, OneLeadsAndTheOthersWait) {
  Candidate a(world, server, "a");
  EXPECT_TRUE(world.run_until([&] { return a.leads(); }));
  // A clock that is a day off matters to nobody.
  Candidate b(world, server, "b", seconds(86400));
  Candidate c(world, server, "c", seconds(-86400));
  for (int i = 0; i < 30; ++i) {
    world.run_for(milliseconds(50));
    EXPECT_TRUE(a.leads() && !b.leads() && !c.leads());
  }
  EXPECT_EQ(a.elected, 1);
  EXPECT_EQ(b.election->holder(), "a");
  EXPECT_EQ(spec()["holderIdentity"], "a");
  EXPECT_EQ(spec()["leaseDurationSeconds"], 2);
  EXPECT_EQ(spec()["leaseTransitions"], 0);
  EXPECT_THAT(spec()["renewTime"].get<std::string>(), ::testing::MatchesRegex("....-..-..T..:..:..\\.......Z"));
}

TEST_F(LeaseTest, WhoReleasesIsFollowedAtOnce) {
  Candidate a(world, server, "a");
  EXPECT_TRUE(world.run_until([&] { return a.leads(); }));
  Candidate b(world, server, "b");
  EXPECT_TRUE(world.run_until([&] { return b.election->holder() == "a"; }));
  bool done = false;
  const auto start = std::chrono::steady_clock::now();
  a.election->release([&] { done = true; });
  EXPECT_FALSE(a.leads());
  EXPECT_TRUE(world.run_until([&] { return done && b.leads(); }));
  EXPECT_LT(std::chrono::steady_clock::now() - start, milliseconds(1500));
  EXPECT_EQ(spec()["leaseTransitions"], 1);
}

TEST_F(LeaseTest, WhoDiesIsFollowedWhenTheLeaseIsOver) {
  Candidate a(world, server, "a");
  EXPECT_TRUE(world.run_until([&] { return a.leads(); }));
  Candidate b(world, server, "b");
  EXPECT_TRUE(world.run_until([&] { return b.election->holder() == "a"; }));
  a.election.reset();
  const auto start = std::chrono::steady_clock::now();
  EXPECT_TRUE(world.run_until([&] { return b.leads(); }));
  EXPECT_GE(std::chrono::steady_clock::now() - start, milliseconds(1700));
}

TEST_F(LeaseTest, WhoCannotRenewStopsBeforeAnotherBegins) {
  Candidate a(world, server, "a");
  EXPECT_TRUE(world.run_until([&] { return a.leads(); }));
  server.stop();
  EXPECT_TRUE(world.run_until([&] { return !a.leads(); }, milliseconds(1900)));
  EXPECT_EQ(a.lost, 1);
  EXPECT_THAT(a.why, ::testing::HasSubstr("could not be renewed within 1500 ms"));
  server.start();
  EXPECT_TRUE(world.run_until([&] { return a.leads(); }));
  EXPECT_EQ(a.elected, 2);
  EXPECT_EQ(spec()["leaseTransitions"], 0);
}

TEST_F(LeaseTest, TroubleThatPassesCostsNothing) {
  Candidate a(world, server, "a");
  EXPECT_TRUE(world.run_until([&] { return a.leads(); }));
  for (const int status : {500, 409, 429, 503}) {
    server.fail({.path_contains = "leases", .status = status});
    world.run_for(milliseconds(250));
  }
  EXPECT_TRUE(a.leads());
  EXPECT_EQ(a.lost, 0);
}

TEST_F(LeaseTest, ALeaseThatIsTakenOrErasedIsSeen) {
  Candidate a(world, server, "a");
  EXPECT_TRUE(world.run_until([&] { return a.leads(); }));
  server.store().remove(path);
  EXPECT_TRUE(world.run_until([&] { return spec().is_object() && spec()["holderIdentity"] == "a"; }));
  EXPECT_TRUE(a.leads());
  server.store().put(path, {{"spec", {{"holderIdentity", "somebody"}, {"leaseDurationSeconds", 1}}}});
  EXPECT_TRUE(world.run_until([&] { return !a.leads(); }));
  EXPECT_EQ(a.why, "the lease is somebody's");
  EXPECT_TRUE(world.run_until([&] { return a.leads(); }));
}

// A Lease is an object that others may write, too.
TEST_F(LeaseTest, ALeaseThatSaysItLastsForAnHourIsTrustedForAWhileOnly) {
  for (const std::int64_t seconds_said : {std::int64_t{3600}, std::int64_t{1} << 62}) {
    server.store().put(path, {{"spec", {{"holderIdentity", "gone"}, {"leaseDurationSeconds", seconds_said}}}});
    const auto start = std::chrono::steady_clock::now();
    Candidate a(world, server, "a");
    EXPECT_TRUE(world.run_until([&] { return a.leads(); }, milliseconds(4000)));
    EXPECT_GE(std::chrono::steady_clock::now() - start, milliseconds(2400));
  }
}

// Whatever the server does, two never lead at once.
TEST_F(LeaseTest, NeverTwo) {
  const auto random = fixed_random();
  std::vector<std::unique_ptr<Candidate>> candidates;
  for (const auto* name : {"a", "b", "c"}) candidates.push_back(std::make_unique<Candidate>(world, server, name));
  int rounds_led = 0;
  for (int round = 0; round < 120; ++round) {
    auto& one = candidates[random() % candidates.size()];
    switch (random() % 8) {
      case 0:
        server.fail({.path_contains = "leases", .status = 500, .times = static_cast<int>(random() % 8)});
        break;
      case 1:
        server.stop();
        break;
      case 2:
        one = std::make_unique<Candidate>(world, server, "new" + std::to_string(round));
        break;
      default:
        server.start();
    }
    int leaders = 0;
    world.run_until(
        [&] {
          leaders = 0;
          for (const auto& each : candidates) leaders += each->leads() ? 1 : 0;
          return leaders > 1;
        },
        milliseconds(random() % 60));
    EXPECT_LE(leaders, 1);
    rounds_led += leaders;
  }
  EXPECT_GT(rounds_led, 0);
}

}  // namespace
}  // namespace weft::kubernetes::testing
