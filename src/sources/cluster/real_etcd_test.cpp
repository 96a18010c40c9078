// The same against a real etcd, with many nodes at once.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <set>

#include "sources/cluster/member.h"
#include "sources/cluster/shared_objects.h"
#include "sources/cluster/testing/replica.h"
#include "sources/etcd/testing/world.h"

namespace weft::cluster::testing {
namespace {

using etcd::testing::EtcdCluster;
using etcd::testing::LoopWorld;

class ClusterOnEtcd : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!etcd::testing::etcd_installed()) GTEST_SKIP() << "etcd is not installed (tools/bootstrap test installs it)";
    cluster_ = std::make_unique<EtcdCluster>(EtcdCluster::Setup{});
  }
  // Each node by a connection of its own, as on machines of their own.
  void start(int count, const std::vector<Pool>& pools) {
    for (int i = 0; i < count; ++i) {
      clients_.push_back(world_.connect(LoopWorld::options(cluster_->endpoints())));
      MemberOptions options;
      options.self = {.name = fmt::format("node-{}", i), .boot_id = "boot", .predecessor = {}, .record = {}};
      options.pools = pools;
      options.backoff = {std::chrono::milliseconds(20), std::chrono::milliseconds(200)};
      ASSERT_TRUE(validate(options));
      members_.push_back(std::make_unique<Member>(
          *clients_.back(), world_.scheduler(), etcd::testing::fixed_random(), options,
          MemberHandlers{.trouble = [](const Error& error) { ADD_FAILURE() << error.message; }}));
    }
  }

  LoopWorld world_;
  std::unique_ptr<EtcdCluster> cluster_;
  std::vector<std::unique_ptr<etcd::Client>> clients_;
  std::vector<std::unique_ptr<Member>> members_;
};

TEST_F(ClusterOnEtcd, TwentyNodesClaimAllBlocksAtOnceAndAgreeOnNumbers) {
  constexpr int nodes = 20;
  const std::vector<Pool> pools{{.name = "p",
                                 .ranges = {{.cidr = Cidr::parse("10.0.0.0/19").value(), .block_length = 24},
                                            {.cidr = Cidr::parse("10.1.0.0/21").value(), .block_length = 24},
                                            {.cidr = Cidr::parse("fd00::/56").value(), .block_length = 64}}}};
  start(nodes, pools);
  std::multiset<Block> blocks;
  int answers = 0;
  std::map<LabelMap, std::set<IdentityNumber>> numbers;
  for (const auto& member : members_) {
    // 40 IPv4 blocks, two for each node; the labels are the same on all.
    for (const auto family : {Family::v4, Family::v4, Family::v6})
      member->blocks().claim("p", family, [&](const Result<Block>& block) {
        ++answers;
        ASSERT_TRUE(block) << block.error().message;
        blocks.insert(*block);
      });
    for (int i = 0; i < 5; ++i) {
      const LabelMap labels{{"k8s:app", std::to_string(i)}};
      member->identities().acquire(labels, [&, labels](const Result<IdentityNumber>& number) {
        ++answers;
        ASSERT_TRUE(number) << number.error().message;
        numbers[labels].insert(*number);
      });
    }
  }
  ASSERT_TRUE(world_.run_until([&] { return answers == nodes * 8; })) << answers;
  EXPECT_EQ(blocks.size(), 60U);
  for (const auto& block : blocks) EXPECT_EQ(blocks.count(block), 1U) << block.to_string();
  std::set<IdentityNumber> all;
  for (const auto& [labels, said] : numbers) {
    EXPECT_EQ(said.size(), 1U);
    all.insert(said.begin(), said.end());
  }
  EXPECT_EQ(all.size(), 5U);

  std::optional<Error> none;
  members_[0]->blocks().claim("p", Family::v4, [&](const Result<Block>& block) { none = block.error(); });
  ASSERT_TRUE(world_.run_until([&] { return none.has_value(); }));
  EXPECT_EQ(none->code, ErrorCode::exhausted);
  ASSERT_TRUE(world_.run_until([&] { return members_[1]->registry().nodes().size() == nodes; }));
}

