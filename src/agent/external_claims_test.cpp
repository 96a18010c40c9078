#include "agent/external_claims.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::agent {
namespace {

using ::testing::IsEmpty;

class ExternalClaimsTest : public ::testing::Test {
 protected:
  ExternalClaimsTest() : services_({.cluster_cidrs = {*Cidr::parse("10.96.0.0/16")}}, {}) {}

  static model::Service service(const std::string& space, const std::string& name,
                                const std::vector<const char*>& addresses, std::uint16_t port = 80) {
    model::Service made;
    made.meta.namespace_ = space;
    made.meta.name = name;
    for (const auto* address : addresses) made.external_ips.push_back(IpAddress::parse(address).value());
    made.ports = {{"", Protocol::tcp, port, std::uint16_t{8080}, 0, ""}};
    return made;
  }
  void exists(const model::Service& service) {
    ASSERT_TRUE(services_.assign(service));
    services_.upsert(service);
    ASSERT_TRUE(services_.compile());
  }
  // Of an apply of all of them, what each is told.
  [[nodiscard]] std::string applied(const std::vector<model::Service>& asked) const {
    std::vector<const model::Service*> asking;
    for (const auto& one : asked) asking.push_back(&one);
    ExternalClaims claims(services_, asking);
    std::string told;
    for (const auto& one : asked)
      if (const auto taken = claims.take(one); !taken)
        told += fmt::format("{}: {}", one.meta.name, taken.error().message);
    return told;
  }
  control::ServiceCompiler services_;
};

TEST_F(ExternalClaimsTest, WhatAServiceHasIsRefusedToOthers) {
  exists(service("shop", "a", {"192.0.2.77"}));
  EXPECT_EQ(applied({service("bl", "b", {"192.0.2.77"})}),
            "b: spec.externalIPs: 192.0.2.77 port 80/TCP is Service shop/a's");
  EXPECT_THAT(applied({service("shop", "a", {"192.0.2.77"})}), IsEmpty()) << "its own";
  EXPECT_THAT(applied({service("bl", "b", {"192.0.2.77"}, 81)}), IsEmpty()) << "another port";
  EXPECT_THAT(applied({service("bl", "b", {"192.0.2.78"})}), IsEmpty());
  auto given = service("bl", "b", {});
  given.ingress.push_back({.address = IpAddress::parse("192.0.2.77").value()});
  EXPECT_EQ(applied({given}), "b: status.loadBalancer.ingress: 192.0.2.77 port 80/TCP is Service shop/a's");
  given.proxy_name = "another";
  EXPECT_THAT(applied({given}), IsEmpty()) << "another proxy's";
}

TEST_F(ExternalClaimsTest, OfTwoInOneApplyTheFirstHasIt) {
  EXPECT_EQ(applied({service("z", "first", {"192.0.2.77"}), service("a", "second", {"192.0.2.78", "192.0.2.77"})}),
            "second: spec.externalIPs: 192.0.2.77 port 80/TCP is Service z/first's");
}

TEST_F(ExternalClaimsTest, WhatOneGivesUpAnotherMayHaveAtOnce) {
  exists(service("shop", "a", {"192.0.2.77"}));
  EXPECT_THAT(applied({service("shop", "a", {}), service("bl", "b", {"192.0.2.77"})}), IsEmpty());
  EXPECT_THAT(applied({service("bl", "b", {"192.0.2.77"}), service("shop", "a", {})}), IsEmpty());
}

}  // namespace
}  // namespace weft::agent
