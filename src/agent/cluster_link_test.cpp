// Two nodes' agents, as far as the shared state goes, against a real etcd.
#include "agent/cluster_link.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ctime>

#include <nlohmann/json.hpp>

#include "agent/attach_gate.h"
#include "agent/node_settings.h"
#include "control/identity/identity.h"
#include "sources/cluster/shared_objects.h"
#include "sources/etcd/grpc_client.h"
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
    NodesSeen seen;
    ClusterView taken_in;
    const ClusterView& view() {
      if (auto told = link->news(node, seen, taken_in); told.view) taken_in = std::move(*told.view);
      return taken_in;
    }
  };

  void SetUp() override {
    if (!etcd::testing::etcd_installed()) GTEST_SKIP() << "etcd is not installed (tools/bootstrap test installs it)";
    etcd_ = std::make_unique<EtcdCluster>(EtcdCluster::Setup{});
  }

  std::unique_ptr<TestNode> make(const std::string& name, const char* address, const std::string& more = {}) {
    auto made = std::make_unique<TestNode>();
    made->config =
        parse_config("weftd.yaml", "store: etcd\netcd_endpoints: [\"" + etcd_->endpoint(0) +
                                       "\"]\nlease_seconds: 2\nreclaim_seconds: 4\n" + more + "node: " + name)
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
    node.link->claim("default", family, [&](const Result<void>& claimed) { answer = claimed; });
    return run_until([&] { return answer.has_value(); }) && answer->has_value();
  }
  static std::vector<Cidr> usable(const TestNode& node, const std::string& pool = "default") {
    return node.link->usable_blocks()[pool];
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
  EXPECT_THAT(usable(*a), SizeIs(2));
  EXPECT_EQ(a->link->gateways().at(Family::v4), usable(*a).front().address().plus(1));
  a->link->tell(a->node);  // its gateways
  const LabelMap labels{{"k8s:app", "web"}};
  a->link->need({labels});
  ASSERT_TRUE(run_until([&] { return !a->numbers.empty(); }));
  const auto number = a->numbers.begin()->first;
  const auto mine = usable(*a).front().address().plus(9);
  a->link->tell({{{"shop", "web"}, {.addresses = {mine}, .identity = number, .ports = {}}}});
  ASSERT_TRUE(run_until([&] {
    const auto& view = b->view();
    return view.known && b->link->pods().size() == 1 && view.plan.blocks.size() == 2 && view.plan.addresses.size() == 3;
  }));
  // Another mirror, which may hear later.
  ASSERT_TRUE(run_until([&] { return b->link->status_json()["alive"] == 2; }));
  const auto view = b->view();
  const auto told = b->link->pods().at(mine);
  ASSERT_THAT(told, SizeIs(1));
  EXPECT_EQ(told[0].name.to_string(), "shop/web");
  EXPECT_EQ(told[0].node, "a");
  EXPECT_EQ(told[0].told.identity, number);
  EXPECT_EQ(view.plan.reach.at("a").way, WEFT_WAY_DIRECT);
  EXPECT_TRUE(run_until([&] { return b->numbers.contains(number); }));
  EXPECT_EQ(b->numbers.at(number), labels);
  EXPECT_THAT(b->link->nodes_json(view), SizeIs(2));

  // What changes is told once: the pod and both of its addresses, and no other view.
  (void)b->link->news(b->node, {}, view);
  a->link->tell({{{"shop", "web"}, {.addresses = {mine.plus(1)}, .identity = number, .ports = {}}}});
  OthersChange change;
  ASSERT_TRUE(run_until([&] {
    auto news = b->link->news(b->node, {}, view);
    EXPECT_FALSE(news.view);
    change.merge(std::move(news.pods));
    return change.addresses.size() == 2;
  }));
  EXPECT_EQ(change.pods, (std::set<model::ObjectKey>{{"shop", "web"}}));
  EXPECT_FALSE(change.all);
}

