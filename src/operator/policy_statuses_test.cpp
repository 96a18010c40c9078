// Which nodes enforce which policy, as objects: a real API double, etcd in memory for what nodes tell.
#include "operator/policy_statuses.h"

#include "operator/kubernetes_testing.h"
#include "sources/cluster/values.h"
#include "sources/etcd/fake.h"

namespace weft::op::testing {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

const std::string policies = "/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies/";
const std::string statuses = own_resources + "namespaces/shop/weftpolicystatuses/";

class PolicyStatusesTest : public KubernetesWorld {
 protected:
  PolicyStatusesTest() { install(); }
  void install() {
    server.store().add_resource(
        own_resources + "weftpolicystatuses",
        {.kind = "WeftPolicyStatus", .api_version = "weft.io/v1alpha1", .namespaced = true, .status = false});
  }
  std::unique_ptr<Operator> start_with_store(const std::string& name = "first") {
    auto one = std::make_unique<Operator>(world, server, name,
                                          cluster::Context{.client = *client_,
                                                           .scheduler = world.scheduler(),
                                                           .random = kubernetes::testing::fixed_random(),
                                                           .keys = cluster::Keyspace::make("c").value(),
                                                           .lease = seconds(1)});
    EXPECT_TRUE(world.run_until([&] { return one->acts(); }));
    return one;
  }
  // The version that the server gives it.
  std::uint64_t put_policy(const std::string& name, int generation, const std::string& uid = "u") {
    const auto version = server.store().put(policies + name, {{"metadata", {{"uid", uid}, {"generation", generation}}},
                                                              {"spec", {{"podSelector", json::object()}}}});
    return static_cast<std::uint64_t>(version);
  }
  std::string uid_of(const std::string& name) { return object(policies + name)["metadata"]["uid"]; }
  void alive(const std::string& node, const std::string& boot = "boot") {
    ASSERT_TRUE(etcd_.store().put(
        {.key = "/weft/v1/c/alive/" + node, .value = cluster::encode(cluster::Incarnation{node, boot})}));
    etcd_.changed();
  }
  void away(const std::string& node) {
    ASSERT_TRUE(etcd_.store().erase({etcd::Keys::one("/weft/v1/c/alive/" + node)}));
    etcd_.changed();
  }
  struct Tells {
    std::string name;
    std::uint64_t generation = 1;
    std::string reason;
  };
  void tells(const std::string& node, std::uint64_t seen, const std::vector<Tells>& list) {
    cluster::Enforcement told{.boot_id = "boot", .seen = seen, .policies = {}};
    for (const auto& one : list)
      told.policies.push_back({.namespace_ = "shop",
                               .name = one.name,
                               .uid = uid_of(one.name),
                               .version = {one.generation, {}},
                               .reason = one.reason,
                               .kept = {}});
    ASSERT_TRUE(etcd_.store().put({.key = "/weft/v1/c/enforcement/" + node, .value = cluster::encode(told)}));
    etcd_.changed();
  }
  bool becomes_status(const std::string& name, const std::string& wanted) {
    const auto now = [&] {
      if (object(statuses + name).is_null()) return std::string("nothing");
      const auto said = status(statuses + name);
      return fmt::format("{} of {}: {}", said.value("summary", "-"), said.value("observedGeneration", 0),
                         condition(statuses + name, "Enforced"));
    };
    const bool so = world.run_until([&] { return now().starts_with(wanted); }, seconds(10));
    if (!so) ADD_FAILURE() << name << " says " << now() << ", not " << wanted;
    return so;
  }
  [[nodiscard]] std::size_t status_writes() {
    return static_cast<std::size_t>(std::ranges::count_if(server.requests(), [](const std::string& one) {
      return !one.starts_with("GET") && one.find("weftpolicystatuses") != std::string::npos;
    }));
  }

