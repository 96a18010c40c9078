#include "chart/chart.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>

#include "chart/embedded.h"
#include "chart/schema.h"
#include "model/kinds.h"
#include "model/parse.h"

namespace weft::chart {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

std::string read(const std::string& path) {
  std::ifstream file(WEFT_SOURCE_DIR "/" + path);
  EXPECT_TRUE(file) << path;
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

Result<Manifests> render_with(const std::vector<std::string>& assignments) {
  auto values = default_values();
  for (const auto& one : assignments) WEFT_CHECK(set_value(values, one));
  return render(values);
}

json find(const Manifests& manifests, const std::string& name) {
  for (const auto& object : manifests.objects)
    if (name_of(object) == name) return object;
  ADD_FAILURE() << "there is no " << name;
  return {};
}

std::string config_of(const std::vector<std::string>& assignments, const std::string& file = "weftd.yaml") {
  const auto manifests = render_with(assignments);
  if (!manifests) return manifests.error().message;
  return find(*manifests, "ConfigMap weft-system/weft-config")["data"][file];
}

TEST(ChartTest, TheFileThatUsersApplyIsWhatIsRendered) {
  const auto manifests = render(default_values());
  ASSERT_TRUE(manifests) << manifests.error().message;
  // Not EXPECT_EQ, which would print both.
  EXPECT_TRUE(read("deploy/kubernetes/weft.yaml") == manifests->text)
      << "make it anew: build/bin/weft install --print > deploy/kubernetes/weft.yaml";
}

TEST(ChartTest, VersionsAreThoseOfTheProgram) {
  const auto chart = documents("Chart.yaml", read("deploy/kubernetes/chart/weft/Chart.yaml"));
  ASSERT_TRUE(chart);
  EXPECT_EQ((*chart)[0]["version"], WEFT_VERSION);
  EXPECT_EQ((*chart)[0]["appVersion"], WEFT_VERSION);
  EXPECT_EQ(version(), WEFT_VERSION);
}

TEST(ChartTest, DefaultsFitTheirSchema) {
  const auto good = check_values(default_values());
  EXPECT_TRUE(good) << good.error().message;
}

TEST(ChartTest, ObjectsComeInTheOrderTheyAreNeeded) {
  const auto manifests = render(default_values());
  ASSERT_TRUE(manifests);
  std::vector<std::string> kinds;
  for (const auto& object : manifests->objects)
    if (auto kind = object["kind"].get<std::string>(); kinds.empty() || kinds.back() != kind)
      kinds.push_back(std::move(kind));
  // In pairs, before whom they hold is there.
  const auto policies = std::ranges::find(kinds, "ValidatingAdmissionPolicy");
  const auto after = std::ranges::find(kinds, "ConfigMap");
  EXPECT_EQ(after - policies, 8);
  for (auto kind = policies; kind < after; ++kind)
    EXPECT_EQ(*kind, (kind - policies) % 2 == 0 ? "ValidatingAdmissionPolicy" : "ValidatingAdmissionPolicyBinding");
  if (policies < after) kinds.erase(policies, after);
  EXPECT_THAT(kinds, testing::ElementsAre("Namespace", "CustomResourceDefinition", "ServiceAccount", "ClusterRole",
                                          "ClusterRoleBinding", "ClusterRole", "ClusterRoleBinding", "Role",
                                          "RoleBinding", "Role", "RoleBinding", "ConfigMap", "DaemonSet", "Deployment",
                                          "PodDisruptionBudget"));
}

TEST(ChartTest, ValuesGetToTheirPlaces) {
  EXPECT_THAT(config_of({"podCIDRs=10.7.0.0/16,fd00::/48", "tunnel=none"}),
              AllOf(HasSubstr("pod_cidrs: [\"10.7.0.0/16\",\"fd00::/48\"]\n"), HasSubstr("tunnel: none\n")));
  EXPECT_THAT(config_of({"kubernetesServers=[https://192.0.2.1:6443]"}),
              HasSubstr("kubernetes_servers: [\"https://192.0.2.1:6443\"]\n"));
  EXPECT_THAT(config_of({"kubernetesServers=[https://192.0.2.1:6443]"}, "weft-operator.yaml"),
              HasSubstr("kubernetes_servers: [\"https://192.0.2.1:6443\"]\n"));
  EXPECT_THAT(config_of({"agentConfig.mtu=1400", "agentConfig.encryption=wireguard"}),
              HasSubstr("\nencryption: \"wireguard\"\nmtu: 1400"));
  EXPECT_THAT(config_of({"store=etcd", "etcd.endpoints=https://192.0.2.9:2379", "etcd.secret=etcd"}),
              AllOf(HasSubstr("store: etcd\netcd_endpoints: [\"https://192.0.2.9:2379\"]\n"),
                    HasSubstr("etcd_ca_file: /etc/weft-etcd/ca.crt\n")));
  const auto manifests = render_with({"image=registry.test/weft:1", "imagePullSecrets=[{name: key}]",
                                      "agent.resources.limits.memory=3Gi", "operator.replicas=1"});
  ASSERT_TRUE(manifests) << manifests.error().message;
  const auto pod = find(*manifests, "DaemonSet weft-system/weft")["spec"]["template"]["spec"];
  EXPECT_EQ(pod["containers"][0]["image"], "registry.test/weft:1");
  EXPECT_EQ(pod["containers"][0]["resources"]["limits"]["memory"], "3Gi");
  EXPECT_EQ(pod["imagePullSecrets"][0]["name"], "key");
  EXPECT_EQ(find(*manifests, "Deployment weft-system/weft-operator")["spec"]["replicas"], 1);
}

TEST(ChartTest, ValuesAreWhatHelmTakesThemFor) {
  const auto values = [](const std::vector<std::string>& assignments) {
    auto all = default_values();
    for (const auto& one : assignments) {
      const auto set = set_value(all, one);
      EXPECT_TRUE(set) << set.error().message;
    }
    return all;
  };
  EXPECT_EQ(values({"agent.maxUnavailable=3"})["agent"]["maxUnavailable"], 3);
  EXPECT_EQ(values({"agent.maxUnavailable=25%"})["agent"]["maxUnavailable"], "25%");
  EXPECT_EQ(values({"operator.resources.requests.cpu=1"})["operator"]["resources"]["requests"]["cpu"], 1);
  EXPECT_EQ(values({"image=1.20"})["image"], "1.20");
  EXPECT_EQ(values({"image='1.20'"})["image"], "1.20");
  EXPECT_EQ(values({"image=a/b:1", "image="})["image"], "");
  EXPECT_EQ(values({"nodeRestriction=false"})["nodeRestriction"], false);
  EXPECT_EQ(values({"kubernetesServers=https://192.0.2.1:6443", "kubernetesServers="})["kubernetesServers"],
            json::array());
  EXPECT_EQ(values({"agentConfig.zone="})["agentConfig"], json({{"zone", ""}}));
  EXPECT_EQ(values({"agentConfig.mtu=1400", "agentConfig.mtu=null"})["agentConfig"], json::object());
  EXPECT_EQ(values({"agentConfig.uplinks=[a, b]"})["agentConfig"]["uplinks"], json({"a", "b"}));
}

TEST(ChartTest, AgentsAreHeldToTheirNode) {
  const auto policies = [](const std::vector<std::string>& assignments) {
    std::vector<std::string> names;
    const auto manifests = render_with(assignments);
    if (!manifests) return std::vector{manifests.error().message};
    for (const auto& object : manifests->objects)
      if (object["kind"].get<std::string>().starts_with("ValidatingAdmissionPolicy")) {
        names.push_back(name_of(object));
        EXPECT_TRUE(object["kind"] != "ValidatingAdmissionPolicyBinding" ||
                    object["spec"]["policyName"] == object["metadata"]["name"]);
      }
    return names;
  };
  EXPECT_THAT(policies({}), testing::ElementsAre("ValidatingAdmissionPolicy weft-node-restriction",
                                                 "ValidatingAdmissionPolicyBinding weft-node-restriction",
                                                 "ValidatingAdmissionPolicy weft-state-restriction",
                                                 "ValidatingAdmissionPolicyBinding weft-state-restriction",
                                                 "ValidatingAdmissionPolicy weft-event-restriction",
                                                 "ValidatingAdmissionPolicyBinding weft-event-restriction",
                                                 "ValidatingAdmissionPolicy weft-operator-restriction",
                                                 "ValidatingAdmissionPolicyBinding weft-operator-restriction"));
  EXPECT_THAT(policies({"store=etcd", "etcd.endpoints=http://192.0.2.9:2379"}),
              testing::ElementsAre("ValidatingAdmissionPolicy weft-node-restriction",
                                   "ValidatingAdmissionPolicyBinding weft-node-restriction",
                                   "ValidatingAdmissionPolicy weft-event-restriction",
                                   "ValidatingAdmissionPolicyBinding weft-event-restriction",
                                   "ValidatingAdmissionPolicy weft-operator-restriction",
                                   "ValidatingAdmissionPolicyBinding weft-operator-restriction"));
  EXPECT_THAT(policies({"nodeRestriction=false"}), IsEmpty());
}

TEST(ChartTest, AnotherConfigurationIsAnotherPod) {
  const auto hash = [](const std::vector<std::string>& assignments) {
    const auto manifests = render_with(assignments);
    EXPECT_TRUE(manifests);
    return find(*manifests,
                "DaemonSet weft-system/weft")["spec"]["template"]["metadata"]["annotations"]["weft.io/config"]
        .get<std::string>();
  };
  EXPECT_NE(hash({}), hash({"tunnel=geneve"}));
  EXPECT_EQ(hash({}), hash({"operator.replicas=1"}));
  EXPECT_EQ(hash({}).size(), 64U);
}

TEST(ChartTest, WrongValuesAreRefusedByName) {
  const auto says = [](const std::vector<std::string>& assignments) {
    const auto manifests = render_with(assignments);
    return manifests ? "nothing" : manifests.error().message;
  };
  EXPECT_THAT(says({"tunel=none"}), HasSubstr("there is no \"tunel\""));
  EXPECT_THAT(says({"tunnel"}), HasSubstr("expected KEY=VALUE"));
  EXPECT_THAT(says({"tunnel=gre"}), HasSubstr("tunnel: expected one of"));
  EXPECT_THAT(says({"podCIDRs=10.0.0.0"}), HasSubstr("podCIDRs[0]: expected what"));
  EXPECT_THAT(says({"operator.replicas=many"}), HasSubstr("operator.replicas: expected integer"));
  EXPECT_THAT(says({"store=etcd"}), HasSubstr("needs etcd.endpoints"));
  EXPECT_THAT(says({"store=etcd", "etcd.endpoints=https://192.0.2.9:2379"}), HasSubstr("no certificates"));
  EXPECT_THAT(says({"cgroupRoot=/sys/{"}), HasSubstr("cgroupRoot"));
}

TEST(ChartTest, RightsAreOfOnesOwnStoreOnly) {
  const auto manifests = render_with({"store=etcd", "etcd.endpoints=http://192.0.2.9:2379"});
  ASSERT_TRUE(manifests);
  for (const auto& object : manifests->objects)
    if (object["kind"] == "ClusterRole" || object["kind"] == "Role") {
      EXPECT_THAT(object.dump(), testing::Not(HasSubstr("\"weftblocks\""))) << name_of(object);
      EXPECT_THAT(object.dump(), testing::Not(HasSubstr("\"*\""))) << name_of(object);
      EXPECT_THAT(object.dump(), testing::Not(HasSubstr("secrets"))) << name_of(object);
    }
}

// --- Custom resources

json schema_of(const std::string& kind) {
  for (const auto& definition : resource_definitions())
    if (definition["spec"]["names"]["kind"] == kind)
      return definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
  ADD_FAILURE() << "no CRD of " << kind;
  return {};
}

bool is_ours(const json& object) { return object.value("apiVersion", "") == "weft.io/v1alpha1"; }

TEST(ResourceDefinitionTest, TheOperatorMayKeepEachAndItsVersionIsTold) {
  const auto manifests = render(default_values());
  ASSERT_TRUE(manifests);
  const auto rules = find(*manifests, "ClusterRole weft-operator")["rules"].dump();
  for (const auto& definition : resource_definitions()) {
    const auto name = definition["metadata"]["name"].get<std::string>();
    EXPECT_THAT(rules, HasSubstr('"' + name + '"'));
    EXPECT_EQ(find(*manifests, "CustomResourceDefinition " + name)["metadata"]["annotations"]["weft.io/version"],
              WEFT_VERSION);
  }
}

TEST(ResourceDefinitionTest, EachIsInAFileOfItsName) {
  EXPECT_GE(resource_definitions().size(), 5U);
  std::size_t files = 0;
  for (const auto& [name, text] : embedded_files()) {
    if (!name.starts_with("crds/")) continue;
    ++files;
    const auto all = documents(name, text);
    ASSERT_TRUE(all) << all.error().message;
    ASSERT_EQ(all->size(), 1U) << name;
    const auto& definition = all->front();
    const auto& spec = definition["spec"];
    EXPECT_EQ(fmt::format("crds/{}.yaml", definition["metadata"]["name"].get<std::string>()), name);
    EXPECT_EQ(definition["metadata"]["name"], spec["names"]["plural"].get<std::string>() + ".weft.io");
    EXPECT_EQ(spec["group"], "weft.io");
    EXPECT_EQ(spec["versions"][0]["name"], "v1alpha1");
    EXPECT_FALSE(spec["versions"][0]["additionalPrinterColumns"].empty()) << name;
  }
  EXPECT_EQ(files, resource_definitions().size());
}

// Indented blocks of docs/manifests.md that are whole objects.
std::vector<json> examples() {
  std::vector<json> found;
  std::istringstream lines(read("docs/manifests.md"));
  std::string block;
  const auto end = [&] {
    if (block.starts_with("apiVersion:"))
      if (auto all = documents("docs/manifests.md", block))
        for (auto& object : *all) found.push_back(std::move(object));
    block.clear();
  };
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("    "))
      block += line.substr(4) + "\n";
    else
      end();
  }
  end();
  return found;
}

