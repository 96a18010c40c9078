// What Services mean: their frontends, who stands behind them, and what the deltas say of it.
#include "control/services/services.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "control/services/testing.h"

namespace weft::control {
namespace {

using testing::at;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::ip;
using ::testing::IsEmpty;
using testing::Maps;
using testing::options;
using testing::pod;
using testing::port;
using testing::service;
using ::testing::SizeIs;
using testing::slice;
using ::testing::UnorderedElementsAre;
using Type = model::Service::Type;

class Services : public ::testing::Test {
 protected:
  explicit Services(ServiceOptions given = options()) : compiler_(std::move(given), {}) {
    compiler_.set_node({"here", "east", {ip("192.0.2.1"), ip("2001:db8::1")}});
  }

  void apply(const model::Service& one) { testing::apply(compiler_, one); }
  ServiceDelta compile() {
    auto delta = compiler_.compile();
    EXPECT_TRUE(delta) << delta.error().message;
    maps_.write(*delta);
    return std::move(*delta);
  }
  const ServicePort& only_port(const std::string& name) {
    const auto ports = compiler_.ports_of({"shop", name});
    EXPECT_THAT(ports, SizeIs(1));
    return *ports.at(0);
  }
  // "10.0.0.1:8080" of those new flows may get.
  static std::vector<std::string> backends(const ServicePort& port, bool ServiceBackend::*scope) {
    std::vector<std::string> result;
    for (const auto& backend : port.backends)
      if (backend.*scope) result.push_back(backend.address.to_string() + ":" + std::to_string(backend.port));
    std::ranges::sort(result);
    return result;
  }
  std::vector<std::string> internal(const std::string& name) {
    return backends(only_port(name), &ServiceBackend::internal);
  }
  std::vector<std::string> external(const std::string& name) {
    return backends(only_port(name), &ServiceBackend::external);
  }
  const weft_service* row(const char* address, std::uint16_t number, Protocol protocol = Protocol::tcp) {
    weft_service_key key{};
    std::memcpy(&key.addr, ip(address).bytes().data(), 16);
    key.port = htons(number);
    key.protocol = static_cast<std::uint8_t>(protocol);
    const auto found = maps_.frontends.find(key);
    return found == maps_.frontends.end() ? nullptr : &found->second;
  }
  // Addresses behind a run of slots, as the maps have it.
  std::vector<std::string> run(std::uint32_t first, std::uint32_t count) {
    std::vector<std::string> result;
    for (std::uint32_t i = first; i < first + count; ++i) {
      const auto& backend = maps_.backends.at(maps_.slots.at(i));
      IpAddress::Bytes bytes{};
      std::memcpy(bytes.data(), &backend.addr, 16);
      result.push_back(IpAddress(bytes).to_string());
    }
    return result;
  }
  static std::vector<std::string> frontends(const ServicePort& port) {
    std::vector<std::string> result;
    for (const auto& one : port.frontends)
      result.push_back(std::string(to_string(one.kind)) + " " + one.address.to_string() + ":" +
                       std::to_string(one.port));
    return result;
  }

