#include "sources/cluster/address_claims.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sources/cluster/member.h"
#include "sources/cluster/testing/test_world.h"

namespace weft::cluster::testing {
namespace {

using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

IpAddress ip(const char* text) { return IpAddress::parse(text).value(); }
const auto first = ip("192.0.2.9");
const auto second = ip("2001:db8::9");

class AddressClaimsTest : public ::testing::Test {
 protected:
  struct Node {
    std::unique_ptr<etcd::Client> client;
    std::unique_ptr<AddressClaims> claims;  // told by the registry while that lives
    std::unique_ptr<NodeRegistry> registry;
    std::vector<std::string> troubles;
    int changes = 0;
    void want(std::set<IpAddress> addresses) { claims->want(std::move(addresses)); }
    [[nodiscard]] const auto& holders() const { return claims->holders(); }
  };

  std::unique_ptr<Node> start(const std::string& name) {
    auto node = std::make_unique<Node>();
    node->client = world_.cluster.connect();
    const Context context{.client = *node->client,
                          .scheduler = world_.time,
                          .random = etcd::testing::fixed_random(),
                          .keys = Keyspace::make("default").value()};
    auto* told = node.get();
    const auto changed = [told] {
      if (told->claims) told->claims->membership_changed();
    };
    node->registry =
        std::make_unique<NodeRegistry>(context, Self{.name = name, .boot_id = "boot", .predecessor = {}, .record = {}},
                                       etcd::SessionOptions{.ttl = seconds(10)},
                                       RegistryHandlers{.changed = {},
                                                        .joined = changed,
                                                        .left = [changed](const etcd::Failure&) { changed(); },
                                                        .refused = {},
                                                        .trouble = {}});
    node->claims = std::make_unique<AddressClaims>(
        context, *node->registry,
        AddressClaimHandlers{.changed = [told] { ++told->changes; },
                             .trouble = [told](const Error& error) { told->troubles.push_back(error.text()); }});
    world_.time.settle();
    return node;
  }
  void settle() { world_.time.advance(seconds(5)); }

  TestWorld world_;
};

TEST_F(AddressClaimsTest, TheFirstToAskHasItAndAllKnow) {
  const auto a = start("a");
  const auto b = start("b");
  EXPECT_TRUE(a->claims->synced());
  a->want({first, second});
  settle();
  b->want({first});
  settle();
  EXPECT_THAT(a->holders(), ElementsAre(Pair(first, "a"), Pair(second, "a")));
  EXPECT_EQ(b->holders(), a->holders());
}

TEST_F(AddressClaimsTest, GivenBackItIsTheNextOnes) {
  const auto a = start("a");
  const auto b = start("b");
  a->want({first});
  settle();
  b->want({first});
  settle();
  EXPECT_THAT(b->holders(), ElementsAre(Pair(first, "a")));
  a->want({});
  settle();
  EXPECT_THAT(a->holders(), ElementsAre(Pair(first, "b")));
}

TEST_F(AddressClaimsTest, WhoComesBackFindsItsAddressAtAnother) {
  auto a = start("a");
  const auto b = start("b");
  a->want({first});
  settle();
  b->want({first});
  a.reset();
  world_.time.advance(seconds(15));
  EXPECT_THAT(b->holders(), ElementsAre(Pair(first, "b")));
  a = start("a");
  a->want({first});
  settle();
  EXPECT_THAT(a->holders(), ElementsAre(Pair(first, "b"))) << "who has it keeps it";
}

TEST_F(AddressClaimsTest, ARunThatFollowsAtOnceKeepsItUnderItsOwnLease) {
  auto a = start("a");
  const auto b = start("b");
  a->want({first});
  settle();
  b->want({first});
  a.reset();
  a = start("a");
  world_.time.settle();
  EXPECT_THAT(a->holders(), ElementsAre(Pair(first, "a")));
  a->want({first});
  world_.time.advance(seconds(60));
  EXPECT_THAT(b->holders(), ElementsAre(Pair(first, "a"))) << "the earlier run's lease is over";
}

TEST_F(AddressClaimsTest, ARunThatWantsNothingMoreGivesBackWhatTheEarlierOneHad) {
  auto a = start("a");
  a->want({first});
  settle();
  a.reset();
  a = start("a");
  a->want({});
  settle();
  EXPECT_THAT(a->holders(), IsEmpty());
}

TEST_F(AddressClaimsTest, WithoutEtcdWhatWasHeardStaysAndIsTakenUpAgain) {
  const auto a = start("a");
  const auto b = start("b");
  a->want({first});
  settle();
  world_.cluster.set_available(false);
  world_.time.advance(seconds(60));
  EXPECT_THAT(b->holders(), ElementsAre(Pair(first, "a")));
  b->want({first});
  world_.cluster.set_available(true);
  world_.time.advance(seconds(60));
  EXPECT_EQ(a->holders(), b->holders());
  EXPECT_EQ(a->holders().size(), 1U) << "one has it";
}

TEST_F(AddressClaimsTest, AnAnswerThatIsLostIsFoundOut) {
  const auto a = start("a");
  world_.cluster.lose_answers(1);
  a->want({first});
  world_.time.advance(seconds(60));
  EXPECT_THAT(a->holders(), ElementsAre(Pair(first, "a")));
}

TEST_F(AddressClaimsTest, WhatIsNoClaimIsToldAndPassedOver) {
  const auto a = start("a");
  for (const auto* key : {"egress-x", "egress-192.0.2.009", "egress-2001_db8_0__9"})
    ASSERT_TRUE(world_.cluster.store().put({.key = std::string("/weft/v1/default/roles/") + key, .value = "{}"}));
  ASSERT_TRUE(world_.cluster.store().put({.key = "/weft/v1/default/roles/egress-192.0.2.8", .value = "7"}));
  world_.cluster.changed();
  a->want({first});
  settle();
  EXPECT_THAT(a->holders(), ElementsAre(Pair(first, "a")));
  EXPECT_THAT(a->troubles, ::testing::Contains(HasSubstr("egress-x")));
  EXPECT_THAT(a->troubles, ::testing::Contains(HasSubstr("egress-192.0.2.8")));
}

TEST(ClaimRole, HasOneSpelling) {
  EXPECT_EQ(claim_role(first), "egress-192.0.2.9");
  EXPECT_EQ(claim_role(second), "egress-2001_db8__9");
  EXPECT_EQ(claimed_address("egress-2001_db8__9").value(), second);
  EXPECT_TRUE(check_name("role", claim_role(ip("::1"))));
  for (const auto* text : {"egress-", "collector", "egress-2001:db8::9", "egress-2001_db8__09"})
    EXPECT_FALSE(claimed_address(text)) << text;
}

}  // namespace
}  // namespace weft::cluster::testing
