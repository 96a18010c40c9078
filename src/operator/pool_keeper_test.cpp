// PodAddressPools of a Kubernetes cluster and the store that nodes claim blocks in: a real API double, etcd in memory.
#include "operator/pool_keeper.h"

#include "operator/kubernetes_testing.h"
#include "sources/cluster/values.h"
#include "sources/etcd/fake.h"

namespace weft::op::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class PoolKeeperTest : public KubernetesWorld {
 protected:
  cluster::Context context() {
    return {.client = *client,
            .scheduler = world.scheduler(),
            .random = kubernetes::testing::fixed_random(),
            .keys = cluster::Keyspace::make("c").value()};
  }
  std::unique_ptr<Operator> start_with_store(const std::string& name = "first") {
    auto one = std::make_unique<Operator>(world, server, name, context());
    EXPECT_TRUE(world.run_until([&] { return one->acts(); }));
    return one;
  }
  static std::string path(const std::string& pool) { return own_resources + "podaddresspools/" + pool; }
  // As users change it: what the operator wrote stays.
  void put_pod_pool(const std::string& name, const std::vector<std::string>& cidrs, int length = 26) {
    json list = json::array();
    for (const auto& cidr : cidrs) list.push_back({{"cidr", cidr}, {"blockLength", length}});
    auto now = object(path(name));
    if (now.is_null()) now = json::object();
    now["spec"] = {{"cidrs", list}};
    put(path(name), now);
  }
  void erase(const std::string& name) {
    EXPECT_EQ(server.store().erase(*kubernetes::testing::parse_path(path(name)), json::object()).code, 200);
  }
  // "blue 10.50.0.0/24 in blocks of /26; ...".
  std::string pools() {
    const auto found = etcd_.store().range({.keys = etcd::Keys::one("/weft/v1/c/pools")})->kvs;
    std::string all;
    if (found.empty()) return "none";
    const auto known = cluster::decode_pools("k", found.front().value).value();
    for (const auto& pool : known) all += (all.empty() ? "" : "; ") + pool.name + " " + pool.to_string();
    return all.empty() ? "none" : all;
  }
  bool become(const std::string& wanted) {
    const bool so = world.run_until([&] { return pools() == wanted; }, seconds(8));
    if (!so) ADD_FAILURE() << "pools are " << pools() << ", not " << wanted;
    return so;
  }
  void put_pools(const std::vector<cluster::Pool>& all) {
    ASSERT_TRUE(etcd_.store().put({.key = "/weft/v1/c/pools", .value = cluster::encode(all)}));
    etcd_.changed();
  }
  void claim(const std::string& pool, const std::string& block) {
    ASSERT_TRUE(etcd_.store().put({.key = "/weft/v1/c/blocks/" + pool + "/" + block,
                                   .value = cluster::encode(cluster::Incarnation{"node-a", "boot"})}));
  }
  void release(const std::string& pool) {
    ASSERT_TRUE(etcd_.store().erase({etcd::Keys::prefix("/weft/v1/c/blocks/" + pool + "/")}));
  }

  etcd::FakeCluster etcd_{world.scheduler()};
  std::unique_ptr<etcd::Client> client = etcd_.connect();
};

TEST_F(PoolKeeperTest, APoolIsBroughtIntoTheStoreAndItsStatusSaysSo) {
  put_pools({{.name = "default", .ranges = {{Cidr::parse("10.244.0.0/16").value(), 24}}}});
  put_pod_pool("blue", {"10.50.0.0/24"});
  const auto one = start_with_store();
  ASSERT_TRUE(become("default 10.244.0.0/16 in blocks of /24; blue 10.50.0.0/24 in blocks of /26"));
  ASSERT_TRUE(says(path("blue"), "Accepted", "True Accepted"));
  EXPECT_EQ(object(path("blue"))["metadata"]["finalizers"], json({"weft.io/pool"}));
  EXPECT_EQ(status(path("blue"))["cidrs"], json::parse(R"([{"cidr": "10.50.0.0/24", "blockLength": 26}])"));
  EXPECT_EQ(status(path("blue"))["addresses"]["total"], 256);
  put_pod_pool("blue", {"10.50.0.0/24", "10.51.0.0/24"});
  ASSERT_TRUE(
      become("default 10.244.0.0/16 in blocks of /24; blue 10.50.0.0/24 in blocks of /26, 10.51.0.0/24 in "
             "blocks of /26"));
  ASSERT_TRUE(world.run_until([&] { return status(path("blue"))["cidrs"].size() == 2; }));
  world.run_for(milliseconds(200));
  const auto before = writes();
  world.run_for(milliseconds(2500));
  EXPECT_EQ(writes(), before) << "what is so is not written again";
}

