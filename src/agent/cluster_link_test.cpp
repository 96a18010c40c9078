// Two nodes' agents, as far as the shared state goes, against a real etcd.
#include "agent/cluster_link.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "agent/attach_gate.h"
#include "control/identity/identity.h"
#include "sources/etcd/testing/etcd_server.h"

namespace weft::agent {
namespace {

using etcd::testing::EtcdCluster;
using std::chrono::seconds;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

IpAddress ip(std::string_view text) { return IpAddress::parse(text).value(); }

class ClusterLinkTest : public ::testing::Test {
 protected:
  struct TestNode {
    Config config;
    std::optional<store::Store> store = store::Store::open(":memory:").value();
    Faults faults;
    Node node;
    int block_changes = 0;
    int news = 0;
    std::map<control::IdentityId, LabelMap> numbers;
    std::unique_ptr<ClusterLink> link;
    ClusterView taken_in;
    const ClusterView& view() {
      if (auto told = link->news(node, taken_in); told.view) taken_in = std::move(*told.view);
      return taken_in;
    }
  };

  void SetUp() override {
    if (!etcd::testing::etcd_installed()) GTEST_SKIP() << "etcd is not installed (tools/bootstrap test installs it)";
    etcd_ = std::make_unique<EtcdCluster>(EtcdCluster::Setup{});
  }

  std::unique_ptr<TestNode> make(const std::string& name, const char* address) {
    auto made = std::make_unique<TestNode>();
    made->config = parse_config("weftd.yaml", "store: etcd\netcd_endpoints: [\"" + etcd_->endpoint(0) +
                                                  "\"]\nlease_seconds: 2\nreclaim_seconds: 4\nnode: " + name)
                       .value();
    Uplink uplink;
    uplink.name = "eth0";
    uplink.v4 = ip(address);
    uplink.subnets = {*Cidr::parse("192.0.2.0/24")};
    made->node.subnets = uplink.subnets;
    made->node.uplinks[2] = uplink;
    open(*made);
    return made;
  }
  void open(TestNode& node) {
    auto link = ClusterLink::open(loop_, node.config, *node.store, node.faults, node.node,
                                  {.blocks = [&node] { ++node.block_changes; },
                                   .others = [&node] { ++node.news; },
                                   .identities =
                                       [&node](const cluster::IdentityDifference& difference, bool whole) {
                                         if (whole) node.numbers.clear();
                                         for (const auto& [id, labels] : difference.set) node.numbers[id] = labels;
                                         for (const auto id : difference.gone) node.numbers.erase(id);
                                       }});
    ASSERT_TRUE(link) << link.error().message;
    node.link = std::move(*link);
    node.taken_in = {};
  }
  bool run_until(const std::function<bool()>& done, seconds limit = seconds(20)) {
    const auto until = std::chrono::steady_clock::now() + limit;
    const auto work = asio::make_work_guard(loop_);
    while (!done())
      if (loop_.run_one_until(until) == 0) return done();
    return true;
  }
  bool claim(TestNode& node, Family family) {
    std::optional<Result<void>> answer;
    node.link->claim(family, [&](const Result<void>& claimed) { answer = claimed; });
    return run_until([&] { return answer.has_value(); }) && answer->has_value();
  }

