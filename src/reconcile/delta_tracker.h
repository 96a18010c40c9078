// DeltaTracker: what is wanted, what is there as far as known, and the difference, kept up to date
// row by row so that a small change costs a few tree lookups whatever the size of the table.
//
// A row that is there may be uncertain: an operation on it failed, so its value, even its presence,
// is unknown. An uncertain row is written again if wanted and erased if not.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstring>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <type_traits>
#include <utility>

namespace weft::reconcile {

// Order of C structs by their bytes. For ABI structs, whose padding is explicit and zeroed.
struct BytesLess {
  template <class T>
  requires std::is_trivially_copyable_v<T>
  bool operator()(const T& left, const T& right) const { return std::memcmp(&left, &right, sizeof(T)) < 0; }
};

// operator== where the type has one, else the bytes.
struct SameValue {
  template <class T>
  bool operator()(const T& left, const T& right) const {
    if constexpr (std::equality_comparable<T>) {
      return left == right;
    } else {
      static_assert(std::is_trivially_copyable_v<T>, "give the value an operator==");
      return std::memcmp(&left, &right, sizeof(T)) == 0;
    }
  }
};

template <class K, class V, class Less = std::less<K>, class Same = SameValue>
class DeltaTracker {
 public:
  using Rows = std::map<K, V, Less>;
  using Keys = std::set<K, Less>;

  // The wanted side. The bools say whether something wanted changed.
  bool upsert_desired(const K& key, V value) {
    Row& row = rows_[key];
    if (row.desired && Same{}(*row.desired, value)) return false;
    desired_count_ += row.desired ? 0 : 1;
    row.desired = std::move(value);
    settle(key, row);
    return true;
  }

  bool erase_desired(const K& key) {
    const auto found = rows_.find(key);
    if (found == rows_.end() || !found->second.desired) return false;
    found->second.desired.reset();
    --desired_count_;
    settle(found);
    return true;
  }

  // `changed` hears the key of every row whose wanted value changed.
  template <class Changed>
  void set_desired(Rows desired, const Changed& changed) {
    auto at = rows_.begin();
    for (auto& [key, value] : desired) {
      while (at != rows_.end() && Less{}(at->first, key)) at = drop_desired(at, changed);
      if (at == rows_.end() || Less{}(key, at->first)) at = rows_.try_emplace(at, key);
      Row& row = at->second;
      if (!row.desired || !Same{}(*row.desired, value)) {
        desired_count_ += row.desired ? 0 : 1;
        row.desired = std::move(value);
        settle(key, row);
        changed(key);
      }
      ++at;
    }
    while (at != rows_.end()) at = drop_desired(at, changed);
  }
  void set_desired(Rows desired) {
    set_desired(std::move(desired), [](const K&) {});
  }

  // The actual side.
  void set_actual(const K& key, V value) {
    Row& row = rows_[key];
    actual_count_ += row.present ? 0 : 1;
    row.present = true;
    row.actual = std::move(value);
    settle(key, row);
  }
  void set_uncertain(const K& key) {
    Row& row = rows_[key];
    actual_count_ += row.present ? 0 : 1;
    row.present = true;
    row.actual.reset();
    settle(key, row);
  }
  void set_absent(const K& key) {
    const auto found = rows_.find(key);
    if (found == rows_.end()) return;
    actual_count_ -= found->second.present ? 1 : 0;
    found->second.present = false;
    found->second.actual.reset();
    settle(found);
  }
  // What is there is exactly this.
  void replace_actual(const Rows& actual) {
    for (auto row = rows_.begin(); row != rows_.end();) {
      const auto current = row++;
      if (!actual.contains(current->first)) set_absent(K(current->first));
    }
    for (const auto& [key, value] : actual) set_actual(key, value);
  }

  [[nodiscard]] const Keys& pending_upserts() const { return upserts_; }  // wanted, and not known to be there so
  [[nodiscard]] const Keys& pending_deletes() const { return deletes_; }  // there or perhaps there, not wanted
  [[nodiscard]] const V* desired(const K& key) const {
    const auto found = rows_.find(key);
    return found != rows_.end() && found->second.desired ? &*found->second.desired : nullptr;
  }
  // Null also for an uncertain row.
  [[nodiscard]] const V* actual(const K& key) const {
    const auto found = rows_.find(key);
    return found != rows_.end() && found->second.actual ? &*found->second.actual : nullptr;
  }
  // Without uncertain rows.
  [[nodiscard]] Rows actual_rows() const {
    Rows result;
    for (const auto& [key, row] : rows_)
      if (row.actual) result.emplace_hint(result.end(), key, *row.actual);
    return result;
  }
  [[nodiscard]] std::size_t row_count() const { return rows_.size(); }  // wanted, there, or both
  template <class Visit>
  void each_key(const Visit& visit) const {
    for (const auto& [key, row] : rows_) visit(key);
  }
  [[nodiscard]] std::size_t desired_count() const { return desired_count_; }
  [[nodiscard]] std::size_t actual_count() const { return actual_count_; }  // uncertain rows included

 private:
  struct Row {
    std::optional<V> desired;
    std::optional<V> actual;  // nothing while uncertain
    bool present = false;     // there, or perhaps there
  };
  using Table = std::map<K, Row, Less>;

  template <class Changed>
  typename Table::iterator drop_desired(typename Table::iterator at, const Changed& changed) {
    const auto next = std::next(at);
    if (at->second.desired) {
      at->second.desired.reset();
      --desired_count_;
      changed(at->first);
      settle(at);
    }
    return next;
  }

  void settle(const K& key, const Row& row) {
    place(upserts_, key, row.desired && !(row.actual && Same{}(*row.desired, *row.actual)));
    place(deletes_, key, !row.desired && row.present);
  }
  // Also forgets a row that is neither wanted nor there.
  void settle(typename Table::iterator at) {
    settle(at->first, at->second);
    if (!at->second.desired && !at->second.present) rows_.erase(at);
  }
  static void place(Keys& keys, const K& key, bool member) {
    if (member)
      keys.insert(key);
    else
      keys.erase(key);
  }

  Table rows_;
  Keys upserts_;
  Keys deletes_;
  std::size_t desired_count_ = 0;
  std::size_t actual_count_ = 0;
};

}  // namespace weft::reconcile
