// Watch and Mirror against the fake: what is told when etcd fails in each way it can.
#include "sources/etcd/mirror.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sources/etcd/testing/world.h"

namespace weft::etcd::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class MirrorTest : public ::testing::Test {
 protected:
  MirrorTest() { options_.prefix = "/n/"; }

  void start() {
    mirror_ = std::make_unique<Mirror>(
        *client_, world_.time, fixed_random(), options_,
        MirrorHandlers{.changed = [this](const Change& change) { changes_.push_back(text_of(change)); },
                       .state = [this] { ++states_; }});
  }
  void start_synced() {
    start();
    world_.time.settle();
    ASSERT_TRUE(mirror_->synced());
    changes_.clear();
  }
  // By somebody else, seen at once.
  void put(const std::string& name, const std::string& value) {
    ASSERT_TRUE(world_.cluster.store().put({.key = "/n/" + name, .value = value}));
    world_.cluster.changed();
    world_.time.settle();
  }
  void erase(const std::string& name) {
    ASSERT_TRUE(world_.cluster.store().erase({Keys::one("/n/" + name)}));
    world_.cluster.changed();
    world_.time.settle();
  }
  std::string view() const {
    std::string text;
    for (const auto& [key, kv] : mirror_->view()) text += key.substr(3) + "=" + kv.value + " ";
    return text;
  }
  // The view is what etcd holds.
  void expect_equal() {
    const auto held = world_.cluster.store().range({.keys = Keys::prefix("/n/")});
    ASSERT_EQ(held->kvs.size(), mirror_->view().size());
    for (const auto& kv : held->kvs) EXPECT_EQ(mirror_->view().at(kv.key), kv);
  }
  bool run_until_live() {
    return world_.run_until([&] { return mirror_->live(); }, seconds(120));
  }

  FakeWorld world_;
  MirrorOptions options_;
  std::unique_ptr<Client> client_ = world_.cluster.connect();
  std::unique_ptr<Mirror> mirror_;
  std::vector<std::string> changes_;
  int states_ = 0;
};

TEST_F(MirrorTest, ListsThenFollows) {
  put("a", "1");
  put("b", "1");
  start();
  EXPECT_FALSE(mirror_->synced());
  world_.time.settle();
  EXPECT_TRUE(mirror_->synced());
  EXPECT_TRUE(mirror_->live());
  put("a", "2");
  erase("b");
  put("c", "1");
  EXPECT_THAT(changes_, ElementsAre("+a=1+b=1", "+a=2", "-b=1", "+c=1"));
  expect_equal();
  EXPECT_EQ(mirror_->revision(), world_.cluster.store().revision());
}

TEST_F(MirrorTest, AnEmptyPrefixIsSyncedWithoutAChange) {
  start();
  world_.time.settle();
  EXPECT_TRUE(mirror_->synced());
  EXPECT_THAT(changes_, IsEmpty());
  EXPECT_GE(states_, 1);
}

TEST_F(MirrorTest, EachTurnOfLiveIsTold) {
  std::string told;
  mirror_ = std::make_unique<Mirror>(
      *client_, world_.time, fixed_random(), options_,
      MirrorHandlers{.changed = [](const Change&) {}, .state = [&] { told += mirror_->live() ? "+" : "-"; }});
  world_.time.settle();
  EXPECT_EQ(told, "-+") << "listed, then watched";
  put("a", "1");
  world_.time.advance(seconds(60));
  EXPECT_EQ(told, "-+") << "signs of life are no news";
  world_.cluster.break_watches();
  world_.time.settle();
  ASSERT_TRUE(run_until_live());
  EXPECT_EQ(told, "-+-+");
}

TEST_F(MirrorTest, PagesAreOfOneRevision) {
  options_.page = 2;
  for (const auto* name : {"a", "b", "c", "d", "e"}) put(name, "1");
  world_.cluster.set_latency(milliseconds(10));
  start();
  world_.time.advance(milliseconds(5));  // the first page is read, its answer on the way
  put("a", "2");
  put("e", "2");
  erase("d");
  world_.time.advance(milliseconds(100));
  // The list is of before; what happened meanwhile comes from the watch.
  EXPECT_THAT(changes_, ElementsAre("+a=1+b=1+c=1+d=1+e=1", "+a=2+e=2-d=1"));
  expect_equal();
}

TEST_F(MirrorTest, APageCompactedAwayBeginsTheListAgain) {
  options_.page = 2;
  for (const auto* name : {"a", "b", "c"}) put(name, "1");
  world_.cluster.set_latency(milliseconds(10));
  start();
  world_.time.advance(milliseconds(5));
  put("c", "2");
  put("c", "3");
  ASSERT_TRUE(world_.cluster.store().compact(world_.cluster.store().revision()));
  ASSERT_TRUE(run_until_live());
  EXPECT_THAT(changes_, ElementsAre("+a=1+b=1+c=3"));
  expect_equal();
}

