#include "control/services/balancer_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <random>
#include <set>

#include "control/services/testing.h"

namespace weft::control {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::ip;
using ::testing::IsEmpty;

class BalancerPlanTest : public ::testing::Test {
 protected:
  struct Known {
    std::optional<model::Service> service;
    std::string created;
    std::vector<IpAddress> held;
  };

  model::Service& put(const std::string& name, const std::string& created, std::vector<IpAddress> held = {}) {
    auto service = testing::service(name);
    service.type = model::Service::Type::load_balancer;
    service.cluster_ips = {ip("10.96.0.1")};
    auto& known = known_[name] = {service, created, std::move(held)};
    return *known.service;
  }
  void pool(const std::string& first, const std::string& last, bool automatic = true) {
    model::LoadBalancerPool pool;
    pool.meta.name = "p" + first;
    pool.ranges = {{ip(first), ip(last)}};
    pool.auto_assign = automatic;
    pools_.push_back(pool);
  }
  std::map<model::ObjectKey, BalancerDecision> plan() {
    BalancerInput input;
    for (const auto& [name, known] : known_)
      input.services.push_back({{"shop", name}, known.service ? &*known.service : nullptr, known.created, known.held});
    for (const auto& one : pools_) input.pools.push_back(&one);
    input.kept_out = kept_out_;
    return plan_balancers(input);
  }
  std::vector<IpAddress> given(const std::string& name) { return plan().at({"shop", name}).addresses; }
  std::string reason(const std::string& name) { return plan().at({"shop", name}).reason; }
  // What was decided is what they have.
  void write() {
    for (const auto& [key, decision] : plan()) known_.at(key.name).held = decision.addresses;
  }