TEST_F(ClusterOnEtcd, EightNodesClaimOfThreePoolsAtOnceWhileTwoOfThemAreAdded) {
  constexpr std::size_t nodes = 8;
  const auto range = [](const char* cidr, unsigned length) { return PoolRange{Cidr::parse(cidr).value(), length}; };
  start(nodes, {{.name = "default", .ranges = {range("10.0.0.0/20", 24), range("fd00::/60", 64)}}});
  const Pool blue{.name = "blue", .ranges = {range("10.1.0.0/27", 30)}};
  const Pool fixed{.name = "fixed", .ranges = {range("10.2.0.0/27", 32)}};
  std::vector<std::unique_ptr<SharedObjects>> objects;
  for (std::size_t i = 0; i < nodes; ++i)
    objects.push_back(std::make_unique<SharedObjects>(
        Context{.client = *clients_[i],
                .scheduler = world_.scheduler(),
                .random = etcd::testing::fixed_random(),
                .keys = Keyspace::make("default").value()},
        fmt::format("node-{}", i),
        SharedObjectsHandlers{.changed = [this, i](const auto&) { members_[i]->blocks().pools_changed(); }}));
  const auto write_of = [](const Pool& pool) {
    return SharedWrite{.key = {"PodAddressPool", "", pool.name}, .text = "p", .pool = pool};
  };
  ASSERT_TRUE(world_.run_until([&] { return objects[0]->state() == SharedObjects::State::unfounded; }));
  int defined = 0;
  objects[0]->found({write_of(blue)}, [&](const WriteResult& result) {
    EXPECT_EQ(result.end, WriteResult::End::done);
    ++defined;
  });
  ASSERT_TRUE(world_.run_until([&] {
    return std::ranges::all_of(objects,
                               [](const auto& one) { return one->state() == SharedObjects::State::following; });
  }));
  std::multiset<Cidr> cidrs;
  int claimed = 0;
  // Asked for again until there is such a pool.
  std::function<void(std::size_t, const std::string&)> claim = [&](std::size_t i, const std::string& pool) {
    members_[i]->blocks().claim(pool, Family::v4, [&, i, pool](const Result<Block>& block) {
      if (!block && block.error().code == ErrorCode::not_found)
        return world_.scheduler().post([&, i, pool] { claim(i, pool); });
      ++claimed;
      ASSERT_TRUE(block) << block.error().message;
      cidrs.insert(block->cidr);
    });
  };
  for (std::size_t i = 0; i < nodes; ++i) {
    for (const auto* pool : {"default", "default", "blue"}) claim(i, pool);
    for (int k = 0; k < 4; ++k) claim(i, "fixed");  // all there are
  }
  objects[3]->write({write_of(fixed)}, false, [&](const WriteResult& result) {
    EXPECT_EQ(result.end, WriteResult::End::done);
    ++defined;
  });
  ASSERT_TRUE(world_.run_until([&] { return claimed == nodes * 7 && defined == 2; }, std::chrono::seconds(60)))
      << claimed << " " << defined;
  EXPECT_EQ(cidrs.size(), nodes * 7);
  for (auto at = cidrs.begin(); at != cidrs.end() && std::next(at) != cidrs.end(); ++at)
    EXPECT_FALSE(at->contains(*std::next(at)) || std::next(at)->contains(*at)) << at->to_string();
  // All are in use: none of them goes.
  std::string refused;
  objects[5]->write({{.key = {"PodAddressPool", "", "fixed"}, .pool = Pool{.name = "fixed", .ranges = {}}}}, false,
                    [&](const WriteResult& result) { refused = result.error ? result.error->message : "gone"; });
  ASSERT_TRUE(world_.run_until([&] { return !refused.empty(); }));
  EXPECT_NE(refused.find("PodAddressPool fixed is in use: "), std::string::npos) << refused;
  EXPECT_NE(refused.find(" and 29 more blocks"), std::string::npos) << refused;
}