// What this node finds out by itself, and who has an egress address: another view each, once.
TEST_F(ClusterLinkTest, DevicesThatEncryptSilenceAndHoldersOfAddressesMakeAnotherView) {
  const auto a = make("a", "192.0.2.1", "encryption: wireguard\n");
  const auto b = make("b", "192.0.2.2");
  ASSERT_TRUE(run_until([&] { return a->view().plan.reach.contains("b") && a->view().nodes.at("b").alive; }));
  const auto other_view = [&] {
    auto news = a->link->news(a->node, a->seen, a->taken_in);
    if (!news.view) return false;
    a->taken_in = std::move(*news.view);
    return true;
  };
  const auto row = [&] { return a->taken_in.plan.nodes.at(a->taken_in.plan.reach.at("b").number); };
  EXPECT_FALSE(other_view());
  EXPECT_EQ(row().way, WEFT_WAY_DIRECT);
  a->seen.wireguard["b"] = 0;
  EXPECT_TRUE(other_view());
  EXPECT_EQ(row().way, WEFT_WAY_REFUSED);
  a->seen.wireguard["b"] = 7;
  EXPECT_TRUE(other_view());
  EXPECT_EQ(row().way, WEFT_WAY_WIREGUARD);
  EXPECT_EQ(row().ifindex, 7U);
  a->seen.silent = {.any = {"b"}, .pods = {"b"}};
  EXPECT_TRUE(other_view());
  EXPECT_FALSE(a->taken_in.nodes.at("b").answers);
  EXPECT_FALSE(a->taken_in.gone("b")) << "its lease stands";
  EXPECT_EQ(row().ifindex, 7U);
  EXPECT_FALSE(other_view());
  a->seen.cut_off = true;
  EXPECT_TRUE(other_view());
  EXPECT_TRUE(a->taken_in.gone("b")) << "what was heard of its lease is old";
  a->seen.cut_off = false;
  EXPECT_TRUE(other_view());
  a->seen.silent = {};
  EXPECT_TRUE(other_view());
  EXPECT_TRUE(a->taken_in.nodes.at("b").answers);
  b->link->claim_addresses({ip("192.0.2.77")});
  const std::map<IpAddress, std::string> holders{{ip("192.0.2.77"), "b"}};
  ASSERT_TRUE(run_until([&] { return other_view() && a->taken_in.egress_holders == holders; }));
  EXPECT_FALSE(other_view());
}