TEST_F(PoolKeeperTest, PoolsThatSomebodyTakesAwayAreWrittenAgainAtOnce) {
  put_pools({{.name = "default", .ranges = {{Cidr::parse("10.244.0.0/16").value(), 24}}}});
  claim("default", "10.244.3.0/24");
  put_pod_pool("blue", {"10.50.0.0/24"});
  const auto one = start_with_store();
  ASSERT_TRUE(become("default 10.244.0.0/16 in blocks of /24; blue 10.50.0.0/24 in blocks of /26"));
  world.run_for(milliseconds(300));
  const auto take_away = [&] {
    ASSERT_TRUE(etcd_.store().erase({etcd::Keys::one("/weft/v1/c/pools")}));
    etcd_.changed();
  };
  take_away();
  EXPECT_TRUE(world.run_until([&] { return pools().find("default") == 0 && pools().find("blue") != std::string::npos; },
                              seconds(1)))
      << pools();
  // One without blocks is nobody's.
  release("default");
  put_pools({{.name = "default", .ranges = {{Cidr::parse("10.244.0.0/16").value(), 24}}}});
  world.run_for(milliseconds(1000));
  take_away();
  ASSERT_TRUE(become("blue 10.50.0.0/24 in blocks of /26"));
}

TEST_F(PoolKeeperTest, APoolGoesWhenItHasNoBlocks) {
  put_pod_pool("blue", {"10.50.0.0/24"});
  const auto one = start_with_store();
  ASSERT_TRUE(become("blue 10.50.0.0/24 in blocks of /26"));
  ASSERT_TRUE(says(path("blue"), "Accepted", "True"));
  claim("blue", "10.50.0.64/26");
  erase("blue");
  ASSERT_TRUE(
      says(path("blue"), "Accepted", "False InUse PodAddressPool blue is in use: 10.50.0.64/26 of node node-a"));
  EXPECT_EQ(pools(), "blue 10.50.0.0/24 in blocks of /26");
  ASSERT_TRUE(world.run_until([&] { return !one->events.empty(); }));
  EXPECT_THAT(one->told(), ElementsAre(HasSubstr("InUse blue PodAddressPool blue is in use")));
  release("blue");
  ASSERT_TRUE(world.run_until([&] { return object(path("blue")).is_null(); }));
  EXPECT_EQ(pools(), "none");
}

TEST_F(PoolKeeperTest, AChangeThatCutsBlocksInUseIsNotMade) {
  put_pod_pool("blue", {"10.50.0.0/24"});
  const auto one = start_with_store();
  ASSERT_TRUE(become("blue 10.50.0.0/24 in blocks of /26"));
  claim("blue", "10.50.0.64/26");
  put_pod_pool("blue", {"10.50.0.0/24"}, 28);
  ASSERT_TRUE(says(path("blue"), "Accepted", "False InUse"));
  EXPECT_THAT(condition(path("blue"), "Accepted"), HasSubstr("the cluster goes on with 10.50.0.0/24 in blocks of /26"));
  EXPECT_EQ(status(path("blue"))["cidrs"][0]["blockLength"], 26) << "nodes go by that";
  put_pod_pool("blue", {"10.50.0.0/24"});
  ASSERT_TRUE(says(path("blue"), "Accepted", "True"));
  put_pod_pool("blue", {"10.50.0.0/24"}, 28);
  ASSERT_TRUE(says(path("blue"), "Accepted", "False"));
  release("blue");
  ASSERT_TRUE(become("blue 10.50.0.0/24 in blocks of /28"));
  ASSERT_TRUE(says(path("blue"), "Accepted", "True"));
}

