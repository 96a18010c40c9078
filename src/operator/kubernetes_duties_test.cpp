// Addresses for LoadBalancer Services of a Kubernetes cluster: real requests over loopback.
#include "operator/kubernetes_duties.h"

#include "operator/kubernetes_testing.h"

namespace weft::op::testing {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

using BalancersTest = KubernetesWorld;

TEST_F(BalancersTest, AServiceGetsAnAddressIntoItsStatus) {
  put_pool("public", {"192.0.2.1-192.0.2.2"});
  put_service("web", 1);
  put_service("plain", 2, R"({"spec": {"type": "ClusterIP"}})");
  const auto one = start_acting();
  ASSERT_TRUE(becomes("web", "192.0.2.1"));
  EXPECT_EQ(status(services + "web")["loadBalancer"]["ingress"][0]["ipMode"], "VIP");
  EXPECT_EQ(condition(services + "web", "weft.io/AddressGiven"), "True AddressGiven from LoadBalancerPool public");
  EXPECT_EQ(addresses_of("plain"), "none");
  ASSERT_TRUE(world.run_until([&] { return !one->events.empty(); }));
  EXPECT_THAT(one->told(), ElementsAre("AddressGiven shop/web 192.0.2.1 from LoadBalancerPool public"));
  const auto pool = own_resources + "loadbalancerpools/public";
  ASSERT_TRUE(world.run_until([&] { return status(pool).value("addresses", json())["given"] == 1; }));
  EXPECT_EQ(status(pool)["addresses"]["total"], 2);
  EXPECT_EQ(condition(pool, "Accepted"), "True Accepted ");
  const auto before = writes();
  world.run_for(milliseconds(2500));
  EXPECT_EQ(writes(), before) << "what is so is not written again";
}

TEST_F(BalancersTest, APoolThatIsFullGrows) {
  put_pool("public", {"192.0.2.1"});
  put_service("b", 2);
  put_service("a", 3);
  put_service("z", 1);
  const auto one = start_acting();
  ASSERT_TRUE(becomes("z", "192.0.2.1"));
  ASSERT_TRUE(says(services + "a", "weft.io/AddressGiven",
                   "False NoAddress every IPv4 address of LoadBalancerPool public is taken"));
  ASSERT_TRUE(world.run_until([&] { return one->events.size() == 3; }));
  EXPECT_THAT(one->told(), Contains(HasSubstr("NoAddress shop/b every IPv4 address")));
  put_pool("public", {"192.0.2.1-192.0.2.2"});
  ASSERT_TRUE(becomes("b", "192.0.2.2"));
  put_pool("more", {"192.0.2.200-192.0.2.201"});
  ASSERT_TRUE(becomes("a", "192.0.2.201")) << "192.0.2.200 is a node's";
  EXPECT_TRUE(world.run_until([&] { return one->duties->balancers().served() == 3; }));
}

TEST_F(BalancersTest, APoolThatShrinksTakesItsAddressesWithIt) {
  put_pool("public", {"192.0.2.1", "192.0.2.9"});
  put_service("a", 1);
  put_service("b", 2);
  const auto one = start_acting();
  ASSERT_TRUE(becomes("b", "192.0.2.9"));
  put_pool("public", {"192.0.2.9"});
  ASSERT_TRUE(becomes("a", "none"));
  EXPECT_EQ(addresses_of("b"), "192.0.2.9");
  server.store().remove(services + "b");
  ASSERT_TRUE(becomes("a", "192.0.2.9"));
}

TEST_F(BalancersTest, AfterARestartWhatIsThereIsWhatIsHeld) {
  put_pool("public", {"192.0.2.1-192.0.2.9"});
  put_service("b", 2);
  auto one = start_acting();
  ASSERT_TRUE(becomes("b", "192.0.2.1"));
  bool done = false;
  one->duties->close([&] { done = true; });
  ASSERT_TRUE(world.run_until([&] { return done; }));
  one.reset();
  put_service("a", 1);
  const auto before = object(services + "b");
  one = start_acting("second");
  ASSERT_TRUE(becomes("a", "192.0.2.2"));
  world.run_for(milliseconds(200));
  EXPECT_EQ(object(services + "b"), before);
}

TEST_F(BalancersTest, OfTwoThatHaveOneAddressTheOlderKeepsIt) {
  put_pool("public", {"192.0.2.1-192.0.2.9"});
  put_service("a", 2);
  put_service("z", 1);
  for (const auto* name : {"a", "z"})
    change(services + name + "/status", R"({"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.5"}]}}})");
  const auto one = start_acting();
  ASSERT_TRUE(becomes("a", "192.0.2.1"));
  EXPECT_EQ(addresses_of("z"), "192.0.2.5");
}

TEST_F(BalancersTest, RequestsAndSharing) {
  put_pool("public", {"192.0.2.1-192.0.2.9"});
  put_service("asks", 1, R"({"spec": {"loadBalancerIP": "192.0.2.7"}})");
  put_service("names", 2, R"({"metadata": {"annotations": {"weft.io/load-balancer-ips": "192.0.2.8"}}})");
  put_service("wrong", 3, R"({"spec": {"loadBalancerIP": "203.0.113.1"}})");
  put_service("one", 4, R"({"metadata": {"annotations": {"weft.io/sharing-key": "k"}}})");
  put_service("two", 5, R"({"metadata": {"annotations": {"weft.io/sharing-key": "k"}},
      "spec": {"ports": [{"port": 81, "protocol": "TCP"}]}})");
  const auto acting = start_acting();
  ASSERT_TRUE(becomes("asks", "192.0.2.7"));
  ASSERT_TRUE(becomes("names", "192.0.2.8"));
  ASSERT_TRUE(becomes("one", "192.0.2.1"));
  ASSERT_TRUE(becomes("two", "192.0.2.1"));
  ASSERT_TRUE(says(services + "wrong", "weft.io/AddressGiven", "203.0.113.1 is in no LoadBalancerPool"));
}

