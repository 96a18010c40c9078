// What a Client promises, asked of the fake cluster and of a real etcd alike: the fake is as good as this.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sources/etcd/testing/world.h"

namespace weft::etcd::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

enum class Kind { fake, real };

class Conformance : public ::testing::TestWithParam<Kind> {
 protected:
  static void TearDownTestSuite() { server_.reset(); }

  void SetUp() override {
    if (GetParam() == Kind::fake) {
      auto world = std::make_unique<FakeWorld>();
      auto* cluster = &world->cluster;
      connect_ = [cluster] { return cluster->connect(); };
      world_ = std::move(world);
    } else {
      if (!etcd_installed()) GTEST_SKIP() << "etcd is not installed (tools/bootstrap test installs it)";
      if (!server_) server_ = std::make_unique<EtcdCluster>(EtcdCluster::Setup{});
      auto world = std::make_unique<LoopWorld>();
      connect_ = [loop = world.get()] { return loop->connect(LoopWorld::options(server_->endpoints())); };
      world_ = std::move(world);
    }
    client_ = connect_();
    ASSERT_NE(client_, nullptr);
    // The server is shared: each case has keys of its own.
    prefix_ = "/" + std::string(::testing::UnitTest::GetInstance()->current_test_info()->name()) + "/";
  }
  void TearDown() override {
    client_.reset();
    world_.reset();
  }

  [[nodiscard]] std::string key(const std::string& name) const { return prefix_ + name; }
  Revision put(const std::string& name, const std::string& value, LeaseId lease = 0) {
    const auto result = world_->put(*client_, key(name), value, lease);
    EXPECT_TRUE(result) << result.error().message;
    return result ? result->revision : 0;
  }
  RangeResult range(RangeRequest request) {
    auto result = world_->range(*client_, std::move(request));
    EXPECT_TRUE(result) << result.error().message;
    return result ? *result : RangeResult{};
  }
  RangeResult all() { return range({.keys = Keys::prefix(prefix_)}); }
  std::vector<std::string> names(const RangeResult& result) const {
    std::vector<std::string> names;
    for (const auto& kv : result.kvs) names.push_back(kv.key.substr(prefix_.size()) + "=" + kv.value);
    return names;
  }

  // What a watch stream told.
  struct Seen {
    std::vector<std::string> events;  // "put a=1@5"
    std::vector<WatchBatch::Kind> signs;
    std::optional<Failure> end;
    std::unique_ptr<WatchStream> stream;
  };
  std::shared_ptr<Seen> watch(Revision from) {
    auto seen = std::make_shared<Seen>();
    seen->stream =
        client_->watch({.keys = Keys::prefix(prefix_), .start_revision = from},
                       {.batch =
                            [seen = seen.get(), this](const WatchBatch& batch) {
                              seen->signs.push_back(batch.kind);
                              for (const auto& event : batch.events)
                                seen->events.push_back((event.type == Event::Type::put ? "put " : "erase ") +
                                                       event.kv.key.substr(prefix_.size()) + "=" + event.kv.value +
                                                       "@" + std::to_string(event.kv.mod_revision));
                            },
                        .ended = [seen = seen.get()](const Failure& why) { seen->end = why; }});
    return seen;
  }

  static std::unique_ptr<EtcdCluster> server_;
  std::unique_ptr<World> world_;
  std::function<std::unique_ptr<Client>()> connect_;
  std::unique_ptr<Client> client_;
  std::string prefix_;
};

std::unique_ptr<EtcdCluster> Conformance::server_;

TEST_P(Conformance, PutCountsRevisionsAndVersions) {
  const Revision first = put("a", "1");
  const Revision second = put("a", "2");
  EXPECT_EQ(second, first + 1);
  const auto result = all();
  ASSERT_EQ(result.kvs.size(), 1U);
  const KeyValue wanted{.key = key("a"), .value = "2", .create_revision = first, .mod_revision = second, .version = 2};
  EXPECT_EQ(result.kvs[0], wanted);
  EXPECT_EQ(result.revision, second);
}

