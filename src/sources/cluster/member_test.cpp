#include "sources/cluster/member.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sources/cluster/testing/member_world.h"

namespace weft::cluster::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST_F(MemberTest, NodesSeeEachOtherComeAndGo) {
  const auto a = start(options("a"));
  auto b = start(options("b"));
  ASSERT_EQ(a->member->registry().nodes().size(), 2U);
  const auto& seen = a->member->registry().nodes().at("b");
  EXPECT_EQ(seen.alive, "boot-1");
  EXPECT_EQ(seen.record->underlay, std::vector{IpAddress::parse("192.0.2.1").value()});
  b->member->registry().update({.underlay = {}, .mode = "native", .mtu = 1500});
  world_.time.settle();
  EXPECT_EQ(a->member->registry().nodes().at("b").record->mode, "native");
  b.reset();
  world_.time.advance(seconds(15));
  EXPECT_EQ(a->member->registry().nodes().at("b").alive, std::nullopt);
  EXPECT_TRUE(a->gone.empty());
  world_.time.advance(seconds(120));
  EXPECT_THAT(a->gone, ElementsAre("b"));
}

TEST_F(MemberTest, ABlockIsClaimedByNameAndMovesOnceItIsGivenBack) {
  auto with_single = options("a");
  with_single.pools.push_back(pool("static", "10.9.0.0/30", 32)[0]);
  const auto a = start(with_single);
  with_single.self.name = "b";
  const auto b = start(with_single);
  const Block wanted{"static", Cidr::parse("10.9.0.2/32").value()};
  const auto claim_named = [&](TestNode& node, const Block& block) {
    auto answer = std::make_shared<std::string>();
    node.member->blocks().claim(
        block, [answer](const Result<Block>& got) { *answer = got ? got->to_string() : got.error().message; });
    world_.run_until([&] { return !answer->empty(); }, seconds(60));
    return *answer;
  };
  EXPECT_EQ(claim_named(*a, wanted), "static 10.9.0.2/32");
  EXPECT_EQ(claim_named(*a, wanted), "static 10.9.0.2/32");  // it has it
  EXPECT_EQ(claim_named(*b, wanted), "block 10.9.0.2/32 of pool \"static\" is node a's");
  EXPECT_EQ(claim_named(*b, {"static", Cidr::parse("10.9.0.0/31").value()}),
            "10.9.0.0/31 is no block of pool \"static\" (10.9.0.0/30 in blocks of /32)");
  a->member->blocks().release(wanted);
  world_.time.settle();
  EXPECT_EQ(claim_named(*b, wanted), "static 10.9.0.2/32");
  EXPECT_EQ(claim_named(*a, wanted), "block 10.9.0.2/32 of pool \"static\" is node b's");
  // One that was given back is the last to be taken again without a name.
  std::set<std::string> seen;
  for (int i = 0; i < 3; ++i) {
    const auto got = claim(*a, "static");
    EXPECT_TRUE(seen.insert(got).second) << got;
    a->member->blocks().release({"static", Cidr::parse(got).value()});
    world_.time.settle();
  }
}

TEST_F(MemberTest, ASecondRunOfANameIsRefusedWhileTheFirstIsAlive) {
  auto first = start(options("a", "boot-1"));
  const auto second = start(options("a", "boot-2"));
  world_.time.advance(seconds(60));
  ASSERT_EQ(second->refusals.size(), 1U);
  EXPECT_THAT(
      second->refusals[0],
      HasSubstr("boot id boot-2 (192.0.2.1) cannot join: one of this name with boot id boot-1 (192.0.2.1) is alive"));
  EXPECT_TRUE(first->member->registry().membership());
  EXPECT_FALSE(second->member->registry().membership());
  first.reset();
  world_.time.advance(seconds(60));
  EXPECT_TRUE(second->member->registry().membership());
}

TEST_F(MemberTest, EverybodyKnowsWhoHasWhichBlock) {
  const auto a = start(options("a"));
  const auto b = start(options("b"));
  const auto block = claim(*a);
  world_.time.settle();
  const BlockOwners owners{{Block{"p", Cidr::parse(block).value()}, "a"}};
  EXPECT_EQ(a->member->blocks().owners(), owners);
  EXPECT_EQ(b->member->blocks().owners(), owners);
  EXPECT_TRUE(b->member->blocks().synced());
  a->member->blocks().release(owners.begin()->first);
  world_.time.settle();
  EXPECT_TRUE(b->member->blocks().owners().empty());
}