TEST_F(BalancersTest, WhatIsAnotherProgramsIsLeftAlone) {
  put_pool("public", {"192.0.2.1-192.0.2.9"});
  put_service("class", 1, R"({"spec": {"loadBalancerClass": "cloud.example/lb"}})");
  put_service("cloud", 2);
  put_service("host", 3);
  put_service("ours", 4, R"({"spec": {"loadBalancerClass": "weft.io/load-balancer"}})");
  change(services + "cloud/status",
         R"({"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"ip": "203.0.113.5"}]}}})");
  change(services + "host/status", R"({"status": {"loadBalancer": {"ingress": [{"hostname": "a.example"}]}}})");
  change(services + "ours/status", R"({"status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.6"}]}}})");
  const auto one = start_acting();
  ASSERT_TRUE(becomes("ours", "192.0.2.2"));
  EXPECT_EQ(addresses_of("cloud"), "192.0.2.1 203.0.113.5");
  EXPECT_EQ(addresses_of("host"), "a.example");
  EXPECT_EQ(addresses_of("class"), "none");
  EXPECT_EQ(condition(services + "cloud", "weft.io/AddressGiven"), "none");
  EXPECT_EQ(condition(services + "class", "weft.io/AddressGiven"), "none");
}

TEST_F(BalancersTest, WithoutPoolsWhatHasNoClassIsNotOurs) {
  put_service("web", 1);
  put_service("ours", 2, R"({"spec": {"loadBalancerClass": "weft.io/load-balancer"}})");
  const auto one = start_acting();
  ASSERT_TRUE(says(services + "ours", "weft.io/AddressGiven", "no LoadBalancerPool has IPv4 addresses for it"));
  EXPECT_EQ(condition(services + "web", "weft.io/AddressGiven"), "none");
  // It waits, and the cloud is quicker.
  put_pool("public", {"192.0.2.200"});
  ASSERT_TRUE(says(services + "web", "weft.io/AddressGiven", "False"));
  change(services + "web/status", R"({"status": {"loadBalancer": {"ingress": [{"hostname": "a.example"}]}}})");
  ASSERT_TRUE(says(services + "web", "weft.io/AddressGiven", "none"));
  EXPECT_EQ(addresses_of("web"), "a.example");
}