TEST(ResourceDefinitionTest, ExamplesOfTheManualFit) {
  std::set<std::string> kinds;
  for (const auto& object : examples()) {
    if (!is_ours(object)) continue;
    kinds.insert(object["kind"]);
    EXPECT_THAT(check_schema(schema_of(object["kind"]), object), IsEmpty()) << object.dump();
  }
  EXPECT_THAT(kinds, testing::ElementsAre("BGPPeering", "EgressGateway", "L2Announcement", "LoadBalancerPool",
                                          "PodAddressPool"));
}

// Of users' kinds: what the model finds wrong without looking at two fields at once, the schema does, too.
TEST(ResourceDefinitionTest, WhatTheModelRefusesTheServerRefuses) {
  struct Case {
    const char* kind;
    const char* spec;
  };
  for (const auto& [kind, spec] : {
           Case{"LoadBalancerPool", "{}"},
           {"LoadBalancerPool", "{addresses: []}"},
           {"LoadBalancerPool", "{addresses: [here]}"},
           {"LoadBalancerPool", "{addresses: [192.0.2.1], namespaces: [Shop]}"},
           {"LoadBalancerPool", "{addresses: [192.0.2.1], auto: true}"},
           {"LoadBalancerPool", "{addresses: [192.0.2.1], serviceSelector: {matchLabels: {a: '-'}}}"},
           {"L2Announcement", "{interfaces: [a/b]}"},
           {"L2Announcement", "{interfaces: [averyverylongname]}"},
           {"L2Announcement", "{externalIPs: 'yes'}"},
           {"L2Announcement", "{nodeSelector: {matchExpressions: [{key: a, operator: Is}]}}"},
           {"BGPPeering", "{localAS: 23456, peers: [{address: 192.0.2.1, peerAS: 1}]}"},
           {"BGPPeering", "{localAS: 0, peers: [{address: 192.0.2.1, peerAS: 1}]}"},
           {"BGPPeering", "{localAS: 1, peers: []}"},
           {"BGPPeering", "{localAS: 1, peers: [{address: router, peerAS: 1}]}"},
           {"BGPPeering", "{localAS: 1, routerID: '::1', peers: [{address: 192.0.2.1, peerAS: 1}]}"},
           {"BGPPeering", "{localAS: 1, peers: [{address: 192.0.2.1, peerAS: 1, passwordFile: secret}]}"},
           {"BGPPeering", "{localAS: 1, peers: [{address: 192.0.2.1, peerAS: 1, password: secret}]}"},
           {"BGPPeering",
            "{localAS: 1, peers: [{address: 192.0.2.1, peerAS: 1}], advertise: [{services: [ClusterIP]}]}"},
           {"BGPPeering", "{localAS: 1, peers: [{address: 192.0.2.1, peerAS: 1}], advertise: [{communities: ['1']}]}"},
           {"EgressGateway", "{selectors: [{}], destinationCIDRs: [0.0.0.0/0], gateways: [{node: a}]}"},
           {"EgressGateway", "{selectors: [{podSelector: {}}], destinationCIDRs: [all], gateways: [{node: a}]}"},
           {"EgressGateway", "{selectors: [{podSelector: {}}], destinationCIDRs: [0.0.0.0/0], gateways: []}"},
           {"EgressGateway",
            "{selectors: [{podSelector: {}}], destinationCIDRs: [0.0.0.0/0], gateways: [{node: a}], maxGateways: 9}"},
           {"EgressGateway",
            "{selectors: [{podSelector: {}}], destinationCIDRs: [0.0.0.0/0], gateways: [{node: a, interface: 'e*'}]}"},
           {"PodAddressPool", "{cidrs: []}"},
           {"PodAddressPool", "{cidrs: [{cidr: 10.0.0.0}]}"},
           {"PodAddressPool", "{cidrs: [{cidr: 10.0.0.0/8, blockLength: 129}]}"},
           {"PodAddressPool", "{cidrs: [{cidr: 10.0.0.0/8, block: 24}]}"},
       }) {
    const auto text =
        fmt::format("apiVersion: weft.io/v1alpha1\nkind: {}\nmetadata: {{name: a}}\nspec: {}\n", kind, spec);
    const auto objects = documents("test", text);
    ASSERT_TRUE(objects) << text << objects.error().message;
    EXPECT_FALSE(model::parse_manifests("test", text).problems.empty()) << text;
    EXPECT_FALSE(check_schema(schema_of(kind), objects->front()).empty()) << text;
  }
}