TEST_F(MirrorTest, OneTransactionIsOneChange) {
  start_synced();
  put("old", "1");
  changes_.clear();
  ASSERT_TRUE(world_.cluster.store().txn(
      {.then = {PutRequest{"/n/a", "1", 0}, EraseRequest{Keys::one("/n/old")}, PutRequest{"/n/b", "1", 0}}}));
  world_.cluster.changed();
  world_.time.settle();
  EXPECT_THAT(changes_, ElementsAre("+a=1+b=1-old=1"));
}

TEST_F(MirrorTest, ResumesAfterALostStreamWithoutListing) {
  start_synced();
  put("a", "1");
  world_.cluster.break_watches();
  world_.time.settle();
  EXPECT_FALSE(mirror_->live());
  ASSERT_TRUE(mirror_->problem());
  put("a", "2");
  put("b", "1");
  put("b", "2");
  EXPECT_EQ(view(), "a=1 ");  // the last view stays
  ASSERT_TRUE(run_until_live());
  world_.time.settle();
  EXPECT_THAT(changes_, ElementsAre("+a=1", "+a=2+b=2"));
  EXPECT_EQ(mirror_->lists(), 1U);
  EXPECT_FALSE(mirror_->problem());
  expect_equal();
}

TEST_F(MirrorTest, CompactionWhileDisconnectedIsADifference) {
  start_synced();
  put("stays", "1");
  put("changes", "1");
  put("goes", "1");
  changes_.clear();
  world_.cluster.set_available(false);
  world_.time.settle();
  put("changes", "2");
  erase("goes");
  put("comes", "1");
  put("came and went", "1");
  erase("came and went");
  ASSERT_TRUE(world_.cluster.store().compact(world_.cluster.store().revision()));
  world_.time.advance(seconds(60));
  EXPECT_TRUE(mirror_->synced());
  EXPECT_EQ(view(), "changes=1 goes=1 stays=1 ");
  EXPECT_GE(mirror_->silent_for(), seconds(60));
  world_.cluster.set_available(true);
  ASSERT_TRUE(run_until_live());
  EXPECT_THAT(changes_, ElementsAre("+changes=2+comes=1-goes=1"));
  EXPECT_EQ(mirror_->lists(), 2U);
  EXPECT_LT(mirror_->silent_for(), seconds(1));
  expect_equal();
}

TEST_F(MirrorTest, AWipedClusterIsListedAnew) {
  start_synced();
  put("a", "1");
  put("b", "1");
  changes_.clear();
  world_.cluster.wipe(true);
  ASSERT_TRUE(world_.cluster.store().put({.key = "/n/b", .value = "new"}));
  world_.time.settle();
  ASSERT_TRUE(run_until_live());
  EXPECT_THAT(changes_, ElementsAre("+b=new-a=1"));
  expect_equal();
  put("c", "1");  // at a revision that the old history had, too
  EXPECT_THAT(changes_, ElementsAre("+b=new-a=1", "+c=1"));
}

TEST_F(MirrorTest, AnotherClusterWithALongerHistoryIsListedAnew) {
  start_synced();
  put("a", "1");
  changes_.clear();
  world_.cluster.wipe(false);
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(world_.cluster.store().put({.key = "/n/x", .value = "1"}));
  world_.time.settle();
  ASSERT_TRUE(world_.run_until([&] { return mirror_->lists() == 2; }, seconds(60)));
  ASSERT_TRUE(run_until_live());
  EXPECT_THAT(changes_, ElementsAre("+x=1-a=1"));
  expect_equal();
}

TEST_F(MirrorTest, AWipedClusterThatHasPassedUsIsListedAnewThoughItsIdIsTheSame) {
  start_synced();
  put("a", "1");
  put("b", "1");
  put("c", "1");
  changes_.clear();
  auto& store = world_.cluster.store();
  world_.cluster.wipe(true);
  // As many keys, and more revisions.
  for (const auto* key : {"/n/c", "/n/a", "/n/b", "/elsewhere", "/elsewhere", "/elsewhere"})
    ASSERT_TRUE(store.put({.key = key, .value = "2"}));
  ASSERT_GT(store.revision(), mirror_->revision());
  world_.time.settle();
  ASSERT_TRUE(run_until_live());
  EXPECT_EQ(mirror_->lists(), 2U);
  EXPECT_THAT(changes_, ElementsAre("+a=2+b=2+c=2"));
  expect_equal();
}