TEST_F(MemberTest, TheSameRunAndTheOneAfterItTakeOverAtOnceWithTheirBlocks) {
  auto a = start(options("a", "boot-1"));
  EXPECT_EQ(claim(*a), "10.0.1.0/24") << "the first candidate of a name does not change";
  a.reset();
  a = start(options("a", "boot-1"));
  world_.time.advance(seconds(1));
  ASSERT_EQ(a->member->blocks().blocks().size(), 1U);
  a.reset();
  auto booted = options("a", "boot-2");
  booted.self.predecessor = "boot-1";
  a = start(booted);
  world_.time.advance(seconds(1));
  ASSERT_EQ(a->member->blocks().blocks().size(), 1U);
  EXPECT_TRUE(a->member->blocks().may_allocate_from(a->member->blocks().blocks()[0]));
  EXPECT_TRUE(a->lost.empty());
}

// Containers of one machine have one boot id, and so have copies of one that go on from where it was.
TEST_F(MemberTest, AnotherAgentWithTheSameBootIdIsToldApartByItsAddresses) {
  auto first = start(options("a"));
  auto elsewhere = options("a");
  elsewhere.self.record.underlay = {IpAddress::parse("192.0.2.9").value()};
  const auto second = start(elsewhere);
  world_.time.advance(seconds(60));
  EXPECT_TRUE(first->member->registry().membership());
  EXPECT_TRUE(first->refusals.empty());
  EXPECT_FALSE(second->member->registry().membership());
  ASSERT_EQ(second->refusals.size(), 1U);
  EXPECT_THAT(
      second->refusals[0],
      HasSubstr("(192.0.2.9) cannot join: another agent runs as node \"a\" at 192.0.2.1, with the same boot id"));
  first.reset();
  world_.time.advance(seconds(60));
  EXPECT_TRUE(second->member->registry().membership());
}

TEST_F(MemberTest, WhoIsReplacedWhileItRunsDoesNotFight) {
  const auto first = start(options("a"));
  const auto second = start(options("a"));
  world_.time.advance(seconds(60));
  EXPECT_TRUE(second->member->registry().membership());
  EXPECT_TRUE(second->refusals.empty());
  EXPECT_FALSE(first->member->registry().membership());
  ASSERT_EQ(first->refusals.size(), 1U);
  EXPECT_THAT(first->refusals[0], HasSubstr("another agent runs as node \"a\" at 192.0.2.1"));
}

TEST_F(MemberTest, ANodeWhoseAddressIsAnotherNowTakesItsPlace) {
  auto a = start(options("a"));
  a.reset();
  auto moved = options("a");
  moved.self.record.underlay = {IpAddress::parse("192.0.2.9").value()};
  moved.self.underlay_before = {IpAddress::parse("192.0.2.1").value()};
  a = start(moved);
  world_.time.advance(seconds(1));
  EXPECT_TRUE(a->member->registry().membership()) << "it remembers the address";
  a->member->registry().update({.underlay = {IpAddress::parse("192.0.2.10").value()}});
  ASSERT_TRUE(world_.cluster.store().revoke(a->member->registry().membership()->lease));
  world_.cluster.changed();
  world_.time.advance(seconds(30));
  EXPECT_TRUE(a->member->registry().membership()) << "it is the same agent";
  a.reset();
  moved.self.underlay_before.clear();
  moved.self.record.underlay = {IpAddress::parse("192.0.2.11").value()};
  a = start(moved);
  EXPECT_FALSE(a->member->registry().membership());
  world_.time.advance(seconds(30));
  EXPECT_TRUE(a->member->registry().membership()) << "it remembers nothing: the lease ends";
  EXPECT_TRUE(a->troubles.empty());
}

