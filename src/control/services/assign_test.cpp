// Node ports and load balancer addresses.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "control/services/services.h"
#include "control/services/testing.h"

namespace weft::control {
namespace {

using testing::apply;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::ip;
using ::testing::IsEmpty;
using testing::options;
using testing::port;
using testing::service;
using ::testing::SizeIs;
using Type = model::Service::Type;

model::Service typed(const std::string& name, Type type) {
  auto result = service(name);
  result.type = type;
  return result;
}

std::uint16_t node_port(const ServiceCompiler& compiler, const std::string& name, std::uint16_t number = 80,
                        Protocol protocol = Protocol::tcp) {
  const auto held = compiler.held({"shop", name});
  const auto found = held.node_ports.find({number, protocol});
  return found == held.node_ports.end() ? 0 : found->second;
}

ServiceOptions few_ports() {
  auto result = options();
  result.node_port_max = 30002;
  return result;
}

TEST(NodePorts, AllocatesKeepsAndReusesLate) {
  ServiceCompiler compiler(few_ports(), {});
  apply(compiler, typed("a", Type::node_port));
  apply(compiler, typed("b", Type::load_balancer));
  EXPECT_EQ(node_port(compiler, "a"), 30000);
  EXPECT_EQ(node_port(compiler, "b"), 30001);
  apply(compiler, typed("a", Type::node_port));
  EXPECT_EQ(node_port(compiler, "a"), 30000);
  compiler.forget({"shop", "a"});
  apply(compiler, typed("c", Type::node_port));
  apply(compiler, typed("d", Type::node_port));
  EXPECT_EQ(node_port(compiler, "c"), 30002);
  EXPECT_EQ(node_port(compiler, "d"), 30000);
  const auto refused = compiler.assign(typed("e", Type::node_port));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::exhausted);
  EXPECT_EQ(refused.error().message, "service shop/e: no node port is free: all 3 of 30000-30002 are taken");
  EXPECT_TRUE(compiler.held({"shop", "e"}).empty());
  EXPECT_TRUE(compiler.assign(service("e"))->node_ports.empty());
}

TEST(NodePorts, Requested) {
  ServiceCompiler compiler(few_ports(), {});
  const auto asking = [&](const char* name, std::uint16_t number) {
    auto one = typed(name, Type::node_port);
    one.ports[0].node_port = number;
    return compiler.assign(one);
  };
  EXPECT_TRUE(asking("a", 30001));
  EXPECT_EQ(asking("b", 30001).error().message,
            "spec.ports[0].nodePort: service shop/b: node port 30001 belongs to service shop/a");
  EXPECT_EQ(asking("b", 80).error().message,
            "spec.ports[0].nodePort: service shop/b: node port 80 is outside the range 30000-30002");
  EXPECT_TRUE(asking("a", 30002));
  EXPECT_TRUE(asking("b", 30001));
  // Undone: it is a's again, and b's is free.
  compiler.forget({"shop", "b"});
  compiler.restore({"shop", "a"}, {{ip("10.96.0.2")}, {{{80, Protocol::tcp}, 30001}}, 0, {}});
  EXPECT_FALSE(asking("b", 30001));
  EXPECT_TRUE(asking("b", 30002));
}

TEST(NodePorts, OneNumberForAPortInSeveralProtocols) {
  ServiceCompiler compiler(few_ports(), {});
  auto dns = typed("dns", Type::node_port);
  dns.ports = {port(53, std::uint16_t{53}, "udp", Protocol::udp), port(53, std::uint16_t{53}, "tcp"),
               port(9153, std::uint16_t{9153}, "metrics")};
  apply(compiler, dns);
  EXPECT_EQ(node_port(compiler, "dns", 53), 30000);
  EXPECT_EQ(node_port(compiler, "dns", 53, Protocol::udp), 30000);
  EXPECT_EQ(node_port(compiler, "dns", 9153), 30001);
  apply(compiler, dns);
  EXPECT_EQ(node_port(compiler, "dns", 53, Protocol::udp), 30000);
  dns.ports[1].node_port = dns.ports[2].node_port = 30002;
  EXPECT_THAT(compiler.assign(dns).error().message, HasSubstr("ask for the same node port 30002/TCP"));
  ASSERT_TRUE(compiler.compile());
  EXPECT_NE(compiler.find(ip("127.0.0.1"), 30000, Protocol::udp), nullptr);
}

TEST(NodePorts, OnlyOnRequestWithoutAllocation) {
  ServiceCompiler compiler(few_ports(), {});
  auto web = typed("web", Type::load_balancer);
  web.allocate_node_ports = false;
  web.external_local = true;
  apply(compiler, web);
  EXPECT_EQ(node_port(compiler, "web"), 0);
  EXPECT_EQ(compiler.held({"shop", "web"}).health_check_port, 30000);
  web.ports[0].node_port = 30002;
  web.health_check_node_port = 30001;
  apply(compiler, web);
  EXPECT_EQ(node_port(compiler, "web"), 30002);
  EXPECT_EQ(compiler.held({"shop", "web"}).health_check_port, 30001);
  web.health_check_node_port = 30002;
  EXPECT_THAT(compiler.assign(web).error().message, HasSubstr("healthCheckNodePort 30002 is also the node port of 80"));
}

// --- Load balancer addresses ----------------------------------------------------------------------

model::LoadBalancerPool pool(const std::string& name, const char* first, const char* last) {
  model::LoadBalancerPool result;
  result.meta.name = name;
  result.ranges = {{ip(first), ip(last)}};
  return result;
}

class Pools : public ::testing::Test {
 protected:
  std::vector<IpAddress> given(const std::string& name) { return compiler_.held({"shop", name}).load_balancer_ips; }
  std::string reason(const std::string& name) { return compiler_.pending_reason({"shop", name}); }
  Result<ServiceAssignment> ask(const model::Service& one) {
    auto result = compiler_.assign(one);
    if (result) compiler_.upsert(one);
    return result;
  }
  ServiceCompiler compiler_{options({"10.96.0.0/16", "fd96::/108"}), {}};
};

TEST_F(Pools, GiveInOrderAndKeep) {
  compiler_.upsert(pool("a", "203.0.113.1", "203.0.113.2"));
  for (const auto* name : {"a", "b", "c"}) apply(compiler_, typed(name, Type::load_balancer));
  EXPECT_THAT(given("a"), ElementsAre(ip("203.0.113.1")));
  EXPECT_THAT(given("b"), ElementsAre(ip("203.0.113.2")));
  EXPECT_THAT(given("c"), IsEmpty());
  EXPECT_EQ(reason("c"), "every IPv4 address of LoadBalancerPool a is taken");
  EXPECT_EQ(reason("a"), "");
  EXPECT_THAT(compiler_.assign_pending(), IsEmpty());
  compiler_.forget({"shop", "a"});
  compiler_.erase_service({"shop", "a"});
  EXPECT_THAT(compiler_.assign_pending(), ElementsAre(model::ObjectKey{"shop", "c"}));
  EXPECT_THAT(given("c"), ElementsAre(ip("203.0.113.1")));
  EXPECT_EQ(reason("c"), "");
  ASSERT_TRUE(compiler_.compile());
  EXPECT_NE(compiler_.find(ip("203.0.113.1"), 80, Protocol::tcp), nullptr);
}

// A pool may cover the subnet the node is in: a Service that was given the node's address would take its ports.
TEST_F(Pools, KeepTheNodesOwnAddressesForThoseWhoAsk) {
  compiler_.set_node({"n1", "", {ip("192.0.2.1"), ip("192.0.2.2")}});
  compiler_.upsert(pool("a", "192.0.2.1", "192.0.2.4"));
  ASSERT_TRUE(ask(typed("one", Type::load_balancer)));
  ASSERT_TRUE(ask(typed("two", Type::load_balancer)));
  ASSERT_TRUE(ask(typed("three", Type::load_balancer)));
  EXPECT_THAT(given("one"), ElementsAre(ip("192.0.2.3")));
  EXPECT_THAT(given("two"), ElementsAre(ip("192.0.2.4")));
  EXPECT_THAT(given("three"), IsEmpty());
  auto asking = typed("three", Type::load_balancer);
  asking.load_balancer_ips = {ip("192.0.2.2")};
  ASSERT_TRUE(ask(asking));
  EXPECT_THAT(given("three"), ElementsAre(ip("192.0.2.2")));
  // The node has another address now: what it had is an address like any other.
  compiler_.set_node({"n1", "", {ip("192.0.2.9")}});
  ASSERT_TRUE(ask(typed("four", Type::load_balancer)));
  EXPECT_THAT(given("four"), ElementsAre(ip("192.0.2.1")));
}

TEST_F(Pools, PassOverWhatOthersOnTheNetworkHave) {
  compiler_.set_node({"n1", "", {}, {ip("192.0.2.0"), ip("192.0.2.1")}});
  compiler_.upsert(pool("a", "192.0.2.0", "192.0.2.2"));
  ASSERT_TRUE(ask(typed("one", Type::load_balancer)));
  ASSERT_TRUE(ask(typed("two", Type::load_balancer)));
  EXPECT_THAT(given("one"), ElementsAre(ip("192.0.2.2")));
  EXPECT_THAT(given("two"), IsEmpty());
}

// Whatever the order of the Services in one apply, and of what they ask for by name and leave open.
TEST_F(Pools, WhatIsSpokenForIsLeftToThoseWhoAskForIt) {
  compiler_.upsert(pool("a", "192.0.2.1", "192.0.2.4"));
  auto first = typed("first", Type::load_balancer);  // asks for one thing and takes any of the others
  first.ports = {port(80, std::uint16_t{8080}, "http"), port(81, std::uint16_t{8081}, "more")};
  first.ports[0].node_port = 30000;
  auto second = typed("second", Type::load_balancer);
  second.ports[0].node_port = 30001;
  second.cluster_ips = {ip("10.96.0.2")};
  second.families = {Family::v4};
  second.load_balancer_ips = {ip("192.0.2.1")};
  compiler_.speak_for({&first, &second});
  ASSERT_TRUE(ask(first));
  ASSERT_TRUE(ask(second)) << ask(second).error().message;
  compiler_.speak_for({});
  EXPECT_EQ(node_port(compiler_, "first", 81), 30002);
  EXPECT_EQ(compiler_.held({"shop", "first"}).cluster_ips.front(), ip("10.96.0.3"));
  EXPECT_THAT(given("first"), ElementsAre(ip("192.0.2.2")));
  // What was passed over is an address like any other afterwards.
  compiler_.forget({"shop", "second"});
  compiler_.erase_service({"shop", "second"});
  ASSERT_TRUE(ask(typed("third", Type::load_balancer)));
  EXPECT_THAT(given("third"), ElementsAre(ip("192.0.2.1")));
}

TEST_F(Pools, ComeAndGo) {
  apply(compiler_, typed("web", Type::load_balancer));
  EXPECT_EQ(reason("web"), "no LoadBalancerPool has IPv4 addresses for it");
  compiler_.upsert(pool("a", "203.0.113.1", "203.0.113.9"));
  EXPECT_THAT(compiler_.assign_pending(), SizeIs(1));
  compiler_.upsert(pool("b", "198.51.100.1", "198.51.100.9"));
  EXPECT_THAT(compiler_.assign_pending(), IsEmpty());
  compiler_.erase_pool({"", "a"});
  EXPECT_THAT(compiler_.assign_pending(), SizeIs(1));
  EXPECT_THAT(given("web"), ElementsAre(ip("198.51.100.1")));
  compiler_.erase_pool({"", "b"});
  EXPECT_THAT(compiler_.assign_pending(), SizeIs(1));
  EXPECT_THAT(given("web"), IsEmpty());
  EXPECT_EQ(reason("web"), "no LoadBalancerPool has IPv4 addresses for it");
}

TEST_F(Pools, ServeSomeServices) {
  auto first = pool("a", "203.0.113.1", "203.0.113.9");
  first.namespaces = {"other"};
  auto second = pool("b", "198.51.100.1", "198.51.100.9");
  second.service_selector = model::LabelSelector{{{"tier", model::LabelRequirement::Operator::in, {"front"}}}};
  auto third = pool("c", "192.0.2.1", "192.0.2.9");
  third.auto_assign = false;
  for (const auto& one : {first, second, third}) compiler_.upsert(one);
  auto web = typed("web", Type::load_balancer);
  ASSERT_TRUE(ask(web));
  EXPECT_EQ(reason("web"), "the LoadBalancerPools for it give IPv4 addresses only on request");
  web.meta.labels["tier"] = "front";
  ASSERT_TRUE(ask(web));
  EXPECT_THAT(given("web"), ElementsAre(ip("198.51.100.1")));
  web.load_balancer_ips = {ip("192.0.2.5")};
  ASSERT_TRUE(ask(web));
  EXPECT_THAT(given("web"), ElementsAre(ip("192.0.2.5")));
  web.load_balancer_ips = {ip("203.0.113.1")};
  EXPECT_EQ(
      ask(web).error().message,
      "spec.loadBalancerIP: service shop/web: load balancer address 203.0.113.1 is in no LoadBalancerPool for it");
  auto other = typed("other", Type::load_balancer);
  other.load_balancer_ips = {ip("192.0.2.5")};
  EXPECT_EQ(ask(other).error().message,
            "spec.loadBalancerIP: service shop/other: load balancer address 192.0.2.5 belongs to service shop/web");
}

TEST_F(Pools, OnlyForOurClassWithoutAStatus) {
  compiler_.upsert(pool("a", "203.0.113.1", "203.0.113.9"));
  auto web = typed("web", Type::load_balancer);
  web.load_balancer_class = "somebody/else";
  ASSERT_TRUE(ask(web));
  EXPECT_THAT(given("web"), IsEmpty());
  EXPECT_EQ(reason("web"), "");
  web.load_balancer_class = "weft.io/load-balancer";
  ASSERT_TRUE(ask(web));
  EXPECT_THAT(given("web"), SizeIs(1));
  web.ingress = {{ip("198.51.100.1"), true}};
  ASSERT_TRUE(ask(web));
  EXPECT_THAT(given("web"), IsEmpty());
}

TEST_F(Pools, BothFamilies) {
  compiler_.upsert(pool("a", "203.0.113.1", "203.0.113.9"));
  compiler_.upsert(pool("b", "2001:db8::1", "2001:db8::ffff:ffff"));
  auto web = typed("web", Type::load_balancer);
  web.family_policy = model::Service::FamilyPolicy::require_dual_stack;
  ASSERT_TRUE(ask(web));
  EXPECT_THAT(given("web"), ElementsAre(ip("203.0.113.1"), ip("2001:db8::1")));
}

TEST_F(Pools, SharedByThoseWithTheSameKey) {
  compiler_.upsert(pool("a", "203.0.113.1", "203.0.113.9"));
  const auto sharing = [&](const char* name, std::uint16_t number, const char* key, bool local = false) {
    auto one = typed(name, Type::load_balancer);
    one.ports[0].port = number;
    one.sharing_key = key;
    one.external_local = local;
    EXPECT_TRUE(ask(one));
    return given(name).at(0);
  };
  EXPECT_EQ(sharing("a", 80, "k"), ip("203.0.113.1"));
  EXPECT_EQ(sharing("b", 443, "k"), ip("203.0.113.1"));
  EXPECT_EQ(sharing("c", 80, "k"), ip("203.0.113.2"));          // the port is taken there
  EXPECT_EQ(sharing("d", 8080, "k", true), ip("203.0.113.3"));  // another policy
  EXPECT_EQ(sharing("e", 8080, "other"), ip("203.0.113.4"));
  EXPECT_EQ(sharing("f", 8081, ""), ip("203.0.113.5"));
  // A key is of one namespace: strangers cannot join by guessing it.
  auto stranger = typed("a", Type::load_balancer);
  stranger.meta.namespace_ = "elsewhere";
  stranger.ports[0].port = 9000;
  stranger.sharing_key = "k";
  ASSERT_TRUE(ask(stranger));
  EXPECT_EQ(compiler_.held({"elsewhere", "a"}).load_balancer_ips, std::vector{ip("203.0.113.6")});
  stranger.load_balancer_ips = {ip("203.0.113.1")};
  EXPECT_EQ(ask(stranger).error().code, ErrorCode::exists);
  // A request is held to the same.
  auto asking = typed("g", Type::load_balancer);
  asking.sharing_key = "k";
  asking.load_balancer_ips = {ip("203.0.113.1")};
  EXPECT_EQ(ask(asking).error().code, ErrorCode::exists);  // port 80
  asking.ports[0].port = 81;
  EXPECT_TRUE(ask(asking));
  // When its ports come into the way, an address that was not asked for is changed.
  EXPECT_EQ(sharing("b", 80, "k"), ip("203.0.113.7"));
  // Refused further on: a holds and asks what it did.
  auto changed = typed("a", Type::load_balancer);
  const auto held = compiler_.held({"shop", "a"});
  ASSERT_TRUE(compiler_.assign(changed));  // without the key, alone elsewhere
  EXPECT_NE(compiler_.held({"shop", "a"}), held);
  compiler_.restore({"shop", "a"}, held);
  EXPECT_EQ(sharing("h", 82, "k"), ip("203.0.113.1"));
}

TEST_F(Pools, AreKeptOverARestart) {
  compiler_.upsert(pool("a", "203.0.113.1", "203.0.113.9"));
  for (const auto* name : {"a", "b"}) apply(compiler_, typed(name, Type::load_balancer));
  ServiceCompiler after(options({"10.96.0.0/16", "fd96::/108"}), compiler_.assignments());
  EXPECT_EQ(after.assignments(), compiler_.assignments());
  for (const auto* name : {"b", "a"}) after.upsert(typed(name, Type::load_balancer));
  after.upsert(pool("a", "203.0.113.1", "203.0.113.9"));
  EXPECT_THAT(after.assign_pending(), IsEmpty());
  EXPECT_EQ(after.pending_reason({"shop", "a"}), "");
  EXPECT_TRUE(after.assign(typed("c", Type::load_balancer)));
  EXPECT_THAT(after.held({"shop", "c"}).load_balancer_ips, ElementsAre(ip("203.0.113.3")));
}

// What a cluster is to agree to before it is so.
TEST_F(Pools, WhatWaitingServicesWouldGetIsSaidWithoutGivingIt) {
  for (const auto* name : {"a", "b"}) apply(compiler_, typed(name, Type::load_balancer));
  EXPECT_TRUE(compiler_.plan_pending().empty());
  compiler_.upsert(pool("p", "203.0.113.1", "203.0.113.1"));
  const auto planned = compiler_.plan_pending();
  ASSERT_EQ(planned.size(), 1U);
  EXPECT_THAT(planned.at({"shop", "a"}).load_balancer_ips, ElementsAre(ip("203.0.113.1")));
  EXPECT_TRUE(compiler_.held({"shop", "a"}).load_balancer_ips.empty());
  EXPECT_EQ(compiler_.plan_pending(), planned) << "nothing was given";
  compiler_.restore({"shop", "a"}, planned.at({"shop", "a"}));
  EXPECT_TRUE(compiler_.plan_pending().empty());
  compiler_.erase_pool({"", "p"});
  const auto lost = compiler_.plan_pending();
  ASSERT_EQ(lost.size(), 1U);
  EXPECT_TRUE(lost.at({"shop", "a"}).load_balancer_ips.empty());
}

TEST_F(Pools, ManyServicesInOneRange) {
  compiler_.upsert(pool("a", "203.0.0.0", "203.0.255.255"));
  for (int i = 0; i < 20'000; ++i) {
    auto one = typed("s" + std::to_string(i), Type::load_balancer);
    one.allocate_node_ports = false;
    apply(compiler_, one);
  }
  EXPECT_THAT(given("s19999"), ElementsAre(IpAddress::v4(0xcb000000U + 19999)));
}

}  // namespace
}  // namespace weft::control
