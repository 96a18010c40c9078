// PodAddressPools, and how pods and Namespaces ask for their addresses: what is read, and every problem with its place.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/expand.h"
#include "model/parse.h"

namespace weft::model {
namespace {

using ::testing::ElementsAre;

IpAddress ip(std::string_view text) { return IpAddress::parse(text).value(); }
Cidr cidr(std::string_view text) { return Cidr::parse(text).value(); }

template <class T>
T only(const std::string& text) {
  const auto outcome = parse_manifests("t", text);
  for (const auto& problem : outcome.problems) ADD_FAILURE() << problem.to_string();
  if (outcome.documents.size() != 1) return {};
  const auto stored = object_from_json(outcome.documents[0].json);
  EXPECT_TRUE(stored && *stored == outcome.documents[0].object) << outcome.documents[0].json;
  return std::get<T>(outcome.documents[0].object);
}

std::vector<std::string> problems(const std::string& text) {
  std::vector<std::string> texts;
  for (const auto& problem : parse_manifests("t", text).problems) texts.push_back(problem.to_string());
  return texts;
}

#define POOL "apiVersion: weft.io/v1alpha1\nkind: PodAddressPool\nmetadata: {name: blue}\n"

TEST(PodAddressPools, Fields) {
  const auto pool = only<PodAddressPool>(POOL R"(
spec:
  cidrs:
  - {cidr: 10.50.0.0/16, blockLength: 26}
  - cidr: "fd50::/56"
  - {cidr: 10.60.0.0/28, blockLength: 32}
  namespaceSelector: {matchLabels: {team: blue}}
  podSelector: {}
)");
  EXPECT_EQ(pool.meta.key(), (ObjectKey{"", "blue"}));
  EXPECT_THAT(pool.ranges,
              ElementsAre(PodAddressRange{cidr("10.50.0.0/16"), 26}, PodAddressRange{cidr("fd50::/56"), 64},
                          PodAddressRange{cidr("10.60.0.0/28"), 32}));
  EXPECT_EQ(pool.namespace_selector->to_string(), "team=blue");
  EXPECT_TRUE(pool.pod_selector->empty());
  // The usual blocks, unless the CIDR is smaller.
  const auto usual = only<PodAddressPool>(POOL "spec: {cidrs: [{cidr: 10.50.0.0/16}, {cidr: 10.51.0.0/25}]}\n");
  EXPECT_EQ(usual.ranges[0].block_length, 24U);
  EXPECT_EQ(usual.ranges[1].block_length, 25U);
  EXPECT_FALSE(usual.namespace_selector);
  EXPECT_FALSE(usual.pod_selector);
  for (const char* word : {"PodAddressPool", "podaddresspools", "podpool", "podpools"})
    EXPECT_EQ(parse_kind(word).value(), Kind::pod_address_pool) << word;
  EXPECT_EQ(to_string(Kind::pod_address_pool), "PodAddressPool");
  EXPECT_FALSE(has_namespace(Kind::pod_address_pool));
}

TEST(PodAddressPools, Problems) {
  EXPECT_THAT(problems(POOL "spec: {}\n"),
              ElementsAre("t:4:7: spec.cidrs: cidrs is missing; expected a list of at least one CIDR"));
  EXPECT_THAT(problems(POOL "spec: {cidrs: []}\n"),
              ElementsAre("t:4:15: spec.cidrs: expected at least one entry, found none"));
  EXPECT_THAT(
      problems("apiVersion: weft.io/v1alpha1\nkind: PodAddressPool\nmetadata: {name: default}\n"
               "spec: {cidrs: [{cidr: 10.1.0.0/24}]}\n"),
      ElementsAre("t:3:18: metadata.name: the pool \"default\" is pod_cidrs of the configuration; choose another "
                  "name"));
  EXPECT_THAT(
      problems(POOL "spec:\n  cidrs:\n  - {cidr: web}\n  - {blockLength: 24}\n  - {cidr: 127.0.0.0/8}\n"
                    "  - {cidr: 10.1.0.0/24, blockLength: 16}\n  - {cidr: 10.2.0.0/24, blockLength: 33}\n"
                    "  - {cidr: \"fd00::/32\", blockLength: 80}\n  - {cidr: 10.1.0.128/25}\n"
                    "  - {cidr: 0.0.0.0/0}\n  - {cidr: 10.3.0.0/24, blocklength: 24}\n"),
      ElementsAre(testing::StartsWith("t:6:12: spec.cidrs[0].cidr: expected a CIDR such as"),
                  testing::StartsWith("t:7:5: spec.cidrs[1].cidr: cidr is missing"),
                  "t:8:12: spec.cidrs[2].cidr: 127.0.0.0/8 holds addresses of 127.0.0.0/8, which no host routes",
                  "t:9:38: spec.cidrs[3].blockLength: a block of /16 is larger than 10.1.0.0/24",
                  testing::StartsWith("t:10:38: spec.cidrs[4].blockLength: expected a"),
                  "t:11:38: spec.cidrs[5].blockLength: fd00::/32 in blocks of /80 is more than 2^32 blocks",
                  "t:12:12: spec.cidrs[6].cidr: 10.1.0.128/25 overlaps 10.1.0.0/24 of the same pool",
                  "t:13:12: spec.cidrs[7].cidr: 0.0.0.0/0 holds addresses of 0.0.0.0/8, which no host routes",
                  testing::StartsWith("t:14:25: spec.cidrs[8].blocklength: unknown field")));
  std::string many = POOL "spec:\n  cidrs:\n";
  for (int i = 0; i < 65; ++i) many += "  - {cidr: 10." + std::to_string(i) + ".0.0/24}\n";
  EXPECT_THAT(problems(many), ElementsAre("t:6:3: spec.cidrs: expected at most 64 entries, found 65"));
  EXPECT_THAT(problems("apiVersion: weft.io/v1alpha1\nkind: PodAddressPool\nmetadata: {name: a, namespace: b}\n"
                       "spec: {cidrs: [{cidr: 10.1.0.0/24}]}\n"),
              ElementsAre(testing::HasSubstr("a PodAddressPool lies in no namespace")));
}

TEST(PodAddressPools, PodsAndNamespacesAskForThem) {
  const auto pod = only<Pod>(R"(
apiVersion: v1
kind: Pod
metadata:
  name: db
  annotations: {weft.io/address-pool: blue, weft.io/addresses: "10.1.2.3, fd00::3", weft.io/weight: "2"}
spec: {containers: [{name: c}]}
)");
  EXPECT_EQ(pod.addresses, (AddressWish{"blue", {ip("10.1.2.3"), ip("fd00::3")}}));
  EXPECT_EQ(pod.weight, 2U);
  const auto space = only<Namespace>(
      "apiVersion: v1\nkind: Namespace\nmetadata: {name: n, annotations: {weft.io/address-pool: blue}}\n");
  EXPECT_EQ(space.address_pool, "blue");
  const auto deployment = only<Deployment>(R"(
apiVersion: apps/v1
kind: Deployment
metadata: {name: d}
spec:
  selector: {matchLabels: {a: b}}
  template:
    metadata: {labels: {a: b}, annotations: {weft.io/address-pool: red}}
    spec: {containers: [{name: c}]}
)");
  EXPECT_EQ(expand(deployment).at(0).addresses.pool, "red");
}

TEST(PodAddressPools, WhatIsAskedForIsChecked) {
  const auto of_pod = [](const std::string& annotations) {
    return problems("apiVersion: v1\nkind: Pod\nmetadata: {name: p, annotations: {" + annotations +
                    "}}\nspec: {containers: [{name: a}]}\n");
  };
  EXPECT_THAT(
      of_pod("weft.io/addresses: \"10.0.0.1,\""),
      ElementsAre("t:3:54: metadata.annotations[\"weft.io/addresses\"]: expected an address, or one of each family "
                  "joined by a comma, found \"10.0.0.1,\""));
  EXPECT_THAT(of_pod("weft.io/addresses: 10.0.0.0/8"), ElementsAre(testing::HasSubstr("expected an address, or one")));
  EXPECT_THAT(of_pod("weft.io/addresses: \"10.0.0.1,10.0.0.2\""),
              ElementsAre(testing::HasSubstr("a second address of one family: \"10.0.0.1,10.0.0.2\"")));
  EXPECT_THAT(of_pod("weft.io/address-pool: Blue"), ElementsAre(testing::HasSubstr("found \"Blue\"")));
  EXPECT_THAT(of_pod("weft.io/adress-pool: blue"),
              ElementsAre(testing::HasSubstr("did you mean \"weft.io/address-pool\"?")));
  EXPECT_THAT(
      problems("apiVersion: v1\nkind: Namespace\nmetadata: {name: n, annotations: {weft.io/addresses: 10.0.0.1}}\n"),
      ElementsAre(testing::HasSubstr("it belongs to a Pod or the metadata of a pod template")));
  EXPECT_THAT(
      problems("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d, annotations: {weft.io/address-pool: b}}\n"
               "spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: "
               "[{name: a}]}}}\n"),
      ElementsAre(testing::HasSubstr("of a Deployment; it belongs to a Namespace, a Pod or the metadata")));
}

}  // namespace
}  // namespace weft::model
