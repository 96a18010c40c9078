#include "control/ipam/ipam.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <set>

namespace weft::control {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

IpAddress ip(std::string_view text) { return IpAddress::parse(text).value(); }
IpamTime at(int seconds) { return IpamTime(std::chrono::seconds(seconds)); }

PoolOptions pool(std::initializer_list<const char*> cidrs, int quarantine = 60) {
  PoolOptions options;
  for (const auto* cidr : cidrs) options.cidrs.push_back(Cidr::parse(cidr).value());
  options.quarantine = std::chrono::seconds(quarantine);
  return options;
}

Ipam ipam(std::initializer_list<const char*> cidrs, int quarantine = 60) {
  return Ipam(pool(cidrs, quarantine), {}, {});
}

TEST(Ipam, SeveralBlocksOfAFamilyAreOnePool) {
  auto blocks = ipam({"10.0.1.0/30", "10.0.5.0/29", "fd00::/125"});
  EXPECT_EQ(blocks.gateway(Family::v4), ip("10.0.1.1"));
  EXPECT_EQ(blocks.capacity(Family::v4), 1U + 5U);
  EXPECT_EQ(blocks.allocate("a", {}, at(0)).value(), (std::vector{ip("10.0.1.2"), ip("fd00::2")}));
  EXPECT_EQ(blocks.allocate("b", {}, at(0)).value(), (std::vector{ip("10.0.5.2"), ip("fd00::3")}));
  EXPECT_EQ(blocks.available(Family::v4, at(0)), 4U);
  EXPECT_EQ(blocks.allocate("c", {ip("10.0.5.4")}, at(0)).value(), std::vector{ip("10.0.5.4")});
  EXPECT_THAT(blocks.allocate("d", {ip("10.0.2.4")}, at(0)).error().message, HasSubstr("is outside"));
  for (const auto* owner : {"e", "f", "g"}) ASSERT_TRUE(blocks.allocate(owner, {}, at(0)));
  const auto full = blocks.allocate("h", {}, at(0));
  EXPECT_THAT(full.error().message, HasSubstr("no free address in 10.0.1.0/30, 10.0.5.0/29: of 6 addresses 6 are"));
  EXPECT_EQ(blocks.allocations().size(), 2U * 5 + 1);  // all or nothing: no IPv6 address for "h"
}

TEST(Ipam, BlocksComeAndGoWhileTheGatewayAndWhatIsHeldStay) {
  auto blocks = ipam({"10.0.1.0/29"}, 10);
  ASSERT_TRUE(blocks.allocate("a", {}, at(0)));
  blocks.set_cidrs({*Cidr::parse("10.0.9.0/29")}, {{Family::v4, ip("10.0.1.1")}});
  EXPECT_EQ(blocks.gateway(Family::v4), ip("10.0.1.1"));
  EXPECT_EQ(blocks.allocate("a", {}, at(0)).value(), std::vector{ip("10.0.1.2")});
  EXPECT_EQ(blocks.allocate("b", {}, at(0)).value(), std::vector{ip("10.0.9.2")});
  EXPECT_FALSE(blocks.unused(*Cidr::parse("10.0.1.0/29")));
  EXPECT_TRUE(blocks.unused(*Cidr::parse("10.0.2.0/29")));
  (void)blocks.release("a", at(0));
  EXPECT_FALSE(blocks.unused(*Cidr::parse("10.0.1.0/29")));  // it rests
  blocks.expire(at(11));
  EXPECT_TRUE(blocks.unused(*Cidr::parse("10.0.1.0/29")));
  blocks.set_cidrs({}, {{Family::v4, ip("10.0.1.1")}});
  EXPECT_EQ(blocks.allocate("c", {}, at(11)).error().code, ErrorCode::exhausted);
}

TEST(Ipam, SkipsNetworkGatewayAndBroadcast) {
  auto four = ipam({"10.0.0.0/29"});
  EXPECT_EQ(four.gateway(Family::v4), ip("10.0.0.1"));
  EXPECT_EQ(four.gateway(Family::v6), std::nullopt);
  EXPECT_EQ(four.capacity(Family::v4), 5U);
  EXPECT_EQ(four.capacity(Family::v6), 0U);
  for (int i = 2; i <= 6; ++i)
    EXPECT_THAT(four.allocate("c" + std::to_string(i), {}, at(0)).value(),
                ElementsAre(IpAddress::v4(0x0a000000U + static_cast<unsigned>(i))));
  EXPECT_EQ(four.allocate("more", {}, at(0)).error().code, ErrorCode::exhausted);
}

TEST(Ipam, SmallestAndLargestPools) {
  struct Case {
    const char* cidr;
    std::uint64_t capacity;
    const char* gateway;
  };
  for (const auto& [cidr, capacity, gateway] :
       {Case{"10.0.0.0/30", 1, "10.0.0.1"}, Case{"10.0.0.0/31", 0, "10.0.0.1"}, Case{"10.0.0.0/32", 0, nullptr},
        Case{"0.0.0.0/0", (1ULL << 32) - 3, "0.0.0.1"}, Case{"fd00::/126", 2, "fd00::1"},
        Case{"fd00::/127", 0, "fd00::1"}, Case{"fd00::/128", 0, nullptr},
        Case{"fd00::/66", (1ULL << 62) - 2, "fd00::1"}, Case{"fd00::/64", 1ULL << 63, "fd00::1"}}) {
    auto one = ipam({cidr});
    const auto family = one.options().cidrs[0].family();
    EXPECT_EQ(one.capacity(family), capacity) << cidr;
    EXPECT_EQ(one.gateway(family), gateway == nullptr ? std::nullopt : std::optional(ip(gateway))) << cidr;
    EXPECT_EQ(one.allocate("c", {}, at(0)).has_value(), capacity != 0) << cidr;
  }
  EXPECT_EQ(ipam({}).allocate("c", {}, at(0)).error().code, ErrorCode::exhausted);
}

TEST(Ipam, TheVeryLastAddressesOfAFamilyWork) {
  auto four = ipam({"255.255.255.248/29"});
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(four.allocate(std::to_string(i), {}, at(0)));
  EXPECT_FALSE(four.allocate("5", {}, at(0)));
  auto six = ipam({"ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffc/126"});
  EXPECT_TRUE(six.allocate("a", {}, at(0)));
  EXPECT_EQ(six.allocate("b", {}, at(0)).value().front().to_string(), "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
  EXPECT_FALSE(six.allocate("c", {}, at(0)));
}

TEST(Ipam, DualStackIsAllOrNothing) {
  auto both = ipam({"fd00::/64", "10.0.0.0/30"});
  EXPECT_THAT(both.allocate("a", {}, at(0)).value(), ElementsAre(ip("fd00::2"), ip("10.0.0.2")));
  // The same owner again gets the same, in the same order.
  EXPECT_THAT(both.allocate("a", {}, at(5)).value(), ElementsAre(ip("fd00::2"), ip("10.0.0.2")));
  auto refused = both.allocate("b", {}, at(0));
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message,
              HasSubstr("pool \"default\" has no free address in 10.0.0.0/30: of 1 addresses 1 are allocated"));
  EXPECT_EQ(refused.error().hint, "delete pods, or give some of them a PodAddressPool of their own");
  EXPECT_EQ(both.allocations().size(), 2U);
  // The refused attempt used up no IPv6 address.
  both.release("a", at(0));
  EXPECT_THAT(both.allocate("c", {}, at(100)).value(), ElementsAre(ip("fd00::3"), ip("10.0.0.2")));
}

TEST(Ipam, RequestedAddresses) {
  auto both = ipam({"10.0.0.0/24", "fd00::/64"});
  EXPECT_THAT(both.allocate("a", {ip("10.0.0.77"), ip("fd00::77")}, at(0)).value(),
              ElementsAre(ip("10.0.0.77"), ip("fd00::77")));
  EXPECT_THAT(both.allocate("a", {ip("fd00::77"), ip("10.0.0.77")}, at(0)).value(),
              ElementsAre(ip("fd00::77"), ip("10.0.0.77")));
  const auto error_of = [&](const std::string& owner, const std::vector<IpAddress>& wanted) {
    auto result = both.allocate(owner, wanted, at(1));
    return result ? Error{ErrorCode::internal, "granted", ""} : result.error();
  };
  EXPECT_EQ(error_of("b", {ip("10.0.0.77")}).message, "10.0.0.77 is taken by a");
  EXPECT_EQ(error_of("b", {ip("10.0.0.77")}).code, ErrorCode::exists);
  EXPECT_EQ(error_of("b", {ip("10.0.1.1")}).message, "10.0.1.1 is outside pool \"default\" (10.0.0.0/24, fd00::/64)");
  EXPECT_EQ(error_of("b", {ip("10.0.0.1")}).message,
            "10.0.0.1 is the gateway of pool \"default\" (10.0.0.0/24, fd00::/64)");
  EXPECT_THAT(error_of("b", {ip("10.0.0.0")}).message, HasSubstr("is the network address of"));
  EXPECT_THAT(error_of("b", {ip("10.0.0.255")}).message, HasSubstr("is the broadcast address of"));
  EXPECT_THAT(error_of("b", {ip("10.0.0.9"), ip("10.0.0.9")}).message, HasSubstr("10.0.0.9 is asked for twice"));
  EXPECT_THAT(error_of("a", {ip("10.0.0.9")}).message, HasSubstr("a holds 10.0.0.77, fd00::77 already"));
  // All or nothing: the good half of a refused request stays free.
  EXPECT_EQ(error_of("b", {ip("10.0.0.9"), ip("fd00::77")}).message, "fd00::77 is taken by a");
  EXPECT_THAT(both.allocate("c", {ip("10.0.0.9")}, at(1)).value(), ElementsAre(ip("10.0.0.9")));
  // The last address of an IPv6 pool is no broadcast address.
  EXPECT_TRUE(both.allocate("d", {ip("fd00::ffff:ffff:ffff:ffff")}, at(1)));
}

TEST(Ipam, QuarantineIsKeptAndEnds) {
  auto one = ipam({"10.0.0.0/30"});
  ASSERT_TRUE(one.allocate("a", {}, at(1000)));
  EXPECT_THAT(one.release("a", at(1000)), ElementsAre(ip("10.0.0.2")));
  EXPECT_THAT(one.release("a", at(1000)), IsEmpty());
  EXPECT_THAT(one.quarantined(), ElementsAre(::testing::Field(&Quarantined::until, at(1060))));
  auto refused = one.allocate("b", {}, at(1059));
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message,
              HasSubstr("0 are allocated and 1 quarantined, the first until 1970-01-01T00:17:40Z"));
  EXPECT_EQ(one.allocate("b", {ip("10.0.0.2")}, at(1059)).error().code, ErrorCode::unavailable);
  one.expire(at(1059));
  EXPECT_EQ(one.quarantined().size(), 1U);
  // Over is over, whether or not expire() was called.
  ASSERT_TRUE(one.allocate("b", {}, at(1060)));
  EXPECT_THAT(one.quarantined(), IsEmpty());
  one.release("b", at(1060));
  one.expire(at(1120));
  EXPECT_THAT(one.quarantined(), IsEmpty());
}