// Somebody who may write to etcd says of addresses what he likes.
TEST_F(ClusterLinkTest, WhatIsNotBorneOutByClaimsOfBlocksCountsForNothingAndIsAFault) {
  const auto a = make("a", "192.0.2.1");
  const auto b = make("b", "192.0.2.2");
  ASSERT_TRUE(claim(*a, Family::v4));
  ASSERT_TRUE(claim(*b, Family::v4));
  const auto keys = cluster::Keyspace::make("default").value();
  const auto put = [&](const std::string& key, const std::string& value) {
    bool done = false;
    a->link->client().put({.key = key, .value = value, .lease = 0}, {},
                          [&](const auto& outcome) { done = outcome.has_value(); });
    ASSERT_TRUE(run_until([&] { return done; }));
  };
  const auto stolen = usable(*b).front().address().plus(9);
  put(keys.build(cluster::AliveKey{"evil"}), encode(cluster::Incarnation{"evil", "x"}));
  put(keys.build(cluster::NodeKey{"evil"}),
      encode(cluster::NodeRecord{.boot_id = "x",
                                 .underlay = {ip("192.0.2.66"), ip("fd00:10:244:5::9")},
                                 .gateways = {a->link->gateways().at(Family::v4)}}));
  put(keys.build(cluster::BlockKey{{"fixed", *Cidr::parse("198.51.100.0/24")}}),
      encode(cluster::Incarnation{"evil", "x"}));
  put(keys.build(cluster::EndpointsKey{"evil"}),
      encode(cluster::NodeEndpoints{"x",
                                    {{{"shop", "web"}, {.addresses = {ip("1.1.1.1")}, .identity = 300, .ports = {}}},
                                     {{"shop", "other"}, {.addresses = {stolen}, .identity = 300, .ports = {}}}}}));
  ASSERT_TRUE(
      run_until([&] { return a->view().plan.reach.contains("evil") && a->link->pods().count_of("evil") == 2; }));
  ASSERT_TRUE(run_until([&] { return a->view().plan.blocks.size() == 1; })) << "b's";
  EXPECT_THAT(a->link->pods().at(stolen), SizeIs(0));
  EXPECT_THAT(a->link->pods().at(ip("1.1.1.1")), SizeIs(0));
  EXPECT_FALSE(a->view().plan.addresses.contains(ip("fd00:10:244:5::9")));
  EXPECT_FALSE(a->view().plan.addresses.contains(a->link->gateways().at(Family::v4)));
  EXPECT_TRUE(a->view().plan.addresses.contains(ip("192.0.2.66")));
  // It may be that other news are on their way: not at once.
  a->link->check();
  EXPECT_FALSE(a->faults.has("addresses of node evil"));
  ASSERT_TRUE(run_until([&] {
    a->link->check();
    return a->faults.has("addresses of node evil");
  }));
  const auto text = a->faults.texts().at("addresses of node evil");
  for (const auto& part : {"198.51.100.0/24 of pool \"fixed\"", "pod shop/web at 1.1.1.1", "gateway 10.244.",
                           "its address fd00:10:244:5::9, which is of pool"})
    EXPECT_THAT(text, HasSubstr(part));
  EXPECT_FALSE(a->faults.has("addresses of node b"));
  // The pool comes, later than the block.
  a->link->set_pools({{.name = "default", .ranges = {{*Cidr::parse("10.244.0.0/16"), 24}}},
                      {.name = "fixed", .ranges = {{*Cidr::parse("198.51.100.0/24"), 24}}}});
  EXPECT_EQ(a->view().plan.blocks.size(), 2U);
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
  EXPECT_THAT(usable(*a), SizeIs(0));
  EXPECT_FALSE(a->view().known);
  run_until([] { return false; }, seconds(4));
  a->link->check();
  ASSERT_TRUE(a->faults.has("cluster"));
  EXPECT_THAT(a->faults.texts().at("cluster"), HasSubstr("traffic goes on, changes wait"));
  etcd_->restart(0);
  ASSERT_TRUE(run_until([&] { return usable(*a).size() == 1 && a->view().known; }));
  EXPECT_EQ(a->view().plan.reach.at("b").number, number);
  EXPECT_FALSE(a->faults.has("cluster"));
}

// A lease lasts for a while without anybody at the other end.
TEST_F(ClusterLinkTest, ABrokenConnectionIsToldBeforeTheLeaseIsOver) {
  const auto a = make("a", "192.0.2.1");
  a->link.reset();
  a->config.lease_seconds = 30;
  a->config.reclaim_seconds = 60;
  open(*a);
  ASSERT_TRUE(run_until([&] { return a->link->joined() && a->link->member().registry().hears(); }));
  a->link->check();
  EXPECT_EQ(a->link->status_json()["unreachable_since"], "");
  etcd_->kill(0);
  const auto checked = [&](auto done) {
    return run_until([&] {
      a->link->check();
      return done();
    });
  };
  ASSERT_TRUE(checked([&] { return !a->link->status_json().value("unreachable_since", "").empty(); }));
  EXPECT_FALSE(a->faults.has("cluster")) << "it may come back at once";
  ASSERT_TRUE(checked([&] { return a->faults.has("cluster"); }));
  EXPECT_TRUE(a->link->joined());
  EXPECT_THAT(a->faults.texts().at("cluster"), HasSubstr("is away since"));
  EXPECT_NE(a->link->status_json()["problem"], "");
  etcd_->restart(0);
  ASSERT_TRUE(checked([&] { return !a->faults.has("cluster"); }));
  EXPECT_EQ(a->link->status_json()["unreachable_since"], "");
  EXPECT_EQ(a->link->status_json()["problem"], "");
}