TEST_F(MirrorTest, TheSameHistoryIsGoneOnWithWhateverHappenedInIt) {
  start_synced();
  for (int i = 0; i < 100; ++i) put(fmt::format("{:03}", i), "1");
  put("000", "2");
  erase("001");
  changes_.clear();
  world_.cluster.set_available(false);
  world_.time.settle();
  put("000", "3");
  erase("050");
  put("new", "1");
  world_.cluster.set_available(true);
  ASSERT_TRUE(run_until_live());
  EXPECT_EQ(mirror_->lists(), 1U) << "a watch goes on where it was";
  expect_equal();
}

TEST_F(MirrorTest, WhatAnotherWillWriteAgainStaysForAWhileInAWipedCluster) {
  options_.held = [](const KeyValue& kv) { return kv.key != "/n/own"; };
  options_.hold = seconds(60);
  start_synced();
  for (const auto* key : {"own", "back", "other", "erased", "gone"}) put(key, "1");
  changes_.clear();
  world_.cluster.wipe(false);
  ASSERT_TRUE(world_.cluster.store().put({.key = "/n/new", .value = "1"}));
  world_.time.settle();
  ASSERT_TRUE(run_until_live());
  EXPECT_THAT(changes_, ElementsAre("+new=1-own=1")) << "of what is held nothing is told";
  EXPECT_EQ(view(), "back=1 erased=1 gone=1 new=1 other=1 ");
  EXPECT_EQ(mirror_->view().at("/n/back").mod_revision, 0);
  put("back", "1");
  put("other", "2");
  put("erased", "1");
  erase("erased");
  EXPECT_THAT(changes_, ElementsAre("+new=1-own=1", "+back=1", "+other=2", "+erased=1", "-erased=1"));
  EXPECT_TRUE(mirror_->holds("/n/gone"));
  EXPECT_FALSE(mirror_->holds("/n/back"));
  changes_.clear();
  world_.time.advance(seconds(61));
  EXPECT_THAT(changes_, ElementsAre("-gone=1"));
  expect_equal();
}

TEST_F(MirrorTest, WhatIsHeldStaysThroughAnotherListAndAnAbsence) {
  options_.held = [](const KeyValue&) { return true; };
  options_.hold = seconds(60);
  start_synced();
  put("a", "1");
  put("b", "1");
  changes_.clear();
  world_.cluster.wipe(false);
  world_.time.settle();
  ASSERT_TRUE(run_until_live());
  EXPECT_THAT(changes_, IsEmpty());
  // It lists anew, for another reason; then it hears of nobody for longer than it holds.
  world_.cluster.set_available(false);
  world_.time.settle();
  put("b", "2");
  put("c", "1");
  ASSERT_TRUE(world_.cluster.store().compact(world_.cluster.store().revision()));
  world_.time.advance(seconds(90));
  EXPECT_EQ(view(), "a=1 b=1 ");
  world_.cluster.set_available(true);
  ASSERT_TRUE(run_until_live());
  ASSERT_EQ(mirror_->lists(), 3U);
  EXPECT_THAT(changes_, ElementsAre("+b=2+c=1"));
  world_.time.advance(seconds(61));
  EXPECT_THAT(changes_, ElementsAre("+b=2+c=1", "-a=1"));
  expect_equal();
}

TEST_F(MirrorTest, WithoutValuesTheSameIsToldAndAnotherHistoryAnew) {
  options_.values = false;
  start_synced();
  put("a", "1");
  put("b", "1");
  erase("b");
  EXPECT_THAT(changes_, ElementsAre("+a=1", "+b=1", "-b="));
  EXPECT_EQ(view(), "a= ");
  const auto a = mirror_->view().at("/n/a").mod_revision;
  world_.cluster.set_available(false);
  world_.time.settle();
  put("c", "0");
  put("c", "1");
  ASSERT_TRUE(world_.cluster.store().compact(world_.cluster.store().revision()));
  changes_.clear();
  world_.cluster.set_available(true);
  ASSERT_TRUE(run_until_live());
  ASSERT_EQ(mirror_->lists(), 2U);
  EXPECT_THAT(changes_, ElementsAre("+c=1")) << "what did not change is not told again";
  EXPECT_EQ(mirror_->view().at("/n/a").mod_revision, a);
  // Another cluster, where the same revision holds another value.
  changes_.clear();
  world_.cluster.wipe(false);
  auto& store = world_.cluster.store();
  ASSERT_TRUE(store.put({.key = "/n/a", .value = "other"}));
  while (store.revision() < mirror_->revision()) ASSERT_TRUE(store.put({.key = "/elsewhere", .value = "1"}));
  EXPECT_EQ(store.range({.keys = Keys::one("/n/a")})->kvs.at(0).mod_revision, a);
  ASSERT_TRUE(world_.run_until([&] { return mirror_->lists() == 3; }, seconds(60)));
  EXPECT_THAT(changes_, ElementsAre("+a=other-c="));
}