FurtherPool further(std::string name, std::initializer_list<const char*> cidrs, std::vector<Family> families = {}) {
  FurtherPool result{.name = std::move(name), .cidrs = {}, .families = std::move(families)};
  for (const auto* cidr : cidrs) result.cidrs.push_back(Cidr::parse(cidr).value());
  return result;
}

TEST(Ipam, WhatSomebodyElseHasIsNotGiven) {
  auto one = ipam({"10.0.0.0/29"});
  ASSERT_EQ(one.allocate("a", {}, at(0)).value(), std::vector{ip("10.0.0.2")});
  one.rest(ip("10.0.0.3"), at(120));
  one.rest(ip("10.0.0.2"), at(120));
  one.rest(ip("192.0.2.9"), at(120));
  EXPECT_EQ(one.quarantined().size(), 1U) << "neither what an owner has, nor what is no address of ours";
  EXPECT_EQ(one.allocate("b", {}, at(0)).value(), std::vector{ip("10.0.0.4")});
  EXPECT_FALSE(one.allocate("c", {ip("10.0.0.3")}, at(0)));
  one.rest(ip("10.0.0.3"), at(60));
  EXPECT_FALSE(one.allocate("c", {ip("10.0.0.3")}, at(100))) << "the longer one counts";
  EXPECT_TRUE(one.allocate("c", {ip("10.0.0.3")}, at(121)));
}

