#include "reconcile/reconciler.h"

#include <gtest/gtest.h>

#include <random>

namespace weft::reconcile {
namespace {

using namespace std::chrono_literals;
using Rows = std::map<int, std::string>;

// A table like a BPF map: refuses what does not fit. Some failing calls have taken effect all the same.
class Table final : public Ops<int, std::string> {
 public:
  Result<void> update(const int& key, const std::string& value) override {
    ++changes;
    if (!rows.contains(key) && rows.size() >= capacity) return fail(ErrorCode::exhausted, "table is full");
    if (broken.contains(key) || roll()) {
      if (change_anyway()) rows[key] = value;
      return fail(ErrorCode::io, "update failed");
    }
    rows[key] = value;
    return {};
  }
  Result<void> erase(const int& key) override {
    ++changes;
    if (broken.contains(key) || roll()) {
      if (change_anyway()) rows.erase(key);
      return fail(ErrorCode::io, "erase failed");
    }
    rows.erase(key);
    return {};
  }
  Result<void> list(const std::function<void(const int&, const std::string&)>& visit) override {
    for (const auto& [key, value] : rows) visit(key, value);
    return {};
  }

  Rows rows;
  std::size_t capacity = 1000;
  std::set<int> broken;
  unsigned fail_percent = 0;
  int changes = 0;

