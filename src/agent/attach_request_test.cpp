#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "agent/attachment.h"

namespace weft::agent {
namespace {

using nlohmann::json;

json request() {
  return {{"container_id", "0123456789abcdef"},
          {"ifname", "eth0"},
          {"netns", "/run/netns/a"},
          {"args", json::object()},
          {"config", {{"name", "weft"}}}};
}

TEST(AttachRequest, APodIsNamedByItsArguments) {
  auto params = request();
  params["args"] = {{"K8S_POD_NAMESPACE", "shop"}, {"K8S_POD_NAME", "web-0"}};
  const auto parsed = parse_attach(params);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->key.owner(), "0123456789abcdef/eth0");
  EXPECT_EQ(parsed->netns, "/run/netns/a");
  EXPECT_EQ(parsed->namespace_, "shop");
  EXPECT_EQ(parsed->pod, "web-0");
  EXPECT_TRUE(parsed->pod_named);
  EXPECT_EQ(parsed->network, "weft");
}

TEST(AttachRequest, AContainerWithoutPodGetsADefaultPlaceAndItsLabels) {
  auto params = request();
  params["config"]["labels"] = {{"app", "web"}, {"odd", 3}};
  params["config"]["mtu"] = 1400U;
  const auto parsed = parse_attach(params);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->namespace_, "default");
  EXPECT_EQ(parsed->pod, "0123456789ab");
  EXPECT_FALSE(parsed->pod_named);
  EXPECT_EQ(parsed->labels.at("container:app"), "web");
  EXPECT_FALSE(parsed->labels.contains("container:odd"));
  EXPECT_EQ(parsed->mtu, 1400U);
  params["config"]["namespace"] = "set";
  EXPECT_EQ(parse_attach(params)->namespace_, "set");
}

TEST(AttachRequest, AddressesAreTakenFromOnePlace) {
  const std::vector<IpAddress> both{*IpAddress::parse("10.0.0.5"), *IpAddress::parse("fd00::5")};
  auto params = request();
  params["args"] = {{"IP", "10.0.0.5/24,fd00::5"}};
  EXPECT_EQ(parse_attach(params)->addresses, both);
  params["config"]["runtimeConfig"]["ips"] = {"10.0.0.9"};
  EXPECT_EQ(parse_attach(params)->addresses, both) << "CNI_ARGS come first";
  params["args"] = json::object();
  EXPECT_EQ(parse_attach(params)->addresses.front().to_string(), "10.0.0.9");
  params["config"].erase("runtimeConfig");
  params["config"]["args"]["cni"]["ips"] = {"10.0.0.7/16"};
  EXPECT_EQ(parse_attach(params)->addresses.front().to_string(), "10.0.0.7");
}

TEST(AttachRequest, TheMacIsCheckedForUse) {
  auto params = request();
  params["args"] = {{"MAC", "02:00:00:00:00:01"}};
  EXPECT_EQ(parse_attach(params)->mac->to_string(), "02:00:00:00:00:01");
  params["config"]["runtimeConfig"]["mac"] = "02:00:00:00:00:02";
  EXPECT_EQ(parse_attach(params)->mac->to_string(), "02:00:00:00:00:02");
  params["config"]["runtimeConfig"]["mac"] = "03:00:00:00:00:02";
  EXPECT_THAT(parse_attach(params).error().message, ::testing::HasSubstr("multicast"));
  params["config"]["runtimeConfig"]["mac"] = "nonsense";
  EXPECT_FALSE(parse_attach(params));
}

TEST(AttachRequest, PortMappingsAreReadAsRuntimesSendThem) {
  auto params = request();
  params["config"]["runtimeConfig"]["portMappings"] = json::parse(R"([
    {"hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": ""},
    {"hostPort": 8080, "containerPort": 80, "protocol": "TCP"},
    {"hostPort": 5353, "containerPort": 53, "protocol": "udp", "hostIP": "192.0.2.1"},
    {"containerPort": 9090, "protocol": "TCP"},
    {"hostPort": 0, "containerPort": 9091}])");
  const auto parsed = parse_attach(params);
  ASSERT_TRUE(parsed) << parsed.error().message;
  const std::vector<store::PortMapping> expected{{std::nullopt, 8080, 80, Protocol::tcp},
                                                 {*IpAddress::parse("192.0.2.1"), 5353, 53, Protocol::udp}};
  EXPECT_EQ(parsed->port_mappings, expected);
}