TEST_F(BalancersTest, AServiceThatIsNoLoadBalancerAnyMoreLosesIt) {
  put_pool("public", {"192.0.2.1"});
  put_service("web", 1);
  change(services + "web/status", R"({"status": {"conditions": [{"type": "their/own", "status": "True", "reason": "R",
      "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}})");
  const auto one = start_acting();
  ASSERT_TRUE(becomes("web", "192.0.2.1"));
  change(services + "web", R"({"spec": {"type": "ClusterIP"}})");
  ASSERT_TRUE(becomes("web", "none"));
  EXPECT_EQ(condition(services + "web", "weft.io/AddressGiven"), "none");
  EXPECT_EQ(condition(services + "web", "their/own"), "True R ");
}

TEST_F(BalancersTest, BothFamilies) {
  put_pool("four", {"192.0.2.1"});
  put_pool("six", {"2001:db8::/120"});
  put_service("web", 1, R"({"spec": {"clusterIPs": ["10.96.0.7", "fd00::7"], "ipFamilies": ["IPv4", "IPv6"],
      "ipFamilyPolicy": "PreferDualStack"}})");
  const auto one = start_acting();
  ASSERT_TRUE(becomes("web", "192.0.2.1 2001:db8::"));
  EXPECT_EQ(condition(services + "web", "weft.io/AddressGiven"), "True AddressGiven from LoadBalancerPool four, six");
  EXPECT_TRUE(world.run_until([&] {
    return status(own_resources + "loadbalancerpools/six").value("addresses", json()) ==
           json{{"total", 256}, {"given", 1}};
  }));
}

// A pool that this version does not understand may be the one whose addresses are there.
TEST_F(BalancersTest, APoolThatIsNotUnderstoodCostsNobodyAnAddress) {
  put_pool("public", {"192.0.2.1"});
  put_service("web", 1);
  auto one = start_acting();
  ASSERT_TRUE(becomes("web", "192.0.2.1"));
  put_pool("public", {"what is this"});
  const auto pool = own_resources + "loadbalancerpools/public";
  ASSERT_TRUE(says(pool, "Accepted", "False Invalid it is not understood: spec.addresses[0]"));
  one.reset();
  one = start("second");
  ASSERT_TRUE(world.run_until([&] { return one->acts(); }));
  world.run_for(milliseconds(300));
  EXPECT_EQ(addresses_of("web"), "192.0.2.1");
  put_pool("public", {"192.0.2.2"});
  ASSERT_TRUE(becomes("web", "192.0.2.2"));
  ASSERT_TRUE(says(pool, "Accepted", "True"));
}

TEST_F(BalancersTest, TwoOperatorsOneWrites) {
  put_pool("public", {"192.0.2.1-192.0.2.9"});
  auto first = start_acting("first");
  auto second = start("second");
  ASSERT_TRUE(world.run_until([&] { return second->duties->leader() == "first"; }));
  put_service("a", 1);
  ASSERT_TRUE(becomes("a", "192.0.2.1"));
  EXPECT_EQ(second->duties->balancers().served(), 0U);
  // Asked to end: the other one at once.
  bool done = false;
  first->duties->close([&] { done = true; });
  put_service("b", 2);
  ASSERT_TRUE(becomes("b", "192.0.2.2"));
  EXPECT_TRUE(done);
  EXPECT_TRUE(second->acts());
  // Killed: when its Lease is over.
  first = start("third");
  ASSERT_TRUE(world.run_until([&] { return first->duties->leader() == "second"; }));
  second.reset();
  put_service("c", 3);
  ASSERT_TRUE(becomes("c", "192.0.2.3"));
  EXPECT_TRUE(first->acts());
}