TEST_P(Conformance, AKeyMadeAgainBeginsAnew) {
  put("a", "1");
  ASSERT_TRUE(world_->erase(*client_, Keys::one(key("a"))));
  const Revision made = put("a", "2");
  const auto result = all();
  ASSERT_EQ(result.kvs.size(), 1U);
  EXPECT_EQ(result.kvs[0].create_revision, made);
  EXPECT_EQ(result.kvs[0].version, 1);
}

TEST_P(Conformance, BytesOfAnyKindAreKept) {
  const std::string odd("\0\xff\n'", 4);
  put(odd, odd + odd);
  const auto result = all();
  ASSERT_EQ(result.kvs.size(), 1U);
  EXPECT_EQ(result.kvs[0].key, key(odd));
  EXPECT_EQ(result.kvs[0].value, odd + odd);
}

TEST_P(Conformance, RangeIsOrderedLimitedAndCounted) {
  for (const auto* name : {"c", "a", "b", "d"}) put(name, "");
  EXPECT_THAT(names(all()), ElementsAre("a=", "b=", "c=", "d="));
  const auto page = range({.keys = Keys::prefix(prefix_), .limit = 3});
  EXPECT_EQ(page.kvs.size(), 3U);
  EXPECT_TRUE(page.more);
  EXPECT_EQ(page.count, 4);
  const auto count = range({.keys = Keys::prefix(prefix_), .count_only = true});
  EXPECT_EQ(count.count, 4);
  EXPECT_TRUE(count.kvs.empty());
  EXPECT_EQ(range({.keys = {key("b"), key("d")}}).kvs.size(), 2U);
  EXPECT_EQ(range({.keys = Keys::one(key("b"))}).kvs.size(), 1U);
  EXPECT_TRUE(range({.keys = Keys::one(key("none"))}).kvs.empty());
  // From a key to the end of all keys.
  EXPECT_GE(range({.keys = {key("b"), std::string(1, '\0')}}).kvs.size(), 3U);
}

TEST_P(Conformance, KeysOnlyLeavesValuesOut) {
  put("a", "value");
  const auto result = range({.keys = Keys::prefix(prefix_), .keys_only = true});
  ASSERT_EQ(result.kvs.size(), 1U);
  EXPECT_EQ(result.kvs[0].value, "");
  EXPECT_EQ(result.kvs[0].version, 1);
}

TEST_P(Conformance, ThePastIsReadAtItsRevision) {
  const Revision past = put("a", "old");
  put("a", "new");
  put("b", "new");
  const auto result = range({.keys = Keys::prefix(prefix_), .revision = past});
  EXPECT_THAT(names(result), ElementsAre("a=old"));
  EXPECT_GT(result.revision, past);  // the header tells the present
}

TEST_P(Conformance, TheFutureIsAnError) {
  const Revision now = put("a", "1");
  const auto result = world_->range(*client_, {.keys = Keys::prefix(prefix_), .revision = now + 1000});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().reason, Reason::future_revision);
}

TEST_P(Conformance, EraseCountsAndAnEmptyOneChangesNothing) {
  put("a", "1");
  const Revision before = put("b", "1");
  const auto erased = world_->erase(*client_, Keys::prefix(prefix_));
  ASSERT_TRUE(erased);
  EXPECT_EQ(erased->erased, 2);
  EXPECT_EQ(erased->revision, before + 1);
  const auto again = world_->erase(*client_, Keys::prefix(prefix_));
  ASSERT_TRUE(again);
  EXPECT_EQ(again->erased, 0);
  EXPECT_EQ(again->revision, before + 1);
}

TEST_P(Conformance, AnEmptyKeyIsInvalidAndTheErrorNamesTheKey) {
  const auto result = world_->put(*client_, "", "x");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().reason, Reason::invalid);
  EXPECT_FALSE(result.error().unsure);
}

