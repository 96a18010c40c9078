#include "sources/etcd/session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sources/etcd/testing/world.h"

namespace weft::etcd::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class SessionTest : public ::testing::Test {
 protected:
  void start() {
    session_ =
        std::make_unique<Session>(*client_, world_.time, fixed_random(), options_,
                                  SessionHandlers{.established = [this](LeaseId lease) { leases_.push_back(lease); },
                                                  .lost = [this](const Failure& why) { losses_.push_back(why.reason); },
                                                  .trouble = [this](const Failure&) { ++troubles_; }});
  }
  std::string value(const std::string& key) {
    const auto found = world_.cluster.store().range({.keys = Keys::one(key)});
    return found->kvs.empty() ? "(none)" : found->kvs[0].value;
  }
  bool run_until_settled() {
    return world_.run_until([&] { return session_->settled(); }, seconds(120));
  }

  FakeWorld world_;
  SessionOptions options_{.ttl = seconds(30)};
  std::unique_ptr<Client> client_ = world_.cluster.connect();
  std::unique_ptr<Session> session_;
  std::vector<LeaseId> leases_;
  std::vector<Reason> losses_;
  int troubles_ = 0;
};

TEST_F(SessionTest, KeepsItsKeysForAsLongAsItLives) {
  start();
  session_->bind("/n/a", "1");
  world_.time.settle();
  EXPECT_EQ(leases_.size(), 1U);
  session_->bind("/n/b", "1");
  world_.time.settle();
  EXPECT_TRUE(session_->settled());
  world_.time.advance(seconds(3600));
  EXPECT_EQ(value("/n/a"), "1");
  EXPECT_EQ(value("/n/b"), "1");
  EXPECT_EQ(leases_.size(), 1U);
  session_.reset();
  world_.time.advance(seconds(31));
  EXPECT_EQ(value("/n/a"), "(none)");
}

TEST_F(SessionTest, TheLastOfManyValuesWins) {
  start();
  world_.cluster.set_latency(milliseconds(50));
  for (int i = 0; i < 5; ++i) {
    session_->bind("/n/a", std::to_string(i));
    world_.time.advance(milliseconds(30));  // the write before is still on its way
  }
  session_->bind("/n/a", "last");
  EXPECT_EQ(value("/n/a"), "4");  // applied, and not answered yet
  ASSERT_TRUE(run_until_settled());
  EXPECT_EQ(value("/n/a"), "last");
}

TEST_F(SessionTest, UnbindErasesAndBindAgainWrites) {
  start();
  session_->bind("/n/a", "1");
  ASSERT_TRUE(run_until_settled());
  world_.cluster.set_latency(milliseconds(50));
  session_->unbind("/n/a");
  EXPECT_FALSE(session_->settled());
  ASSERT_TRUE(run_until_settled());
  EXPECT_EQ(value("/n/a"), "(none)");
  session_->bind("/n/a", "2");
  world_.time.advance(milliseconds(10));
  session_->unbind("/n/a");
  world_.time.advance(milliseconds(60));
  session_->bind("/n/a", "3");  // while it is being erased
  ASSERT_TRUE(run_until_settled());
  EXPECT_EQ(value("/n/a"), "3");
}

TEST_F(SessionTest, ALeaseEtcdForgotIsReplacedAndEverythingWrittenAgain) {
  start();
  session_->bind("/n/a", "1");
  session_->bind("/n/b", "2");
  ASSERT_TRUE(run_until_settled());
  ASSERT_TRUE(world_.cluster.store().revoke(leases_[0]));
  EXPECT_EQ(value("/n/a"), "(none)");
  ASSERT_TRUE(world_.run_until([&] { return leases_.size() == 2; }, seconds(30)));
  EXPECT_THAT(losses_, ::testing::ElementsAre(Reason::lease_not_found));
  EXPECT_EQ(value("/n/a"), "1");
  EXPECT_EQ(value("/n/b"), "2");
  EXPECT_NE(leases_[0], leases_[1]);
}

TEST_F(SessionTest, AShortAbsenceOfEtcdLosesNothing) {
  start();
  session_->bind("/n/a", "1");
  ASSERT_TRUE(run_until_settled());
  world_.cluster.set_available(false);
  world_.time.advance(seconds(15));
  EXPECT_GT(troubles_, 0);
  world_.cluster.set_available(true);
  world_.time.advance(seconds(120));
  EXPECT_TRUE(losses_.empty());
  EXPECT_EQ(leases_.size(), 1U);
  EXPECT_EQ(value("/n/a"), "1");
}