  std::map<std::string, Known> known_;
  std::vector<model::LoadBalancerPool> pools_;
  std::vector<IpAddress> kept_out_;
};

TEST_F(BalancerPlanTest, TheOldestIsServedFirst) {
  pool("192.0.2.1", "192.0.2.1");
  put("a", "2026-02-01T00:00:00Z");
  put("z", "2026-01-01T00:00:00Z");
  EXPECT_THAT(given("z"), ElementsAre(ip("192.0.2.1")));
  EXPECT_THAT(given("a"), IsEmpty());
  EXPECT_EQ(reason("a"), "every IPv4 address of LoadBalancerPool p192.0.2.1 is taken");
}

TEST_F(BalancerPlanTest, WhatOneHasItKeepsWhoeverIsOlder) {
  pool("192.0.2.1", "192.0.2.1");
  put("a", "2026-02-01T00:00:00Z", {ip("192.0.2.1")});
  put("z", "2026-01-01T00:00:00Z");
  EXPECT_THAT(given("a"), ElementsAre(ip("192.0.2.1")));
  EXPECT_THAT(given("z"), IsEmpty());
}

TEST_F(BalancerPlanTest, OfTwoThatHaveOneTheOlderKeepsIt) {
  pool("192.0.2.1", "192.0.2.9");
  put("a", "2026-02-01T00:00:00Z", {ip("192.0.2.1")});
  put("z", "2026-01-01T00:00:00Z", {ip("192.0.2.1")});
  EXPECT_THAT(given("z"), ElementsAre(ip("192.0.2.1")));
  EXPECT_THAT(given("a"), ElementsAre(ip("192.0.2.2")));
}

TEST_F(BalancerPlanTest, SharedByKeyWithOtherPorts) {
  pool("192.0.2.1", "192.0.2.9");
  put("a", "1").sharing_key = "k";
  auto& other = put("b", "2");
  other.sharing_key = "k";
  other.ports = {testing::port(81, std::uint16_t{8080})};
  EXPECT_EQ(given("a"), given("b"));
  write();
  EXPECT_EQ(given("a"), given("b"));
  other.ports = {testing::port(80, std::uint16_t{8080})};
  EXPECT_THAT(given("a"), ElementsAre(ip("192.0.2.1")));
  EXPECT_THAT(given("b"), ElementsAre(ip("192.0.2.2")));
}

TEST_F(BalancerPlanTest, WhatSomebodyHasToLoseFirstIsGivenAfterThat) {
  pool("192.0.2.1", "192.0.2.1");
  put("a", "1", {ip("192.0.2.1")}).load_balancer_ips = {ip("192.0.2.7")};
  put("b", "2");
  EXPECT_THAT(given("a"), IsEmpty());
  EXPECT_THAT(given("b"), IsEmpty());
  EXPECT_EQ(reason("b"), "service shop/a has 192.0.2.1 to give up first");
  write();
  EXPECT_THAT(given("b"), ElementsAre(ip("192.0.2.1")));
}

TEST_F(BalancerPlanTest, RequestsAreLeftFreeAndHonoured) {
  pool("192.0.2.1", "192.0.2.2");
  put("a", "1");
  put("b", "2").load_balancer_ips = {ip("192.0.2.1")};
  EXPECT_THAT(given("a"), ElementsAre(ip("192.0.2.2")));
  EXPECT_THAT(given("b"), ElementsAre(ip("192.0.2.1")));
  put("c", "0").load_balancer_ips = {ip("192.0.2.1")};
  EXPECT_THAT(given("c"), ElementsAre(ip("192.0.2.1")));
  EXPECT_THAT(reason("b"), HasSubstr("load balancer address 192.0.2.1 belongs to service shop/c"));
}

TEST_F(BalancerPlanTest, OtherProgramsKeepWhatTheyHave) {
  pool("192.0.2.1", "192.0.2.2");
  known_["cloud"] = {std::nullopt, "9", {ip("192.0.2.1"), ip("203.0.113.1")}};
  put("a", "1");
  EXPECT_THAT(given("a"), ElementsAre(ip("192.0.2.2")));
  EXPECT_FALSE(plan().contains({"shop", "cloud"}));
}

TEST_F(BalancerPlanTest, APoolThatIsGoneTakesItsAddressesWithIt) {
  pool("192.0.2.1", "192.0.2.2");
  put("a", "1", {ip("192.0.2.1")});
  pools_.clear();
  EXPECT_THAT(given("a"), IsEmpty());
  EXPECT_EQ(reason("a"), "no LoadBalancerPool has IPv4 addresses for it");
  kept_out_ = {ip("192.0.2.1")};
  pool("192.0.2.1", "192.0.2.2");
  EXPECT_THAT(given("a"), ElementsAre(ip("192.0.2.1"))) << "it has it already";
  known_["a"].held.clear();
  EXPECT_THAT(given("a"), ElementsAre(ip("192.0.2.2")));
}

TEST_F(BalancerPlanTest, BothFamiliesAsItsClusterIps) {
  pool("192.0.2.1", "192.0.2.2");
  pool("2001:db8::1", "2001:db8::9");
  put("a", "1").cluster_ips = {ip("fd00::1"), ip("10.96.0.7")};
  EXPECT_THAT(given("a"), ElementsAre(ip("2001:db8::1"), ip("192.0.2.1")));
}

// However the world moves: nobody has what another has, and what was written is what is decided again.
TEST_F(BalancerPlanTest, NothingIsGivenTwice) {
  std::mt19937 random(7);
  const auto one_of = [&](unsigned n) { return static_cast<unsigned>(random() % n); };
  const auto some_address = [&] { return IpAddress::v4(0xc0000200U + 1 + one_of(6)); };
  for (int round = 0; round < 3000; ++round) {
    const auto name = "s" + std::to_string(one_of(6));
    switch (one_of(8)) {
      case 0:
        pools_.clear();
        break;
      case 1:
        if (pools_.size() < 3)
          pool("192.0.2." + std::to_string(1 + one_of(3)), "192.0.2." + std::to_string(3 + one_of(3)));
        break;
      case 2:
        known_.erase(name);
        break;
      case 3:  // somebody else writes
        if (known_.contains(name)) known_[name].held = {some_address()};
        break;
      case 4:
        put(name, std::to_string(one_of(3)), known_[name].held).load_balancer_ips = {some_address()};
        break;
      default: {
        auto& service = put(name, std::to_string(one_of(3)), known_[name].held);
        if (one_of(2) == 0) service.sharing_key = "k";
        service.ports = {testing::port(static_cast<std::uint16_t>(80 + one_of(3)), std::uint16_t{1})};
      }
    }
    const auto decided = plan();
    for (const auto& [key, decision] : decided)
      for (const auto& [other, others] : decided)
        for (const auto& address : decision.addresses) {
          if (key == other) continue;
          const auto& a = *known_[key.name].service;
          const auto& b = *known_[other.name].service;
          const bool may_share = !a.sharing_key.empty() && a.sharing_key == b.sharing_key && a.ports != b.ports;
          const auto& held = known_[other.name].held;
          const auto has = [&](const auto& list) { return std::ranges::find(list, address) != list.end(); };
          ASSERT_FALSE(has(others.addresses) && !may_share) << round;
          // Not before it is free, whoever of the two is written first.
          const bool new_one = std::ranges::find(known_[key.name].held, address) == known_[key.name].held.end();
          ASSERT_FALSE(new_one && has(held) && !has(others.addresses)) << round;
        }
    write();
    write();
    const auto settled = plan();
    for (const auto& [key, decision] : settled) ASSERT_EQ(decision.addresses, known_[key.name].held) << round;
  }
}

}  // namespace
}  // namespace weft::control