TEST_P(Conformance, TransactionsComparePresenceAndRevision) {
  const auto create = [&] {
    return world_->txn(*client_, {.compare = {Compare::absent(key("a"))},
                                  .then = {PutRequest{key("a"), "mine", 0}},
                                  .otherwise = {RangeRequest{.keys = Keys::one(key("a"))}}});
  };
  const auto first = create();
  ASSERT_TRUE(first) << first.error().message;
  EXPECT_TRUE(first->succeeded);
  const auto second = create();
  ASSERT_TRUE(second);
  EXPECT_FALSE(second->succeeded);
  EXPECT_EQ(second->revision, first->revision);  // nothing was written
  const auto& found = std::get<RangeResult>(second->results.at(0));
  ASSERT_EQ(found.kvs.size(), 1U);
  EXPECT_EQ(found.kvs[0].mod_revision, first->revision);
  const auto swap = [&](Revision expected) {
    return world_->txn(*client_, {.compare = {Compare::unchanged_since(key("a"), expected)},
                                  .then = {PutRequest{key("a"), "changed", 0}}});
  };
  EXPECT_FALSE(swap(first->revision - 1)->succeeded);
  EXPECT_TRUE(swap(first->revision)->succeeded);
  EXPECT_FALSE(swap(first->revision)->succeeded);
}

TEST_P(Conformance, TransactionsCompareEverythingElse) {
  using Target = Compare::Target;
  using Is = Compare::Is;
  put("a", "m");
  const Revision mod = put("a", "n");
  const auto holds = [&](Compare compare) {
    compare.key = key(compare.key);
    if (!compare.end.empty()) compare.end = key(compare.end);
    const auto result = world_->txn(*client_, {.compare = {std::move(compare)}});
    EXPECT_TRUE(result) << result.error().message;
    return result && result->succeeded;
  };
  EXPECT_TRUE(holds({.key = "a", .target = Target::version, .is = Is::equal, .number = 2}));
  EXPECT_TRUE(holds({.key = "a", .target = Target::version, .is = Is::less, .number = 3}));
  EXPECT_FALSE(holds({.key = "a", .target = Target::version, .is = Is::greater, .number = 2}));
  EXPECT_TRUE(holds({.key = "a", .target = Target::create_revision, .is = Is::less, .number = mod}));
  EXPECT_TRUE(holds({.key = "a", .target = Target::mod_revision, .is = Is::not_equal, .number = mod - 1}));
  EXPECT_TRUE(holds({.key = "a", .target = Target::value, .is = Is::equal, .value = "n"}));
  EXPECT_TRUE(holds({.key = "a", .target = Target::value, .is = Is::greater, .value = "m"}));
  EXPECT_TRUE(holds({.key = "a", .target = Target::lease, .is = Is::equal, .number = 0}));
  // Of all keys of a range, or of none.
  put("b/1", "x");
  put("b/2", "x");
  put("b/2", "y");
  EXPECT_FALSE(holds(Compare::none_below("b/")));
  EXPECT_TRUE(holds(Compare::none_below("b/3")));
  EXPECT_TRUE(holds(Compare::none_below("c/")));
  EXPECT_TRUE(holds({.key = "b/", .target = Target::version, .is = Is::greater, .number = 0, .end = "b0"}));
  EXPECT_FALSE(holds({.key = "b/", .target = Target::version, .is = Is::equal, .number = 2, .end = "b0"}));
  EXPECT_FALSE(holds({.key = "b/", .target = Target::value, .is = Is::equal, .value = "y", .end = "b0"}));
  EXPECT_FALSE(holds({.key = "c/", .target = Target::value, .is = Is::not_equal, .value = "y", .end = "c0"}));
  // Of a key that is not there.
  EXPECT_TRUE(holds({.key = "none", .target = Target::version, .is = Is::equal, .number = 0}));
  EXPECT_TRUE(holds({.key = "none", .target = Target::create_revision, .is = Is::equal, .number = 0}));
  EXPECT_FALSE(holds({.key = "none", .target = Target::value, .is = Is::not_equal, .value = "x"}));
  EXPECT_FALSE(holds({.key = "none", .target = Target::value, .is = Is::equal, .value = ""}));
}