TEST(Ipam, FurtherPoolsGiveEveryAddressAndTheirOwnFamilies) {
  auto pools = ipam({"10.0.0.0/29", "fd00::/125"});
  pools.set_further({further("blue", {"10.1.0.0/30"}), further("red", {"fd01::/127"})});
  const auto give = [&](const std::string& owner, const std::string& pool) {
    return pools.give(owner, {.pool = pool, .addresses = {}}, at(0));
  };
  for (int i = 0; i < 4; ++i)
    EXPECT_THAT(give("b" + std::to_string(i), "blue").value(),
                ElementsAre(IpAddress::v4(0x0a010000U + static_cast<unsigned>(i))));
  EXPECT_THAT(give("b4", "blue").error().message,
              HasSubstr("pool \"blue\" has no free address in 10.1.0.0/30: of 4 addresses 4 are allocated"));
  EXPECT_EQ(give("b4", "blue").error().hint,
            "delete pods, or weft apply the PodAddressPool blue with one more CIDR in spec.cidrs");
  EXPECT_THAT(give("r", "red").value(), ElementsAre(ip("fd01::")));
  EXPECT_THAT(give("d", "").value(), ElementsAre(ip("10.0.0.2"), ip("fd00::2")));
  EXPECT_THAT(give("x", "green").error().message,
              ::testing::StartsWith("there is no pool \"green\": there are pool \"default\" (10.0.0.0/29, fd00::/125), "
                                    "pool \"blue\" (10.1.0.0/30), pool \"red\""));
  EXPECT_EQ(pools.available("blue", Family::v4, at(0)), 0U);
  EXPECT_EQ(pools.available("red", Family::v6, at(0)), 1U);
  EXPECT_EQ(pools.available("green", Family::v6, at(0)), 0U);
  EXPECT_EQ(pools.available(Family::v4, at(0)), 4U);
  EXPECT_EQ(*pools.holder(ip("fd01::")), "r");
  EXPECT_EQ(pools.holder(ip("fd01::1")), nullptr);
  // What one gives back rests, and the others are the last to be asked.
  pools.release("b0", at(0));
  EXPECT_FALSE(give("b4", "blue"));
  EXPECT_TRUE(pools.give("b4", {.pool = "blue", .addresses = {}}, at(60)));
  const auto uses = pools.uses();
  ASSERT_EQ(uses.size(), 4U);
  EXPECT_EQ(uses[2].pool, "blue");
  EXPECT_EQ(uses[2].capacity, 4U);
  EXPECT_EQ(uses[2].allocated, 4U);
}

