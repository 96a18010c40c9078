#include "control/identity/identity.h"

#include <gtest/gtest.h>

#include <set>

#include "abi/endpoint.h"

namespace weft::control {
namespace {

LabelMap app(const std::string& name) { return {{"k8s:app", name}}; }

IpAddress address(std::string_view text) { return IpAddress::parse(text).value(); }
Cidr cidr(std::string_view text) { return Cidr::parse(text).value(); }

TEST(IdentityLabels, CarrySourceAndNamespace) {
  const auto labels = identity_labels("shop", {{"app", "web"}, {"tier", ""}});
  EXPECT_EQ(labels, (LabelMap{{"k8s:app", "web"}, {"k8s:io.kubernetes.pod.namespace", "shop"}, {"k8s:tier", ""}}));
  EXPECT_EQ(namespace_of(labels), "shop");
  EXPECT_EQ(pod_labels_of(labels), (LabelMap{{"app", "web"}, {"tier", ""}}));
}

TEST(IdentityLabels, NamedPortsAreSortedAndStrippedAgain) {
  const std::vector<model::ContainerPort> ports{{"metrics", 9090, Protocol::tcp},
                                                {"", 7000, Protocol::tcp},
                                                {"dns", 53, Protocol::udp},
                                                {"metrics", 9090, Protocol::tcp}};
  const auto labels = identity_labels("shop", {{"app", "web"}}, ports);
  EXPECT_EQ(labels.at("k8s:io.weft.named-ports"), "dns=53/UDP,metrics=9090/TCP");
  EXPECT_EQ(pod_labels_of(labels), (LabelMap{{"app", "web"}}));
}

TEST(IdentityLabels, NamedPortsAreReadAgain) {
  const std::vector<model::ContainerPort> ports{{"dns", 53, Protocol::udp}, {"metrics", 9090, Protocol::tcp}};
  EXPECT_EQ(named_ports_of(identity_labels("shop", {}, ports)), ports);
  EXPECT_TRUE(named_ports_of({{"k8s:app", "web"}}).empty());
  for (const auto* text : {"", ",", "=", "a=", "=80/TCP", "a=80/XXX", "a=99999/TCP", "a"})
    EXPECT_TRUE(named_ports_of({{"k8s:io.weft.named-ports", text}}).empty()) << text;
  EXPECT_EQ(named_ports_of({{"k8s:io.weft.named-ports", "x,a=80/TCP,"}}).size(), 1U);
}

TEST(IdentityAllocator, LearnsNumbersThatOthersChose) {
  IdentityAllocator identities({{300, app("old")}, {301, app("web")}});
  EXPECT_EQ(identities.number_of(app("web")), 301U);
  EXPECT_EQ(identities.number_of(app("db")), std::nullopt);
  identities.learn(300, app("db"));   // in place of "old"
  identities.learn(400, app("web"));  // "web" has moved
  EXPECT_EQ(identities.number_of(app("old")), std::nullopt);
  EXPECT_EQ(identities.number_of(app("db")), 300U);
  EXPECT_EQ(identities.number_of(app("web")), 400U);
  EXPECT_EQ(identities.find(301)->labels, app("web")) << "others may still use it";
  identities.learn(301, app("web"));
  EXPECT_EQ(identities.number_of(app("web")), 301U);
  identities.forget(301);
  EXPECT_EQ(identities.number_of(app("web")), 400U);
  identities.forget(400);
  EXPECT_EQ(identities.number_of(app("web")), std::nullopt);
  identities.learn(1, app("x"));
  identities.learn(500, {{"reserved:host", ""}});
  EXPECT_EQ(identities.number_of({{"reserved:host", ""}}), 1U);
  EXPECT_EQ(identities.all().size(), 1U);
}

TEST(IdentityLabels, PortsWithoutNamesDoNotTellPodsApart) {
  EXPECT_EQ(identity_labels("shop", {{"app", "web"}}, {{"", 80, Protocol::tcp}}),
            identity_labels("shop", {{"app", "web"}}));
}

TEST(IdentityLabels, APodCannotClaimAnotherNamespace) {
  const LabelMap claim{{"io.kubernetes.pod.namespace", "kube-system"}, {"io.weft.named-ports", "http=1/TCP"}};
  const auto labels = identity_labels("shop", claim);
  EXPECT_EQ(namespace_of(labels), "shop");
  EXPECT_FALSE(labels.contains("k8s:io.weft.named-ports"));
  EXPECT_EQ(pod_labels_of(labels), claim);
  EXPECT_NE(labels, identity_labels("shop", {}));
}

TEST(IdentityLabels, ContainersHaveTheirOwnSource) {
  const auto labels = container_identity_labels({{"name", "db"}});
  EXPECT_EQ(labels, (LabelMap{{"container:name", "db"}}));
  EXPECT_EQ(namespace_of(labels), "");
  EXPECT_TRUE(pod_labels_of(labels).empty());
}

TEST(ReservedIdentities, HaveTheFieldsNumbers) {
  IdentityAllocator allocator;
  ASSERT_EQ(reserved_identities().size(), 5U);
  EXPECT_EQ(allocator.find(1)->labels, (LabelMap{{"reserved:host", ""}}));
  EXPECT_EQ(allocator.find(2)->labels, (LabelMap{{"reserved:world", ""}}));
  EXPECT_EQ(allocator.find(3)->labels, (LabelMap{{"reserved:unmanaged", ""}}));
  EXPECT_EQ(allocator.find(5)->labels, (LabelMap{{"reserved:init", ""}}));
  EXPECT_EQ(allocator.find(6)->labels, (LabelMap{{"reserved:remote-node", ""}}));
  EXPECT_EQ(allocator.find(4), nullptr);
  EXPECT_EQ(allocator.acquire({{"reserved:world", ""}}).value(), 2U);
  EXPECT_TRUE(allocator.all().empty());
}

TEST(IdentityAllocator, OneNumberForOneLabelSet) {
  IdentityAllocator allocator;
  const auto web = allocator.acquire(app("web")).value();
  EXPECT_EQ(web, 256U);
  EXPECT_EQ(allocator.acquire(app("db")).value(), 257U);
  EXPECT_EQ(allocator.acquire(app("web")).value(), web);
  EXPECT_EQ(allocator.references(web), 2);
  EXPECT_EQ(allocator.find(web)->labels, app("web"));
}

TEST(IdentityAllocator, StaysKnownUntilCollected) {
  IdentityAllocator allocator;
  const auto web = allocator.acquire(app("web")).value();
  allocator.release(web);
  allocator.release(web);
  allocator.release(9999);
  EXPECT_EQ(allocator.references(web), 0);
  EXPECT_NE(allocator.find(web), nullptr);
  EXPECT_EQ(allocator.acquire(app("web")).value(), web);
  EXPECT_TRUE(allocator.collect().empty());
  allocator.release(web);
  const auto gone = allocator.collect();
  ASSERT_EQ(gone.size(), 1U);
  EXPECT_EQ(gone[0], (Identity{web, app("web")}));
  EXPECT_EQ(allocator.find(web), nullptr);
  EXPECT_NE(allocator.acquire(app("web")).value(), web) << "a used number comes back last";
}

TEST(IdentityAllocator, RestoresNumbersAndIgnoresNonsense) {
  IdentityAllocator allocator(
      {{300, app("web")}, {7, app("low")}, {70000, app("high")}, {300, app("twice")}, {301, app("web")}});
  EXPECT_EQ(allocator.all().size(), 1U);
  EXPECT_EQ(allocator.acquire(app("web")).value(), 300U);
  EXPECT_EQ(allocator.acquire(app("db")).value(), 301U);
  EXPECT_EQ(allocator.references(300), 1);
}

TEST(IdentityAllocator, ExhaustionIsAnErrorAndReuseIsOldestFirst) {
  IdentityAllocator allocator({{WEFT_IDENTITY_LAST - 2, app("old")}});
  const auto first = allocator.acquire(app("a")).value();
  const auto second = allocator.acquire(app("b")).value();
  EXPECT_EQ(second, static_cast<IdentityId>(WEFT_IDENTITY_LAST));
  EXPECT_EQ(allocator.acquire(app("old")).value(), static_cast<IdentityId>(WEFT_IDENTITY_LAST - 2));
  allocator.release(second);
  allocator.collect();
  allocator.release(first);
  allocator.collect();
  EXPECT_EQ(allocator.acquire(app("c")).value(), second);
  EXPECT_EQ(allocator.acquire(app("d")).value(), first);
  std::set<IdentityId> gaps;
  for (int i = WEFT_IDENTITY_FIRST; i < WEFT_IDENTITY_LAST - 2; ++i)
    gaps.insert(allocator.acquire(app(std::to_string(i))).value());
  EXPECT_EQ(gaps.size(), static_cast<std::size_t>(WEFT_IDENTITY_LAST - 2 - WEFT_IDENTITY_FIRST));
  const auto none = allocator.acquire(app("one too many"));
  ASSERT_FALSE(none.has_value());
  EXPECT_EQ(none.error().code, ErrorCode::exhausted);
  EXPECT_FALSE(none.error().hint.empty());
}

TEST(CidrIdentities, NarrowestWins) {
  CidrIdentities cidrs;
  cidrs.assign({cidr("10.0.0.0/8"), cidr("10.1.0.0/16"), cidr("10.1.2.3/32"), cidr("fd00::/8"), cidr("::/0")});
  EXPECT_EQ(cidrs.narrowest(address("10.9.9.9")), cidrs.all().at(cidr("10.0.0.0/8")));
  EXPECT_EQ(cidrs.narrowest(address("10.1.9.9")), cidrs.all().at(cidr("10.1.0.0/16")));
  EXPECT_EQ(cidrs.narrowest(address("10.1.2.3")), cidrs.all().at(cidr("10.1.2.3/32")));
  EXPECT_EQ(cidrs.narrowest(cidr("10.1.2.0/24")), cidrs.all().at(cidr("10.1.0.0/16")));
  EXPECT_EQ(cidrs.narrowest(cidr("10.1.0.0/16")), cidrs.all().at(cidr("10.1.0.0/16")));
  EXPECT_EQ(cidrs.narrowest(cidr("0.0.0.0/0")), 0U);
  EXPECT_EQ(cidrs.narrowest(address("11.0.0.1")), 0U) << "an IPv6 block holds no IPv4 address";
  EXPECT_EQ(cidrs.narrowest(address("fd00::1")), cidrs.all().at(cidr("fd00::/8")));
  EXPECT_EQ(cidrs.narrowest(address("2001:db8::1")), cidrs.all().at(cidr("::/0")));
}

TEST(CidrIdentities, NumbersAreStableAndNotReused) {
  CidrIdentities cidrs;
  cidrs.assign({cidr("10.0.0.0/8"), cidr("10.0.0.0/8"), cidr("192.0.2.0/24")});
  EXPECT_EQ(cidrs.all().size(), 2U);
  const auto ten = cidrs.all().at(cidr("10.0.0.0/8"));
  EXPECT_GE(ten, static_cast<IdentityId>(WEFT_IDENTITY_FIRST_CIDR));
  const auto test_net = cidrs.all().at(cidr("192.0.2.0/24"));
  cidrs.assign({cidr("10.0.0.0/8"), cidr("198.51.100.0/24")});
  EXPECT_EQ(cidrs.all().at(cidr("10.0.0.0/8")), ten);
  EXPECT_NE(cidrs.all().at(cidr("198.51.100.0/24")), test_net);
  EXPECT_EQ(cidrs.narrowest(address("192.0.2.1")), 0U);

  CidrIdentities restarted(cidrs.all());
  EXPECT_EQ(restarted.narrowest(address("10.0.0.1")), ten);
  restarted.assign({cidr("203.0.113.0/24")});
  for (const auto& [known, id] : cidrs.all()) EXPECT_NE(restarted.narrowest(address("203.0.113.1")), id);
}

}  // namespace
}  // namespace weft::control