TEST_P(Conformance, ATransactionIsOneRevisionAndAllOrNothing) {
  put("old", "1");
  const auto result =
      world_->txn(*client_, {.then = {PutRequest{key("a"), "1", 0}, EraseRequest{Keys::one(key("old"))},
                                      PutRequest{key("b"), "2", 0}, RangeRequest{.keys = Keys::prefix(prefix_)}}});
  ASSERT_TRUE(result) << result.error().message;
  ASSERT_EQ(result->results.size(), 4U);
  EXPECT_THAT(names(std::get<RangeResult>(result->results[3])), ElementsAre("a=1", "b=2"));
  const auto after = all();
  for (const auto& kv : after.kvs) EXPECT_EQ(kv.mod_revision, result->revision);
  // Each operation tells it, too.
  EXPECT_EQ(std::get<PutResult>(result->results[0]).revision, result->revision);
  EXPECT_EQ(std::get<EraseResult>(result->results[1]).revision, result->revision);
  EXPECT_EQ(after.revision, result->revision);
  const auto bad = world_->txn(*client_, {.then = {PutRequest{key("c"), "1", 0}, PutRequest{key("d"), "1", 12345}}});
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().reason, Reason::lease_not_found);
  EXPECT_EQ(names(all()), names(after));
}

TEST_P(Conformance, ATransactionMayNotWriteAKeyTwice) {
  const auto twice = world_->txn(*client_, {.then = {PutRequest{key("a"), "1", 0}, PutRequest{key("a"), "2", 0}}});
  ASSERT_FALSE(twice);
  EXPECT_EQ(twice.error().reason, Reason::invalid);
  const auto both =
      world_->txn(*client_, {.then = {PutRequest{key("a"), "1", 0}, EraseRequest{Keys::prefix(prefix_)}}});
  ASSERT_FALSE(both);
  EXPECT_EQ(both.error().reason, Reason::invalid);
}

TEST_P(Conformance, HistoryEndsWhereItWasCompacted) {
  const Revision first = put("a", "1");
  const Revision second = put("a", "2");
  put("a", "3");
  ASSERT_TRUE(world_->compact(*client_, second));
  EXPECT_THAT(names(range({.keys = Keys::prefix(prefix_), .revision = second})), ElementsAre("a=2"));
  const auto gone = world_->range(*client_, {.keys = Keys::prefix(prefix_), .revision = first});
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().reason, Reason::compacted);
  const auto again = world_->compact(*client_, second);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().reason, Reason::compacted);
  const auto future = world_->compact(*client_, second + 1000);
  ASSERT_FALSE(future);
  EXPECT_EQ(future.error().reason, Reason::future_revision);
}

TEST_P(Conformance, ALeaseHoldsItsKeysUntilRevoked) {
  const auto lease = world_->grant(*client_, seconds(60));
  ASSERT_TRUE(lease) << lease.error().message;
  EXPECT_EQ(lease->ttl, seconds(60));
  put("a", "1", lease->id);
  put("b", "1", lease->id);
  put("b", "2");  // without it: the lease lets go
  EXPECT_EQ(all().kvs.at(0).lease, lease->id);
  const auto kept = world_->keep_alive(*client_, lease->id);
  ASSERT_TRUE(kept) << kept.error().message;
  EXPECT_EQ(*kept, seconds(60));
  ASSERT_TRUE(world_->revoke(*client_, lease->id));
  EXPECT_THAT(names(all()), ElementsAre("b=2"));
  EXPECT_EQ(world_->keep_alive(*client_, lease->id).error().reason, Reason::lease_not_found);
  EXPECT_EQ(world_->revoke(*client_, lease->id).error().reason, Reason::lease_not_found);
  EXPECT_EQ(world_->put(*client_, key("c"), "1", lease->id).error().reason, Reason::lease_not_found);
}