TEST(Ipam, APoolWhoseBlocksOfAFamilyAreMissingGivesNothing) {
  auto pools = ipam({"10.0.0.0/29"});
  pools.set_further({further("blue", {"10.1.0.0/30"}, {Family::v4, Family::v6})});
  EXPECT_THAT(pools.give("a", {.pool = "blue", .addresses = {}}, at(0)).error().message,
              HasSubstr("pool \"blue\" has no IPv6 addresses on this node"));
  EXPECT_TRUE(pools.allocations().empty());
}

TEST(Ipam, NamedAddressesAreOfAnyPoolAndMayBeTakenWhileTheyRest) {
  auto pools = ipam({"10.0.0.0/29"});
  pools.set_further({further("blue", {"10.1.0.0/30", "10.2.0.7/32"})});
  EXPECT_THAT(pools.allocate("a", {ip("10.1.0.3")}, at(0)).value(), ElementsAre(ip("10.1.0.3")));
  EXPECT_EQ(pools.allocate("b", {ip("10.1.0.3")}, at(0)).error().message, "10.1.0.3 is taken by a");
  EXPECT_EQ(
      pools.allocate("b", {ip("10.1.0.9")}, at(0)).error().message,
      "10.1.0.9 is in no pool: there are pool \"default\" (10.0.0.0/29), pool \"blue\" (10.1.0.0/30, 10.2.0.7/32)");
  pools.release("a", at(0));
  EXPECT_EQ(pools.allocate("a", {ip("10.1.0.3")}, at(1)).error().code, ErrorCode::unavailable);
  EXPECT_TRUE(pools.give("a", {.pool = {}, .addresses = {ip("10.1.0.3")}, .resting = true}, at(1)));
  EXPECT_THAT(pools.quarantined(), IsEmpty());
  // A CIDR of one address: it may be another node's at once.
  ASSERT_TRUE(pools.allocate("c", {ip("10.2.0.7")}, at(1)));
  EXPECT_THAT(pools.release("c", at(1)), ElementsAre(ip("10.2.0.7")));
  EXPECT_TRUE(pools.unused(*Cidr::parse("10.2.0.7/32")));
  // A pool that goes leaves what is held until it is released.
  pools.set_further({});
  EXPECT_EQ(*pools.holder(ip("10.1.0.3")), "a");
  EXPECT_THAT(pools.release("a", at(2)), ElementsAre(ip("10.1.0.3")));
}