  asio::io_context loop_;
  std::unique_ptr<EtcdCluster> etcd_;
};

TEST_F(ClusterLinkTest, NodesKnowEachOthersWaysBlocksAndPods) {
  const auto a = make("a", "192.0.2.1");
  const auto b = make("b", "192.0.2.2");
  ASSERT_TRUE(claim(*a, Family::v4));
  ASSERT_TRUE(claim(*a, Family::v6));
  ASSERT_TRUE(claim(*b, Family::v4));
  EXPECT_THAT(a->link->usable_blocks(), SizeIs(2));
  EXPECT_EQ(a->link->gateways().at(Family::v4), a->link->usable_blocks().front().address().plus(1));
  a->link->tell(a->node);  // its gateways
  const LabelMap labels{{"k8s:app", "web"}};
  a->link->need({labels});
  ASSERT_TRUE(run_until([&] { return !a->numbers.empty(); }));
  const auto number = a->numbers.begin()->first;
  a->link->tell({{{"shop", "web"}, {.addresses = {ip("10.244.9.9")}, .identity = number, .ports = {}}}});
  ASSERT_TRUE(run_until([&] {
    const auto& view = b->view();
    return view.known && b->link->pods().size() == 1 && view.plan.blocks.size() == 2 && view.plan.addresses.size() == 3;
  }));
  // Another mirror, which may hear later.
  ASSERT_TRUE(run_until([&] { return b->link->status_json()["alive"] == 2; }));
  const auto view = b->view();
  const auto told = b->link->pods().at(ip("10.244.9.9"));
  ASSERT_THAT(told, SizeIs(1));
  EXPECT_EQ(told[0].name.to_string(), "shop/web");
  EXPECT_EQ(told[0].node, "a");
  EXPECT_EQ(told[0].told.identity, number);
  EXPECT_EQ(view.plan.reach.at("a").way, WEFT_WAY_DIRECT);
  EXPECT_TRUE(run_until([&] { return b->numbers.contains(number); }));
  EXPECT_EQ(b->numbers.at(number), labels);
  EXPECT_THAT(b->link->nodes_json(view), SizeIs(2));

  // What changes is told once: the pod and both of its addresses, and no other view.
  (void)b->link->news(b->node, view);
  a->link->tell({{{"shop", "web"}, {.addresses = {ip("10.244.9.10")}, .identity = number, .ports = {}}}});
  OthersChange change;
  ASSERT_TRUE(run_until([&] {
    auto news = b->link->news(b->node, view);
    EXPECT_FALSE(news.view);
    change.merge(std::move(news.pods));
    return change.addresses.size() == 2;
  }));
  EXPECT_EQ(change.pods, (std::set<model::ObjectKey>{{"shop", "web"}}));
  EXPECT_FALSE(change.all);
}

TEST_F(ClusterLinkTest, ARestartWithoutEtcdKeepsGatewaysAndNumbersAndGivesNothingOut) {
  const auto a = make("a", "192.0.2.1");
  const auto b = make("b", "192.0.2.2");
  ASSERT_TRUE(claim(*a, Family::v4));
  ASSERT_TRUE(run_until([&] { return a->view().plan.reach.contains("b"); }));
  const auto gateways = a->link->gateways();
  const auto number = a->view().plan.reach.at("b").number;
  a->link.reset();
  etcd_->kill(0);
  open(*a);
  EXPECT_EQ(a->link->gateways(), gateways);
  EXPECT_THAT(a->link->usable_blocks(), SizeIs(0));
  EXPECT_FALSE(a->view().known);
  run_until([] { return false; }, seconds(4));
  a->link->check();
  ASSERT_TRUE(a->faults.has("cluster"));
  EXPECT_THAT(a->faults.texts().at("cluster"), HasSubstr("traffic goes on, changes wait"));
  etcd_->restart(0);
  ASSERT_TRUE(run_until([&] { return a->link->usable_blocks().size() == 1 && a->view().known; }));
  EXPECT_EQ(a->view().plan.reach.at("b").number, number);
  EXPECT_FALSE(a->faults.has("cluster"));
}

TEST_F(ClusterLinkTest, BlocksThatHoldNothingAreGivenBackButNotTheGateways) {
  const auto a = make("a", "192.0.2.1");
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(claim(*a, Family::v4));
  const auto blocks = a->link->usable_blocks();
  ASSERT_THAT(blocks, SizeIs(3));
  control::Ipam ipam({.cidrs = blocks, .gateways = a->link->gateways()}, {{blocks[2].address().plus(2), "pod"}}, {});
  a->link->release_unused(ipam);
  ASSERT_TRUE(run_until([&] { return a->link->usable_blocks().size() == 2; }));
  EXPECT_THAT(a->link->usable_blocks(), UnorderedElementsAre(blocks[0], blocks[2]));
}

TEST_F(ClusterLinkTest, TheGateWaitsForTheNumberAndTheBlockAndNotForEver) {
  const auto a = make("a", "192.0.2.1");
  AttachGate gate(loop_, *a->link, seconds(2));
  std::optional<Result<void>> passed;
  const auto tell = [&](const Result<void>& outcome) { passed = outcome; };
  gate.pass({}, {}, tell);
  EXPECT_TRUE(passed.has_value());
  passed.reset();
  gate.pass(LabelMap{{"k8s:app", "db"}}, {Family::v4, Family::v6}, tell);
  EXPECT_FALSE(passed.has_value());
  ASSERT_TRUE(run_until([&] { return passed.has_value(); }));
  EXPECT_TRUE(*passed);
  EXPECT_THAT(a->link->usable_blocks(), SizeIs(2));
  EXPECT_THAT(a->numbers, Contains(std::pair(a->numbers.begin()->first, LabelMap{{"k8s:app", "db"}})));
  etcd_->kill(0);
  passed.reset();
  gate.pass(LabelMap{{"k8s:app", "new"}}, {}, tell);
  ASSERT_TRUE(run_until([&] { return passed.has_value(); }));
  EXPECT_EQ(passed->error().code, ErrorCode::unavailable);
}

}  // namespace
}  // namespace weft::agent
