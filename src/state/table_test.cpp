#include "state/table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>

namespace weft::state {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Names = Table<int, std::string>;

// "+1=a", "~1=b", "-1".
template <class Change>
std::string text(const Change& change) {
  const char sign = change.type == ChangeType::added ? '+' : change.type == ChangeType::modified ? '~' : '-';
  auto result = sign + std::to_string(change.key);
  if (change.type != ChangeType::deleted) result += "=" + *change.row;
  return result;
}

std::vector<std::string> texts(const Names& table, Revision since) {
  std::vector<std::string> result;
  const auto changes = table.changes_since(since);
  if (!changes) return {"unknown"};
  for (const auto& change : *changes) result.push_back(text(change));
  return result;
}

TEST(Table, RevisionsGrowWithChangesOnly) {
  Names table;
  EXPECT_EQ(table.revision(), 0U);
  EXPECT_EQ(table.upsert(1, "a"), Names::Outcome::added);
  EXPECT_EQ(table.upsert(1, "a"), Names::Outcome::unchanged);
  EXPECT_EQ(table.revision(), 1U);
  EXPECT_EQ(table.upsert(1, "b"), Names::Outcome::modified);
  EXPECT_FALSE(table.erase(2));
  EXPECT_EQ(table.revision(), 2U);
  EXPECT_EQ(*table.get(1), "b");
  EXPECT_EQ(table.find(1)->created, 1U);
  EXPECT_EQ(table.find(1)->revision, 2U);
  EXPECT_TRUE(table.erase(1));
  EXPECT_EQ(table.revision(), 3U);
  EXPECT_EQ(table.get(1), nullptr);
  EXPECT_TRUE(table.empty());
}

TEST(Table, RowsThatCannotBeComparedAlwaysChange) {
  struct Opaque {
    int value = 0;
  };
  Table<int, Opaque> table;
  table.upsert(1, {});
  EXPECT_EQ(table.upsert(1, {}), (Table<int, Opaque>::Outcome::modified));
}

TEST(Table, ChangesSince) {
  Names table;
  table.upsert(1, "a");  // 1
  table.upsert(2, "b");  // 2
  table.upsert(3, "c");  // 3
  table.upsert(1, "A");  // 4
  table.erase(2);        // 5
  EXPECT_THAT(texts(table, 0), ElementsAre("+3=c", "+1=A"));
  EXPECT_THAT(texts(table, 1), ElementsAre("+3=c", "~1=A", "-2"));
  EXPECT_THAT(texts(table, 3), ElementsAre("~1=A", "-2"));
  EXPECT_THAT(texts(table, 4), ElementsAre("-2"));
  EXPECT_THAT(texts(table, 5), IsEmpty());
  table.upsert(2, "again");
  EXPECT_THAT(texts(table, 4), ElementsAre("+2=again"));
}

TEST(Table, ForgottenDeletionsAreAdmitted) {
  Names table(2);
  for (int i = 0; i < 5; ++i) table.upsert(i, "x");  // 1..5
  for (int i = 0; i < 4; ++i) table.erase(i);        // 6..9
  EXPECT_THAT(texts(table, 6), ElementsAre("unknown"));
  EXPECT_THAT(texts(table, 7), ElementsAre("-2", "-3"));
  EXPECT_THAT(texts(table, 0), ElementsAre("+4=x"));
  Names none(0);
  none.upsert(1, "x");
  none.erase(1);
  EXPECT_THAT(texts(none, 1), ElementsAre("unknown"));
  EXPECT_THAT(texts(none, 2), IsEmpty());
}

TEST(Table, LoadKeepsRevisionsAndTellsNobody) {
  Names table;
  int told = 0;
  const auto watch = table.watch([&](const auto&) { ++told; });
  table.load(1, "a", 40);
  table.load(2, "b", 7);
  table.load(3, "c", 40);  // damaged: a revision twice
  table.load(1, "ignored", 50);
  EXPECT_EQ(told, 0);
  EXPECT_EQ(table.find(2)->revision, 7U);
  EXPECT_EQ(table.revision(), 41U);
  EXPECT_THAT(texts(table, 0), ElementsAre("+2=b", "+1=a", "+3=c"));
  EXPECT_THAT(texts(table, 30), ElementsAre("unknown"));
  table.upsert(4, "d");
  EXPECT_EQ(table.find(4)->revision, 42U);
  EXPECT_EQ(told, 1);
}

TEST(Table, WatchersHearEachChangeWithBothRows) {
  Names table;
  std::vector<std::string> heard;
  {
    const auto watch = table.watch([&](const Names::Change& change) {
      heard.push_back(text(change) + (change.previous != nullptr ? " was " + *change.previous : "") + " @" +
                      std::to_string(change.revision));
      if (change.type == ChangeType::deleted) heard.push_back("last " + *change.row);
      EXPECT_EQ(table.revision(), change.revision);
    });
    table.upsert(1, "a");
    table.upsert(1, "b");
    table.upsert(1, "b");
    table.erase(1);
  }
  table.upsert(2, "x");
  EXPECT_THAT(heard, ElementsAre("+1=a @1", "~1=b was a @2", "-1 @3", "last b"));
}

TEST(Table, SubscriptionsMayEndAndBeginInsideACallback) {
  Names table;
  std::string heard;
  Subscription first;
  Subscription second;
  Subscription third;
  first = table.watch([&](const auto&) {
    heard += '1';
    first.cancel();   // itself
    second.cancel();  // one that would be called next
    if (heard == "1") third = table.watch([&](const auto&) { heard += '3'; });
  });
  second = table.watch([&](const auto&) { heard += '2'; });
  table.upsert(1, "a");
  EXPECT_EQ(heard, "1");
  table.upsert(1, "b");
  EXPECT_EQ(heard, "13");
  Subscription moved = std::move(third);
  third = Subscription();
  table.upsert(1, "c");
  EXPECT_EQ(heard, "133");
  moved = Subscription();
  table.upsert(1, "d");
  EXPECT_EQ(heard, "133");
}

// A follower that applies changes_since at random moments, or starts over when told to, has the table's rows.
TEST(Table, AFollowerStaysTheSame) {
  for (unsigned seed = 0; seed < 20; ++seed) {
    std::mt19937 random(seed);
    Names table(5);
    std::map<int, std::string> follower;
    std::map<int, std::string> watching;
    const auto watch = table.watch([&](const Names::Change& change) {
      if (change.type == ChangeType::deleted) {
        EXPECT_EQ(watching.erase(change.key), 1U);
      } else {
        EXPECT_EQ(change.type == ChangeType::added, !watching.contains(change.key));
        watching[change.key] = *change.row;
      }
    });
    Revision seen = 0;
    for (int step = 0; step < 2000; ++step) {
      const int key = static_cast<int>(random() % 15);
      if (random() % 3 == 0)
        table.erase(key);
      else
        table.upsert(key, std::to_string(random() % 4));
      if (random() % 4 != 0) continue;
      const auto changes = table.changes_since(seen);
      if (!changes) {
        follower.clear();
        for (const auto& [name, entry] : table.rows()) follower[name] = entry.row;
      } else {
        Revision last = seen;
        for (const auto& change : *changes) {
          ASSERT_GT(change.revision, last);
          last = change.revision;
          ASSERT_TRUE(change.type != ChangeType::modified || follower.contains(change.key));
          if (change.type == ChangeType::deleted)
            follower.erase(change.key);
          else
            follower[change.key] = *change.row;
        }
      }
      seen = table.revision();
      std::map<int, std::string> rows;
      for (const auto& [name, entry] : table.rows()) rows[name] = entry.row;
      ASSERT_EQ(follower, rows);
      ASSERT_EQ(watching, rows);
    }
  }
}

}  // namespace
}  // namespace weft::state