TEST(Ipam, ReuseIsLate) {
  auto one = ipam({"10.0.0.0/24"}, 0);
  for (int i = 0; i < 1000; ++i) {
    const auto address = one.allocate("pod", {}, at(i)).value().front();
    EXPECT_EQ(address, IpAddress::v4(0x0a000002U + static_cast<unsigned>(i) % 253U));
    one.release("pod", at(i));
  }
}

TEST(Ipam, Restores) {
  auto before = ipam({"10.0.0.0/24", "fd00::/64"});
  ASSERT_TRUE(before.allocate("a", {}, at(0)));
  ASSERT_TRUE(before.allocate("b", {}, at(0)));
  ASSERT_TRUE(before.allocate("c", {}, at(0)));
  before.release("c", at(0));
  Ipam after(before.options(), before.allocations(), before.quarantined());
  EXPECT_EQ(after.allocations(), before.allocations());
  EXPECT_EQ(after.quarantined().size(), 2U);
  EXPECT_THAT(after.allocate("a", {}, at(1)).value(), ElementsAre(ip("10.0.0.2"), ip("fd00::2")));
  EXPECT_THAT(after.allocate("d", {}, at(1)).value(), ElementsAre(ip("10.0.0.5"), ip("fd00::5")));
}

TEST(Ipam, RestoredAddressesOutsideThePoolAreKeptUntilReleased) {
  Ipam moved(pool({"10.1.0.0/30"}), {{ip("10.0.0.5"), "old"}, {ip("10.1.0.1"), "reserved:gateway"}},
             {{ip("10.0.0.5"), at(5)}});
  EXPECT_THAT(moved.quarantined(), IsEmpty());
  EXPECT_THAT(moved.allocate("old", {}, at(0)).value(), ElementsAre(ip("10.0.0.5")));
  EXPECT_THAT(moved.allocate("new", {}, at(0)).value(), ElementsAre(ip("10.1.0.2")));
  EXPECT_THAT(moved.allocate("newer", {}, at(0)).error().message, HasSubstr("of 1 addresses 1 are allocated"));
  EXPECT_THAT(moved.release("old", at(0)), ElementsAre(ip("10.0.0.5")));
  EXPECT_THAT(moved.allocate("old", {ip("10.0.0.5")}, at(1000)).error().message, HasSubstr("is outside"));
}

// The rules again, as slowly and plainly as possible.
struct Model {
  PoolOptions options;
  std::map<std::string, std::set<IpAddress>> held;
  std::map<IpAddress, IpamTime> quarantine;