  etcd::FakeCluster etcd_{world.scheduler()};
  std::unique_ptr<etcd::Client> client_ = etcd_.connect();
};

TEST_F(PolicyStatusesTest, APolicyIsFollowedFromNodeToNode) {
  const auto first = put_policy("web", 1);
  for (const auto* node : {"a", "b", "c"}) alive(node);
  tells("a", first, {{"web", 1}});
  tells("b", first, {{"web", 1}});
  tells("c", first, {});
  const auto one = start_with_store();
  ASSERT_TRUE(becomes_status("web", "2/2 of 1: True Enforced"));
  const auto made = object(statuses + "web");
  EXPECT_EQ(made["metadata"]["ownerReferences"][0]["kind"], "NetworkPolicy");
  EXPECT_EQ(made["metadata"]["ownerReferences"][0]["uid"], uid_of("web"));
  // It changes: nobody has said yet that it knows of that.
  const auto second = put_policy("web", 2);
  ASSERT_TRUE(becomes_status("web", "0/2 of 2: Unknown NodesBehind a, b, c: it has not told yet"));
  EXPECT_EQ(status(statuses + "web")["nodesBehind"][0]["generation"], 1);
  tells("a", second, {{"web", 2}});
  tells("b", second, {{"web", 2}});
  ASSERT_TRUE(becomes_status("web", "2/2 of 2: Unknown NodesBehind c")) << "it may select pods of c now";
  tells("c", second, {});
  ASSERT_TRUE(becomes_status("web", "2/2 of 2: True Enforced"));
  // Who writes labels makes no other policy of it.
  change(policies + "web", R"({"metadata": {"labels": {"a": "b"}}})");
  const auto before = status_writes();
  world.run_for(milliseconds(2500));
  EXPECT_EQ(status_writes(), before) << "what is so is not written again";
}

TEST_F(PolicyStatusesTest, NodesThatFailOrAreAwayAreNamed) {
  const auto seen = put_policy("web", 3);
  put_policy("idle", 1);
  const auto last = static_cast<std::uint64_t>(server.store().version());
  for (const auto* node : {"a", "b"}) alive(node);
  tells("a", last, {{"web", 3}});
  tells("b", last, {{"web", 3, "the map is full"}});
  const auto one = start_with_store();
  ASSERT_TRUE(becomes_status("web", "1/2 of 3: False NodesFailed b: the map is full"));
  ASSERT_TRUE(becomes_status("idle", "0/0 of 1: True NoPods"));
  tells("b", seen, {{"web", 3}});
  ASSERT_TRUE(becomes_status("web", "2/2 of 3: True Enforced"));
  away("b");
  ASSERT_TRUE(becomes_status("web", "1/2 of 3: False NodesAway b: its agent is away"));
  alive("b");
  ASSERT_TRUE(becomes_status("web", "2/2 of 3: True Enforced"));
  // One that joins undoes nothing, and nothing new is concluded before it has told.
  alive("c");
  world.run_for(milliseconds(1500));
  EXPECT_TRUE(becomes_status("web", "2/2 of 3: True Enforced"));
  const auto newer = put_policy("new", 1);
  ASSERT_TRUE(becomes_status("new", "0/0 of 1: Unknown NodesBehind"));
  for (const auto* node : {"a", "b"}) tells(node, newer, {{"web", 3}});
  ASSERT_TRUE(becomes_status("new", "0/0 of 1: Unknown NodesBehind c: it has joined a moment ago"));
  tells("c", newer, {});
  ASSERT_TRUE(becomes_status("new", "0/0 of 1: True NoPods"));
}

TEST_F(PolicyStatusesTest, AStatusGoesWithItsPolicy) {
  const auto seen = put_policy("web", 1);
  alive("a");
  tells("a", seen, {{"web", 1}});
  const auto one = start_with_store();
  ASSERT_TRUE(becomes_status("web", "1/1 of 1: True"));
  // Somebody deletes it.
  server.store().remove(statuses + "web");
  ASSERT_TRUE(becomes_status("web", "1/1 of 1: True"));
  const auto uid = uid_of("web");
  server.store().remove(policies + "web");
  ASSERT_TRUE(world.run_until([&] { return object(statuses + "web").is_null(); }, seconds(5)));
  // Another of that name, which the node has not heard of.
  put_policy("web", 1, "another");
  ASSERT_TRUE(becomes_status("web", "0/1 of 1: Unknown NodesBehind"));
  EXPECT_NE(object(statuses + "web")["metadata"]["ownerReferences"][0]["uid"], uid);
}

TEST_F(PolicyStatusesTest, TheNextLeaderGoesOnAndLeftoversGo) {
  const auto seen = put_policy("web", 1);
  alive("a");
  tells("a", seen, {{"web", 1}});
  auto one = start_with_store();
  ASSERT_TRUE(becomes_status("web", "1/1 of 1: True"));
  one.reset();
  put(statuses + "gone", {{"status", {{"summary", "1/1"}}}});
  const auto before = object(statuses + "web");
  one = start_with_store("second");
  ASSERT_TRUE(world.run_until([&] { return object(statuses + "gone").is_null(); }, seconds(8)));
  world.run_for(milliseconds(1500));
  EXPECT_EQ(object(statuses + "web"), before) << "what is so is not written again";
}

TEST_F(PolicyStatusesTest, ManyPoliciesAreWrittenAFewAtATime) {
  std::vector<Tells> all;
  std::uint64_t seen = 0;
  for (int i = 0; i < 120; ++i) {
    all.push_back({fmt::format("p-{:03}", i), 1});
    seen = put_policy(all.back().name, 1);
  }
  for (const auto* node : {"a", "b"}) alive(node);
  tells("a", seen, all);
  tells("b", seen, all);
  const auto one = start_with_store();
  for (const auto& policy : all) ASSERT_TRUE(becomes_status(policy.name, "2/2 of 1: True"));
  EXPECT_LE(status_writes(), 240U);
  const auto before = status_writes();
  // A node that tells the same of them with news of something else.
  tells("a", seen + 1, all);
  world.run_for(milliseconds(1500));
  EXPECT_EQ(status_writes(), before);
}

}  // namespace
}  // namespace weft::op::testing