TEST_F(MemberTest, BlocksRunOutByNameAndAreFreeAgainAfterRelease) {
  const auto a = start(options("a"));
  const auto b = start(options("b"));
  claim(*a);
  claim(*a);
  EXPECT_EQ(claim(*b), "pool \"p\": all 2 IPv4 blocks are taken");
  EXPECT_EQ(claim(*b, "p", Family::v6), "pool \"p\" has no IPv6 addresses");
  EXPECT_EQ(claim(*b, "q"), "the cluster has no pool \"q\": there are p");
  const auto given_back = a->member->blocks().blocks().at(0);
  a->member->blocks().release(given_back);
  EXPECT_FALSE(a->member->blocks().may_allocate_from(given_back));
  world_.time.settle();
  EXPECT_EQ(claim(*b), given_back.cidr.to_string());
  EXPECT_TRUE(a->lost.empty());
}

TEST_F(MemberTest, PoolsThatContradictTheClustersAreRefusedWithBothNamed) {
  const auto a = start(options("a"));
  claim(*a);
  auto other = options("b");
  other.pools = pool("q", "10.0.1.0/24", 26);
  const auto b = start(other);
  EXPECT_EQ(claim(*b, "q"), "10.0.0.0/23 of pool \"p\" overlaps 10.0.1.0/24 of pool \"q\"");
  other = options("c");
  other.pools = pool("p", "10.0.0.0/23", 25);
  const auto c = start(other);
  EXPECT_EQ(claim(*c),
            "pool \"p\" is 10.0.0.0/23 in blocks of /25 here and 10.0.0.0/23 in blocks of /24 in the cluster");
  EXPECT_EQ(keys_below("blocks/"), 1U);
}

TEST_F(MemberTest, BlocksOfANodeThatIsGoneAreTakenAfterTheDelayAndItNotices) {
  const auto collector = start(options("z"));
  auto a = start(options("a"));
  const auto block = Block{"p", Cidr::parse(claim(*a)).value()};
  a.reset();
  world_.time.advance(seconds(60));
  EXPECT_EQ(keys_below("blocks/"), 1U) << "the lease has been over for 50 s only";
  world_.time.advance(seconds(60));
  EXPECT_EQ(keys_below("blocks/"), 0U);
  auto again = options("a");
  again.remembered = {block};
  a = start(again);
  world_.time.advance(seconds(1));
  EXPECT_THAT(a->lost, ElementsAre(block));
  EXPECT_TRUE(a->member->blocks().blocks().empty());
}

TEST_F(MemberTest, WithoutEtcdANodeAllocatesForLessThanTheDelay) {
  const auto a = start(options("a"));
  const auto block = Block{"p", Cidr::parse(claim(*a)).value()};
  world_.cluster.set_available(false);
  world_.time.advance(seconds(45));
  EXPECT_TRUE(a->member->blocks().may_allocate_from(block));
  world_.time.advance(seconds(20));
  EXPECT_FALSE(a->member->blocks().may_allocate_from(block));
  world_.cluster.set_available(true);
  world_.time.advance(seconds(60));
  EXPECT_TRUE(a->member->blocks().may_allocate_from(block)) << "nobody took it";
}

TEST_F(MemberTest, LabelsHaveOneNumberUntilNobodyNeedsItForTwoRounds) {
  const LabelMap web{{"k8s:app", "web"}};
  const auto a = start(options("a"));
  const auto b = start(options("b"));
  const auto number = acquire(*a, web);
  EXPECT_EQ(acquire(*b, web), number);
  EXPECT_NE(acquire(*b, {{"k8s:app", "db"}}), number);
  EXPECT_EQ(a->member->identities().number_of(web), number);
  ASSERT_NE(a->member->identities().labels_of(number), nullptr);
  EXPECT_EQ(*a->member->identities().labels_of(number), web);
  a->member->identities().release(web);
  world_.time.advance(seconds(120));
  EXPECT_EQ(a->member->identities().number_of(web), number) << "b needs it";
  b->member->identities().release(web);
  world_.time.advance(seconds(14));
  EXPECT_EQ(a->member->identities().number_of(web), number) << "a round sees it without users once";
  world_.time.advance(seconds(17));
  EXPECT_EQ(a->member->identities().number_of(web), std::nullopt);
  EXPECT_EQ(keys_below("identities/ids/"), 1U);
  if (is_etcd) {
    EXPECT_EQ(keys_below("identities/labels/"), 1U);
  }
  EXPECT_EQ(keys_below("identities/marks/"), 0U);
}