  [[nodiscard]] bool taken(const IpAddress& address) const {
    for (const auto& [owner, addresses] : held)
      if (addresses.contains(address)) return true;
    return false;
  }
  [[nodiscard]] bool free(const IpAddress& address, IpamTime now) const {
    for (const auto& cidr : options.cidrs) {
      if (!cidr.contains(address)) continue;
      const auto last = cidr.address().plus(cidr.size() - 1);
      const bool reserved =
          address == cidr.address() || address == cidr.address().plus(1) || (cidr.is_v4() && address == last);
      const auto rests = quarantine.find(address);
      return !reserved && !taken(address) && (rests == quarantine.end() || rests->second <= now);
    }
    return false;
  }
  [[nodiscard]] bool room(const Cidr& cidr, IpamTime now) const {
    for (std::uint64_t i = 0; i < cidr.size(); ++i)
      if (free(cidr.address().plus(i), now)) return true;
    return false;
  }
};

class Random : public ::testing::TestWithParam<int> {};

TEST_P(Random, OperationsAgreeWithTheModel) {
  std::mt19937 random(static_cast<unsigned>(GetParam()));
  const auto options = GetParam() % 3 == 0   ? pool({"10.0.0.0/28"}, 20)
                       : GetParam() % 3 == 1 ? pool({"fd00::/124"}, 20)
                                             : pool({"10.0.0.0/28", "fd00::/123"}, 20);
  Ipam tested(options, {}, {});
  Model model{options, {}, {}};
  int now = 0;
  const auto any_address = [&] {
    const auto& cidr = options.cidrs[random() % options.cidrs.size()];
    return cidr.address().plus(random() % (cidr.size() + 1));
  };
  for (int step = 0; step < 4000; ++step) {
    now += static_cast<int>(random() % 3);
    const auto owner = "c" + std::to_string(random() % 20);
    const auto action = random() % 10;
    if (action < 4) {
      const bool known = model.held.contains(owner);
      const bool room = std::ranges::all_of(options.cidrs, [&](const Cidr& cidr) { return model.room(cidr, at(now)); });
      auto given = tested.allocate(owner, {}, at(now));
      ASSERT_EQ(given.has_value(), known || room);
      if (!given) continue;
      const std::set<IpAddress> set(given->begin(), given->end());
      if (known) {
        ASSERT_EQ(set, model.held[owner]);
        continue;
      }
      ASSERT_EQ(given->size(), options.cidrs.size());
      for (std::size_t i = 0; i < given->size(); ++i) {
        ASSERT_TRUE(options.cidrs[i].contains((*given)[i]));
        ASSERT_TRUE(model.free((*given)[i], at(now)));
        model.quarantine.erase((*given)[i]);
      }
      model.held[owner] = set;
    } else if (action < 6) {
      const std::vector<IpAddress> wanted{any_address()};
      const std::set<IpAddress> set(wanted.begin(), wanted.end());
      const bool known = model.held.contains(owner);
      const bool possible = known ? model.held[owner] == set : model.free(wanted[0], at(now));
      auto given = tested.allocate(owner, wanted, at(now));
      ASSERT_EQ(given.has_value(), possible);
      if (!given) continue;
      ASSERT_EQ(*given, wanted);
      if (!known) model.quarantine.erase(wanted[0]);
      model.held[owner] = set;
    } else if (action < 9) {
      const auto released = tested.release(owner, at(now));
      ASSERT_EQ(std::set(released.begin(), released.end()), model.held[owner]);
      for (const auto& address : released) model.quarantine[address] = at(now + 20);
      model.held.erase(owner);
    } else if (random() % 4 != 0) {
      tested.expire(at(now));
      std::erase_if(model.quarantine, [&](const auto& entry) { return entry.second <= at(now); });
    } else {
      tested = Ipam(options, tested.allocations(), tested.quarantined());
    }
    std::map<std::string, std::set<IpAddress>> held;
    for (const auto& [address, holder] : tested.allocations()) held[holder].insert(address);
    ASSERT_EQ(held, model.held);
    std::map<IpAddress, IpamTime> resting;
    for (const auto& [address, until] : tested.quarantined()) resting[address] = until;
    ASSERT_EQ(resting, model.quarantine);
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, Random, ::testing::Range(0, 12));

}  // namespace
}  // namespace weft::control