TEST_F(ClusterLinkTest, AnotherAgentOfThisNameIsNamedAndEtcdIsNotBlamed) {
  const auto b = make("b", "192.0.2.2");
  ASSERT_TRUE(run_until([&] { return b->link->joined(); }));
  const auto key = cluster::Keyspace::make(b->config.cluster).value().build(cluster::AliveKey{"a"});
  auto& client = b->link->client();
  bool done = false;
  client.put({.key = key,
              .value = cluster::encode(cluster::Incarnation{"a", "elsewhere"}),
              .lease = b->link->member().registry().membership()->lease},
             {}, [&](const auto& put) { done = put.has_value(); });
  ASSERT_TRUE(run_until([&] { return done; }));
  const auto a = make("a", "192.0.2.1");
  ASSERT_TRUE(run_until([&] { return a->faults.has("cluster name"); }));
  EXPECT_THAT(a->faults.texts().at("cluster name"), HasSubstr("one of this name with boot id elsewhere"));
  EXPECT_THAT(a->faults.remedy("cluster name"), HasSubstr("another name"));
  run_until([] { return false; }, seconds(4));
  a->link->check();
  EXPECT_FALSE(a->faults.has("cluster")) << a->faults.texts().at("cluster");
  EXPECT_THAT(a->link->status_json()["refused"].get<std::string>(), HasSubstr("elsewhere"));
  done = false;
  client.erase({etcd::Keys::one(key)}, {}, [&](const auto& erased) { done = erased.has_value(); });
  ASSERT_TRUE(run_until([&] { return done && a->link->joined(); }));
  EXPECT_EQ(a->link->status_json()["refused"], "");
  EXPECT_FALSE(a->faults.has("cluster name"));
}

TEST_F(ClusterLinkTest, NodesTellWhatTheyAreConfiguredWithAndWhatTimeItIs) {
  const auto a = make("a", "192.0.2.1", "tunnel: vxlan\n");
  const auto b = make("b", "192.0.2.2", "tunnel: geneve\n");
  const auto& nodes = b->link->member().registry().nodes();
  ASSERT_TRUE(run_until([&] { return nodes.contains("a") && nodes.at("a").record; }));
  const auto& record = *nodes.at("a").record;
  EXPECT_EQ(record.settings, shared_settings(a->config));
  EXPECT_EQ(losing(differences(shared_settings(b->config), record)), "tunnel: vxlan there, geneve here");
  EXPECT_NEAR(static_cast<double>(record.written), static_cast<double>(std::time(nullptr)), 60);
  const auto items = b->link->nodes_json(b->view());
  for (const auto& item : items) EXPECT_EQ(item["clock_difference_seconds"], 0) << item;
}

TEST_F(ClusterLinkTest, ANodeAtTheEdgeGivesAddressesWithoutEtcdAlsoAfterARestart) {
  const auto a = make("a", "192.0.2.1", "edge: true\n");
  const auto b = make("b", "192.0.2.2");
  ASSERT_TRUE(claim(*a, Family::v4));
  ASSERT_TRUE(claim(*b, Family::v4));
  a->link.reset();
  b->link.reset();
  etcd_->kill(0);
  open(*a);
  open(*b);
  EXPECT_THAT(usable(*a), SizeIs(1));
  EXPECT_THAT(usable(*b), SizeIs(0));
  // It is no longer to be kept: what it was before counts for nothing then.
  a->link.reset();
  a->config.edge = false;
  open(*a);
  EXPECT_THAT(usable(*a), SizeIs(0));
  a->link.reset();
  a->config.edge = true;
  open(*a);
  EXPECT_THAT(usable(*a), SizeIs(0)) << "others have not heard that it is again";
}