TEST_F(MemberTest, NumbersRunOutWithAnErrorAndAreTriedAgain) {
  auto few = options("a");
  few.identities = {.first = 256, .last = 256};
  const auto a = start(few);
  acquire(*a, {{"k8s:app", "web"}});
  std::string error;
  a->member->identities().acquire({{"k8s:app", "db"}},
                                  [&](const Result<IdentityNumber>& n) { error = n ? "none" : n.error().message; });
  world_.time.settle();
  EXPECT_EQ(error, "all identity numbers from 256 to 256 are in use");
  EXPECT_TRUE(a->troubles.empty());
}

TEST_F(MemberTest, EveryNodeKnowsThePodsOfAllAsDifferences) {
  const auto a = start(options("a"));
  const auto b = start(options("b"));
  EXPECT_FALSE(a->member->endpoint_publisher().published());
  a->member->endpoint_publisher().publish(pods({"web-1", "web-2"}));
  world_.time.settle();
  EXPECT_TRUE(a->member->endpoint_publisher().published());
  auto changed = pods({"web-1", "web-3"});
  changed.at({"shop", "web-1"}).ready = false;
  a->member->endpoint_publisher().publish(changed);
  world_.time.advance(seconds(1));
  EXPECT_THAT(b->pods, ElementsAre("a: +web-1 +web-2", "a: +web-1 +web-3 -web-2"));
  EXPECT_EQ(b->member->endpoints().pods_of("a"), changed);
  EXPECT_EQ(a->pods, b->pods) << "one's own are told the same way";
  a->member->endpoint_publisher().publish({});
  world_.time.advance(seconds(1));
  EXPECT_EQ(b->pods.back(), "a: -web-1 -web-3");
}

TEST_F(MemberTest, PodsAreWrittenTenTimesASecondAtMost) {
  if (!is_etcd) GTEST_SKIP() << "only etcd counts the writes of a key";
  const auto a = start(options("a"));
  const auto key = "/weft/v1/default/endpoints/a";
  const auto versions = [&] { return world_.cluster.store().range({.keys = etcd::Keys::one(key)})->kvs.at(0).version; };
  for (int i = 0; i < 200; ++i) {
    a->member->endpoint_publisher().publish(pods({i % 2 == 0 ? "web-1" : "web-2"}));
    world_.time.advance(milliseconds(5));
  }
  world_.time.advance(milliseconds(100));
  EXPECT_GE(versions(), 10);
  EXPECT_LE(versions(), 11);
  EXPECT_EQ(a->member->endpoints().pods_of("a"), pods({"web-2"}));
  const auto before = versions();
  a->member->endpoint_publisher().publish(pods({"web-2"}));
  world_.time.advance(seconds(1));
  EXPECT_EQ(versions(), before) << "nothing is new";
}

TEST_F(MemberTest, AWriteOfPodsWhoseAnswerIsLostIsFoundOut) {
  const auto a = start(options("a"));
  a->member->endpoint_publisher().publish(pods({"web-1"}));
  world_.cluster.lose_answers(1);
  world_.time.advance(milliseconds(1));
  EXPECT_FALSE(a->member->endpoint_publisher().published());
  a->member->endpoint_publisher().publish(pods({"web-2"}));
  world_.time.advance(seconds(5));
  EXPECT_TRUE(a->member->endpoint_publisher().published());
  EXPECT_EQ(a->member->endpoints().pods_of("a"), pods({"web-2"}));
}

TEST_F(MemberTest, PodsOfANodeThatIsAwayStayThoseOfARunThatIsReplacedGo) {
  const auto collector = start(options("z"));
  auto a = start(options("a"));
  auto b = start(options("b"));
  a->member->endpoint_publisher().publish(pods({"web-1"}));
  b->member->endpoint_publisher().publish(pods({"db-1"}));
  world_.time.advance(milliseconds(10));
  a.reset();
  b.reset();
  world_.time.advance(seconds(30));
  EXPECT_EQ(collector->member->endpoints().pods_of("a"), pods({"web-1"}));
  // It booted: its pods are gone, whatever its list says.
  a = start(options("a", "boot-2"));
  world_.time.advance(seconds(1));
  EXPECT_EQ(collector->pods.back(), "a: -web-1");
  EXPECT_TRUE(a->member->endpoints().pods_of("a").empty());
  a->member->endpoint_publisher().publish(pods({"web-2"}));
  world_.time.advance(seconds(1));
  EXPECT_EQ(collector->pods.back(), "a: +web-2");
  EXPECT_EQ(collector->member->endpoints().pods_of("b"), pods({"db-1"}));
  world_.time.advance(seconds(120));
  EXPECT_EQ(collector->pods.back(), "b: -db-1");
  EXPECT_EQ(keys_below("endpoints/"), 1U);
}