TEST_P(Conformance, ALeaseIdIsGrantedOnce) {
  const LeaseId id = 424242;
  ASSERT_TRUE(world_->grant(*client_, seconds(60), id));
  EXPECT_EQ(world_->grant(*client_, seconds(60), id).error().reason, Reason::lease_exists);
  ASSERT_TRUE(world_->revoke(*client_, id));
}

TEST_P(Conformance, ALeaseThatIsNotKeptAliveEndsWithItsKeys) {
  const auto lease = world_->grant(*client_, seconds(1));
  ASSERT_TRUE(lease);
  const auto seen = watch(0);
  ASSERT_TRUE(world_->run_until([&] { return !seen->signs.empty(); }));
  put("a", "1", lease->id);
  ASSERT_TRUE(world_->run_until([&] { return seen->events.size() == 2; }));
  EXPECT_THAT(seen->events[1], HasSubstr("erase a=@"));
  EXPECT_TRUE(all().kvs.empty());
}

TEST_P(Conformance, AWatchTellsThePastAndThePresentInOrder) {
  const Revision first = put("a", "1");
  put("a", "2");
  const auto seen = watch(first);
  ASSERT_TRUE(world_->run_until([&] { return seen->events.size() == 2; }));
  const auto last = world_->erase(*client_, Keys::one(key("a")));
  ASSERT_TRUE(world_->run_until([&] { return seen->events.size() == 3; }));
  EXPECT_THAT(seen->events, ElementsAre("put a=1@" + std::to_string(first), "put a=2@" + std::to_string(first + 1),
                                        "erase a=@" + std::to_string(last->revision)));
  EXPECT_EQ(seen->signs[0], WatchBatch::Kind::created);
  EXPECT_FALSE(seen->end);
}

TEST_P(Conformance, AWatchSeesOnlyItsKeys) {
  const auto seen = watch(0);
  ASSERT_TRUE(world_->run_until([&] { return !seen->signs.empty(); }));
  ASSERT_TRUE(world_->put(*client_, "/elsewhere", "1"));
  put("a", "1");
  ASSERT_TRUE(world_->run_until([&] { return !seen->events.empty(); }));
  EXPECT_EQ(seen->events.size(), 1U);
}

TEST_P(Conformance, AWatchFromACompactedRevisionEndsWithThatRevision) {
  const Revision first = put("a", "1");
  put("a", "2");
  const Revision last = put("a", "3");
  ASSERT_TRUE(world_->compact(*client_, last));
  const auto seen = watch(first);
  ASSERT_TRUE(world_->run_until([&] { return seen->end.has_value(); }));
  EXPECT_EQ(seen->end->reason, Reason::compacted);
  EXPECT_EQ(seen->end->compact_revision, last);
  EXPECT_TRUE(seen->events.empty());
}

TEST_P(Conformance, AWatchGivesASignOfLifeWhenAsked) {
  put("a", "1");
  const auto seen = watch(0);
  seen->stream->request_progress();
  ASSERT_TRUE(world_->run_until([&] { return seen->signs.size() == 2; }));
  EXPECT_THAT(seen->signs, ElementsAre(WatchBatch::Kind::created, WatchBatch::Kind::alive));
}

TEST_P(Conformance, ACancelledWatchIsSilent) {
  const auto seen = watch(0);
  ASSERT_TRUE(world_->run_until([&] { return !seen->signs.empty(); }));
  const auto other = watch(0);
  ASSERT_TRUE(world_->run_until([&] { return !other->signs.empty(); }));
  seen->stream.reset();
  put("a", "1");
  ASSERT_TRUE(world_->run_until([&] { return !other->events.empty(); }));
  EXPECT_TRUE(seen->events.empty());
  EXPECT_FALSE(seen->end);
}

TEST_P(Conformance, AWatchMayBeDestroyedByItsHandler) {
  std::unique_ptr<WatchStream> stream;
  int batches = 0;
  stream = client_->watch({.keys = Keys::prefix(prefix_)}, {.batch =
                                                                [&](const WatchBatch&) {
                                                                  ++batches;
                                                                  stream.reset();
                                                                },
                                                            .ended = [](const Failure&) {}});
  ASSERT_TRUE(world_->run_until([&] { return stream == nullptr; }));
  put("a", "1");
  EXPECT_EQ(batches, 1);
}