void names_of(const json& schema, std::set<std::string>& names) {
  const auto properties = schema.value("properties", json::object());
  for (const auto& [name, part] : properties.items()) {
    names.insert(name);
    names_of(part, names);
  }
  if (schema.contains("items")) names_of(schema["items"], names);
}

// Names that a decoder asks for, by its source.
std::set<std::string> names_in(const std::string& source) {
  std::set<std::string> names;
  const std::string text = read("src/model/" + source);
  const std::regex asks(R"re((?:take|require)\("(\w+)"|some_of\(fields, "(\w+)")re");
  for (std::sregex_iterator at(text.begin(), text.end(), asks), end; at != end; ++at)
    names.insert((*at)[1].matched ? (*at)[1].str() : (*at)[2].str());
  names.erase("spec");
  return names;
}

TEST(ResourceDefinitionTest, SchemasHaveTheFieldsThatTheModelReads) {
  const std::set<std::string> of_selectors{"matchLabels", "matchExpressions", "key", "operator", "values"};
  for (const auto& [source, kinds] : std::vector<std::pair<std::string, std::vector<std::string>>>{
           {"decode_load_balancer.cpp", {"LoadBalancerPool", "L2Announcement"}},
           {"decode_bgp.cpp", {"BGPPeering"}},
           {"decode_egress.cpp", {"EgressGateway"}},
           {"decode_address_pool.cpp", {"PodAddressPool"}}}) {
    std::set<std::string> names;
    for (const auto& kind : kinds) names_of(schema_of(kind)["properties"]["spec"], names);
    for (const auto& name : of_selectors) names.erase(name);
    EXPECT_EQ(names, names_in(source)) << source;
  }
}

}  // namespace
}  // namespace weft::chart
