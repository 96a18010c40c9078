#include "sources/cluster/announcers.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sources/cluster/testing/test_world.h"

namespace weft::cluster::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr auto lease = seconds(10);

IpAddress ip(const std::string& text) { return IpAddress::parse(text).value(); }

// A node that could announce addresses.
class TestNode {
 public:
  TestNode(TestWorld& world, const std::string& name, milliseconds delay = milliseconds(0))
      : client_(world.cluster.connect()),
        context_{.client = *client_,
                 .scheduler = world.time,
                 .random = etcd::testing::fixed_random(),
                 .keys = Keyspace::make("default").value()},
        delay_(delay),
        registry_(context_, {.name = name, .boot_id = "boot", .predecessor = {}, .record = {}}, {.ttl = lease},
                  {.changed = {},
                   .joined = [this] { announcers.membership_changed(); },
                   .left = [this](const etcd::Failure&) { announcers.membership_changed(); },
                   .refused = {},
                   .trouble = {}}) {}
  void want(const std::vector<std::string>& addresses) {
    std::set<IpAddress> all;
    for (const auto& address : addresses) all.insert(ip(address));
    announcers.want(std::move(all), [this](const IpAddress&) { return delay_; });
  }
  void leave() {
    registry_.close([](const etcd::Outcome<void>&) {});
  }
  [[nodiscard]] bool has(const std::string& address) const { return announcers.may_announce(ip(address)); }
  [[nodiscard]] std::string holder(const std::string& address) const {
    const auto found = announcers.holders().find(ip(address));
    return found == announcers.holders().end() ? std::string() : found->second;
  }

 private:
  std::unique_ptr<etcd::Client> client_;
  Context context_;
  milliseconds delay_;
  NodeRegistry registry_;

 public:
  int changes = 0;
  std::vector<std::string> troubles;
  Announcers announcers{
      context_,
      registry_,
      {.changed = [this] { ++changes; }, .trouble = [this](const Error& error) { troubles.push_back(error.message); }}};
};

class AnnouncersTest : public ::testing::Test {
 protected:
  std::unique_ptr<TestNode> start(const std::string& name, milliseconds delay = milliseconds(0)) {
    auto node = std::make_unique<TestNode>(world_, name, delay);
    world_.time.settle();
    return node;
  }
  void pass(milliseconds time) { world_.time.advance(time); }

  TestWorld world_;
};

TEST_F(AnnouncersTest, OneNodeHasAnAddressAndItStaysThere) {
  const auto first = start("first");
  const auto second = start("second");
  first->want({"192.0.2.1"});
  second->want({"192.0.2.1"});
  pass(seconds(1));
  EXPECT_TRUE(first->has("192.0.2.1"));
  EXPECT_TRUE(first->announcers.surely_has(ip("192.0.2.1")));
  EXPECT_FALSE(second->has("192.0.2.1"));
  EXPECT_EQ(second->holder("192.0.2.1"), "first");
  EXPECT_GT(first->changes, 0);
  pass(seconds(60));
  EXPECT_TRUE(first->has("192.0.2.1"));
}

TEST_F(AnnouncersTest, WhoComesFirstInTheOrderHasIt) {
  const auto late = start("a", milliseconds(450));
  const auto early = start("b", milliseconds(0));
  late->want({"192.0.2.1", "2001:db8::1"});
  pass(milliseconds(200));
  early->want({"192.0.2.1", "2001:db8::1"});
  pass(seconds(2));
  EXPECT_TRUE(early->has("192.0.2.1"));
  EXPECT_TRUE(early->has("2001:db8::1"));
  EXPECT_FALSE(late->has("192.0.2.1"));
}

TEST_F(AnnouncersTest, AnotherTakesOverWhenTheLeaseEndsAndAtOnceWhenItIsGivenUp) {
  auto first = start("first");
  const auto second = start("second");
  first->want({"192.0.2.1", "192.0.2.2"});
  pass(seconds(1));
  second->want({"192.0.2.1", "192.0.2.2"});
  first->want({"192.0.2.2"});
  EXPECT_FALSE(first->has("192.0.2.1")) << "at once, whatever etcd says";
  pass(seconds(1));
  EXPECT_TRUE(second->has("192.0.2.1"));
  EXPECT_FALSE(second->has("192.0.2.2"));
  first.reset();  // as if it was killed
  pass(lease / 2);
  EXPECT_FALSE(second->has("192.0.2.2"));
  pass(lease);
  EXPECT_TRUE(second->has("192.0.2.2"));
}

