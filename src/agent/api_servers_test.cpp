#include "agent/api_servers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::agent {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

model::EndpointSlice slice(const std::string& name, const std::vector<std::string>& addresses) {
  model::EndpointSlice result;
  result.meta.namespace_ = "default";
  result.meta.name = name;
  result.meta.labels["kubernetes.io/service-name"] = "kubernetes";
  for (const auto& address : addresses) {
    model::SliceEndpoint endpoint;
    endpoint.addresses = {IpAddress::parse(address).value()};
    result.endpoints.push_back(endpoint);
  }
  model::SlicePort port;
  port.name = "https";
  port.port = 6443;
  result.ports = {port};
  return result;
}

TEST(ApiServers, AreTheEndpointsOfTheirOwnService) {
  ApiServers servers;
  EXPECT_TRUE(servers.take(slice("kubernetes", {"192.0.2.1", "192.0.2.3"})));
  EXPECT_FALSE(servers.take(slice("kubernetes", {"192.0.2.1", "192.0.2.3"})));
  EXPECT_TRUE(servers.take(slice("kubernetes-v6", {"2001:db8::1"})));
  EXPECT_THAT(servers.addresses(), ElementsAre("192.0.2.1:6443", "192.0.2.3:6443", "[2001:db8::1]:6443"));
  auto waiting = slice("kubernetes", {"192.0.2.1", "192.0.2.4"});
  waiting.endpoints[0].ready = false;
  EXPECT_TRUE(servers.take(waiting));
  EXPECT_THAT(servers.addresses(), ElementsAre("192.0.2.4:6443", "[2001:db8::1]:6443"));
  EXPECT_TRUE(servers.forget({"default", "kubernetes"}));
  EXPECT_FALSE(servers.forget({"default", "kubernetes"}));
  // Whoever may write slices elsewhere names no API server.
  auto strange = slice("kubernetes", {"198.51.100.6"});
  strange.meta.namespace_ = "shop";
  EXPECT_FALSE(servers.take(strange));
  strange = slice("other", {"198.51.100.6"});
  strange.meta.labels["kubernetes.io/service-name"] = "web";
  EXPECT_FALSE(servers.take(strange));
  EXPECT_THAT(servers.addresses(), ElementsAre("[2001:db8::1]:6443"));
}

TEST(ApiServers, TheOrderToTryThem) {
  const std::vector<std::string> remembered{"192.0.2.1:6443", "192.0.2.3:6443", "no server"};
  // A pod's last one is the Service, which may not work yet.
  EXPECT_THAT(servers_in_order({"https://10.96.0.1:443"}, remembered, true),
              ElementsAre("https://192.0.2.1:6443", "https://192.0.2.3:6443", "https://10.96.0.1:443"));
  EXPECT_THAT(servers_in_order({"https://192.0.2.3:6443", "https://10.96.0.1:443"}, remembered, true),
              ElementsAre("https://192.0.2.3:6443", "https://192.0.2.1:6443", "https://10.96.0.1:443"));
  EXPECT_THAT(servers_in_order({"https://api.example:6443"}, remembered, false),
              ElementsAre("https://api.example:6443", "https://192.0.2.1:6443", "https://192.0.2.3:6443"));
  EXPECT_THAT(servers_in_order({}, {}, true), IsEmpty());
}

}  // namespace
}  // namespace weft::agent