TEST_F(ClusterOnEtcd, TwentyNodesKnowThePodsOfAllWhileTheyChange) {
  constexpr int nodes = 20;
  start(nodes, {});
  const auto pods_at = [](int node, int turn) {
    SharedEndpoints pods;
    for (int i = 0; i < 50; ++i)
      pods[{"shop", fmt::format("web-{}-{}", node, i + turn)}] = {
          .addresses = {IpAddress::parse(fmt::format("10.{}.0.{}", node, i)).value()},
          .identity = 300,
          .ports = {{"http", 8080, Protocol::tcp}}};
    return pods;
  };
  for (int turn = 0; turn < 20; ++turn) {
    for (int i = 0; i < nodes; ++i)
      members_[static_cast<std::size_t>(i)]->endpoint_publisher().publish(pods_at(i, turn));
    world_.run_for(std::chrono::milliseconds(30));
  }
  const auto all_agree = [&] {
    for (const auto& member : members_)
      for (int i = 0; i < nodes; ++i)
        if (member->endpoints().pods_of(fmt::format("node-{}", i)) != pods_at(i, 19)) return false;
    return true;
  };
  EXPECT_TRUE(world_.run_until(all_agree));
}

TEST_F(ClusterOnEtcd, FiveNodesGiveOutNumbersAtOnceAndWriteHundredsOfObjects) {
  constexpr std::size_t nodes = 5;
  std::vector<std::unique_ptr<Replica>> replicas;
  for (std::size_t i = 0; i < nodes; ++i) {
    clients_.push_back(world_.connect(LoopWorld::options(cluster_->endpoints())));
    replicas.push_back(std::make_unique<Replica>(*clients_.back(), world_.scheduler(), fmt::format("node-{}", i)));
  }
  const auto all = [&](auto holds) { return std::ranges::all_of(replicas, holds); };
  ASSERT_TRUE(world_.run_until(
      [&] { return all([](const auto& one) { return one->shared.state() == SharedObjects::State::unfounded; }); }));
  int answers = 0;
  std::vector<SharedWrite> many;
  for (int i = 0; i < 1000; ++i) many.push_back({.key = {"Pod", "shop", fmt::format("p-{}", i)}, .text = "x"});
  replicas[0]->shared.found(many, [&](const WriteResult& result) {
    ++answers;
    EXPECT_EQ(result.end, WriteResult::End::done) << result.error->message;
  });
  ASSERT_TRUE(world_.run_until(
      [&] { return answers == 1 && all([](const auto& one) { return one->objects.size() == 1000; }); }));
  for (int round = 0; round < 10; ++round)
    for (std::size_t i = 0; i < nodes; ++i) replicas[i]->want_number(fmt::format("s-{}-{}", i, round), 200);
  ASSERT_TRUE(world_.run_until([&] { return all([](const auto& one) { return one->wanting == 0; }); },
                               std::chrono::seconds(60)));
  ASSERT_TRUE(
      world_.run_until([&] { return all([&](const auto& one) { return one->text() == replicas[0]->text(); }); }));
  std::set<std::string> numbers;
  for (const auto& [key, number] : replicas[0]->assignments) EXPECT_TRUE(numbers.insert(number).second) << number;
  EXPECT_EQ(numbers.size(), nodes * 10) << replicas[0]->last_error;
  // Deleted in parts, by another one.
  std::vector<SharedWrite> gone;
  for (int i = 0; i < 1000; ++i) gone.push_back({.key = {"Pod", "shop", fmt::format("p-{}", i)}});
  replicas[1]->shared.write(gone, false, [&](const WriteResult& result) {
    ++answers;
    EXPECT_EQ(result.applied, 1000U);
  });
  ASSERT_TRUE(world_.run_until(
      [&] { return answers == 2 && all([&](const auto& one) { return one->objects.size() == nodes * 10; }); }));
}

}  // namespace
}  // namespace weft::cluster::testing