TEST_P(Conformance, AnAnswerNeverComesInsideTheRequest) {
  bool inside = true;
  bool answered = false;
  client_->put({.key = key("a"), .value = "1"}, {}, [&](const Outcome<PutResult>&) {
    EXPECT_FALSE(inside);
    answered = true;
  });
  inside = false;
  EXPECT_TRUE(world_->run_until([&] { return answered; }));
}

TEST_P(Conformance, ADestroyedClientAnswersNothing) {
  bool answered = false;
  auto other = connect_();
  other->put({.key = key("a"), .value = "1"}, {}, [&](const Outcome<PutResult>&) { answered = true; });
  const auto stream = other->watch(
      {.keys = Keys::prefix(prefix_)},
      {.batch = [&](const WatchBatch&) { answered = true; }, .ended = [&](const Failure&) { answered = true; }});
  other.reset();
  put("b", "1");
  EXPECT_FALSE(answered);
}

TEST_P(Conformance, AClientMayBeDestroyedByAnAnswer) {
  auto other = connect_();
  other->status({}, [&](const Outcome<Status>&) { other.reset(); });
  EXPECT_TRUE(world_->run_until([&] { return other == nullptr; }));
}

TEST_P(Conformance, StatusNamesMemberAndLeader) {
  const auto status = world_->status(*client_);
  ASSERT_TRUE(status) << status.error().message;
  EXPECT_NE(status->leader, 0U);
  EXPECT_NE(status->cluster_id, 0U);
  EXPECT_FALSE(status->endpoint.empty());
  EXPECT_FALSE(status->version.empty());
}

// Identities are allocated like this: read the counter, claim the next number if it is still the one read.
TEST_P(Conformance, NumbersAllocatedByManyAtOnceAreUnique) {
  constexpr int allocators = 8;
  constexpr int each = 10;
  struct Allocator {
    std::unique_ptr<Client> client;
    std::vector<std::string> numbers;
    std::function<void()> next;
  };
  std::vector<Allocator> all_of_them(allocators);
  int conflicts = 0;
  for (auto& self : all_of_them) {
    self.client = connect_();
    self.next = [&] {
      if (self.numbers.size() == each) return;
      self.client->range({.keys = Keys::one(key("next"))}, {}, [&](const Outcome<RangeResult>& read) {
        ASSERT_TRUE(read) << read.error().message;
        const int number = read->kvs.empty() ? 256 : std::stoi(read->kvs[0].value);
        const Revision known = read->kvs.empty() ? 0 : read->kvs[0].mod_revision;
        self.client->txn({.compare = {Compare::unchanged_since(key("next"), known)},
                          .then = {PutRequest{key("next"), std::to_string(number + 1), 0},
                                   PutRequest{key("taken/" + std::to_string(number)), "", 0}}},
                         {}, [&, number](const Outcome<TxnResult>& claimed) {
                           ASSERT_TRUE(claimed) << claimed.error().message;
                           if (claimed->succeeded)
                             self.numbers.push_back(std::to_string(number));
                           else
                             ++conflicts;
                           self.next();
                         });
      });
    };
    self.next();
  }
  ASSERT_TRUE(world_->run_until(
      [&] { return std::ranges::all_of(all_of_them, [](const auto& self) { return self.numbers.size() == each; }); }));
  std::set<std::string> unique;
  for (const auto& self : all_of_them) unique.insert(self.numbers.begin(), self.numbers.end());
  EXPECT_EQ(unique.size(), std::size_t{allocators} * each);
  EXPECT_GT(conflicts, 0) << "they did not contend: this proves nothing";
}

INSTANTIATE_TEST_SUITE_P(Fake, Conformance, ::testing::Values(Kind::fake));
INSTANTIATE_TEST_SUITE_P(Etcd, Conformance, ::testing::Values(Kind::real));

}  // namespace
}  // namespace weft::etcd::testing