 private:
  bool roll() { return fail_percent != 0 && random() % 100 < fail_percent; }
  bool change_anyway() { return fail_percent != 0 && random() % 2 == 0; }
  std::mt19937 random{7};
};

class ReconcilerTest : public testing::Test {
 protected:
  Table table_;
  Reconciler<int, std::string> reconciler_{table_, {.name = "weft_test"}};
  std::chrono::steady_clock::time_point now_{};
};

TEST_F(ReconcilerTest, WritesOnlyTheDifference) {
  table_.rows = {{1, "a"}, {2, "b"}, {3, "c"}};
  ASSERT_TRUE(reconciler_.adopt());
  ASSERT_TRUE(reconciler_.set_desired({{1, "a"}, {2, "B"}, {4, "d"}}));
  EXPECT_EQ(reconciler_.status().pending_upserts, 2U);
  EXPECT_EQ(reconciler_.status().pending_deletes, 1U);
  EXPECT_TRUE(reconciler_.apply_upserts(now_).complete());
  EXPECT_EQ(table_.rows, (Rows{{1, "a"}, {2, "B"}, {3, "c"}, {4, "d"}})) << "deletes are a phase of their own";
  EXPECT_TRUE(reconciler_.apply_deletes(now_).complete());
  EXPECT_EQ(table_.rows, (Rows{{1, "a"}, {2, "B"}, {4, "d"}}));
  EXPECT_EQ(table_.changes, 3);
  ASSERT_TRUE(reconciler_.set_desired({{1, "a"}, {2, "B"}, {4, "d"}}));
  EXPECT_EQ(reconciler_.apply_upserts(now_).done, 0U);
}

TEST_F(ReconcilerTest, TakesSmallChanges) {
  ASSERT_TRUE(reconciler_.upsert_desired(1, "a"));
  ASSERT_TRUE(reconciler_.upsert_desired(2, "b"));
  EXPECT_EQ(reconciler_.apply_upserts(now_).done, 2U);
  ASSERT_TRUE(reconciler_.upsert_desired(1, "a"));
  ASSERT_TRUE(reconciler_.upsert_desired(1, "A"));
  reconciler_.erase_desired(2);
  reconciler_.erase_desired(3);
  EXPECT_EQ(reconciler_.apply_upserts(now_).done, 1U);
  EXPECT_EQ(reconciler_.apply_deletes(now_).done, 1U);
  EXPECT_EQ(table_.rows, (Rows{{1, "A"}}));
}

TEST_F(ReconcilerTest, DoesNotPruneBeforeItKnowsWhatIsWanted) {
  table_.rows = {{1, "a"}, {2, "b"}, {3, "c"}};
  ASSERT_TRUE(reconciler_.adopt());
  ASSERT_TRUE(reconciler_.upsert_desired(1, "a"));
  reconciler_.erase_desired(2);  // explicitly unwanted
  EXPECT_TRUE(reconciler_.apply_deletes(now_).complete());
  EXPECT_EQ(table_.rows, (Rows{{1, "a"}, {3, "c"}}));
  reconciler_.allow_prune();
  reconciler_.apply_deletes(now_);
  EXPECT_EQ(table_.rows, (Rows{{1, "a"}}));
}

TEST_F(ReconcilerTest, RefusesWhatDoesNotFitBeforeWritingAnything) {
  Reconciler<int, std::string> small(table_, {.name = "weft_small", .max_entries = 2});
  ASSERT_TRUE(small.set_desired({{1, "a"}, {2, "b"}}));
  const auto refused = small.set_desired({{1, "x"}, {2, "b"}, {3, "c"}});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::exhausted);
  EXPECT_EQ(refused.error().hint, "the size of this table is fixed: give the node less that fills it");
  Reconciler<int, std::string> sized(table_, {.name = "weft_sized", .max_entries = 1, .size_key = "some_entries"});
  EXPECT_EQ(sized.admit(2).error().hint, "raise some_entries in the configuration, or want less");
  EXPECT_NE(refused.error().message.find("weft_small"), std::string::npos);
  EXPECT_EQ(small.upsert_desired(3, "c").error().code, ErrorCode::exhausted);
  EXPECT_TRUE(small.upsert_desired(2, "B")) << "a replacement needs no room";
  small.apply_upserts(now_);
  EXPECT_EQ(table_.rows, (Rows{{1, "a"}, {2, "B"}})) << "the last good state stays";
}

TEST_F(ReconcilerTest, RetriesFailedRowsWithGrowingDelays) {
  table_.broken = {2};
  ASSERT_TRUE(reconciler_.set_desired({{1, "a"}, {2, "b"}, {3, "c"}}));
  const auto applied = reconciler_.apply_upserts(now_);
  EXPECT_EQ(applied.done, 2U) << "one bad row does not stop the others";
  EXPECT_EQ(applied.failed, 1U);
  EXPECT_EQ(reconciler_.status().failed, 1U);
  EXPECT_NE(reconciler_.status().last_error->message.find("weft_test"), std::string::npos);
  EXPECT_EQ(reconciler_.next_attempt(), now_ + 10ms);
  EXPECT_EQ(reconciler_.apply_upserts(now_ + 9ms).waiting, 1U);
  EXPECT_EQ(reconciler_.apply_upserts(now_ + 10ms).failed, 1U);
  EXPECT_EQ(reconciler_.next_attempt(), now_ + 30ms);
  for (int i = 0; i < 100; ++i) reconciler_.apply_upserts(*reconciler_.next_attempt());
  const auto late = *reconciler_.next_attempt();
  reconciler_.apply_upserts(late);
  EXPECT_EQ(*reconciler_.next_attempt() - late, 30s) << "the delay is bounded";
  table_.broken.clear();
  EXPECT_TRUE(reconciler_.apply_upserts(*reconciler_.next_attempt()).complete());
  EXPECT_EQ(reconciler_.status().failed, 0U);
  EXPECT_FALSE(reconciler_.status().last_error);
}

TEST_F(ReconcilerTest, TriesAChangedRowAtOnce) {
  table_.broken = {1};
  ASSERT_TRUE(reconciler_.upsert_desired(1, "a"));
  reconciler_.apply_upserts(now_);
  table_.broken.clear();
  ASSERT_TRUE(reconciler_.upsert_desired(1, "a"));
  EXPECT_EQ(reconciler_.apply_upserts(now_).waiting, 1U) << "nothing new is wanted of it";
  ASSERT_TRUE(reconciler_.upsert_desired(1, "b"));
  EXPECT_EQ(reconciler_.apply_upserts(now_).done, 1U);
}

TEST_F(ReconcilerTest, ErasesARowWhoseFailedWriteMayHaveHappened) {
  table_.broken = {1};
  ASSERT_TRUE(reconciler_.upsert_desired(1, "a"));
  reconciler_.apply_upserts(now_);
  table_.rows[1] = "a";  // it did happen
  table_.broken.clear();
  reconciler_.erase_desired(1);
  EXPECT_EQ(reconciler_.apply_deletes(now_).done, 1U);
  EXPECT_TRUE(table_.rows.empty());
}

TEST_F(ReconcilerTest, TriesRowsWithoutRoomAgainWhenDeletesMadeSome) {
  table_.capacity = 2;
  ASSERT_TRUE(reconciler_.set_desired({{1, "a"}, {2, "b"}}));
  reconciler_.apply_upserts(now_);
  ASSERT_TRUE(reconciler_.set_desired({{2, "b"}, {3, "c"}}));
  EXPECT_EQ(reconciler_.apply_upserts(now_).failed, 1U);
  EXPECT_EQ(reconciler_.apply_deletes(now_).done, 1U);
  EXPECT_TRUE(reconciler_.apply_upserts(now_).complete());
  EXPECT_EQ(table_.rows, (Rows{{2, "b"}, {3, "c"}}));
}

struct AbiKey {
  std::uint32_t number;
  std::uint32_t padding;
};

TEST(DeltaTracker, ComparesAbiStructsByTheirBytes) {
  DeltaTracker<AbiKey, AbiKey, BytesLess> delta;
  EXPECT_TRUE(delta.upsert_desired({1, 0}, {5, 0}));
  EXPECT_FALSE(delta.upsert_desired({1, 0}, {5, 0}));
  delta.set_actual({1, 0}, {5, 0});
  EXPECT_TRUE(delta.pending_upserts().empty());
}

TEST(DeltaTracker, ForgetsRowsNeitherWantedNorThere) {
  DeltaTracker<int, int> delta;
  delta.set_desired({{1, 1}, {2, 2}});
  delta.set_actual(1, 1);
  delta.set_desired({});
  EXPECT_EQ(delta.pending_upserts().size(), 0U);
  EXPECT_EQ(delta.pending_deletes().size(), 1U);
  delta.set_absent(1);
  EXPECT_EQ(delta.desired_count() + delta.actual_count() + delta.pending_deletes().size(), 0U);
  EXPECT_EQ(delta.actual(1), nullptr);
}

// Random operations against a model that is nothing but the wanted rows, on a table of which every
// tenth operation fails, some of them after they took effect, and which is sometimes meddled with.
TEST(Reconciler, ConvergesUnderRandomOperationsAndFaults) {
  for (unsigned seed = 0; seed < 50; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    Table table;
    table.fail_percent = 10;
    auto reconciler = std::make_unique<Reconciler<int, std::string>>(table, Options{.name = "weft_random"});
    Rows model;
    std::chrono::steady_clock::time_point now{};
    const auto draw = [&](unsigned below) { return static_cast<int>(random() % below); };
    for (int step = 0; step < 400; ++step) {
      now += std::chrono::milliseconds(draw(20));
      switch (draw(8)) {
        case 0:
        case 1: {
          const int key = draw(50);
          model[key] = std::to_string(draw(5));
          ASSERT_TRUE(reconciler->upsert_desired(key, model[key]));
          break;
        }
        case 2: {
          const int key = draw(50);
          model.erase(key);
          reconciler->erase_desired(key);
          break;
        }
        case 3:
          model.clear();
          for (int i = draw(50); i > 0; --i) model[draw(50)] = std::to_string(draw(5));
          ASSERT_TRUE(reconciler->set_desired(model));
          break;
        case 4:
        case 5:
          reconciler->apply_upserts(now);
          break;
        case 6:
          reconciler->apply_deletes(now);
          break;
        default:
          if (draw(4) != 0) break;
          // The agent restarts, and somebody was at the table meanwhile.
          table.rows[draw(50)] = "meddled";
          reconciler = std::make_unique<Reconciler<int, std::string>>(table, Options{.name = "weft_random"});
          ASSERT_TRUE(reconciler->adopt());
          ASSERT_TRUE(reconciler->set_desired(model));
      }
    }
    ASSERT_TRUE(reconciler->set_desired(model));
    for (int round = 0; round < 100; ++round) {
      now += 1min;
      if (reconciler->apply_upserts(now).complete() && reconciler->apply_deletes(now).complete()) break;
    }
    ASSERT_EQ(table.rows, model);
    const Status status = reconciler->status();
    EXPECT_EQ(status.failed + status.pending_upserts + status.pending_deletes, 0U);
    EXPECT_FALSE(status.last_error);
    EXPECT_EQ(reconciler->delta().actual_count(), model.size());
  }
}

}  // namespace
}  // namespace weft::reconcile