TEST_F(ClusterLinkTest, WhatANodeAtTheEdgeHasGoesToOthersOnlyOnceItIsDeleted) {
  const auto a = make("a", "192.0.2.1");
  auto b = make("b", "192.0.2.2", "edge: true\n");
  ASSERT_TRUE(claim(*b, Family::v4));
  const auto blocks = [&] { return a->view().plan.blocks.size(); };
  ASSERT_TRUE(run_until([&] { return blocks() == 1; }));
  const auto forget = [&](const std::string& name) {
    std::optional<Result<void>> answer;
    a->link->forget_node(name, [&](const Result<void>& done) { answer = done; });
    run_until([&] { return answer.has_value(); });
    return answer->has_value() ? std::string() : answer->error().message;
  };
  EXPECT_THAT(forget("c"), HasSubstr("no node c in cluster"));
  EXPECT_THAT(forget("b"), HasSubstr("node b is alive"));
  b->link.reset();
  ASSERT_TRUE(run_until([&] { return a->link->status_json()["alive"] == 1; }));
  run_until([] { return false; }, seconds(8));
  EXPECT_EQ(blocks(), 1U) << "longer than reclaim_seconds";
  EXPECT_EQ(forget("b"), "");
  ASSERT_TRUE(run_until([&] { return a->link->member().blocks().owners().empty(); }, seconds(30)));
}

TEST_F(ClusterLinkTest, BlocksThatHoldNothingAreGivenBackButNotTheGateways) {
  const auto a = make("a", "192.0.2.1");
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(claim(*a, Family::v4));
  const auto blocks = usable(*a);
  ASSERT_THAT(blocks, SizeIs(3));
  control::Ipam ipam({.cidrs = blocks, .gateways = a->link->gateways()}, {{blocks[2].address().plus(2), "pod"}}, {});
  a->link->release_unused(ipam);
  ASSERT_TRUE(run_until([&] { return usable(*a).size() == 2; }));
  EXPECT_THAT(usable(*a), UnorderedElementsAre(blocks[0], blocks[2]));
}