TEST_F(PoolKeeperTest, WhatOverlapsIsRefused) {
  put_pools({{.name = "default", .ranges = {{Cidr::parse("10.244.0.0/16").value(), 24}}}});
  put_pool("public", {"192.0.2.0/28"});
  put_pod_pool("blue", {"10.244.7.0/24"});
  put_pod_pool("green", {"192.0.2.0/24"});
  put_pod_pool("odd", {"10.60.0.0/24"}, 99);
  const auto one = start_with_store();
  ASSERT_TRUE(says(path("blue"), "Accepted", "False Overlaps 10.244.0.0/16 of pool \"default\" overlaps"));
  ASSERT_TRUE(says(path("green"), "Accepted", "False Overlaps 192.0.2.0/24 has addresses of LoadBalancerPool public"));
  ASSERT_TRUE(says(path("odd"), "Accepted", "False Invalid it is not understood: spec.cidrs[0].blockLength"));
  EXPECT_FALSE(status(path("blue")).contains("cidrs"));
  put_pool("more", {"10.244.1.0/28"});
  ASSERT_TRUE(says(own_resources + "loadbalancerpools/more", "Accepted",
                   "False Overlaps it has addresses of 10.244.0.0/16, which are pods'"));
  erase("green");
  ASSERT_TRUE(world.run_until([&] { return object(path("green")).is_null(); }));
}

TEST_F(PoolKeeperTest, NothingIsLostWhereOneStopsAndAnotherGoesOn) {
  put_pod_pool("blue", {"10.50.0.0/24"});
  auto one = start_with_store("first");
  ASSERT_TRUE(become("blue 10.50.0.0/24 in blocks of /26"));
  one.reset();
  erase("blue");
  put_pod_pool("green", {"10.51.0.0/24"});
  EXPECT_FALSE(object(path("blue")).is_null()) << "it waits for an operator";
  one = start_with_store("second");
  ASSERT_TRUE(become("green 10.51.0.0/24 in blocks of /26"));
  ASSERT_TRUE(world.run_until([&] { return object(path("blue")).is_null(); }));
}

TEST_F(PoolKeeperTest, TroubleOfBothServers) {
  const auto one = start_with_store();
  etcd_.lose_answers(3);
  put_pod_pool("a", {"10.50.0.0/24"});
  ASSERT_TRUE(become("a 10.50.0.0/24 in blocks of /26"));
  etcd_.set_available(false);
  put_pod_pool("b", {"10.51.0.0/24"});
  world.run_for(milliseconds(300));
  EXPECT_EQ(condition(path("b"), "Accepted"), "none") << "nobody knows yet";
  etcd_.set_available(true);
  ASSERT_TRUE(become("a 10.50.0.0/24 in blocks of /26; b 10.51.0.0/24 in blocks of /26"));
  server.fail({.method = "PATCH", .path_contains = "podaddresspools", .status = 409, .times = 3});
  put_pod_pool("c", {"10.52.0.0/24"});
  ASSERT_TRUE(says(path("c"), "Accepted", "True"));
  // Erased past the finalizer.
  server.store().remove(path("a"));
  ASSERT_TRUE(become("b 10.51.0.0/24 in blocks of /26; c 10.52.0.0/24 in blocks of /26"));
}

// A node by itself has all of a pool.
TEST_F(PoolKeeperTest, WithoutAStoreItIsOnlyLookedAt) {
  put_pod_pool("blue", {"10.50.0.0/24"});
  const auto one = start_acting();
  ASSERT_TRUE(says(path("blue"), "Accepted", "True"));
  EXPECT_FALSE(object(path("blue"))["metadata"].contains("finalizers"));
  put_pool("public", {"10.50.0.7"});
  ASSERT_TRUE(says(own_resources + "loadbalancerpools/public", "Accepted", "False Overlaps"));
}

}  // namespace
}  // namespace weft::op::testing