TEST_F(MirrorTest, ASilentStreamIsGivenUp) {
  options_.watch.sign_of_life = seconds(10);
  start_synced();
  world_.time.advance(seconds(300));
  EXPECT_TRUE(mirror_->live());  // quiet, but it answers
  EXPECT_LE(mirror_->silent_for(), seconds(10));
  world_.cluster.silence_watches(true);
  put("a", "1");
  EXPECT_THAT(changes_, IsEmpty());
  world_.time.advance(seconds(41));
  EXPECT_FALSE(mirror_->live());
  world_.cluster.silence_watches(false);
  ASSERT_TRUE(run_until_live());
  world_.time.settle();
  EXPECT_THAT(changes_, ElementsAre("+a=1"));
  EXPECT_EQ(mirror_->lists(), 1U);
}

TEST_F(MirrorTest, RefusalsAreTriedAgainAndTold) {
  world_.cluster.fail_next({.reason = Reason::denied, .message = "permission denied"}, 3);
  start();
  world_.time.settle();
  EXPECT_FALSE(mirror_->synced());
  ASSERT_TRUE(mirror_->problem());
  EXPECT_EQ(mirror_->problem()->reason, Reason::denied);
  ASSERT_TRUE(run_until_live());
  EXPECT_FALSE(mirror_->problem());
}

TEST_F(MirrorTest, TriesAreSpreadAndBounded) {
  options_.backoff = {milliseconds(100), seconds(5)};
  world_.cluster.set_available(false);
  start();
  world_.time.advance(seconds(600));
  // At most one each half cap, after the quick ones of the beginning.
  EXPECT_LT(world_.cluster.requests(), 600 / 2.5 + 10);
  EXPECT_GT(world_.cluster.requests(), 600U / 5);
}

TEST_F(MirrorTest, MayBeDestroyedByItsHandler) {
  put("a", "1");
  mirror_ =
      std::make_unique<Mirror>(*client_, world_.time, fixed_random(), options_,
                               MirrorHandlers{.changed = [this](const Change&) { mirror_.reset(); }, .state = {}});
  world_.time.settle();
  EXPECT_EQ(mirror_, nullptr);
  EXPECT_EQ(world_.cluster.watches(), 0U);
}

TEST_F(MirrorTest, FollowsThroughAnyMixOfFailures) {
  options_.page = 3;
  options_.backoff = options_.watch.backoff = {milliseconds(50), milliseconds(400)};
  auto random = fixed_random();
  Mirror::View replayed;
  mirror_ = std::make_unique<Mirror>(*client_, world_.time, fixed_random(), options_,
                                     MirrorHandlers{.changed =
                                                        [&](const Change& change) {
                                                          for (const auto& kv : change.erased)
                                                            EXPECT_EQ(replayed.erase(kv.key), 1U);
                                                          for (const auto& kv : change.set) {
                                                            const auto old = replayed.find(kv.key);
                                                            EXPECT_TRUE(old == replayed.end() || old->second != kv)
                                                                << "told twice";
                                                            replayed.insert_or_assign(kv.key, kv);
                                                          }
                                                          EXPECT_EQ(replayed, mirror_->view());
                                                        },
                                                    .state = {}});
  for (int step = 0; step < 5000; ++step) {
    auto& store = world_.cluster.store();
    const std::string key = "/n/" + std::to_string(random() % 12);
    switch (random() % 16) {
      case 0:
        world_.cluster.break_watches();
        break;
      case 1:
        world_.cluster.set_available(random() % 3 != 0);
        break;
      case 2:
        static_cast<void>(store.compact(store.revision() - static_cast<Revision>(random() % 4)));
        break;
      case 3:
        world_.cluster.fail_next({.reason = Reason::deadline, .message = "injected"});
        break;
      case 4:
        world_.cluster.set_latency(milliseconds(random() % 100));
        break;
      case 5:
        world_.cluster.silence_watches(random() % 2 == 0);
        break;
      case 6:
      case 7:
        static_cast<void>(store.erase({Keys::one(key)}));
        world_.cluster.changed();
        break;
      case 8:
        world_.time.advance(milliseconds(random() % 2000));
        break;
      default:
        static_cast<void>(store.put({.key = key, .value = std::to_string(step)}));
        world_.cluster.changed();
    }
    world_.time.advance(milliseconds(random() % 20));
  }
  world_.cluster.set_available(true);
  world_.cluster.silence_watches(false);
  world_.cluster.set_latency(milliseconds(0));
  world_.time.advance(seconds(60));
  ASSERT_TRUE(mirror_->live());
  expect_equal();
  EXPECT_EQ(replayed, mirror_->view());
  EXPECT_GT(mirror_->lists(), 3U);
}

}  // namespace
}  // namespace weft::etcd::testing
