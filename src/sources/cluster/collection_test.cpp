#include "sources/cluster/collection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sources/etcd/fake_store.h"

namespace weft::cluster {
namespace {

using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class CollectionTest : public ::testing::Test {
 protected:
  void put(const std::string& key, const std::string& value) {
    ASSERT_TRUE(store_.put({.key = "/weft/v1/c/" + key, .value = value}));
  }
  void erase(const std::string& key) { ASSERT_TRUE(store_.erase({etcd::Keys::one("/weft/v1/c/" + key)})); }
  Picture picture() {
    const auto below = [&](const std::string& prefix) {
      return store_.range({.keys = etcd::Keys::prefix(prefix)})->kvs;
    };
    return {.alive = below(keys_.alive()),
            .nodes = below(keys_.nodes()),
            .blocks = below(keys_.blocks()),
            .users = below(keys_.users()),
            .endpoints = below(keys_.endpoints()),
            .enforcement = below(keys_.enforcement()),
            .identities = below(keys_.identities()),
            .marks = below(keys_.marks())};
  }
  Cleanup look(int at) { return collection_.look(picture(), etcd::Scheduler::Time(seconds(at))); }
  bool applies(const etcd::Txn& txn) { return store_.txn(txn)->succeeded; }

  const std::string run_ = encode(Incarnation{"a", "boot-1"});
  etcd::FakeStore store_;
  Keyspace keys_ = Keyspace::make("c").value();
  Collection collection_{keys_, seconds(60)};
};

TEST_F(CollectionTest, ABlockGoesOnceItsRunWasAwayInAllPicturesOfTheDelay) {
  put("blocks/p/10.0.0.0/24", run_);
  put("alive/a", run_);
  EXPECT_TRUE(look(0).leftovers.empty());
  erase("alive/a");
  EXPECT_TRUE(look(100).leftovers.empty());
  EXPECT_TRUE(look(159).leftovers.empty());
  put("alive/a", run_);
  EXPECT_TRUE(look(170).leftovers.empty());
  erase("alive/a");
  EXPECT_TRUE(look(180).leftovers.empty()) << "it was back";
  const auto cleanup = look(240);
  ASSERT_EQ(cleanup.leftovers.size(), 1U);
  EXPECT_TRUE(applies(cleanup.leftovers[0]));
  EXPECT_TRUE(picture().blocks.empty());
}

TEST_F(CollectionTest, WhatIsToBeKeptStaysUntilItsRecordIsDeleted) {
  put("nodes/a", encode(NodeRecord{.boot_id = "boot-1", .keep = true}));
  put("nodes/b", encode(NodeRecord{.boot_id = "boot-1"}));
  put("blocks/p/10.0.0.0/24", run_);
  put("identities/users/a", encode(IdentityUsers{"boot-1", {300}}));
  put("endpoints/a", "{}");
  EXPECT_TRUE(look(0).leftovers.empty());
  const auto cleanup = look(1000000);
  ASSERT_EQ(cleanup.leftovers.size(), 1U) << "only b's record";
  EXPECT_TRUE(applies(cleanup.leftovers[0]));
  ASSERT_EQ(picture().nodes.size(), 1U);
  EXPECT_EQ(picture().nodes[0].key, "/weft/v1/c/nodes/a");
  erase("nodes/a");
  EXPECT_TRUE(look(1000001).leftovers.empty());
  EXPECT_EQ(look(1000061).leftovers.size(), 3U);
}

TEST_F(CollectionTest, ARecordThatCannotBeReadIsNoReasonToTakeABlock) {
  put("nodes/a", "x");
  put("blocks/p/10.0.0.0/24", run_);
  EXPECT_TRUE(look(0).leftovers.empty());
  EXPECT_TRUE(look(1000).leftovers.empty());
}

TEST_F(CollectionTest, WhatAnEarlierRunOfAKeptNodeHadGoesOnceItIsBack) {
  put("nodes/a", encode(NodeRecord{.boot_id = "boot-2", .keep = true}));
  put("alive/a", encode(Incarnation{"a", "boot-2"}));
  put("blocks/p/10.0.0.0/24", run_);
  EXPECT_TRUE(look(0).leftovers.empty());
  EXPECT_EQ(look(60).leftovers.size(), 1U);
}

TEST_F(CollectionTest, ABlockTouchedBetweenTwoPicturesIsCountedAnew) {
  put("blocks/p/10.0.0.0/24", run_);
  EXPECT_TRUE(look(0).leftovers.empty());
  put("blocks/p/10.0.0.0/24", run_);
  EXPECT_TRUE(look(60).leftovers.empty());
  EXPECT_EQ(look(120).leftovers.size(), 1U);
  collection_.forget();
  EXPECT_TRUE(look(121).leftovers.empty()) << "another one watched meanwhile";
}

TEST_F(CollectionTest, ATransactionOfBeforeDoesNothingOnceTheNodeCameBackOrTouched) {
  put("blocks/p/10.0.0.0/24", run_);
  look(0);
  const auto cleanup = look(60);
  ASSERT_EQ(cleanup.leftovers.size(), 1U);
  put("alive/a", run_);
  EXPECT_FALSE(applies(cleanup.leftovers[0]));
  put("blocks/p/10.0.0.0/24", run_);
  erase("alive/a");
  EXPECT_FALSE(applies(cleanup.leftovers[0]));
  EXPECT_EQ(picture().blocks.size(), 1U);
}

TEST_F(CollectionTest, ABlockOfAnEarlierRunGoesWhileTheNextOneIsAlive) {
  put("blocks/p/10.0.0.0/24", run_);
  put("alive/a", encode(Incarnation{"a", "boot-2"}));
  look(0);
  const auto cleanup = look(60);
  ASSERT_EQ(cleanup.leftovers.size(), 1U);
  EXPECT_TRUE(applies(cleanup.leftovers[0]));
}

TEST_F(CollectionTest, PodsGoWithTheirNodeUnlessAnyRunOfItIsAlive) {
  put("endpoints/a", "not looked at");
  put("alive/a", run_);
  look(0);
  EXPECT_TRUE(look(60).leftovers.empty());
  erase("alive/a");
  look(70);
  EXPECT_TRUE(look(129).leftovers.empty());
  const auto cleanup = look(130);
  ASSERT_EQ(cleanup.leftovers.size(), 1U);
  put("alive/a", encode(Incarnation{"a", "boot-2"}));
  EXPECT_FALSE(applies(cleanup.leftovers[0])) << "it came back";
  erase("alive/a");
  EXPECT_TRUE(applies(cleanup.leftovers[0]));
  EXPECT_TRUE(picture().endpoints.empty());
}

TEST_F(CollectionTest, WhatCannotBeReadIsToldAndNothingIsTakenForIt) {
  put("blocks/p/10.0.0.0/24", run_);
  put("alive/a", "?");
  put("blocks/p/10.0.1.0/24", "?");
  put("identities/users/b", "?");
  put("identities/ids/256", encode_labels({}).value());
  look(0);
  const auto cleanup = look(60);
  EXPECT_TRUE(cleanup.leftovers.empty());
  EXPECT_TRUE(cleanup.mark.empty()) << "b may need it";
  ASSERT_EQ(cleanup.problems.size(), 3U);
  EXPECT_THAT(cleanup.problems[0].message, HasSubstr("/alive/a"));
}

TEST_F(CollectionTest, NumbersAreMarkedThenErasedAndUnmarkedWhenUsed) {
  put("identities/ids/256", encode_labels({}).value());
  put("identities/ids/257", encode_labels({{"a", ""}}).value());
  put("identities/users/b", encode(IdentityUsers{"boot", {257}}));
  auto cleanup = look(0);
  EXPECT_THAT(cleanup.mark, ElementsAre("/weft/v1/c/identities/marks/256"));
  EXPECT_TRUE(cleanup.identities.empty());
  put("identities/marks/256", encode_mark());
  put("identities/marks/257", encode_mark());
  put("identities/marks/300", encode_mark());
  cleanup = look(1);
  EXPECT_TRUE(cleanup.mark.empty());
  EXPECT_THAT(cleanup.unmark, ElementsAre("/weft/v1/c/identities/marks/257", "/weft/v1/c/identities/marks/300"));
  ASSERT_EQ(cleanup.identities.size(), 1U);
  EXPECT_EQ(cleanup.identities.begin()->first, 256U);
}

}  // namespace
}  // namespace weft::cluster