TEST(AttachRequest, AWrongPortMappingIsNamed) {
  const std::vector<std::pair<const char*, const char*>> cases{
      {R"({"hostPort": 8080})", "portMappings: expected a list"},
      {R"([7])", "portMappings[0].hostPort"},
      {R"([{"hostPort": 70000, "containerPort": 80}])", "portMappings[0].hostPort"},
      {R"([{"hostPort": -1, "containerPort": 80}])", "portMappings[0].hostPort"},
      {R"([{"hostPort": "8080", "containerPort": 80}])", "portMappings[0].hostPort"},
      {R"([{"hostPort": 80}])", "portMappings[0].containerPort"},
      {R"([{"hostPort": 80, "containerPort": 80, "protocol": "icmp"}])", "portMappings[0].protocol"},
      {R"([{"hostPort": 80, "containerPort": 80, "hostIP": "here"}])", "portMappings[0].hostIP"},
  };
  for (const auto& [mappings, message] : cases) {
    auto params = request();
    params["config"]["runtimeConfig"]["portMappings"] = json::parse(mappings);
    const auto parsed = parse_attach(params);
    ASSERT_FALSE(parsed) << mappings;
    EXPECT_EQ(parsed.error().code, ErrorCode::invalid);
    EXPECT_THAT(parsed.error().message, ::testing::HasSubstr(message));
  }
}

TEST(AttachRequest, WhatIsMissingOrBrokenIsNamed) {
  for (const auto* key : {"container_id", "ifname"}) {
    auto params = request();
    params.erase(key);
    EXPECT_THAT(parse_attach(params).error().message, ::testing::HasSubstr(key));
  }
  auto params = request();
  params["args"] = {{"IP", "10.0.0.300"}};
  EXPECT_THAT(parse_attach(params).error().message, ::testing::HasSubstr("CNI_ARGS IP"));
  params = request();
  params["config"]["runtimeConfig"]["ips"] = {3};
  EXPECT_THAT(parse_attach(params).error().message, ::testing::HasSubstr("runtimeConfig.ips"));
  for (const json& odd : {json(), json(3), json::array(), json{{"args", 3}, {"config", "x"}}})
    EXPECT_FALSE(parse_attach(odd)) << odd.dump();
}

TEST(AttachRequest, NamesOfPodsAndNamespacesAreKubernetesNames) {
  for (const char* key : {"K8S_POD_NAME", "K8S_POD_NAMESPACE"})
    for (const char* name : {"a/b", "../x", "\x1b[31mred", "Upper", "a b", "-a", "a\nb"}) {
      auto params = request();
      params["args"][key] = name;
      const auto parsed = parse_attach(params);
      ASSERT_FALSE(parsed) << key << "=" << name;
      EXPECT_EQ(parsed.error().code, ErrorCode::invalid);
      EXPECT_THAT(parsed.error().message, ::testing::StartsWith(std::string("CNI_ARGS: ") + key));
      EXPECT_THAT(parsed.error().message, ::testing::Not(::testing::HasSubstr("\x1b")));
    }
  auto params = request();
  params["args"]["K8S_POD_NAME"] = "web-0.part";
  EXPECT_TRUE(parse_attach(params));
  params["config"]["namespace"] = "a/b";
  EXPECT_FALSE(parse_attach(params));
}

TEST(AttachRequest, AnMtuOutOfRangeIsRefused) {
  const json wrong[] = {-5, 1, 1279, 65536, 1000000000000, 1e30, 1500.5, "1500", true, json::array()};
  for (const auto& mtu : wrong) {
    auto params = request();
    params["config"]["mtu"] = mtu;
    const auto parsed = parse_attach(params);
    ASSERT_FALSE(parsed) << mtu;
    EXPECT_THAT(parsed.error().message, ::testing::StartsWith("mtu:"));
  }
  auto params = request();
  params["config"]["mtu"] = 0;
  EXPECT_EQ(parse_attach(params)->mtu, 0U);
}

}  // namespace
}  // namespace weft::agent
