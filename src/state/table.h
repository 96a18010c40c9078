// Table<Key, Row>: rows under a revision that only grows, with watchers and a bounded memory of
// deletions. Owned by one thread: every call, and every callback, happens on it.
#pragma once

#include <algorithm>
#include <cassert>
#include <concepts>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <optional>
#include <utility>
#include <vector>

namespace weft::state {

using Revision = std::uint64_t;

enum class ChangeType : std::uint8_t { added, modified, deleted };

template <class Key, class Row>
struct Change {
  ChangeType type = ChangeType::added;
  const Key& key;
  const Row* row = nullptr;       // of a deletion: the last row in a callback, null in changes_since
  const Row* previous = nullptr;  // in a callback for `modified` only
  Revision revision = 0;
};

// A watcher for as long as it lives. Must not outlive its table.
class Subscription {
 public:
  Subscription() = default;
  explicit Subscription(std::function<void()> cancel) : cancel_(std::move(cancel)) {}
  Subscription(Subscription&& other) noexcept : cancel_(std::exchange(other.cancel_, nullptr)) {}
  Subscription& operator=(Subscription&& other) noexcept {
    if (this != &other) {
      cancel();
      cancel_ = std::exchange(other.cancel_, nullptr);
    }
    return *this;
  }
  ~Subscription() { cancel(); }
  void cancel() {
    if (auto run = std::exchange(cancel_, nullptr)) run();
  }

 private:
  std::function<void()> cancel_;
};

template <class Key, class Row>
class Table {
 public:
  using Change = state::Change<Key, Row>;
  using Watcher = std::function<void(const Change&)>;
  struct Entry {
    Row row;
    Revision revision = 0;  // of its last change
    Revision created = 0;
  };
  enum class Outcome : std::uint8_t { added, modified, unchanged };

  // `deletions_kept`: how many deletions changes_since can still tell of.
  explicit Table(std::size_t deletions_kept = 1024) : deletions_kept_(deletions_kept) {}
  Table(const Table&) = delete;
  Table& operator=(const Table&) = delete;

  // Of the last change; 0 before the first.
  [[nodiscard]] Revision revision() const { return revision_; }
  [[nodiscard]] std::size_t size() const { return rows_.size(); }
  [[nodiscard]] bool empty() const { return rows_.empty(); }
  // In key order. References hold until the row changes.
  [[nodiscard]] const std::map<Key, Entry>& rows() const { return rows_; }
  [[nodiscard]] const Row* get(const Key& key) const {
    const auto* entry = find(key);
    return entry == nullptr ? nullptr : &entry->row;
  }
  [[nodiscard]] const Entry* find(const Key& key) const {
    const auto found = rows_.find(key);
    return found == rows_.end() ? nullptr : &found->second;
  }

  // A row that compares equal to the present one changes nothing and tells nobody.
  Outcome upsert(const Key& key, Row row) {
    assert(!notifying_ && "a watcher must not change the table it watches");
    const auto found = rows_.find(key);
    if (found == rows_.end()) {
      forget_deletion(key);
      ++revision_;
      const auto added = rows_.emplace(key, Entry{std::move(row), revision_, revision_}).first;
      by_revision_.emplace(revision_, &added->first);
      notify({ChangeType::added, added->first, &added->second.row, nullptr, revision_});
      return Outcome::added;
    }
    auto& entry = found->second;
    if constexpr (std::equality_comparable<Row>) {
      if (entry.row == row) return Outcome::unchanged;
    }
    by_revision_.erase(entry.revision);
    entry.revision = ++revision_;
    by_revision_.emplace(revision_, &found->first);
    std::swap(entry.row, row);
    notify({ChangeType::modified, found->first, &entry.row, &row, revision_});
    return Outcome::modified;
  }

  // False when there is no such row.
  bool erase(const Key& key) {
    assert(!notifying_ && "a watcher must not change the table it watches");
    const auto found = rows_.find(key);
    if (found == rows_.end()) return false;
    by_revision_.erase(found->second.revision);
    const auto removed = rows_.extract(found);
    remember_deletion(removed.key());
    notify({ChangeType::deleted, removed.key(), &removed.mapped().row, nullptr, revision_});
    return true;
  }