TEST_F(BalancersTest, WhoLosesTheLeaseWritesNothingMore) {
  put_pool("public", {"192.0.2.1-192.0.2.9"});
  const auto one = start_acting("first");
  put("/apis/coordination.k8s.io/v1/namespaces/weft-system/leases/weft-operator",
      {{"spec", {{"holderIdentity", "somebody"}, {"leaseDurationSeconds", 2}}}});
  ASSERT_TRUE(world.run_until([&] { return !one->acts(); }));
  put_service("a", 1);
  world.run_for(milliseconds(300));
  EXPECT_EQ(addresses_of("a"), "none");
  ASSERT_TRUE(becomes("a", "192.0.2.1")) << "somebody does not renew it";
}

TEST_F(BalancersTest, ConflictsLostAnswersAndRefusals) {
  put_pool("public", {"192.0.2.1-192.0.2.9"});
  const auto one = start_acting();
  int next = 0;
  for (const int code : {409, 500, 503, 429, 403}) {
    server.fail({.method = "PATCH", .path_contains = "services", .status = code, .times = 2});
    const auto name = "s" + std::to_string(next++);
    put_service(name, next);
    ASSERT_TRUE(becomes(name, "192.0.2." + std::to_string(next)));
  }
}

TEST_F(BalancersTest, WithoutTheServerAllStaysAndGoesOnAfterwards) {
  put_pool("public", {"192.0.2.1-192.0.2.9"});
  put_service("a", 1);
  const auto one = start_acting();
  ASSERT_TRUE(becomes("a", "192.0.2.1"));
  server.stop();
  ASSERT_TRUE(world.run_until([&] { return !one->acts() && !one->duties->silence().empty(); }));
  put_service("b", 2);
  server.start();
  ASSERT_TRUE(becomes("b", "192.0.2.2"));
  EXPECT_EQ(one->duties->silence(), "");
}

TEST_F(BalancersTest, PoolsMayBeInstalledLater) {
  server.store().remove_resource(own_resources + "loadbalancerpools");
  put_service("a", 1, R"({"spec": {"loadBalancerClass": "weft.io/load-balancer"}})");
  change(services + "a/status", R"({"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.4"}]}}})");
  const auto one = start_acting();
  ASSERT_TRUE(world.run_until([&] { return one->duties->silence().empty(); }));
  world.run_for(milliseconds(300));
  EXPECT_EQ(addresses_of("a"), "192.0.2.4");
  add_pools();
  put_pool("public", {"192.0.2.1-192.0.2.9"});
  ASSERT_TRUE(says(services + "a", "weft.io/AddressGiven", "True"));
  EXPECT_EQ(addresses_of("a"), "192.0.2.4");
}

// Whatever the server does, no address is two Services' at the end, and all that can have one have one.
TEST_F(BalancersTest, ManyChangesUnderTrouble) {
  put_pool("public", {"192.0.2.1-192.0.2.12"});
  auto first = start_acting("first");
  auto second = start("second");
  const auto random = kubernetes::testing::fixed_random();
  for (int round = 0; round < 60; ++round) {
    const auto name = "s" + std::to_string(random() % 10);
    switch (random() % 7) {
      case 0:
        server.store().remove(services + name);
        break;
      case 1:
        server.fail({.method = "PATCH", .status = static_cast<int>(random() % 2 == 0 ? 500 : 409), .times = 2});
        break;
      case 2:
        server.break_watches();
        break;
      case 3:
        if (random() % 3 == 0) (first->acts() ? first : second) = start("other" + std::to_string(round));
        break;
      default:
        if (object(services + name).is_null()) put_service(name, static_cast<int>(random() % 10));
    }
    world.run_for(milliseconds(random() % 80));
  }
  const auto settled = [&] {
    std::set<std::string> seen;
    for (int i = 0; i < 10; ++i) {
      const auto name = "s" + std::to_string(i);
      if (object(services + name).is_null()) continue;
      const auto has = addresses_of(name);
      if (has == "none" || !seen.insert(has).second) return false;
    }
    return true;
  };
  EXPECT_TRUE(world.run_until(settled, seconds(15)));
}

}  // namespace
}  // namespace weft::op::testing
