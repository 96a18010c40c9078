#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "control/services/services.h"
#include "control/services/testing.h"

namespace weft::control {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::ip;
using ::testing::IsEmpty;
using testing::options;
using testing::service;
using ::testing::SizeIs;

// --- Cluster IPs ----------------------------------------------------------------------------------

TEST(ClusterIp, AllocatesKeepsAndReusesLate) {
  ServiceCompiler compiler(options({"10.96.0.0/29"}), {});
  EXPECT_THAT(compiler.assign(service("a")).value().cluster_ips, ElementsAre(ip("10.96.0.2")));
  EXPECT_THAT(compiler.assign(service("b")).value().cluster_ips, ElementsAre(ip("10.96.0.3")));
  EXPECT_THAT(compiler.assign(service("a")).value().cluster_ips, ElementsAre(ip("10.96.0.2")));
  compiler.forget({"shop", "a"});
  for (const auto* name : {"c", "d", "e", "f"}) EXPECT_TRUE(compiler.assign(service(name)));
  EXPECT_THAT(compiler.held({"shop", "f"}).cluster_ips, ElementsAre(ip("10.96.0.2")));
  const auto error = compiler.assign(service("g")).error();
  EXPECT_EQ(error.code, ErrorCode::exhausted);
  EXPECT_EQ(error.message, "service shop/g: no cluster IP is free in 10.96.0.0/29: all 5 are taken");
  EXPECT_TRUE(compiler.held({"shop", "g"}).empty());
}

TEST(ClusterIp, Requested) {
  ServiceCompiler compiler(options({"10.96.0.0/24"}), {});
  const auto asking = [&](const char* name, const char* address) {
    auto result = service(name);
    result.cluster_ips = {ip(address)};
    return compiler.assign(result);
  };
  EXPECT_THAT(asking("dns", "10.96.0.10").value().cluster_ips, ElementsAre(ip("10.96.0.10")));
  EXPECT_THAT(asking("kubernetes", "10.96.0.1").value().cluster_ips, ElementsAre(ip("10.96.0.1")));
  EXPECT_EQ(asking("b", "10.96.0.10").error().message,
            "service shop/b: cluster IP 10.96.0.10 belongs to service shop/dns");
  EXPECT_EQ(asking("b", "10.97.0.1").error().message,
            "service shop/b: cluster IP 10.97.0.1 is outside the range 10.96.0.0/24");
  EXPECT_THAT(asking("b", "10.96.0.0").error().message, HasSubstr("is reserved in the range"));
  EXPECT_THAT(asking("b", "10.96.0.255").error().message, HasSubstr("is reserved in the range"));
  EXPECT_THAT(asking("b", "fd96::1").error().message, HasSubstr("shop/b: wants IPv6"));
  // A request may change; the old address is free again, and undoing it gives it back.
  EXPECT_THAT(asking("dns", "10.96.0.20").value().cluster_ips, ElementsAre(ip("10.96.0.20")));
  compiler.restore({"shop", "dns"}, {{ip("10.96.0.10")}, {}, 0, {}});
  EXPECT_THAT(asking("b", "10.96.0.20").value().cluster_ips, ElementsAre(ip("10.96.0.20")));
  EXPECT_EQ(asking("c", "10.96.0.10").error().code, ErrorCode::exists);
  compiler.restore({"shop", "dns"}, {});
  EXPECT_TRUE(asking("c", "10.96.0.10"));
}

TEST(ClusterIp, HeadlessAndExternalNameHaveNone) {
  ServiceCompiler compiler(options(), {});
  auto changing = service("a");
  EXPECT_THAT(compiler.assign(changing).value().cluster_ips, SizeIs(1));
  changing.headless = true;
  EXPECT_THAT(compiler.assign(changing).value().cluster_ips, IsEmpty());
  auto external = service("b");
  external.type = model::Service::Type::external_name;
  EXPECT_THAT(compiler.assign(external).value().cluster_ips, IsEmpty());
  EXPECT_THAT(compiler.assignments(), IsEmpty());
  compiler.upsert(changing);
  compiler.upsert(external);
  EXPECT_THAT(compiler.compile().value().frontends, IsEmpty());
  EXPECT_THAT(compiler.ports_of({"shop", "a"}), IsEmpty());
}

TEST(ClusterIp, Families) {
  using Policy = model::Service::FamilyPolicy;
  struct Case {
    const char* what;
    std::vector<const char*> ranges;
    Policy policy;
    std::vector<Family> families;
    std::vector<Family> expected;  // empty: an error
  };
  const auto v4 = Family::v4;
  const auto v6 = Family::v6;
  const std::vector<const char*> both{"10.96.0.0/16", "fd96::/108"};
  const std::vector<const char*> both_v6_first{"fd96::/108", "10.96.0.0/16"};
  const std::vector<const char*> only_v4{"10.96.0.0/16"};
  for (const auto& [what, ranges, policy, families, expected] : {
           Case{"single takes the first configured", both, Policy::single_stack, {}, {v4}},
           Case{"single takes the first configured (6)", both_v6_first, Policy::single_stack, {}, {v6}},
           Case{"single with a family", both, Policy::single_stack, {v6}, {v6}},
           Case{"single with two families", both, Policy::single_stack, {v6, v4}, {}},
           Case{"single with a family the cluster lacks", only_v4, Policy::single_stack, {v6}, {}},
           Case{"prefer", both, Policy::prefer_dual_stack, {}, {v4, v6}},
           Case{"prefer in the order given", both, Policy::prefer_dual_stack, {v6}, {v6, v4}},
           Case{"prefer with one range", only_v4, Policy::prefer_dual_stack, {}, {v4}},
           Case{"require", both, Policy::require_dual_stack, {v4, v6}, {v4, v6}},
           Case{"require with one range", only_v4, Policy::require_dual_stack, {}, {}},
           Case{"no range at all", {}, Policy::single_stack, {}, {}},
           Case{"the same family twice", both, Policy::require_dual_stack, {v4, v4}, {}},
       }) {
    ServiceOptions configured;
    for (const auto* range : ranges) configured.cluster_cidrs.push_back(Cidr::parse(range).value());
    ServiceCompiler compiler(configured, {});
    auto asking = service("a");
    asking.family_policy = policy;
    asking.families = families;
    const auto given = compiler.assign(asking);
    ASSERT_EQ(given.has_value(), !expected.empty()) << what;
    if (!given) continue;
    std::vector<Family> got;
    for (const auto& address : given->cluster_ips) got.push_back(address.family());
    EXPECT_EQ(got, expected) << what;
  }
}

TEST(ClusterIp, GrowsToDualStackAndBackKeepingWhatItHas) {
  ServiceCompiler compiler(options({"10.96.0.0/16", "fd96::/108"}), {});
  auto asking = service("a");
  ASSERT_TRUE(compiler.assign(asking));
  asking.family_policy = model::Service::FamilyPolicy::prefer_dual_stack;
  EXPECT_THAT(compiler.assign(asking).value().cluster_ips, ElementsAre(ip("10.96.0.2"), ip("fd96::2")));
  asking.family_policy = model::Service::FamilyPolicy::single_stack;
  EXPECT_THAT(compiler.assign(asking).value().cluster_ips, ElementsAre(ip("10.96.0.2")));
  auto wants_it = service("b");
  wants_it.cluster_ips = {ip("fd96::2")};
  EXPECT_TRUE(compiler.assign(wants_it));
  auto mixed = service("c");
  mixed.families = {Family::v6};
  mixed.cluster_ips = {ip("10.96.0.9")};
  EXPECT_THAT(compiler.assign(mixed).error().message,
              HasSubstr("clusterIPs[0] is 10.96.0.9, but ipFamilies[0] is IPv6"));
}

}  // namespace
}  // namespace weft::control