  ServiceCompiler compiler_;
  Maps maps_;
};

// --- Endpoints ------------------------------------------------------------------------------------

TEST_F(Services, PodsBySelector) {
  apply(service("web", {{"app", "web"}, {"tier", "front"}}));
  auto elsewhere = pod("web-9", {{"app", "web"}, {"tier", "front"}}, {"10.0.0.9"});
  elsewhere.key.namespace_ = "other";
  auto unready = pod("web-2", {{"app", "web"}, {"tier", "front"}}, {"10.0.0.2"});
  unready.ready = false;
  compiler_.upsert(pod("web-0", {{"app", "web"}, {"tier", "front"}, {"more", "x"}}, {"10.0.0.5", "fd00::5"}));
  compiler_.upsert(pod("web-1", {{"app", "web"}, {"tier", "back"}}, {"10.0.0.6"}));
  compiler_.upsert(pod("web-3", {{"app", "web"}, {"tier", "front"}}, {}));
  compiler_.upsert(unready);
  compiler_.upsert(elsewhere);
  compile();
  EXPECT_THAT(internal("web"), ElementsAre("10.0.0.5:8080"));
  const auto& backend = only_port("web").backends[1];
  EXPECT_EQ(backend.pod, (model::ObjectKey{"shop", "web-0"}));
  EXPECT_TRUE(backend.ready && backend.local && backend.healthy);
  EXPECT_THAT(only_port("web").backends, SizeIs(2));  // the unready one is there and gets nothing

  auto publishing = service("web", {{"app", "web"}, {"tier", "front"}});
  publishing.publish_not_ready = true;
  apply(publishing);
  compile();
  EXPECT_THAT(internal("web"), ElementsAre("10.0.0.2:8080", "10.0.0.5:8080"));
}

TEST_F(Services, NamedTargetPortsAreResolvedPerPod) {
  auto web = service("web", {{"app", "web"}});
  web.ports = {port(80, std::string("http"), "http"), port(53, std::string("dns"), "dns", Protocol::udp)};
  apply(web);
  auto a = pod("a", {{"app", "web"}}, {"10.0.0.1"});
  auto b = pod("b", {{"app", "web"}}, {"10.0.0.2"});
  a.ports = {{"http", 8080, Protocol::tcp, 0, {}}, {"dns", 53, Protocol::tcp, 0, {}}};
  b.ports = {{"http", 9090, Protocol::tcp, 0, {}}, {"dns", 5353, Protocol::udp, 0, {}}};
  compiler_.upsert(a);
  compiler_.upsert(b);
  compiler_.upsert(pod("c", {{"app", "web"}}, {"10.0.0.3"}));
  compile();
  const auto ports = compiler_.ports_of({"shop", "web"});
  ASSERT_THAT(ports, SizeIs(2));
  EXPECT_EQ(ports[0]->port_name, "dns");
  EXPECT_THAT(backends(*ports[0], &ServiceBackend::internal), ElementsAre("10.0.0.2:5353"));
  EXPECT_THAT(backends(*ports[1], &ServiceBackend::internal), ElementsAre("10.0.0.1:8080", "10.0.0.2:9090"));
}

TEST_F(Services, SlicesOfTheServicesNameWinOverItsSelector) {
  apply(service("web", {{"app", "web"}}));
  compiler_.upsert(pod("web-0", {{"app", "web"}}, {"10.0.0.1"}));
  compile();
  EXPECT_THAT(internal("web"), ElementsAre("10.0.0.1:8080"));
  auto given = slice("web-1", "web", 9000);
  given.endpoints = {at("10.0.0.7"), at("10.0.0.8", false, true, true)};
  compiler_.upsert(given);
  compile();
  EXPECT_THAT(internal("web"), ElementsAre("10.0.0.7:9000"));
  given.endpoints.clear();  // an empty one as well
  compiler_.upsert(given);
  compile();
  EXPECT_THAT(internal("web"), IsEmpty());
  compiler_.erase_slice({"shop", "web-1"});
  compile();
  EXPECT_THAT(internal("web"), ElementsAre("10.0.0.1:8080"));
}

TEST_F(Services, SliceOfAnotherServiceByAnotherLabel) {
  apply(service("a"));
  apply(service("b"));
  auto given = slice("x", "a", 80);
  given.endpoints = {at("10.0.0.7")};
  compiler_.upsert(given);
  compile();
  EXPECT_THAT(internal("a"), SizeIs(1));
  given.meta.labels["kubernetes.io/service-name"] = "b";
  compiler_.upsert(given);
  compile();
  EXPECT_THAT(internal("a"), IsEmpty());
  EXPECT_THAT(internal("b"), SizeIs(1));
  EXPECT_THAT(compiler_.slices_of({"shop", "a"}), IsEmpty());
  EXPECT_THAT(compiler_.slices_of({"shop", "b"}), ElementsAre(model::ObjectKey{"shop", "x"}));
  compiler_.upsert(slice("y", "b", 80));
  compiler_.upsert(slice("z", "b", 80));
  compiler_.erase_slice({"shop", "y"});
  EXPECT_THAT(compiler_.slices_of({"shop", "b"}),
              UnorderedElementsAre(model::ObjectKey{"shop", "x"}, model::ObjectKey{"shop", "z"}));
  compiler_.erase_slice({"shop", "z"});
  given.meta.labels.clear();
  compiler_.upsert(given);
  compile();
  EXPECT_THAT(internal("b"), IsEmpty());
}

TEST_F(Services, LocalIsTheNodeItsAddressesAndItsPods) {
  auto db = service("db");
  db.internal_local = true;
  apply(db);
  auto given = slice("db-1", "db", 5432);
  given.endpoints = {at("10.0.0.1"), at("10.0.0.2"), at("10.0.0.3"), at("192.0.2.1")};
  given.endpoints[0].node = "here";
  given.endpoints[1].node = "there";
  compiler_.upsert(given);
  compile();
  EXPECT_THAT(internal("db"), ElementsAre("10.0.0.1:5432", "192.0.2.1:5432"));
  compiler_.upsert(pod("p", {}, {"10.0.0.3"}));
  compile();
  EXPECT_THAT(internal("db"), ElementsAre("10.0.0.1:5432", "10.0.0.3:5432", "192.0.2.1:5432"));
  compiler_.set_node({"there", "east", {}});
  compile();
  EXPECT_THAT(internal("db"), ElementsAre("10.0.0.2:5432", "10.0.0.3:5432"));
  compiler_.erase_pod({"shop", "p"});
  compile();
  EXPECT_THAT(internal("db"), ElementsAre("10.0.0.2:5432"));
}

TEST_F(Services, HintsFollowTheNode) {
  apply(service("db"));
  auto given = slice("db-1", "db", 5432);
  given.endpoints = {at("10.0.0.1"), at("10.0.0.2")};
  given.endpoints[0].hint_zones = {"east"};
  given.endpoints[1].hint_zones = {"west"};
  compiler_.upsert(given);
  compile();
  EXPECT_THAT(internal("db"), ElementsAre("10.0.0.1:5432"));
  compiler_.set_node({"here", "west", {}});
  compile();
  EXPECT_THAT(internal("db"), ElementsAre("10.0.0.2:5432"));
  compiler_.set_node({"here", "", {}});
  compile();
  EXPECT_THAT(internal("db"), SizeIs(2));
}

TEST_F(Services, ABackendDrainsThenGoes) {
  apply(service("db"));
  auto given = slice("db-1", "db", 5432);
  given.endpoints = {at("10.0.0.1"), at("10.0.0.2")};
  compiler_.upsert(given);
  compile();
  const auto id = only_port("db").backends[1].id;
  EXPECT_EQ(maps_.backends.at(id).state, WEFT_BACKEND_ACTIVE);
  given.endpoints[1] = at("10.0.0.2", false, true, true);
  compiler_.upsert(given);
  auto delta = compile();
  EXPECT_EQ(maps_.backends.at(id).state, WEFT_BACKEND_DRAINING);
  EXPECT_THAT(delta.backends_gone, IsEmpty());
  EXPECT_FALSE(delta.changes_decisions());
  compiler_.set_healthy(ip("10.0.0.1"), 5432, Protocol::tcp, false);
  delta = compile();
  EXPECT_THAT(internal("db"), ElementsAre("10.0.0.2:5432"));  // it still serves
  compiler_.set_healthy(ip("10.0.0.1"), 5432, Protocol::tcp, true);
  given.endpoints.pop_back();
  compiler_.upsert(given);
  delta = compile();
  EXPECT_THAT(delta.backends_gone, ElementsAre(id));
  EXPECT_TRUE(delta.changes_decisions());
}

// --- Frontends ------------------------------------------------------------------------------------

TEST_F(Services, FrontendsOfEachType) {
  auto web = service("web");
  web.type = Type::load_balancer;
  web.external_ips = {ip("198.51.100.7"), ip("fd00::7")};
  web.ingress = {{ip("203.0.113.1"), false}, {ip("203.0.113.2"), true}};
  apply(web);
  compile();
  EXPECT_THAT(frontends(only_port("web")), ElementsAre("ClusterIP 10.96.0.2:80", "NodePort 0.0.0.0:30000",
                                                       "ExternalIP 198.51.100.7:80", "LoadBalancer 203.0.113.1:80"));
  EXPECT_EQ(row("10.96.0.2", 80)->flags, 0);
  EXPECT_EQ(row("0.0.0.0", 30000)->flags, WEFT_SERVICE_EXTERNAL);
  EXPECT_TRUE(compiler_.has_external());

  web.type = Type::node_port;
  web.external_ips.clear();
  apply(web);
  auto delta = compile();
  EXPECT_THAT(frontends(only_port("web")), ElementsAre("ClusterIP 10.96.0.2:80", "NodePort 0.0.0.0:30000"));
  EXPECT_THAT(delta.frontends_gone, SizeIs(2));
  web.type = Type::cluster_ip;
  apply(web);
  compile();
  EXPECT_THAT(frontends(only_port("web")), ElementsAre("ClusterIP 10.96.0.2:80"));
  EXPECT_FALSE(compiler_.has_external());
  for (const auto word : maps_.port_words) EXPECT_EQ(word, 0U);
  for (const auto change : {1, 2, 3}) {
    auto other = web;
    if (change == 1) other.headless = true;
    if (change == 2) other.type = Type::external_name;
    if (change == 3) other.proxy_name = "somebody";
    apply(other);
    compile();
    EXPECT_THAT(compiler_.ports_of({"shop", "web"}), IsEmpty()) << change;
  }
  EXPECT_THAT(maps_.frontends, IsEmpty());
}

TEST_F(Services, AnExternalIpThatANodeHasLeadsNowhereWhileItHasIt) {
  auto web = service("web");
  web.external_ips = {ip("198.51.100.7"), ip("198.51.100.8")};
  apply(web);
  ServiceNode node{.name = "here", .zone = "a"};
  node.withheld = {ip("198.51.100.7")};
  compiler_.set_node(node);
  compile();
  EXPECT_THAT(frontends(only_port("web")), ElementsAre("ClusterIP 10.96.0.2:80", "ExternalIP 198.51.100.8:80"));
  node.withheld = {ip("198.51.100.8")};
  compiler_.set_node(node);
  compile();
  EXPECT_THAT(frontends(only_port("web")), ElementsAre("ClusterIP 10.96.0.2:80", "ExternalIP 198.51.100.7:80"));
}

// Whoever writes a Service, or its status, does not get what is said to pods and to other Services.
TEST_F(Services, NothingIsServedFromOutsideInRangesOfPodsAndServices) {
  auto web = service("web");
  web.external_ips = {ip("10.244.0.7"), ip("198.51.100.8"), ip("198.51.100.9")};
  apply(web);
  ServiceNode node{.name = "here", .zone = "a"};
  node.withheld_ranges = {*Cidr::parse("10.244.0.0/16")};
  node.taken = {ip("198.51.100.9")};
  compiler_.set_node(node);
  compile();
  EXPECT_THAT(frontends(only_port("web")), ElementsAre("ClusterIP 10.96.0.2:80", "ExternalIP 198.51.100.8:80"));
  node.withheld_ranges = {*Cidr::parse("198.51.100.0/24"), *Cidr::parse("10.96.0.0/12")};
  compiler_.set_node(node);
  compile();
  EXPECT_THAT(frontends(only_port("web")), ElementsAre("ClusterIP 10.96.0.2:80", "ExternalIP 10.244.0.7:80"));
}

TEST_F(Services, PoliciesShapeTheRuns) {
  auto web = service("web");
  web.type = Type::node_port;
  auto given = slice("web-1", "web", 80);
  given.endpoints = {at("10.0.0.1"), at("10.0.0.2")};
  given.endpoints[0].node = "here";
  given.endpoints[1].node = "there";
  compiler_.upsert(given);
  struct Case {
    bool internal_local, external_local;
    std::vector<std::string> cluster_ip, node_internal, node_external;
  };
  const std::vector<std::string> local{"10.0.0.1"};
  const std::vector<std::string> all{"10.0.0.1", "10.0.0.2"};
  for (const auto& one : {Case{false, false, all, all, all}, Case{true, false, local, all, all},
                          Case{false, true, all, all, local}, Case{true, true, local, all, local}}) {
    web.internal_local = one.internal_local;
    web.external_local = one.external_local;
    apply(web);
    compile();
    EXPECT_EQ(only_port("web").type, Type::node_port);
    EXPECT_EQ(only_port("web").internal_local, one.internal_local);
    EXPECT_EQ(only_port("web").external_local, one.external_local);
    const auto* inside = row("10.96.0.2", 80);
    const auto* outside = row("0.0.0.0", 30000);
    EXPECT_EQ(run(inside->first_slot, inside->slot_count), one.cluster_ip);
    EXPECT_EQ(run(outside->first_slot, outside->slot_count), one.node_internal);
    EXPECT_EQ(run(outside->external_first_slot, outside->external_slot_count), one.node_external);
    EXPECT_EQ((outside->flags & WEFT_SERVICE_EXTERNAL_LOCAL) != 0, one.external_local);
    EXPECT_EQ(inside->service_id, outside->service_id);
  }
}

TEST_F(Services, SourceRangesGuardLoadBalancerAddressesAlone) {
  auto web = service("web");
  web.type = Type::load_balancer;
  web.ingress = {{ip("203.0.113.1"), false}};
  web.external_ips = {ip("198.51.100.7"), ip("203.0.113.1")};
  web.source_ranges = {Cidr::parse("10.0.0.0/8").value(), Cidr::parse("fd00::/8").value()};
  apply(web);
  compile();
  EXPECT_TRUE(row("203.0.113.1", 80)->flags & WEFT_SERVICE_SOURCE_RANGES);
  for (const auto* address : {"10.96.0.2", "198.51.100.7"})
    EXPECT_FALSE(row(address, 80)->flags & WEFT_SERVICE_SOURCE_RANGES) << address;
  EXPECT_FALSE(row("0.0.0.0", 30000)->flags & WEFT_SERVICE_SOURCE_RANGES);
  ASSERT_THAT(maps_.ranges, SizeIs(1));  // those of the port's family
  EXPECT_EQ(maps_.ranges.begin()->prefix_length, 32U + 96 + 8);
  web.source_ranges = {Cidr::parse("fd00::/8").value()};
  apply(web);
  compile();
  EXPECT_FALSE(row("203.0.113.1", 80)->flags & WEFT_SERVICE_SOURCE_RANGES);
  EXPECT_THAT(maps_.ranges, IsEmpty());
}

TEST_F(Services, FirstComeFirstServed) {
  auto a = service("a");
  auto b = service("b");
  a.external_ips = b.external_ips = {ip("198.51.100.7")};
  apply(b);
  compile();
  apply(a);
  compile();
  EXPECT_EQ(compiler_.find(ip("198.51.100.7"), 80, Protocol::tcp)->service.name, "b");
  ASSERT_THAT(compiler_.shadowed(), SizeIs(1));
  EXPECT_EQ(compiler_.shadowed()[0].service.name, "a");
  EXPECT_EQ(compiler_.shadowed()[0].owner.name, "b");
  compiler_.erase_service({"shop", "b"});
  compile();
  EXPECT_EQ(compiler_.find(ip("198.51.100.7"), 80, Protocol::tcp)->service.name, "a");
  EXPECT_THAT(compiler_.shadowed(), IsEmpty());
  EXPECT_EQ(row("198.51.100.7", 80)->service_id, only_port("a").id);
}

TEST_F(Services, PodsOfOtherNodesServeAndAreNotLocal) {
  auto web = service("web", {{"app", "web"}});
  web.internal_local = true;
  apply(web);
  apply(service("all", {{"app", "web"}}));
  auto here = pod("here", {{"app", "web"}}, {"10.0.0.1"});
  auto there = pod("there", {{"app", "web"}}, {"10.0.1.1"});
  there.node = "node2";
  compiler_.upsert(here);
  compiler_.upsert(there);
  compile();
  const auto& port = only_port("all");
  ASSERT_THAT(port.backends, SizeIs(2));
  for (const auto& backend : port.backends) {
    EXPECT_EQ(backend.local, backend.pod.name == "here");
    EXPECT_TRUE(backend.internal);
    if (!backend.local) {
      EXPECT_EQ(backend.node, "node2");
    }
  }
  for (const auto& backend : only_port("web").backends) EXPECT_EQ(backend.internal, backend.local);
}

TEST_F(Services, HostPortsOfPods) {
  auto web = pod("web", {}, {"10.0.0.1", "fd00::1"});
  web.ready = false;
  web.host_ports = {{std::nullopt, 8080, 80, Protocol::tcp}, {ip("192.0.2.1"), 8443, 443, Protocol::tcp}};
  compiler_.upsert(web);
  compile();
  EXPECT_THAT(maps_.frontends, SizeIs(3));
  const auto* v4 = row("0.0.0.0", 8080);
  EXPECT_THAT(run(v4->first_slot, v4->slot_count), ElementsAre("10.0.0.1"));
  EXPECT_EQ(v4->flags, WEFT_SERVICE_EXTERNAL);
  EXPECT_THAT(run(row("::", 8080)->first_slot, 1), ElementsAre("fd00::1"));
  EXPECT_NE(row("192.0.2.1", 8443), nullptr);
  const auto* found = compiler_.find(ip("127.0.0.1"), 8080, Protocol::tcp);
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->service, web.key);
  EXPECT_EQ(found->type, std::nullopt);
  EXPECT_EQ(compiler_.find(ip("192.0.2.1"), 8080, Protocol::tcp), found);
  EXPECT_EQ(compiler_.find(ip("192.0.2.99"), 8080, Protocol::tcp), nullptr);
  compiler_.erase_pod(web.key);
  compile();
  EXPECT_THAT(maps_.frontends, IsEmpty());
  EXPECT_EQ(compiler_.usage().services, 0U);
}

TEST_F(Services, WhatTheConfigurationIsTold) {
  auto web = service("web");
  web.type = Type::node_port;
  apply(web);
  auto given = slice("web-1", "web", 80);
  given.endpoints = {at("192.0.2.1")};
  compiler_.upsert(given);
  compile();
  EXPECT_TRUE(compiler_.has_external() && compiler_.has_host_backends());
  compiler_.set_node({"here", "east", {}});
  compile();
  EXPECT_TRUE(compiler_.has_external());
  EXPECT_FALSE(compiler_.has_host_backends());
}

TEST_F(Services, HealthCheckNodePorts) {
  auto web = service("web", {{"app", "web"}});
  web.type = Type::load_balancer;
  web.external_local = true;
  apply(web);
  compile();
  const auto number = compiler_.held({"shop", "web"}).health_check_port;
  ASSERT_NE(number, 0);
  EXPECT_EQ(compiler_.health_ports().at(number).local_endpoints, 0U);
  compiler_.upsert(pod("a", {{"app", "web"}}, {"10.0.0.1"}));
  compiler_.upsert(pod("b", {{"app", "web"}}, {"10.0.0.2"}));
  compile();
  EXPECT_EQ(compiler_.health_ports().at(number).local_endpoints, 2U);
  EXPECT_EQ(compiler_.health_ports().at(number).service.name, "web");
  web.external_local = false;
  apply(web);
  compile();
  EXPECT_THAT(compiler_.health_ports(), IsEmpty());
}

TEST_F(Services, LocalRedirect) {
  auto dns = service("dns", {{"app", "dns"}});
  dns.local_redirect = LabelMap{{"app", "cache"}};
  dns.type = Type::node_port;
  apply(dns);
  compiler_.upsert(pod("dns-0", {{"app", "dns"}}, {"10.0.0.1"}));
  auto cache = pod("cache-0", {{"app", "cache"}}, {"10.0.0.9"});
  cache.ready = false;
  compiler_.upsert(cache);
  compile();
  EXPECT_THAT(compiler_.redirect_targets(), IsEmpty());
  EXPECT_FALSE(row("10.96.0.2", 80)->flags & WEFT_SERVICE_LOCAL_REDIRECT);
  cache.ready = true;
  compiler_.upsert(cache);
  compile();
  const auto* inside = row("10.96.0.2", 80);
  EXPECT_TRUE(inside->flags & WEFT_SERVICE_LOCAL_REDIRECT);
  EXPECT_THAT(run(inside->first_slot, inside->slot_count), ElementsAre("10.0.0.9"));
  EXPECT_THAT(run(inside->external_first_slot, inside->external_slot_count), ElementsAre("10.0.0.1"));
  const auto* outside = row("0.0.0.0", 30000);
  EXPECT_THAT(run(outside->first_slot, outside->slot_count), ElementsAre("10.0.0.1"));
  EXPECT_EQ(compiler_.redirect_targets().at({"shop", "cache-0"}), 1U);
  compiler_.erase_pod(cache.key);
  compile();
  EXPECT_THAT(compiler_.redirect_targets(), IsEmpty());
  EXPECT_THAT(run(row("10.96.0.2", 80)->first_slot, 1), ElementsAre("10.0.0.1"));
}

TEST_F(Services, RowsAreInTheMapsByteOrder) {
  auto web = service("web", {{"app", "web"}});
  web.affinity_seconds = 10800;
  web.algorithm = model::Algorithm::least_connections;
  web.ports = {port(0x1234, std::uint16_t{0x5678}, "", Protocol::sctp)};
  apply(web);
  compiler_.upsert(pod("a", {{"app", "web"}}, {"10.0.0.1"}));
  compile();
  ASSERT_THAT(maps_.frontends, SizeIs(1));
  const auto& [key, value] = *maps_.frontends.begin();
  const std::array<unsigned char, 20> expected_key{0,    0,    0,  0,  0, 0, 0,    0,    0,   0,
                                                   0xff, 0xff, 10, 96, 0, 2, 0x12, 0x34, 132, 0};
  EXPECT_EQ(std::memcmp(&key, expected_key.data(), sizeof key), 0);
  EXPECT_EQ(value.affinity_seconds, 10800U);
  EXPECT_EQ(value.algorithm, WEFT_ALGORITHM_LEAST_CONNECTIONS);
  const auto& backend = maps_.backends.at(maps_.slots.at(value.first_slot));
  const std::array<unsigned char, 20> expected_backend{0,    0,    0,  0, 0, 0, 0,    0,    0,   0,
                                                       0xff, 0xff, 10, 0, 0, 1, 0x56, 0x78, 132, WEFT_BACKEND_ACTIVE};
  EXPECT_EQ(std::memcmp(&backend, expected_backend.data(), expected_backend.size()), 0);
  EXPECT_EQ(backend.service_id, value.service_id);
  EXPECT_EQ(backend.flags, WEFT_BACKEND_LOCAL);
}

TEST_F(Services, AServiceWithoutEndpointsStillHasAFrontend) {
  apply(service("web"));
  const auto delta = compile();
  ASSERT_NE(row("10.96.0.2", 80), nullptr);
  EXPECT_EQ(row("10.96.0.2", 80)->slot_count, 0U);
  EXPECT_THAT(delta.slots, IsEmpty());
  EXPECT_TRUE(delta.whole);
  EXPECT_TRUE(compile().empty());
}

class DualStack : public Services {
 protected:
  DualStack() : Services(options({"10.96.0.0/16", "fd96::/108"})) {}
};

TEST_F(DualStack, EachFamilyHasItsOwn) {
  auto web = service("web", {{"app", "web"}});
  web.family_policy = model::Service::FamilyPolicy::require_dual_stack;
  web.type = Type::node_port;
  apply(web);
  compiler_.upsert(pod("a", {{"app", "web"}}, {"fd00::1", "10.0.0.1"}));
  compiler_.upsert(pod("b", {{"app", "web"}}, {"10.0.0.2"}));
  compile();
  const auto ports = compiler_.ports_of({"shop", "web"});
  ASSERT_THAT(ports, SizeIs(2));
  EXPECT_THAT(backends(*ports[0], &ServiceBackend::internal), ElementsAre("10.0.0.1:8080", "10.0.0.2:8080"));
  EXPECT_THAT(backends(*ports[1], &ServiceBackend::internal), ElementsAre("fd00::1:8080"));
  EXPECT_NE(ports[0]->id, ports[1]->id);
  EXPECT_THAT(frontends(*ports[1]), ElementsAre("ClusterIP fd96::2:80", "NodePort :::30000"));
}

class PlainHost : public Services {
 protected:
  PlainHost() : Services(options({})) {}
};

TEST_F(PlainHost, ABalancerNeedsNoClusterIps) {
  model::LoadBalancerPool pool;
  pool.meta.name = "p";
  pool.ranges = {{ip("203.0.113.1"), ip("203.0.113.9")}};
  compiler_.upsert(pool);
  auto web = service("web");
  web.type = Type::load_balancer;
  web.allocate_node_ports = false;
  apply(web);
  auto given = slice("web-1", "web", 80);
  given.endpoints = {at("10.0.0.1")};
  compiler_.upsert(given);
  compile();
  EXPECT_THAT(frontends(only_port("web")), ElementsAre("LoadBalancer 203.0.113.1:80"));
  EXPECT_THAT(external("web"), ElementsAre("10.0.0.1:80"));
}

}  // namespace
}  // namespace weft::control