TEST_F(AnnouncersTest, WithoutEtcdEverybodyGoesOnAsTheyAre) {
  const auto first = start("first");
  const auto second = start("second");
  first->want({"192.0.2.1"});
  pass(seconds(1));
  second->want({"192.0.2.1"});
  world_.cluster.set_available(false);
  pass(5 * lease);
  EXPECT_TRUE(first->has("192.0.2.1"));
  EXPECT_FALSE(first->announcers.surely_has(ip("192.0.2.1"))) << "its lease may have ended";
  EXPECT_FALSE(second->has("192.0.2.1"));
  world_.cluster.set_available(true);
  pass(5 * lease);
  EXPECT_NE(first->has("192.0.2.1"), second->has("192.0.2.1"));
}

// Its lease ends while it believes to have the address: what it hears when it is back decides.
TEST_F(AnnouncersTest, WhoWasAwayForTooLongYields) {
  const auto first = start("first");
  const auto second = start("second");
  first->want({"192.0.2.1"});
  pass(seconds(1));
  second->want({"192.0.2.1"});
  first->leave();  // its lease ends
  EXPECT_TRUE(first->has("192.0.2.1"));
  EXPECT_FALSE(first->announcers.surely_has(ip("192.0.2.1")));
  pass(seconds(1));
  EXPECT_TRUE(second->has("192.0.2.1"));
  EXPECT_FALSE(first->has("192.0.2.1"));
}

TEST_F(AnnouncersTest, TheNextRunOfANodeGoesOnWithWhatTheLastOneHad) {
  auto first = start("first");
  first->want({"192.0.2.1"});
  pass(seconds(1));
  first.reset();
  const auto second = start("second");
  second->want({"192.0.2.1"});
  const auto again = std::make_unique<TestNode>(world_, "first", milliseconds(0));
  again->announcers.adopt({ip("192.0.2.1"), ip("192.0.2.9")});
  again->want({"192.0.2.1"});
  EXPECT_TRUE(again->has("192.0.2.1")) << "before etcd has answered";
  EXPECT_FALSE(again->has("192.0.2.9")) << "it is no Service's any more";
  pass(3 * lease);
  EXPECT_TRUE(again->announcers.surely_has(ip("192.0.2.1"))) << "the old lease took nothing with it";
  EXPECT_FALSE(second->has("192.0.2.1"));
}

TEST_F(AnnouncersTest, ManyAreTakenTogetherAndOneThatIsGoneKeepsNoOtherBack) {
  const auto first = start("first");
  first->want({"192.0.2.77"});
  pass(seconds(1));
  std::vector<std::string> all;
  for (int i = 1; i < 200; ++i) all.push_back(fmt::format("192.0.2.{}", i));
  const auto second = start("second");
  const auto before = world_.cluster.requests();
  second->want(all);
  pass(seconds(5));
  for (const auto& address : all) EXPECT_EQ(second->has(address), address != "192.0.2.77") << address;
  EXPECT_LT(world_.cluster.requests() - before, is_etcd ? 40U : 280U);
}

TEST_F(AnnouncersTest, ALostAnswerIsNoLostAddress) {
  const auto node = start("first");
  world_.cluster.lose_answers(1);
  node->want({"192.0.2.1"});
  pass(seconds(5));
  EXPECT_TRUE(node->has("192.0.2.1"));
  EXPECT_TRUE(node->announcers.surely_has(ip("192.0.2.1")));
}

TEST_F(AnnouncersTest, OneThatIsUnwantedForAMomentIsNotLost) {
  const auto node = start("first");
  node->want({"192.0.2.1"});
  pass(seconds(1));
  node->want({});
  node->want({"192.0.2.1"});
  pass(seconds(5));
  EXPECT_TRUE(node->has("192.0.2.1"));
  EXPECT_TRUE(node->announcers.surely_has(ip("192.0.2.1")));
}

TEST_F(AnnouncersTest, AKeyThatCannotBeReadIsSomebodys) {
  ASSERT_TRUE(world_.cluster.store().put({.key = "/weft/v1/default/announcers/192.0.2.1", .value = "?"}));
  const auto node = start("first");
  node->want({"192.0.2.1"});
  pass(seconds(5));
  EXPECT_FALSE(node->has("192.0.2.1"));
  EXPECT_THAT(node->troubles, ::testing::Contains(::testing::HasSubstr("'/weft/v1/default/announcers/192.0.2.1'")));
}

}  // namespace
}  // namespace weft::cluster::testing