// A pool beside the first one: blocks of it come by need, by name too, and go when nothing of them is used.
TEST_F(ClusterLinkTest, BlocksOfAnotherPoolAreClaimedByNeedAndGoAtOnce) {
  const auto a = make("a", "192.0.2.1");
  const auto b = make("b", "192.0.2.2");
  ASSERT_TRUE(claim(*a, Family::v4));
  const auto keys = cluster::Keyspace::make("default").value();
  const cluster::Pool fixed{.name = "fixed", .ranges = {{*Cidr::parse("10.9.0.0/30"), 32}}};
  cluster::SharedObjects objects(
      {.client = a->link->client(), .scheduler = a->link->scheduler(), .random = etcd::system_random(), .keys = keys},
      "a", {});
  ASSERT_TRUE(run_until([&] { return objects.state() == cluster::SharedObjects::State::unfounded; }));
  bool founded = false;
  objects.found({{.key = {"PodAddressPool", "", "fixed"}, .text = "p", .pool = fixed}},
                [&](const cluster::WriteResult& result) { founded = result.end == cluster::WriteResult::End::done; });
  ASSERT_TRUE(run_until([&] { return founded; }));
  a->link->member().blocks().pools_changed();
  AttachGate gate(loop_, *a->link, seconds(5));
  const cluster::Block third{"fixed", *Cidr::parse("10.9.0.2/32")};
  control::Ipam ipam({.cidrs = usable(*a), .gateways = a->link->gateways()}, {}, {});
  std::optional<Result<void>> passed;
  std::size_t while_held = 0;
  gate.pass({.labels = {}, .pools = {{"fixed", Family::v4}}, .blocks = {third}}, [&](const Result<void>& outcome) {
    passed = outcome;
    // Not while somebody is about to take addresses of them.
    EXPECT_FALSE(a->link->release_unused(ipam));
    while_held = usable(*a, "fixed").size();
  });
  ASSERT_TRUE(run_until([&] { return passed.has_value(); }));
  ASSERT_TRUE(*passed) << passed->error().message;
  EXPECT_EQ(while_held, 2U);
  EXPECT_THAT(usable(*a, "fixed"), Contains(third.cidr));
  EXPECT_THAT(usable(*a), SizeIs(1)) << "the gateway's is of the first pool";
  EXPECT_TRUE(run_until([&] { return b->link->owner_of(third) == "a"; }));
  std::optional<Result<void>> refused;
  b->link->claim(third, [&](const Result<void>& outcome) { refused = outcome; });
  ASSERT_TRUE(run_until([&] { return refused.has_value(); }));
  EXPECT_EQ(refused->error().message, "block 10.9.0.2/32 of pool \"fixed\" is node a's");
  EXPECT_TRUE(a->link->release_unused(ipam));
  EXPECT_THAT(usable(*a, "fixed"), SizeIs(0));
  EXPECT_TRUE(run_until([&] { return b->link->owner_of(third).empty(); }));
  refused.reset();
  b->link->claim(third, [&](const Result<void>& outcome) { refused = outcome; });
  ASSERT_TRUE(run_until([&] { return refused.has_value(); }));
  EXPECT_TRUE(*refused) << refused->error().message;
  EXPECT_THAT(usable(*b, "fixed"), UnorderedElementsAre(third.cidr));
}

TEST_F(ClusterLinkTest, TheGateWaitsForTheNumberAndTheBlockAndNotForEver) {
  const auto a = make("a", "192.0.2.1");
  AttachGate gate(loop_, *a->link, seconds(2));
  std::optional<Result<void>> passed;
  const auto tell = [&](const Result<void>& outcome) { passed = outcome; };
  gate.pass({}, tell);
  EXPECT_TRUE(passed.has_value());
  passed.reset();
  gate.pass({.labels = LabelMap{{"k8s:app", "db"}},
             .pools = {{"default", Family::v4}, {"default", Family::v6}},
             .blocks = {}},
            tell);
  EXPECT_FALSE(passed.has_value());
  ASSERT_TRUE(run_until([&] { return passed.has_value(); }));
  EXPECT_TRUE(*passed);
  EXPECT_THAT(usable(*a), SizeIs(2));
  EXPECT_THAT(a->numbers, Contains(std::pair(a->numbers.begin()->first, LabelMap{{"k8s:app", "db"}})));
  etcd_->kill(0);
  passed.reset();
  gate.pass({.labels = LabelMap{{"k8s:app", "new"}}, .pools = {}, .blocks = {}}, tell);
  ASSERT_TRUE(run_until([&] { return passed.has_value(); }));
  EXPECT_EQ(passed->error().code, ErrorCode::unavailable);
  // Sooner than that where the plugin waits for less, and with why, once that is known.
  a->link->check();
  EXPECT_THAT(a->link->absence(), HasSubstr("is away since"));
  passed.reset();
  const auto start = std::chrono::steady_clock::now();
  gate.pass({.labels = LabelMap{{"k8s:app", "newer"}}, .pools = {}, .blocks = {}}, tell,
            start + std::chrono::milliseconds(300));
  ASSERT_TRUE(run_until([&] { return passed.has_value(); }));
  EXPECT_LT(std::chrono::steady_clock::now() - start, seconds(2));
  EXPECT_THAT(passed->error().message, HasSubstr("etcd has not given the container's labels a number yet: etcd ("));
  EXPECT_THAT(passed->error().message, HasSubstr("is away since"));
}

}  // namespace
}  // namespace weft::agent