  // Puts back a stored row with the revision it had, telling nobody. For a table nobody has changed yet.
  void load(const Key& key, Row row, Revision revision) {
    // Two rows of one revision would hide each other; stored ones that do get a new one.
    if (revision == 0 || by_revision_.contains(revision)) revision = std::max(revision_, revision) + 1;
    const auto [loaded, is_new] = rows_.emplace(key, Entry{std::move(row), revision, revision});
    if (!is_new) return;
    by_revision_.emplace(revision, &loaded->first);
    revision_ = std::max(revision_, revision);
    // What was deleted before the rows were stored is not known.
    complete_since_ = revision_;
  }

  // The last change of every key that changed after `since`, in revision order: `added` when its row
  // was made after `since` (an earlier one may have been there), `deleted` also for a key that came
  // and went in between. Nothing when the deletions since then are no longer known: read all rows
  // instead.
  [[nodiscard]] std::optional<std::vector<Change>> changes_since(Revision since) const {
    if (since < complete_since_ && since != 0) return std::nullopt;
    std::vector<Change> changes;
    auto row = by_revision_.upper_bound(since);
    // From the very start no deletion matters: what is gone was never seen.
    auto deletion = since == 0 ? deletions_.end() : deletions_.upper_bound(since);
    while (row != by_revision_.end() || deletion != deletions_.end()) {
      if (deletion == deletions_.end() || (row != by_revision_.end() && row->first < deletion->first)) {
        const auto& entry = rows_.at(*row->second);
        const auto type = entry.created > since ? ChangeType::added : ChangeType::modified;
        changes.push_back({type, *row->second, &entry.row, nullptr, row->first});
        ++row;
      } else {
        changes.push_back({ChangeType::deleted, deletion->second, nullptr, nullptr, deletion->first});
        ++deletion;
      }
    }
    return changes;
  }

  // Called after each change, in the order of subscription. A callback must not change this table; it may
  // end subscriptions, its own included, and begin new ones, which hear of later changes only.
  [[nodiscard]] Subscription watch(Watcher watcher) {
    watchers_.push_back(std::move(watcher));
    const auto place = std::prev(watchers_.end());
    return Subscription([this, place] {
      if (notifying_) {
        ended_.push_back(place);
      } else {
        watchers_.erase(place);
      }
    });
  }

 private:
  void remember_deletion(const Key& key) {
    deletions_.emplace(++revision_, key);
    deletion_of_[key] = revision_;
    if (deletions_.size() <= deletions_kept_) return;
    const auto oldest = deletions_.begin();
    complete_since_ = std::max(complete_since_, oldest->first);
    deletion_of_.erase(oldest->second);
    deletions_.erase(oldest);
  }

  // A key that comes back is told of once, as added.
  void forget_deletion(const Key& key) {
    const auto known = deletion_of_.find(key);
    if (known == deletion_of_.end()) return;
    deletions_.erase(known->second);
    deletion_of_.erase(known);
  }

  void notify(const Change& change) {
    notifying_ = true;
    // The ones that subscribe meanwhile stand behind these.
    const auto count = watchers_.size();
    auto watcher = watchers_.begin();
    for (std::size_t i = 0; i < count; ++i, ++watcher) {
      if (std::ranges::find(ended_, watcher) == ended_.end()) (*watcher)(change);
    }
    notifying_ = false;
    for (const auto place : ended_) watchers_.erase(place);
    ended_.clear();
  }

  std::size_t deletions_kept_;
  Revision revision_ = 0;
  // Deletions after this revision are all known.
  Revision complete_since_ = 0;
  std::map<Key, Entry> rows_;
  std::map<Revision, const Key*> by_revision_;  // keys live in rows_' nodes
  std::map<Revision, Key> deletions_;
  std::map<Key, Revision> deletion_of_;
  std::list<Watcher> watchers_;
  std::vector<typename std::list<Watcher>::iterator> ended_;
  bool notifying_ = false;
};

}  // namespace weft::state
