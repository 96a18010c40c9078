#include "agent/external_addresses.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::agent {
namespace {

using ::testing::HasSubstr;

IpAddress ip(std::string_view text) { return IpAddress::parse(text).value(); }

struct World {
  Config config = parse_config("weftd.yaml", "").value();
  Node node;
  model::LoadBalancerPool pool;

  World() {
    node.addresses = {ip("192.0.2.2")};
    node.broadcasts = {ip("192.0.2.255")};
    node.networks = {ip("192.0.2.0")};
    node.next_hops = {ip("192.0.2.1")};
    pool.meta.name = "public";
    pool.ranges = {{ip("192.0.2.100"), ip("192.0.2.110")}};
  }
  [[nodiscard]] std::string refusal(const model::Service& service) const {
    const auto checked = check_external_addresses(service, config, node, {&pool});
    return checked ? "taken" : checked.error().message;
  }
  [[nodiscard]] std::string external(std::string_view address, std::uint16_t port = 80) const {
    model::Service service;
    service.external_ips = {ip(address)};
    service.ports.resize(1);
    service.ports[0].port = port;
    return refusal(service);
  }
  [[nodiscard]] std::string given(std::string_view address) const {
    model::Service service;
    service.ingress.resize(1);
    service.ingress[0].address = ip(address);
    return refusal(service);
  }
};

TEST(ExternalAddresses, WhatOthersHaveIsNotForTheTaking) {
  const World world;
  EXPECT_THAT(world.external("10.244.0.5"), HasSubstr("spec.externalIPs: 10.244.0.5 is in pod_cidrs"));
  EXPECT_THAT(world.external("fd00:10:244::5"), HasSubstr("pod_cidrs"));
  EXPECT_THAT(world.external("10.96.0.77"), HasSubstr("service_cidrs"));
  EXPECT_THAT(world.external("192.0.2.255"), HasSubstr("broadcast"));
  EXPECT_THAT(world.external("192.0.2.0"), HasSubstr("names the network"));
  EXPECT_THAT(world.external("192.0.2.1"), HasSubstr("is a router's: routes of this node lead there"));
  EXPECT_THAT(world.given("192.0.2.1"), HasSubstr("is a router's"));
  EXPECT_THAT(world.external("255.255.255.255"), HasSubstr("broadcast"));
  EXPECT_THAT(world.external("192.0.2.105"), HasSubstr("is in LoadBalancerPool public"));
  EXPECT_THAT(world.external("192.0.2.2", 30080), HasSubstr("30080 is for node ports"));
  EXPECT_THAT(world.given("10.244.0.5"), HasSubstr("status.loadBalancer.ingress: 10.244.0.5 is in pod_cidrs"));
  EXPECT_THAT(world.given("10.96.0.77"), HasSubstr("service_cidrs"));
  EXPECT_THAT(world.given("192.0.2.105"), HasSubstr("is in LoadBalancerPool public"));
}

TEST(ExternalAddresses, NorWhenAPoolIsAskedForThem) {
  World world;
  model::Service service;
  service.load_balancer_ips = {ip("192.0.2.1")};
  EXPECT_THAT(world.refusal(service), HasSubstr("spec.loadBalancerIP: 192.0.2.1 is a router's"));
}

TEST(ExternalAddresses, APoolHasNoneThatOthersHave) {
  World world;
  const auto refusal = [&](std::string_view first, std::string_view last) {
    world.pool.ranges = {{ip("203.0.113.0"), ip("203.0.113.255")}, {ip(first), ip(last)}};
    const auto checked = check_pool(world.pool, world.config, world.node);
    return checked ? "taken" : checked.error().message;
  };
  EXPECT_EQ(refusal("192.0.2.2", "192.0.2.254"), "taken") << "the node's own may be asked for";
  EXPECT_EQ(refusal("192.0.2.0", "192.0.2.0"),
            "spec.addresses[1]: 192.0.2.0-192.0.2.0 has 192.0.2.0, which is the first of a network of this node: it "
            "names the network");
  EXPECT_THAT(refusal("192.0.2.1", "192.0.2.9"), HasSubstr("has 192.0.2.1, which is a router's"));
  EXPECT_THAT(refusal("192.0.2.250", "192.0.3.9"), HasSubstr("has 192.0.2.255, which is a broadcast address"));
  EXPECT_THAT(refusal("10.0.0.0", "10.255.255.255"), HasSubstr("has addresses of pod_cidrs"));
  EXPECT_THAT(refusal("10.96.1.0", "10.96.1.9"), HasSubstr("has addresses of service_cidrs"));
  EXPECT_EQ(refusal("2001:db8::", "2001:db8::ff"), "taken");
}

TEST(ExternalAddresses, OthersAreTaken) {
  World world;
  EXPECT_EQ(world.external("192.0.2.2"), "taken");
  EXPECT_EQ(world.external("203.0.113.7", 30080), "taken");
  EXPECT_EQ(world.external("2001:db8::7"), "taken");
  EXPECT_EQ(world.given("203.0.113.8"), "taken");
  world.config.external_ips = false;
  EXPECT_THAT(world.external("203.0.113.7"), HasSubstr("this node serves none"));
  EXPECT_EQ(world.given("203.0.113.7"), "taken");
}

}  // namespace
}  // namespace weft::agent
