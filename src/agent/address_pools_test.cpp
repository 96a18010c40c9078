#include "agent/address_pools.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/parse.h"

namespace weft::agent {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

IpAddress ip(std::string_view text) { return IpAddress::parse(text).value(); }

struct World {
  Config config = parse_config("weftd.yaml", "").value();
  Node node;
  ClusterView cluster;
  store::Store store = store::Store::open(":memory:").value();
  std::vector<std::string> problems;
  Objects objects = Objects::load(store, problems).value();

  World() {
    node.addresses = {ip("192.0.2.2")};
    node.subnets = {*Cidr::parse("192.0.2.0/24")};
    node.next_hops = {ip("198.51.100.1")};
    cluster.plan.addresses[ip("203.0.113.7")] = {};
  }
  void apply(const std::string& yaml) {
    auto outcome = model::parse_manifests("t.yaml", yaml);
    for (const auto& problem : outcome.problems) ADD_FAILURE() << problem.to_string();
    ASSERT_TRUE(objects.apply(outcome.documents));
  }
  static std::string pool(const std::string& name, const std::string& spec) {
    return "---\napiVersion: weft.io/v1alpha1\nkind: PodAddressPool\nmetadata: {name: " + name + "}\nspec: {" + spec +
           "}\n";
  }
  static std::string pod(const std::string& space, const std::string& name, const std::string& meta) {
    return "---\napiVersion: v1\nkind: Pod\nmetadata: {name: " + name + ", namespace: " + space + ", " + meta +
           "}\nspec: {containers: [{name: c}]}\n";
  }
  static std::string space(const std::string& name, const std::string& meta) {
    return "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: " + name + ", " + meta + "}\n";
  }
  Result<AddressChoice> choose(const std::string& space, const std::string& name,
                               const std::vector<IpAddress>& addresses = {}) {
    AttachRequest request;
    request.namespace_ = space;
    request.pod = name;
    request.addresses = addresses;
    return choose_addresses(request, address_pools(config, objects), objects);
  }
  // The pool, or what is wrong.
  std::string chosen(const std::string& space, const std::string& name) {
    const auto choice = choose(space, name);
    return choice ? choice->request.pool : choice.error().message;
  }
  std::string refusal(const std::string& spec, const std::string& users = {}) {
    const auto outcome = model::parse_manifests("t.yaml", pool("new", spec));
    for (const auto& problem : outcome.problems) ADD_FAILURE() << problem.to_string();
    const auto& made = std::get<model::PodAddressPool>(outcome.documents.at(0).object);
    PoolRules rules{config, node, cluster, {}, {}, nullptr, users};
    for (const auto& [key, known] : objects.address_pools()) rules.others.push_back(shared_pool(known));
    for (const auto& [key, known] : objects.pools()) rules.balancers.push_back(&known);
    if (const auto known = objects.address_pools().find({"", "new"}); known != objects.address_pools().end())
      rules.before = &known->second;
    const auto checked = check_address_pool(made, rules);
    return checked ? "taken" : checked.error().message;
  }
};

TEST(AddressPools, APodsOwnWordComesBeforeItsNamespacesAndThatBeforeSelectors) {
  World world;
  EXPECT_EQ(world.chosen("shop", "unknown"), "default");
  world.apply(World::pool("blue", "cidrs: [{cidr: 10.1.0.0/16}], namespaceSelector: {matchLabels: {team: blue}}") +
              World::pool("red", "cidrs: [{cidr: 10.2.0.0/16}]") +
              World::pool("web", "cidrs: [{cidr: 10.3.0.0/16}], podSelector: {matchLabels: {app: web}}") +
              World::space("a", "labels: {team: blue}") +
              World::space("b", "labels: {team: blue}, annotations: {weft.io/address-pool: red}") +
              World::pod("a", "plain", "labels: {app: db}") + World::pod("a", "both", "labels: {app: web}") +
              World::pod("b", "plain", "labels: {app: web}") +
              World::pod("b", "own", "annotations: {weft.io/address-pool: default}") +
              World::pod("c", "web", "labels: {app: web}") +
              World::pod("c", "lost", "annotations: {weft.io/address-pool: green}"));
  EXPECT_EQ(world.chosen("a", "plain"), "blue");
  EXPECT_EQ(world.chosen("a", "container-without-object"), "blue");
  EXPECT_EQ(world.chosen("b", "plain"), "red");
  EXPECT_EQ(world.chosen("b", "own"), "default");
  EXPECT_EQ(world.chosen("c", "web"), "web");
  EXPECT_EQ(world.chosen("c", "other"), "default");
  EXPECT_EQ(world.choose("c", "web")->ambiguity, "");
  EXPECT_EQ(world.chosen("a", "both"), "blue");
  EXPECT_EQ(world.choose("a", "both")->ambiguity, "the pools blue, web select it: \"blue\" is used, the first by name");
  EXPECT_EQ(
      world.chosen("c", "lost"),
      "there is no pool of addresses \"green\", which the annotation weft.io/address-pool of the pod asks for: there "
      "are default (10.244.0.0/24, fd00:10:244::/64), blue (10.1.0.0/16), red (10.2.0.0/16), web (10.3.0.0/16)");
  world.apply(World::space("d", "annotations: {weft.io/address-pool: green}"));
  EXPECT_THAT(world.chosen("d", "any"), HasSubstr("of Namespace d asks for"));
}

TEST(AddressPools, AddressesByNameAreTakenAsTheyAre) {
  World world;
  world.apply(World::pool("blue", "cidrs: [{cidr: 10.1.0.0/16}], namespaceSelector: {}") +
              World::pod("a", "static", "annotations: {weft.io/addresses: \"10.244.0.9,fd00:10:244::9\"}") +
              World::pod("a", "nowhere", "annotations: {weft.io/addresses: 10.9.9.9}") +
              World::pod("a", "other", "annotations: {weft.io/addresses: 10.244.0.9, weft.io/address-pool: blue}"));
  const auto choice = world.choose("a", "static");
  ASSERT_TRUE(choice) << choice.error().message;
  EXPECT_THAT(choice->request.addresses, ElementsAre(ip("10.244.0.9"), ip("fd00:10:244::9")));
  EXPECT_TRUE(choice->request.resting);
  // The runtime's word comes first, and is no statement of whose they are.
  const auto asked = world.choose("a", "static", {ip("10.1.0.7")});
  ASSERT_TRUE(asked);
  EXPECT_THAT(asked->request.addresses, ElementsAre(ip("10.1.0.7")));
  EXPECT_FALSE(asked->request.resting);
  EXPECT_EQ(
      world.chosen("a", "nowhere"),
      "10.9.9.9 is in no pool of addresses: there are default (10.244.0.0/24, fd00:10:244::/64), blue (10.1.0.0/16)");
  EXPECT_EQ(world.chosen("a", "other"),
            "10.244.0.9 is of pool \"default\", but the annotation weft.io/address-pool asks for \"blue\"");
}

TEST(AddressPools, AnnotationsOfAPodGetItNothingOfOtherNamespacesPools) {
  World world;
  world.apply(World::pool("blue", "cidrs: [{cidr: 10.1.0.0/16}], namespaceSelector: {matchLabels: {team: blue}}") +
              World::space("b", "labels: {team: blue}") +
              World::space("c", "annotations: {weft.io/address-pool: blue}"));
  for (const auto* space : {"a", "b", "c"})
    world.apply(World::pod(space, "pool", "annotations: {weft.io/address-pool: blue}") +
                World::pod(space, "address", "annotations: {weft.io/addresses: 10.1.0.9}"));
  const auto* refused =
      "the pod asks for addresses of pool \"blue\", which are for other namespaces than a: its namespaceSelector is "
      "team=blue";
  EXPECT_EQ(world.chosen("a", "pool"), refused);
  EXPECT_EQ(world.chosen("a", "address"), refused);
  EXPECT_TRUE(world.choose("a", "address", {ip("10.1.0.7")})) << "what the runtime says is the node's word";
  for (const auto* space : {"b", "c"}) {
    EXPECT_EQ(world.chosen(space, "pool"), "blue");
    EXPECT_TRUE(world.choose(space, "address"));
  }
}

TEST(AddressPools, APoolKeepsToWhatNobodyElseHas) {
  World world;
  world.apply(World::pool("blue", "cidrs: [{cidr: 10.1.0.0/16}]") +
              "---\napiVersion: weft.io/v1alpha1\nkind: LoadBalancerPool\nmetadata: {name: lb}\nspec: {addresses: "
              "[10.70.0.5-10.70.0.9]}\n");
  EXPECT_EQ(world.refusal("cidrs: [{cidr: 10.5.0.0/16}, {cidr: \"fd05::/64\"}]"), "taken");
  const auto refused = [&](const std::string& cidr, const std::string& why) {
    EXPECT_EQ(world.refusal("cidrs: [{cidr: 10.5.0.0/16}, {cidr: \"" + cidr + "\"}]"),
              "spec.cidrs[1].cidr: " + cidr + " " + why);
  };
  refused("10.0.0.0/15", "overlaps 10.1.0.0/16 of pool \"blue\"");
  refused("10.244.0.128/25", "overlaps 10.244.0.0/24 of pod_cidrs");
  refused("10.96.7.0/24", "overlaps 10.96.0.0/16 of service_cidrs");
  refused("192.0.2.128/25", "overlaps 192.0.2.0/24, a network of this node");
  refused("198.51.100.0/24", "holds 198.51.100.1, which is this node's or a neighbour's");
  refused("203.0.113.0/24", "holds 203.0.113.7, an address of another node");
  refused("10.70.0.0/29", "overlaps 10.70.0.5-10.70.0.9 of LoadBalancerPool lb");
  refused("10.70.0.8/32", "overlaps 10.70.0.5-10.70.0.9 of LoadBalancerPool lb");
  world.config.pod_cidrs = {*Cidr::parse("10.244.0.0/24")};
  refused("fd05::/64", "is IPv6, but pod_cidrs has no IPv6: the gateways of all pods are from there");
}

TEST(AddressPools, APoolInUseOnlyGrows) {
  World world;
  EXPECT_EQ(world.refusal("cidrs: [{cidr: 10.5.0.0/16}]", "pod a/b has 10.5.0.1"), "taken");
  world.apply(World::pool("new", "cidrs: [{cidr: 10.5.0.0/16}, {cidr: 10.6.0.0/16}]"));
  EXPECT_EQ(world.refusal("cidrs: [{cidr: 10.6.0.0/16}, {cidr: 10.7.0.0/16}, {cidr: 10.5.0.0/16}], podSelector: {}",
                          "pod a/b has 10.5.0.1"),
            "taken");
  EXPECT_EQ(world.refusal("cidrs: [{cidr: 10.6.0.0/16}]", "pod a/b has 10.5.0.1"),
            "spec.cidrs: a pool that is in use only grows: pod a/b has 10.5.0.1");
  EXPECT_EQ(world.refusal("cidrs: [{cidr: 10.5.0.0/16, blockLength: 28}, {cidr: 10.6.0.0/16}]", "pod a/b has 10.5.0.1"),
            "spec.cidrs: a pool that is in use only grows: pod a/b has 10.5.0.1");
  EXPECT_EQ(world.refusal("cidrs: [{cidr: 10.6.0.0/16}]"), "taken");
}

// The configuration was changed after it was applied.
TEST(AddressPools, APoolThatIsInTheWayIsLeftOutAndSaid) {
  World world;
  world.apply(World::pool("blue", "cidrs: [{cidr: 10.1.0.0/16}]") + World::pool("red", "cidrs: [{cidr: 10.2.0.0/16}]"));
  world.config.pod_cidrs = {*Cidr::parse("10.1.2.0/24")};
  world.config.service_cidrs.clear();
  std::vector<std::string> problems;
  const auto pools = address_pools(world.config, world.objects, &problems);
  EXPECT_EQ(cluster::names_of(pools), "default, red");
  EXPECT_THAT(problems,
              ElementsAre("PodAddressPool blue has no effect on this node: 10.1.0.0/16 overlaps 10.1.2.0/24 of "
                          "pod_cidrs"));
  EXPECT_THAT(further_cidrs(world.config, world.objects), ElementsAre(*Cidr::parse("10.2.0.0/16")));
  world.config.pod_cidrs.clear();
  EXPECT_EQ(cluster::names_of(address_pools(world.config, world.objects)), "blue, red");
}

}  // namespace
}  // namespace weft::agent