TEST_F(SessionTest, ALongAbsenceIsToldNoLaterThanTheLeaseMayEnd) {
  start();
  session_->bind("/n/a", "1");
  ASSERT_TRUE(run_until_settled());
  world_.cluster.set_available(false);
  world_.time.advance(seconds(20));
  EXPECT_TRUE(losses_.empty());
  world_.time.advance(seconds(10));
  EXPECT_THAT(losses_, ::testing::ElementsAre(Reason::unavailable));
  EXPECT_EQ(session_->lease(), 0);
  world_.cluster.set_available(true);
  int gone = 0;
  const auto other = world_.cluster.connect();
  const auto stream = other->watch({.keys = Keys::prefix("/n/")}, {.batch =
                                                                       [&](const WatchBatch& batch) {
                                                                         for (const auto& event : batch.events)
                                                                           gone +=
                                                                               event.type == Event::Type::erase ? 1 : 0;
                                                                       },
                                                                   .ended = [](const Failure&) {}});
  ASSERT_TRUE(run_until_settled());
  world_.time.advance(seconds(300));
  EXPECT_EQ(value("/n/a"), "1");
  EXPECT_EQ(gone, 0) << "the old lease still held the key; it must be moved, not dropped";
  EXPECT_EQ(world_.cluster.store().leases().size(), 1U) << "the old lease is revoked";
}

TEST_F(SessionTest, TheLeasesTimeCountsFromWhenItWasAskedFor) {
  world_.cluster.set_latency(seconds(4));
  start();
  world_.time.advance(seconds(5));
  ASSERT_EQ(leases_.size(), 1U);
  world_.cluster.set_available(false);
  world_.time.advance(milliseconds(24900));
  EXPECT_TRUE(losses_.empty());
  world_.time.advance(milliseconds(200));  // 30 s after the request, 26 s after its answer
  EXPECT_EQ(losses_.size(), 1U);
}

TEST_F(SessionTest, AnAnswerThatIsLostIsTriedAgain) {
  world_.cluster.lose_answers(2);
  start();
  session_->bind("/n/a", "1");
  ASSERT_TRUE(run_until_settled());
  EXPECT_EQ(value("/n/a"), "1");
  world_.time.advance(seconds(100));  // grants nobody knows of expire
  EXPECT_EQ(world_.cluster.store().leases().size(), 1U);
}

TEST_F(SessionTest, CloseEndsItAtOnce) {
  start();
  session_->bind("/n/a", "1");
  ASSERT_TRUE(run_until_settled());
  const auto closed = world_.wait<void>([&](auto done) { session_->close(std::move(done)); });
  EXPECT_TRUE(closed);
  EXPECT_EQ(value("/n/a"), "(none)");
  world_.time.advance(seconds(300));
  EXPECT_TRUE(world_.cluster.store().leases().empty());
  EXPECT_TRUE(losses_.empty());
}

TEST_F(SessionTest, KeepalivesOfManyNodesAreSpread) {
  std::set<std::int64_t> moments;
  const auto random = system_random();
  std::vector<std::unique_ptr<Session>> sessions;
  for (int i = 0; i < 50; ++i)
    sessions.push_back(std::make_unique<Session>(*client_, world_.time, random, options_, SessionHandlers{}));
  world_.time.settle();
  auto before = world_.cluster.requests();
  for (int ms = 0; ms < 10000; ms += 10) {
    world_.time.advance(milliseconds(10));
    if (world_.cluster.requests() != before) moments.insert(ms);
    before = world_.cluster.requests();
  }
  EXPECT_GT(moments.size(), 25U);
}

TEST_F(SessionTest, MayBeDestroyedByItsHandlers) {
  for (const bool when_lost : {false, true}) {
    session_ = std::make_unique<Session>(*client_, world_.time, fixed_random(), options_,
                                         SessionHandlers{.established =
                                                             [&](LeaseId) {
                                                               if (!when_lost) session_.reset();
                                                             },
                                                         .lost = [&](const Failure&) { session_.reset(); },
                                                         .trouble = {}});
    world_.time.settle();
    if (when_lost) world_.cluster.set_available(false);
    world_.time.advance(seconds(60));
    EXPECT_EQ(session_, nullptr);
  }
}

}  // namespace
}  // namespace weft::etcd::testing
