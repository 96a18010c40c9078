// Reconciler: brings one kernel table (a BPF map, routes, ...) to what is wanted, through Ops.
//
// The order of phases is the caller's, because it spans tables: apply_upserts() on all of them,
// then whatever makes the new rows visible, then apply_deletes() on all of them. A row whose
// operation failed stays pending and is tried again after a delay that doubles; a row whose wanted
// value changes is tried at once. Not thread safe: one owner, one writer of the table.
//
// Rows found by adopt() are not deleted until set_desired() or allow_prune() says that everything
// wanted is known: a restarting agent must not prune before its sources have spoken.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "reconcile/delta_tracker.h"

namespace weft::reconcile {

template <class K, class V>
class Ops {
 public:
  virtual ~Ops() = default;
  virtual Result<void> update(const K& key, const V& value) = 0;  // creates or replaces; idempotent
  virtual Result<void> erase(const K& key) = 0;                   // absent is success
  virtual Result<void> list(const std::function<void(const K&, const V&)>& visit) = 0;
};

struct Options {
  std::string name;             // of the table, in errors
  std::size_t max_entries = 0;  // 0: no limit
  std::string size_key;         // of the configuration; empty: the size is fixed
  std::chrono::milliseconds first_retry{10};
  std::chrono::milliseconds last_retry{30000};
};

struct Applied {
  std::size_t done = 0;
  std::size_t failed = 0;
  std::size_t waiting = 0;  // pending, not tried: their retry is not due
  // Everything of this phase is in the kernel.
  [[nodiscard]] bool complete() const { return failed == 0 && waiting == 0; }
};

struct Status {
  std::size_t desired = 0;
  std::size_t pending_upserts = 0;
  std::size_t pending_deletes = 0;  // rows held back until pruning is allowed included
  std::size_t failed = 0;           // rows whose last try failed
  std::optional<Error> last_error;  // none once nothing is failed
};

template <class K, class V, class Less = std::less<K>, class Same = SameValue>
class Reconciler {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Rows = std::map<K, V, Less>;

  // `ops` must outlive the reconciler.
  Reconciler(Ops<K, V>& ops, Options options) : ops_(&ops), options_(std::move(options)) {}

  // Reads what the table holds and takes it for the actual side. What is wanted stays.
  Result<void> adopt() {
    Rows rows;
    if (auto listed = ops_->list([&](const K& key, const V& value) { rows.insert_or_assign(key, value); }); !listed)
      return fail(listed.error().in("read " + options_.name));
    held_.clear();
    if (!prune_)
      for (const auto& [key, value] : rows)
        if (delta_.desired(key) == nullptr) held_.insert(held_.end(), key);
    delta_.replace_actual(rows);
    failures_.clear();
    last_error_.reset();
    return {};
  }

  // `exhausted` when this many rows do not fit the table. Lets a caller ask for several tables
  // before it changes any.
  [[nodiscard]] Result<void> admit(std::size_t rows) const {
    if (options_.max_entries == 0 || rows <= options_.max_entries) return {};
    return fail(ErrorCode::exhausted,
                options_.name + " holds " + std::to_string(options_.max_entries) + " entries, " + std::to_string(rows) +
                    " are wanted",
                options_.size_key.empty() ? "the size of this table is fixed: give the node less that fills it"
                                          : "raise " + options_.size_key + " in the configuration, or want less");
  }

  // All that is wanted from now on. When it does not fit, nothing changes: the last good state stays.
  Result<void> set_desired(Rows desired) {
    WEFT_CHECK(admit(desired.size()));
    delta_.set_desired(std::move(desired), [this](const K& key) { forgive(key); });
    allow_prune();
    return {};
  }
  Result<void> upsert_desired(const K& key, V value) {
    if (delta_.desired(key) == nullptr) WEFT_CHECK(admit(delta_.desired_count() + 1));
    if (delta_.upsert_desired(key, std::move(value))) forgive(key);
    held_.erase(key);
    return {};
  }
  void erase_desired(const K& key) {
    if (delta_.erase_desired(key)) forgive(key);
    held_.erase(key);
  }
  // For callers that only use upsert_desired and erase_desired: everything wanted has been said.
  void allow_prune() {
    prune_ = true;
    held_.clear();
  }

  Applied apply_upserts(Time now) {
    return apply(delta_.pending_upserts(), now, [this](const K& key) {
      V value = *delta_.desired(key);
      auto updated = ops_->update(key, value);
      if (updated) delta_.set_actual(key, std::move(value));
      return updated;
    });
  }

  Applied apply_deletes(Time now) {
    const Applied applied = apply(delta_.pending_deletes(), now, [this](const K& key) {
      auto erased = ops_->erase(key);
      if (erased) delta_.set_absent(key);
      return erased;
    });
    // Room was made: rows the table had no room for are due again.
    if (applied.done != 0)
      for (auto& [key, failure] : failures_)
        if (failure.exhausted) failure.next_attempt = now;
    return applied;
  }

  // When the next failed row is due; nothing while none is.
  [[nodiscard]] std::optional<Time> next_attempt() const {
    std::optional<Time> next;
    for (const auto& [key, failure] : failures_)
      if (!next || failure.next_attempt < *next) next = failure.next_attempt;
    return next;
  }

  [[nodiscard]] Status status() const {
    return {delta_.desired_count(), delta_.pending_upserts().size(), delta_.pending_deletes().size(), failures_.size(),
            last_error_};
  }
  [[nodiscard]] const DeltaTracker<K, V, Less, Same>& delta() const { return delta_; }
  [[nodiscard]] const Options& options() const { return options_; }

 private:
  struct Failure {
    unsigned count = 0;
    Time next_attempt;
    bool exhausted = false;
  };

  template <class Operation>
  Applied apply(const std::set<K, Less>& pending, Time now, const Operation& operation) {
    Applied applied;
    const std::vector<K> keys(pending.begin(), pending.end());  // `pending` shrinks as rows are done
    for (const K& key : keys) {
      if (held_.contains(key)) continue;
      const auto failure = failures_.find(key);
      if (failure != failures_.end() && failure->second.next_attempt > now) {
        ++applied.waiting;
      } else if (Result<void> result = operation(key); result) {
        ++applied.done;
        if (failure != failures_.end()) failures_.erase(failure);
      } else {
        ++applied.failed;
        record(key, std::move(result.error()), now);
      }
    }
    if (failures_.empty()) last_error_.reset();
    return applied;
  }

  void record(const K& key, Error error, Time now) {
    delta_.set_uncertain(key);  // it may have happened nevertheless
    Failure& failure = failures_[key];
    const auto doublings = std::min(failure.count++, 20U);
    const auto delay = std::min(options_.first_retry * (std::int64_t{1} << doublings), options_.last_retry);
    failure.next_attempt = now + delay;
    failure.exhausted = error.code == ErrorCode::exhausted;
    last_error_ = error.in(options_.name);
  }

  // What is wanted of the row is new: its past failures say nothing about it.
  void forgive(const K& key) {
    failures_.erase(key);
    if (failures_.empty()) last_error_.reset();
  }

  Ops<K, V>* ops_;
  Options options_;
  DeltaTracker<K, V, Less, Same> delta_;
  std::map<K, Failure, Less> failures_;
  std::set<K, Less> held_;  // adopted and not mentioned since; not deleted until pruning is allowed
  bool prune_ = false;
  std::optional<Error> last_error_;
};

}  // namespace weft::reconcile