TEST_F(MemberTest, MorePodsThanFitAreRefusedByNumber) {
  if (!is_etcd) GTEST_SKIP() << "in slices they fit";
  const auto a = start(options("a"));
  SharedEndpoints many;
  for (int i = 0; i < 25000; ++i) many[{"shop", fmt::format("web-{}", i)}] = {.identity = 300};
  a->member->endpoint_publisher().publish(many);
  world_.time.advance(seconds(1));
  ASSERT_EQ(a->troubles.size(), 1U);
  EXPECT_THAT(a->troubles[0], HasSubstr("the 25000 pods of this node take"));
  EXPECT_EQ(keys_below("endpoints/"), 0U);
  a->member->endpoint_publisher().publish(pods({"web-1"}));
  world_.time.advance(seconds(1));
  EXPECT_EQ(keys_below("endpoints/"), 1U);
}

TEST_F(MemberTest, OneNodeHasTheRoleAndAnotherTakesItOver) {
  auto a = start(options("a"));
  const auto b = start(options("b"));
  world_.time.advance(seconds(10));
  EXPECT_NE(a->member->role().holds().has_value(), b->member->role().holds().has_value());
  a.reset();
  world_.time.advance(seconds(20));
  EXPECT_TRUE(b->member->role().holds());
  world_.time.advance(seconds(40));
  EXPECT_GT(b->member->collector().rounds(), 1U);
}

// Operators come before nodes.
TEST_F(MemberTest, ANodeGivesTheRoleBackWhenThereIsAnOperator) {
  const auto a = start(options("a"));
  world_.time.advance(seconds(10));
  ASSERT_TRUE(a->member->role().holds());
  const auto client = world_.cluster.connect();
  const Context context{.client = *client,
                        .scheduler = world_.time,
                        .random = etcd::testing::fixed_random(),
                        .keys = Keyspace::make("default").value()};
  auto seat = std::make_unique<OperatorSeat>(context, OperatorKey{"op", "1"}, OperatorRecord{.host = "h"},
                                             etcd::SessionOptions{.ttl = seconds(10)}, OperatorSeat::Handlers{});
  world_.time.advance(seconds(1));
  EXPECT_FALSE(a->member->role().holds());
  EXPECT_EQ(keys_below("roles/"), 0U);
  ASSERT_EQ(a->member->operators().all().size(), 1U);
  EXPECT_EQ(a->member->operators().all().begin()->second.host, "h");
  auto record = OperatorRecord{.host = "h", .served = 7};
  seat->update(record);
  world_.time.advance(seconds(1));
  EXPECT_EQ(a->member->operators().all().begin()->second.served, 7U);
  seat.reset();  // as if it was killed
  world_.time.advance(seconds(30));
  EXPECT_TRUE(a->member->role().holds()) << "nobody else is there";
}

TEST_F(MemberTest, ANodeThatIsToldToLeavesTheRoleToOperators) {
  auto its = options("a");
  its.stands_in = false;
  const auto a = start(its);
  world_.time.advance(seconds(60));
  EXPECT_FALSE(a->member->role().holds());
  EXPECT_EQ(keys_below("roles/"), 0U);
}

TEST(MemberOptionsTest, NameWhatIsWrong) {
  MemberOptions good;
  good.self = {.name = "a", .boot_id = "b", .predecessor = {}, .record = {}};
  ASSERT_TRUE(validate(good));
  auto bad = good;
  bad.delay = bad.lease;
  EXPECT_THAT(validate(bad).error().message, HasSubstr("delay"));
  bad = good;
  bad.self.boot_id.clear();
  EXPECT_THAT(validate(bad).error().message, HasSubstr("boot id"));
  bad = good;
  bad.identities.first = 1;
  EXPECT_THAT(validate(bad).error().message, HasSubstr("identities"));
  bad = good;
  bad.cluster = "a/b";
  EXPECT_THAT(validate(bad).error().message, HasSubstr("cluster"));
}

}  // namespace
}  // namespace weft::cluster::testing
